"""JSON text in: one function that fails in one way, whatever the bytes are."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_DECODER: Final = msgspec.json.Decoder()


class NotJSON(ValueError):
    """The bytes are not JSON, or not JSON that can be handled (nested too deeply, not UTF-8). The text says where."""


def loads(data: bytes) -> Any:
    """Decode one JSON value. Raises :class:`NotJSON` and nothing else; of duplicated keys the last one counts."""
    try:
        return _DECODER.decode(data)
    except RecursionError:
        raise NotJSON("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise NotJSON("it is not UTF-8") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise NotJSON(str(error)) from None

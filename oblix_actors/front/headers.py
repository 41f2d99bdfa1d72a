"""Header values that are safe to send, whatever they are made of. Pure."""

from __future__ import annotations

import secrets
from typing import Final

from oblix_actors.core.events import Served

LONGEST_VALUE: Final = 512
"""Characters of one value: proxies refuse a response whose headers are long (nginx: 4 or 8 KB for all)."""
LONGEST_ID: Final = 128


def safe(value: str) -> str:
    """``value`` as one line of printable ASCII, at most :data:`LONGEST_VALUE` long.

    Whatever else it holds (line breaks above all, which would begin a header of their own) becomes ``?``.
    """
    clean = "".join(char if " " <= char <= "~" else "?" for char in value[: LONGEST_VALUE + 1]).strip()
    return clean if len(clean) <= LONGEST_VALUE else clean[: LONGEST_VALUE - 3] + "..."


def request_id(given: str | None) -> str:
    """The client's own id where it is sane (1 to 128 visible ASCII characters), else a new ``req_<hex>``."""
    if given and len(given) <= LONGEST_ID and all("!" <= char <= "~" for char in given):
        return given
    return f"req_{secrets.token_hex(12)}"


def served_headers(served: Served | None) -> dict[str, str]:
    """Who answers, and why; empty while nobody is known to."""
    if served is None:
        return {}
    return {
        "x-oblix-model": safe(served.name),
        "x-oblix-provider": safe(served.provider),
        "x-oblix-route": safe(served.reason),
    }

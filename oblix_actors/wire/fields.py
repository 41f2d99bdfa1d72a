"""Reads typed fields out of a client's JSON object, with complaints that a person understands. Pure."""

from __future__ import annotations

from typing import Any, Final

from oblix_actors.errors import OblixError

_KINDS: Final = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def kind(value: Any) -> str:
    """What JSON calls this value."""
    return _KINDS.get(type(value), "something else")


def invalid(path: str, problem: str) -> OblixError:
    """``invalid_request`` about the field at ``path``: "path problem."."""
    return OblixError("invalid_request", f"{path} {problem}.", param=path)


def wrong_type(path: str, expected: str, value: Any) -> OblixError:
    """``invalid_request``: the field at ``path`` is not what is ``expected``."""
    return invalid(path, f"must be {expected}, not {kind(value)}")


def quote(value: str) -> str:
    """A client's own text inside a message: short, on one line."""
    return repr(value if len(value) <= 40 else value[:40] + "…")


class Fields:
    """One JSON object at ``path`` ("" for the body itself).

    Every reader gives ``None`` where a field is absent or null, and raises ``invalid_request`` with the field's path.
    """

    __slots__ = ("_prefix", "given")

    def __init__(self, given: dict[str, Any], path: str = "") -> None:
        self.given = given
        self._prefix = f"{path}." if path else ""

    def path(self, name: str) -> str:
        """The field's full path, such as ``messages[0].content``."""
        return self._prefix + name

    def value(self, name: str) -> Any:
        """The field as it came."""
        return self.given.get(name)

    def required(self, name: str) -> Fields:
        """Complain where the field is absent or null; returns itself."""
        if self.given.get(name) is None:
            raise invalid(self.path(name), "is required")
        return self

    def text(self, name: str) -> str | None:
        """A string."""
        value = self.given.get(name)
        if value is None or isinstance(value, str):
            return value
        raise wrong_type(self.path(name), "a string", value)

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        value = self.given.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise wrong_type(self.path(name), "a boolean", value)

    def object(self, name: str) -> dict[str, Any] | None:
        """An object."""
        value = self.given.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise wrong_type(self.path(name), "an object", value)

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number from ``least`` to ``most``."""
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(self.path(name), "a number", value)
        if not least <= value <= most:
            raise invalid(self.path(name), f"must be between {least:g} and {most:g}")
        return float(value)

    def integer(self, name: str, least: int, most: int) -> int | None:
        """An integer from ``least`` to ``most``; 3.0 is one."""
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(self.path(name), "an integer", value)
        if not least <= value <= most:
            raise invalid(self.path(name), f"must be between {least} and {most}")
        return value

    def choice(self, name: str, options: tuple[str, ...], *, or_object: bool = False) -> str | None:
        """One of ``options``; ``or_object`` only widens the complaint."""
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, str) and value in options:
            return value
        listed = ", ".join(options) + (" or an object" if or_object else "")
        if isinstance(value, str):
            raise invalid(self.path(name), f"must be one of {listed}, not {quote(value)}")
        raise wrong_type(self.path(name), f"one of {listed}", value)

    def texts(self, name: str, most: int, *, or_text: bool = False) -> tuple[str, ...] | None:
        """An array of at most ``most`` strings; ``or_text`` only widens the complaint."""
        value = self.given.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise wrong_type(self.path(name), "a string or an array of strings" if or_text else "an array", value)
        if len(value) > most:
            raise invalid(self.path(name), f"may have at most {most} entries, not {len(value)}")
        for index, entry in enumerate(value):
            if not isinstance(entry, str):
                raise wrong_type(f"{self.path(name)}[{index}]", "a string", entry)
        return tuple(value)


def objects(value: Any, path: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    """An array of at most ``most`` objects, each with its path; empty where it is absent or null."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(path, "an array", value)
    if len(value) > most:
        raise invalid(path, f"may have at most {most} entries, not {len(value)}")
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise wrong_type(f"{path}[{index}]", "an object", entry)
    return [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]

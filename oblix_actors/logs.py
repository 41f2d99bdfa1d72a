"""Logging: one line an event on stderr, as text on a terminal and as JSON elsewhere; nobody's keys in either.

What other libraries say through :mod:`logging` (Hypercorn, Quart, httpx) comes out through the same renderer. Import
this before any other module that uses structlog: it does so without the part that costs a tenth of a second.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, TextIO

from oblix_actors.core.redact import BLOT, SECRET_NAME, redact
from oblix_actors.settings import LogSettings, Secret


def _structlog() -> ModuleType:
    """Import structlog, and make believe that rich is not there: it would be loaded for tracebacks we do not draw."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment] # None: "cannot be imported"
    hide = "structlog" not in modules and "rich" not in modules
    if hide:
        modules["rich"] = None
    try:
        import structlog.stdlib
    finally:
        if hide:
            del modules["rich"]
    return structlog


structlog = _structlog()

QUIET: Final = ("httpx", "httpcore", "hypercorn.access", "hypercorn.error", "quart.app", "quart.serving", "asyncio")
"""Loggers whose chatter below a warning is not for the people who run this."""
MAX_DEPTH: Final = 4
"""Of nested values in an event that are searched for secrets by name; what is deeper is still searched as text."""


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs to ``stream`` (stderr by default). May be called again: the last call counts."""
    out = sys.stderr if stream is None else stream
    as_text = settings.format == "text" or (settings.format == "auto" and out.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_text else "iso", utc=not as_text)
    rendering = [structlog.processors.format_exc_info, _mask, _renderer(as_text, out.isatty()), _blot]
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, _name, stamp, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: Lines(out, *names),
        cache_logger_on_first_use=False,  # module-level loggers would keep what was configured first
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(max(level, logging.WARNING))


class Lines:
    """Where a rendered event goes: a line of ``stream``. A reader that has gone away must not take an actor along."""

    def __init__(self, stream: TextIO, name: str = "oblix") -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        """Write one line; a stream that is closed or full is nobody's fault here."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = fatal = exception = log = warn = failure = err = msg


def _name(logger: Lines, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    event.setdefault("logger", logger.name)
    return event


def _mask(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Blot out the values whose name says that they are a secret."""
    return {name: _masked(name, value, MAX_DEPTH) for name, value in event.items()}


def _masked(name: Any, value: Any, depth: int) -> Any:
    if isinstance(value, Secret) or (isinstance(name, str) and value is not None and SECRET_NAME.match(name)):
        return BLOT
    if depth and isinstance(value, Mapping):
        return {str(key): _masked(key, each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str | bytes):  # a header as a pair
            name = value[0] if isinstance(value[0], str) else value[0].decode("latin-1")
            return [name, _masked(name, value[1], depth - 1)]
        return [_masked(None, each, depth - 1) for each in value]
    return value


def _blot(_logger: Any, _method: str, line: str) -> str:
    """Blot out what looks like a secret, wherever it stands in the finished line."""
    return redact(line)


def _renderer(as_text: bool, colours: bool) -> Any:
    if not as_text:
        return structlog.processors.JSONRenderer(default=repr, ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=26
    )

"""Logs: one renderer for all, the level of the settings, and nobody's key, wherever it stands in an event."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from oblix_actors import logs
from oblix_actors.settings import LogSettings, Secret

KEY = "sk-verysecret123"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def configured(stream: io.StringIO | None = None, **given: Any) -> io.StringIO:
    stream = stream or io.StringIO()
    logs.configure(LogSettings(**given), stream)
    return stream


def fail(error: Exception) -> None:
    raise error


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_of_json() -> None:
    stream = configured(format="json")
    structlog.get_logger("worker").info("provider", name="x", models=3)
    (entry,) = lines(stream)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "provider", "level": "info", "logger": "worker", "name": "x", "models": 3}


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    terminal, file = configured(Terminal()), None
    structlog.get_logger("a").info("hello there")
    file = configured()
    structlog.get_logger("a").info("hello there")
    assert "hello there" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())
    assert lines(file)[0]["event"] == "hello there"


def test_text_elsewhere_has_no_colours() -> None:
    stream = configured(format="text")
    structlog.get_logger("a").warning("hello", to="you")
    assert "\x1b" not in stream.getvalue()
    assert "hello" in stream.getvalue()
    assert "to=you" in stream.getvalue()


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_holds_for_both_ways_in(level: str, count: int) -> None:
    stream = configured(level=level, format="json")
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("x")
    assert [entry["logger"] for entry in lines(stream)] == ["ours"] * count + ["theirs"] * count


def test_a_logger_made_before_is_configured_too() -> None:
    logger = structlog.get_logger("early")
    first = configured(format="json")
    logger.info("one")
    second = configured(format="json")
    logger.info("two")
    assert [entry["event"] for entry in lines(first) + lines(second)] == ["one", "two"]


def test_what_libraries_say_comes_out_in_the_same_way() -> None:
    stream = configured(format="json", level="debug")
    logging.getLogger("hypercorn.error").warning("Task exception in %s", "stream")
    logging.getLogger("hypercorn.error").info("Running on http://127.0.0.1")
    logging.getLogger("httpx").info("HTTP Request: GET http://x")
    (entry,) = lines(stream)
    assert (entry["event"], entry["logger"], entry["level"]) == (
        "Task exception in stream",
        "hypercorn.error",
        "warning",
    )


def test_an_exception_comes_with_its_traceback() -> None:
    stream = configured(format="json")
    try:
        fail(ExceptionGroup("both", [ValueError("one"), KeyError("two")]))
    except ExceptionGroup as error:
        structlog.get_logger("a").error("crashed", exc_info=error)
        logging.getLogger("b").exception("oh")
    for entry in lines(stream):
        assert "ValueError: one" in entry["exception"]
        assert "KeyError: 'two'" in entry["exception"]


@pytest.mark.parametrize("format_", ["json", "text"])
@pytest.mark.parametrize(
    "fields",
    [
        {"text": f"the key {KEY} is wrong"},
        {"header": f"Bearer {KEY}"},
        {"headers": {"x-api-key": "hunter2", "Authorization": "Basic aHVudGVyMg=="}},
        {"headers": [("authorization", "hunter2"), (b"x-api-key", b"hunter2")]},
        {"deep": {"a": [{"b": {"api_key": "hunter2"}}]}},
        {"very": {"deep": {"indeed": {"and": {"more": {"api_key": "hunter2"}}}}}},
        {"url": "http://me:hunter2@h/v1?api_key=hunter2"},
        {"api_key": "hunter2"},
        {"key": Secret("hunter2")},
        {"raw": b'{"api_key": "hunter2"}'},
        {KEY: 1},
    ],
)
def test_no_key_is_ever_in_a_line(format_: str, fields: dict[str, Any]) -> None:
    stream = configured(format=format_)
    structlog.get_logger("a").warning("x", **fields)
    assert "verysecret" not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "aHVudGVyMg" not in stream.getvalue()
    assert "…" in stream.getvalue()


@pytest.mark.parametrize("format_", ["json", "text"])
def test_no_key_is_in_a_traceback_or_a_library_s_message(format_: str) -> None:
    stream = configured(format=format_)
    try:
        fail(ValueError(f"Authorization: Bearer {KEY}"))
    except ValueError:
        structlog.get_logger("a").exception("x")
    logging.getLogger("lib").error("GET http://h/?api_key=%s", "hunter2")
    assert "ValueError" in stream.getvalue()
    assert "verysecret" not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_reader_that_has_gone_away_takes_nobody_along() -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    configured(Broken(), format="text")
    structlog.get_logger("a").info("x")
    closed = configured(format="json")
    closed.close()
    structlog.get_logger("a").info("x")


def test_importing_it_does_not_import_rich() -> None:
    code = "import sys; from oblix_actors import logs; sys.exit('rich' in sys.modules or 'rich.console' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
    code = "from oblix_actors import logs; import rich.console"  # and leaves it importable
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

"""``oblix ask``: one question, its answer as it comes, and who gave it."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oblix_actors.cli.terminal import WRONG, ConfigFile, complain, printable, run, settings_of, show

if TYPE_CHECKING:
    from oblix_actors.core.events import Batch
    from oblix_actors.settings import Settings

MAX_PROMPT: Final = 4 * 1024 * 1024
"""Characters of a prompt from standard input."""


def ask(
    prompt: Annotated[
        str | None, typer.Argument(help="The question. Without it, or with -, it is read from standard input.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="auto, provider:model, or a model's name; see `oblix models`.")
    ] = "auto",
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions that go before it.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Print the answer as it comes.")] = True,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask this server, such as http://127.0.0.1:62549, and no other.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Ask one question, and print the answer.

    It goes through the server that runs already. Where none does, one is started for this question alone, without
    listening anywhere. The answer goes to standard output; which model gave it, and why, to standard error.
    """
    text = _prompt(prompt)
    settings = settings_of(config)
    messages = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": stream}
    run(lambda: _ask(settings, url, body))


def _prompt(given: str | None) -> str:
    if given not in {None, "-"}:
        text = given or ""
    elif given is None and sys.stdin.isatty():
        complain('there is no question; give one: oblix ask "Why is the sky blue?"')
        raise typer.Exit(WRONG)
    else:
        text = sys.stdin.read(MAX_PROMPT + 1)
    if len(text) > MAX_PROMPT:
        complain(f"the question is longer than {MAX_PROMPT} characters")
        raise typer.Exit(WRONG)
    if not text.strip():
        complain("the question is empty")
        raise typer.Exit(WRONG)
    return text


async def _ask(settings: Settings, url: str | None, body: dict[str, Any]) -> int:
    from oblix_actors import logs

    logs.configure(_quiet(settings))
    from oblix_actors.cli.remote import Remote, address, key_for
    from oblix_actors.providers.http import HttpClient

    screen = Screen()
    try:
        async with HttpClient(connect_seconds=settings.routing.connect_seconds) as http:
            remote = Remote(http, address(settings, url), key_for(settings, url))
            there = url is not None or await remote.is_there()
            if there:
                await _through(remote, body, screen)
        if not there:
            show(_dim(f"No server at {remote.url}: starting one for this question."), errors=True)
            await _in_here(settings, body, screen)
    finally:
        screen.end()
    show(_dim(screen.told()), errors=True)
    return 0


def _quiet(settings: Settings) -> Any:
    """A question is no server: what the actors do is of interest only to somebody who asked for it."""
    from msgspec.structs import replace

    return settings.log if settings.log.level == "debug" else replace(settings.log, level="error")


async def _through(remote: Any, body: dict[str, Any], screen: Screen) -> None:
    if body["stream"]:
        headers = await remote.stream(body, screen.chunk)
    else:
        completion, headers = await remote.complete(body)
        screen.completion(completion)
    screen.model = headers.get("x-oblix-model", screen.model)
    screen.reason = headers.get("x-oblix-route", "")


async def _in_here(settings: Settings, body: dict[str, Any], screen: Screen) -> None:
    import msgspec

    from oblix_actors.cli.inhouse import answer, settle
    from oblix_actors.system import open_house
    from oblix_actors.wire.openai import parse_chat_request

    request = parse_chat_request(msgspec.json.encode(body))
    screen.held = not body["stream"]
    async with open_house(settings, os.environ) as house:
        await settle(house)
        screen.began = time.monotonic()
        await answer(house, request, screen.batch)


class Screen:
    """The answer on its way to standard output. ``held``: it is shown when it is whole."""

    def __init__(self) -> None:
        self.model = ""
        self.reason = ""
        self.held = False
        self.began = time.monotonic()
        self._first: float | None = None
        self._finish: str | None = None
        self._kept: list[str] = []
        self._on_line_start = True
        self._thinking = False
        self._tty = sys.stdout.isatty()

    def text(self, text: str, *, thought: bool = False) -> None:
        """A piece of the answer, or of what the model thinks before it."""
        if not text:
            return
        self._first = self._first or time.monotonic()
        if thought:
            if sys.stderr.isatty():
                self._thinking = True
                _write(sys.stderr, f"\x1b[2m{printable(text)}\x1b[0m")
            return
        if self._thinking:
            self._thinking = False
            _write(sys.stderr, "\n\n")
        if self.held:
            self._kept.append(text)
            return
        # Another program gets the text as it is; a terminal is not to be driven by it.
        shown = printable(text) if self._tty else text
        _write(sys.stdout, shown)
        self._on_line_start = shown.endswith("\n") if shown else self._on_line_start

    def chunk(self, chunk: dict[str, Any]) -> None:
        """One object of OpenAI's stream."""
        self.model = chunk.get("model") or self.model
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self.text(delta.get("reasoning_content") or "", thought=True)
            self.text(delta.get("content") or delta.get("refusal") or "")
            self._finish = choice.get("finish_reason") or self._finish

    def completion(self, completion: dict[str, Any]) -> None:
        """OpenAI's whole answer."""
        self.model = completion.get("model") or self.model
        for choice in completion.get("choices") or ():
            message = choice.get("message") or {}
            self.text(message.get("reasoning_content") or "", thought=True)
            self.text(message.get("content") or message.get("refusal") or "")
            self._finish = choice.get("finish_reason") or self._finish

    def batch(self, batch: Batch) -> None:
        """What a worker wrote."""
        from oblix_actors.core.events import Delta, Served

        for event in batch:
            if isinstance(event, Served):
                self.model, self.reason = event.name, event.reason
            elif isinstance(event, Delta):
                self.text(event.reasoning, thought=True)
                self.text(event.text or event.refusal)
                self._finish = event.finish or self._finish

    def end(self) -> None:
        """The answer is over, be it whole or not: what was held comes out, and the cursor goes to a new line."""
        if self._thinking:
            self._thinking = False
            _write(sys.stderr, "\n")
        self.held = False
        kept, self._kept = "".join(self._kept), []
        self.text(kept)
        if not self._on_line_start:
            _write(sys.stdout, "\n")
            self._on_line_start = True

    def told(self) -> str:
        """One line: who answered, why, and how long it took."""
        now = time.monotonic()
        reason = f" ({self.reason})" if self.reason else ""
        first = f"first word after {self._first - self.began:.1f} s, " if self._first is not None else ""
        cut = ". It was cut at the most tokens that an answer may have" if self._finish == "length" else ""
        return f"— {self.model or 'somebody'}{reason}; {first}{now - self.began:.1f} s in all{cut}"


def _dim(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text), style="dim")


def _write(stream: Any, text: str) -> None:
    stream.write(text)
    stream.flush()

"""Models without a model, for testing a client: each does what its name says (:mod:`oblix_actors.core.script`).

Touches nothing but the clock.
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
import trio

from oblix_actors.core import chat
from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Delta, ToolCallDelta, Usage
from oblix_actors.core.script import NAMES, THOUGHT, Script, example_arguments, parse_script, script_words, split_words
from oblix_actors.core.tokens import estimate_prompt_tokens
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.settings import ProviderSettings
from oblix_actors.wire.upstream_errors import classify

CAPABILITIES: Final = frozenset({chat.TOOLS, chat.IMAGES, chat.AUDIO, chat.FILES})
"""A script takes any input; it writes what it writes, in one choice."""
MOST_NAMES: Final = 1000
"""Names with a counter of their own; the numbers in names are the client's, so there could be any number."""


class ScriptedUpstream:
    """``settings.models``, where there are any, are the names that are listed; all others work as well."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._name = settings.name
        self._listed = settings.models or NAMES
        self._requests: dict[str, int] = {}

    async def discover(self) -> tuple[Model, ...]:
        """The plain names of the menu."""
        await trio.lowlevel.checkpoint()
        return tuple(Model(name, capabilities=CAPABILITIES, loaded=True) for name in self._listed)

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Do as ``model`` says. A word counts as a token, for ``max_tokens`` and for the usage."""
        try:
            script = _script(model)
            self._fail_first(script, model)
            await self._perform(script, request, emit)
        except OblixError as error:
            error.provider = error.provider or self._name
            raise

    def _fail_first(self, script: Script, model: str) -> None:
        """Raise what the script fails with before its first word."""
        if script.status is not None:
            said = msgspec.json.encode({"error": {"message": f"status {script.status}, as ordered"}})
            headers = {"retry-after": "1"} if script.status in (429, 503, 529) else {}
            raise classify(script.status, headers, said, provider=self._name)
        if script.period is not None:
            if len(self._requests) >= MOST_NAMES:
                self._requests.clear()
            number = self._requests[model] = self._requests.get(model, 0) + 1
            if number % script.period == 0:
                raise OblixError("upstream_server_error", f"request {number} fails: every {script.period}th does")

    async def _perform(self, script: Script, request: ChatRequest, emit: Emit) -> None:
        used = Usage(estimate_prompt_tokens(request), 0)
        if script.kind == "tools" and request.tools and request.messages[-1].role not in ("tool", "function"):
            await emit([_call(request), Delta(finish="tool_calls"), msgspec.structs.replace(used, output_tokens=1)])
            return
        thoughts = split_words(THOUGHT) if script.kind == "reasoning" else []
        words = script_words(script, request)
        for thought in thoughts:
            await emit([Delta(reasoning=thought)])
        finish = "stop"
        if request.max_tokens is not None and request.max_tokens < len(words):
            words, finish = words[: request.max_tokens], "length"
        for number, word in enumerate(words):
            if number and script.pause:
                await trio.sleep(script.pause)
            await emit([Delta(text=word)])
        if finish == "stop":
            await _break(script)
        total = len(words) + len(thoughts)
        await emit([Delta(finish=finish), Usage(used.input_tokens, total, reasoning_tokens=len(thoughts))])


def _script(model: str) -> Script:
    script = parse_script(model)
    if script is None:
        raise OblixError(
            "upstream_model_not_found",
            f"There is no script {model[:100]!r}: take one of {', '.join(NAMES)}, with a number where it takes one.",
            param="model",
        )
    return script


async def _break(script: Script) -> None:
    """End as the script says, unless that is well."""
    match script.then:
        case "hang":
            await trio.sleep_forever()
        case "drop":
            raise OblixError("upstream_reset", "the script drops the connection here")
        case "truncate":
            raise OblixError("upstream_truncated", "the script ends its stream here")
        case "malformed":
            raise OblixError("upstream_malformed", "the script sends bytes here that do not parse")
        case "error-frame":
            raise OblixError("upstream_error_frame", "the script reports an error here")
        case "finish":
            await trio.lowlevel.checkpoint()


def _call(request: ChatRequest) -> Delta:
    tool = request.tools[0]
    if tool.function is None:
        raise OblixError("upstream_unsupported", "The script calls functions only.", param="tools")
    arguments = msgspec.json.encode(example_arguments(tool.function.parameters)).decode()
    return Delta(tool_calls=(ToolCallDelta(0, f"call_{secrets.token_hex(12)}", tool.function.name, arguments),))

"""The embedded model as a provider: leases the engine, then speaks llama.cpp's OpenAI-compatible API to it.

API: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import CHOICES, JSON_OBJECT, JSON_SCHEMA, LOGPROBS, TOOLS, ChatRequest
from oblix_actors.core.transcript import estimate_prompt
from oblix_actors.core.upstream import Emit
from oblix_actors.engine.gguf import ModelFacts
from oblix_actors.engine.models import ModelFile, look_into, unavailable
from oblix_actors.engine.protocol import EngineAddress, EngineState
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.openai import request_headers, stream_chat
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import EmbeddedSettings
from oblix_actors.wire.openai import build_chat_body

NAME: Final = "embedded"
ALWAYS: Final = frozenset({JSON_OBJECT, JSON_SCHEMA, LOGPROBS})
"""What llama.cpp does with any text model: it constrains the output by a grammar."""
BROKEN: Final = frozenset({"upstream_connect", "upstream_reset", "upstream_truncated", "upstream_malformed"})
OBITUARY_SECONDS: Final = 0.5
"""How long after a broken connection the process's death may become known."""
HOPELESS: Final = 4
"""A prompt whose estimate is so many contexts long is refused unread; about a shorter one llama.cpp knows better."""


class Engine(Protocol):
    """What the engine actor offers."""

    state: Watch[EngineState]

    def lease(self) -> AbstractAsyncContextManager[EngineAddress]: ...

    async def model(self) -> ModelFile | None: ...


class EmbeddedUpstream:
    """The one model behind ``embedded:``, whose temperature, context and slots are ``settings``'."""

    def __init__(self, settings: EmbeddedSettings, engine: Engine, http: HttpClient) -> None:
        self._settings = settings
        self._engine = engine
        self._http = http
        self._looking = trio.CapacityLimiter(1)  # the disk has a thread of its own

    async def discover(self) -> tuple[Model, ...]:
        """The one model, without starting anything.

        Raises ``engine_unavailable`` where it is known that it cannot be started.
        """
        model = await self._engine.model()
        facts, size = await trio.to_thread.run_sync(look_into, model, limiter=self._looking)
        state = self._engine.state.value
        if model is None or state.phase == "failed":
            raise unavailable(state.reason)
        return (
            Model(
                model.name,
                capabilities=self._capabilities(facts),
                context=min(self._settings.context, facts.context or self._settings.context),
                loaded=state.phase == "ready",
                size_bytes=size,
                chat=facts.chat,
            ),
        )

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer, as :class:`oblix_actors.core.upstream.Upstream` says; starts the engine where it must."""
        await self._check(request, model)
        async with self._engine.lease() as address:
            body = build_chat_body(self._with_temperature(request), address.model)
            headers = request_headers(address.key)
            hide = (address.key.reveal(),)
            try:
                await stream_chat(self._http, address.base_url, headers, body, emit, provider=NAME, hide=hide)
            except OblixError as error:
                failed = error
            else:
                return
            if failed.code in BROKEN and await self._is_dead(address.pid):
                raise OblixError("process_died", "the embedded model's process died", provider=NAME) from failed
            raise failed

    def _capabilities(self, facts: ModelFacts) -> frozenset[str]:
        """Tools depend on the model's chat template; several choices are computed side by side, one in each slot."""
        tools = {TOOLS} if facts.tools else set()
        choices = {CHOICES} if self._settings.slots > 1 else set()
        return ALWAYS | tools | choices

    async def _check(self, request: ChatRequest, model: str) -> None:
        """Refuse what cannot end well, before a model is loaded for it."""
        known = await self._engine.model()
        if known is not None and model != known.name:
            raise OblixError("upstream_model_not_found", f"the embedded model is {known.name!r}", param="model")
        slots, context = self._settings.slots, self._settings.context
        if request.n > slots:
            raise OblixError("upstream_unsupported", f"the embedded model gives at most {slots} choices", param="n")
        if estimate_prompt(request) > HOPELESS * context:
            text = f"the prompt does not fit the embedded model's context of {context} tokens"
            raise OblixError("context_length_exceeded", text, param="messages")

    def _with_temperature(self, request: ChatRequest) -> ChatRequest:
        """A client that says nothing gets ours: at temperature 0 a small model repeats itself for ever."""
        if request.temperature is not None:
            return request
        chosen = self._settings.temperature
        body = {**request.body, "temperature": chosen} if request.body else request.body
        return msgspec.structs.replace(request, temperature=chosen, body=body)

    async def _is_dead(self, pid: int) -> bool:
        """Whether the process ``pid`` has ended, or does so in a moment."""
        state = self._engine.state
        with trio.move_on_after(OBITUARY_SECONDS):
            while state.value.pid == pid:
                await state.newer(state.version)
        return state.value.pid != pid

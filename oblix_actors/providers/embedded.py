"""The embedded model as a provider: leases the engine, then speaks llama.cpp's OpenAI-compatible API to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import JSON_OBJECT, JSON_SCHEMA, LOGPROBS, ChatRequest
from oblix_actors.core.upstream import Emit
from oblix_actors.engine.models import ModelFile
from oblix_actors.engine.protocol import EngineAddress, EngineState
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.openai import request_headers, stream_chat
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import EmbeddedSettings
from oblix_actors.wire.openai import build_chat_body

NAME: Final = "embedded"
CAPABILITIES: Final = frozenset({JSON_OBJECT, JSON_SCHEMA, LOGPROBS})
"""What llama.cpp does with any text model: it constrains the output by a grammar. Tools, images and several
choices depend on the model, and the default one has none of them."""
BROKEN: Final = frozenset({"upstream_connect", "upstream_reset", "upstream_truncated", "upstream_malformed"})
OBITUARY_SECONDS: Final = 0.5
"""How long after a broken connection the process's death may become known."""

Leasing = Callable[[], AbstractAsyncContextManager[EngineAddress]]


class EmbeddedUpstream:
    """``lease`` and ``state`` are the engine actor's; ``model`` is ``None`` where there is no model file."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        model: ModelFile | None,
        lease: Leasing,
        state: Watch[EngineState],
        http: HttpClient,
    ) -> None:
        self._settings = settings
        self._model = model
        self._lease = lease
        self._state = state
        self._http = http

    async def discover(self) -> tuple[Model, ...]:
        """The one model, without starting anything."""
        await trio.lowlevel.checkpoint()
        if self._model is None:
            raise OblixError("engine_unavailable", "the model's file is not here: `oblix pull` fetches the default one")
        size = await trio.Path(self._model.path).stat()
        return (
            Model(
                self._model.name,
                capabilities=CAPABILITIES,
                context=self._settings.context,
                loaded=self._state.value.phase == "ready",
                size_bytes=size.st_size,
            ),
        )

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer, as :class:`oblix_actors.core.upstream.Upstream` says; starts the engine where it must."""
        if self._model is None or model != self._model.name:
            raise OblixError("upstream_model_not_found", f"the embedded model is not called {model!r}", param="model")
        async with self._lease() as address:
            body = build_chat_body(self._with_temperature(request), address.model)
            headers = request_headers(address.key)
            hide = (address.key.reveal(),)
            version = self._state.version
            try:
                await stream_chat(self._http, address.base_url, headers, body, emit, provider=NAME, hide=hide)
            except OblixError as error:
                if error.code in BROKEN and await self._died(version):
                    raise OblixError("process_died", "the embedded model's process died", provider=NAME) from error
                raise

    def _with_temperature(self, request: ChatRequest) -> ChatRequest:
        """A client that says nothing gets ours: at temperature 0 a small model repeats itself for ever."""
        if request.temperature is not None:
            return request
        chosen = self._settings.temperature
        return msgspec.structs.replace(request, temperature=chosen, body={**request.body, "temperature": chosen})

    async def _died(self, version: int) -> bool:
        """Whether the process has ended since ``version`` of its state, or does so in a moment."""
        with trio.move_on_after(OBITUARY_SECONDS):
            while self._state.value.phase == "ready":
                _, version = await self._state.newer(version)
        return self._state.value.phase != "ready"

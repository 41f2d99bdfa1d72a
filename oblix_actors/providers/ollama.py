"""Ollama through its own API, where the context's size and the options really take effect.

API: https://github.com/ollama/ollama/blob/main/docs/api.md. The bytes are read and written by
:mod:`oblix_actors.wire.ollama`; this file moves them, and remembers what the server said of its models.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
import trio

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.tokens import estimate_prompt_tokens
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.openai import request_headers
from oblix_actors.providers.relay import relay
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.ollama import (
    ChatStreamDecoder,
    Details,
    Listed,
    build_chat_body,
    describe,
    fit_num_ctx,
    parse_ps,
    parse_show,
    parse_tags,
)
from oblix_actors.wire.upstream_errors import classify

OLLAMA_URL: Final = "http://127.0.0.1:11434"
MOST_DETAILS: Final = 200
"""Models that are asked about, the first of the list: a server with more is somebody's archive."""
DETAILS_AT_ONCE: Final = 4


class OllamaUpstream:
    """One Ollama server. ``base_url`` is its root; ``key`` is sent as a bearer token (Ollama's cloud wants one).

    ``settings.models``, where there are any, are the models, in that order; a name without a tag means ``:latest``.
    """

    def __init__(self, settings: ProviderSettings, key: Secret | None, http: HttpClient) -> None:
        self._name = settings.name
        self._base_url = (settings.base_url or OLLAMA_URL).rstrip("/").removesuffix("/v1").removesuffix("/api")
        self._wanted = settings.models
        self._http = http
        self._hide = () if key is None else (key.reveal(),)
        self._headers = request_headers(key, settings.headers)
        self._details: dict[str, Details] = {}
        """By digest: they change only with it. Bounded by the server's list."""
        self._digests: dict[str, str] = {}
        self._contexts: dict[str, int] = {}
        """The context each model is in memory with, as far as we know."""

    async def discover(self) -> tuple[Model, ...]:
        """The models on disk, those in memory first, those that only a cloud runs last.

        Raises :class:`OblixError` when the server does not list them; what it does not say of one is left open.
        """
        listed = self._choose(parse_tags(await self._request("GET", "/api/tags")))
        try:
            loaded: dict[str, int | None] | None = parse_ps(await self._request("GET", "/api/ps"))
        except OblixError:  # before 0.1.38
            loaded = None
        self._digests = {entry.name: entry.digest for entry in listed}
        self._contexts = {name: context for name, context in (loaded or {}).items() if context is not None}
        await self._learn(listed)
        models = [
            describe(entry, self._details.get(entry.digest), loaded=None if loaded is None else entry.name in loaded)
            for entry in listed
        ]
        if self._wanted:
            return tuple(models)
        return tuple(sorted(models, key=lambda model: (model.remote, not model.loaded)))

    async def warm(self, model: str) -> None:
        """Have the server load ``model``: a generation without a prompt does nothing else."""
        await self._request("POST", "/api/generate", msgspec.json.encode({"model": model, "stream": False}))

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer, as :class:`oblix_actors.core.upstream.Upstream` says."""
        name = model if model in self._digests else f"{model}:latest"
        details = self._details.get(self._digests.get(name, ""), Details())
        try:
            num_ctx = self._fit(request, name, details)
            body = build_chat_body(request, model, num_ctx=num_ctx, think=details.think)
            url = f"{self._base_url}/api/chat"
            async with self._http.stream("POST", url, headers=self._headers, content=body) as response:
                if response.status == 200 and name in self._digests:
                    self._contexts[name] = num_ctx
                decoder = ChatStreamDecoder(single_call=request.parallel_tool_calls is False)
                await relay(response, decoder, emit, provider=self._name, hide=self._hide)
        except OblixError as error:
            error.provider = error.provider or self._name
            raise

    def _fit(self, request: ChatRequest, name: str, details: Details) -> int:
        """The context for this request: what the model is loaded with, or what its Modelfile says, where it fits."""
        return fit_num_ctx(
            estimate_prompt_tokens(request),
            request.max_tokens,
            details.context,
            loaded=self._contexts.get(name, details.num_ctx),
        )

    def _choose(self, listed: tuple[Listed, ...]) -> tuple[Listed, ...]:
        if not self._wanted:
            return listed
        known = {entry.name: entry for entry in listed}
        return tuple([known.get(name) or known.get(f"{name}:latest") or Listed(name) for name in self._wanted])

    async def _learn(self, listed: tuple[Listed, ...]) -> None:
        """Ask about the models that are new; forget those that are gone."""
        here = {entry.digest for entry in listed}
        self._details = {digest: details for digest, details in self._details.items() if digest in here}
        new = {entry.digest: entry.name for entry in listed[:MOST_DETAILS] if entry.digest not in self._details}
        new.pop("", None)
        places = trio.CapacityLimiter(DETAILS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for digest, name in new.items():
                nursery.start_soon(self._ask_about, digest, name, places)

    async def _ask_about(self, digest: str, name: str, places: trio.CapacityLimiter) -> None:
        async with places:
            try:
                body = await self._request("POST", "/api/show", msgspec.json.encode({"model": name}))
                self._details[digest] = parse_show(body, name)
            except OblixError:
                return  # the model is still listed; the next discovery asks again

    async def _request(self, method: str, path: str, content: bytes | None = None) -> bytes:
        try:
            reply = await self._http.request(method, self._base_url + path, headers=self._headers, content=content)
            if reply.status != 200:
                raise classify(
                    reply.status, reply.headers, reply.body, provider=self._name, now=time.time(), hide=self._hide
                )
        except OblixError as error:
            error.provider = error.provider or self._name
            raise
        return reply.body

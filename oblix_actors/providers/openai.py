"""Any upstream that speaks OpenAI's Chat Completions: OpenAI, OpenRouter, Groq, vLLM, llama.cpp, LM Studio and others.

API: https://platform.openai.com/docs/api-reference/chat and …/models/list. The bytes are read and written by
:mod:`oblix_actors.wire.openai`; this file moves them. :func:`stream_chat` and :func:`list_models` are for other
adapters, too, whose upstream speaks the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient, Response
from oblix_actors.providers.relay import relay
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.openai import ChatStreamDecoder, build_chat_body, decode_completion, parse_models
from oblix_actors.wire.upstream_errors import classify

OPENAI_URL: Final = "https://api.openai.com/v1"
MAX_COMPLETION_BYTES: Final = 32 * 1024 * 1024
_NO_LIST: Final = frozenset({404, 405, 501})


class OpenAIUpstream:
    """One configured provider. ``key`` is sent as a bearer token; ``settings.headers`` are sent, too, and win.

    ``settings.models``, where there are any, are the models, in that order: those that the upstream does not list are
    believed.
    """

    def __init__(self, settings: ProviderSettings, key: Secret | None, http: HttpClient) -> None:
        self._name = settings.name
        self._base_url = (settings.base_url or OPENAI_URL).rstrip("/")
        self._wanted = settings.models
        self._http = http
        self._hide = () if key is None else (key.reveal(),)
        self._headers = request_headers(key, settings.headers)

    async def discover(self) -> tuple[Model, ...]:
        """The models, from ``GET {base_url}/models``.

        Raises :class:`OblixError`: ``upstream_auth`` for a bad key, ``upstream_malformed`` for a stranger on the port.
        """
        try:
            listed = await list_models(self._http, self._base_url, self._headers, provider=self._name, hide=self._hide)
        except OblixError as error:
            if self._wanted and error.upstream_status in _NO_LIST:
                listed = ()
            else:
                raise
        if not self._wanted:
            return listed
        known = {model.id: model for model in listed}
        return tuple([known.get(name) or Model(name) for name in self._wanted])

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer, as :class:`oblix_actors.core.upstream.Upstream` says."""
        body = build_chat_body(request, model)
        await stream_chat(self._http, self._base_url, self._headers, body, emit, provider=self._name, hide=self._hide)


def request_headers(key: Secret | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of every request: JSON both ways, the key as a bearer token, then ``extra``, which wins."""
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if key is not None:
        headers["authorization"] = f"Bearer {key.reveal()}"
    headers.update({name.lower(): value for name, value in (extra or {}).items()})
    return headers


async def list_models(
    http: HttpClient,
    base_url: str,
    headers: Mapping[str, str],
    *,
    provider: str,
    hide: tuple[str, ...] = (),
) -> tuple[Model, ...]:
    """The models that ``{base_url}/models`` lists. ``hide`` are secrets that no message may show."""
    try:
        reply = await http.request("GET", f"{base_url}/models", headers=headers)
        if reply.status != 200:
            raise classify(reply.status, reply.headers, reply.body, provider=provider, now=time.time(), hide=hide)
        return parse_models(reply.body)
    except OblixError as error:
        error.provider = error.provider or provider
        raise


async def stream_chat(
    http: HttpClient,
    base_url: str,
    headers: Mapping[str, str],
    body: bytes,
    emit: Emit,
    *,
    provider: str,
    hide: tuple[str, ...] = (),
) -> None:
    """Send a chat completion's ``body`` to ``{base_url}/chat/completions``, and what comes back to ``emit``.

    One call of ``emit`` for each read of the upstream. Returns once the upstream's terminal marker was read; raises
    :class:`OblixError` for everything else. An upstream that answers with one JSON object instead of a stream is
    understood, too. ``hide`` are secrets that no message may show.
    """
    try:
        async with http.stream("POST", f"{base_url}/chat/completions", headers=headers, content=body) as response:
            await _relay(response, emit, provider, hide)
    except OblixError as error:
        error.provider = error.provider or provider
        raise


async def _relay(response: Response, emit: Emit, provider: str, hide: tuple[str, ...]) -> None:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status == 200 and media_type == "application/json":
        await emit(decode_completion(await response.read_all(MAX_COMPLETION_BYTES)))
    else:
        await relay(response, ChatStreamDecoder(), emit, provider=provider, hide=hide)

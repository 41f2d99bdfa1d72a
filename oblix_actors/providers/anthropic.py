"""Anthropic's Messages API, and other vendors' that speak it.

API: https://docs.anthropic.com/en/api/messages and …/models-list. The bytes are read and written by
:mod:`oblix_actors.wire.anthropic`; this file moves them, and remembers what each model accepts.
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import quote

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.upstream import Emit
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient
from oblix_actors.providers.openai import request_headers
from oblix_actors.providers.relay import relay
from oblix_actors.settings import ProviderSettings, Secret
from oblix_actors.wire.anthropic import (
    Listing,
    MessageStreamDecoder,
    Traits,
    build_messages_body,
    capabilities,
    guess_traits,
    parse_models,
)
from oblix_actors.wire.upstream_errors import classify

ANTHROPIC_URL: Final = "https://api.anthropic.com/v1"
VERSION: Final = "2023-06-01"
"""The next one, 2026-10-21, takes temperature from the models that still have it, and compatible servers lack it
(https://platform.claude.com/docs/en/api/versioning)."""
DEFAULT_MAX_TOKENS: Final = 32_000
"""Of an answer whose client sets no limit: the API wants one."""
MOST_PAGES: Final = 5
"""Of up to 1000 models each."""
_NO_LIST: Final = frozenset({404, 405, 501})


class AnthropicUpstream:
    """One configured provider. ``base_url`` may end with ``/v1`` or before it; ``key`` is sent as ``x-api-key``.

    ``settings.models``, where there are any, are the models, in that order: those that the upstream does not list are
    believed.
    """

    def __init__(self, settings: ProviderSettings, key: Secret | None, http: HttpClient) -> None:
        self._name = settings.name
        self._base_url = (settings.base_url or ANTHROPIC_URL).rstrip("/").removesuffix("/v1") + "/v1"
        self._wanted = settings.models
        self._http = http
        self._hide = () if key is None else (key.reveal(),)
        own = {"anthropic-version": VERSION} | ({} if key is None else {"x-api-key": key.reveal()})
        self._headers = own | request_headers(None, settings.headers)
        self._traits: dict[str, Traits] = {}

    async def discover(self) -> tuple[Model, ...]:
        """The models, from ``GET {base_url}/v1/models``, newest first.

        Raises :class:`OblixError`: ``upstream_auth`` for a bad key, ``upstream_malformed`` for a stranger.
        """
        try:
            listed = await self._list()
        except OblixError as error:
            if not self._wanted or error.upstream_status not in _NO_LIST:
                raise
            listed = ()
        if not self._wanted:
            return listed
        known = {model.id: model for model in listed}
        return tuple(
            [known.get(name) or Model(name, capabilities=capabilities(guess_traits(name))) for name in self._wanted]
        )

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer, as :class:`oblix_actors.core.upstream.Upstream` says."""
        try:
            body = build_messages_body(
                request, model, default_max_tokens=DEFAULT_MAX_TOKENS, traits=self._traits.get(model)
            )
            url = f"{self._base_url}/messages"
            async with self._http.stream("POST", url, headers=self._headers, content=body) as response:
                await relay(response, MessageStreamDecoder(), emit, provider=self._name, hide=self._hide)
        except OblixError as error:
            error.provider = error.provider or self._name
            raise

    async def _list(self) -> tuple[Model, ...]:
        models: list[Model] = []
        traits: dict[str, Traits] = {}
        after = ""
        for _ in range(MOST_PAGES):
            page = await self._page(f"?limit=1000{after}")
            models += page.models
            traits |= page.traits
            if page.next_after is None:
                break
            after = f"&after_id={quote(page.next_after, safe='')}"
        self._traits = traits
        return tuple(models)

    async def _page(self, query: str) -> Listing:
        try:
            reply = await self._http.request("GET", f"{self._base_url}/models{query}", headers=self._headers)
            if reply.status != 200:
                raise classify(
                    reply.status, reply.headers, reply.body, provider=self._name, now=time.time(), hide=self._hide
                )
            return parse_models(reply.body)
        except OblixError as error:
            error.provider = error.provider or self._name
            raise

"""A server that runs already, as the other commands use it: its paths over HTTP, its errors as ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec
import trio

from oblix_actors.cli.terminal import url_of
from oblix_actors.errors import OblixError
from oblix_actors.providers.http import HttpClient, Response
from oblix_actors.settings import Settings
from oblix_actors.wire.sse import SSEDecoder

KNOCK_SECONDS: Final = 1.0
MAX_ERROR_BYTES: Final = 65_536
KEY_VARIABLE: Final = "OBLIX_API_KEY"
"""The environment variable with the key that is shown to the server."""

Chunk = dict[str, Any]


class Remote:
    """One server at ``url`` (without ``/v1``)."""

    def __init__(self, http: HttpClient, url: str, key: str | None) -> None:
        self.url = url
        self._http = http
        self._headers = {"content-type": "application/json"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"

    async def is_there(self) -> bool:
        """Whether a server of ours answers at all."""
        with trio.move_on_after(KNOCK_SECONDS):
            try:
                reply = await self._http.request("GET", f"{self.url}/livez", max_bytes=MAX_ERROR_BYTES)
            except OblixError:
                return False
            return reply.status == 200 and b"alive" in reply.body
        return False

    async def get(self, path: str, *, good: tuple[int, ...] = (200,)) -> Any:
        """The JSON at ``path``. Raises :class:`OblixError` with the server's own message."""
        reply = await self._http.request("GET", self.url + path, headers=self._headers)
        if reply.status not in good:
            raise error_of(reply.status, reply.body)
        return _object(reply.body)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that ``path`` answers ``body`` with. Raises :class:`OblixError` with the server's own message."""
        content = msgspec.json.encode(body)
        reply = await self._http.request("POST", self.url + path, headers=self._headers, content=content)
        if reply.status != 200:
            raise error_of(reply.status, reply.body)
        return _object(reply.body)

    async def complete(self, body: dict[str, Any]) -> tuple[Any, Mapping[str, str]]:
        """A whole chat completion, and the response's headers."""
        async with self._post(body) as response:
            data = await response.read_all(64 * 1024 * 1024)
            if response.status != 200:
                raise error_of(response.status, data)
            return _object(data), response.headers

    async def stream(self, body: dict[str, Any], take: Callable[[Chunk], None]) -> Mapping[str, str]:
        """A streamed chat completion, chunk by chunk; returns the response's headers.

        Raises :class:`OblixError` for an error before or in the middle of it, and for an end without ``[DONE]``.
        """
        decoder = SSEDecoder()
        async with self._post(body) as response:
            if response.status != 200:
                raise error_of(response.status, await response.read_all(MAX_ERROR_BYTES, cut=True))
            while data := await response.read():
                for event in decoder.feed(data):
                    if event.data.strip() == b"[DONE]":
                        return response.headers
                    chunk = _object(event.data)
                    if isinstance(chunk.get("error"), dict):
                        raise error_of(502, event.data)
                    take(chunk)
        raise OblixError("upstream_truncated", "the connection ended before the answer was complete")

    def _post(self, body: dict[str, Any]) -> AbstractAsyncContextManager[Response]:
        content = msgspec.json.encode(body)
        return self._http.stream("POST", f"{self.url}/v1/chat/completions", headers=self._headers, content=content)


def address(settings: Settings, url: str | None) -> str:
    """Where the server is: ``url`` where one was given, with or without ``/v1``, else where the settings put it."""
    if url is None:
        return url_of(settings.server.host, settings.server.port)
    if "://" not in url:
        url = f"http://{url}"
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def key_for(settings: Settings, url: str | None) -> str | None:
    """The key to show: ``OBLIX_API_KEY``, else, to the configured server and nobody else, the first that it accepts."""
    from oblix_actors.config import client_keys

    if given := os.environ.get(KEY_VARIABLE, "").strip():
        return given
    if url is not None:
        return None
    keys = client_keys(settings.server, os.environ)
    return keys[0].reveal() if keys else None


def error_of(status: int, body: bytes) -> OblixError:
    """What the server says went wrong."""
    try:
        error = msgspec.json.decode(body)["error"]
        message = str(error["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        message = f"the server answered {status}, and not as one of ours does"
    return OblixError("internal", message)


def _object(data: bytes) -> Any:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        raise OblixError("upstream_malformed", "the server's answer is not the JSON it should be")
    return value

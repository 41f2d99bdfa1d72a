"""A client that sees everything: one connection, proper HTTP or half of it, and the answers byte by byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import h11
import trio


@dataclass
class Answer:
    """A response, as far as it was read."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """The body; it must say that it is JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body, parse_constant=_no_constant)

    def error(self) -> dict[str, Any]:
        """The error in it; it must look like OpenAI's."""
        document = self.json()
        assert list(document) == ["error"]
        error = document["error"]
        assert isinstance(error, dict)
        assert {"message", "type", "param", "code"} <= set(error)
        assert error["message"]
        return error

    def events(self) -> list[Any]:
        """The SSE events; comments are left out."""
        return events(self.body)


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def events(data: bytes) -> list[Any]:
    """The SSE events in ``data``: objects, and ``"[DONE]"``."""
    found: list[Any] = []
    for block in data.decode().split("\n\n"):
        if block.startswith("data: "):
            text = block.removeprefix("data: ")
            found.append(text if text == "[DONE]" else json.loads(text))
    return found


def text_of(found: list[Any]) -> str:
    """What the chunks say."""
    return "".join(
        choice["delta"].get("content") or "" for event in found if event != "[DONE]" for choice in event["choices"]
    )


class Connection:
    """A client's connection: h11 over a socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.aclose()

    async def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a request, ready for the next one."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        fields = {"host": "front", **({"content-length": str(len(body))} if body else {}), **(headers or {})}
        lines = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        data = self._h11.send(h11.Request(method=method, target=path, headers=lines)) or b""
        if body:
            data += self._h11.send(h11.Data(body)) or b""
        end = self._h11.send(h11.EndOfMessage()) or b""
        with trio.move_on_after(10):
            await self.stream.send_all(data + end)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, which may be half a request; its answer can be read like any other."""
        self._h11.send(h11.Request(method="GET", target="/", headers=[("host", "front")]))
        self._h11.send(h11.EndOfMessage())
        await self.stream.send_all(data)

    async def head(self) -> Answer:
        """The status line and the headers."""
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        assert isinstance(event, h11.Response), event
        return Answer(event.status_code, {name.decode(): value.decode() for name, value in event.headers})

    async def data(self) -> bytes:
        """The next bytes of the body; empty at its proper end."""
        while True:
            event = await self._event()
            if isinstance(event, h11.EndOfMessage):
                return b""
            assert isinstance(event, h11.Data), event
            if event.data:
                return bytes(event.data)

    async def answer(self) -> Answer:
        """The whole response. Raises ``h11.RemoteProtocolError`` when it is cut."""
        answer = await self.head()
        while data := await self.data():
            answer.body += data
        return answer

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and read the whole response."""
        await self.send(method, path, body, headers)
        return await self.answer()

    async def _event(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self.stream.receive_some(65536))
        return event

"""The menu in OpenAI's wire format: ``POST /v1/chat/completions``, ``GET /v1/models``.

Format: https://platform.openai.com/docs/api-reference/chat. The key ``wrong`` is refused.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import trio

from tests.faults.menu import EXAMPLES, Dish, order
from tests.faults.server import Exchange, Gone, Routes

HTML = b"<!doctype html><html><head><title>Sign in to the Wi-Fi</title></head><body>Welcome</body></html>"
CALLS = (("call_a", "weather", '{"city":', '"Oslo"}'), ("call_b", "time", "{}", ""))


def _error(message: str, kind: str, code: str | None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def _chunk(model: str, delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    body = {"id": "chatcmpl-fault", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
    return b"data: " + json.dumps({**body, **more}, ensure_ascii=False).encode() + b"\n\n"


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}


async def models(exchange: Exchange) -> None:
    if not await _allowed(exchange):
        return
    data = [{"id": name, "object": "model", "created": 1, "owned_by": "faults"} for name in EXAMPLES]
    await exchange.respond(200, json.dumps({"object": "list", "data": data}).encode())


async def stranger(exchange: Exchange) -> None:
    """Some other program that happens to answer 200 here."""
    await exchange.respond(200, HTML, "text/html")


async def _allowed(exchange: Exchange) -> bool:
    if exchange.request.headers.get("authorization") != "Bearer wrong":
        return True
    await exchange.respond(
        401, _error("Incorrect API key provided: wrong.", "invalid_request_error", "invalid_api_key")
    )
    return False


async def chat(exchange: Exchange) -> None:
    body = json.loads(exchange.request.body)
    model = body["model"]
    exchange.begin(model)
    if not await _allowed(exchange):
        return
    dish = order(model)
    if dish is None:
        message = f"The model `{model}` does not exist"
        await exchange.respond(404, _error(message, "invalid_request_error", "model_not_found"))
    elif dish.kind in _WHOLE:
        await _WHOLE[dish.kind](exchange, dish, model)
    else:
        await _stream(exchange, dish, model, body)


async def _hang(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.hang()


async def _status(exchange: Exchange, dish: Dish, model: str) -> None:
    headers = {"retry-after": "7"} if dish.status == 429 else {}
    await exchange.respond(dish.status, _error(f"status {dish.status} as ordered", "error", None), headers=headers)


async def _html(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.respond(200, HTML, "text/html; charset=utf-8")


def _completion(dish: Dish, model: str) -> bytes:
    message = {"role": "assistant", "content": "".join(dish.words), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {"id": "chatcmpl-fault", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return json.dumps({**body, "usage": _usage(len(dish.words))}).encode()


async def _json(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.respond(200, _completion(dish, model))


async def _gzip(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.respond(200, gzip.compress(_completion(dish, model)), headers={"content-encoding": "gzip"})


async def _gzip_bomb(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.respond(200, gzip.compress(b" " * 64_000_000), headers={"content-encoding": "gzip"})


async def _big_headers(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\n")
    try:
        while True:
            await exchange.raw(b"x-more: " + b"x" * 1000 + b"\r\n")
    finally:
        exchange.keep_alive = False


_WHOLE = {
    "hang": _hang,
    "status": _status,
    "html": _html,
    "json": _json,
    "gzip": _gzip,
    "gzip-bomb": _gzip_bomb,
    "big-headers": _big_headers,
}


def _events(dish: Dish, model: str, body: dict[str, Any], raw: bytes) -> list[bytes]:
    """The events with content, the first of which has a role and nothing else, as OpenAI does."""
    events = [_chunk(model, {"role": "assistant", "content": "", "refusal": None})]
    if dish.kind == "echo":
        events.append(_chunk(model, {"content": raw.decode()}))
    elif dish.kind == "tools":
        for index, (call, name, *pieces) in enumerate(CALLS):
            first = {"index": index, "id": call, "type": "function", "function": {"name": name, "arguments": ""}}
            events.append(_chunk(model, {"tool_calls": [first]}))
            later = [{"index": index, "function": {"arguments": piece}} for piece in pieces if piece]
            events += [_chunk(model, {"tool_calls": [piece]}) for piece in later]
    else:
        if dish.kind == "reasoning":
            events += [_chunk(model, {"reasoning_content": word}) for word in ("Let me", " think.")]
        events += [_chunk(model, {"content": word}) for word in dish.words]
    return events


def _ending(dish: Dish, model: str, body: dict[str, Any]) -> bytes:
    end = _chunk(model, {}, "tool_calls" if dish.kind == "tools" else "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        end += _chunk(model, None, usage=_usage(len(dish.words)))
    return end if dish.then == "no-done" else end + b"data: [DONE]\n\n"


async def _stream(exchange: Exchange, dish: Dish, model: str, body: dict[str, Any]) -> None:
    await exchange.start()
    for event in _events(dish, model, body, exchange.request.body):
        await _send(exchange, dish, event)
        if dish.pause:
            await trio.sleep(dish.pause)
    if dish.then == "hang":
        await exchange.hang()
    elif dish.then == "drop":
        exchange.drop()
        raise Gone
    elif dish.then == "malformed":
        await exchange.send(b'data: {"choices": [{"delta": \n\n')
    elif dish.then == "error-frame":
        await exchange.send(b"data: " + _error("the GPU fell off the bus", "server_error", None) + b"\n\n")
    elif dish.then != "truncate":
        await _send(exchange, dish, _ending(dish, model, body))
        if dish.then == "linger":
            await exchange.hang()
    await exchange.end()


async def _send(exchange: Exchange, dish: Dish, event: bytes) -> None:
    if dish.kind == "crlf":
        event = event.replace(b"\n", b"\r\n")
    if dish.kind == "bytes":
        for at in range(len(event)):
            await exchange.send(event[at : at + 1])
    else:
        await exchange.send(event)


ROUTES: Routes = {
    ("POST", "/v1/chat/completions"): chat,
    ("GET", "/v1/models"): models,
    ("GET", "/stranger/models"): stranger,
}

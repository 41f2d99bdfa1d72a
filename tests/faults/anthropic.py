"""The menu in Anthropic's wire format: ``POST /v1/messages``, and ``GET /anthropic/v1/models``.

Format: https://docs.anthropic.com/en/api/messages-streaming. Everything is also below ``/anthropic``, because
``/v1/models`` is OpenAI's here. The key ``wrong`` is refused, and so is a request without ``anthropic-version``.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import trio

from tests.faults.menu import EXAMPLES, Dish, order
from tests.faults.server import Exchange, Gone, Routes

HTML = b"<!doctype html><html><head><title>Sign in to the Wi-Fi</title></head><body>Welcome</body></html>"
CALLS = (("toolu_01A", "weather", ('{"city":', ' "Oslo"}')), ("toolu_01B", "time", ()))
PAGE = 10
"""Models on one page of the list, whatever the limit says."""
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def _error(status: int, message: str) -> bytes:
    kind = _KINDS.get(status, "api_error")
    return json.dumps(
        {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
    ).encode()


async def _allowed(exchange: Exchange) -> bool:
    headers = exchange.request.headers
    if headers.get("x-api-key") == "wrong":
        await exchange.respond(401, _error(401, "invalid x-api-key"))
        return False
    if "anthropic-version" not in headers:
        await exchange.respond(400, _error(400, "anthropic-version: header is required"))
        return False
    return True


def _support(**given: bool) -> dict[str, Any]:
    return {name: {"supported": value} for name, value in given.items()}


def _model(name: str) -> dict[str, Any]:
    types = _support(adaptive=True, disabled=True, enabled=False, between_tools=False)
    effort = _support(low=True, medium=True, high=True, max=True) | {"supported": True}
    return {
        "type": "model",
        "id": name,
        "display_name": name.title(),
        "created_at": "2025-02-19T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {
            **_support(batch=True, citations=True, image_input=True, pdf_input=True, structured_outputs=True),
            "effort": effort,
            "thinking": {"supported": True, "types": types},
        },
    }


async def models(exchange: Exchange) -> None:
    if not await _allowed(exchange):
        return
    after = dict(exchange.request.query).get("after_id")
    start = 0 if after is None else EXAMPLES.index(after) + 1
    names = EXAMPLES[start : start + PAGE]
    more = start + PAGE < len(EXAMPLES)
    body = {"data": [_model(name) for name in names], "has_more": more, "first_id": names[0], "last_id": names[-1]}
    await exchange.respond(200, json.dumps(body).encode())


def _event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def _block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> list[bytes]:
    return [
        _event("content_block_start", index=index, content_block=start),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def _opening(model: str) -> bytes:
    usage = {"input_tokens": 20, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY",
        "type": "message",
        "role": "assistant",
        "content": [],
    }
    message |= {"model": model, "stop_reason": None, "stop_sequence": None, "usage": usage}
    return _event("message_start", message=message)


def _events(dish: Dish, raw: bytes) -> list[bytes]:
    text = {"type": "text", "text": ""}
    if dish.kind == "echo":
        return _block(0, text, [{"type": "text_delta", "text": raw.decode()}])
    if dish.kind == "tools":
        blocks: list[bytes] = []
        for at, (call, name, pieces) in enumerate(CALLS):
            start = {"type": "tool_use", "id": call, "name": name, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
            blocks += _block(at, start, deltas)
        return blocks
    events: list[bytes] = []
    if dish.kind == "reasoning":
        thoughts = [{"type": "thinking_delta", "thinking": thought} for thought in ("Let me", " think.")]
        signature = {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk"}
        events += _block(0, {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signature])
    *most, last = _block(len(events) and 1, text, [{"type": "text_delta", "text": word} for word in dish.words])
    whole = dish.then in ("finish", "linger", "no-done")
    return [*events, *most, last] if whole else [*events, *most]


def _ending(dish: Dish) -> bytes:
    reason = "tool_use" if dish.kind == "tools" else "end_turn"
    delta = {"stop_reason": reason, "stop_sequence": None}
    end = _event("message_delta", delta=delta, usage={"output_tokens": len(dish.words)})
    return end if dish.then == "no-done" else end + _event("message_stop")


async def messages(exchange: Exchange) -> None:
    body = json.loads(exchange.request.body)
    model = body["model"]
    exchange.begin(model)
    if not await _allowed(exchange):
        return
    dish = order(model)
    if dish is None:
        await exchange.respond(404, _error(404, f"model: {model}"))
    elif dish.kind == "hang":
        await exchange.hang()
    elif dish.kind == "status":
        headers = {"retry-after": "7"} if dish.status == 429 else {}
        await exchange.respond(dish.status, _error(dish.status, f"status {dish.status} as ordered"), headers=headers)
    elif dish.kind == "html":
        await exchange.respond(200, HTML, "text/html; charset=utf-8")
    elif dish.kind == "gzip":
        whole = b"".join([_opening(model), *_events(dish, b""), _ending(dish)])
        await exchange.respond(200, gzip.compress(whole), "text/event-stream", {"content-encoding": "gzip"})
    else:
        await _stream(exchange, dish, model)


async def _stream(exchange: Exchange, dish: Dish, model: str) -> None:
    await exchange.start(content_type="text/event-stream; charset=utf-8")
    await _send(exchange, dish, _opening(model))
    await _send(exchange, dish, _event("ping"))
    for event in _events(dish, exchange.request.body):
        await _send(exchange, dish, event)
        await trio.sleep(dish.pause)
    if dish.then == "hang":
        await exchange.hang()
    elif dish.then == "drop":
        exchange.drop()
        raise Gone
    elif dish.then == "malformed":
        await exchange.send(b'event: content_block_delta\ndata: {"type": "content_block_delta", \n\n')
    elif dish.then == "error-frame":
        overloaded = {"type": "overloaded_error", "message": "Overloaded"}
        await exchange.send(_event("error", error=overloaded))
    elif dish.then != "truncate":
        await _send(exchange, dish, _ending(dish))
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
    ("POST", "/v1/messages"): messages,
    ("POST", "/anthropic/v1/messages"): messages,
    ("GET", "/anthropic/v1/models"): models,
}

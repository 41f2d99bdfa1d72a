"""What upstreams' refusals mean: a table of the bodies that vendors really send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.errors import KINDS
from oblix_actors.wire.retry_after import LONGEST, retry_after
from oblix_actors.wire.upstream_errors import MAX_MESSAGE, classify, clean

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def openai(message: str, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind: str, message: str) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message}}


def llama_cpp(code: int, kind: str, message: str) -> Any:
    return {"error": {"code": code, "message": message, "type": kind}}


CONTEXT, UNSUPPORTED, NO_MODEL = "context_length_exceeded", "upstream_unsupported", "upstream_model_not_found"

CASES: list[tuple[int, Any, str]] = [
    # OpenAI
    (400, openai("maximum context length is 8192 tokens", code=CONTEXT), CONTEXT),
    (400, openai("Please reduce the length of the messages."), CONTEXT),
    (400, openai("Your request was rejected by our safety system.", code="content_policy_violation"), "content_filter"),
    (400, openai("Unsupported parameter: 'max_tokens'.", code="unsupported_parameter"), UNSUPPORTED),
    (400, openai("Unsupported value: 'temperature'.", code="unsupported_value"), UNSUPPORTED),
    (400, openai("This model does not support image inputs."), UNSUPPORTED),
    (400, openai("Invalid value for 'n'", param="n"), "upstream_bad_request"),
    (400, openai("invalid model ID"), NO_MODEL),
    (401, openai("Incorrect API key provided", code="invalid_api_key"), "upstream_auth"),
    (403, openai("Country, region, or territory not supported", "request_forbidden"), "upstream_auth"),
    (404, openai("The model `x` does not exist", code="model_not_found"), NO_MODEL),
    (409, openai("conflict"), "upstream_server_error"),
    (429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), "upstream_rate_limited"),
    (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), "upstream_auth"),
    (500, openai("The server had an error", "server_error"), "upstream_server_error"),
    (503, openai("The engine is currently overloaded", "server_error"), "upstream_overloaded"),
    # Azure
    (400, {"error": {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "content_filter"),
    # Anthropic
    (400, anthropic("invalid_request_error", "prompt is too long: 214315 tokens > 200000 maximum"), CONTEXT),
    (400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit"), CONTEXT),
    (400, anthropic("invalid_request_error", "Your credit balance is too low"), "upstream_auth"),
    (400, anthropic("invalid_request_error", "messages: at least one message is required"), "upstream_bad_request"),
    (401, anthropic("authentication_error", "invalid x-api-key"), "upstream_auth"),
    (402, anthropic("billing_error", "payment"), "upstream_auth"),
    (403, anthropic("permission_error", "no"), "upstream_auth"),
    (404, anthropic("not_found_error", "model: claude-9"), NO_MODEL),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), "upstream_too_large"),
    (429, anthropic("rate_limit_error", "slow down"), "upstream_rate_limited"),
    (500, anthropic("api_error", "Internal server error"), "upstream_server_error"),
    (529, anthropic("overloaded_error", "Overloaded"), "upstream_overloaded"),
    (500, anthropic("overloaded_error", "Overloaded"), "upstream_overloaded"),
    # Ollama
    (400, {"error": "registry.ollama.ai/library/gemma:2b does not support tools"}, UNSUPPORTED),
    (404, {"error": "model 'x' not found"}, NO_MODEL),
    (500, {"error": "model runner has unexpectedly stopped"}, "upstream_server_error"),
    (500, {"error": "cudaMalloc failed: failed to allocate context window"}, "upstream_server_error"),
    (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, "upstream_overloaded"),
    # llama.cpp
    (400, llama_cpp(400, "exceed_context_size_error", "the request exceeds the available context size"), CONTEXT),
    (500, llama_cpp(500, "server_error", "Context size has been exceeded."), CONTEXT),
    (500, llama_cpp(500, "server_error", "image input is not supported - hint: provide the mmproj"), UNSUPPORTED),
    (500, llama_cpp(500, "server_error", "tools param requires --jinja flag"), UNSUPPORTED),
    (501, llama_cpp(501, "not_supported_error", "This server does not support embeddings"), UNSUPPORTED),
    (503, llama_cpp(503, "unavailable_error", "Loading model"), "upstream_overloaded"),
    (401, llama_cpp(401, "authentication_error", "Invalid API Key"), "upstream_auth"),
    # vLLM, FastAPI, Mistral, Google, OpenRouter
    (400, {"object": "error", "message": "max_model_len is 4096", "code": 400}, CONTEXT),
    (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError"}, NO_MODEL),
    (422, {"detail": [{"loc": ["body", "n"], "msg": "field required"}]}, "upstream_bad_request"),
    (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}, NO_MODEL),
    (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], "upstream_auth"),
    (402, {"error": {"message": "Insufficient credits", "code": 402}}, "upstream_auth"),
    (403, {"error": {"message": "Input was flagged by moderation", "code": 403}}, "content_filter"),
    # nothing to go by but the status
    (301, b"", "upstream_malformed"),
    (204, b"", "upstream_malformed"),
    (400, b"", "upstream_bad_request"),
    (405, b"Method Not Allowed", "upstream_malformed"),
    (408, b"", "upstream_request_timeout"),
    (410, b"", NO_MODEL),
    (413, b"<html>413 Request Entity Too Large</html>", "upstream_too_large"),
    (418, b"", "upstream_bad_request"),
    (451, b"", "content_filter"),
    (500, b"\xff\xfe", "upstream_server_error"),
    (502, b"<html><title>502 Bad Gateway</title></html>", "upstream_server_error"),
    (504, b"", "upstream_server_error"),
    (599, b"", "upstream_server_error"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "code"), CASES)
def test_what_it_means(status: int, body: Any, code: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = classify(status, {}, raw, provider="p")
    assert error.code == code
    assert (error.provider, error.upstream_status) == ("p", status)
    assert error.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (openai("The message."), "The message."),
        ({"error": "The message."}, "The message."),
        ({"message": "The message."}, "The message."),
        ({"detail": "The message."}, "The message."),
        ({"detail": [{"loc": ["body", "n"], "msg": "wrong"}]}, "body.n: wrong"),
        ({"message": {"detail": [{"msg": "wrong"}]}}, "wrong"),
        ([{"error": {"message": "The message."}}], "The message."),
        ({"error": {"message": "two\nlines\tand \x1b[31mred"}}, "two lines and [31mred"),
        ({"error": {}}, "the upstream answered 400 without a message"),
        (b"plain text", "plain text"),
        (b"<!DOCTYPE html><title>Not\n here</title>", "the upstream answered with a web page: Not here"),
        (b"<html><body>x</body></html>", "the upstream answered with a web page"),
        (b"", "the upstream answered 400 without a message"),
    ],
)
def test_the_message_is_the_upstream_s(body: Any, message: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert classify(400, {}, raw, provider=None).message == message


def test_a_redirect_says_what_to_do() -> None:
    error = classify(308, {"location": "https://elsewhere/"}, b"", provider="p")
    assert "base_url" in error.message


def test_the_field_at_fault_is_kept() -> None:
    body = json.dumps(openai("Invalid value", param="messages[0].content")).encode()
    assert classify(400, {}, body, provider="p").param == "messages[0].content"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdef123456",
        "sk-proj-AbC_dEf-1234567890",
        "sk-ant-api03-xyz-123456",
        "sk-or-v1-0123456789abcdef",
        "sk-ab***********wxyz",
        "gsk_abcdefghijkl",
        "xai-abcdefghijkl",
        "hf_abcdefghijkl",
        "AIzaSyA1234567890abcdefghijklmnopqrs",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "0123456789abcdef0123456789abcdef",
        "Bearer anything-goes/here",
    ],
)
def test_keys_are_masked(secret: str) -> None:
    message = clean(f"Incorrect API key provided: {secret}. Find yours at https://x.")
    assert secret not in message
    assert message == "Incorrect API key provided: [hidden]. Find yours at https://x." or "[hidden]" in message


def test_a_known_secret_is_masked_whatever_it_looks_like() -> None:
    body = json.dumps(openai("the key swordfish is wrong")).encode()
    assert classify(401, {}, body, provider="p", hide=("swordfish",)).message == "the key [hidden] is wrong"


@pytest.mark.parametrize(
    "text",
    [
        "The model `accounts/fireworks/models/llama-v3p1-405b-instruct` does not exist",
        "token_limit_exceeded: task-based limits of Meta-Llama-3.1-8B-Instruct-Q4_K_M",
        "see https://platform.openai.com/docs/guides/error-codes",
    ],
)
def test_what_is_no_key_stays(text: str) -> None:
    assert clean(text) == text


def test_a_long_message_is_cut() -> None:
    assert len(clean("word " * 10_000)) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "99999999"}, LONGEST),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "1"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "8s", "x-ratelimit-reset-tokens": "2m"}, 8.0),
        (
            {
                "x-ratelimit-reset-requests": "8s",
                "x-ratelimit-reset-tokens": "2m",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-remaining-requests": "5",
            },
            120.0,
        ),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": str(NOW + 9)}, 9.0),
        ({"x-ratelimit-reset": str((NOW + 9) * 1000)}, 9.0),
        ({"x-ratelimit-reset": "later"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    wait = retry_after(headers, now=NOW)
    assert wait == (None if seconds is None else pytest.approx(seconds))


def test_dates_need_a_clock() -> None:
    assert retry_after({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}) is None
    assert retry_after({"x-ratelimit-reset": str(NOW)}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 1.2s. Visit…", 1.2),
        ("Please try again in 6m0s.", 360.0),
        ("try again in 20ms", 0.02),
        ("Please retry in 3s", 3.0),
        ("try again in a while", None),
    ],
)
def test_how_long_to_wait_in_words(text: str, seconds: float | None) -> None:
    assert retry_after({}, text) == (None if seconds is None else pytest.approx(seconds))


def test_the_wait_is_part_of_the_error() -> None:
    assert classify(429, {"retry-after": "7"}, b"", provider="p").retry_after == 7.0
    assert classify(503, {"retry-after": "7"}, b"", provider="p").retry_after == 7.0
    assert classify(400, {"retry-after": "7"}, b"", provider="p").retry_after is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail", "msg", "loc", "param"]), inner)
    ),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens", "content-type"]),
    st.text(max_size=10) | st.sampled_from(["inf", "1e999", "9" * 400, "Tue, 99 Nov 9999 22:13:50 GMT"]),
)


@given(st.integers(100, 999), HEADERS, JSON | st.binary(max_size=50))
def test_any_answer_is_an_error_of_ours(status: int, headers: dict[str, str], body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = classify(status, headers, raw, provider="p", now=NOW)
    assert error.code in KINDS
    assert 0 < len(error.message) <= MAX_MESSAGE
    assert error.retry_after is None or 0 <= error.retry_after <= LONGEST

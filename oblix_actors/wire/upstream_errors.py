"""What an upstream's refusal means: HTTP status and body to one row of our taxonomy. Pure.

Reads the shapes of OpenAI (https://platform.openai.com/docs/guides/error-codes), Anthropic
(https://docs.anthropic.com/en/api/errors), Ollama (``{"error": "…"}``), llama.cpp, vLLM, FastAPI, Google and Mistral,
and HTML pages of proxies. The message a client gets is the upstream's own text, short, with anything that looks like a
key masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from oblix_actors.errors import OblixError
from oblix_actors.wire import jsontext
from oblix_actors.wire.retry_after import retry_after

MAX_MESSAGE: Final = 500
"""Characters of an upstream's message that a client gets."""
_MAX_BODY: Final = 256 * 1024

_MASK: Final = "[hidden]"
_KEYS: Final = re.compile(
    r"""(?ix)
    \b bearer \s+ [^\s"',;]+
    | \b (?: sk | pk | rk | gsk | xai | hf | r8 | fw | csk | nvapi | pplx | tgp ) [-_] [a-z0-9_\-*.]{6,}
    | \b AIza [a-z0-9_-]{20,}
    | \b eyJ [a-z0-9_-]{10,} \. [a-z0-9_.-]+
    | \b (?= [a-z]* [0-9] ) (?= [0-9]* [a-z] ) [a-z0-9]{32,} \b
    """
)

_BY_STATUS: Final[dict[int, str]] = {
    400: "upstream_bad_request",
    401: "upstream_auth",
    402: "upstream_auth",
    403: "upstream_auth",
    404: "upstream_model_not_found",
    405: "upstream_malformed",
    408: "upstream_request_timeout",
    409: "upstream_server_error",
    410: "upstream_model_not_found",
    413: "upstream_too_large",
    422: "upstream_bad_request",
    425: "upstream_server_error",
    429: "upstream_rate_limited",
    451: "content_filter",
    501: "upstream_unsupported",
    503: "upstream_overloaded",
    529: "upstream_overloaded",
}

_BY_NAME: Final[dict[str, str]] = {
    # error.code and error.type, as vendors name them
    "context_length_exceeded": "context_length_exceeded",
    "exceed_context_size_error": "context_length_exceeded",
    "string_above_max_length": "context_length_exceeded",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "moderation_blocked": "content_filter",
    "unsupported_parameter": "upstream_unsupported",
    "unsupported_value": "upstream_unsupported",
    "unsupported_model": "upstream_unsupported",
    "not_supported_error": "upstream_unsupported",
    "invalid_api_key": "upstream_auth",
    "account_deactivated": "upstream_auth",
    "authentication_error": "upstream_auth",
    "permission_error": "upstream_auth",
    "billing_error": "upstream_auth",
    "insufficient_quota": "upstream_auth",
    "billing_hard_limit_reached": "upstream_auth",
    "model_not_found": "upstream_model_not_found",
    "invalid_model": "upstream_model_not_found",
    "not_found_error": "upstream_model_not_found",
    "request_too_large": "upstream_too_large",
    "rate_limit_error": "upstream_rate_limited",
    "rate_limit_exceeded": "upstream_rate_limited",
    "overloaded_error": "upstream_overloaded",
    "unavailable_error": "upstream_overloaded",
}

_CONTEXT: Final = re.compile(
    r"(?i)maximum context length|context[ _]length|context window|context size|prompt is too long|input is too long"
    r"|too many (input )?tokens|exceeds? .{0,40}context|input length and .max_tokens. exceed"
    r"|reduce the length of the (messages|prompt)|max_model_len"
)
_UNSUPPORTED: Final = re.compile(
    r"(?i)does(n't| not) support|not supported|unsupported|requires? --jinja|no support for|is not multimodal"
    r"|not a multimodal model"
)
_FILTERED: Final = re.compile(r"(?i)content (management|filter)|content policy|flagged|safety system|usage policies")
_CREDENTIAL: Final = re.compile(
    r"(?i)api[ _]key (not|is not|is in)\s?valid|invalid api[ _-]?key|incorrect api key|credit balance"
)
_NO_MODEL: Final = re.compile(
    r"(?i)invalid model( id| name)?\b|unknown model|model .{0,120}(does not exist|not found)|failed to load model"
    r"|no such model"
)
_MAY_BE_CONTEXT: Final = frozenset({400, 413, 422, 500})
_MAY_BE_SPECIAL: Final = frozenset({400, 422})


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str | None,
    now: float | None = None,
    hide: Iterable[str] = (),
) -> OblixError:
    """The error that an answer with ``status`` other than 200 is.

    ``headers`` have lower-case names; ``now`` is Unix seconds, needed for dates in ``retry-after``; ``hide`` are
    secrets that must not be in the message whatever they look like.
    """
    value = _json(body[:_MAX_BODY])
    text = clean(error_text(value) if value is not None else _plain(body[:_MAX_BODY], headers), hide)
    code = _code(status, value, text)
    wait = retry_after(headers, text, now) if code in ("upstream_rate_limited", "upstream_overloaded") else None
    if not text:
        text = f"the upstream answered {status} without a message"
    if 300 <= status < 400 and headers.get("location"):
        text = "the upstream redirects elsewhere: set base_url to where the API is"
    return OblixError(code, text, param=_param(value), provider=provider, upstream_status=status, retry_after=wait)


def _code(status: int, value: Any, text: str) -> str:
    names = _names(value)
    named = next((_BY_NAME[name] for name in names if name in _BY_NAME), None)
    if named == "content_filter" or (_FILTERED.search(text) and status in (400, 403, 422)):
        return "content_filter"
    if named == "context_length_exceeded" or _is_context(status, text):
        return "context_length_exceeded"
    if named is not None and (named != "upstream_unsupported" or status < 500):
        # A 4xx whose body names a cause: the name is nearer to the truth than the status.
        return named
    if status in _MAY_BE_SPECIAL:
        if _CREDENTIAL.search(text):
            return "upstream_auth"
        if _NO_MODEL.search(text):
            return "upstream_model_not_found"
        if _UNSUPPORTED.search(text):
            return "upstream_unsupported"
    if status == 500 and _UNSUPPORTED.search(text):
        return "upstream_unsupported"  # llama.cpp answers so for an image to a model without vision
    return _BY_STATUS.get(status) or _by_class(status)


def _is_context(status: int, text: str) -> bool:
    if status == 500 and "exceed" not in text.lower():
        return False  # some failure that only speaks of the context
    return status in _MAY_BE_CONTEXT and _CONTEXT.search(text) is not None


def _by_class(status: int) -> str:
    if status >= 500:
        return "upstream_server_error"
    if status >= 400:
        return "upstream_bad_request"
    return "upstream_malformed"


def _json(body: bytes) -> Any:
    try:
        return jsontext.loads(body)
    except jsontext.NotJSON:
        return None


def _error(value: Any) -> Any:
    """The part of the body that speaks of the error."""
    if isinstance(value, list) and value:
        value = value[0]  # Google
    if isinstance(value, dict):
        error = value.get("error")
        return error if isinstance(error, dict) else value
    return None


def _names(value: Any) -> list[str]:
    error = _error(value)
    if not isinstance(error, dict):
        return []
    inner = error.get("innererror")
    inner = inner if isinstance(inner, dict) else {}
    found = (error.get("code"), error.get("type"), inner.get("code"))
    return [name.lower() for name in found if isinstance(name, str)]


def _param(value: Any) -> str | None:
    error = _error(value)
    param = error.get("param") if isinstance(error, dict) else None
    return param[:200] if isinstance(param, str) and param else None


def error_text(value: Any) -> str:
    """The message inside an upstream's JSON error, "" where there is none; whatever its shape."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return clean("; ".join(filter(None, (error_text(entry) for entry in value[:5]))))
    if not isinstance(value, dict):
        return ""
    for name in ("error", "message", "msg", "detail", "error_message"):
        inner = value.get(name)
        if inner:
            text = error_text(inner)
            if text:
                where = value.get("loc") if name == "msg" else None  # FastAPI names the field
                if isinstance(where, list) and where:
                    return clean(".".join(str(step) for step in where) + ": " + text)
                return text
    return ""


def _plain(body: bytes, headers: Mapping[str, str]) -> str:
    text = body.decode("utf-8", "replace")
    if "html" in headers.get("content-type", "") or re.match(r"(?is)\s*<(!doctype|html)", text):
        title = re.search(r"(?is)<title[^>]*>(.{0,500}?)</title>", text)
        return "the upstream answered with a web page" + (f": {title.group(1)}" if title else "")
    return text


def clean(text: str, hide: Iterable[str] = ()) -> str:
    """One line of at most :data:`MAX_MESSAGE` characters, without keys and control characters."""
    text = text[: MAX_MESSAGE * 20]
    for secret in hide:
        if secret:
            text = text.replace(secret, _MASK)
    text = _KEYS.sub(_MASK, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"

"""What looks like a key is blotted out; what does not is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.redact import SECRET_NAME, looks_secret, redact

SECRETS = [
    "sk-proj-abcDEF123456",
    "sk-ant-api03-xyz_123-abc",
    "sk-or-v1-0123456789abcdef",
    "gsk_0123456789abcdefghij",
    "xai-0123456789abcdefghij",
    "hf_abcdefghijk0123456789",
    "AIzaSyA0123456789abcdefghijklmnopqrstu",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "the key {} is wrong", '{{"error": "Incorrect API key provided: {}."}}', "Bearer {}", "k={}&a=b"]
)
def test_keys_of_known_shapes_go(secret: str, around: str) -> None:
    text = redact(around.format(secret))
    assert secret not in text
    assert "…" in text
    assert looks_secret(secret)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer …"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic …"),
        ("{'x-api-key': 'hunter2'}", "{'x-api-key': '…'}"),
        ("{b'x-api-key': b'hunter2'}", "{b'x-api-key': b'…'}"),
        ('{\\"api_key\\": \\"hunter2\\"}', '{\\"api_key\\": \\"…\\"}'),
        ("GET /v1/models?api_key=hunter2&limit=3", "GET /v1/models?api_key=…&limit=3"),
        ("http://me:hunter2@host:80/v1", "http://…@host:80/v1"),
        ("password=hunter2", "password=…"),
    ],
)
def test_what_is_named_a_secret_goes(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "first_token_seconds=120.0 max_tokens: 5 tokens: 7",
        "http://127.0.0.1:62549/v1/chat/completions",
        "a basic question about risk-taking and task-forces",
        "the bearer of good news",
        "ollama:llama3.2:3b at someone@example.org",
        "token_count=3 keep_alive=15",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text
    assert not looks_secret(text)


@given(st.text())
def test_any_text_is_fine_and_twice_is_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "name", ["api_key", "X-API-Key", "Authorization", "token", "access_token", "password", "cookie"]
)
def test_names_of_secrets(name: str) -> None:
    assert SECRET_NAME.match(name)


@pytest.mark.parametrize("name", ["tokens", "max_tokens", "key", "provider", "api_key_env", "first_token"])
def test_names_that_are_none(name: str) -> None:
    assert not SECRET_NAME.match(name)

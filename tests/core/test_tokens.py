"""The estimate of a prompt's tokens: never below what tokenizers make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.chat import (
    ChatRequest,
    FunctionCall,
    FunctionSpec,
    ImagePart,
    ImageURL,
    Message,
    TextPart,
    Tool,
    ToolCall,
)
from oblix_actors.core.tokens import IMAGE_TOKENS, MESSAGE_TOKENS, estimate_prompt_tokens, estimate_text_tokens


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("The quick brown fox jumps over the lazy dog.", 10, 14),  # cl100k_base: 10
        ("Привет, как у тебя дела сегодня?", 10, 20),  # o200k_base: 9
        ("今天天气怎么样?我们去公园散步吧。", 12, 28),  # o200k_base: 12
        ("🦉🦉🦉🦉", 8, 12),  # o200k_base: 2 to 3 each
        ("\ud800", 1, 3),
    ],
)
def test_text(text: str, least: int, most: int) -> None:
    assert least <= estimate_text_tokens(text) <= most


@given(st.text(st.characters()), st.text(st.characters()))
def test_more_text_is_never_fewer_tokens(one: str, two: str) -> None:
    assert estimate_text_tokens(one) <= estimate_text_tokens(one + two)
    assert estimate_text_tokens(one + two) <= estimate_text_tokens(one) + estimate_text_tokens(two)


def test_everything_counts() -> None:
    plain = ChatRequest(model="m", messages=(Message("user", "a" * 35),))
    assert estimate_prompt_tokens(plain) == MESSAGE_TOKENS + 10
    image = ImagePart(ImageURL("data:image/png;base64," + "A" * 100_000))
    drawn = ChatRequest(model="m", messages=(Message("user", (TextPart("a" * 35), image)),))
    assert estimate_prompt_tokens(drawn) == MESSAGE_TOKENS + 10 + IMAGE_TOKENS
    tool = Tool(function=FunctionSpec("weather", "of a city", {"type": "object"}))
    assert estimate_prompt_tokens(ChatRequest(model="m", messages=plain.messages, tools=(tool,))) > MESSAGE_TOKENS + 20
    call = ToolCall("c", FunctionCall("weather", '{"city": "Oslo"}'))
    called = Message("assistant", tool_calls=(call,), reasoning_content="hm" * 35)
    assert estimate_prompt_tokens(ChatRequest(model="m", messages=(called,))) >= 2 * MESSAGE_TOKENS + 20 + 6

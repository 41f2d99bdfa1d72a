"""How many tokens a prompt takes, guessed from above: for deciding whether it fits, never for billing.

No tokenizer is loaded. The counts err on the high side, so that a prompt which is said to fit does fit. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from oblix_actors.core.chat import AudioPart, ChatRequest, FilePart, ImagePart, Message

CHARACTERS_PER_TOKEN: Final = 3.5
"""Of ASCII text: English has about 4.2, source code about 3.3."""
MESSAGE_TOKENS: Final = 8
"""What a chat template puts around one message."""
IMAGE_TOKENS: Final = 1600
"""What the largest image that vendors do not scale down costs (Anthropic's documented maximum per image)."""
AUDIO_TOKENS: Final = 2000
FILE_TOKENS: Final = 8000


def estimate_text_tokens(text: str) -> int:
    """Tokens of ``text``, from above.

    By how many bytes a character has in UTF-8, because tokenizers work on those: one (ASCII) is 1 / 3.5 token, two
    (Cyrillic, Greek, Arabic, accents) half a token, three (CJK and most others) 1.5, four (emoji) 3.
    """
    characters = len(text)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size == characters:
        return math.ceil(characters / CHARACTERS_PER_TOKEN)
    one = len(text.encode("ascii", "ignore"))
    four = len(text.encode("utf-16-le", "surrogatepass")) // 2 - characters
    three = size - 2 * characters + one - 2 * four
    two = characters - one - three - four
    return math.ceil(one / CHARACTERS_PER_TOKEN + two / 2 + three * 1.5 + four * 3)


class Costs(NamedTuple):
    """What the parts of a prompt are taken to cost, in tokens: ``text`` counts a text, ``message`` and ``call`` are
    what a chat template puts around a message and a tool call."""

    text: Callable[[str], int]
    message: int
    call: int
    image: int
    audio: int
    file: int


FROM_ABOVE: Final = Costs(estimate_text_tokens, MESSAGE_TOKENS, MESSAGE_TOKENS, IMAGE_TOKENS, AUDIO_TOKENS, FILE_TOKENS)


def estimate_prompt_tokens(request: ChatRequest, costs: Costs = FROM_ABOVE) -> int:
    """Tokens of everything that ``request`` sends to a model: messages, attachments and tools."""
    total = sum(_message_tokens(message, costs) for message in request.messages)
    if request.tools:
        total += costs.text(msgspec.json.encode(request.tools).decode())
    return total


def _message_tokens(message: Message, costs: Costs) -> int:
    total = costs.message + costs.text(message.text())
    for call in message.tool_calls or ():
        if call.function is not None:
            total += costs.call + costs.text(call.function.name + call.function.arguments)
    if message.reasoning_content:
        total += costs.text(message.reasoning_content)
    if isinstance(message.content, tuple):
        for part in message.content:
            if isinstance(part, ImagePart):
                total += costs.image
            elif isinstance(part, AudioPart):
                total += costs.audio
            elif isinstance(part, FilePart):
                total += costs.file
    return total

"""Anthropic's Messages dialect, whole: what other rooms import. Each part has a file of its own.

API: https://docs.anthropic.com/en/api/messages, …/messages-streaming, …/models-list, …/errors.
"""

from oblix_actors.wire.anthropic_models import Listing, Traits, capabilities, guess_traits, parse_models
from oblix_actors.wire.anthropic_request import build_messages_body
from oblix_actors.wire.anthropic_stream import MessageStreamDecoder

__all__ = [
    "Listing",
    "MessageStreamDecoder",
    "Traits",
    "build_messages_body",
    "capabilities",
    "guess_traits",
    "parse_models",
]

"""The OpenAI dialect, whole: what other rooms import. Each half has a file of its own."""

from oblix_actors.wire.openai_models import encode_model, encode_models, parse_models
from oblix_actors.wire.openai_request import parse_chat_request
from oblix_actors.wire.openai_response import ChunkEncoder
from oblix_actors.wire.openai_upstream import ChatStreamDecoder, build_chat_body, decode_completion

__all__ = [
    "ChatStreamDecoder",
    "ChunkEncoder",
    "build_chat_body",
    "decode_completion",
    "encode_model",
    "encode_models",
    "parse_chat_request",
    "parse_models",
]

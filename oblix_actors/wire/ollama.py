"""Ollama's native dialect, whole: what other rooms import. Each part has a file of its own.

API: https://github.com/ollama/ollama/blob/main/docs/api.md, https://docs.ollama.com/api.
"""

from oblix_actors.wire.ollama_context import fit_num_ctx
from oblix_actors.wire.ollama_models import Details, Listed, describe, parse_ps, parse_show, parse_tags
from oblix_actors.wire.ollama_request import build_chat_body
from oblix_actors.wire.ollama_stream import ChatStreamDecoder

__all__ = [
    "ChatStreamDecoder",
    "Details",
    "Listed",
    "build_chat_body",
    "describe",
    "fit_num_ctx",
    "parse_ps",
    "parse_show",
    "parse_tags",
]

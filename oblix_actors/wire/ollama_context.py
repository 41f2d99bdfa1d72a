"""How large a context to ask Ollama for, so that it never drops the beginning of a prompt in silence. Pure.

Ollama loads a model with a fixed context, 4096 tokens unless told otherwise
(https://docs.ollama.com/context-length), and cuts longer prompts from the front without a word. A request with
another ``num_ctx`` than the loaded one makes it load the model anew, which takes seconds: hence steps, and the
preference for what is loaded.
"""

from __future__ import annotations

from typing import Final

from oblix_actors.errors import OblixError

DEFAULT_CONTEXT: Final = 4096
ANSWER_TOKENS: Final = 1024
"""Room for the answer of a request that sets no limit."""
LARGEST_STEP: Final = 1_048_576


def fit_num_ctx(
    prompt_tokens_estimate: int, max_tokens: int | None, limit: int | None, *, loaded: int | None = None
) -> int:
    """``num_ctx`` for a prompt of so many tokens and an answer of at most ``max_tokens``.

    ``limit`` is the model's own context, ``loaded`` the one it is in memory with, both ``None`` where unknown. The
    result doubles from 4096 up, never above ``limit``; ``loaded`` is kept where it is large enough. An answer that
    could fill more than ``limit`` gets what is left; a prompt that leaves no room raises ``context_length_exceeded``.
    """
    most = LARGEST_STEP if limit is None else limit
    if prompt_tokens_estimate >= most:
        raise OblixError(
            "context_length_exceeded",
            f"The prompt has about {prompt_tokens_estimate} tokens; this model's context has {most}.",
            param="messages",
        )
    needed = min(prompt_tokens_estimate + (ANSWER_TOKENS if max_tokens is None else max_tokens), most)
    if loaded is not None and needed <= loaded <= most:
        return loaded
    step = DEFAULT_CONTEXT
    while step < needed:
        step *= 2
    return min(step, most)

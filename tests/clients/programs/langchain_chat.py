"""LangChain's ``ChatOpenAI`` against the server: does what a user would, prints what it saw as one JSON object.

Runs in the clients' own environment. Usage: BASE_URL API_KEY MODEL MISSING_MODEL RATE_LIMITED_MODEL BREAKING_MODEL
"""

from __future__ import annotations

import json
import sys
from typing import Any

import openai
from langchain_openai import ChatOpenAI

PROMPT = "Say hello."


def main(base_url: str, key: str, model: str, missing: str, limited: str, breaking: str) -> dict[str, Any]:
    """Everything it saw."""

    def chat(name: str) -> Any:
        return ChatOpenAI(
            model=name, base_url=base_url, api_key=key, max_retries=0, max_completion_tokens=24, stream_usage=True
        )

    def streamed(name: str) -> dict[str, Any]:
        pieces = list(chat(name).stream(PROMPT))
        whole = sum(pieces[1:], pieces[0])
        with_text = sum(bool(piece.content) for piece in pieces)
        return {"text": whole.content, "pieces": with_text, "usage": whole.usage_metadata}

    def error_of(call: Any, name: str) -> list[str]:
        """The class of what it raises, and that class's bases: LangChain derives its own from the client's."""
        try:
            call(name)
        except openai.OpenAIError as error:
            return [kind.__name__ for kind in type(error).__mro__]
        return []

    def invoked(name: str) -> Any:
        return chat(name).invoke(PROMPT)

    answer = invoked(model)
    return {
        "answer": {
            "text": answer.content,
            "finish": answer.response_metadata["finish_reason"],
            "model": answer.response_metadata["model_name"],
            "usage": answer.usage_metadata,
        },
        "stream": streamed(model),
        "errors": {
            "missing": error_of(invoked, missing),
            "limited": error_of(invoked, limited),
            "breaking": error_of(streamed, breaking),
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))

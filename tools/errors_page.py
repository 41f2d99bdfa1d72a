"""Prints docs/errors.md from the taxonomy in :mod:`oblix_actors.errors`: ``just docs``.

A test compares the page with this output, so the two cannot drift apart.
"""

from __future__ import annotations

from typing import Final

from oblix_actors.errors import KINDS, Fault, Kind, Scope

HEAD: Final = """\
# Errors

Every error, on every path, is OpenAI-shaped JSON, so the official clients raise the exception class that
belongs to its status:

```json
{"error": {"message": "…", "type": "invalid_request_error", "param": "messages", "code": "invalid_request"}}
```

`message` is for people. `code` is stable: it is the key of the tables below. `param` names the request field at
fault, where there is one. `provider` is there when the failure came from one.

An error after the first token of a stream cannot change the status any more. It is then an SSE event with a
top-level `error` object, before the stream ends; a stream that ends without it and without `[DONE]` was cut
by something between you and the server.

**Another try helps** says whether the router goes on to another candidate while nothing was shown to the client yet,
and whether the same request may succeed later. **Says something about** is how far the failure reaches: only this
request, this model, or everything the provider has.

"""

TITLES: Final = {
    Fault.CLIENT: "What a request can have wrong",
    Fault.GATEWAY: "What the server could not do",
    Fault.NETWORK: "What the way to a provider did",
    Fault.UPSTREAM: "What a provider said or did",
}

FOOT: Final = """\
This page is made from `oblix_actors/errors.py` by `just docs`.
"""


def row(kind: Kind) -> str:
    """One line of a table."""
    again = "yes" if kind.retryable else "no"
    reach = {Scope.REQUEST: "the request", Scope.MODEL: "the model", Scope.PROVIDER: "the provider"}[kind.scope]
    return f"| `{kind.code}` | {kind.status} | `{kind.type}` | {kind.meaning} | {again} | {reach} |"


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for fault, title in TITLES.items():
        parts.append(f"## {title}\n\n")
        parts.append("| Code | Status | Type | Meaning | Another try helps | Says something about |\n")
        parts.append("|---|--:|---|---|---|---|\n")
        parts.extend(row(kind) + "\n" for kind in KINDS.values() if kind.fault is fault)
        parts.append("\n")
    parts.append(FOOT)
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")

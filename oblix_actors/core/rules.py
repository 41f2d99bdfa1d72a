"""The hard rules: who cannot answer a request at all, and why. Pure.

Checked in a fixed order; the first that applies is the one that is told.
"""

from __future__ import annotations

from typing import Final

from oblix_actors.core.catalogue import Locality, Model, ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Snapshot, may_go

ROUTES: Final[dict[Locality, str]] = {"local": "loopback", "lan": "lan", "cloud": "internet"}
MEMORY_FACTOR: Final = 1.15
"""A model needs its file's size and room to work: its caches and buffers."""

Verdict = tuple[str, str] | None
"""A rule's name and its reason in words, or nothing."""


def capability(request: ChatRequest, model: Model) -> Verdict:
    """What the request needs, the model must have; what nobody knows of a model is believed."""
    if not model.chat:
        return "capability", "it is not a chat model"
    if model.capabilities is not None and not request.needs <= model.capabilities:
        return "capability", f"it lacks {', '.join(sorted(request.needs - model.capabilities))}"
    return None


def context(needed: int, model: Model) -> Verdict:
    """A prompt that does not fit is never cut: ``needed`` are its tokens and those that the client wants answered."""
    if model.context is not None and needed > model.context:
        return "context", f"about {needed} tokens are needed and its context is {model.context}"
    return None


def health(provider: ProviderState, *, by_name: bool) -> Verdict:
    """Who is not ready is left out, but asked for by name it is tried: it may be back."""
    if provider.status == "ready" or by_name:
        return None
    return "health", provider.reason or provider.status


def connectivity(locality: Locality, snapshot: Snapshot) -> Verdict:
    """A provider behind a route that is gone cannot be reached."""
    route = ROUTES[locality]
    if snapshot.network.routes.get(route) == "disconnected":
        return "connectivity", f"the {route} route is disconnected"
    return None


def memory(provider: ProviderState, model: Model, snapshot: Snapshot) -> Verdict:
    """A local model that is not loaded must fit into what is free."""
    free = snapshot.machine.memory_available
    if provider.locality != "local" or model.loaded is not False or model.size_bytes is None or free is None:
        return None
    needed = model.size_bytes * MEMORY_FACTOR
    if needed > free:
        return "memory", f"it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    return None


def privacy(locality: Locality, snapshot: Snapshot) -> Verdict:
    """No request leaves its fence."""
    if may_go(snapshot.fence, locality):
        return None
    return "privacy", f"it is {locality}, and the request stays {snapshot.fence}: {snapshot.fence_reason}"


def budget(cost: float, limit: float | None) -> Verdict:
    """``oblix.max_cost`` of the request, in US dollars."""
    if limit is not None and cost > limit:
        return "budget", f"it costs about ${cost:.4f}, and the request allows ${limit:.4f}"
    return None

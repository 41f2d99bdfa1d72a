"""What a worker asks of an upstream's adapter: the seam between the actors and :mod:`oblix_actors.providers`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from oblix_actors.core.catalogue import Model
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Batch


class Emit(Protocol):
    """Takes all the events that one upstream read gave; waits while the client is slower."""

    async def __call__(self, batch: Batch) -> None: ...


class Upstream(Protocol):
    """One provider. An adapter holds no state about jobs; it is safe to call from many tasks at once.

    It sets no deadlines: its caller does, with cancel scopes. Every failure it raises is an
    :class:`~oblix_actors.errors.OblixError`.
    """

    async def discover(self) -> tuple[Model, ...]:
        """The models this provider offers now. Costs no tokens."""
        ...

    async def chat(self, request: ChatRequest, model: str, emit: Emit) -> None:
        """Stream the answer of ``model`` to ``request`` into ``emit``.

        Returns once the upstream's own terminal marker was read; an end without it raises
        ``upstream_truncated``. Never emits :class:`~oblix_actors.core.events.Served`.
        """
        ...


@runtime_checkable
class Warmable(Protocol):
    """An upstream that can load a model into memory before it is needed."""

    async def warm(self, model: str) -> None:
        """Load ``model``; costs no tokens. Raises :class:`~oblix_actors.errors.OblixError` when it cannot."""
        ...

"""One attempt under way: the deadlines, the claim, and the one hop from the upstream to the job's channel.

Used by a provider's worker, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from oblix_actors.actors.messages import Attempt
from oblix_actors.core.catalogue import Model, ProviderState, runs_at
from oblix_actors.core.events import Aborted, Batch, Completed, Delta, Served, Usage
from oblix_actors.core.privacy import assert_inside
from oblix_actors.core.timing import Pace
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import Job, NotTheWriter
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import RoutingSettings


class Run:
    """One attempt under way: holds back what comes before the first content, then writes to the job."""

    def __init__(
        self,
        attempt: Attempt,
        provider: Watch[ProviderState],
        *,
        claimed: Callable[[Attempt], None],
        stalled_client: float,
    ) -> None:
        self.job: Job = attempt.job
        self.number = attempt.number
        self._attempt = attempt
        self._provider = provider
        self._claimed = claimed
        self._stalled_client = stalled_client
        self._model = attempt.model
        self._reason = attempt.reason
        self._held: Batch = []
        self._privacy = attempt.privacy
        self._began = trio.current_time()
        self._first: float | None = None
        self._usage: Usage | None = None
        self._loaded: bool | None = None
        self._lost: OblixError | None = None
        self._heard = self._began
        self._deadline = trio.CancelScope()
        self._between: float = inf

    async def stream(self, upstream: Upstream, routing: RoutingSettings) -> None:
        """Ask the upstream and hand on what it says; ends the job when the answer is whole."""
        state = self._provider.value
        model = next((model for model in state.models if model.id == self._model), Model(self._model))
        assert_inside(self._privacy, runs_at(state, model))
        self._loaded = model.loaded
        self._between = routing.between_tokens_seconds
        self._began = self._heard = trio.current_time()
        self._deadline.deadline = trio.current_time() + routing.first_token_seconds
        with self._deadline:
            await upstream.chat(self.job.request, self._model, self._emit)
            if self.job.claimed_by != self.number:  # an answer without content is an answer
                await self._write([])
            self.job.finish(Completed())
        if self._lost is not None and self._deadline.cancelled_caught:
            raise self._lost
        if self._deadline.cancelled_caught:
            if self.job.claimed_by == self.number:
                raise OblixError("upstream_stall", f"nothing came for {routing.between_tokens_seconds:g} s")
            raise OblixError("upstream_first_token_timeout", f"no first token within {routing.first_token_seconds:g} s")

    async def _emit(self, batch: Batch) -> None:
        self._heard = trio.current_time()
        if self.job.claimed_by != self.number and not any(
            isinstance(event, Delta) and event.has_content() for event in batch
        ):
            self._held += batch
            return
        await self._write(batch)
        self._heard = trio.current_time()
        self._deadline.deadline = self._heard + self._between

    def leave(self, error: OblixError) -> None:
        """Stop waiting for the upstream: this attempt fails with ``error``, now."""
        self._lost = error
        self._deadline.cancel(reason=error.code)

    @property
    def silence(self) -> float:
        """Seconds since the upstream was asked, or said something last; 0 while the client is the slow one."""
        return trio.current_time() - self._heard if self._deadline.deadline < inf else 0.0

    def pace(self) -> Pace | None:
        """What this attempt showed of the model's speed; ``None`` unless it gave a whole answer with token counts."""
        if not isinstance(self.job.outcome, Completed) or self._first is None or self._usage is None:
            return None
        usage = self._usage
        total = trio.current_time() - self._began
        return Pace(
            usage.input_tokens, usage.cached_tokens, usage.output_tokens, self._first, total, loaded=self._loaded
        )

    async def _write(self, batch: Batch) -> None:
        for event in batch:
            if isinstance(event, Usage):
                self._usage = event
        if self.job.claimed_by != self.number:
            self._first = trio.current_time() - self._began
            if not self.job.claim(self.number):
                raise NotTheWriter(f"attempt {self.number} came too late")
            self._claimed(self._attempt)
            batch = [Served(self._provider.value.name, self._model, self._reason), *self._held, *batch]
            self._held = []
        self._deadline.deadline = inf  # while the client is the slow one, the upstream is not to blame
        with trio.move_on_after(self._stalled_client) as patience:
            await self.job.emit(self.number, batch)
        if patience.cancelled_caught:
            self.job.finish(Aborted(f"the client read nothing for {self._stalled_client:g} s"))
            raise NotTheWriter("the client has stalled")

"""The body of a streamed answer: turns a job's batches into SSE bytes, one send for each batch.

A ``ResponseBody`` and not an async generator: its end is not left to the garbage collector, and Quart would run a
generator's cleanup in a task of its own choice. It never ends silently: after the last batch comes ``[DONE]``, or an
event with a top-level ``error`` and no ``[DONE]``.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import trio
from quart.wrappers.response import ResponseBody

from oblix_actors.core.events import Aborted, Batch, Completed, Delta, Failed
from oblix_actors.core.explain import explain_answer, measured
from oblix_actors.core.transcript import Transcript
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import Job
from oblix_actors.wire.openai import ChunkEncoder
from oblix_actors.wire.sse import encode_comment

KEEP_ALIVE: Final = encode_comment("keep-alive")


def failure_of(job: Job) -> OblixError | None:
    """What the client of a job that is over must be told; ``None`` after a whole answer."""
    match job.outcome:
        case Completed():
            return None
        case Failed(error):
            return error
        case Aborted(reason):  # a client that stalls may yet read on: it must not take this for the end
            return OblixError("client_stalled", f"The answer was given up: {reason}.")
        case None:
            return OblixError("internal", "The answer ended before its job did.")


def speaks(batch: Batch) -> bool:
    """Whether ``batch`` has anything of the answer itself."""
    return any(isinstance(event, Delta) and event.has_content() for event in batch)


class SSEBody(ResponseBody):
    """``first`` is the job's first batch, or ``None`` when it is not there yet; ``silence`` is the seconds after
    which a comment shows that the answer still comes.

    The job is let go of by the request (:meth:`oblix_actors.front.request.FrontRequest.at_end`), not by the body.
    """

    def __init__(self, job: Job, first: Batch | None, *, silence: float) -> None:
        request = job.request
        self._job = job
        self._first = first
        self._silence = silence
        self._encoder = ChunkEncoder(job.id, job.created, request.model, include_usage=request.include_usage)
        # Only an estimate of the usage needs the whole text.
        self._transcript = Transcript() if request.include_usage or request.explain else None
        self._first_token: float | None = None
        self._begun = self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            self._begun = True
            data = KEEP_ALIVE if self._first is None else self._encode(self._first)
            if data:
                return data
        while not self._over:
            data = await self._next()
            if data:
                return data
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        batch = None
        with trio.move_on_after(self._silence) as patience:
            batch = await self._job.receive()
        if batch is not None:
            return self._encode(batch)
        return KEEP_ALIVE if patience.cancelled_caught else self._end()

    def _encode(self, batch: Batch) -> bytes:
        try:
            if self._transcript is not None:
                if self._first_token is None and speaks(batch):
                    self._first_token = trio.current_time() - self._job.submitted
                self._transcript.add(batch)
            return self._encoder.encode(batch)
        except OblixError as error:
            return self._break(error)
        except UnicodeEncodeError:  # half a surrogate pair is no text that JSON can carry
            return self._break(OblixError("upstream_malformed", "The upstream sent text that is not Unicode."))

    def _end(self) -> bytes:
        error = failure_of(self._job)
        if error is not None:
            return self._break(error)
        self._over = True
        if self._transcript is None:
            return self._encoder.finish()
        job = self._job
        usage = self._transcript.usage(job.request)
        if not job.request.explain or job.decision is None:
            return self._encoder.finish(usage)
        metrics = measured(usage, first=self._first_token, total=trio.current_time() - job.submitted)
        return self._encoder.finish(usage, oblix=explain_answer(job.decision, metrics, usage))

    def _break(self, error: OblixError) -> bytes:
        self._over = True
        return self._encoder.error(error)

"""``POST /v1/chat/completions``: reads the request, submits a job, and turns what comes back into the response.

Format: https://platform.openai.com/docs/api-reference/chat/create. The status of a stream is chosen after the job's
first batch or its end, so that an early failure has its own; only where nothing came within
``keep_alive_seconds`` is it 200 without knowing better (and then without the ``x-oblix-*`` headers: who answers
stands in the chunks' ``model``).
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

import structlog
import trio
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from oblix_actors.actors.messages import Abandoned, Submit
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.events import Batch, Failed, Served
from oblix_actors.core.explain import explain_answer, measured
from oblix_actors.core.transcript import Transcript
from oblix_actors.errors import Busy, OblixError
from oblix_actors.front.body import SSEBody, failure_of, speaks
from oblix_actors.front.errors import error_response, json_response
from oblix_actors.front.headers import served_headers
from oblix_actors.front.house import House
from oblix_actors.front.limits import check_content, check_key, fence_of, read_body
from oblix_actors.front.options import refuse_what_if, with_options
from oblix_actors.front.request import FrontRequest, current
from oblix_actors.runtime.job import Job
from oblix_actors.wire.openai import parse_chat_request

log = structlog.get_logger("front")


def install(app: QuartTrio, house: House) -> None:
    """Add the route to ``app``."""

    async def chat_completions() -> TrioResponse:
        request = current()
        check_key(request, house.keys)
        check_content(request)
        chat = parse_chat_request(await read_body(request, house.settings))
        chat = with_options(chat, request.headers.get, fence_of(request, house.fenced))
        refuse_what_if(chat)
        job = _submit(house, request, chat)
        return await (_stream(house, job) if chat.stream else _whole(job))

    app.add_url_rule("/v1/chat/completions", view_func=chat_completions, methods=["POST"])


def _submit(house: House, request: FrontRequest, chat: ChatRequest) -> Job:
    """Open a job for ``chat`` and hand it to the router. Raises ``busy``, or ``shutting_down``."""
    try:
        job = house.jobs.open(chat, created=int(time.time()), submitted=trio.current_time())
    except Busy as busy:
        raise _busy(busy) from None
    request.at_end(partial(_let_go, house, job, request.request_id))
    try:
        house.router.tell(Submit(job))
    except Busy as busy:
        error = _busy(busy)
        job.finish(Failed(error))
        raise error from None
    return job


def _busy(busy: Busy) -> OblixError:
    return OblixError("busy", f"The server is busy: {busy}.", retry_after=1.0)


def _let_go(house: House, job: Job, request_id: str) -> None:
    """The request is over. A job that is not has lost its client: it ends here and now, its upstream request too."""
    if job.abort("the client is gone"):
        with suppress(Busy):  # the router finds the job ended whenever it looks at it next
            house.router.tell(Abandoned(job))
    log.info(
        "request",
        request=request_id,
        job=job.id,
        model=job.request.model[:100],
        stream=job.request.stream,
        outcome=type(job.outcome).__name__.lower(),
        error=job.outcome.error.code if isinstance(job.outcome, Failed) else None,
        seconds=round(trio.current_time() - job.submitted, 3),
    )


async def _stream(house: House, job: Job) -> TrioResponse:
    silence = house.settings.keep_alive_seconds
    first: Batch | None = None
    with trio.move_on_after(silence) as patience:
        first = await job.receive()
    if first is None and not patience.cancelled_caught:
        error = failure_of(job)
        if error is not None:
            return error_response(error)
        first = []  # an answer without content is an answer
    response = TrioResponse(SSEBody(job, first, silence=silence), content_type="text/event-stream; charset=utf-8")
    response.timeout = None  # Quart would cut the stream after its RESPONSE_TIMEOUT
    response.headers["cache-control"] = "no-cache"
    response.headers["x-accel-buffering"] = "no"  # nginx would hold the tokens back
    response.headers.update(served_headers(_served(first)))
    return response


def _served(batch: Batch | None) -> Served | None:
    return next((event for event in batch or () if isinstance(event, Served)), None)


async def _whole(job: Job) -> TrioResponse:
    """The answer in one piece. Where an attempt breaks off, the next starts over: nothing was shown yet."""
    transcript = Transcript()
    first: float | None = None
    while (batch := await job.receive()) is not None:
        if isinstance(batch[0], Served):
            transcript, first = Transcript(), None
        if first is None and speaks(batch):
            first = trio.current_time() - job.submitted
        transcript.add(batch)
    error = failure_of(job)
    if error is not None:
        return error_response(error)
    completion = transcript.completion(job.request, job_id=job.id, created=job.created)
    if job.request.explain and job.decision is not None:
        usage = transcript.usage(job.request)
        metrics = measured(usage, first=first, total=trio.current_time() - job.submitted)
        completion["oblix"] = explain_answer(job.decision, metrics, usage)
    return json_response(completion, headers=served_headers(transcript.served))

"""What the actors say to each other. Commands are imperatives, facts are past tense; all are frozen records."""

from __future__ import annotations

import msgspec

from oblix_actors.core.catalogue import Plan, ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.errors import OblixError
from oblix_actors.runtime.job import Job
from oblix_actors.runtime.mailbox import Mailbox, Reply


class Submit(msgspec.Struct, frozen=True):
    """Front to router: find somebody to answer ``job``."""

    job: Job


class Abandoned(msgspec.Struct, frozen=True):
    """Front to router: the client of ``job`` is gone, and the job has been ended already."""

    job: Job


class Explain(msgspec.Struct, frozen=True):
    """Anybody to router: what would you do with ``request``, and why?"""

    request: ChatRequest
    reply: Reply[Plan]


class Attempt(msgspec.Struct, frozen=True):
    """Router to worker: try to answer ``job`` with ``model``. ``reason`` is why this one was chosen."""

    job: Job
    number: int
    model: str
    reason: str


class Claimed(msgspec.Struct, frozen=True):
    """Worker to router: this attempt has shown the first content and holds the job."""

    job: Job
    number: int


class Bounced(msgspec.Struct, frozen=True):
    """Worker to router: this attempt failed; ``shown`` says whether the client has seen content of it."""

    job: Job
    number: int
    error: OblixError
    shown: bool


class Settled(msgspec.Struct, frozen=True):
    """Worker to router: this attempt is over and the job with it (answered, or its client gone)."""

    job: Job
    number: int


class WorkerChanged(msgspec.Struct, frozen=True):
    """Worker to router: this is how my provider is now."""

    state: ProviderState


RouterMessage = Submit | Abandoned | Explain | Claimed | Bounced | Settled | WorkerChanged
RouterMailbox = Mailbox[RouterMessage]
WorkerMailbox = Mailbox[Attempt]

"""What the actors say to each other. Commands are imperatives, facts are past tense; all are frozen records."""

from __future__ import annotations

import msgspec

from oblix_actors.core.catalogue import ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import Decision, Name, Network, Plan, Privacy
from oblix_actors.core.timing import Pace, Speed
from oblix_actors.core.what_if import WhatIf
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
    """Anybody to router: what would you do with ``request``, and why? ``what_if`` replaces parts of what is known."""

    request: ChatRequest
    reply: Reply[Plan]
    what_if: WhatIf | None = None


class Recall(msgspec.Struct, frozen=True):
    """Anybody to router: what have you decided lately? At most ``limit`` decisions, newest first."""

    limit: int
    reply: Reply[tuple[Decision, ...]]


class RecallSpeeds(msgspec.Struct, frozen=True):
    """Notebook to router: what have you learned of the models' speeds?"""

    reply: Reply[dict[Name, Speed]]


class Attempt(msgspec.Struct, frozen=True):
    """Router to worker: try to answer ``job`` with ``model``. ``reason`` is why this one was chosen."""

    job: Job
    number: int
    model: str
    reason: str
    privacy: Privacy = "any"


class Warm(msgspec.Struct, frozen=True):
    """Router to worker: load ``model``, it will be wanted."""

    model: str


class Leave(msgspec.Struct, frozen=True):
    """Router to worker: the way to your upstream is gone, do not wait for it: fail what runs there now."""

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
    """Worker to router: this attempt is over and the job with it (answered, or its client gone).

    ``pace`` is what was measured of a whole answer.
    """

    job: Job
    number: int
    pace: Pace | None = None


class WorkerChanged(msgspec.Struct, frozen=True):
    """Worker to router: this is how my provider is now."""

    state: ProviderState


class Renewed(msgspec.Struct, frozen=True):
    """Connectivity monitor to router: the machine slept or is in another network; what failed before may work now."""


class NetworkChanged(msgspec.Struct, frozen=True):
    """Connectivity monitor to router: this is how the network is now."""

    network: Network


RouterMessage = (
    Submit
    | Abandoned
    | Explain
    | Recall
    | RecallSpeeds
    | Claimed
    | Bounced
    | Settled
    | WorkerChanged
    | NetworkChanged
    | Renewed
)
RouterMailbox = Mailbox[RouterMessage]
WorkerMessage = Attempt | Warm | Leave
WorkerMailbox = Mailbox[WorkerMessage]

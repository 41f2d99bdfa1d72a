"""What the front may see of the rest of the house: the job table, the router's mailbox, published values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oblix_actors.actors.messages import RouterMailbox
from oblix_actors.core.catalogue import ProviderState
from oblix_actors.core.decision import Privacy
from oblix_actors.runtime.job import JobTable
from oblix_actors.runtime.mailbox import MailboxState
from oblix_actors.runtime.supervisor import ActorState
from oblix_actors.settings import Secret, ServerSettings


@dataclass(frozen=True, slots=True)
class House:
    """Handed to :func:`oblix_actors.front.app.create_app` by the composition root.

    The callables read published values: they never wait. ``keys`` empty means any client key is accepted;
    ``fenced`` are client keys whose requests may not travel far. ``started`` is trio's clock; ``sensors`` gives
    extra sections of ``/health`` (JSON-ready).
    """

    settings: ServerSettings
    keys: tuple[Secret, ...]
    jobs: JobTable
    router: RouterMailbox
    providers: Callable[[], tuple[ProviderState, ...]]
    actors: Callable[[], tuple[ActorState, ...]]
    mailboxes: Callable[[], dict[str, MailboxState]]
    sensors: Callable[[], dict[str, Any]]
    started: float
    fenced: tuple[tuple[Secret, Privacy], ...] = ()

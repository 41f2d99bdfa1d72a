"""The tree of actors: what there is, in which order it starts, who is told what of whom.

Built from settings by :mod:`oblix_actors.system`, which runs it. Owns every mailbox and published value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import trio

from oblix_actors import blueprint, config
from oblix_actors.actors import notebook
from oblix_actors.actors.connectivity_monitor import ConnectivityMonitor
from oblix_actors.actors.local_servers import LocalServers
from oblix_actors.actors.messages import NetworkChanged, Renewed, RouterMailbox, WorkerMailbox
from oblix_actors.actors.resource_monitor import ResourceMonitor
from oblix_actors.actors.router import Router
from oblix_actors.actors.worker import Worker
from oblix_actors.core.catalogue import ProviderState
from oblix_actors.core.connectivity import LinkState, first
from oblix_actors.core.decision import Machine, Network
from oblix_actors.core.resources import unknown
from oblix_actors.core.signals import Stalled
from oblix_actors.core.upstream import Upstream
from oblix_actors.errors import Busy, OblixError
from oblix_actors.front.house import House
from oblix_actors.providers.build import upstream_for
from oblix_actors.providers.embedded import NAME as EMBEDDED
from oblix_actors.providers.embedded import EmbeddedUpstream
from oblix_actors.providers.http import HttpClient
from oblix_actors.runtime.job import JobTable
from oblix_actors.runtime.mailbox import Mailbox, MailboxState
from oblix_actors.runtime.supervisor import ChildSpec, Run, Supervisor
from oblix_actors.runtime.watch import Watch
from oblix_actors.settings import ProviderSettings, Settings

MAIL_PER_JOB: Final = 4
"""What one open job can have in the router's mailbox at once: it is handed in, claimed, bounced and abandoned."""
OTHER_MAIL: Final = 256
"""Room in a mailbox for what is not about jobs."""
ENGINE_STOP_SECONDS: Final = 6.0
"""The embedded model's process may take this long to end before it is killed."""


class Tree:
    """Open :attr:`http`, then :meth:`start` the tree in a nursery, and :meth:`stop` it before that nursery ends."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._fenced = config.bound_keys(settings.privacy, environ)
        keys = config.client_keys(settings.server, environ)
        self._keys = (*keys, *(key for key, _ in self._fenced)) if keys else ()  # without keys, any is accepted
        self._providers = config.effective_providers(settings, environ)
        self._supervisor = Supervisor()
        self._jobs = JobTable(settings.server.max_jobs)
        self._router_mail: RouterMailbox = Mailbox("router", MAIL_PER_JOB * settings.server.max_jobs + OTHER_MAIL)
        self._worker_mail: dict[str, WorkerMailbox] = {}
        self._workers: list[Worker] = []
        self._started = trio.current_time()
        self._engine = blueprint.engine(settings)
        self._notes = blueprint.notes(settings)
        self._machine = Watch(unknown(self._started))
        self._world = Watch(0)  # counts sleeps and changes of network
        self._resources = ResourceMonitor(
            settings.resource_monitor,
            children=self._children,
            busy=self._local_jobs,
            watch=self._machine,
            changed=lambda _: None,  # the router reads the published report when it decides
        )
        self._servers = LocalServers(lambda: self._local_jobs(servers_only=True) > 0)
        self._links = ConnectivityMonitor(
            settings.connectivity,
            tuple(blueprint.host(provider) for provider in self._providers if provider.base_url is not None),
            watch=Watch(first(self._started).link),
            changed=self._network_changed,
            woke=self._look_again,
            network_changed=self._look_again,
        )
        self.http = HttpClient(connect_seconds=settings.routing.connect_seconds, observe=self._links.tell)

    async def start(self, nursery: trio.Nursery) -> None:
        """Start every actor, monitors first, the router last; returns when all are useful."""

        async def start(name: str, run: Run, stop_after: float = 2.0) -> None:
            await self._supervisor.start(nursery, ChildSpec(name, run, stop_after))

        await start("resource_monitor", self._resources.run)
        await start("local_servers", self._servers.run)
        await start("connections", self._keep_connections_fresh)
        await start("connectivity", self._links.run)
        if self._engine is not None:
            await start("engine", self._engine.run, ENGINE_STOP_SECONDS)
        states = tuple(self._build(order, provider) for order, provider in enumerate(self._all_providers()))
        async with trio.open_nursery() as looking:  # each waits a moment for its upstream: all at once
            for worker in self._workers:
                looking.start_soon(start, f"worker:{worker.published.value.name}", worker.run)
        speeds = {} if self._notes is None else await trio.to_thread.run_sync(notebook.read, self._notes)
        router = Router(
            self._router_mail,
            self._worker_mail,
            states,
            thresholds=self._settings.resource_monitor,
            knowledge=blueprint.knowledge(self._settings, self._providers, speeds, self._see_machine),
            wishes=blueprint.wishes(self._settings),
        )
        await start("router", router.run)
        if self._notes is not None:
            await start("notebook", notebook.Notebook(self._notes, self._router_mail).run)

    async def stop(self) -> None:
        """Tell every open job that the server stops, then stop the actors, the last started first."""
        error = OblixError("shutting_down", "the server is stopping", retry_after=1.0)
        self._jobs.close(error)
        self._jobs.fail_all(error)
        await self._supervisor.stop()

    def house(self) -> House:
        """What the front may see."""
        return House(
            settings=self._settings.server,
            keys=self._keys,
            jobs=self._jobs,
            router=self._router_mail,
            providers=lambda: tuple(worker.published.value for worker in self._workers),
            actors=self._supervisor.states,
            mailboxes=self._mailboxes,
            sensors=self._sensors,
            started=self._started,
            fenced=self._fenced,
        )

    def _mailboxes(self) -> dict[str, MailboxState]:
        boxes = {f"worker:{name}": box.state() for name, box in self._worker_mail.items()}
        if self._engine is not None:
            boxes["engine"] = self._engine.mailbox.state()
        return {"router": self._router_mail.state(), **boxes}

    def _sensors(self) -> dict[str, Any]:
        engine = {} if self._engine is None else {"embedded": msgspec.to_builtins(self._engine.state.value)}
        tasks = trio.lowlevel.current_statistics().tasks_living
        return {
            "resources": self._resources.health(),
            "connectivity": self._links.health(),
            **engine,
            "runtime": {"tasks": tasks},
        }

    def _children(self) -> tuple[int, ...]:
        """The processes whose load is ours: the embedded model's, and those of local servers that work for us."""
        pid = None if self._engine is None else self._engine.state.value.pid
        return (*(() if pid is None else (pid,)), *self._servers.pids.value)

    def _local_jobs(self, *, servers_only: bool = False) -> int:
        """How many of our jobs run on this machine, or on its model servers alone."""
        states = [worker.published.value for worker in self._workers]
        return sum(
            state.running
            for state in states
            if state.locality == "local" and not (servers_only and state.kind in {"embedded", "scripted"})
        )

    def _see_machine(self) -> Machine:
        """The machine as the router's decisions see it."""
        report = self._machine.value
        return Machine(
            report.state.state,
            report.state.target,
            report.state.reasons,
            report.sample.memory_available,
            on_battery=bool(report.sample.on_battery),
            memory_total=report.sample.memory_total,
            against=report.state.against,
        )

    def _network_changed(self, link: LinkState) -> None:
        routes = {str(route): str(state) for route, state in link.routes.items()}
        with suppress(Busy):  # the next change says it again
            self._router_mail.tell(NetworkChanged(Network(link.state, link.target, link.reasons, routes)))

    async def _keep_connections_fresh(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Give up the idle connections whenever the world has changed under them."""
        version = self._world.version
        task_status.started()
        while True:
            _, version = await self._world.newer(version)
            await self.http.renew()

    def _look_again(self) -> None:
        """The machine slept, or is in another network: what we know of the upstreams is old."""
        self._world.set(self._world.value + 1)
        with suppress(Busy):
            self._router_mail.tell(Renewed())
        for worker in self._workers:
            worker.look_again()

    def _all_providers(self) -> tuple[ProviderSettings, ...]:
        if self._engine is None:
            return self._providers
        embedded = ProviderSettings(
            name=EMBEDDED, kind="embedded", locality="local", max_concurrency=self._settings.embedded.slots
        )
        return (*self._providers, embedded)

    def _build(self, order: int, provider: ProviderSettings) -> ProviderState:
        """Make the worker of ``provider``; returns what is known of it before it has looked."""
        state = ProviderState(
            name=provider.name,
            kind=provider.kind,
            locality=provider.locality or "cloud",
            order=order,
            last_resort=provider.kind == "embedded",
            slots=provider.max_concurrency,
        )
        mail = self._worker_mail[provider.name] = Mailbox(
            f"worker:{provider.name}", provider.max_concurrency + self._settings.routing.max_queue + OTHER_MAIL
        )
        worker = Worker(
            state,
            self._upstream(provider),
            mail,
            self._router_mail,
            self._settings.routing,
            optional=provider.optional,
            stalled_client=self._settings.server.stalled_client_seconds,
            prefer=provider.prefer,
            stalled=self._stall_teller(provider),
        )
        self._workers.append(worker)
        return state

    def _stall_teller(self, provider: ProviderSettings) -> Callable[[float], None] | None:
        """How a worker tells the connectivity monitor that its upstream is silent; nothing for one on this machine."""
        if provider.base_url is None or provider.locality == "local":
            return None
        host = blueprint.host(provider)
        return lambda seconds: self._links.tell(Stalled(host.host, host.port, seconds))

    def _upstream(self, provider: ProviderSettings) -> Upstream:
        if provider.kind == "embedded" and self._engine is not None:
            return EmbeddedUpstream(self._settings.embedded, self._engine, self.http)
        return upstream_for(provider, config.provider_key(provider, self._environ), self.http)

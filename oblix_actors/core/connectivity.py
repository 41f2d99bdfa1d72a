"""How well connected this machine is, for each class of routes and overall, and why.

:func:`judge` folds links and hosts into a :class:`LinkState`. Moves between ``optimal`` and ``degraded`` have a
dwell time and hysteresis, so that one slow sample never flips a choice; ``disconnected``, which is only ever said
on hard evidence (the kernel's, or a failed probe that confirms a failure), counts at once, and so does its end.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from oblix_actors.core.hosts import LOSS_LEAST, HostSummary, Route
from oblix_actors.core.link import LinkSnapshot, LinkVerdict, internet_link, lan_link, loopback_link

State = Literal["optimal", "degraded", "disconnected"]
Target = Literal["local", "hybrid", "cloud"]
TARGETS: Final[dict[State, Target]] = {"optimal": "cloud", "degraded": "hybrid", "disconnected": "local"}
"""Where the network's state alone would send a request: the original's words."""

HYSTERESIS: Final = 0.8
"""What is degraded stays so until its figures are better than 0.8 of the threshold."""

NO_PROVIDERS: Final = "no internet providers are configured: judged from the link alone"


class Thresholds(Protocol):
    """What is bad: ``[connectivity]`` of the configuration. Milliseconds, percent, Mbps and seconds."""

    @property
    def latency_threshold(self) -> float: ...
    @property
    def packet_loss_threshold(self) -> float: ...
    @property
    def bandwidth_threshold(self) -> float: ...
    @property
    def dwell_seconds(self) -> float: ...


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict. ``routes`` has one for each class; ``since`` is when ``state`` began (the monitor's clock)."""

    state: State
    target: Target
    reasons: tuple[str, ...]
    routes: dict[Route, State]
    hosts: tuple[HostSummary, ...] = ()
    since: float = 0.0


class RouteState(msgspec.Struct, frozen=True):
    """One class of routes. ``pending`` is a state that has to last until it counts, seen since ``pending_since``."""

    state: State
    since: float
    reasons: tuple[str, ...] = ()
    pending: State | None = None
    pending_since: float = 0.0


class Judgement(msgspec.Struct, frozen=True):
    """What to hand to the next :func:`judge`: the verdict, and each route's memory."""

    link: LinkState
    routes: dict[Route, RouteState]

    @property
    def pending(self) -> bool:
        """Whether time alone may change the verdict."""
        return any(route.pending is not None for route in self.routes.values())


class _Raw(NamedTuple):
    state: State
    reasons: tuple[str, ...]


def first(now: float) -> Judgement:
    """The verdict before anything was seen: nothing speaks against any route."""
    routes: dict[Route, RouteState] = {name: RouteState("optimal", now) for name in ("loopback", "lan", "internet")}
    reasons = ("nothing was measured yet",)
    states: dict[Route, State] = {name: route.state for name, route in routes.items()}
    return Judgement(LinkState(state="optimal", target="cloud", reasons=reasons, routes=states, since=now), routes)


def judge(
    before: Judgement,
    links: LinkSnapshot,
    links_since: float,
    hosts: tuple[HostSummary, ...],
    settings: Thresholds,
    now: float,
) -> Judgement:
    """The verdict at ``now``. ``links_since`` is when ``links`` last changed.

    The loopback is judged from the link alone: a local server that is not there is no fault of any network.
    """
    of: dict[Route, list[HostSummary]] = {"loopback": [], "lan": [], "internet": []}
    for host in hosts:
        if host.route != "loopback":
            of[host.route].append(host)
    verdicts: dict[Route, LinkVerdict] = {
        "loopback": loopback_link(links),
        "lan": lan_link(links, tuple(host.host for host in of["lan"])),
        "internet": internet_link(links),
    }
    routes: dict[Route, RouteState] = {}
    for name, verdict in verdicts.items():
        raw = _judge_route(verdict, links_since, of[name], settings, degraded=before.routes[name].state == "degraded")
        routes[name] = _move(before.routes[name], raw, settings.dwell_seconds, now)
    state, reasons = _overall(routes, verdicts, of)
    same = before.link.state == state
    link = LinkState(
        state=state,
        target=TARGETS[state],
        reasons=reasons,
        routes={name: route.state for name, route in routes.items()},
        hosts=hosts,
        since=before.link.since if same else now,
    )
    return Judgement(link, routes)


def as_json(link: LinkState, now: float) -> dict[str, Any]:
    """The section of ``/health``: plain JSON values, ages in seconds, figures nobody knows as ``null`` or "unknown"."""
    return {
        "state": link.state,
        "target": link.target,
        "reasons": list(link.reasons),
        "for_seconds": _age(link.since, now),
        "routes": dict(link.routes),
        "hosts": [_host_json(host, now) for host in link.hosts],
    }


def _host_json(host: HostSummary, now: float) -> dict[str, Any]:
    failure = host.last_failure
    return {
        "host": host.host,
        "port": host.port,
        "route": host.route,
        "providers": list(host.providers),
        "reachable": host.reachable,
        "latency_ms": host.latency_ms,
        "latency_p95_ms": host.latency_p95_ms,
        "loss_percent": host.loss_percent,
        "bandwidth_mbps": "unknown" if host.bandwidth_mbps is None else host.bandwidth_mbps,
        "last_success_seconds_ago": _age(host.last_success, now),
        "last_failure": None if failure is None else {"code": failure.code, "seconds_ago": _age(failure.at, now)},
    }


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 1)


def _overall(
    routes: dict[Route, RouteState], verdicts: dict[Route, LinkVerdict], of: dict[Route, list[HostSummary]]
) -> _Raw:
    """The internet's state, where somebody wants the internet; otherwise whether there is any network at all."""
    if of["internet"]:
        state, reasons = routes["internet"].state, routes["internet"].reasons
    else:
        ways = [verdict for verdict in (verdicts["internet"], verdicts["lan"]) if verdict.up]
        state = "optimal" if ways else "disconnected"
        reasons = ((ways or [verdicts["internet"]])[0].reason, NO_PROVIDERS)
    if of["lan"] and routes["lan"].state != "optimal":
        reasons = (*reasons, *(f"local network: {reason}" for reason in routes["lan"].reasons))
    return _Raw(state, reasons)


def _judge_route(
    link: LinkVerdict, link_since: float, hosts: list[HostSummary], settings: Thresholds, *, degraded: bool
) -> _Raw:
    """What the evidence says now, without memory except for the hysteresis."""
    reasons: tuple[str, ...] = (link.reason,)
    if not link.up:
        # Policy routing may hide a way out from us: a connection begun since then proves it.
        proof = next((host for host in hosts if host.connected is not None and host.connected > link_since), None)
        if proof is None:
            return _Raw("disconnected", reasons)
        reasons = (f"{link.reason}, and yet {proof.name} answers",)
    dead = [host for host in hosts if host.reachable is False]
    if dead and len(dead) == len(hosts):
        return _Raw("disconnected", _unreachable(dead))
    wrong, figures = _quality(hosts, settings, HYSTERESIS if degraded else 1.0)
    notes = tuple(f"{host.name} does not answer ({_last(host)})" for host in dead)
    if wrong:
        return _Raw("degraded", (*wrong, *notes))
    return _Raw("optimal", (*reasons, *figures, *notes))


def _unreachable(dead: list[HostSummary]) -> tuple[str, ...]:
    captive = [host for host in dead if host.captive]
    if captive:
        return tuple(f"captive portal: {_last(host)} at {host.name}" for host in captive)
    many = f"none of the {len(dead)} hosts answers" if len(dead) > 1 else "the only host does not answer"
    return (f"{many}: " + ", ".join(f"{host.name} ({_last(host)})" for host in dead),)


def _last(host: HostSummary) -> str:
    failure = host.last_failure
    return "unknown" if failure is None else failure.detail or failure.code


def _quality(
    hosts: list[HostSummary], settings: Thresholds, strictness: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is too bad, and otherwise the figures, by the host that does best: only what all suffer is the network's."""
    alive = [host for host in hosts if host.reachable is not False]
    wrong: list[str] = []
    figures: list[str] = []
    if timed := [(host.latency_ms, host.name) for host in alive if host.latency_ms is not None]:
        latency, name = min(timed)
        bad = latency > settings.latency_threshold * strictness
        _compare(wrong, figures, f"latency {latency:.4g} ms", f"> {settings.latency_threshold:g} ms ({name})", bad=bad)
    lossy = [host for host in alive if host.loss_percent is not None and host.samples >= LOSS_LEAST]
    if lossy:
        loss, name, samples = min((host.loss_percent or 0.0, host.name, host.samples) for host in lossy)
        bad = loss > settings.packet_loss_threshold * strictness
        limit = f"> {settings.packet_loss_threshold:g} % (of {samples} attempts to {name})"
        _compare(wrong, figures, f"loss {loss:.3g} %", limit, bad=bad)
    if paces := [host.bandwidth_mbps for host in alive if host.bandwidth_mbps is not None]:
        bad = max(paces) < settings.bandwidth_threshold / strictness
        limit = f"< {settings.bandwidth_threshold:g} Mbps"
        _compare(wrong, figures, f"bandwidth {max(paces):.3g} Mbps", limit, bad=bad)
    elif timed:
        figures.append("bandwidth unknown")
    return tuple(wrong), tuple(figures)


def _compare(wrong: list[str], figures: list[str], figure: str, limit: str, *, bad: bool) -> None:
    if bad:
        wrong.append(f"{figure} {limit}")
    else:
        figures.append(figure)


def _move(before: RouteState, raw: _Raw, dwell: float, now: float) -> RouteState:
    """Where ``before`` goes: at once from and to ``disconnected``, after ``dwell`` seconds otherwise."""
    if raw.state == before.state:
        return RouteState(before.state, before.since, raw.reasons)
    if "disconnected" in (raw.state, before.state):
        return RouteState(raw.state, now, raw.reasons)
    since = before.pending_since if before.pending == raw.state else now
    if now - since >= dwell:
        return RouteState(raw.state, now, raw.reasons)
    reasons = (*raw.reasons, f"{raw.state} when that lasts {dwell:g} s")
    return RouteState(before.state, before.since, reasons, raw.state, since)

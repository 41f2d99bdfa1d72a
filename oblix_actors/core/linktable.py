"""Follows the kernel's links without touching a socket: what to ask, and what the answers and events add up to.

The caller sends what :meth:`LinkFollower.start` returns, hands every datagram to
:meth:`LinkFollower.receive`, sends what that returns, and reads :attr:`LinkFollower.snapshot`. The first dump
lists links, addresses and routes; from then on events keep the table true. Where events cannot be trusted
to tell everything, the whole is listed again, beside the old table, which serves until then.
"""

from __future__ import annotations

from typing import Final

from oblix_actors.core.link import DefaultRoute, Interface, LinkSnapshot
from oblix_actors.core.netlink import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    AddressGone,
    AddressSeen,
    DefaultGone,
    DefaultSeen,
    Done,
    Event,
    LinkGone,
    LinkSeen,
    Refused,
    dump_request,
    parse,
)

LARGEST: Final = 4096
"""Interfaces, addresses of one of them, and default routes that are kept: a machine with more is not ours to watch."""
MOST_INTERRUPTED: Final = 5
"""Interrupted dumps in a row after which one is taken as it is: its events will mend it."""

_PARTS: Final = (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE)


class KernelRefused(Exception):
    """The kernel does not list its links to us; ``errno`` says why."""

    def __init__(self, errno: int) -> None:
        super().__init__(f"the kernel refused to list its links (errno {errno})")
        self.errno = errno


class LinkTable:
    """What the events said so far, by interface index."""

    def __init__(self) -> None:
        self._links: dict[int, LinkSeen] = {}
        self._addresses: dict[int, set[str]] = {}
        self._defaults: set[tuple[int, int, int, str]] = set()

    def apply(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case LinkSeen(index=index):
                if index in self._links or len(self._links) < LARGEST:
                    self._links[index] = _merged(event, self._links.get(index))
            case LinkGone(index):
                self._links.pop(index, None)
                self._addresses.pop(index, None)
                self._defaults = {route for route in self._defaults if route[2] != index}
            case AddressSeen(index, address):
                if index in self._addresses or len(self._addresses) < LARGEST:
                    known = self._addresses.setdefault(index, set())
                    if len(known) < LARGEST:
                        known.add(address)
            case AddressGone(index, address):
                self._addresses.get(index, set()).discard(address)
            case DefaultSeen():
                self._add_default(event)
            case DefaultGone(family, metric, hops):
                self._defaults -= {(family, metric, index, gateway) for index, gateway in hops}
            case Done() | Refused():
                pass

    def _add_default(self, seen: DefaultSeen) -> None:
        if seen.replaces:
            self._defaults = {route for route in self._defaults if route[:2] != (seen.family, seen.metric)}
        for index, gateway in seen.hops[: max(0, LARGEST - len(self._defaults))]:
            self._defaults.add((seen.family, seen.metric, index, gateway))

    def snapshot(self) -> LinkSnapshot:
        """The table as a value: interfaces by index, routes in order."""
        interfaces = tuple(
            Interface(
                name=link.name,
                up=link.up,
                running=link.running,
                carrier=link.carrier,
                kind=link.kind,
                loopback=link.loopback,
                addresses=tuple(sorted(self._addresses.get(index, ()))),
            )
            for index, link in sorted(self._links.items())
        )
        defaults = sorted(
            DefaultRoute(family, self._links[index].name, gateway, metric)
            for family, metric, index, gateway in self._defaults
            if index in self._links
        )
        return LinkSnapshot(interfaces, tuple(defaults))


class LinkFollower:
    """The dialogue with the kernel. ``port`` is our socket's own address (what ``getsockname()`` gives first)."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seq = 0
        self._part = 0
        self._table: LinkTable | None = None
        self._fresh: LinkTable | None = None
        self._again = False
        self._torn = False
        self._interrupted = 0

    @property
    def snapshot(self) -> LinkSnapshot | None:
        """The links now; ``None`` until the first dump is complete."""
        return None if self._table is None else self._table.snapshot()

    def start(self) -> bytes:
        """List everything. Returns what to send."""
        self._fresh = LinkTable()
        self._again = self._torn = False
        self._part = 0
        return self._ask()

    def lost(self) -> bytes | None:
        """Events were lost: list everything anew, after the list in the making. Returns what to send, if anything."""
        if self._fresh is None:
            return self.start()
        self._again = True
        return None

    def receive(self, data: bytes) -> bytes | None:
        """Take one datagram in; returns what to send, if anything. Raises :class:`KernelRefused`."""
        reply: bytes | None = None
        for message in parse(data):
            self._torn = self._torn or (message.dumped and message.interrupted)
            match message.event:
                case None:
                    continue
                case Refused(port, seq, errno) if self._asked(port, seq):
                    raise KernelRefused(errno)
                case Done(port, seq) if self._asked(port, seq):
                    reply = self._done()
                case event:
                    self._take(event)
                    self._again = self._again or (not message.dumped and _silent(event))
        if self._again and self._fresh is None:
            return self.start()
        return reply

    def _asked(self, port: int, seq: int) -> bool:
        return self._fresh is not None and (port, seq) == (self._port, self._seq)

    def _take(self, event: Event) -> None:
        for table in (self._table, self._fresh):
            if table is not None:
                table.apply(event)

    def _done(self) -> bytes | None:
        if self._torn and self._interrupted < MOST_INTERRUPTED:
            self._interrupted += 1
            return self.start()
        self._part += 1
        if self._part < len(_PARTS):
            return self._ask()
        self._table, self._fresh = self._fresh, None
        self._interrupted = 0
        return None

    def _ask(self) -> bytes:
        self._seq = (self._seq + 1) & 0xFFFFFFFF
        return dump_request(_PARTS[self._part], self._seq)


def _silent(event: Event) -> bool:
    """Whether routes may have gone with it in silence: the kernel does not tell of IPv4 routes that it flushes."""
    lost = (isinstance(event, LinkSeen) and not event.up) or isinstance(event, AddressGone)
    return lost or (isinstance(event, DefaultSeen) and event.replaces)


def _merged(event: LinkSeen, known: LinkSeen | None) -> LinkSeen:
    """Short messages (of wireless drivers) leave out the name or kind: those we know stay."""
    if known is None or (event.name and event.kind):
        return event
    return LinkSeen(
        event.index,
        event.name or known.name,
        up=event.up,
        running=event.running,
        carrier=event.carrier,
        loopback=event.loopback,
        kind=event.kind or known.kind,
    )

"""The kernel's word on its links, read from bytes: messages of NETLINK_ROUTE as typed events.

Formats: https://man7.org/linux/man-pages/man7/netlink.7.html and
https://man7.org/linux/man-pages/man7/rtnetlink.7.html; numbers from ``linux/rtnetlink.h`` and
``linux/if_link.h``. All integers are in the machine's own byte order, everything is aligned to 4 bytes.
Whatever does not parse is left out: bytes from a socket never raise here.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE: what to bind to for its events."""

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

_REQUEST_DUMP: Final = 0x1 | 0x300
_MULTI: Final = 0x2
_DUMP_INTERRUPTED: Final = 0x10
_REPLACE: Final = 0x100

_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING, _IFF_LOWER_UP, _IFF_DORMANT = 0x1, 0x8, 0x40, 0x10000, 0x20000
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE = 4, 5, 6, 9, 15
_RT_TABLES: Final = frozenset({253, 254})
"""default and main. Other tables are for policy routing: a route there says little about this process's packets."""
_RTN_UNICAST: Final = 1
_RTM_F_CLONED: Final = 0x200
_FAMILIES: Final = {2: 4, 10: 6}
_ATTRIBUTE_TYPE: Final = 0x3FFF
"""The rest are the NESTED and byte-order flags."""

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEXTHOP = struct.Struct("=HBBi")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")


class LinkSeen(msgspec.Struct, frozen=True):
    """An interface is so now. ``name`` and ``kind`` are empty where this message does not hold them."""

    index: int
    name: str
    up: bool
    running: bool
    carrier: bool
    loopback: bool
    kind: str


class LinkGone(msgspec.Struct, frozen=True):
    """An interface was removed."""

    index: int


class AddressSeen(msgspec.Struct, frozen=True):
    """``address`` is ``address/prefix``."""

    index: int
    address: str


class AddressGone(msgspec.Struct, frozen=True):
    """An interface lost an address."""

    index: int
    address: str


class DefaultSeen(msgspec.Struct, frozen=True):
    """A default route, through one or more interfaces; ``replaces``: instead of the one of the same metric."""

    family: int
    metric: int
    hops: tuple[tuple[int, str], ...]
    """(interface index, gateway or "")."""
    replaces: bool = False


class DefaultGone(msgspec.Struct, frozen=True):
    """A default route was removed."""

    family: int
    metric: int
    hops: tuple[tuple[int, str], ...]


class Done(msgspec.Struct, frozen=True):
    """The dump that ``port`` asked for with ``seq`` is over."""

    port: int
    seq: int


class Refused(msgspec.Struct, frozen=True):
    """The kernel refused the request ``seq`` with ``errno``."""

    port: int
    seq: int
    errno: int


Event = LinkSeen | LinkGone | AddressSeen | AddressGone | DefaultSeen | DefaultGone | Done | Refused


class Message(msgspec.Struct, frozen=True):
    """One message. ``event`` is ``None`` when it is none of our business.

    ``dumped``: it is part of a list that was asked for, not news. ``interrupted``: something changed while
    that list was made, so that it may be inconsistent.
    """

    event: Event | None
    dumped: bool
    interrupted: bool


def dump_request(kind: int, seq: int) -> bytes:
    """The request to list everything of ``kind`` (``RTM_GETLINK``, ``RTM_GETADDR`` or ``RTM_GETROUTE``)."""
    body = {RTM_GETLINK: _IFINFO.size, RTM_GETADDR: _IFADDR.size, RTM_GETROUTE: _RTMSG.size}[kind]
    return _HEADER.pack(_HEADER.size + body, kind, _REQUEST_DUMP, seq, 0) + bytes(body)


def parse(data: bytes) -> Iterator[Message]:
    """The messages in one datagram, in order, up to the first that is cut."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, seq, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        event = _event(kind, flags, data[at + _HEADER.size : at + length], seq, port)
        yield Message(event, bool(flags & _MULTI), bool(flags & _DUMP_INTERRUPTED))
        at += (length + 3) & ~3


def _event(kind: int, flags: int, body: bytes, seq: int, port: int) -> Event | None:
    if kind == NLMSG_DONE:
        return Done(port, seq)
    if kind == NLMSG_ERROR and len(body) >= _I32.size:
        errno = -_I32.unpack_from(body)[0]
        return Refused(port, seq, errno) if errno else None
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        return _link(kind, body)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        return _address(kind, body)
    if kind in (RTM_NEWROUTE, RTM_DELROUTE):
        return _default(kind, flags, body)
    return None


def _link(kind: int, body: bytes) -> LinkSeen | LinkGone | None:
    if len(body) < _IFINFO.size:
        return None
    family, _, index, flags, _ = _IFINFO.unpack_from(body)
    if family != 0:  # AF_BRIDGE: a port joined or left a bridge, the interface itself stays
        return None
    if kind == RTM_DELLINK:
        return LinkGone(index)
    attributes = _attributes(body, _IFINFO.size)
    # IFF_RUNNING comes up to a second after the carrier, and packets flow already.
    flowing = flags & (_IFF_LOWER_UP | _IFF_DORMANT) == _IFF_LOWER_UP
    info = _attributes(attributes.get(_IFLA_LINKINFO, b""), 0)
    return LinkSeen(
        index,
        _text(attributes.get(_IFLA_IFNAME)),
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING) or flowing,
        carrier=bool(flags & _IFF_LOWER_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        kind=_text(info.get(_IFLA_INFO_KIND)),
    )


def _address(kind: int, body: bytes) -> AddressSeen | AddressGone | None:
    if len(body) < _IFADDR.size:
        return None
    family, prefix, _, _, index = _IFADDR.unpack_from(body)
    attributes = _attributes(body, _IFADDR.size)
    # On point-to-point links IFA_ADDRESS is the other side's.
    text = _ip(family, attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS))
    if not text or prefix > (32 if family == 2 else 128):
        return None
    return (AddressSeen if kind == RTM_NEWADDR else AddressGone)(index, f"{text}/{prefix}")


def _default(kind: int, flags: int, body: bytes) -> DefaultSeen | DefaultGone | None:
    if len(body) < _RTMSG.size:
        return None
    family, destination_bits, source_bits, _, table, _, _, route_type, route_flags = _RTMSG.unpack_from(body)
    if destination_bits or source_bits or family not in _FAMILIES:
        return None
    if route_type != _RTN_UNICAST or route_flags & _RTM_F_CLONED:
        return None
    attributes = _attributes(body, _RTMSG.size)
    if _number(attributes.get(_RTA_TABLE), table) not in _RT_TABLES:
        return None
    hops = tuple(_hops(family, attributes))
    metric = _number(attributes.get(_RTA_PRIORITY), 0)
    if kind == RTM_DELROUTE:
        return DefaultGone(_FAMILIES[family], metric, hops)
    return DefaultSeen(_FAMILIES[family], metric, hops, replaces=bool(flags & _REPLACE)) if hops else None


def _hops(family: int, attributes: dict[int, bytes]) -> Iterator[tuple[int, str]]:
    if (index := _number(attributes.get(_RTA_OIF), 0)) > 0:
        yield index, _ip(family, attributes.get(_RTA_GATEWAY))
    several = attributes.get(_RTA_MULTIPATH, b"")
    at = 0
    while at + _NEXTHOP.size <= len(several):
        length, _, _, index = _NEXTHOP.unpack_from(several, at)
        if length < _NEXTHOP.size or at + length > len(several):
            return
        inner = _attributes(several[at : at + length], _NEXTHOP.size)
        yield index, _ip(family, inner.get(_RTA_GATEWAY))
        at += (length + 3) & ~3


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    """The attributes from offset ``at`` on, up to the first that is cut."""
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _ATTRIBUTE_TYPE] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def _text(value: bytes | None) -> str:
    return (value or b"").split(b"\0", 1)[0].decode("utf-8", "replace")


def _number(value: bytes | None, default: int) -> int:
    if value is None or len(value) != _U32.size:
        return default
    return int(_U32.unpack(value)[0])


def _ip(family: int, value: bytes | None) -> str:
    """The address as text, "" where there is none or it is not one of ``family``."""
    if value is None or len(value) != {2: 4, 10: 16}.get(family):
        return ""
    return str(ipaddress.ip_address(value))

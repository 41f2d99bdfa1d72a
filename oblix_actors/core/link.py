"""The machine's own links: interfaces, addresses and default routes, and what they allow.

A :class:`LinkSnapshot` is made by :mod:`oblix_actors.actors.netlink` (from the kernel's events on Linux, from
psutil elsewhere) and only judged here. A link that is up promises nothing about what lies behind it; a
link that is down is final, and known without waiting for anybody.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import msgspec

TUNNEL_KINDS: Final = frozenset({"tun", "wireguard", "ipip", "gre", "sit", "ip6tnl", "vti", "vti6", "xfrm"})
TUNNEL_NAMES: Final = ("utun", "tun", "wg", "tailscale", "zt")
VIRTUAL_KINDS: Final = frozenset({"bridge", "veth", "dummy", "vxlan", "vcan", "ifb", "nlmon", "geneve"})
VIRTUAL_NAMES: Final = (
    *("docker", "veth", "br-", "virbr", "vmnet", "vboxnet", "lxcbr", "lxdbr", "cni", "flannel", "cali", "podman"),
    *("awdl", "llw", "anpi", "ap1", "bridge", "vEthernet", "dummy", "ifb"),
)


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface.

    ``up`` is what the administrator wants, ``running`` what the driver says, ``carrier`` whether there is a
    cable or an access point (``None``: the system does not tell). ``kind`` is the kernel's name for a software
    interface (``bridge``, ``veth``, ``tun``…), empty for hardware. ``addresses`` are ``address/prefix``, or
    ``None`` where they cannot be read.
    """

    name: str
    up: bool
    running: bool
    carrier: bool | None = None
    kind: str = ""
    loopback: bool = False
    addresses: tuple[str, ...] | None = ()

    @property
    def usable(self) -> bool:
        """Whether a packet could leave through it."""
        return self.up and self.running and self.carrier is not False

    @property
    def tunnel(self) -> bool:
        """A VPN or the like: it needs another interface to go through."""
        return self.kind in TUNNEL_KINDS or self.name.startswith(TUNNEL_NAMES)

    @property
    def virtual(self) -> bool:
        """It leads to containers or virtual machines, as far as its kind and name tell."""
        return self.kind in VIRTUAL_KINDS or self.name.startswith(VIRTUAL_NAMES)

    @property
    def addressed(self) -> bool:
        """Whether it has an address that reaches farther than its own wire."""
        return self.addresses is None or any(not _address(address).is_link_local for address in self.addresses)


class DefaultRoute(msgspec.Struct, frozen=True, order=True):
    """One way out. ``family`` is 4 or 6; ``gateway`` is empty on point-to-point links; a lower ``metric`` wins."""

    family: int
    interface: str
    gateway: str = ""
    metric: int = 0


class LinkSnapshot(msgspec.Struct, frozen=True):
    """Everything at one moment. ``defaults`` is ``None`` where the system does not tell its routes."""

    interfaces: tuple[Interface, ...] = ()
    defaults: tuple[DefaultRoute, ...] | None = None


class LinkVerdict(msgspec.Struct, frozen=True):
    """Whether the links allow a class of routes, and why."""

    up: bool
    reason: str


def internet_link(snapshot: LinkSnapshot) -> LinkVerdict:
    """Whether any packet could leave for the internet.

    With known routes: through an interface that is usable and has a default route; a tunnel needs a usable
    interface below it. Without: through a usable, addressed interface that is neither virtual nor a tunnel.
    """
    if snapshot.defaults is None:
        found = [each for each in snapshot.interfaces if _leads_out(each)]
        if found:
            return LinkVerdict(True, f"{_names(found)} is up")
        return LinkVerdict(False, "no network interface is up and has an address")
    if not snapshot.defaults:
        down = [_why_not(each) for each in snapshot.interfaces if not (each.usable or each.virtual or each.loopback)]
        return LinkVerdict(
            False, f"there is no default route ({'; '.join(down)})" if down else "there is no default route"
        )
    names = {route.interface for route in snapshot.defaults}
    ways = [each for each in snapshot.interfaces if each.name in names]
    usable = [each for each in ways if each.usable]
    if not usable:
        what = "; ".join(_why_not(each) for each in ways) or f"{', '.join(sorted(names))} is gone"
        return LinkVerdict(False, f"the default route leads nowhere: {what}")
    if all(each.tunnel for each in usable) and not any(_carries(each) for each in snapshot.interfaces):
        return LinkVerdict(False, f"{_names(usable)} is a tunnel, and no interface below it is up")
    return LinkVerdict(True, f"default route through {_names(usable)}")


def lan_link(snapshot: LinkSnapshot, hosts: tuple[str, ...] = ()) -> LinkVerdict:
    """Whether the local network could be reached.

    Interfaces of containers and virtual machines count only for the ``hosts`` (IP addresses) that are in their network.
    """
    outward = internet_link(snapshot)
    if outward.up:
        return outward
    found = [each for each in snapshot.interfaces if _leads_out(each)]
    found += [each for each in snapshot.interfaces if each.usable and _holds_any(each, hosts)]
    if found:
        return LinkVerdict(True, f"{_names(found)} is up")
    return LinkVerdict(False, "no interface to the local network is up")


def loopback_link(snapshot: LinkSnapshot) -> LinkVerdict:
    """Whether this machine can speak to itself: always, unless its loopback interface is there and down."""
    loops = [each for each in snapshot.interfaces if each.loopback]
    if loops and not any(each.up for each in loops):
        return LinkVerdict(False, f"{_names(loops)} is down")
    return LinkVerdict(True, "this machine itself")


def fingerprint(snapshot: LinkSnapshot) -> frozenset[str]:
    """What makes this network another network: its default routes and our addresses in it; empty without a network.

    IPv6 addresses count by their /64, because privacy addresses change by the day; link-local addresses, the
    loopback and interfaces of containers (unless they are the way out) do not count.
    """
    ways = {route.interface for route in snapshot.defaults or ()}
    marks = {f"{route.interface} via {route.gateway}" for route in snapshot.defaults or ()}
    for each in snapshot.interfaces:
        if not each.usable:
            marks -= {mark for mark in marks if mark.startswith(f"{each.name} via ")}
        elif not each.loopback and (each.name in ways or not each.virtual):
            marks |= {f"{each.name} {_network(address)}" for address in each.addresses or () if _counts(address)}
    return frozenset(marks)


def _leads_out(each: Interface) -> bool:
    return _carries(each) and not each.virtual


def _carries(each: Interface) -> bool:
    return each.usable and each.addressed and not each.loopback and not each.tunnel


def _why_not(each: Interface) -> str:
    if not each.up:
        return f"{each.name} is down"
    return f"{each.name} has no carrier" if each.carrier is False else f"{each.name} is not running"


def _names(interfaces: list[Interface]) -> str:
    return ", ".join(sorted({each.name for each in interfaces}))


def _address(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    return ipaddress.ip_interface(text)


def _counts(text: str) -> bool:
    return not _address(text).is_link_local


def _network(text: str) -> str:
    address = _address(text)
    if address.version == 6:
        return str(ipaddress.ip_network((address.ip, 64), strict=False))
    return str(address)


def _holds_any(each: Interface, hosts: tuple[str, ...]) -> bool:
    for host in hosts:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:  # a name: which network it is in, only the resolver knows
            continue
        if any(address in _address(own).network for own in each.addresses or ()):
            return True
    return False

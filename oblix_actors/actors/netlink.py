"""Tells the links of this machine as they change: from the kernel's own events on Linux, by looking elsewhere.

On Linux a NETLINK_ROUTE socket (https://man7.org/linux/man-pages/man7/rtnetlink.7.html) brings every change within
milliseconds and needs no rights. Where there is none (another system, a sandbox) psutil is asked every two
seconds, in a thread. What the bytes mean is :mod:`oblix_actors.core.linktable`'s business.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from typing import Final

import psutil
import structlog
import trio

from oblix_actors.core.link import Interface, LinkSnapshot
from oblix_actors.core.linktable import KernelRefused, LinkFollower
from oblix_actors.core.netlink import GROUPS

log = structlog.get_logger("netlink")

Publish = Callable[[LinkSnapshot], None]
"""Is called with every new snapshot, in the task that noticed it; does not wait for anything."""

RECEIVE_BYTES: Final = 65_536
"""The kernel makes its lists in pieces of at most 32 KiB, and its events are far smaller."""
BUFFER_BYTES: Final = 1_048_576
"""Room for a burst of some thousand events (a container engine starting); more, and we list everything anew."""
POLL_SECONDS: Final = 2.0

_IP: Final = (socket.AF_INET, socket.AF_INET6)


async def follow_links(publish: Publish, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Publish the links now, say ``started``, and publish them whenever they change, for ever."""
    ready = False

    def published(snapshot: LinkSnapshot) -> None:
        nonlocal ready
        publish(snapshot)
        if not ready:
            ready = True
            task_status.started()

    if sys.platform == "linux":
        try:
            await follow_kernel(published)
        except (OSError, KernelRefused) as error:
            log.warning("no link events from the kernel: looking every few seconds instead", reason=str(error))
    await poll_links(published)


async def follow_kernel(publish: Publish) -> None:
    """Publish what the kernel tells. Raises ``OSError`` or ``KernelRefused`` where it tells us nothing."""
    plain = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with trio.socket.from_stdlib_socket(plain) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        plain.bind((0, GROUPS))
        follower = LinkFollower(link.getsockname()[0])
        published: LinkSnapshot | None = None
        send: bytes | None = follower.start()
        while True:
            if send is not None:
                await link.send(send)
            send = await _receive(link, follower)
            snapshot = follower.snapshot
            if snapshot is not None and snapshot != published:
                published = snapshot
                publish(snapshot)


async def _receive(link: trio.socket.SocketType, follower: LinkFollower) -> bytes | None:
    try:
        data, _, flags, sender = await link.recvmsg(RECEIVE_BYTES)
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return follower.lost()
    if flags & socket.MSG_TRUNC:
        return follower.lost()
    from_kernel = isinstance(sender, tuple) and sender[0] == 0
    return follower.receive(data) if from_kernel else None


async def poll_links(publish: Publish) -> None:
    """Publish what psutil sees, whenever that is something new."""
    limiter = trio.CapacityLimiter(1)
    published: LinkSnapshot | None = None
    while True:
        snapshot = await trio.to_thread.run_sync(look, limiter=limiter)
        if snapshot != published:
            published = snapshot
            publish(snapshot)
        await trio.sleep(POLL_SECONDS)


def look() -> LinkSnapshot:
    """The interfaces as psutil sees them; routes are unknown. Blocks for some milliseconds."""
    try:
        addresses = {
            name: tuple(sorted(_address(one.address, one.netmask) for one in every if one.family in _IP))
            for name, every in psutil.net_if_addrs().items()
        }
    except OSError:  # a sandbox without netlink
        addresses = None
    interfaces = []
    for name, stats in sorted(psutil.net_if_stats().items()):
        flags = stats.flags.split(",") if stats.flags else []
        interfaces.append(
            Interface(
                name=name,
                up=stats.isup,
                running=stats.isup and ("running" in flags or not flags),
                loopback="loopback" in flags or name.lower().startswith(("loopback", "lo0")) or name == "lo",
                addresses=None if addresses is None else addresses.get(name, ()),
            )
        )
    return LinkSnapshot(tuple(interfaces))


def _address(address: str, netmask: str | None) -> str:
    bare = address.partition("%")[0]  # fe80::1%en0
    if ":" in bare:
        return f"{bare}/64"  # psutil gives IPv6 masks in a form of its own, and /64 is what there is
    return f"{bare}/{ipaddress.ip_network(f'0.0.0.0/{netmask}').prefixlen if netmask else 32}"

"""Makes the kernel's messages, byte for byte, for the tests that read them."""

from __future__ import annotations

import ipaddress
import struct

UP, LOOPBACK, RUNNING, LOWER_UP, DORMANT = 0x1, 0x8, 0x40, 0x10000, 0x20000
ALIVE = UP | RUNNING | LOWER_UP
NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE = 16, 17, 20, 21, 24, 25
MULTI, INTERRUPTED, REPLACE = 0x2, 0x10, 0x100
FAMILY = {4: 2, 6: 10}


def message(kind: int, body: bytes, *, flags: int = 0, seq: int = 0, port: int = 0) -> bytes:
    padded = body + bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, seq, port) + padded


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link(index: int, name: str = "", flags: int = ALIVE, *, kind: str = "", family: int = 0) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, flags, 0xFFFFFFFF)
    if name:
        body += attribute(3, name.encode() + b"\0")
    if kind:
        body += attribute(18, attribute(1, kind.encode() + b"\0"))
    return body


def address(index: int, text: str) -> bytes:
    own = ipaddress.ip_interface(text)
    body = struct.pack("=BBBBI", FAMILY[own.version], own.network.prefixlen, 0, 0, index)
    return body + attribute(1, own.ip.packed) + (attribute(2, own.ip.packed) if own.version == 4 else b"")


def route(
    index: int,
    gateway: str = "",
    *,
    version: int = 4,
    metric: int = 0,
    table: int = 254,
    bits: int = 0,
    kind: int = 1,
    several: tuple[tuple[int, str], ...] = (),
) -> bytes:
    body = struct.pack("=BBBBBBBBI", FAMILY[version], bits, 0, 0, min(table, 252), 3, 0, kind, 0)
    body += attribute(15, struct.pack("=I", table))
    if metric:
        body += attribute(6, struct.pack("=I", metric))
    if index:
        body += attribute(4, struct.pack("=I", index))
    if gateway:
        body += attribute(5, ipaddress.ip_address(gateway).packed)
    if several:
        hops = b""
        for hop, via in several:
            inner = attribute(5, ipaddress.ip_address(via).packed)
            hops += struct.pack("=HBBi", 8 + len(inner), 0, 0, hop) + inner
        body += attribute(9, hops)
    return body


def done(seq: int, port: int, *, flags: int = MULTI) -> bytes:
    return message(3, struct.pack("=i", 0), flags=flags, seq=seq, port=port)


def error(errno: int, seq: int, port: int) -> bytes:
    return message(2, struct.pack("=i", -errno) + bytes(16), seq=seq, port=port)

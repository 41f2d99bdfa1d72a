"""What the gateway and the engine's process say to each other, one JSON line each way, and what is published of it.

Pure: records only.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from oblix_actors.settings import Secret

MAX_LINE: Final = 65_536
"""Bytes of one line, either way: a path may be long, nothing else is."""


class EngineParams(msgspec.Struct, frozen=True):
    """Parent to child, on its standard input: the key is in no command line and no environment.

    ``model`` is the absolute path of the file, ``alias`` the name it answers to; ``context`` is tokens per slot;
    ``threads`` is a count of cores; ``niceness`` is added to the priority value.
    """

    model: str
    alias: str
    context: int
    slots: int
    threads: int
    key: str
    niceness: int


class Loaded(msgspec.Struct, frozen=True, tag_field="is", tag="loaded"):
    """Child to parent: the model is loaded, and llama.cpp listens at ``address`` (``http://host:port``)."""

    address: str


class Refused(msgspec.Struct, frozen=True, tag_field="is", tag="refused"):
    """Child to parent: it cannot be loaded. ``reason`` is "" where llama.cpp's own log is all there is to know."""

    reason: str


Answer = Loaded | Refused


class EngineAddress(msgspec.Struct, frozen=True):
    """Where the running engine answers. ``base_url`` includes ``/v1``; ``pid`` is the process behind it."""

    base_url: str
    key: Secret
    model: str
    pid: int


Phase = Literal["absent", "stopped", "starting", "ready", "stopping", "failed"]
"""``absent``: there is no model file. ``stopped``: the next request starts it. ``failed``: it cannot be started, and
is not tried again yet."""


class EngineState(msgspec.Struct, frozen=True):
    """Published by the engine actor. ``pid`` is the running process, loading or ready; ``reason`` says why it is as it
    is; ``leases`` counts the requests that use the model or wait for it."""

    phase: Phase = "stopped"
    pid: int | None = None
    reason: str = ""
    leases: int = 0

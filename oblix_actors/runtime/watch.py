"""A published value: one writer, any number of readers, always the latest, nobody ever waits to write.

What many read (``/health``, the dashboard, the router's snapshot) is published here instead of asked for.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watch(Generic[T]):
    """The latest value of something, and a way to wait for the next one."""

    __slots__ = ("_changed", "_value", "_version")

    def __init__(self, value: T) -> None:
        self._value = value
        self._version = 0
        self._changed = trio.Event()

    @property
    def value(self) -> T:
        """The latest value."""
        return self._value

    @property
    def version(self) -> int:
        """How often it was set: what a reader hands to :meth:`newer`."""
        return self._version

    def set(self, value: T) -> None:
        """Publish ``value`` and wake every waiting reader."""
        self._value = value
        self._version += 1
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def newer(self, version: int) -> tuple[T, int]:
        """Wait until there is a value newer than ``version``; returns it and its version.

        Values published in between are skipped: a slow reader sees the latest, never a backlog.
        """
        while self._version <= version:
            await self._changed.wait()
        return self._value, self._version

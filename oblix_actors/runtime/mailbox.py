"""Bounded mailboxes: the only way one actor speaks to another.

A mailbox is made outside the actor that reads it, so its mail outlives a crash of that actor: the
restarted one goes on with the next message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import trio

from oblix_actors.errors import Busy

M = TypeVar("M")
T = TypeVar("T")


class MailboxState(msgspec.Struct, frozen=True):
    """``depth`` of ``size`` messages are waiting; ``refused`` counts those that found it full, since the start."""

    depth: int
    size: int
    refused: int


class Reply(Generic[T]):
    """The return address of one question. The first answer counts; later ones are ignored."""

    __slots__ = ("_done", "_error", "_value")

    def __init__(self) -> None:
        self._done = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = None

    def put(self, value: T) -> None:
        """Answer the question. Never blocks."""
        if not self._done.is_set():
            self._value = value
            self._done.set()

    def fail(self, error: Exception) -> None:
        """Answer that there is no answer. Never blocks."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def get(self) -> T:
        """The answer; raises what :meth:`fail` was given."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


class Mailbox(Generic[M]):
    """A bounded queue of messages for one actor. Many may write, one reads."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._size = size
        self._refused = 0
        self._send, self._receive = trio.open_memory_channel[M](size)

    def tell(self, message: M) -> None:
        """Put ``message`` into the box, or raise :class:`Busy` at once: it never waits."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self._refused += 1
            raise Busy(f"the mailbox of {self.name} is full ({self._size} messages)") from None

    async def ask(self, question: Callable[[Reply[T]], M]) -> T:
        """Send ``question(reply)`` and wait for the reply. Raises :class:`Busy`, or what the actor failed with."""
        reply: Reply[T] = Reply()
        self.tell(question(reply))
        return await reply.get()

    async def each(self, handle: Callable[[M], None], dropped: Callable[[M, BaseException], None]) -> None:
        """Give every message to ``handle``, one at a time, for ever.

        ``handle`` does not wait for anything. When it raises, ``dropped`` is told which message was in
        hand before the exception goes on to the supervisor, so that nobody waits for its answer in vain.
        """
        while True:
            message = await self._receive.receive()
            try:
                handle(message)
            except BaseException as error:
                dropped(message, error)
                raise

    def state(self) -> MailboxState:
        """How full it is."""
        return MailboxState(self._send.statistics().current_buffer_used, self._size, self._refused)

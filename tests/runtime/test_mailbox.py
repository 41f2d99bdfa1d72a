"""Mailboxes: bounded, never blocking to write, and outliving the actor that reads them."""

from __future__ import annotations

import pytest
import trio

from oblix_actors.errors import Busy
from oblix_actors.runtime.mailbox import Mailbox, Reply


def ignore(message: object, error: BaseException) -> None:
    """A ``dropped`` that does nothing."""


async def test_tell_is_refused_at_once_when_the_box_is_full() -> None:
    box: Mailbox[int] = Mailbox("box", 2)
    box.tell(1)
    box.tell(2)
    with pytest.raises(Busy, match="box is full"):
        box.tell(3)
    assert (box.state().depth, box.state().size, box.state().refused) == (2, 2, 1)


async def test_messages_are_handled_in_order(autojump_clock: trio.testing.MockClock) -> None:
    box: Mailbox[int] = Mailbox("box", 10)
    seen: list[int] = []
    for number in range(5):
        box.tell(number)
    with trio.move_on_after(1):
        await box.each(seen.append, ignore)
    assert seen == [0, 1, 2, 3, 4]


async def test_mail_outlives_a_crash_and_the_message_in_hand_is_reported(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box: Mailbox[int] = Mailbox("box", 10)
    for number in range(4):
        box.tell(number)
    seen: list[int] = []
    dropped: list[tuple[int, type[BaseException]]] = []

    def handle(message: int) -> None:
        if message == 1:
            raise ValueError("one")
        seen.append(message)

    with pytest.raises(ValueError, match="one"):
        await box.each(handle, lambda message, error: dropped.append((message, type(error))))
    with trio.move_on_after(1):
        await box.each(handle, ignore)
    assert seen == [0, 2, 3]
    assert dropped == [(1, ValueError)]


async def test_ask_gets_the_first_answer(autojump_clock: trio.testing.MockClock) -> None:
    box: Mailbox[tuple[int, Reply[int]]] = Mailbox("box", 1)

    def answer(question: tuple[int, Reply[int]]) -> None:
        number, reply = question
        reply.put(number * 2)
        reply.put(-1)
        reply.fail(RuntimeError("too late"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.each, answer, ignore)
        assert await box.ask(lambda reply: (21, reply)) == 42
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_a_question_lost_in_a_crash_is_answered_with_the_crash() -> None:
    box: Mailbox[Reply[int]] = Mailbox("box", 1)

    def handle(_: Reply[int]) -> None:
        raise ValueError("in hand")

    def dropped(reply: Reply[int], error: BaseException) -> None:
        reply.fail(RuntimeError(f"lost: {error}"))

    async def actor() -> None:
        with pytest.raises(ValueError, match="in hand"):
            await box.each(handle, dropped)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        with pytest.raises(RuntimeError, match="lost: in hand"):
            await box.ask(lambda reply: reply)

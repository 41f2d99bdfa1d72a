"""What the router remembers: bounded, and turned into snapshots."""

from __future__ import annotations

import re

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import ChatRequest, Message
from oblix_actors.core.decision import Machine, Price
from oblix_actors.core.knowledge import Knowledge, Recent
from oblix_actors.core.prices import UNKNOWN_CLOUD, default_price
from oblix_actors.core.privacy import Rule
from oblix_actors.core.timing import Pace

PACE = Pace(prompt=400, cached=0, answer=50, first=0.5, total=1.5, loaded=True)


def conversation(*texts: str) -> ChatRequest:
    """User and assistant in turn."""
    roles = ("user", "assistant")
    return ChatRequest(
        model="auto",
        messages=tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)),  # type: ignore[arg-type]
    )


def test_the_newest_are_kept() -> None:
    recent: Recent[str, int] = Recent(2)
    for number, key in enumerate(("a", "b", "a", "c")):
        recent.set(key, number)
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (2, None, 3, 2)


def test_a_conversation_is_known_to_be_cached_where_it_was_answered() -> None:
    knowledge = Knowledge()
    first = conversation("Hello")
    knowledge.answered(first, ("ollama", "m"), PACE)
    assert knowledge.snapshot(conversation("Hello", "Hi!", "More")).cached == {("ollama", "m"): 400}
    assert knowledge.snapshot(conversation("Something else")).cached == {}


def test_a_conversation_that_a_rule_has_marked_stays_marked_when_the_words_are_gone() -> None:
    knowledge = Knowledge(rules=(Rule("secret", re.compile("secret"), "local"),))
    marked = conversation("Hello", "Hi!", "the secret", "I see.")
    assert knowledge.snapshot(marked).fence == "local"
    longer = conversation("Hello", "Hi!", "the secret", "I see.", "And now?")
    assert knowledge.snapshot(longer).fence == "local"
    assert knowledge.snapshot(conversation("Hello", "Hi!", "the weather")).fence == "any"


def test_the_machine_is_read_when_it_is_needed() -> None:
    states = iter((Machine("available"), Machine("critical")))
    knowledge = Knowledge(machine=lambda: next(states))
    assert [knowledge.snapshot(conversation("x")).machine.state for _ in range(2)] == ["available", "critical"]


def test_prices_come_from_the_config_then_from_the_table() -> None:
    knowledge = Knowledge(prices={("openai", "gpt-5"): Price(1, 2)})
    models = (Model("gpt-5"), Model("gpt-5-mini"))
    knowledge.offered(ProviderState(name="openai", kind="openai", locality="cloud", order=0, models=models))
    assert knowledge.price(("openai", "gpt-5")) == Price(1, 2)
    assert knowledge.price(("openai", "gpt-5-mini")) == default_price("openai", "cloud", "gpt-5-mini")


def test_default_prices() -> None:
    assert default_price("ollama", "local", "gpt-5") == Price()
    assert default_price("openai", "cloud", "gpt-5-mini-2026-01-01") == default_price("openai", "cloud", "gpt-5-mini")
    assert default_price("openai", "cloud", "unheard-of") == UNKNOWN_CLOUD
    assert default_price("anthropic", "cloud", "claude-haiku-4-5-20251001").input == 1.0


def test_learning_is_bounded_and_forgets_no_rest_it_should_keep() -> None:
    knowledge = Knowledge()
    for number in range(1100):
        knowledge.answered(conversation(str(number)), ("p", str(number)), PACE)
    assert len(knowledge.speeds) == 1000
    assert ("p", "1099") in knowledge.speeds

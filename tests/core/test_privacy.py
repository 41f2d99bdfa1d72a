"""The fence: it only narrows, rules read everything that is said, and nothing gets past the last word."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.catalogue import Locality, Model, ProviderState
from oblix_actors.core.chat import ChatRequest, FilePart, FunctionCall, ImagePart, ImageURL, Message, TextPart, ToolCall
from oblix_actors.core.decision import PRIVACY_RANK, Price, Privacy, Resting, Snapshot, may_go
from oblix_actors.core.policy import plan
from oblix_actors.core.privacy import Rule, asked_for, assert_inside, digests, fence
from oblix_actors.core.timing import Speed
from oblix_actors.core.wishes import BUILT_IN, Wish
from oblix_actors.errors import OblixError

LEVELS: tuple[Privacy, ...] = get_args(Privacy)
LOCALITIES: tuple[Locality, ...] = get_args(Locality)
RULES = (Rule("iban", re.compile("DE[0-9]{4}"), "local"), Rule("internal", re.compile("(?i)internal"), "lan"))


def said(*messages: Message, asked: Privacy = "any", key: Privacy = "any", marked: Privacy | None = None) -> str:
    """How far this conversation may travel."""
    return fence(messages, asked=asked, key=key, wish="any", rules=RULES, marked=marked).privacy


@pytest.mark.parametrize(
    ("message", "privacy"),
    [
        (Message("user", "hello"), "any"),
        (Message("user", "my account is DE1234"), "local"),
        (Message("system", "this is INTERNAL"), "lan"),
        (Message("assistant", "you said DE1234"), "local"),
        (Message("user", (TextPart("DE12"), TextPart("34"))), "local"),
        (Message("user", (ImagePart(ImageURL("https://internal/x.png")),)), "lan"),
        (Message("user", (FilePart({"filename": "DE1234.pdf"}),)), "local"),
        (Message("assistant", None, tool_calls=(ToolCall("1", FunctionCall("pay", '{"to":"DE1234"}')),)), "local"),
        (Message("tool", "balance of DE1234: 7", tool_call_id="1"), "local"),
        (Message("assistant", None, reasoning_content="they bank at DE1234"), "local"),
        (Message("assistant", None, refusal="not DE1234"), "local"),
    ],
)
def test_rules_read_everything_that_is_said(message: Message, privacy: str) -> None:
    assert said(message) == privacy
    assert said(Message("user", "hello"), message, Message("user", "and now?")) == privacy


def test_the_narrowest_of_all_counts() -> None:
    internal = Message("user", "internal")
    assert said(internal, asked="any") == "lan"
    assert said(internal, asked="local") == "local"
    assert said(internal, key="local") == "local"
    assert said(internal, marked="local") == "local"
    assert said(Message("user", "hello"), marked="lan") == "lan"


levels = st.sampled_from(LEVELS)


@given(levels, levels, levels, st.none() | levels, st.text(max_size=20))
def test_every_voice_can_only_narrow(
    asked: Privacy, key: Privacy, wish: Privacy, marked: Privacy | None, text: str
) -> None:
    found = fence((Message("user", text),), asked=asked, key=key, wish=wish, rules=RULES, marked=marked)
    ranks = [PRIVACY_RANK[level] for level in (asked, key, wish, marked or "any")]
    assert PRIVACY_RANK[found.privacy] <= min(ranks)


def test_a_conversations_digests_tell_its_beginnings_apart() -> None:
    one = digests((Message("user", "a"), Message("assistant", "b"), Message("user", "c")))
    two = digests((Message("user", "a"), Message("assistant", "b"), Message("user", "d")))
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert digests((Message("user", "ab"),)) != digests((Message("user", "a"), Message("user", "b")))[1:]


@pytest.mark.parametrize(
    ("body", "header", "privacy"),
    [
        ({}, None, "any"),
        ({"oblix": {"privacy": "lan"}}, None, "lan"),
        ({}, "local", "local"),
        ({"oblix": {"privacy": "lan"}}, "local", "local"),
        ({"oblix": {"privacy": "local"}}, "any", "local"),
    ],
)
def test_what_is_asked_for(body: dict[str, object], header: str | None, privacy: str) -> None:
    assert asked_for(ChatRequest(model="auto", messages=(), body=body), header) == privacy


@pytest.mark.parametrize(
    ("body", "header"), [({"oblix": {"privacy": "Local"}}, None), ({"oblix": {"privacy": 1}}, None), ({}, "")]
)
def test_a_misspelt_level_is_an_error(body: dict[str, object], header: str | None) -> None:
    with pytest.raises(OblixError, match="must be"):
        asked_for(ChatRequest(model="auto", messages=(), body=body), header)


@pytest.mark.parametrize("privacy", LEVELS)
@pytest.mark.parametrize("locality", LOCALITIES)
def test_the_last_word_before_an_attempt(privacy: Privacy, locality: Locality) -> None:
    if may_go(privacy, locality):
        assert_inside(privacy, locality)
    else:
        with pytest.raises(OblixError, match="was stopped"):
            assert_inside(privacy, locality)


odd = st.floats(allow_nan=True, allow_infinity=True)
models = st.builds(
    Model,
    id=st.sampled_from(["m", "n", "a:b", ""]),
    context=st.none() | st.integers(-1, 10**9),
    loaded=st.none() | st.booleans(),
    size_bytes=st.none() | st.integers(-1, 10**15),
    chat=st.booleans(),
    remote=st.booleans(),
)
providers = st.builds(
    ProviderState,
    name=st.sampled_from(["p", "q", "auto", "x:y"]),
    kind=st.sampled_from(["openai", "ollama", "anthropic", "embedded", "scripted"]),
    locality=st.sampled_from(LOCALITIES),
    order=st.integers(-3, 3),
    status=st.sampled_from(["ready", "starting", "down", "absent"]),
    models=st.lists(models, max_size=4).map(tuple),
    last_resort=st.booleans(),
    running=st.integers(0, 50),
    waiting=st.integers(0, 50),
    slots=st.integers(1, 8),
)
names = st.tuples(st.sampled_from(["p", "q"]), st.sampled_from(["m", "n"]))
speeds = st.builds(
    Speed, prefill=st.none() | odd, decode=st.none() | odd, load=st.none() | odd, samples=st.integers(0, 9)
)
snapshots = st.builds(
    Snapshot,
    fence=levels,
    rests=st.dictionaries(names, st.builds(Resting, until=odd, reason=st.just("x"))),
    speeds=st.dictionaries(names, speeds),
    prices=st.dictionaries(names, st.builds(Price, input=odd, output=odd)),
    quality=st.dictionaries(names, odd),
    cached=st.dictionaries(names, st.integers(-5, 10**6)),
    warm_behind=st.booleans(),
)
WISHES = {**BUILT_IN, "mine": Wish("mine", models=("p:m", "q:n", "m", "nobody:x"))}


@given(
    st.lists(providers, max_size=5, unique_by=lambda state: state.name).map(tuple),
    snapshots,
    st.sampled_from(
        ["auto", "auto:fast", "auto:cheap", "auto:best", "auto:private", "mine", "m", "p:m", "q:new", "", "?"]
    ),
    st.none() | st.integers(1, 10**9),
    st.sampled_from([{}, {"oblix": {"max_cost": 0.1}}, {"oblix": {"max_cost": 10**400}}, {"oblix": 7}]),
)
def test_no_input_leaves_the_fence_or_breaks_the_plan(
    catalogue: tuple[ProviderState, ...], snapshot: Snapshot, model: str, answer: int | None, body: dict[str, object]
) -> None:
    request = ChatRequest(model=model, messages=(Message("user", "hi"),), max_tokens=answer, body=body)
    made = plan(request, snapshot, catalogue, 0.0, WISHES)
    where = {state.name: state for state in catalogue}
    for candidate in (*made.candidates, *([made.warm] if made.warm else [])):
        state = where[candidate.provider]
        assert may_go(snapshot.fence, state.locality)
        assert may_go(made.privacy, candidate.locality)
        remote = [each.remote for each in state.models if each.id == candidate.model]
        assert snapshot.fence == "any" or not remote or not all(remote)

"""Who may answer, in which order, and why: tables that read like the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.catalogue import LOCALITY_RANK, Model, ProviderState
from oblix_actors.core.chat import ALL_CAPABILITIES, ChatRequest, Message
from oblix_actors.core.decision import Plan, Resting, Snapshot
from oblix_actors.core.names import Wanted, resolve
from oblix_actors.core.policy import nobody
from oblix_actors.core.policy import plan as plan_with
from oblix_actors.core.wishes import BUILT_IN

TEXT_ONLY: frozenset[str] = frozenset()


def plan(
    request: ChatRequest,
    catalogue: tuple[ProviderState, ...],
    rests: dict[tuple[str, str | None], Resting],
    now: float,
) -> Plan:
    """The plan where only ``rests`` are known."""
    return plan_with(request, Snapshot(rests=rests), catalogue, now)


def provider(name: str, *models: str | Model, **fields: object) -> ProviderState:
    """A ready local provider, but for what ``fields`` says."""
    known = tuple(Model(model) if isinstance(model, str) else model for model in models)
    values = {"kind": "openai", "locality": "local", "order": 0, "status": "ready", **fields}
    return ProviderState(name=name, models=known, **values)  # type: ignore[arg-type]


def ask(model: str = "auto", *needs: str) -> ChatRequest:
    """A request for ``model`` that needs the capabilities ``needs``."""
    return ChatRequest(model=model, messages=(Message("user", "hi"),), needs=frozenset(needs))


OLLAMA = provider("ollama", "llama3.2:3b", "qwen3:latest", kind="ollama", order=0)
LAN = provider("box", "big", locality="lan", order=1)
CLOUD = provider("openai", "gpt-5-mini", "gpt-5", locality="cloud", order=2)
CLAUDE = provider("claude", "claude-haiku-4-5", kind="anthropic", locality="cloud", order=3)
EMBEDDED = provider(
    "embedded", Model("smollm2-135m", capabilities=TEXT_ONLY), kind="embedded", order=4, last_resort=True
)
ALL = (EMBEDDED, CLAUDE, CLOUD, LAN, OLLAMA)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("auto", Wanted(wish=BUILT_IN["auto"])),
        ("ollama:llama3.2:3b", Wanted("ollama", "llama3.2:3b")),
        ("ollama:not-listed", Wanted("ollama", "not-listed")),
        ("anthropic:claude-haiku-4-5", Wanted("claude", "claude-haiku-4-5")),
        ("claude:claude-haiku-4-5", Wanted("claude", "claude-haiku-4-5")),
        ("llama3.2:3b", Wanted(None, "llama3.2:3b")),
        ("qwen3", Wanted(None, "qwen3")),
        ("gpt-5", Wanted(None, "gpt-5")),
        ("nobody:gpt-5", None),
        ("gpt-99", None),
        ("ollama:", None),
        (":", None),
        ("", None),
    ],
)
def test_model_names(name: str, wanted: Wanted | None) -> None:
    assert resolve(name, ALL) == wanted


@pytest.mark.parametrize(
    ("catalogue", "request_", "order"),
    [
        pytest.param(
            ALL,
            ask(),
            [
                "ollama:llama3.2:3b",
                "ollama:qwen3:latest",
                "box:big",
                "openai:gpt-5-mini",
                "openai:gpt-5",
                "claude:claude-haiku-4-5",
                "embedded:smollm2-135m",
            ],
            id="local, then LAN, then cloud in the config's order, and the embedded model last",
        ),
        pytest.param((EMBEDDED,), ask(), ["embedded:smollm2-135m"], id="alone, the last resort is the first"),
        pytest.param(
            (provider("a", "m", order=1), provider("b", "m", order=0)), ask(), ["b:m", "a:m"], id="the config's order"
        ),
        pytest.param(
            (provider("a", "1", "2", "3", "4"),), ask(), ["a:1", "a:2", "a:3"], id="auto tries three models of each"
        ),
        pytest.param(
            (provider("down", "m", status="down"), CLOUD),
            ask(),
            ["openai:gpt-5-mini", "openai:gpt-5"],
            id="auto leaves out who is down",
        ),
        pytest.param(
            (provider("down", "m", status="down"), CLOUD),
            ask("down:m"),
            ["down:m"],
            id="asked for by name, a provider that was down is tried: it may be back",
        ),
        pytest.param(ALL, ask("gpt-5"), ["openai:gpt-5"], id="a bare name means that model"),
        pytest.param(
            (provider("far", "m", locality="cloud"), provider("near", "m", order=1)),
            ask("m"),
            ["near:m", "far:m"],
            id="a bare name that two offer fails over from one to the other",
        ),
        pytest.param((OLLAMA,), ask("qwen3"), ["ollama:qwen3:latest"], id="Ollama's tag latest goes without saying"),
        pytest.param((OLLAMA,), ask("ollama:qwen3"), ["ollama:qwen3:latest"], id="also behind the provider's name"),
        pytest.param(
            (EMBEDDED, CLOUD), ask("auto", "tools"), ["openai:gpt-5-mini", "openai:gpt-5"], id="who lacks tools is out"
        ),
        pytest.param(
            (provider("a", Model("embed", chat=False), "chat"),), ask(), ["a:chat"], id="auto never embeds or draws"
        ),
    ],
)
def test_order(catalogue: tuple[ProviderState, ...], request_: ChatRequest, order: list[str]) -> None:
    assert [candidate.name for candidate in plan(request_, catalogue, {}, 0.0).candidates] == order


def test_who_rests_ranks_behind_the_others_until_it_has_rested() -> None:
    rests = {
        ("ollama", None): Resting(10.0, "upstream_connect"),
        ("openai", "gpt-5-mini"): Resting(10.0, "upstream_stall"),
    }
    names = [candidate.name for candidate in plan(ask(), (OLLAMA, CLOUD), rests, 9.0).candidates]
    assert names == ["openai:gpt-5", "ollama:llama3.2:3b", "ollama:qwen3:latest", "openai:gpt-5-mini"]
    assert plan(ask(), (OLLAMA, CLOUD), rests, 10.0).candidates[0].name == "ollama:llama3.2:3b"


def test_a_resting_candidate_says_why() -> None:
    (candidate,) = plan(ask("m"), (provider("a", "m"),), {("a", "m"): Resting(3.5, "upstream_stall")}, 1.0).candidates
    assert candidate.reason == "local; rests for 2.5 s after upstream_stall"


@pytest.mark.parametrize(
    ("catalogue", "request_", "code", "param", "words"),
    [
        (ALL, ask("gpt-5-mino"), "model_not_found", "model", "did you mean openai:gpt-5-mini"),
        (ALL, ask("xyzzy"), "model_not_found", "model", "GET /v1/models"),
        ((EMBEDDED,), ask("auto", "tools"), "unsupported_capability", "tools", "it lacks tools"),
        ((EMBEDDED,), ask("auto", "images"), "unsupported_capability", "messages", "embedded:smollm2-135m"),
        ((provider("a", "m", status="down", reason="refused"),), ask(), "no_model_available", None, "a:m: refused"),
        ((), ask(), "no_model_available", None, "no provider is configured"),
    ],
)
def test_why_nobody_can(
    catalogue: tuple[ProviderState, ...], request_: ChatRequest, code: str, param: str | None, words: str
) -> None:
    error = nobody(request_, plan(request_, catalogue, {}, 0.0), catalogue)
    assert (error.code, error.param) == (code, param)
    assert words in error.message


names = st.sampled_from(["a", "b", "auto", "x:y", "m", "", "ü", "a:b:c"])
models = st.builds(
    Model,
    id=names,
    capabilities=st.none() | st.frozensets(st.sampled_from(sorted(ALL_CAPABILITIES))),
    chat=st.booleans(),
)
providers = st.builds(
    ProviderState,
    name=names,
    kind=st.sampled_from(["openai", "ollama", "anthropic", "embedded", "scripted"]),
    locality=st.sampled_from(sorted(LOCALITY_RANK)),
    order=st.integers(0, 5),
    status=st.sampled_from(["ready", "starting", "down", "absent"]),
    models=st.lists(models, max_size=5).map(tuple),
    last_resort=st.booleans(),
)
rests = st.dictionaries(
    st.tuples(names, st.none() | names), st.builds(Resting, until=st.floats(-10, 10), reason=st.just("x"))
)


@given(
    st.lists(providers, max_size=6, unique_by=lambda state: state.name).map(tuple),
    st.text(max_size=5) | names.map("a:".__add__),
    st.frozensets(st.sampled_from(sorted(ALL_CAPABILITIES))),
    rests,
)
def test_whatever_comes_it_answers_and_keeps_the_rules(
    catalogue: tuple[ProviderState, ...],
    name: str,
    needs: frozenset[str],
    resting: dict[tuple[str, str | None], Resting],
) -> None:
    request = ChatRequest(model=name, messages=(Message("user", "hi"),), needs=needs)
    made = plan(request, catalogue, resting, 0.0)
    for candidate in made.candidates:
        offered = [m for p in catalogue if p.name == candidate.provider for m in p.models if m.id == candidate.model]
        assert not offered or any(m.chat and (m.capabilities is None or needs <= m.capabilities) for m in offered)
    if not made.candidates:
        assert nobody(request, made, catalogue).kind.status in {400, 404, 503}
    assert made == plan(request, catalogue, resting, 0.0)

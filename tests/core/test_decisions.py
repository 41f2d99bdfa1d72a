"""Every decision in one table: the world and the request on the left, who is asked in which order on the right.

`laptop` is Ollama with a small model in memory, `office` a server on the LAN, `openai` and `claude` are clouds, and
`embedded` is the model that comes along. A case says what is different from an idle, connected machine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from oblix_actors.core.catalogue import Model, ProviderState
from oblix_actors.core.chat import (
    AUDIO,
    CHOICES,
    IMAGES,
    JSON_OBJECT,
    JSON_SCHEMA,
    LOGPROBS,
    TOOLS,
    ChatRequest,
    Message,
)
from oblix_actors.core.decision import Machine, Name, Network, Plan, Price, Resting, Snapshot
from oblix_actors.core.policy import plan
from oblix_actors.core.timing import Speed
from oblix_actors.core.wishes import BUILT_IN, Weights, Wish

ONLINE = {"loopback": "optimal", "lan": "optimal", "internet": "optimal"}
PLAIN = frozenset({JSON_OBJECT, JSON_SCHEMA, LOGPROBS})
FULL = frozenset({TOOLS, IMAGES, JSON_OBJECT, JSON_SCHEMA, LOGPROBS, CHOICES})
GB = 1_000_000_000

LAPTOP = ProviderState(
    name="laptop", kind="ollama", locality="local", order=0, status="ready",
    models=(Model("llama:3b", frozenset({TOOLS, JSON_SCHEMA, JSON_OBJECT}), 8192, loaded=True, size_bytes=2 * GB),),
)  # fmt: skip
OFFICE = ProviderState(
    name="office",
    kind="openai",
    locality="lan",
    order=1,
    status="ready",
    models=(Model("qwen", PLAIN | {TOOLS}, 32768),),
)
OPENAI = ProviderState(
    name="openai", kind="openai", locality="cloud", order=2, status="ready", models=(Model("mini", FULL, 400_000),)
)
CLAUDE = ProviderState(
    name="claude", kind="anthropic", locality="cloud", order=3, status="ready",
    models=(Model("haiku", frozenset({TOOLS, IMAGES, JSON_SCHEMA}), 200_000),),
)  # fmt: skip
EMBEDDED = ProviderState(
    name="embedded", kind="embedded", locality="local", order=4, status="ready", last_resort=True,
    models=(Model("small", PLAIN, 4096, loaded=False, size_bytes=GB // 10),),
)  # fmt: skip
ALL = (LAPTOP, OFFICE, OPENAI, CLAUDE, EMBEDDED)
PRICES: dict[Name, Price] = {("openai", "mini"): Price(0.25, 2.0), ("claude", "haiku"): Price(1.0, 5.0)}
WISHES = {
    **BUILT_IN,
    "mine": Wish("mine", models=("claude:haiku", "laptop:llama:3b", "gone:model")),
    "fenced": Wish("fenced", models=("openai:mini", "office:qwen"), privacy="lan"),
    "thrifty": Wish("thrifty", weights=Weights(time=0.0, money=1.0)),
}

L, O, P, C, E = "laptop:llama:3b", "office:qwen", "openai:mini", "claude:haiku", "embedded:small"


class Case(NamedTuple):
    """What is different, and who is asked; ``out`` are rules that exclude, ``why`` words of the first one's reason."""

    what: str
    order: list[str]
    out: dict[str, str] = {}
    why: str = ""
    model: str = "auto"
    needs: tuple[str, ...] = ()
    machine: str = "available"
    battery: bool = False
    free: int | None = None
    routes: dict[str, str] = {}
    fence: str = "any"
    words: int = 1
    answer: int | None = None
    cost: float | None = None
    rests: dict[tuple[str, str | None], str] = {}
    speeds: dict[Name, tuple[float, float]] = {}
    cached: dict[Name, int] = {}
    changes: dict[str, dict[str, Any]] = {}
    only: tuple[str, ...] = ()
    warm: str | None = None


def gone(*routes: str) -> dict[str, str]:
    """These routes are disconnected."""
    return {**ONLINE, **dict.fromkeys(routes, "disconnected")}


def out(rule: str, *names: str) -> dict[str, str]:
    """All of these are excluded by ``rule``."""
    return dict.fromkeys(names, rule)


COLD = {"laptop": {"models": (Model("llama:3b", FULL, 8192, loaded=False, size_bytes=6 * GB),)}}

CASES = [
    # -- the original's precedence
    Case("an idle machine answers itself, the clouds stand by", [L, O, P, C, E]),
    Case("a constrained machine gives its work away", [P, C, O, L, E], machine="constrained"),
    Case("a critical machine gives its work away", [P, C, O, L, E], machine="critical"),
    Case("disconnected, it is local, however busy", [L, O, E], out("connectivity", P, C), machine="critical", routes=gone("internet")),
    Case("disconnected and idle, it is local", [L, O, E], out("connectivity", P, C), "internet route", routes=gone("internet")),
    Case("without a LAN the office is out", [L, P, C, E], out("connectivity", O), "lan route", routes=gone("lan")),
    Case("without any network what is here answers", [L, E], out("connectivity", O, P, C), routes=gone("lan", "internet")),
    Case("a degraded network moves nothing by itself", [L, O, P, C, E], routes={**ONLINE, "internet": "degraded"}),
    Case("constrained on a degraded network, still away", [P, C, O, L, E], machine="constrained", routes={**ONLINE, "internet": "degraded"}),
    # -- the last resort
    Case("the embedded model is behind every other, on an idle machine too", [L, E], only=("laptop", "embedded")),
    Case("behind the clouds when the machine is busy", [P, E], only=("openai", "embedded"), machine="critical"),
    Case("alone it answers, however small", [E], only=("embedded",)),
    Case("alone it answers on a critical machine", [E], only=("embedded",), machine="critical"),
    # -- health
    Case("who is down is left out", [O, P, C, E], out("health", L), "refused", changes={"laptop": {"status": "down", "reason": "refused"}}),
    Case("who is absent is left out", [O, P, C, E], out("health", L), changes={"laptop": {"status": "absent"}}),
    Case("who has not been asked yet is left out", [L, O, C, E], out("health", P), changes={"openai": {"status": "starting"}}),
    Case("but not when it is asked for by name", [P], model="openai:mini", changes={"openai": {"status": "down"}}),
    Case("a provider that rests stands behind", [O, P, C, E, L], rests={("laptop", None): "upstream_connect"}),
    Case("so does a model that rests", [L, O, C, E, P], rests={("openai", "mini"): "upstream_stall"}),
    Case("resting ones keep their order", [P, C, E, L, O], rests={("laptop", None): "x", ("office", None): "x"}),
    Case("when all rest, the order is as ever", [L, O], only=("laptop", "office"), rests={("laptop", None): "x", ("office", None): "x"}),
    # -- capability
    Case("tools: the embedded model has none", [L, O, P, C], out("capability", E), "lacks tools", needs=(TOOLS,)),
    Case("images: two clouds see", [P, C], out("capability", L, O, E), "lacks images", needs=(IMAGES,)),
    Case("audio: nobody hears", [], out("capability", L, O, P, C, E), "lacks audio", needs=(AUDIO,)),
    Case("log probabilities", [O, P, E], out("capability", L, C), "lacks logprobs", needs=(LOGPROBS,)),
    Case("several choices", [P], out("capability", L, O, C, E), "lacks n", needs=(CHOICES,)),
    Case("a JSON object: Claude has schemas only", [L, O, P, E], out("capability", C), needs=(JSON_OBJECT,)),
    Case("a JSON schema: everybody", [L, O, P, C, E], needs=(JSON_SCHEMA,)),
    Case("tools and images together", [P, C], out("capability", L, O, E), needs=(TOOLS, IMAGES)),
    Case("what nobody knows of a model is believed", [L, O, P, C, E], needs=(AUDIO,), changes={n: {"models": (Model(m),)} for n, m in (("laptop", "llama:3b"), ("office", "qwen"), ("openai", "mini"), ("claude", "haiku"), ("embedded", "small"))}),
    Case("a model that only embeds is no candidate by name", [], out("capability", "laptop:embed"), "not a chat model", model="laptop:embed", changes={"laptop": {"models": (Model("embed", chat=False),)}}),
    Case("and is not seen by auto", [O, P, C, E], changes={"laptop": {"models": (Model("embed", chat=False),)}}),
    # -- context
    Case("a long prompt needs a long context", [O, P, C], out("context", L, E), "its context is 8192", words=10_000),
    Case("a very long one the clouds'", [P, C], out("context", L, O, E), words=100_000),
    Case("one that fits nobody", [], out("context", L, O, P, C, E), words=500_000),
    Case("the answer must fit, too", [O, P, C], out("context", L, E), answer=9000),
    Case("an unknown context is believed", [L, O, P, C], out("context", E), words=10_000, changes={"laptop": {"models": (Model("llama:3b", FULL),)}}),
    # -- memory
    Case("a cold model that does not fit is out", [O, P, C, E], out("memory", L), "6.9 GB", free=2 * GB, changes=COLD),
    Case("one in memory needs no more", [L, O, P, C, E], free=GB),
    Case("what is free is not known: it is loaded behind a quicker one", [O, L, P, C, E], changes=COLD, speeds={("office", "qwen"): (0.1, 100)}, warm=L),
    # -- privacy
    Case("local means this machine", [L, E], out("privacy", O, P, C), "stays local", fence="local"),
    Case("lan means this network", [L, O, E], out("privacy", P, C), "stays lan", fence="lan"),
    Case("a fence holds on a critical machine", [L, E], out("privacy", O, P, C), fence="local", machine="critical"),
    Case("a fence holds when nothing is left inside", [], out("privacy", O, P, C), fence="local", only=("office", "openai", "claude")),
    Case("a fence holds against a name", [], out("privacy", P), model="openai:mini", fence="lan"),
    Case("a fence holds against a list", [L], out("privacy", C), model="mine", fence="local"),
    Case("auto:private is a fence", [L, E], out("privacy", O, P, C), model="auto:private"),
    Case("a virtual model may be one", [O], out("privacy", P), model="fenced"),
    Case("a model that is listed here and runs in a cloud is in the cloud", [E], out("privacy", L), fence="local", only=("laptop", "embedded"), changes={"laptop": {"models": (Model("llama:3b", FULL, remote=True),)}}),
    # -- names
    Case("a provider's model and no other", [C], model="claude:haiku"),
    Case("the original's prefix finds the kind", [C], model="anthropic:haiku"),
    Case("a bare name is whoever has it", [P], model="mini"),
    Case("a name that nobody has", [], out("model", "nothing"), "no provider has", model="nothing"),
    Case("a name that is not listed is still tried", ["openai:new"], model="openai:new"),
    # -- expected time
    Case("within a tier the quicker goes first", [L, O, C, P, E], speeds={("openai", "mini"): (2.0, 20), ("claude", "haiku"): (0.4, 90)}),
    Case("a queue is time, too", [L, O, C, P, E], changes={"openai": {"running": 1, "waiting": 9, "slots": 1}}),
    Case("a queue here does not leave the tier", [L, O, P, C, E], changes={"laptop": {"running": 1, "waiting": 3, "slots": 1}}),
    Case("a cached conversation is quicker", [L, O, C, P], out("context", E), words=6000, cached={("claude", "haiku"): 7900}),
    # -- wishes
    Case("fast: by time alone", [P, C, O, L, E], model="auto:fast"),
    Case("cheap: what costs nothing first", [O, L, E, P, C], model="auto:cheap"),
    Case("best: the clouds first", [P, C, O, L, E], model="auto:best"),
    Case("a list is an order", [C, L], model="mine"),
    Case("a list skips who is down", [L], out("health", C), model="mine", changes={"claude": {"status": "down"}}),
    Case("own weights: by money alone", [L, O, E, P, C], model="thrifty"),
    # -- budget
    Case("a budget keeps what is dear out", [L, O, P, E], out("budget", C), "costs about", cost=0.001),
    Case("no money at all: what is free", [L, O, E], out("budget", P, C), cost=0.0),
    # -- warm behind
    Case("a cold model is loaded while the cloud answers", [P, L, C, E], only=("laptop", "openai", "claude", "embedded"), changes=COLD, warm=L),
    Case("not when the cloud is out of reach", [L, E], out("connectivity", P), only=("laptop", "openai", "embedded"), changes=COLD, routes=gone("internet")),
    Case("not for the sake of the last resort", [L, E], only=("laptop", "embedded"), changes=COLD),
    Case("not inside a fence", [L, E], out("privacy", P), only=("laptop", "openai", "embedded"), changes=COLD, fence="local"),
]  # fmt: skip


def decide(case: Case) -> Plan:
    """The plan of one case."""
    catalogue = tuple(
        msgspec.structs.replace(state, **case.changes.get(state.name, {}))
        for state in ALL
        if not case.only or state.name in case.only
    )
    speeds = {}
    for name, (first, rate) in case.speeds.items():
        speed = speeds[name] = Speed()
        for _ in range(20):
            speed.learn(prompt=10, cached=0, answer=101, first=first, total=first + 100 / rate, loaded=True)
    routes = case.routes or ONLINE
    snapshot = Snapshot(
        machine=Machine(case.machine, "local_cpu", ("cpu",), case.free, case.battery),  # type: ignore[arg-type]
        network=Network("disconnected" if routes["internet"] == "disconnected" else "optimal", routes=routes),
        rests={name: Resting(10.0, why) for name, why in case.rests.items()},
        speeds=speeds,
        prices=PRICES,
        cached=case.cached,
        fence=case.fence,  # type: ignore[arg-type]
    )
    request = ChatRequest(
        model=case.model,
        messages=(Message("user", "word " * case.words),),
        needs=frozenset(case.needs),
        max_tokens=case.answer,
        body={} if case.cost is None else {"oblix": {"max_cost": case.cost}},
    )
    return plan(request, snapshot, catalogue, 0.0, WISHES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_decision(case: Case) -> None:
    made = decide(case)
    assert [candidate.name for candidate in made.candidates] == case.order
    excluded = {f"{each.provider}:{each.model}".lstrip(":"): each for each in made.excluded}
    assert {name: excluded[name].rule for name in case.out if name in excluded} == case.out
    if case.why:
        assert case.why in excluded[next(iter(case.out))].reason
    assert (made.warm.name if made.warm is not None else None) == case.warm
    assert all(candidate.reason for candidate in made.candidates)


def test_there_are_enough_cases_and_each_is_different() -> None:
    assert len(CASES) >= 60
    assert len({case.what for case in CASES}) == len(CASES)

"""What the router knows of the world besides its jobs: kept here, bounded, and turned into snapshots.

Owned by the router and written by nobody else. No clock: times are handed in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from oblix_actors.core.catalogue import ProviderState
from oblix_actors.core.chat import ChatRequest
from oblix_actors.core.decision import (
    Machine,
    Name,
    Network,
    Price,
    Privacy,
    Resting,
    Snapshot,
    stricter,
)
from oblix_actors.core.prices import default_price
from oblix_actors.core.privacy import Fence, Rule, digests, fence
from oblix_actors.core.timing import Pace, Speed

CONVERSATIONS: Final = 10_000
"""Conversations remembered, for their cached prefixes and their privacy marks; the least recent is forgotten."""
SPEEDS: Final = 1_000
"""Models whose speed is remembered."""

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping of at most ``limit`` entries: the one that was set least recently goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The entry, if it is still remembered."""
        return self._entries.get(key)

    def set(self, key: K, value: V) -> None:
        """Remember ``value`` as the newest."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)


class Knowledge:
    """``rules`` are the config's privacy rules; ``prices`` and ``quality`` its figures per model.

    ``machine`` reads what the resource monitor publishes: its figures change more often than anybody is told.
    """

    def __init__(
        self,
        *,
        rules: tuple[Rule, ...] = (),
        prices: Mapping[Name, Price] | None = None,
        quality: Mapping[Name, float] | None = None,
        speeds: Mapping[Name, Speed] | None = None,
        warm_behind: bool = True,
        machine: Callable[[], Machine] = Machine,
    ) -> None:
        self._machine = machine
        self.network = Network()
        self.rests: dict[tuple[str, str | None], Resting] = {}
        self.speeds: dict[Name, Speed] = dict(speeds or {})
        self._rules = rules
        self._configured = prices or {}
        self._prices: dict[Name, Price] = dict(self._configured)
        self._quality = quality or {}
        self._warm_behind = warm_behind
        self._marks: Recent[bytes, Privacy] = Recent(CONVERSATIONS)
        self._cached: Recent[bytes, tuple[Name, int]] = Recent(CONVERSATIONS)

    def snapshot(self, request: ChatRequest) -> Snapshot:
        """Everything that a decision about ``request`` depends on; remembers the conversation if a rule marks it."""
        prefixes = digests(request.messages)
        found = self._fence(request, prefixes)
        for mark in found.marks:
            self._marks.set(mark, found.mark)
        cached: dict[Name, int] = {}
        for digest in prefixes:  # the longest prefix of each model is the last that is found
            entry = self._cached.get(digest)
            if entry is not None:
                cached[entry[0]] = entry[1]
        return Snapshot(
            machine=self._machine(),
            network=self.network,
            rests=self.rests,
            speeds=self.speeds,
            prices=self._prices,
            quality=self._quality,
            cached=cached,
            fence=found.privacy,
            fence_reason=found.reason,
            warm_behind=self._warm_behind,
        )

    def _fence(self, request: ChatRequest, prefixes: tuple[bytes, ...]) -> Fence:
        marked: Privacy | None = None
        for digest in prefixes:
            mark = self._marks.get(digest)
            if mark is not None:
                marked = mark if marked is None else stricter(marked, mark)
        return fence(
            request.messages,
            asked=request.privacy,
            key=request.key_privacy,
            wish="any",  # the policy narrows by the wish itself
            rules=self._rules,
            marked=marked,
        )

    def answered(self, request: ChatRequest, name: Name, pace: Pace | None) -> None:
        """``name`` has answered ``request``: it has the conversation in its cache, and we know its pace better."""
        prefixes = digests(request.messages)
        if pace is None:
            return
        if prefixes:
            self._cached.set(prefixes[-1], (name, pace.prompt))
        if name not in self.speeds and len(self.speeds) >= SPEEDS:
            self.speeds.pop(next(iter(self.speeds)))
        self.speeds.setdefault(name, Speed()).learn(
            prompt=pace.prompt,
            cached=pace.cached,
            answer=pace.answer,
            first=pace.first,
            total=pace.total,
            loaded=pace.loaded,
        )

    def offered(self, provider: ProviderState) -> None:
        """``provider`` offers these models now: know what each costs."""
        for model in provider.models:
            name = (provider.name, model.id)
            self._prices.setdefault(name, default_price(provider.kind, provider.locality, model.id))

    def price(self, name: Name) -> Price:
        """What a model costs."""
        return self._prices.get(name, Price())

    def rest(self, provider: str, model: str | None, resting: Resting) -> None:
        """Let a provider, or one model of it, rest."""
        self.rests[provider, model] = resting

    def rested(self, provider: str, model: str | None = None) -> None:
        """It has answered, or is back: no need to rest any more."""
        self.rests.pop((provider, None), None)
        if model is not None:
            self.rests.pop((provider, model), None)

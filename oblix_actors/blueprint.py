"""From settings to the parts that :mod:`oblix_actors.tree` puts together: plain values, nothing runs yet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from oblix_actors.actors.engine import Engine
from oblix_actors.core.decision import Machine, Name, Privacy
from oblix_actors.core.hosts import Host
from oblix_actors.core.knowledge import Knowledge
from oblix_actors.core.privacy import Rule
from oblix_actors.core.timing import Speed
from oblix_actors.core.wishes import BUILT_IN, Weights, Wish
from oblix_actors.engine import models
from oblix_actors.settings import ProviderSettings, Settings


def knowledge(
    settings: Settings,
    providers: tuple[ProviderSettings, ...],
    speeds: dict[Name, Speed],
    machine: Callable[[], Machine],
) -> Knowledge:
    """What the router begins with: the config's figures and rules, and what was learned before."""
    privacy = settings.privacy
    levels: tuple[tuple[Privacy, tuple[str, ...]], ...] = (("local", privacy.local), ("lan", privacy.lan))
    return Knowledge(
        rules=tuple(Rule(text, re.compile(text), level) for level, texts in levels for text in texts),
        prices={(p.name, model): price for p in providers for model, price in p.prices.items()},
        quality={(p.name, model): figure for p in providers for model, figure in p.quality.items()},
        speeds=speeds,
        warm_behind=settings.routing.warm_behind,
        machine=machine,
    )


def engine(settings: Settings) -> Engine | None:
    """The actor of the embedded model, where there is one."""
    if not settings.embedded.enabled:
        return None
    return Engine(settings.embedded, models.resolve(settings.embedded), cores=_cores())


def wishes(settings: Settings) -> dict[str, Wish]:
    """The model names that stand for a policy: ours, and the config's."""
    own = {
        name: Wish(name, weights=given) if isinstance(given, Weights) else Wish(name, models=given)
        for name, given in settings.routing.virtual_models.items()
    }
    return {**BUILT_IN, **own}


def notes(settings: Settings) -> Path | None:
    """Where learned speeds are kept; ``None`` where they are not."""
    if not settings.routing.remember_speeds:
        return None
    from platformdirs import user_state_path

    return user_state_path("oblix", appauthor=False) / "speeds.json"


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def host(provider: ProviderSettings) -> Host:
    """Where ``provider`` lives, for the connectivity monitor."""
    parts = urlsplit(provider.base_url or "")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Host(provider.name, parts.hostname or "", port, tls, provider.locality or "cloud")

"""What a client may wish for by the model's name: ``auto``, ``auto:fast`` and its kin, and the config's own. Pure.

A wish is either an ordered list of models, or a set of weights by which models are compared.
"""

from __future__ import annotations

from typing import Final

import msgspec

from oblix_actors.core.decision import Privacy

AUTO: Final = "auto"


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a second, a cent, a watt-hour and the worst quality are worth, against each other."""

    time: float = 1.0
    money: float = 0.0
    energy: float = 0.0
    quality: float = 0.0


class Wish(msgspec.Struct, frozen=True):
    """``name`` is the policy's; ``models`` an ordered list (names as clients write them), else ``weights`` compare.

    Without either it is the original's precedence: local while the machine is free, the cloud when it is not.
    """

    name: str
    models: tuple[str, ...] = ()
    weights: Weights | None = None
    privacy: Privacy = "any"


BUILT_IN: Final[dict[str, Wish]] = {
    AUTO: Wish("balanced"),
    "auto:fast": Wish("fast", weights=Weights(time=1.0)),
    "auto:cheap": Wish("cheap", weights=Weights(time=0.001, money=1.0, energy=0.01)),
    "auto:private": Wish("private", privacy="local"),
    "auto:best": Wish("best", weights=Weights(time=0.001, quality=100.0)),
}
"""Money decides ``cheap`` and quality decides ``best``; time only breaks their ties."""

LOCAL_WATTS: Final = 40.0
"""What a machine draws more while it decodes; a guess for laptops and small workstations, used to compare only."""
LOCAL_QUALITY: Final = 0.4
CLOUD_QUALITY: Final = 0.8
SMALL_QUALITY: Final = 0.1
"""Priors where the config says nothing: a cloud's model is taken for better than a local one, and both for better
than the embedded last resort."""


def energy_wh(seconds: float, *, local: bool, on_battery: bool) -> float:
    """Watt-hours that an answer draws from this machine; on battery each counts tenfold."""
    return LOCAL_WATTS * seconds / 3600 * (10 if on_battery else 1) if local else 0.0


def score(weights: Weights, *, seconds: float, dollars: float, watt_hours: float, quality: float) -> float:
    """What ``weights`` make of one model; lower is better. Money counts in cents, quality is 0…1."""
    return (
        weights.time * seconds
        + weights.money * dollars * 100
        + weights.energy * watt_hours
        + weights.quality * (1 - quality)
    )

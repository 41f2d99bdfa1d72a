"""Batteries and chargers, read from ``/sys/class/power_supply``.

https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-power. Pure; what is not told stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from oblix_actors.core.procfs import whole


class Power(NamedTuple):
    """``percent`` over all batteries of the machine; all ``None`` where it has none."""

    percent: float | None = None
    charging: bool | None = None
    on_battery: bool | None = None


def supply(uevent: str | None) -> dict[str, str]:
    """One supply's ``uevent``: its fields without their prefix, in lower case."""
    fields = (line.partition("=") for line in (uevent or "").splitlines())
    return {name.removeprefix("POWER_SUPPLY_").lower(): value.strip() for name, equals, value in fields if equals}


def power(supplies: Iterable[Mapping[str, str]]) -> Power:
    """The machine's power. Batteries of a mouse or a keyboard (``scope`` ``Device``) are not the machine's."""
    batteries: list[Mapping[str, str]] = []
    plugs: list[bool] = []
    for fields in supplies:
        if fields.get("scope") == "Device":
            continue
        if fields.get("type") == "Battery":
            if fields.get("present", "1") == "1":
                batteries.append(fields)
        elif fields.get("online") is not None:
            plugs.append(fields["online"] != "0")
    if not batteries:
        return Power()
    states = {fields.get("status", "Unknown") for fields in batteries}
    on_battery = not any(plugs) if plugs else "Discharging" in states if states != {"Unknown"} else None
    return Power(_percent(batteries), "Charging" in states, on_battery)


def _percent(batteries: list[Mapping[str, str]]) -> float | None:
    """By energy where all tell theirs, so that a small battery counts for less; else the mean of their percentages."""
    for unit in ("energy", "charge"):
        now = [whole(fields.get(f"{unit}_now")) for fields in batteries]
        full = [whole(fields.get(f"{unit}_full")) for fields in batteries]
        left = [number for number in now if number is not None]
        room = [number for number in full if number]
        if len(left) == len(room) == len(batteries):
            return min(100.0, 100.0 * sum(left) / sum(room))
    shares = [share for fields in batteries if (share := whole(fields.get("capacity"))) is not None]
    return min(100.0, sum(shares) / len(shares)) if shares else None

"""Which networks belong to which wave. Pure: the same networks give the same waves, whoever asks and however many are done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from parallel_build.cloudstack.router_networks import RouterNetwork, within
from parallel_build.configuration import Routers, Wave

CANARY = "canary"


@dataclass(frozen=True)
class PlannedWave:
    """Networks that are restarted together.

    Attributes:
        number: 0 is the canary.
        title: for people.
        networks: in order.
        allowed: how many of them may fail before it stops.
    """

    number: int
    title: str
    networks: tuple[RouterNetwork, ...]
    allowed: int

    def __str__(self) -> str:
        return f"wave {self.number} ({self.title})" if self.number else f"the {self.title}"


def waves(networks: Iterable[RouterNetwork], section: Routers) -> list[PlannedWave]:
    """The waves in their order, the canary first."""
    left = sorted(networks, key=lambda each: (each.zone, each.name, each.key))
    groups: list[tuple[str, list[RouterNetwork]]] = []
    for wave in section.waves:
        chosen = [each for each in left if belongs(each, wave)]
        left = [each for each in left if each not in chosen]
        groups.append((wave.title, chosen))
    for zone in dict.fromkeys(each.zone for each in left):
        groups.append((f"zone {zone}" if zone else "the rest", [each for each in left if each.zone == zone]))
    order = [each for _, members in groups for each in members]
    trial = {each.key for each in order[: section.canary]}
    found = [PlannedWave(0, CANARY, tuple(each for each in order if each.key in trial), 0)] if trial else []
    number = 0
    for title, members in groups:
        rest = [each for each in members if each.key not in trial]
        size = section.wave_size or max(1, len(rest))
        for begin in range(0, len(rest), size):
            number += 1
            part = tuple(rest[begin : begin + size])
            named = title if len(rest) <= size else f"{title}, part {begin // size + 1}"
            found.append(PlannedWave(number, named, part, allowed(len(part), section.failure_rate)))
    return found


def belongs(network: RouterNetwork, wave: Wave) -> bool:
    """Whether a wave names a network."""
    if wave.networks is not None:
        return network.is_named(wave.networks)
    if wave.zone is not None:
        return network.zone == wave.zone
    inside = wave.domain is None or within(network.domain, wave.domain)
    return inside and (wave.account is None or network.account == wave.account)


def allowed(size: int, rate: float) -> int:
    """How many networks of a wave may fail: one always may, unless the rate is 0."""
    return max(1, int(size * rate)) if rate else 0

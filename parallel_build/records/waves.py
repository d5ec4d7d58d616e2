"""What the window's record knows of the router waves: small at 2,000 networks, since numbers are kept as ranges and only failures have names."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from parallel_build.records.states import Facts, State

ROUTERS = "Routers"  # under this name the window's record has it
LONGEST = 160  # characters of a cause; its end is in the management server's log


def packed(numbers: Iterable[int]) -> str:
    """Numbers as ranges: `3-5,9`."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in found)


def unpacked(text: str) -> set[int]:
    """The numbers of a text that `packed` wrote."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))
    return found


class WaveChange(TypedDict, total=False):
    """What may be written of the waves; None forgets."""

    networks: str
    vpcs: str
    failed: Facts
    canary: bool
    stopped: str | None
    paused: str | None
    minimum: Facts | None
    done: int
    total: int
    back: Facts
    scripts: list[str]
    patched: Facts


@dataclass(frozen=True)
class WaveState(State):
    """The waves.

    Attributes:
        networks, vpcs: numbers of those whose restart has been begun, as ranges: their routers may be the new side's.
        failed: by `network/NUMBER` or `vpc/NUMBER`: name, cause and number of tries.
        canary: it was good.
        stopped: why no wave is begun any more; empty where they may.
        paused: since when the operator has paused them.
        minimum: by zone number the release that CloudStack demanded of its routers before it was lowered; "" where the zone had no value of its own.
        done, total: how many networks were renewed, of how many, when it was last counted.
        scripts: what routers reported as their scripts before the first was patched live; None before that was asked.
        patched: numbers of those whose routers were to be patched where they run, as ranges, by kind: they are the original's routers with the new scripts.
        back: in a rollback the numbers of those that the original has restarted, as ranges, by kind.
    """

    networks: str = ""
    vpcs: str = ""
    failed: Facts = field(default_factory=dict)
    canary: bool = False
    stopped: str = ""
    paused: str = ""
    minimum: Facts | None = None
    done: int = 0
    total: int = 0
    back: Facts = field(default_factory=dict)
    scripts: list[str] | None = None
    patched: Facts = field(default_factory=dict)

    def begun(self, kind: str) -> set[int]:
        """Numbers of the networks, or VPCs, whose restart has been begun."""
        return unpacked(self.vpcs if kind == VPC else self.networks)

    def restored(self, kind: str) -> set[int]:
        """In a rollback: numbers of those that the original has restarted."""
        return unpacked(str(self.back.get(kind, "")))

    def to_patch(self, kind: str) -> set[int]:
        """Numbers of those whose routers were to be patched where they run."""
        return unpacked(str(self.patched.get(kind, "")))

    @property
    def any_begun(self) -> bool:
        """Whether any network's routers may be the new side's."""
        return bool(self.networks or self.vpcs)


NETWORK, VPC = "network", "vpc"


def begun_change(state: WaveState, keys: Collection[tuple[str, int]], patched: Collection[tuple[str, int]] = ()) -> dict[str, Facts]:
    """Write down that networks are about to be renewed.

    Args:
        keys: kind and number of each.
        patched: those of them whose routers are patched where they run.
    """
    networks, vpcs = (packed(state.begun(each) | {number for kind, number in keys if kind == each}) for each in (NETWORK, VPC))
    if not patched:
        return wave_change(networks=networks, vpcs=vpcs)
    both = {each: packed(state.to_patch(each) | {number for kind, number in patched if kind == each}) for each in (NETWORK, VPC)}
    return wave_change(networks=networks, vpcs=vpcs, patched=both)


def wave_change(**change: Unpack[WaveChange]) -> dict[str, Facts]:
    """A change of what is known of the waves, as the record takes it."""
    return {ROUTERS: dict(change)}

"""The matrix: steps of the window x faults x directions, and moments within a step; and the kinds of faults that nobody repairs or that people make."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from lab.errors import LabError
from lab.machines import KVM_HOSTS, NEW_MANAGEMENT, NEW_SOURCE, OLD_MANAGEMENT, OLD_SOURCE, Machine
from parallel_build.configuration import SwitchedStepName

# The window's steps in their order, as the journal names them [components/cutover.py ORDER]: all but the first can be held before.
# The lab's agents are brought to the new version by HypervisorSteps, and it has no window.dumpFile: what runs next to the chain is no part of its window.
STEPS = ("Window", *(name for name in get_args(SwitchedStepName) if name not in ("Agents", "DumpFile")))
KILL_PROVIDER, KILL_CLI, INTERRUPT, POWER, NETWORK, DATABASE, DISK = (
    "kill-provider",
    "kill-cli",
    "interrupt",
    "power",
    "network",
    "database",
    "disk",
)
FAULTS = (KILL_PROVIDER, KILL_CLI, INTERRUPT, POWER, NETWORK, DATABASE, DISK)
# Nobody brings these back: a machine with its disk, or the operator's machine with the run's folder.
LOST = tuple(f"lost-{name}" for name in ("olddb1", "olddb2", "oldms2", "newdb1", "newdb2", "newms1", "newms2", "workstation"))
# What an operator makes of the stack file between two steps.
EDITED = tuple(f"edited-{what}" for what in ("renamed", "removed", "added", "password", "key", "transfer", "hypervisor-step"))
ASLEEP = ("asleep",)  # the provider, while another operator rolls the window back, and wakes up afterwards
KINDS = (*LOST, *EDITED, *ASLEEP)
FORWARD, BACK, TURN = "forward", "back", "turn"
DIRECTIONS = (FORWARD, BACK)
WAYS = (*DIRECTIONS, TURN)  # turn: the fault comes on the way there, and the operator goes back from where it left him
MIDDLE, FIRST, LAST = "middle", "first", "last"
MOMENTS = (MIDDLE, FIRST, LAST)
AT_EVERY_MOMENT = (KILL_PROVIDER, KILL_CLI)  # those that leave nothing of the step in the state: asked at its first and last instant too


@dataclass(frozen=True)
class Place:
    """Where a step's remote work is done.

    Attributes:
        host: the machine that is powered off, cut off or filled.
        database: the machine whose database server is killed.
        middle: a text in the intent or progress that is the step's middle; empty for its first one.
    """

    host: Machine
    database: Machine
    middle: str = ""


PLACES: dict[tuple[str, str], Place] = {
    ("Window", FORWARD): Place(OLD_SOURCE, OLD_SOURCE, "open the window"),
    ("UserAccess", FORWARD): Place(OLD_MANAGEMENT[0], OLD_SOURCE),
    ("Drain", FORWARD): Place(OLD_MANAGEMENT[0], OLD_SOURCE),
    ("OriginalManagement", FORWARD): Place(OLD_MANAGEMENT[0], OLD_SOURCE, "stopping cloudstack-management"),
    ("DatabaseTransfer", FORWARD): Place(NEW_SOURCE, NEW_SOURCE, "%"),
    ("OriginalDatabase", FORWARD): Place(OLD_SOURCE, OLD_SOURCE, "on olddb1"),
    ("HostSetting", FORWARD): Place(NEW_SOURCE, NEW_SOURCE),
    ("HypervisorSteps", FORWARD): Place(KVM_HOSTS[0], NEW_SOURCE),
    ("FirstManagement", FORWARD): Place(NEW_MANAGEMENT[0], NEW_SOURCE, "schema upgrade to"),
    ("Hypervisors", FORWARD): Place(KVM_HOSTS[0], NEW_SOURCE),
    ("SystemVms", FORWARD): Place(KVM_HOSTS[0], NEW_SOURCE, "renew system VMs"),
    ("Acceptance", FORWARD): Place(NEW_MANAGEMENT[0], NEW_SOURCE),
    ("AdditionalManagement", FORWARD): Place(NEW_MANAGEMENT[1], NEW_SOURCE, "started on"),
    ("Routers", FORWARD): Place(KVM_HOSTS[0], NEW_SOURCE, "networks restarted"),
    ("Routers", BACK): Place(NEW_MANAGEMENT[0], NEW_SOURCE),
    ("AdditionalManagement", BACK): Place(NEW_MANAGEMENT[1], NEW_SOURCE),
    ("Acceptance", BACK): Place(NEW_MANAGEMENT[0], NEW_SOURCE),
    ("SystemVms", BACK): Place(KVM_HOSTS[0], NEW_SOURCE),
    ("Hypervisors", BACK): Place(KVM_HOSTS[0], NEW_SOURCE),
    ("FirstManagement", BACK): Place(NEW_MANAGEMENT[0], NEW_SOURCE),
    ("HypervisorSteps", BACK): Place(KVM_HOSTS[0], NEW_SOURCE),
    ("HostSetting", BACK): Place(NEW_SOURCE, NEW_SOURCE),
    ("OriginalDatabase", BACK): Place(OLD_SOURCE, OLD_SOURCE),
    ("DatabaseTransfer", BACK): Place(NEW_SOURCE, NEW_SOURCE),
    ("OriginalManagement", BACK): Place(OLD_MANAGEMENT[0], OLD_SOURCE),
    ("Drain", BACK): Place(OLD_MANAGEMENT[0], OLD_SOURCE),
    ("UserAccess", BACK): Place(OLD_MANAGEMENT[0], OLD_SOURCE),
    ("Window", BACK): Place(OLD_SOURCE, OLD_SOURCE, "renewing"),
}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    step: str
    fault: str
    direction: str
    moment: str = MIDDLE

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        parts = [self.step, self.fault, self.direction]
        return ":".join(parts if self.moment == MIDDLE else [*parts, self.moment])

    @property
    def place(self) -> Place:
        """Where the step works."""
        return PLACES[self.step, BACK if self.direction == BACK else FORWARD]

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read `STEP:FAULT:DIRECTION[:MOMENT]`.

        Raises:
            LabError: a part is not known; names those that are.
        """
        parts = text.split(":")
        known = (STEPS, (*FAULTS, *KINDS), WAYS, MOMENTS)
        if not 3 <= len(parts) <= 4:
            raise LabError(f"{text!r} is no cell", "", "write STEP:FAULT:DIRECTION or STEP:FAULT:DIRECTION:MOMENT")
        for part, allowed in zip(parts, known, strict=False):
            if part not in allowed:
                raise LabError(f"{text!r} is no cell", f"{part!r} is not known", f"take one of {', '.join(allowed)}")
        found = cls(*parts)
        if found.fault in KINDS and found not in kinds():
            raise LabError(f"{text!r} is no cell", f"{found.fault} is not made there", f"one of its cells: {_one_of(found.fault).name}")
        return found


def matrix() -> list[Cell]:
    """Every step x fault x direction in the middle of the step: 182 cells."""
    return [Cell(step, fault, direction) for direction in DIRECTIONS for fault in FAULTS for step in STEPS]


def instants() -> list[Cell]:
    """Both SIGKILLs at each step's first and last instant: 104 cells."""
    return [
        Cell(step, fault, direction, moment)
        for moment in (FIRST, LAST)
        for direction in DIRECTIONS
        for fault in AT_EVERY_MOMENT
        for step in STEPS
    ]


def turns() -> list[Cell]:
    """Every step x fault in the middle of the step on the way there, and back from that: 84 cells."""
    return [Cell(step, fault, TURN) for fault in FAULTS for step in STEPS]


def kinds() -> list[Cell]:
    """Every step x loss on the way there, and back from that; x edit, forward with it and back with it; x sleep, on either way."""
    lost = [Cell(step, fault, TURN) for fault in LOST for step in STEPS]
    edited = [Cell(step, fault, way) for way in (TURN, FORWARD) for fault in EDITED for step in STEPS]
    return [*lost, *edited, *(Cell(step, fault, way) for way in (TURN, BACK) for fault in ASLEEP for step in STEPS)]


def some_kinds(number: int, seed: int) -> list[Cell]:
    """So many of them, of each of the three in turn; the same seed draws the same."""
    draw = random.Random(seed)
    groups = [[cell for cell in kinds() if cell.fault in faults] for faults in (LOST, EDITED, ASLEEP)]
    for group in groups:
        draw.shuffle(group)
    return [groups[turn % 3].pop() for turn in range(number)]


def shard(cells: Sequence[Cell], part: str) -> list[Cell]:
    """The cells of one of several parts that are run apart: `2/5` is every fifth from the second.

    Raises:
        LabError: it is no part.
    """
    number, _, of = part.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise LabError(f"{part!r} is no part", "", "write I/N, such as 1/4")
    return list(cells[int(number) - 1 :: int(of)])


def _one_of(fault: str) -> Cell:
    return next(cell for cell in kinds() if cell.fault == fault)


def some_turns(number: int, seed: int) -> list[Cell]:
    """So many of them, drawn at random; the same seed draws the same."""
    return random.Random(seed).sample(turns(), number)


def sample(number: int, seed: int) -> list[Cell]:
    """Cells drawn at random, so that as many as can be fit into one journey.

    Args:
        number: how many.
        seed: the same seed draws the same cells.
    """
    draw = random.Random(seed)
    left: dict[tuple[str, str], list[Cell]] = {}
    for cell in [*matrix(), *instants()]:
        left.setdefault((cell.step, cell.direction), []).append(cell)
    found: list[Cell] = []
    while len(found) < number and any(left.values()):
        keys = [key for key, cells in left.items() if cells]
        draw.shuffle(keys)
        for key in keys[: number - len(found)]:
            found.append(left[key].pop(draw.randrange(len(left[key]))))
    return found


def journeys(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Group cells into journeys: there and back, one fault a step and direction, in the order in which their steps come; a turn is one of its own.

    A SIGKILL may come to a step three times in one journey, at each of its moments: every time the command that follows begins the step again.
    Each journey begins and ends with a serving original; a fault is repaired and the journey continues before the next one.
    """
    found: list[dict[tuple[str, str], list[Cell]]] = []
    alone: list[list[Cell]] = []
    for cell in cells:
        if cell.direction == TURN or cell.fault in KINDS:
            alone.append([cell])
            continue
        key = (cell.direction, cell.step)
        for journey in found:
            if all(cell.fault == other.fault and cell.moment != other.moment for other in journey.get(key, [])):
                journey.setdefault(key, []).append(cell)
                break
        else:
            found.append({key: [cell]})
    return [*(sorted((cell for group in journey.values() for cell in group), key=_order) for journey in found), *alone]


def _order(cell: Cell) -> tuple[int, int, int]:
    place, moment = STEPS.index(cell.step), (FIRST, MIDDLE, LAST).index(cell.moment)
    return (0, place, moment) if cell.direction == FORWARD else (1, -place, moment)

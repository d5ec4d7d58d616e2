"""Random sequences of faults, edits of the stack file and rollbacks, on the world of `test_touched_servers`: never two sides that write, and always a way out.

`PARALLEL_BUILD_SEQUENCES=10000 pytest ...::test_random_sequences` draws more; `PARALLEL_BUILD_SEED` begins elsewhere. A failure prints the sequence.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.errors import ParallelBuildError
from parallel_build.operations import fence_new_database, known_servers, transfer
from parallel_build.operations import fence_new_side as fence_new_side_module
from parallel_build.operations.context import Context
from parallel_build.operations.known_servers import touch
from parallel_build.records.touched import STOP, Found
from tests.fast.operations.test_touched_servers import Cloud, back, cloud, undo
from tests.fast.sites import values
from tests.fast.window_world import DATABASE, OLD, Cut

__all__ = ["cloud"]
SEQUENCES = int(os.environ.get("PARALLEL_BUILD_SEQUENCES", "30"))
SEED = int(os.environ.get("PARALLEL_BUILD_SEED", "20261129"))
LONGEST = 9
NEW_SIDE, OLD_SIDE = ("newms1", "newms2", "newdb1"), ("oldms1", "oldms2")
MANAGERS = ("newms1", "newms2", *OLD_SIDE)
Move = tuple[str, Any]


class Operator:
    """Everything that may happen to a cloud that was switched, and what must be true after each of it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.world = cloud, cloud.world
        self.closed, self.named = False, set[str]()
        self.find_nothing: set[str] = set()  # servers that were off when their database was emptied
        self.dropped: set[str] = set()
        self.confirmed: list[str] = []
        original = cloud.world.site.configuration.original
        for server in (*original.management, original.database.source, original.database.replica):
            assert server is not None
            units = {unit: Found() for unit in OLD[server.name]}
            self.world.record.servers[server.name] = touch(self.world.context, server, STOP, units=units)

    def moves(self, dice: random.Random) -> Iterator[Move]:
        """A drawn sequence."""
        kinds: dict[str, Callable[[], Any]] = {
            "cut off": lambda: dice.choice((*NEW_SIDE, *OLD_SIDE)),
            "repair": lambda: dice.choice((*NEW_SIDE, *OLD_SIDE)),
            "power off": lambda: dice.choice(NEW_SIDE),
            "power on": lambda: dice.choice(NEW_SIDE),
            "take out": lambda: dice.choice(("newms2", "oldms2")),
            "put in": lambda: dice.choice(("newms2", "oldms2")),
            "confirm": lambda: dice.choice(NEW_SIDE),
            "take back": lambda: None,
            "start fails": lambda: dice.choice(OLD_SIDE),
            "start works": lambda: dice.choice(OLD_SIDE),
            "SQL hangs": lambda: None,
            "SQL answers": lambda: None,
            "back": lambda: dice.choice((-1, -1, dice.randrange(40))),
            "undo": lambda: dice.choice((-1, -1, dice.randrange(40))),
        }
        names = [*kinds, "back", "undo", "back", "undo"]
        for _ in range(dice.randint(2, LONGEST)):
            kind = dice.choice(names)
            yield kind, kinds[kind]()

    def make(self, move: Move) -> None:
        """Make one of them."""
        kind, what = move
        world = self.world
        if kind == "cut off":
            world.lost.add(what)
        elif kind == "repair" and what not in world.powered_off:
            world.lost.discard(what)
        elif kind == "power off":
            world.powered_off.add(what)
            world.lost.add(what)
            for (server, _), unit in world.units.items():
                if server == what:
                    unit["active"] = False
            if what == "newdb1":
                world.closing.sessions.clear()
        elif kind == "power on" and what in world.powered_off and what not in self.confirmed and not self._must_stay_off(what):
            self._power_on(what)
        elif kind in ("take out", "put in"):
            (self.dropped.add if kind == "take out" else self.dropped.discard)(what)
        elif kind == "confirm" and what in world.powered_off and what not in self.confirmed:
            self.confirmed.append(what)  # an operator says so only of what is off
        elif kind == "take back":
            self.confirmed.clear()
        elif kind in ("start fails", "start works"):
            (self.cloud.does_not_start.add if kind == "start fails" else self.cloud.does_not_start.discard)((what, MANAGEMENT))
        elif kind in ("SQL hangs", "SQL answers"):
            world.closing.hangs = kind == "SQL hangs"
        self._configure()
        if kind in ("back", "undo") and not world.record.closed:
            self._run(back if kind == "back" else undo, what)
        self.check(move)

    def _must_stay_off(self, server: str) -> bool:
        """The new database, while the rollback has named a server that is fenced there alone."""
        return server == "newdb1" and bool(self.world.record.facts.get("CutOff", {}).get("servers"))

    def _power_on(self, server: str) -> None:
        """It boots: what is not masked there starts."""
        self.world.powered_off.discard(server)
        self.world.lost.discard(server)
        for (name, _), state in self.world.units.items():
            if name == server and not state["masked"]:
                state["active"] = True

    def _configure(self) -> None:
        known = values()
        management = [each for each in known["new"]["management"] if each["name"] not in self.dropped]
        original = [each for each in known["original"]["management"] if each["name"] not in self.dropped]
        self.cloud.configure(
            new={"management": management},
            original={"management": original},
            window={"userAccess": known["window"]["userAccess"], "confirmedDown": list(self.confirmed)},
        )

    def _run(self, way: Callable[[Cloud], None], dies_before: int) -> None:
        world = self.world
        world.cut = world.done + dies_before if dies_before >= 0 else -1
        try:
            way(self.cloud)
        except (ParallelBuildError, Cut):
            pass  # what it may leave is asked of the world
        finally:
            world.cut = -1

    def empty(self, context: Context) -> None:
        """The new databases, where their server can be reached: a server that starts later finds nothing to serve."""
        if "newdb1" not in self.world.lost and self.world.units["newdb1", DATABASE]["active"]:
            self.world.act("empty the new databases")
            self.find_nothing = self.world.powered_off & {"newms1", "newms2"}

    def check(self, move: Move) -> None:
        """Never two sides that can write."""
        old, new = self.cloud.serving
        writing = [name for name in new if name not in self.world.powered_off and name not in self.find_nothing]
        if self._over():
            if not self.closed:
                self.closed, self.named = True, {name for name in self.world.powered_off if self._named_to_stay_off(name)}
                assert old == ["oldms1", "oldms2"], f"after {move}: the window is closed, and of the original {old} serve"
            writing = [name for name in writing if name not in self.named]
        assert not (old and writing and not self.world.closed), f"after {move}: {old} and {writing} may both write"
        assert self.world.wrong == [], f"after {move}"

    def _named_to_stay_off(self, name: str) -> bool:
        return any(line.startswith(f"KEEP {name} ") for line in self.world.reported)

    def _over(self) -> bool:
        return self.world.record.closed is not None

    def way_out(self) -> None:
        """Everything is repaired: then one rollback ends with the original serving, the new side down, and the window closed."""
        off = {server for server in self.world.powered_off if self._must_stay_off(server)}
        for server in self.world.powered_off - off:
            self._power_on(server)
        self.world.lost = set(off)
        self.dropped.clear()
        self.confirmed = sorted(off)
        self.cloud.does_not_start.clear()
        self.world.closing.hangs = False
        self._configure()
        self.check(("repaired", None))
        if self._over():
            return
        undo(self.cloud)
        self.check(("the way out", None))
        assert self.cloud.serving == (["oldms1", "oldms2"], [])
        assert self.world.record.closed
        assert self.world.units["olddb1", DATABASE]["active"]


def sequences(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, first: int, number: int) -> None:
    """Draw and make that many sequences.

    Raises:
        AssertionError: what must never be, was; with the seed and the sequence.
    """
    for seed in range(first, first + number):
        cloud.__init__()  # type: ignore[misc]
        operator = Operator(cloud)
        monkeypatch.setattr(transfer, "empty", operator.empty)
        moves = list(operator.moves(random.Random(seed)))
        try:
            for move in moves:
                operator.make(move)
            operator.way_out()
        except (AssertionError, ParallelBuildError) as error:
            raise AssertionError(f"seed {seed}: {moves}: {error}") from error


def test_random_sequences(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences(cloud, monkeypatch, SEED, SEQUENCES)


def configured_alone(configuration: StackConfiguration, record: Any) -> list[NewMachine]:
    return list(configuration.new.management)


MUTANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "the configuration decides, not the record": (known_servers, "new_management", configured_alone),
    "no fence at the database": (fence_new_database, "fence", lambda context: {}),
    "silence proves that a server is down": (fence_new_side_module, "_down", lambda *_: True),
    "what was started is forgotten": (known_servers, "ever_started", lambda *_: False),
    "a server of the original that is not configured is forgotten": (
        known_servers,
        "original_management",
        lambda configuration, _: list(configuration.original.management),
    ),
}


@pytest.mark.engine  # half a minute
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_program_without_one_of_the_rules_is_caught(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    monkeypatch.setattr(*MUTANTS[mutant])
    with pytest.raises(AssertionError, match=r"seed \d+"):
        sequences(cloud, monkeypatch, SEED, 400)

"""One machine for management, usage and database, on the original, on the new side, or on both: a window on the in-memory world, forward, back and cut off."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import load
from parallel_build.errors import ParallelBuildError, RollbackIncomplete, StepFailed
from parallel_build.operations import (
    fence_new_database,
    known_servers,
    open_ports,
    original_management,
    prove_original_down,
)
from parallel_build.operations.start_management import ManagementStart
from parallel_build.operations.start_usage import start_usage
from parallel_build.records.touched import DATABASE as DATABASE_ROLE
from parallel_build.records.touched import MANAGEMENT as MANAGEMENT_ROLE
from parallel_build.records.touched import START, STOP, Found, TouchedServer
from parallel_build.steps import original_management as original_management_step
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from tests.fast.operations.test_touched_servers import Cloud, back, switched_cloud, undo
from tests.fast.sites import values
from tests.fast.window_world import DATABASE, Cut, World

OLD = {
    "management": [{"name": "cs-1", "address": "10.91.0.11", "usage": True}],
    "database": {"source": {"name": "cs-1-db", "address": "10.91.0.11"}},
}
NEW = {
    "allInOne": True,
    "management": [{"name": "new-1", "address": "10.91.0.41"}],
    "database": {"source": {"name": "new-1", "address": "10.91.0.41"}},
}
SHAPES: dict[str, dict[str, Any]] = {
    "one to one": {"original": OLD, "new": NEW},
    "one to four": {"original": OLD},
    "four to one": {"new": NEW},
}


@pytest.fixture(params=SHAPES, ids=lambda name: name.replace(" ", "-"))
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud of each shape, switched."""
    return switched_cloud(monkeypatch, **SHAPES[request.param])


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """One machine on each side."""
    return switched_cloud(monkeypatch, **SHAPES["one to one"])


def not_opened(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> World:
    """Everything of the original runs, nothing of the new side but its database, and nothing is on record yet."""
    world = cloud.world
    for server, units in world.old.items():
        for unit in units:
            world.units[server, unit] = {"active": True, "masked": False, "enabled": True}
    for server, units in world.new.items():
        for unit in units:
            world.units[server, unit] = {"active": False, "masked": True}
    world.closing.sessions.clear()
    world.record.facts, world.record.servers, world.record.switched = {"OriginalDatabase": {"folder": "/var/lib/mysql"}}, {}, None
    monkeypatch.setattr(original_management_step, "prove_at_rest", lambda context, lost: {})
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    return world


def forward(world: World) -> None:
    """The steps from the first stop to the last start."""
    context, management = world.context, world.site.configuration.new.management
    OriginalManagement().apply(context)
    OriginalDatabase().apply(context)
    world.record.facts |= {"DatabaseTransfer": {"copied": {"tables": 336}}}
    ManagementStart(context, management[0], "FirstManagement", upgrade=True).run()
    for machine in management[1:]:
        ManagementStart(context, machine, f"AdditionalManagement/{machine.name}", upgrade=False).run()
    start_usage(context)


def confirm(cloud: Cloud, *names: str, **changes: Any) -> None:
    cloud.configure(**changes, window={"userAccess": values()["window"]["userAccess"], "confirmedDown": list(names)})


def test_a_window_goes_forward_and_back(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    world = not_opened(cloud, monkeypatch)
    before = {key: dict(state) for key, state in world.units.items() if key[0] in world.old}
    forward(world)
    assert cloud.serving == ([], list(world.new)) and world.wrong == []
    assert world.units[world.source, DATABASE]["active"]
    stops = [action for action in world.actions if action.startswith("stop ") and action.split()[-1] in world.old]
    assert stops[-1] == f"stop {DATABASE} on {world.old_source}", "the source last, after everything that uses it"
    assert [action for action in stops if MANAGEMENT in action or USAGE in action] == stops[
        : sum(len(world.old[name]) for name in world.managers)
    ]
    undo(cloud)
    assert cloud.serving == (world.managers, []) and world.wrong == [] and world.record.closed
    assert {key: state for key, state in world.units.items() if key[0] in world.old} == before
    assert world.units[world.source, DATABASE] == {"active": True, "masked": False}, "the new database as it was found"


@pytest.mark.parametrize("way", [back, undo], ids=["back", "pulumi"])
def test_a_rollback_that_is_cut_off_anywhere_ends_the_same_when_it_is_run_again(cloud: Cloud, way: Any) -> None:
    world = cloud.world
    first = [0]
    while True:
        world.cut = world.done + first[0]
        try:
            way(cloud)
            world.cut = -1
            break
        except Cut:
            first[0] += 1
        assert first[0] < 200
    undo(cloud)
    assert cloud.serving == (world.managers, []) and world.wrong == [] and world.record.closed


def test_the_machine_that_is_lost_is_off_in_both_roles_when_one_is_confirmed(one: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    world = not_opened(one, monkeypatch)
    world.lost |= {"cs-1", "cs-1-db"}
    with pytest.raises(StepFailed, match=r"cs-1 \(10\.91\.0\.11\) of the original can't be reached, and it may still be running"):
        OriginalManagement().apply(world.context)
    confirm(one, "cs-1-db", **SHAPES["one to one"])
    found = OriginalManagement().apply(world.context)
    assert found["confirmed down"] == ["cs-1"]


def test_a_machine_whose_database_answers_is_not_down_whatever_is_confirmed(one: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    world = not_opened(one, monkeypatch)
    world.lost |= {"cs-1", "cs-1-db"}
    confirm(one, "cs-1", **SHAPES["one to one"])
    asked: list[list[int]] = []

    def answers(context: Any, server: Any, ports: list[int]) -> bool:
        asked.append(ports)
        return 3306 in ports

    monkeypatch.setattr(prove_original_down, "answers", answers)
    with pytest.raises(StepFailed, match="can't be reached over SSH, and still answers"):
        OriginalManagement().apply(world.context)
    assert {3306, 8080, 8250} <= {*asked[0]}


def test_a_new_machine_that_is_lost_blocks_the_rollback_until_it_is_confirmed_to_be_off(one: Cloud) -> None:
    world = one.world
    world.lost.add("new-1")
    with pytest.raises(RollbackIncomplete, match=r"new-1 \(10\.91\.0\.41\)") as caught:
        undo(one)
    assert one.serving[0] == [] and "window.confirmedDown[0]' new-1" in caught.value.remedy
    confirm(one, "new-1", **SHAPES["one to one"])
    world.powered_off.add("new-1")
    for key, state in world.units.items():
        if key[0] == "new-1":
            state["active"] = False
    world.closing.sessions.clear()
    undo(one)
    assert one.serving == (["cs-1"], []) and world.wrong == []


def test_the_record_has_both_roles_so_that_a_machine_that_left_the_stack_file_is_closed_at_its_database_too(one: Cloud) -> None:
    record, new = one.world.record, one.world.site.configuration.new
    touched = known_servers.touch(one.world.context, new.management[0], START)
    assert touched.roles == (MANAGEMENT_ROLE, DATABASE_ROLE)
    assert TouchedServer.from_document("new-1", touched.document()) == touched
    record.servers["new-1"] = touched
    now = load(values(original=OLD), "test")
    assert [each.name for each in known_servers.new_databases(now, record)] == ["newdb1", "new-1"]
    assert [each.name for each in known_servers.new_management(now, record)] == ["newms1", "newms2", "new-1"]


def test_a_role_that_is_learnt_later_is_added() -> None:
    first = TouchedServer("new-1", "10.91.0.41", "new", MANAGEMENT_ROLE, (START,))
    later = dataclasses.replace(first, also=(DATABASE_ROLE,))
    assert later.merged(first).roles == (MANAGEMENT_ROLE, DATABASE_ROLE) == first.merged(later).roles
    assert dataclasses.replace(first, role=DATABASE_ROLE).merged(first).roles == (MANAGEMENT_ROLE, DATABASE_ROLE)
    assert "also" not in first.document()


def test_whether_a_machine_answers_is_not_asked_of_itself(one: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Asker:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, words: list[str], ok: Any = None) -> Any:
            asked.append(self.name)
            return type("Answer", (), {"code": 1})()

    monkeypatch.setattr(World, "host", lambda self, server: Asker(server.name))
    original = one.world.site.configuration.original
    assert not open_ports.answers(one.world.context, original.management[0], [8080])
    assert not open_ports.answers(one.world.context, original.database.source, [3306])
    assert set(asked) == {"new-1"}


class Operator:
    """Faults, words of the operator and rollbacks on a cloud of one machine a side, and what must be true after each."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.world = cloud, cloud.world
        self.confirmed = False
        for server in (*cloud.world.site.configuration.original.management, *cloud.world.site.configuration.original.database.servers):
            units = {unit: Found() for unit in self.world.old[server.name]}
            self.world.record.servers[server.name] = known_servers.touch(cloud.world.context, server, STOP, units=units)

    def make(self, move: tuple[str, int]) -> None:
        """One move."""
        kind, cut = move
        world, new = self.world, "new-1"
        if kind in ("cut off new", "mend new"):
            if kind == "cut off new":
                world.lost.add(new)
            elif new not in world.powered_off:
                world.lost.discard(new)
        elif kind in ("cut off old", "mend old"):
            (world.lost.update if kind == "cut off old" else world.lost.difference_update)({"cs-1", "cs-1-db"})
        elif kind == "power off":
            world.powered_off.add(new)
            world.lost.add(new)
            for (name, _), state in world.units.items():
                state["active"] = state["active"] and name != new
            world.closing.sessions.clear()
        elif kind == "power on" and new in world.powered_off and not self.confirmed and not self._must_stay_off():
            self._power_on()
        elif kind == "confirm":
            self.confirmed = new in world.powered_off
        elif kind == "take back":
            self.confirmed = False
        elif kind in ("start fails", "start works"):
            (self.cloud.does_not_start.add if kind == "start fails" else self.cloud.does_not_start.discard)(("cs-1", MANAGEMENT))
        elif kind in ("SQL hangs", "SQL answers"):
            world.closing.hangs = kind == "SQL hangs"
        confirm(self.cloud, *(["new-1"] if self.confirmed else []), **SHAPES["one to one"])
        if kind in ("back", "undo") and not world.record.closed:
            world.cut = world.done + cut if cut >= 0 else -1
            with contextlib.suppress(ParallelBuildError, Cut):
                (back if kind == "back" else undo)(self.cloud)
            world.cut = -1
        self.check(move)

    def _must_stay_off(self) -> bool:
        kept = {
            **self.world.record.facts.get("CutOff", {}).get("servers", {}),
            **self.world.record.facts.get("SwitchedOff", {}).get("servers", {}),
        }
        return "new-1" in kept or any(line.startswith("KEEP new-1 ") for line in self.world.reported)

    def _power_on(self) -> None:
        self.world.powered_off.discard("new-1")
        self.world.lost.discard("new-1")
        for (name, _), state in self.world.units.items():
            if name == "new-1" and not state["masked"]:
                state["active"] = True

    def check(self, move: tuple[str, int]) -> None:
        """Never two sides that can write; a closed window has the original serving."""
        old, new = self.cloud.serving
        writing = [name for name in new if name not in self.world.powered_off]
        assert not (old and writing and not self.world.closed), f"after {move}: {old} and {writing} may both write"
        assert self.world.wrong == [], f"after {move}"
        assert not self.world.record.closed or old == ["cs-1"], f"after {move}"

    def way_out(self) -> None:
        """Everything but what must stay off is repaired: then one rollback ends it."""
        off = "new-1" in self.world.powered_off and self._must_stay_off()
        if not off and "new-1" in self.world.powered_off:
            self._power_on()
        self.world.lost = {"new-1"} if off else set()
        self.confirmed = off
        self.cloud.does_not_start.clear()
        self.world.closing.hangs = False
        confirm(self.cloud, *(["new-1"] if off else []), **SHAPES["one to one"])
        if not self.world.record.closed:
            undo(self.cloud)
        self.check(("the way out", -1))
        assert self.cloud.serving[0] == ["cs-1"] and self.world.record.closed and self.world.units["cs-1-db", DATABASE]["active"]


KINDS = (
    "cut off new", "mend new", "cut off old", "mend old", "power off", "power on", "confirm", "take back", "start fails", "start works", "SQL hangs",
    "SQL answers", "back", "undo", "back", "undo",
)  # fmt: skip


def sequences(one: Cloud, number: int) -> None:
    """Draw and make that many."""
    for seed in range(number):
        dice = random.Random(seed)
        one.__init__(**SHAPES["one to one"])  # type: ignore[misc]
        operator = Operator(one)
        moves = [(dice.choice(KINDS), dice.choice((-1, -1, dice.randrange(30)))) for _ in range(dice.randint(2, 9))]
        try:
            for move in moves:
                operator.make(move)
            operator.way_out()
        except (AssertionError, ParallelBuildError) as error:
            raise AssertionError(f"seed {seed}: {moves}: {error}") from error


@pytest.mark.processes
def test_random_sequences_on_one_machine_a_side(one: Cloud) -> None:
    sequences(one, 60)


@pytest.mark.parametrize(
    ("module", "name", "without"),
    [
        (fence_new_database, "fence", lambda context: {}),
        (known_servers, "ever_started", lambda *_: False),
    ],
)
def test_a_program_without_one_of_the_rules_is_caught(
    one: Cloud, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, without: Any
) -> None:
    monkeypatch.setattr(module, name, without)
    with pytest.raises(AssertionError, match=r"seed \d+"):
        sequences(one, 400)

"""What the new side made and runs on after a rollback: the original's numbers pass it, it is reported, and the next window's guard finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.left_running import LEFT, Guest
from parallel_build.cloudstack.services import UnitState
from parallel_build.database.schema import cloudstack_numbers as numbers
from parallel_build.database.schema import counters
from parallel_build.errors import ConnectionFailed
from parallel_build.facts.original import LeftGuest
from parallel_build.operations import left_guests, original_numbers
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import site

ROUTER = Guest("r-19-VM", "DomainRouter", "esx1", "VMware")
OWN = {"sequence vm_instance_seq": 14, "data_center 1": 40, "op_networks 204": 7, "AUTO_INCREMENT volumes": 31}


@dataclass
class Server:
    """A database server with generators of numbers, and with the VMs that its `cloud` knows."""

    numbers: dict[str, int]
    guests: list[dict[str, Any]] = field(default_factory=list)
    up: bool = True
    statements: list[str] = field(default_factory=list)

    name = "olddb1"

    @property
    def host(self) -> Server:
        return self

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        if "FROM cloud.vm_instance v" in statement:
            return [row for row in self.guests if row["id"] > values[0]]
        table = statement.split("cloud.`")[1].rstrip("`")
        return [{"k": key.split(" ")[1], "n": number} for key, number in self.numbers.items() if key.startswith(f"{table} ")]

    def value(self, statement: str, values: Sequence[Any] = ()) -> int:
        return 1 if "information_schema" in statement else max((row["id"] for row in self.guests), default=0)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        self.statements.append(statement)
        if statement.startswith("ALTER"):
            table, number = statement.split("`")[1], int(statement.rsplit(" ", 1)[1])
            self.numbers[f"AUTO_INCREMENT {table}"] = number
        else:
            key = f"{statement.split('`')[1]} {values[1]}"
            self.numbers[key] = max(self.numbers[key], values[0])
        return 1


class World:
    """Both sides' databases, the record, KVM hosts and the original's management servers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.old, self.new = Server(dict(OWN)), Server({name: number + 6 for name, number in OWN.items()})
        self.domains: dict[str, str | None] = {"kvm1": "", "kvm2": ""}
        self.running: list[str] = []
        self.reported: list[str] = []
        where = site()
        self.record = WindowRecord("test", where.identity, opened="then", facts={"FirstManagement": {"began": 1.0}})
        self.record.facts["Window"] = {"highest_ids": {"vm_instance": 13}}
        self.context = Context(where, self, RunFolder(folder, "test", where.secrets.all()), CancelToken(), self.reported.append, "Window")  # type: ignore[arg-type]
        for module in (original_numbers, left_guests):
            monkeypatch.setattr(module, "store", lambda context: self)
            monkeypatch.setattr(module, "session", self.session)
            monkeypatch.setattr(module, "new_database", lambda context: self.new)
        monkeypatch.setattr(original_numbers, "original_database", lambda context: self.old)
        monkeypatch.setattr(original_numbers, "Services", self.services)
        monkeypatch.setattr(counters, "read", self.counters)

    @contextlib.contextmanager
    def session(self, host: Server, **_: Any) -> Iterator[Server]:
        if not host.up:
            raise ConnectionFailed("newdb1: no database server listens there", "", "")
        yield host

    def counters(self, opened: Server, names: Sequence[str]) -> dict[tuple[str, str], int]:
        return {("cloud", key.split(" ")[1]): number for key, number in opened.numbers.items() if key.startswith("AUTO")}

    def services(self, host: Any) -> Any:
        running = host.name in self.running
        return type("Units", (), {"state": lambda self, unit: UnitState(unit, True, running, True, False)})()

    def host(self, server: Any) -> Any:
        def run(argv: Sequence[str], **_: Any) -> Result:
            listed = self.domains[server.name]
            if listed is None:
                raise ConnectionFailed(f"{server.name} can't be reached over SSH", "", "")
            return Result(0, listed, "")

        return type("Host", (), {"name": server.name, "run": staticmethod(run)})()

    def read(self) -> WindowRecord:
        return self.record

    def owns(self, record: WindowRecord) -> bool:
        return record.identity in self.context.site.identities

    def facts(self, step: str) -> dict[str, Any]:
        found: dict[str, Any] = self.record.facts.get(step, {})
        return found

    def remember(self, step: str, **facts: Any) -> None:
        if step == original_numbers.STEP and "planned" in facts:
            assert not self.old.statements, "the record comes before the first change"
        self.record.facts.setdefault(step, {}).update(facts)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A window whose new side was started and gave six of everything away."""
    return World(tmp_path, monkeypatch)


def test_the_originals_numbers_pass_those_of_the_new_side_and_are_on_record_first(world: World) -> None:
    original_numbers.move_past(world.context)
    assert world.old.numbers == world.new.numbers
    planned = world.record.facts["Numbers"]["planned"]["sequence vm_instance_seq"]
    assert (planned["was"], planned["becomes"]) == (14, 20) and "value` = 14" in planned["reverse"]
    world.old.statements.clear()
    original_numbers.move_past(world.context)
    assert not world.old.statements, "the second time nothing is done"


@pytest.mark.parametrize("owner", ["of an earlier identity, or adopted", "another's"])
def test_a_window_of_this_stack_counts_by_whatever_identity_it_is_known(world: World, owner: str) -> None:
    world.context.site = replace(
        world.context.site, known_as=("made since", world.record.identity if owner.startswith("of") else "another")
    )
    original_numbers.move_past(world.context)
    assert world.old.numbers == (world.new.numbers if owner.startswith("of") else OWN)


def test_a_number_is_never_moved_back(world: World) -> None:
    world.new.numbers |= {"sequence vm_instance_seq": 3, "AUTO_INCREMENT volumes": 2, "op_networks 999": 5}
    original_numbers.move_past(world.context)
    assert world.old.numbers["sequence vm_instance_seq"] == 14 and world.old.numbers["AUTO_INCREMENT volumes"] == 31
    assert "op_networks 999" not in world.old.numbers, "a network that the new side made is not the original's"


def test_a_row_with_a_higher_id_than_its_generator_counts(world: World) -> None:
    world.new.guests = [{"id": 40}]
    original_numbers.move_past(world.context)
    assert world.old.numbers["sequence vm_instance_seq"] == 41


@pytest.mark.parametrize("noted", [True, False])
def test_without_the_new_sides_database_a_note_or_the_own_numbers_count_with_a_margin(world: World, noted: bool) -> None:
    if noted:
        original_numbers.note(world.context)
    world.new.up = False
    original_numbers.move_past(world.context)
    assert world.old.numbers["sequence vm_instance_seq"] == (20 if noted else 14) + numbers.MARGIN


def test_nothing_is_moved_next_to_a_running_management_server_or_for_a_side_that_never_started(world: World) -> None:
    world.running = ["oldms1"]
    original_numbers.move_past(world.context)
    assert world.old.numbers == OWN and "oldms1 runs already" in world.reported[-1]
    world.running = []
    world.record.facts["FirstManagement"] = {}
    original_numbers.move_past(world.context)
    assert world.old.numbers == OWN


def test_a_failure_is_reported_and_keeps_nobody_waiting(world: World) -> None:
    world.old.up = False
    original_numbers.move_past(world.context)
    assert "could not be moved" in world.reported[-1]


def row(number: int, kind: str, host: str, hypervisor: str) -> dict[str, Any]:
    """A VM of the new side's."""
    prefix = {"DomainRouter": "r", "SecondaryStorageVm": "s", "ConsoleProxy": "v"}[kind]
    return {"id": number, "name": f"{prefix}-{number}-VM", "kind": kind, "host": host, "hypervisor": hypervisor, "address": None}


def test_what_runs_on_is_reported_with_the_hypervisors_own_command(world: World) -> None:
    world.new.guests = [
        row(12, "ConsoleProxy", "esx1", "VMware"),  # older than the window
        row(14, "SecondaryStorageVm", "xen1", "XenServer"),
        row(15, "DomainRouter", "esx1", "VMware"),
        row(16, "DomainRouter", "kvm1", "KVM"),
        row(17, "DomainRouter", "kvm2", "KVM"),
        row(18, "DomainRouter", "sim1", "Simulator"),
        row(19, "DomainRouter", "kvm9", "KVM"),  # a host that the stack does not know
    ]
    world.domains = {"kvm1": "i-2-3-VM\n", "kvm2": None}
    left_guests.look(world.context)
    world.new.up = False
    left_guests.look(world.context)
    assert [guest.name for guest in left_guests.report(world.context)] == ["s-14-VM", "r-15-VM", "r-17-VM", "r-18-VM", "r-19-VM"]
    reported = "\n".join(world.reported)
    assert "s-14-VM (secondary storage VM on xen1, XenServer) RUNS ON" in reported and "xe vm-uninstall vm=s-14-VM" in reported
    assert (
        "govc vm.destroy r-15-VM" in reported
        and "virsh undefine r-17-VM" in reported
        and "simulator.mockvm WHERE name = 'r-18-VM'" in reported
    )
    assert "r-16-VM" not in reported, "its own host denies it"
    assert [each["name"] for each in world.record.facts[LEFT]["guests"]] == ["s-14-VM", "r-15-VM", "r-17-VM", "r-18-VM", "r-19-VM"]


@pytest.mark.parametrize(
    ("guest", "taken", "coming", "confirmed", "refused"),
    [
        (ROUTER, False, False, [], True),
        (ROUTER, True, False, [], True),
        (ROUTER, False, False, ["r-19-VM"], False),
        (replace(ROUTER, hypervisor="Simulator"), False, False, [], False),
        (replace(ROUTER, hypervisor="Simulator"), False, True, [], True),
        (replace(ROUTER, hypervisor="Simulator"), True, False, [], True),
        (replace(ROUTER, hypervisor=""), False, False, [], True),
    ],
)
def test_the_next_window_does_not_open_over_it(guest: Guest, taken: bool, coming: bool, confirmed: list[str], refused: bool) -> None:
    old = replace(GOOD_OLD, left_running=[LeftGuest(guest, taken, coming)])
    where = site(window={"confirmedRemoved": confirmed})
    failed = [error for error in guards.failures(where, old, GOOD_NEW) if "earlier window" in str(error)]
    assert bool(failed) is refused
    if failed:
        assert "pulumi config set --path 'window.confirmedRemoved[0]' r-19-VM" in failed[0].remedy


def test_the_remedy_keeps_what_was_confirmed_before() -> None:
    old = replace(GOOD_OLD, left_running=[LeftGuest(ROUTER, False, False), LeftGuest(replace(ROUTER, name="r-20-VM"), False, False)])
    (failed,) = guards.failures(site(window={"confirmedRemoved": ["s-14-VM"]}), old, GOOD_NEW)
    assert "confirmedRemoved[1]' r-19-VM" in failed.remedy and "confirmedRemoved[2]' r-20-VM" in failed.remedy

"""Going back although something was lost on the way: what can be brought back serves, what can't is named, nothing is passed over."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import api
from parallel_build.cloudstack.services import UnitState
from parallel_build.configuration import Server
from parallel_build.database.copy import copy
from parallel_build.errors import CommandFailed, ConnectionFailed, RollbackIncomplete, StepFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import (
    fence_new_database,
    fence_new_side,
    forensics,
    hypervisor_commands,
    original_accounts,
    original_database,
    original_management,
    prove_original_down,
    served,
    start_gate,
    start_management,
    transfer,
)
from parallel_build.operations.context import Context
from parallel_build.operations.new_objects import Created
from parallel_build.operations.start_management import ManagementStart, first_start
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.touched import TouchedServer
from parallel_build.records.window import WindowRecord
from parallel_build.remote.clock import HostClock
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.steps import database_transfer, hypervisor_steps
from parallel_build.steps import window as window_step
from parallel_build.steps.database_transfer import DatabaseTransfer
from parallel_build.steps.hypervisor_steps import HypervisorSteps
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.window import with_earlier
from tests.fast.quick_time import hurry
from tests.fast.sites import SECRETS, site


class Machine:
    """A server that answers, or does not."""

    def __init__(self, name: str, lost: bool, fails: bool) -> None:
        self.name, self.lost, self.fails = name, lost, fails
        self.ran: list[list[str]] = []
        self.started: list[str] = []

    def run(self, argv: Sequence[str], **_: Any) -> None:
        if self.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        if self.fails:
            raise CommandFailed(f"{self.name}: no", "", "")
        self.ran.append(list(argv))

    def script(self, text: str, args: Sequence[str] = (), **given: Any) -> None:
        self.run(["sh", *args], **given)

    @staticmethod
    def login() -> DatabaseLogin:
        return DatabaseLogin()


class Units:
    """Services of such a machine."""

    def __init__(self, host: Machine) -> None:
        self.host = host

    def _reach(self) -> None:
        if self.host.lost:
            raise ConnectionFailed(f"{self.host.name} can't be reached over SSH", "", "")

    def bring_up(self, unit: str, *, enable: bool = True, timeout: float = 1) -> bool:
        self._reach()
        if [each for each in self.host.started if each.lstrip("-") == unit][-1:] == [unit]:
            return False
        self.host.started.append(unit)
        return True

    def state(self, unit: str) -> UnitState:
        self._reach()
        return UnitState(unit, True, unit in self.host.started, True, False)

    def stop_and_fence(self, unit: str, timeout: float = 1, *, patience: float | None = None) -> bool:
        self._reach()
        self.host.started.append(f"-{unit}")
        return True


class Cloud:
    """All machines, by name, and the context of a step that works on them."""

    def __init__(self, folder: Path, lost: Sequence[str] = (), fails: Sequence[str] = (), **changes: Any) -> None:
        self.lost, self.fails = lost, fails
        self.machines: dict[str, Machine] = {}
        self.reported: list[str] = []
        self.returning: str | None = None
        self.servers: dict[str, TouchedServer] = {}
        self.facts: dict[str, dict[str, Any]] = {"FirstManagement": {"began": 1.0}, "AdditionalManagement/newms2": {"began": 1.0}}
        where = site(**changes)
        self.context = Context(where, self, RunFolder(folder, "test", where.secrets.all()), CancelToken(), self.reported.append, "Test")  # type: ignore[arg-type]

    def host(self, server: Server) -> Machine:
        return self.machines.setdefault(server.name, Machine(server.name, server.name in self.lost, server.name in self.fails))


class Store:
    """The window's record, in memory."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def read(self) -> WindowRecord:
        return WindowRecord(
            "test",
            self._cloud.context.site.identity,
            opened="then",
            returning=self._cloud.returning,
            facts=self._cloud.facts,
            servers=self._cloud.servers,
        )

    mine = read

    def facts(self, step: str) -> dict[str, Any]:
        return self._cloud.facts.get(step, {})

    def remember(self, step: str, **facts: Any) -> None:
        self.note({step: facts})

    def note(self, facts: dict[str, dict[str, Any]], *, forward: bool = False, servers: Sequence[TouchedServer] = ()) -> None:
        for step, known in facts.items():
            self._cloud.facts.setdefault(step, {}).update(known)
        for server in servers:
            self._cloud.servers[server.name] = server.merged(self._cloud.servers.get(server.name))


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (original_management, hypervisor_commands, hypervisor_steps, forensics, fence_new_side):
        monkeypatch.setattr(module, "store", lambda context: Store(context.connections), raising=False)
    monkeypatch.setattr(original_management, "Services", Units)
    monkeypatch.setattr(fence_new_side, "Services", Units)
    monkeypatch.setattr(original_management, "_await_answer", lambda context, server, left: None)
    monkeypatch.setattr(original_management.Servers, "_elsewhere", lambda self: "")


def bring_back(cloud: Cloud) -> list[str]:
    """The original's management servers and usage; what is missing."""
    with original_management.Servers(cloud.context) as servers:
        servers.first()
        return servers.rest()


def test_a_lost_server_of_the_original_keeps_the_other_from_nothing(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, lost=["oldms1"])
    missing = bring_back(cloud)
    assert cloud.machines["oldms2"].started == ["cloudstack-management"]
    assert len(missing) == 1
    assert "oldms1" in missing[0]
    assert any("oldms1 can't be brought back yet" in line for line in cloud.reported)


def test_a_server_whose_start_has_failed_is_started_again_by_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path)
    monkeypatch.setattr(api, "status", lambda where: 503 if where.host == "10.91.0.11" else 401)
    assert bring_back(cloud) == []
    assert bring_back(cloud) == []
    management = [unit for unit in cloud.machines["oldms1"].started if unit != "cloudstack-usage"]
    assert management == ["cloudstack-management", "-cloudstack-management", "cloudstack-management"]
    assert cloud.machines["oldms2"].started == ["cloudstack-management"]
    assert any("oldms1 but its start has failed" in line for line in cloud.reported)


def test_usage_is_started_where_it_was(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    assert bring_back(cloud) == []
    assert cloud.machines["oldms1"].started == ["cloudstack-management", "cloudstack-usage"]


def test_without_any_server_of_the_original_going_back_is_incomplete(tmp_path: Path) -> None:
    with pytest.raises(RollbackIncomplete, match="no management server of the original can be reached"):
        bring_back(Cloud(tmp_path, lost=["oldms1", "oldms2"]))


STEP = {"hosts": ["kvm1", "kvm2"], "command": ["up"], "reverse": ["down"]}


@pytest.mark.parametrize("at_once", [False, True])
def test_a_hypervisor_that_can_not_be_put_back_stays_on_record(tmp_path: Path, at_once: bool) -> None:
    cloud = Cloud(tmp_path, lost=["kvm2"], hypervisorSteps=[{**STEP, "atOnce": at_once}])
    cloud.facts["HypervisorSteps"] = {"started": ["0/kvm1", "0/kvm2"], "done": ["0/kvm1", "0/kvm2"]}
    HypervisorSteps().revert(cloud.context)
    assert cloud.machines["kvm1"].ran == [["down"]]
    assert hypervisor_commands.left(cloud.context) == ["hypervisor step on kvm2 (down)"]
    cloud.machines["kvm2"].lost = False
    HypervisorSteps().revert(cloud.context)
    assert cloud.machines["kvm2"].ran == [["down"]]
    assert cloud.machines["kvm1"].ran == [["down"]], "what is undone is not undone again"
    assert hypervisor_commands.left(cloud.context) == []


@pytest.mark.parametrize("at_once", [False, True])
def test_a_hypervisor_step_that_failed_is_done_again_where_it_failed(tmp_path: Path, at_once: bool) -> None:
    cloud = Cloud(tmp_path, fails=["kvm2"], hypervisorSteps=[{**STEP, "atOnce": at_once}])
    with pytest.raises(CommandFailed, match="kvm2"):
        HypervisorSteps().apply(cloud.context)
    assert hypervisor_commands.left(cloud.context) == ["hypervisor step on kvm1 (down)", "hypervisor step on kvm2 (down)"]
    cloud.machines["kvm2"].fails = False
    assert HypervisorSteps().apply(cloud.context) == {"done": ["kvm1: up", "kvm2: up"]}
    assert [machine.ran for machine in cloud.machines.values()] == [[["up"]], [["up"]]]


def test_all_new_servers_are_fenced_at_once_and_none_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path, lost=["newms2"])
    monkeypatch.setattr(api, "answers", lambda where: True)
    with pytest.raises(RollbackIncomplete, match=r"newms2 .* can't be fenced, and still answers"):
        fence_new_side.fence_new_side(cloud.context)
    assert set(cloud.machines["newms1"].started) == {"-cloudstack-usage", "-cloudstack-management"}
    fence_new_side.fence_new_side(cloud.context, insist=False)
    assert any("newms2 can't be fenced yet" in line for line in cloud.reported)


def test_only_a_rollback_shuts_the_gates_of_the_new_servers_and_before_it_masks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(tmp_path)
    closed: list[str] = []

    def close(context: Context) -> dict[str, str]:
        closed.append("newdb1")
        return {"newdb1": "accounts locked"}

    monkeypatch.setattr(fence_new_database, "fence", close)
    monkeypatch.setattr(start_gate, "shut", lambda host, record: host.started.append(f"shut {record.opened}"))
    fence_new_side.fence_new_side(cloud.context)
    assert "shut then" not in cloud.machines["newms1"].started and not closed, "up to a hold point the window continues after it"
    cloud.machines.clear()
    cloud.returning = "now"
    fence_new_side.fence_new_side(cloud.context)
    for name in ("newms1", "newms2"):
        assert cloud.machines[name].started[0] == "shut then"
        assert len(cloud.machines[name].started) == 3
    assert closed == ["newdb1"]


def test_a_server_that_can_not_be_reached_is_powered_off_through_its_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path, lost=["newms1"])
    monkeypatch.setattr(power, "cut", lambda where, machine: f"{where.stack}/{machine.name}")
    monkeypatch.setattr(api, "answers", lambda where: pytest.fail("it is off: nobody has to be asked"))
    fence_new_side.fence_new_side(cloud.context)
    assert any(entry["kind"] == "powered off" and entry["server"] == "newms1" for entry in cloud.context.run.journal())


LIBVIRT = {"platform": "libvirt", "management": [{"name": "newms1", "address": "10.91.0.41"}]}


@pytest.mark.parametrize(
    ("listed", "state", "says"),
    [
        ("prod-newms1", "shut off", "`virsh destroy prod-newms1`"),
        ("prod-newms1", "running", None),
        ("prod-newms11", "", None),
    ],
)
def test_virsh_must_have_shut_the_guest_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, state: str, says: str | None
) -> None:
    virsh = tmp_path / "virsh"
    virsh.write_text(
        f'#!/bin/sh\necho "$3 $4 $5" >>{tmp_path}/asked\ncase "$3" in list) echo {listed};; domstate) echo "{state}";; esac\nexit 0\n'
    )
    virsh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    platforms = {"libvirt": {"uri": "qemu:///session", "image": "/i", "poolPath": "/p", "bridge": "b"}}
    where = replace(site(new=LIBVIRT, platforms=platforms), stack="prod")
    machine = where.configuration.new.management[0]
    if says:
        assert power.cut(where, machine) == says
    else:
        with pytest.raises(MachineFailed, match=r"prod-newms1 (at qemu:///session is running|can't be asked about from here)"):
            power.cut(where, machine)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ("destroy prod-newms1 " in asked) == (listed == "prod-newms1")
    assert ("autostart prod-newms1 --disable" in asked) == (listed == "prod-newms1"), "its host's next boot must not bring it back"


@pytest.fixture
def out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """newms1 is a server that exists already: it can't be reached, is silent, and nobody can cut its power from here."""
    monkeypatch.setattr(api, "answers", lambda where: False)
    monkeypatch.setattr(prove_original_down, "answers", lambda context, server, ports: False)
    return Cloud(tmp_path, lost=["newms1"])


def test_silence_proves_nothing(out_of_reach: Cloud) -> None:
    with pytest.raises(RollbackIncomplete) as caught:
        fence_new_side.fence_new_side(out_of_reach.context)
    for words in (
        "newms1 (10.91.0.41) can't be reached, and it may still be running",
        "platform existing offers nothing",
        "'window.confirmedDown[0]' newms1",
    ):
        assert words in str(caught.value)


def test_the_operators_word_counts_for_a_silent_server_and_is_recorded(tmp_path: Path, out_of_reach: Cloud) -> None:
    window = {"confirmedDown": ["newms1"]}
    out_of_reach.context = replace(out_of_reach.context, site=site(window=window))
    fence_new_side.fence_new_side(out_of_reach.context)
    assert any(entry["kind"] == "confirmed down" and entry["server"] == "newms1" for entry in out_of_reach.context.run.journal())


def test_a_server_that_was_never_started_keeps_the_original_from_nothing(out_of_reach: Cloud) -> None:
    out_of_reach.facts["FirstManagement"] = {}
    fence_new_side.fence_new_side(out_of_reach.context)
    assert any(entry["kind"] == "never started" and entry["server"] == "newms1" for entry in out_of_reach.context.run.journal())


def test_it_does_not_count_for_a_server_that_answers(out_of_reach: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    out_of_reach.context = replace(out_of_reach.context, site=site(window={"confirmedDown": ["newms1"]}))
    monkeypatch.setattr(api, "answers", lambda where: True)
    with pytest.raises(RollbackIncomplete, match=r"newms1 .* can't be fenced, and still answers"):
        fence_new_side.fence_new_side(out_of_reach.context)


def test_the_original_is_not_started_next_to_a_new_server_that_may_serve(out_of_reach: Cloud) -> None:
    with pytest.raises(RollbackIncomplete, match="it may still be running"):
        OriginalManagement().revert(out_of_reach.context)
    assert "cloudstack-management" not in out_of_reach.host(out_of_reach.context.configuration.original.management[0]).started


def test_kept_texts_hide_secrets_and_are_the_operators_only(tmp_path: Path) -> None:
    target = tmp_path / "log.gz"
    forensics.write(target, f"password {SECRETS['cloudPassword']} seen", site().secrets.all())
    assert target.stat().st_mode & 0o777 == 0o600
    assert gzip.decompress(target.read_bytes()) == b"password [secret] seen"


def test_a_dump_that_breaks_off_is_not_whole(tmp_path: Path) -> None:
    part = tmp_path / "dump.gz"
    part.write_bytes(gzip.compress(b"CREATE TABLE ...;\n-- Dump completed on 2026-11-22\n"))
    assert forensics._whole(part)
    part.write_bytes(part.read_bytes()[:-12])
    assert not forensics._whole(part)
    part.write_bytes(gzip.compress(b"CREATE TABLE ...;\n"))
    assert not forensics._whole(part)


def test_nothing_is_kept_of_a_side_that_never_started_and_once_of_one_that_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path)
    calls: list[Path] = []

    def collect(context: Context) -> Path:
        calls.append(tmp_path)
        return tmp_path

    monkeypatch.setattr(forensics, "collect", collect)
    cloud.facts["FirstManagement"] = {}
    forensics.collect_once(cloud.context)
    assert not calls
    cloud.facts["FirstManagement"] = {"began": 1.0}
    forensics.collect_once(cloud.context)
    forensics.collect_once(cloud.context)
    assert len(calls) == 1


def test_what_an_investigation_needs_is_kept_before_a_closed_database_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, done = Cloud(tmp_path), list[str]()

    def lift(context: Context, record: WindowRecord, before_accounts: Callable[[], None]) -> list[str]:
        before_accounts()
        done.append("opened")
        return []

    def collect(context: Context) -> Path:
        done.append("kept")
        return tmp_path

    monkeypatch.setattr(fence_new_database, "lift", lift)
    monkeypatch.setattr(forensics, "collect", collect)
    monkeypatch.setattr(transfer, "empty", lambda context: done.append("emptied"))
    monkeypatch.setattr(window_step, "store", lambda context: Store(cloud))
    monkeypatch.setattr(forensics, "store", lambda context: Store(cloud))
    window_step._open_database(cloud.context, Created())
    assert done == ["kept", "emptied", "opened"]


def test_a_failure_to_keep_is_reported_and_stops_nothing(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, lost=["newms1", "newms2", "newdb1", "newdb2"])
    folder = forensics.collect(cloud.context)
    assert folder is not None
    assert list(folder.iterdir()) == []
    assert any("not kept for the investigation: newms1-management-server.log" in line for line in cloud.reported)


class Heartbeats:
    """A database whose rows of management servers are read again and again; some beat."""

    def __init__(self, rows: dict[str, str], beating: Sequence[str]) -> None:
        self.states, self.beating, self.reads = rows, beating, 0

    def rows(self, statement: str) -> list[dict[str, Any]]:
        self.reads += 1
        return [
            {
                "id": number,
                "name": ip,
                "service_ip": ip,
                "state": state,
                "beat": f"2031-01-01 00:00:0{self.reads if ip in self.beating else 0}",
            }
            for number, (ip, state) in enumerate(self.states.items())
        ]


@pytest.mark.parametrize(
    ("rows", "beating", "refused"),
    [
        ({"10.91.0.11": "Up", "10.91.0.12": "Down"}, [], False),
        ({"10.91.0.11": "Down", "10.91.0.99": "Up"}, [], False),
        ({"10.91.0.11": "Down", "10.91.0.99": "Up"}, ["10.91.0.99"], True),
        ({"10.91.0.11": "Up"}, ["10.91.0.11"], False),
    ],
    ids=["known", "a stranger's row left by a crash", "a stranger that writes", "one of the stack's own"],
)
def test_a_stranger_is_alive_when_its_row_is_written_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: dict[str, str], beating: list[str], refused: bool
) -> None:
    database = Heartbeats(rows, beating)
    monkeypatch.setattr(original_management, "session", lambda host: contextlib.nullcontext(database))
    hurry(monkeypatch, original_management)
    monkeypatch.setattr(original_management, "original_database", lambda context: None)
    cloud = Cloud(tmp_path)
    if refused:
        with pytest.raises(StepFailed, match=r"not stopped write to the original's database: 10\.91\.0\.99"):
            original_management.prove_at_rest(cloud.context)
    else:
        assert original_management.prove_at_rest(cloud.context) == rows


@pytest.mark.parametrize("beats", [(0, 0), (0, 1)], ids=["neither", "the second"])
def test_rows_of_one_address_are_watched_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beats: tuple[int, int]) -> None:
    """Both of the original's servers were set up with 127.0.0.1, and a crash has left both rows Up."""
    reads = itertools.count()

    class Rows:
        def rows(self, statement: str) -> list[dict[str, Any]]:
            read = next(reads)
            return [
                {"id": number, "name": f"oldms{number}", "service_ip": "127.0.0.1", "state": "Up", "beat": f"{number} {read * beat}"}
                for number, beat in enumerate(beats, 1)
            ]

    monkeypatch.setattr(original_management, "session", lambda host: contextlib.nullcontext(Rows()))
    hurry(monkeypatch, original_management)
    monkeypatch.setattr(original_management, "original_database", lambda context: None)
    if any(beats):
        with pytest.raises(StepFailed, match=r"write to the original's database: oldms2 \(127\.0\.0\.1\)\."):
            original_management.prove_at_rest(Cloud(tmp_path).context)
    else:
        assert original_management.prove_at_rest(Cloud(tmp_path).context) == {"127.0.0.1": "Up"}


@pytest.mark.parametrize(("boot", "touched"), [("one", False), ("two", True)])
def test_a_first_start_on_a_server_that_lost_its_power_may_have_touched_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str, touched: bool
) -> None:
    """Its log may lack the lines that would say so."""

    class Reading:
        touched = False

    class Watch:
        reading = Reading()

        def read(self, progress: Any) -> None:
            """The log says nothing."""

    monkeypatch.setattr(start_management, "store", lambda context: Store(context.connections))
    monkeypatch.setattr(start_management, "read_host_clock", lambda host: HostClock(boot, 1.0, 1.0))
    monkeypatch.setattr(ManagementStart, "_watch", lambda self, database, follower, *, upgrade: Watch())
    cloud = Cloud(tmp_path)
    cloud.facts["FirstManagement"] = {"mark": [1, 2], "boot": "one", "touched": None, "good": None}
    cloud.facts["DatabaseTransfer"] = {"copied": {"tables": 336}, "spoilt": "a start on it has begun"}
    monkeypatch.setattr(original_database, "ran_since", lambda context, known: False)
    monkeypatch.setattr(ManagementStart, "_ahead", lambda self: "")
    monkeypatch.setattr(ManagementStart, "running", lambda self: False)
    assert bool(first_start(cloud.context).unusable()) is touched


def test_a_server_that_is_reported_to_be_off_and_writes_its_row_is_not_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path)
    lost = cloud.context.configuration.original.management[1:]
    hurry(monkeypatch, original_management)
    monkeypatch.setattr(original_management, "original_database", lambda context: None)
    rows = {"10.91.0.11": "Up", "10.91.0.12": "Up"}
    for beating in ([], ["10.91.0.12"]):
        database = Heartbeats(rows, beating)
        monkeypatch.setattr(original_management, "session", lambda host, database=database: contextlib.nullcontext(database))
        if beating:
            with pytest.raises(StepFailed, match=r"not stopped write to the original's database: 10\.91\.0\.12"):
                original_management.prove_at_rest(cloud.context, lost)
        else:
            assert original_management.prove_at_rest(cloud.context, lost) == rows


def copied(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A window that has brought the databases over; what is emptied is noted."""
    emptied: list[str] = []
    for module in (database_transfer, transfer):
        monkeypatch.setattr(module, "store", lambda context: Store(context.connections))
    monkeypatch.setattr(copy, "empty", lambda host, names: emptied.extend(names))
    monkeypatch.setattr(served, "give_up", lambda context: None)
    monkeypatch.setattr(original_accounts, "unneeded", lambda context: ["cutover_copy"])
    monkeypatch.setattr(original_accounts, "drop", lambda context, users: cloud.reported.append(f"dropped {', '.join(users)}"))
    cloud.facts["DatabaseTransfer"] = {"copied": {"tables": 336}}
    return emptied


def test_the_copy_stays_until_the_original_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path)
    cloud.ready = {}  # type: ignore[attr-defined]
    emptied = copied(cloud, monkeypatch)
    DatabaseTransfer().revert(cloud.context)
    assert emptied == []
    assert cloud.facts["DatabaseTransfer"]["copied"] is None, "a switch that continues now copies again"
    transfer.empty(cloud.context)
    assert emptied == ["cloud", "cloud_usage"]
    transfer.empty(cloud.context)
    assert emptied == ["cloud", "cloud_usage"], "what is empty is not emptied again"
    assert cloud.reported.count("dropped cutover_copy") == 2, "accounts on the original are looked for every time, with dump as well"


def test_a_switch_that_continues_after_half_a_rollback_begins_with_empty_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(tmp_path)
    cloud.ready = {}  # type: ignore[attr-defined]
    emptied = copied(cloud, monkeypatch)
    monkeypatch.setattr(database_transfer, "transfer", lambda context: {"emptied": list(emptied)})
    DatabaseTransfer().revert(cloud.context)
    assert DatabaseTransfer().apply(cloud.context) == {"emptied": ["cloud", "cloud_usage"]}


def test_what_an_earlier_try_found_to_tidy_stays_in_the_list() -> None:
    first = {"opened": "t1", "created": {"volumes": [{"id": 1}]}, "unknown": "", "renewed": ["a by b"]}
    second = {"opened": "t1", "created": {}, "unknown": "", "renewed": ["c by d"]}
    assert with_earlier(first, second) == {
        "opened": "t1",
        "created": {"volumes": [{"id": 1}]},
        "unknown": "",
        "renewed": ["a by b", "c by d"],
    }
    assert with_earlier(None, second) == second
    assert with_earlier({**first, "opened": "t0"}, second) == second, "another window's list is not this one's"

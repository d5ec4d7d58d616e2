"""`transfer.seed`: files where they can be brought, rows with the reason where not, and nothing asked of anybody where rows are wanted."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration.role_packages import of_roles
from parallel_build.database.copy import copy as rows
from parallel_build.database.copy.copy import CopyReport
from parallel_build.database.physical import copy, facts, staging
from parallel_build.database.physical.copy import FilesReport
from parallel_build.database.physical.judge import WORTH, Decision, Files, ServerFacts
from parallel_build.database.server.dialects import DatabaseServer, newest
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations import bring_files, original_accounts, served, transfer
from parallel_build.operations.context import Context
from parallel_build.provider.relevance import relevant
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.states import COPY, CopyState, copy_change
from parallel_build.records.window import WindowRecord
from parallel_build.steps.database_transfer import DatabaseTransfer
from parallel_build.steps.ready import Ready
from parallel_build.steps.window import Window
from tests.fast.memory_records import Records
from tests.fast.sites import site

REPORT = FilesReport(390, 3 << 30, 12.0, {"copy": 7.0, "prepare": 2.0, "import": 3.0}, ("`cloud`@`localhost`",))
FILES = Files(2 << 30, 1 << 28, ("cloud.host",))


SITE = site()


def window() -> WindowRecord:
    return WindowRecord("test", SITE.identity, opened="then")


def files_noted(world: World) -> bool:
    return CopyState.of(world.records.facts(COPY)).files


class World:
    """What is decided, what comes of it, and what is done."""

    def __init__(self) -> None:
        self.decision: Decision | Exception = Decision(True, "both sides have mariadb-backup of one series")
        self.brought: FilesReport | Exception = REPORT
        self.done: list[str] = []
        self.records = Records(window(), SITE)
        self.left = False
        self.reported: list[str] = []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    def decide(context: Context) -> tuple[Decision, Files]:
        made.done.append("decide")
        if isinstance(made.decision, Exception):
            raise made.decision
        return made.decision, FILES

    def brought(*_: Any, **__: Any) -> FilesReport:
        made.done.append("bring")
        assert files_noted(made), "on record before it is done"
        made.left = True
        if isinstance(made.brought, Exception):
            raise made.brought
        return made.brought

    def settled(target: Any, replicas: Any, cancel: CancelToken) -> bool:
        made.done.append("settle")
        made.left, left = False, made.left
        return left

    monkeypatch.setattr(bring_files, "decide", decide)
    monkeypatch.setattr(bring_files, "original_database", lambda context: SimpleNamespace(name="olddb1"))
    monkeypatch.setattr(bring_files, "new_database", lambda context: SimpleNamespace(name="newdb1"))
    monkeypatch.setattr(bring_files, "replicas", lambda context: [SimpleNamespace(name="newdb2")])
    monkeypatch.setattr(bring_files, "store", lambda context: made.records)
    monkeypatch.setattr(copy, "copy", brought)
    monkeypatch.setattr(staging, "settle", settled)
    monkeypatch.setattr(staging, "end_backup", lambda source: made.done.append(f"end the backup on {source.name}"))
    return made


def context(world: World, folder: Path, **changes: Any) -> Context:
    found = site(transfer=changes) if changes else site()
    return Context(found, None, RunFolder(folder, "test", []), CancelToken(), world.reported.append, "Test")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", ["auto", "physical"])
def test_files_are_brought_where_they_can_be(world: World, tmp_path: Path, seed: str) -> None:
    assert bring_files.bring(context(world, tmp_path, seed=seed), ["cloud"]) is REPORT
    assert world.done == ["decide", "bring"]
    assert not files_noted(world)
    assert world.reported == ["bringing files: both sides have mariadb-backup of one series"]


def test_rows_are_copied_where_files_do_not_fit_and_one_line_says_why(world: World, tmp_path: Path) -> None:
    world.decision = Decision(False, "olddb1 has no mariadb-backup")
    assert bring_files.bring(context(world, tmp_path), ["cloud"]) is None
    assert world.done == ["decide"]
    assert world.reported == ["copying rows, not files: olddb1 has no mariadb-backup"]


def test_nobody_is_asked_where_rows_are_wanted(world: World, tmp_path: Path) -> None:
    assert bring_files.bring(context(world, tmp_path, seed="logical"), ["cloud"]) is None
    assert world.done == [] and world.reported == []


def test_mysql_has_its_rows_copied_and_nobody_is_asked(world: World, tmp_path: Path) -> None:
    asked = context(world, tmp_path)
    database = {**SITE.configuration.new.database.model_dump(by_alias=True, mode="json"), "engine": "mysql"}
    asked.site = site(new={"database": database})
    assert bring_files.bring(asked, ["cloud"]) is None
    assert world.done == []
    assert world.reported == ["copying rows, not files: files are brought from MariaDB to MariaDB only"]


@pytest.mark.parametrize(
    "problem", [StepFailed("newdb1: the files could not be prepared", "x", ""), CommandFailed("olddb1: broke", "x", "")]
)
def test_auto_copies_rows_after_a_tool_failed_and_nothing_is_left_of_it(world: World, tmp_path: Path, problem: Exception) -> None:
    world.brought = problem
    assert bring_files.bring(context(world, tmp_path), ["cloud"]) is None
    assert world.done == ["decide", "bring", "end the backup on olddb1", "settle"]
    assert world.reported[-1].startswith("copying rows, not files: ")
    assert str(problem).split(".")[0] in world.reported[-1]


@pytest.mark.parametrize(
    "problem",
    [StepFailed("newdb1: the files could not be prepared", "x", ""), GuardFailed("transfer.seed: physical is not possible", "", "")],
)
def test_physical_fails_rather_than_copy_rows(world: World, tmp_path: Path, problem: Exception) -> None:
    world.brought = problem
    with pytest.raises(type(problem)):
        bring_files.bring(context(world, tmp_path, seed="physical"), ["cloud"])
    assert "settle" not in world.done and files_noted(world), "the next start, or the undo, begins with that"


@pytest.mark.parametrize("problem", [Cancelled("stopped", "", ""), ConnectionFailed("newdb1 is gone", "", "")])
def test_what_no_other_way_would_help_ends_it(world: World, tmp_path: Path, problem: Exception) -> None:
    world.brought = problem
    with pytest.raises(type(problem)):
        bring_files.bring(context(world, tmp_path), ["cloud"])


def test_settling_again_finds_nothing_left(world: World, tmp_path: Path) -> None:
    world.left = True
    for _ in range(2):
        bring_files.settle(context(world, tmp_path))
    assert world.done == ["end the backup on olddb1", "settle"] * 2
    assert world.reported == ["what an interrupted try to bring files had left is cleared away"]


@pytest.mark.parametrize("noted", [True, False])
def test_the_undo_clears_files_away_where_the_record_has_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    monkeypatch.setattr(transfer, "store", lambda context: world.records)
    monkeypatch.setattr(transfer, "new_database", lambda context: SimpleNamespace(name="newdb1"))
    monkeypatch.setattr(original_accounts, "unneeded", lambda context: [])
    monkeypatch.setattr(original_accounts, "drop", lambda context, users: [])
    monkeypatch.setattr(served, "give_up", lambda context: None)
    monkeypatch.setattr(rows, "empty", lambda target, names: world.done.append("empty"))
    world.records.note(copy_change(copying=True, files=noted))
    transfer.empty(context(world, tmp_path))
    assert world.done == [*(["end the backup on olddb1", "settle"] if noted else []), "empty"]
    assert CopyState.of(world.records.facts(COPY)) == CopyState()


def test_only_physical_is_proved_before_the_window(world: World, tmp_path: Path) -> None:
    for seed in ("auto", "logical"):
        assert bring_files.prove(context(world, tmp_path, seed=seed)) == {}
    assert world.done == []
    assert bring_files.prove(context(world, tmp_path, seed="physical")) == {"files": 1, "bytes": FILES.total}
    world.decision = GuardFailed("transfer.seed: physical is not possible: olddb1 has no mariadb-backup", "", "")
    with pytest.raises(GuardFailed, match="olddb1 has no mariadb-backup"):
        bring_files.prove(context(world, tmp_path, seed="physical"))


def test_plans_say_which_way_is_taken() -> None:
    usual, physical, logical = (site(transfer={"seed": seed}).configuration for seed in ("auto", "physical", "logical"))
    shown = [" ".join(DatabaseTransfer().plan(each)) for each in (usual, physical, logical)]
    assert "where olddb1, newdb1 and newdb2 have the tool and there is 1 GiB or more, bring files: mariadb-backup on olddb1" in shown[0]
    assert "instead of copying rows, bring files: mariadb-backup on olddb1" in shown[1]
    assert "mariadb-backup" not in shown[2]
    for step in (Ready(), Window()):
        assert any("prove that files can be brought" in line for line in step.plan(physical))
        assert not any("files can be brought" in line for line in step.plan(usual))
    mixed = site(original={"database": {**usual.original.database.model_dump(by_alias=True, mode="json"), "engine": "mysql"}}).configuration
    assert "mariadb-backup" not in " ".join(DatabaseTransfer().plan(mixed))


def test_both_ways_leave_the_same_evidence() -> None:
    rows = CopyReport(("cloud",), 390, 5, 6, 7.0, None, 0.0, False, True, "wire")
    of_rows, of_files = transfer._of_rows(rows), transfer._of_files(REPORT, 5)
    assert list(of_rows) == list(of_files)
    assert of_files["read by"] == "mariadb-backup: copy 7.0 s, prepare 2.0 s, import 3.0 s"
    assert of_files["rows"] == of_rows["rows"] == 5


def test_a_state_from_before_the_key_is_no_change() -> None:
    before = json.loads(SITE.to_json())
    del before["configuration"]["transfer"]["seed"]
    assert relevant(json.dumps(before)) == relevant(SITE.to_json())
    assert relevant(site(transfer={"seed": "physical"}).to_json()) != relevant(SITE.to_json()), "the new servers need the tool then"


def test_the_tool_comes_to_new_database_servers_where_it_is_wanted() -> None:
    for seed, there in (("auto", False), ("logical", False), ("physical", True)):
        configuration = site(transfer={"seed": seed}).configuration
        assert ("mariadb-backup" in of_roles(configuration, "newdb1", database=True, management=False)) is there
        assert "mariadb-backup" not in of_roles(configuration, "newms1", database=False, management=True)


class _Asked:
    """Which servers were asked, and what the original's files amount to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.names: list[str] = []
        self.lost = ""
        self.together = threading.Barrier(3)
        hosts = [SimpleNamespace(name=name) for name in ("olddb1", "newdb1", "newdb2")]
        monkeypatch.setattr(bring_files, "original_database", lambda context: hosts[0])
        monkeypatch.setattr(bring_files, "new_database", lambda context: hosts[1])
        monkeypatch.setattr(bring_files, "replicas", lambda context: hosts[2:])
        monkeypatch.setattr(bring_files, "session", self.session)
        monkeypatch.setattr(facts, "at_most", lambda opened, names: most)
        monkeypatch.setattr(facts, "server", self.server)

    def session(self, host: Any) -> Any:
        if host.name == self.lost:
            raise ConnectionFailed(f"{host.name} is gone", "", "")
        return contextlib.nullcontext(host)

    def server(self, host: Any, *, original: bool) -> ServerFacts:
        self.together.wait(30)  # nobody's answer is waited for before the next is asked
        self.session(host)
        self.names.append(host.name)
        assert original is (host.name == "olddb1")
        return ServerFacts(host.name, DatabaseServer(host.name, newest("mariadb"), (10, 11, 6), "10.11.6"))


def decided(tmp_path: Path, seed: str) -> Decision:
    found = site(transfer={"seed": seed})
    context = Context(found, None, RunFolder(tmp_path, "test", []), CancelToken(), lambda text: None, "Test")  # type: ignore[arg-type]
    return bring_files.decide(context)[0]


def test_auto_asks_no_other_server_where_there_is_little_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = _Asked(monkeypatch, WORTH - 1)
    decision = decided(tmp_path, "auto")
    assert not decision.physical and "at most 1024 MiB; below 1.0 GiB copying rows takes no longer" in decision.why
    assert asked.names == []


@pytest.mark.parametrize(("seed", "most"), [("auto", WORTH), ("physical", 0)])
def test_the_servers_are_asked_at_the_same_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: str, most: int) -> None:
    asked = _Asked(monkeypatch, most)
    if seed == "physical":
        with pytest.raises(GuardFailed, match="olddb1 has no mariadb-backup; newdb1 has no mariadb-backup; newdb2 has"):
            decided(tmp_path, seed)
    else:
        assert decided(tmp_path, seed) == Decision(False, "olddb1 has no mariadb-backup")
    assert sorted(asked.names) == ["newdb1", "newdb2", "olddb1"]


@pytest.mark.parametrize(("seed", "lost"), [("auto", "newdb2"), ("auto", "newdb1"), ("auto", "olddb1"), ("physical", "newdb2")])
def test_rows_need_no_new_replica_and_everybody_else_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: str, lost: str
) -> None:
    asked = _Asked(monkeypatch, WORTH)
    asked.lost = lost
    if (seed, lost) == ("auto", "newdb2"):
        assert decided(tmp_path, seed) == Decision(False, "newdb2 can't be asked: newdb2 is gone")
    else:
        with pytest.raises(ConnectionFailed, match=f"{lost} is gone"):
            decided(tmp_path, seed)

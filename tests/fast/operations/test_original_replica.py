"""The original's replica in its source's place: only with a proof that it has everything, and with what was there on record first."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration import OriginalManagement
from parallel_build.errors import ConnectionFailed, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import context_helpers, original_database, original_replica
from parallel_build.operations.context_helpers import PROMOTED
from parallel_build.operations.original_replica import FOUND, lacking
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.local_host import LocalHost
from tests.fast.memory_records import Records
from tests.fast.sites import site

HERE = site(window={"confirmedDown": ["olddb1"]})
END = ["mysql-bin.000007", 4711]


def stopped(**facts: Any) -> WindowRecord:
    """The record of a window that has stopped the original's databases."""
    noted = {"server": "olddb2", "has": END, "lacks": "", "gtid": "0-1-99"}
    known = {"units": {"olddb1": "mariadb"}, "replica": noted, "end": {"position": END}}
    return WindowRecord("test", HERE.identity, opened="then", facts={"OriginalDatabase": {**known, **facts}})


def test_a_replica_with_everything_lacks_nothing() -> None:
    assert lacking(stopped()) == ""
    copied = {"DatabaseTransfer": {"copied": {"original": {"position": END}}}}
    earlier = stopped(end=None)
    earlier.facts.update(copied)
    assert lacking(earlier) == "", "stopped before it could be asked: where it was compared counts"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"replica": {"server": "olddb2", "has": ["mysql-bin.000007", 4000], "lacks": ""}}, "711 bytes of the source's binary log, from"),
        (
            {"replica": {"server": "olddb2", "has": ["mysql-bin.000006", 9000], "lacks": ""}},
            "up to mysql-bin.000006:9000, .* stopped at mysql-bin.000007",
        ),
        ({"replica": {"server": "olddb2", "has": ["mysql-bin.000008", 4], "lacks": ""}}, "up to mysql-bin.000008:4"),
        ({"replica": {"server": "olddb2", "lacks": "it does not replicate"}}, "it does not replicate"),
        ({"replica": None}, "was not noted"),
        ({"end": None}, "where the source's binary log ended was not noted"),
    ],
)
def test_anything_else_is_reported_and_refused(facts: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped(**facts))
    with pytest.raises(GuardFailed, match=f"olddb2 is not proved to have everything .*{words}"):
        original_replica.choose(stage.context)
    assert stage.records.record is not None and stage.records.written == 0
    with pytest.raises(GuardFailed, match=f"olddb1 can't be reached, and without a database .*{words}"):
        original_replica.unreachable(stage.context, stage.records.record)


class Gone(Records):
    """A record whose host on the original's side is gone."""

    gone: ParallelBuildError | None = ConnectionFailed("olddb1 can't be reached over SSH", "no route", "")

    def original_problem(self) -> ParallelBuildError | None:
        return self.gone


class Stage:
    """What an undo works with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, record: WindowRecord) -> None:
        self.records = Gone(record, HERE)
        self.reported: list[str] = []
        self.hosts: dict[str, Any] = {}
        self.context: Any = SimpleNamespace(
            site=HERE,
            configuration=HERE.configuration,
            host=lambda server: self.hosts[server.name],
            progress=self.reported.append,
            intend=lambda *_, **__: None,
            run=SimpleNamespace(record=lambda *_, **__: None),
            cancel=CancelToken(),
        )
        for module in (context_helpers, original_replica, original_database):
            monkeypatch.setattr(module, "store", lambda _: self.records)


def test_the_choice_is_on_record_before_anything_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped())
    assert original_replica.choose(stage.context).name == "olddb2"
    record = stage.records.mine()
    assert record.returning and record.facts[PROMOTED]["server"] == "olddb2"
    assert context_helpers.original_source(stage.context).name == "olddb2"
    written = stage.records.written
    assert original_replica.choose(stage.context).name == "olddb2"
    assert stage.records.written == written, "chosen once"
    original_replica.unreachable(stage.context, record)


def test_a_source_that_is_there_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped())
    stage.records.gone = None
    with pytest.raises(GuardFailed, match="olddb1 can be reached"):
        original_replica.choose(stage.context)
    original_replica.unreachable(stage.context, stage.records.record)
    assert context_helpers.original_source(stage.context).name == "olddb1"


def test_both_are_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped())
    original_replica.choose(stage.context)
    stage.context.configuration = site().configuration  # the operator has taken his word back
    with pytest.raises(GuardFailed, match="olddb1 is not started: olddb2 was promoted in its place"):
        original_database.start(stage.context)


def test_a_rollback_does_not_begin_without_a_database_to_serve_from(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped())
    with pytest.raises(GuardFailed, match=r"olddb1 can't be reached, .*back test --from-replica"):
        original_replica.unreachable(stage.context, stage.records.record)
    early = WindowRecord("test", HERE.identity, opened="then")
    original_replica.unreachable(stage.context, early)


class Replica:
    """A session to the replica."""

    def __init__(self, at: str = "0-1-99") -> None:
        self.at, self.read_only, self.done = at, "1", []  # type: ignore[var-annotated]

    def value(self, statement: str, values: Any = None) -> Any:
        return self.read_only if "read_only" in statement else self.at

    def rows(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        return [{"Master_Host": "10.91.0.13", "Master_User": "repl", "Last_SQL_Error": ""}]

    def execute(self, statement: str, values: Any = None) -> int:
        self.done.append(statement)
        if "read_only = 0" in statement:
            self.read_only = "0"
        return 0


def promoting(monkeypatch: pytest.MonkeyPatch, replica: Replica) -> Stage:
    stage = Stage(monkeypatch, stopped())
    server = original_replica.choose(stage.context)
    stage.hosts[server.name] = None
    dialect = SimpleNamespace(
        family="mariadb", read_only=("read_only",), replica_status="SHOW ALL SLAVES STATUS", stop_replica="STOP SLAVE"
    )
    monkeypatch.setattr(original_replica, "session", lambda host: contextlib.nullcontext(replica))
    monkeypatch.setattr(original_replica, "identify", lambda database: SimpleNamespace(dialect=dialect))
    monkeypatch.setattr(original_replica, "replica_position", lambda database: replica.at)
    return stage


def test_what_it_was_is_on_record_before_it_lets_anybody_write(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica()
    stage = promoting(monkeypatch, replica)
    server = HERE.configuration.original.database.replica
    assert server is not None
    for _ in range(2):
        original_replica.take_over(stage.context, server)
        found = stage.records.mine().facts[PROMOTED]
        assert found["found"] == {"read_only": "1"}
        assert found["replication"] == [{"Master_Host": "10.91.0.13", "Master_User": "repl"}]
    assert replica.done == ["STOP ALL SLAVES", "SET GLOBAL read_only = 0"] * 2
    original_replica.redundancy(stage.context, server)
    assert any("without a replica" in line for line in stage.reported) and any(
        "read_only is off until it starts again" in line for line in stage.reported
    )


def test_one_that_was_written_to_since_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica("0-1-99,0-2-1")
    stage = promoting(monkeypatch, replica)
    server = HERE.configuration.original.database.replica
    assert server is not None
    with pytest.raises(StepFailed, match="olddb2 stands at 0-1-99,0-2-1, and stood at 0-1-99"):
        original_replica.take_over(stage.context, server)
    assert replica.done == []


def test_one_that_something_keeps_read_only_is_named_with_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(Replica):
        def execute(self, statement: str, values: Any = None) -> int:
            return 0

    stage = promoting(monkeypatch, Watched())
    server = HERE.configuration.original.database.replica
    assert server is not None
    with pytest.raises(StepFailed, match=r"olddb2 is still read only.*SHOW PROCESSLIST on olddb2.*then run the same command again"):
        original_replica.take_over(stage.context, server)


class Management(LocalHost):
    """A management server's files in a folder; names are what /etc/hosts there says."""

    def __init__(self, folder: Path) -> None:
        super().__init__("oldms1")
        self.folder = folder

    def run(self, argv: Any, **options: Any) -> Result:
        if argv[0] == "getent":
            return Result(0, "10.91.0.13 STREAM\n" if argv[2] == "cloud-db.example" else "", "")
        return super().run(argv, **options)

    def write(self, path: str, content: bytes | str | Secret, *, mode: int = 0o600, owner: str = "", timeout: float = 30) -> None:
        assert (mode, owner.count(":")) == (0o640, 1) and isinstance(content, bytes)
        Path(path).write_bytes(content)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("db.cloud.host=10.91.0.13\ndb.usage.host=10.91.0.13\n", "db.cloud.host=10.91.0.14\ndb.usage.host=10.91.0.14\n"),
        ("db.cloud.host=cloud-db.example\ndb.cloud.port=3306\n", "db.cloud.host=10.91.0.14\ndb.cloud.port=3306\n"),
        (
            "db.cloud.host=x\ndb.cloud.uri=jdbc:mysql://10.91.0.13:3306/cloud?user=c\n",
            "db.cloud.host=x\ndb.cloud.uri=jdbc:mysql://10.91.0.14:3306/cloud?user=c\n",
        ),
        ("db.cloud.host=10.91.0.130\ndb.usage.host=10.91.0.13\n", "db.cloud.host=10.91.0.130\ndb.usage.host=10.91.0.14\n"),
    ],
)
def test_a_management_server_is_pointed_at_it_and_what_was_there_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, wanted: str
) -> None:
    stage = Stage(monkeypatch, stopped())
    file = tmp_path / "db.properties"
    file.write_text(text)
    file.chmod(0o640)
    monkeypatch.setattr(original_replica, "FILES", (str(file), str(tmp_path / "none")))
    stage.hosts["oldms1"] = Management(tmp_path)
    server: OriginalManagement = HERE.configuration.original.management[0]
    original_replica.point(stage.context, server, stage.records.record)
    assert file.read_text() == text, "nothing was promoted"
    original_replica.choose(stage.context)
    for _ in range(2):
        original_replica.point(stage.context, server, stage.records.record)
        assert file.read_text() == wanted
        assert Path(f"{file}{FOUND}-then").read_text() == text
    assert stage.records.mine().facts[f"{PROMOTED}/oldms1"][str(file)]["found"] == f"{file}{FOUND}-then"


def test_what_an_earlier_window_kept_is_not_taken_for_what_this_one_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage(monkeypatch, stopped())
    file = tmp_path / "db.properties"
    file.write_text("db.cloud.host=10.91.0.13\ndb.cloud.maxActive=500\n")
    file.chmod(0o640)
    Path(f"{file}{FOUND}").write_text("of an earlier version of this tool\n")
    Path(f"{file}{FOUND}-earlier").write_text("db.cloud.host=10.91.0.13\n")
    Path(f"{file}{FOUND}-then.part").write_text("db.clo")
    monkeypatch.setattr(original_replica, "FILES", (str(file),))
    stage.hosts["oldms1"] = Management(tmp_path)
    original_replica.choose(stage.context)
    original_replica.point(stage.context, HERE.configuration.original.management[0], stage.records.record)
    assert Path(f"{file}{FOUND}-then").read_text() == "db.cloud.host=10.91.0.13\ndb.cloud.maxActive=500\n"


def test_a_record_that_can_not_be_used_does_not_make_its_host_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, stopped())
    monkeypatch.setattr(type(stage.records), "original_problem", lambda self: GuardFailed("window.json is torn", "", ""))
    with pytest.raises(GuardFailed, match="olddb1 can be reached, so olddb2 does not take its place"):
        original_replica.choose(stage.context)


def test_one_that_uses_another_server_is_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage(monkeypatch, stopped())
    (tmp_path / "db.properties").write_text("db.cloud.host=10.91.0.99\n")
    (tmp_path / "db.properties").chmod(0o640)
    monkeypatch.setattr(original_replica, "FILES", (str(tmp_path / "db.properties"),))
    stage.hosts["oldms1"] = Management(tmp_path)
    original_replica.choose(stage.context)
    with pytest.raises(StepFailed, match="leads neither to olddb1 nor to olddb2"):
        original_replica.point(stage.context, HERE.configuration.original.management[0], stage.records.record)

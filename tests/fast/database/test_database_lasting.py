"""What of an interrupted seed is resumed: which tables may be kept, for which run of which server, and when a copy is left alone."""

from __future__ import annotations

import contextlib
import json

import pytest

from parallel_build.database.copy import account, cleanup, detached
from parallel_build.database.replicate import align_snapshots
from parallel_build.database.replicate.channel import Position, only, option_file
from parallel_build.database.schema.definitions import Schema, Table
from parallel_build.database.server.dialect_table import DIALECTS
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import Cancelled, ConnectionFailed, ParallelBuildError, StepFailed
from tests.fast.files_host import Files

LARGE = 200 << 20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Files:
    found = Files("newdb1")
    monkeypatch.setattr(detached, "process", lambda target: found.files.get("process", b"run 1").decode())
    return found


def host(server: Files) -> Files:
    return server


def table(name: str, *lines: str, engine: str = "InnoDB", size: int = LARGE, counter: int = 7) -> Table:
    keys = "".join(f",\n  {line}" for line in lines)
    options = f"ENGINE={engine} AUTO_INCREMENT={counter} DEFAULT CHARSET=utf8mb3"
    create = f"CREATE TABLE `{name}` (\n  `id` bigint NOT NULL AUTO_INCREMENT,\n  PRIMARY KEY (`id`){keys}\n) {options}"
    return Table("cloud", name, engine, create, (), ("id",), 0, size, 0)


def definitions(*tables: Table) -> list[Schema]:
    return [Schema("cloud", "utf8mb3", "utf8mb3_general_ci", tables)]


USAGE = table("usage", "KEY `i` (`id`)")
EVENT = table("event")


def interrupted(
    server: Files, *, position: int = 100, whole: str = "cloud.usage\ncloud.host\n", tables: tuple[Table, ...] = (USAGE, EVENT)
) -> None:
    """What a worker leaves that was killed, and what the tool had written."""
    found = definitions(*tables)
    order = detached.CopyManifest("olddb1", "run 1", ["cloud"], 3, 1, {"cloud": []}, detached.digests(found), detached.groups(found))
    record = cleanup.read_record(host(server)) or cleanup.Record(["cloud"], origin="olddb1", server="run 1")
    cleanup.write_record(host(server), record)
    server.write(f"{cleanup.RUN_FOLDER}/order.json", detached.text(order))
    server.write(f"{cleanup.RUN_FOLDER}/status.json", json.dumps({"state": "running", "position": ["log.000001", str(position)]}))
    server.write(f"{cleanup.RUN_FOLDER}/whole", whole)


def kept(server: Files, *tables: Table) -> dict[str, int]:
    found = align_snapshots.unchanged(detached.kept_layers(host(server), "olddb1"), definitions(*tables))
    return {name: layer["position"][1] for layer in found for name in layer["tables"]}


CHILD = table("nics", "CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `vm` (`id`) ON DELETE CASCADE", size=1 << 20)
PARENT = table("vm", "CONSTRAINT `up` FOREIGN KEY (`id`) REFERENCES `usage_server`.`account` (`id`)")


@pytest.mark.parametrize("content", [b"", b'{"schemas": ["cloud"], "fin', b"null", b'{"of": "another version"}', b"\xff\xfe"])
def test_what_nobody_can_read_is_no_copy_that_was_never_there(server: Files, content: bytes) -> None:
    assert cleanup.read_record(host(server)) is None
    interrupted(server)
    server.files[cleanup.RECORD] = content
    with pytest.raises(StepFailed, match=f"newdb1: {cleanup.RECORD} can't be read"):
        cleanup.read_record(host(server))
    interrupted_order = f"{cleanup.RUN_FOLDER}/order.json"
    server.files.pop(cleanup.RECORD)
    server.files[interrupted_order] = content
    with pytest.raises(StepFailed, match=f"newdb1: {interrupted_order} can't be read"):
        detached.keep(host(server))


def test_whatever_a_snapshot_covers_may_be_kept() -> None:
    found = detached.digests(definitions(USAGE, CHILD, table("vm"), table("small", size=1 << 20), table("locks", engine="MEMORY")))
    assert found.keys() == {"cloud.usage", "cloud.nics", "cloud.vm", "cloud.small"}


def test_tables_tied_by_foreign_keys_are_one_group() -> None:
    tables = definitions(USAGE, CHILD, PARENT, table("alone"), table("self", "CONSTRAINT `s` FOREIGN KEY (`id`) REFERENCES `self` (`id`)"))
    assert detached.groups(tables) == [["cloud.nics", "cloud.vm", "usage_server.account"], ["cloud.self"]]
    assert detached.ties(tables)["cloud.vm"] == ["cloud.nics", "usage_server.account"]


@pytest.mark.parametrize(("whole", "expected"), [("cloud.nics", {}), ("cloud.vm\ncloud.nics", {"cloud.nics": 100, "cloud.vm": 100})])
def test_of_a_group_all_are_kept_or_none(server: Files, whole: str, expected: dict[str, int]) -> None:
    tables = (CHILD, table("vm"))
    interrupted(server, whole=f"{whole}\n", tables=tables)
    detached.keep(host(server))
    assert kept(server, *tables) == expected
    assert kept(server, CHILD, table("vm", "KEY `other` (`id`)")) == {}, "a definition changed, and with it goes what is tied to it"


def test_a_definition_is_the_same_whatever_number_comes_next() -> None:
    digest = detached.digests(definitions(USAGE))
    assert detached.digests(definitions(table("usage", "KEY `i` (`id`)", counter=99))) == digest
    assert detached.digests(definitions(table("usage"))) != digest


def test_whole_tables_are_kept_with_the_position_of_their_snapshot(server: Files) -> None:
    interrupted(server)
    detached.keep(host(server))
    detached.keep(host(server))
    assert kept(server, USAGE, EVENT) == {"cloud.usage": 100}
    detached.decide(host(server), detached.kept_layers(host(server), "olddb1"))
    interrupted(server, position=300, whole="cloud.event\n")
    detached.keep(host(server))
    assert kept(server, USAGE, EVENT) == {"cloud.usage": 100, "cloud.event": 300}
    record = cleanup.read_record(host(server))
    assert record and [layer["position"][1] for layer in record.layers] == [100, 300], "in the order of the log"


@pytest.mark.parametrize("fault", ["changed", "gone", "another original", "restarted", "finished"])
def test_what_is_in_doubt_is_not_kept(server: Files, fault: str) -> None:
    interrupted(server)
    detached.keep(host(server))
    if fault == "changed":
        assert kept(server, table("usage"), EVENT) == {}
    elif fault == "gone":
        assert kept(server, EVENT) == {}
    elif fault == "another original":
        assert detached.kept_layers(host(server), "olddb9") == []
    elif fault == "restarted":
        server.files["process"] = b"run 2"
        assert kept(server, USAGE) == {}
    else:
        cleanup.write_record(host(server), cleanup.Record(["cloud"], finished=True))
        assert kept(server, USAGE) == {}


def test_what_is_dropped_is_not_taken_for_kept_later(server: Files) -> None:
    interrupted(server)
    detached.keep(host(server))
    detached.decide(host(server), [])
    assert kept(server, USAGE, EVENT) == {}


@pytest.mark.parametrize(
    "reason",
    [
        Cancelled("the engine asked to stop", "somebody pressed ^C", "run the same command again"),
        ConnectionFailed("newdb1 can't be reached", "no route", "repair the network, then run the same command again"),
    ],
)
def test_a_copy_continues_when_its_watcher_goes(server: Files, monkeypatch: pytest.MonkeyPatch, reason: Exception) -> None:
    reported: list[str] = []
    monkeypatch.setattr(cleanup, "settle", lambda target: pytest.fail("the worker was ended"))
    with pytest.raises(type(reason)), detached.Watch(host(server), host(server), lasts=True, progress=reported.append) as watch:
        watch.started = True
        raise reason
    assert "continues by itself for at most 1 day" in reported[0]


@pytest.mark.parametrize(("lasts", "started", "reason"), [(False, True, Cancelled), (True, False, Cancelled), (True, True, StepFailed)])
def test_any_other_copy_is_cleared(
    server: Files, monkeypatch: pytest.MonkeyPatch, lasts: bool, started: bool, reason: type[ParallelBuildError]
) -> None:
    cleared: list[str] = []
    monkeypatch.setattr(cleanup, "settle", lambda target: cleared.append("worker"))
    monkeypatch.setattr(account, "revoke", lambda opened: cleared.append("account"))
    monkeypatch.setattr(detached, "session", lambda target: contextlib.nullcontext())
    watch = detached.Watch(host(server), host(server), lasts=lasts, progress=lambda text: None, started=started)
    with pytest.raises(reason), watch:
        raise reason("stopped", "by the test", "none")
    assert cleared == (["account", "worker"] if lasts else ["worker"]), "the account of another copy is its own block's"


def test_a_channel_for_some_tables_does_not_continue_by_itself() -> None:
    dialect = next(entry for entry in DIALECTS if entry.family == "mysql")
    text = option_file(DatabaseServer("newdb1", dialect, dialect.oldest, ""), only(["cloud_usage.cloud_usage"]), waiting=True)
    assert "replicate_wild_do_table = original:cloud\\\\_usage.cloud\\\\_usage" in text.splitlines()
    assert "skip_replica_start" in text.splitlines()


def test_positions_are_in_the_order_of_the_log() -> None:
    found = [Position("bin.1000000", 4), Position("bin.999999", 900), Position("bin.999999", 4)]
    assert sorted(found, key=align_snapshots.order) == found[::-1]

"""What a binary log may not hold is a refusal; and how old a comparison of everything may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.database.compare.compare import Comparison
from parallel_build.database.replicate import channel
from parallel_build.database.replicate.baseline import Baseline, changed_ranges
from parallel_build.database.replicate.changed_rows import Changes
from parallel_build.database.replicate.channel import Position
from parallel_build.database.replicate.log_proof import LogFacts, gaps
from parallel_build.database.schema.definitions import Table
from parallel_build.errors import GuardFailed
from parallel_build.guards.original import binary_log_for_replication, source_is_the_source
from parallel_build.guards.seed import seed_follows
from parallel_build.operations import original_database
from parallel_build.records.seed import SeedRecord
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.guards.test_guards_seed import fresh
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

GOOD = LogFacts(on=True, format="ROW", image="FULL")
REPLICATE = site(transfer={"method": "replicate"})
AT = Position("mysql-bin.000003", 4711)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(GOOD, on=False), "writes no binary log"),
        (replace(GOOD, format="MIXED"), "binlog_format is MIXED"),
        (replace(GOOD, image="MINIMAL"), "binlog_row_image is MINIMAL"),
        (replace(GOOD, only=("cloud",)), "does not log cloud_usage (binlog_do_db = cloud)"),
        (replace(GOOD, only=("Cloud", "cloud_usage")), "does not log cloud (binlog_do_db = Cloud, cloud_usage)"),
        (replace(GOOD, ignored=("tools", "CLOUD")), "does not log cloud (binlog_ignore_db = tools, CLOUD)"),
        (replace(GOOD, applies_from=("10.91.0.14",)), "applies changes of 10.91.0.14 and does not log them"),
        (replace(GOOD, sessions=("app@10.0.0.1 (connection 8): binlog_format = STATEMENT",)), "app@10.0.0.1 (connection 8)"),
    ],
)
def test_each_gap_is_named_and_refused_for_replicate_only(found: LogFacts, words: str) -> None:
    named = gaps(found, "olddb1", ["cloud", "cloud_usage"])
    assert [words in gap.fact for gap in named] == [True]
    assert named[0].cause and "dump" in named[0].remedy
    with pytest.raises(GuardFailed) as caught:
        binary_log_for_replication(REPLICATE, replace(GOOD_OLD, log=found), GOOD_NEW)
    assert words in str(caught.value)
    binary_log_for_replication(site(), replace(GOOD_OLD, log=found), GOOD_NEW)


@pytest.mark.parametrize(
    "found",
    [
        GOOD,
        replace(GOOD, format=""),
        replace(GOOD, only=("cloud", "cloud_usage")),
        replace(GOOD, ignored=("tools",)),
        replace(GOOD, applies_from=("10.91.0.14",), logs_applied=True),
    ],
)
def test_a_log_that_holds_everything_has_no_gap(found: LogFacts) -> None:
    assert gaps(found, "olddb1", ["cloud", "cloud_usage"]) == []
    binary_log_for_replication(REPLICATE, replace(GOOD_OLD, log=found), GOOD_NEW)


def test_an_original_may_follow_its_own_replica_and_nobody_else() -> None:
    replica = REPLICATE.configuration.original.database.replica
    assert replica is not None
    for name, addresses in ((replica.address, []), (replica.name, []), ("db2.example", [replica.address])):
        source_is_the_source(REPLICATE, replace(GOOD_OLD, replicates_from=name, upstreams={name: addresses}), GOOD_NEW)
    strange: tuple[dict[str, list[str]], ...] = ({"10.91.0.99": ["10.91.0.99"]}, {replica.address: [], "10.91.0.99": []})
    for upstreams in strange:
        with pytest.raises(GuardFailed, match=r"is a replica of 10\.91\.0\.99"):
            source_is_the_source(REPLICATE, replace(GOOD_OLD, upstreams=upstreams), GOOD_NEW)
    with pytest.raises(GuardFailed, match="read only"):
        source_is_the_source(REPLICATE, replace(GOOD_OLD, upstreams={replica.address: []}, read_only=True), GOOD_NEW)


def test_a_seed_that_leaves_something_out_does_not_count() -> None:
    with pytest.raises(GuardFailed, match="replicate_ignore_table"):
        seed_follows(REPLICATE, GOOD_OLD, fresh(left_out="replicate_ignore_table = cloud.vm"))


def test_what_a_channel_leaves_out_is_named() -> None:
    status = channel.Status("10.91.0.13", True, True, 0, AT, AT, "", True, {"Replicate_Wild_Do_Table": r"cloud.%,cloud\_usage.%"})
    new = cast(Any, SimpleNamespace(row=lambda statement, values: None))
    assert channel.left_out(new, status, ["cloud", "cloud_usage"]) == ""
    narrow = replace(status, filters={"Replicate_Wild_Do_Table": "cloud.%", "Replicate_Ignore_Table": "cloud.vm"})
    assert (
        channel.left_out(new, narrow, ["cloud", "cloud_usage"])
        == r"Replicate_Wild_Do_Table lacks cloud\_usage.%; Replicate_Ignore_Table = cloud.vm"
    )
    skipping = cast(Any, SimpleNamespace(row=lambda statement, values: {"Value": "ALL"} if "skip" in values[0] else None))
    assert "skip_errors = ALL" in channel.left_out(skipping, status, ["cloud"])


def test_changes_in_a_table_that_is_not_there_are_a_doubt() -> None:
    vm = cast(Table, SimpleNamespace(schema="cloud", name="vm", primary_key=["id"], data_bytes=10))
    known = Changes(AT, 1, {("cloud", "vm"): {(7,)}})
    assert known.doubted([vm]) == ""
    assert [part.where for part in changed_ranges([vm], known)] == ["`id` IN (7)"]
    assert "cloud.gone" in replace(known, keys={("cloud", "gone"): {(7,)}}).doubted([vm])
    assert "cloud.gone" in replace(known, whole=frozenset({("cloud", "gone")})).doubted([vm])
    assert not replace(known, events=0, doubts=("x",)).none


class Sheet:
    """A record in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def facts(self) -> dict[str, Any]:
        return self.kept

    def remember(self, **facts: Any) -> None:
        self.kept |= facts


def test_renewals_do_not_chain_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    record = SeedRecord.__new__(SeedRecord)
    record._sheet = cast(Any, Sheet())
    week = timedelta(days=7)
    assert record.since(week) is None, "nothing was compared"
    record.compared(Baseline(Comparison("a", "b"), AT, 0.0))
    first = record.since(week)
    record.compared(Baseline(Comparison("a", "b"), Position("mysql-bin.000009", 4), 0.0, changed=3))
    assert (first, record.since(week)) == (AT, Position("mysql-bin.000009", 4))
    assert record.since(timedelta(0)) is None
    sheet = cast(Any, record._sheet)
    sheet.kept["baseline"]["everything compared"] = (datetime.now(UTC) - week).isoformat()
    assert record.since(week) is None
    sheet.kept["baseline"]["everything compared"] = (datetime.now(UTC) + week).isoformat()
    assert record.since(week) is None, "a clock was wrong, so nobody knows how old it is"
    assert record.same_at is not None
    del sheet.kept["baseline"]["everything compared"]
    assert record.since(week) is None, "a record of an older version does not say when"


@pytest.mark.parametrize("linked", [False, True])
def test_files_that_can_not_be_seen_have_not_stood_still(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    host, context = LocalHost(), cast(Any, SimpleNamespace())
    monkeypatch.setattr(original_database, "original_database", lambda _: host)
    logs, disk = tmp_path / "logs", tmp_path / "disk"
    disk.mkdir()
    if linked:
        logs.symlink_to(disk)
    else:
        disk.rename(logs)
    known = {"folder": str(tmp_path / "data"), "folders": [str(logs)]}
    assert original_database._at_rest(context, known) == original_database.UNKNOWN
    (logs / "ib_logfile0").write_text("x")
    known["rest"] = original_database._at_rest(context, known)
    assert not original_database.ran_since(context, known)
    (logs / "ib_logfile0").write_text("xy")
    assert original_database.ran_since(context, known), "redo logs in a folder of their own"
    (logs / "ib_logfile0").unlink()
    assert original_database.ran_since(context, known)
    assert original_database.ran_since(context, {**known, "rest": original_database.UNKNOWN})
    assert not original_database.ran_since(context, {"folder": str(logs)}), "this window has not stopped it"

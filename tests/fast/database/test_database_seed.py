"""What is known of a seed, and what follows from it: used up by a window, found different, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare.compare import Comparison
from parallel_build.database.compare.judged import Difference
from parallel_build.database.copy.copy import CopyReport
from parallel_build.database.replicate import channel, seed
from parallel_build.database.replicate.baseline import Baseline, leave_out_what_promoting_sets
from parallel_build.database.replicate.channel import Position, filters, option_file
from parallel_build.database.server.dialect_table import DIALECTS
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.database.server.settings import server_values
from parallel_build.errors import ComparisonFailed, GuardFailed, StepFailed
from parallel_build.operations import compare_seed, takeover
from parallel_build.operations.context import Context
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.seed import SeedRecord
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.host import Connections
from parallel_build.steps import database_seed
from parallel_build.steps.database_seed import DatabaseSeed
from parallel_build.steps.database_transfer import DatabaseTransfer
from tests.fast.files_host import Files
from tests.fast.sites import site

SITE = site(transfer={"method": "replicate", "bytesPerSecond": 20_000_000})
AT = Position("mysql-bin.000003", 4711)
REPORT = CopyReport(
    ("cloud",),
    tables=305,
    rows=12,
    bytes=3400,
    seconds=1.5,
    position=("mysql-bin.000003", 4711),
    locked_seconds=0.001,
    compressed=False,
    tls=True,
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Files:
    found = Files("olddb1")
    for module in (database_seed, compare_seed, takeover):
        monkeypatch.setattr(module, "original_database", lambda _: found)
        if hasattr(module, "store"):
            monkeypatch.setattr(module, "store", lambda context: WindowStore(found, context.site))
    return found


@pytest.fixture
def record(server: Files) -> SeedRecord:
    return SeedRecord(server, SITE)


def known(record: SeedRecord) -> tuple[Position | None, Position | None, bool, bool]:
    """Position of a copy that nothing follows, position at which both were the same, whether compared at all, whether taken over."""
    return record.copied_at, record.same_at, record.baseline is not None, record.taken is not None


def context(folder: Path) -> Context:
    cancel = CancelToken()
    return Context(SITE, Connections(SITE, cancel), RunFolder(folder, "test", []), cancel, lambda _: None)


def verdict(*differences: Difference) -> Comparison:
    return Comparison("olddb1", "newdb1", list(differences), rows=12)


def window(server: Files, **changes: Any) -> None:
    """A window of this stack on the original's host."""
    found = WindowRecord(**{"stack": "test", "identity": SITE.identity, "opened": "2026-06-01T12:00:00+00:00", **changes})
    server.files[WindowStore(server, SITE).path] = json.dumps(found.__dict__).encode()


def test_a_finished_copy_is_known_until_something_follows_it(record: SeedRecord) -> None:
    assert known(record) == (None, None, False, False)
    record.copied(REPORT)
    assert known(record) == (AT, None, False, False)
    record.followed()
    assert known(record) == (None, None, False, False)
    assert record.facts()["copy"]["rows"] == 12


def test_only_a_comparison_without_differences_is_one_to_continue_from(record: SeedRecord) -> None:
    record.copied(REPORT)
    record.followed()
    record.compared(Baseline(verdict(), AT, 0.001))
    assert known(record) == (None, AT, True, False)
    record.compared(Baseline(verdict(Difference("rows", "cloud", "table host", "id=2")), AT, 0.001, changed=3))
    assert known(record) == (None, None, True, False)
    assert "id=2" in str(record.baseline)
    record.compared(Baseline(verdict(), AT, 0.001, changed=3))
    record.differs(["cloud: table event: rows: id=9"])
    assert known(record) == (None, None, True, False)
    record.doubted()
    assert known(record) == (None, None, False, False)


def test_a_new_copy_forgets_what_was_known_of_the_last_one(record: SeedRecord) -> None:
    record.compared(Baseline(verdict(), AT, 0.001))
    record.take()
    assert known(record) == (None, AT, True, True)
    record.copied(REPORT)
    assert known(record) == (AT, None, False, False)
    record.forget()
    assert record.facts() == {}


def test_another_stack_knows_nothing_of_it(record: SeedRecord, server: Files) -> None:
    record.copied(REPORT)
    [path] = server.files
    kept = json.loads(server.files[path])
    server.files[path] = json.dumps({**kept, "identity": "another"}).encode()
    assert record.facts() == {}


def test_going_back_leaves_an_unused_seed_and_marks_a_used_one(record: SeedRecord, server: Files, tmp_path: Path) -> None:
    record.copied(REPORT)
    window(server)
    unused = context(tmp_path)
    assert DatabaseSeed().verify(unused)["copy"]["rows"] == 12
    assert unused.pending == ""
    record.take()
    used = context(tmp_path)
    DatabaseSeed().verify(used)
    assert used.pending == database_seed.AGAIN
    assert not used.acted


@pytest.mark.parametrize("known", [{"compared": {"rows": 1}}, {"copying": True}, {"copied": {"rows": 1}}])
def test_a_window_that_began_to_take_over_has_used_the_seed_up(
    record: SeedRecord, server: Files, tmp_path: Path, known: dict[str, Any]
) -> None:
    record.copied(REPORT)
    window(server, facts={"DatabaseTransfer": known})
    here = context(tmp_path)
    DatabaseSeed().verify(here)
    assert here.pending == database_seed.AGAIN


def test_nothing_is_touched_in_another_stacks_window(record: SeedRecord, server: Files, tmp_path: Path) -> None:
    record.copied(REPORT)
    window(server, identity="another")
    with pytest.raises(GuardFailed, match="held by stack"):
        DatabaseSeed().apply(context(tmp_path))


@pytest.mark.parametrize("fault", ["none", "different", "taken"])
def test_a_window_never_takes_over_what_is_not_the_originals(record: SeedRecord, server: Files, tmp_path: Path, fault: str) -> None:
    window(server)
    if fault != "none":
        record.copied(REPORT)
        record.compared(Baseline(verdict(), AT, 0.001))
    if fault == "different":
        record.differs(["cloud: table host: rows: id=2"])
    if fault == "taken":
        record.take()
    with pytest.raises(GuardFailed, match="no seed to take over") as caught:
        takeover.take_over(context(tmp_path))
    assert "transfer.method to dump" in caught.value.remedy


def test_what_promoting_sets_is_no_difference_before() -> None:
    found = verdict(
        Difference("auto_increment", "cloud", "table event", "auto_increment '5' became '4'"),
        Difference("definition", "cloud", "event tidy", "status 'ENABLED' became 'DISABLED'"),
        Difference("definition", "cloud", "event tidy", "body 'a' became 'b'"),
    )
    leave_out_what_promoting_sets(found)
    assert [difference.detail for difference in found.differences] == ["body 'a' became 'b'"]


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_the_filter_file_keeps_the_new_source_read_only(family: str) -> None:
    dialect = next(entry for entry in DIALECTS if entry.family == family)
    text = option_file(DatabaseServer("newdb1", dialect, dialect.oldest, ""), filters(["cloud", "cloud_usage"]))
    lines = text.splitlines()
    assert "read_only = 1" in lines
    assert channel.FOLLOWING.keys() == channel.ON_ITS_OWN.keys()
    own = server_values(engine="mariadb", server_id=7, memory=4096, managers=1, role="source")
    assert all(own[name] in (value, "OFF") for name, value in channel.ON_ITS_OWN.items()), "afterwards it has its configured values"
    assert len([line for line in lines if "wild_do_table" in line]) == 2
    assert "cloud\\\\_usage.%" in text


def test_the_texts_say_what_is_done_and_how_it_is_undone() -> None:
    seed, transfer, configuration = DatabaseSeed(), DatabaseTransfer(), SITE.configuration
    plan = " | ".join(seed.plan(configuration))
    for words in ("CREATE USER 'cutover_repl'@'10.91.0.31'", "at most 20,000,000 bytes a second", "channel `original`", "olddb1", "newdb2"):
        assert words in plan
    undo = " | ".join(seed.undo(configuration))
    for words in ("DROP USER cutover_repl, cutover_copy", "empty cloud, cloud_usage", "/etc/mysql/mariadb.conf.d/zzz-cutover-original.cnf"):
        assert words in undo
    assert "last position of olddb1" in transfer.plan(configuration)[0]
    assert "still follows" in transfer.undo(configuration)[0]
    assert "copy cloud" in transfer.plan(site().configuration)[1]


def test_new_servers_that_differ_from_each_other_are_seeded_again(
    record: SeedRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = verdict(Difference("rows", "cloud", "table event", "all rows: 5 rows and 6"))
    monkeypatch.setattr(seed, "compare_tiers", lambda *_, **__: found)
    record.doubted()
    tiers = [SimpleNamespace(host=SimpleNamespace(name=name)) for name in ("newdb1", "newdb2")]
    with pytest.raises(ComparisonFailed, match=r"newdb2 does not hold what newdb1 does: .*table event.*seeds again"):
        DatabaseSeed()._compare_tiers(context(tmp_path), record, *cast(Any, tiers))
    assert record.same_at is None
    assert record.baseline is not None, "which is what the next `up` begins again on"


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("mariadb", f"`STOP SLAVE '{channel.CHANNEL}'` and `RESET SLAVE '{channel.CHANNEL}' ALL` by hand"),
        ("mysql", f"`STOP REPLICA FOR CHANNEL '{channel.CHANNEL}'` and `RESET REPLICA ALL FOR CHANNEL '{channel.CHANNEL}'` by hand"),
    ],
)
def test_a_channel_that_stays_is_named_with_the_statements_that_remove_it(monkeypatch: pytest.MonkeyPatch, engine: str, words: str) -> None:
    dialect = next(each for each in DIALECTS if each.family == engine and (engine == "mariadb" or each.stop_replica == "STOP REPLICA"))
    server = SimpleNamespace(name="newdb1", family=engine, dialect=dialect)
    done: list[str] = []
    monkeypatch.setattr(channel, "identify", lambda opened: server)
    monkeypatch.setattr(channel, "read_status", lambda opened, found: "still there")
    opened: Any = SimpleNamespace(execute=done.append)
    with pytest.raises(StepFailed) as caught:
        channel.end(cast(Any, None), opened)
    assert words in caught.value.remedy
    assert [f"`{statement}`" in caught.value.remedy for statement in done] == [True, True]

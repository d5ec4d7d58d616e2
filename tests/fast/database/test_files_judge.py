"""Whether table files can be brought as they are: each fact that is in the way, by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_build.configuration.database_combinations import Family
from parallel_build.configuration.preparation import Seed
from parallel_build.database.physical.facts import SERIES, _why_unfit
from parallel_build.database.physical.judge import ROOM, WORTH, Decision, Files, ServerFacts, decide, servers_fit
from parallel_build.database.schema.definitions import Table
from parallel_build.database.server.dialects import DatabaseServer, newest
from parallel_build.errors import GuardFailed


def server(name: str, family: Family = "mariadb", version: tuple[int, int, int] = (10, 11, 6)) -> DatabaseServer:
    return DatabaseServer(name, newest(family), version, ".".join(map(str, version)))


OLD = ServerFacts("olddb1", server("olddb1"), tool=(10, 11))
NEW = ServerFacts("newdb1", server("newdb1", version=(10, 11, 19)), tool=(10, 11), free=100 << 30)
REPLICA = replace(NEW, name="newdb2", server=server("newdb2"))
FILES = Files(2 << 30, 200 << 20, ("cloud.host",))


def asked(wanted: Seed, old: ServerFacts = OLD, new: ServerFacts = NEW, files: Files = FILES) -> Decision:
    return decide(wanted, old, [new, REPLICA], files)


@pytest.mark.parametrize("wanted", ["auto", "physical"])
def test_files_are_brought_between_two_servers_of_one_series(wanted: Seed) -> None:
    assert asked(wanted).physical


def test_logical_is_logical_whatever_is_possible() -> None:
    assert asked("logical") == Decision(False, "transfer.seed is logical")


@pytest.mark.parametrize(
    ("old", "new", "files", "words", "remedy"),
    [
        (replace(OLD, tool=None), NEW, FILES, "olddb1 has no mariadb-backup", "install mariadb-backup 10.11 on olddb1"),
        (OLD, replace(NEW, tool=None), FILES, "newdb1 has no mariadb-backup", "install mariadb-backup 10.11 on newdb1"),
        (replace(OLD, tool=(10, 6)), NEW, FILES, "its mariadb-backup is of 10.6", "install mariadb-backup 10.11 on olddb1"),
        (OLD, replace(NEW, server=server("newdb1", version=(11, 4, 2)), tool=(11, 4)), FILES, "newdb1 MariaDB 11.4.2", "install 10.11 on newdb1"),
        (replace(OLD, server=server("olddb1", "mysql", (8, 4, 5))), NEW, FILES, "olddb1 runs MySQL 8.4.5", "copy the rows"),
        (OLD, replace(NEW, server=server("newdb1", "mysql", (9, 7, 0))), FILES, "newdb1 runs MySQL 9.7.0", "copy the rows"),
        (replace(OLD, page_size=65536), NEW, FILES, "innodb_page_size is 65536 on olddb1 and 16384 on newdb1", "innodb_page_size = 65536"),
        (OLD, replace(NEW, table_names=1), FILES, "lower_case_table_names is 0 on olddb1 and 1 on newdb1", "lower_case_table_names = 0"),
        (replace(OLD, encrypted="the redo log is"), NEW, FILES, "olddb1: the redo log is encrypted at rest", "copy the rows"),
        (replace(OLD, galera=True), NEW, FILES, "Galera", "copy the rows"),
        (OLD, NEW, replace(FILES, unfit=("cloud.log is of engine MyISAM",)), "cloud.log is of engine MyISAM", "copy the rows"),
        (OLD, replace(NEW, free=2 << 30), FILES, "newdb1: 2.0 GiB are free", "give newdb1 a larger disk"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_refused_or_leads_to_rows(old: ServerFacts, new: ServerFacts, files: Files, words: str, remedy: str) -> None:
    with pytest.raises(GuardFailed) as caught:
        asked("physical", old, new, files)
    assert "transfer.seed: physical is not possible" in caught.value.fact
    assert words in caught.value.fact
    assert remedy in caught.value.remedy
    assert "set transfer.seed to auto or logical" in caught.value.remedy
    found = asked("auto", old, new, files)
    assert not found.physical
    assert words in found.why


def test_the_replica_counts_as_the_new_source_does() -> None:
    with pytest.raises(GuardFailed, match="newdb2 has no mariadb-backup"):
        decide("physical", OLD, [NEW, replace(REPLICA, tool=None)], FILES)


def test_everything_in_the_way_is_named_at_once() -> None:
    with pytest.raises(GuardFailed) as caught:
        asked("physical", replace(OLD, tool=None, page_size=4096, encrypted="3 tablespace(s) are"), replace(NEW, free=0))
    for words in ("no mariadb-backup", "innodb_page_size", "encrypted", "are free"):
        assert words in caught.value.fact


def test_auto_brings_files_from_a_gigabyte_on() -> None:
    assert not asked("auto", files=Files(WORTH - 1, 0)).physical
    assert "below" in asked("auto", files=Files(WORTH - 1, 0)).why
    assert asked("auto", files=Files(WORTH, 0)).physical
    assert asked("physical", files=Files(1000, 0)).physical


def test_room_is_for_all_that_travels() -> None:
    needed = round(FILES.total * 1.05) + ROOM
    assert asked("physical", new=replace(NEW, free=needed)).physical
    with pytest.raises(GuardFailed, match="are needed"):
        asked("physical", new=replace(NEW, free=needed - 1))


def test_files_are_looked_at_only_where_the_servers_fit() -> None:
    assert servers_fit(OLD, [NEW])
    assert not servers_fit(replace(OLD, tool=None), [NEW])
    assert servers_fit(OLD, [replace(NEW, free=0)])  # room is judged with the files


def table(create: str = "CREATE TABLE `t` (`a` int) ENGINE=InnoDB", engine: str = "InnoDB", name: str = "t") -> Table:
    return Table("cloud", name, engine, create, (), (), 1, 16384, 0)


@pytest.mark.parametrize(
    ("of", "in_system", "row_format", "words"),
    [
        (table(), False, "dynamic", ""),
        (table(engine="MyISAM"), False, "dynamic", "engine MyISAM"),
        (table(engine="MEMORY"), False, "dynamic", "engine MEMORY"),
        (table(name="a-b"), False, "dynamic", "spelt differently"),
        (table(name="größe"), False, "dynamic", "spelt differently"),
        (table("CREATE TABLE `t` (`a` int) ENGINE=InnoDB\n PARTITION BY HASH (`a`)"), False, "dynamic", "partitioned"),
        (table("CREATE TABLE `t` (`a` text, FULLTEXT KEY `k` (`a`)) ENGINE=InnoDB"), False, "dynamic", "full-text"),
        (table("CREATE TABLE `t` (`fulltext` int COMMENT 'PARTITION BY FULLTEXT') ENGINE=InnoDB"), False, "dynamic", ""),
        (table(), True, "dynamic", "system tablespace"),
        (table("CREATE TABLE `t` (`a` int) ENGINE=InnoDB DATA DIRECTORY='/fast/'"), False, "dynamic", "folder of its own"),
        (table(), False, "compact", "row format compact"),
        (table("CREATE TABLE `t` (`a` int) ENGINE=InnoDB ROW_FORMAT=COMPACT"), False, "compact", ""),
    ],
)
def test_a_table_whose_file_cannot_be_taken_in_is_known(of: Table, in_system: bool, row_format: str, words: str) -> None:
    found = _why_unfit(of, in_system, row_format, "dynamic")
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)", ("10", "11")),
        ("/usr/bin/mariabackup based on MariaDB server 10.6.16-MariaDB Linux (x86_64)", ("10", "6")),
        ("mariadb-backup based on MariaDB server 11.4.5-MariaDB debian-linux-gnu (x86_64)", ("11", "4")),
    ],
)
def test_the_series_that_a_tool_says(text: str, series: tuple[str, str]) -> None:
    match = SERIES.search(text)
    assert match is not None
    assert match.groups() == series

"""Which server is which, and which transfer methods there are."""

from __future__ import annotations

import pytest

from parallel_build.configuration.database_combinations import COMBINATIONS, Family, Method, families_refuse
from parallel_build.database.copy.account import read_grants
from parallel_build.database.server.dialect_table import Version
from parallel_build.database.server.dialects import DatabaseServer, combination, dialect_of, parse_version, supported
from parallel_build.errors import GuardFailed


def server(family: Family, version: Version, name: str = "db") -> DatabaseServer:
    dialect = dialect_of(family, version)
    assert dialect is not None
    return DatabaseServer(name, dialect, version, ".".join(map(str, version)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.11.19-MariaDB-0+deb12u1-log", ("mariadb", (10, 11, 19))),
        ("5.5.5-10.6.12-MariaDB", ("mariadb", (10, 6, 12))),
        ("8.4.5", ("mysql", (8, 4, 5))),
        ("9.7.4-2", ("mysql", (9, 7, 4))),
        ("5.7.44-log", ("mysql", (5, 7, 44))),
        ("10.5.22-MariaDB-log", ("mariadb", (10, 5, 22))),
        ("10.3.39-MariaDB-0ubuntu0.20.04.2", ("mariadb", (10, 3, 39))),
        ("10.2.11-MariaDB", ("mariadb", (10, 2, 11))),
    ],
)
def test_versions(text: str, expected: tuple[str, Version]) -> None:
    assert parse_version(text) == expected


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a database server's version"):
        parse_version("unknown")


def test_the_statement_of_the_binary_log_position_follows_the_version() -> None:
    assert server("mysql", (8, 0, 40)).dialect.log_status == "SHOW MASTER STATUS"
    assert server("mysql", (8, 4, 0)).dialect.log_status == "SHOW BINARY LOG STATUS"
    assert server("mysql", (9, 7, 4)).dialect.log_status == "SHOW BINARY LOG STATUS"
    assert server("mariadb", (10, 11, 19)).dialect.log_status == "SHOW MASTER STATUS"
    assert server("mysql", (5, 7, 44)).dialect.log_status == "SHOW MASTER STATUS"
    assert dialect_of("mysql", (5, 6, 51)) is None and dialect_of("mariadb", (10, 1, 48)) is None


@pytest.mark.parametrize(
    ("old", "new", "method"),
    [
        (("mariadb", (10, 11, 19)), ("mariadb", (10, 11, 19)), "replicate"),
        (("mariadb", (10, 6, 12)), ("mariadb", (10, 11, 19)), "replicate"),
        (("mysql", (9, 7, 4)), ("mysql", (9, 7, 4)), "replicate"),
        (("mysql", (8, 4, 3)), ("mysql", (9, 7, 4)), "replicate"),
        (("mysql", (8, 0, 40)), ("mysql", (9, 7, 4)), "dump"),
        (("mariadb", (10, 11, 19)), ("mysql", (9, 7, 4)), "dump"),
        (("mysql", (5, 7, 44)), ("mysql", (8, 0, 40)), "dump"),
        (("mysql", (5, 7, 44)), ("mysql", (9, 7, 4)), "dump"),
        (("mysql", (5, 7, 44)), ("mariadb", (10, 11, 19)), "dump"),
        (("mysql", (8, 0, 11)), ("mysql", (8, 0, 40)), "dump"),
        (("mariadb", (10, 2, 11)), ("mariadb", (10, 11, 5)), "dump"),
        (("mariadb", (10, 3, 39)), ("mariadb", (11, 8, 2)), "dump"),
        (("mariadb", (10, 5, 22)), ("mysql", (8, 4, 5)), "dump"),
    ],
)
def test_ways_that_are_there(old: tuple[Family, Version], new: tuple[Family, Version], method: Method) -> None:
    assert method in supported(server(*old), server(*new), method).methods


@pytest.mark.parametrize(
    ("old", "new", "method", "reason"),
    [
        (("mariadb", (10, 11, 19)), ("mysql", (9, 7, 4)), "replicate", "not compatible in this direction"),
        (("mysql", (8, 0, 40)), ("mysql", (9, 7, 4)), "replicate", "next series only"),
        (("mariadb", (10, 11, 19)), ("mariadb", (10, 6, 12)), "dump", "can't be trusted to an older one"),
        (("mysql", (9, 7, 4)), ("mariadb", (10, 11, 19)), "dump", "not in the table"),
        (("mysql", (5, 7, 44)), ("mysql", (8, 0, 40)), "replicate", "copy it with dump"),
        (("mariadb", (10, 5, 22)), ("mariadb", (10, 11, 19)), "replicate", "copy it with dump"),
        (("mariadb", (10, 3, 39)), ("mariadb", (10, 6, 12)), "dump", "not in the table"),
    ],
)
def test_ways_that_are_refused(old: tuple[Family, Version], new: tuple[Family, Version], method: Method, reason: str) -> None:
    with pytest.raises(GuardFailed, match=reason):
        supported(server(*old), server(*new), method)


def test_every_entry_of_the_table_is_for_servers_that_are_known() -> None:
    for entry in COMBINATIONS:
        for family, oldest, newest in (entry.old, entry.new):
            assert oldest <= newest
            assert dialect_of(family, (*newest, 99)) is not None
        assert ("replicate" in entry.methods) is not bool(entry.why_not_replicate)
        assert combination(server(entry.old[0], (*entry.old[2], 50)), server(entry.new[0], (*entry.new[2], 50))) is not None


def test_two_families_are_refused_only_where_no_series_of_them_go_together() -> None:
    refused = families_refuse("mariadb", "mysql", "replicate")
    assert refused is not None
    assert "not compatible in this direction" in refused[0] and refused[1] == "dump"
    families: tuple[Family, Family] = ("mariadb", "mysql")
    for old in families:
        for new in families:
            assert families_refuse(old, new, "dump") is None
            assert (families_refuse(old, new, "replicate") is None) is (old == new), "which series, only the servers themselves can say"


@pytest.mark.parametrize(
    ("family", "version", "grant", "lock"),
    [
        ("mariadb", (10, 2, 11), "REPLICATION CLIENT", "FLUSH TABLES WITH READ LOCK"),
        ("mariadb", (10, 3, 39), "REPLICATION CLIENT", "FLUSH TABLES WITH READ LOCK"),
        ("mariadb", (10, 4, 34), "REPLICATION CLIENT", "BACKUP STAGE BLOCK_COMMIT"),
        ("mariadb", (10, 5, 22), "BINLOG MONITOR", "BACKUP STAGE BLOCK_COMMIT"),
        ("mariadb", (11, 8, 2), "BINLOG MONITOR", "BACKUP STAGE BLOCK_COMMIT"),
        ("mysql", (5, 7, 44), "REPLICATION CLIENT", "FLUSH TABLES WITH READ LOCK"),
    ],
)
def test_an_old_original_is_asked_in_words_that_it_knows(family: Family, version: Version, grant: str, lock: str) -> None:
    dialect = server(family, version).dialect
    assert dialect.status_grant == grant and dialect.lock[0][-1] == lock


def test_mysql_before_8_0_23_is_asked_in_the_old_words() -> None:
    for version in ((5, 7, 44), (8, 0, 11)):
        dialect = server("mysql", version).dialect
        assert (dialect.replica_status, dialect.status_fields["host"]) == ("SHOW SLAVE STATUS", "Master_Host")
    assert server("mysql", (8, 0, 23)).dialect.replica_status == "SHOW REPLICA STATUS"
    assert "caching_sha2" not in server("mysql", (5, 7, 44)).dialect.password_clause


def test_no_right_is_granted_that_an_old_original_does_not_know() -> None:
    def granted(version: Version) -> str:
        return read_grants(server("mysql", version), ["cloud"], "x")[0]

    assert "FLUSH_TABLES" not in granted((5, 7, 44)) and "FLUSH_TABLES" in granted((8, 0, 23))

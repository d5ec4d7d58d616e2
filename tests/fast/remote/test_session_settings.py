"""What every session begins with: one SET of everything that changes a statement's meaning."""

from __future__ import annotations

import pytest

from parallel_build.configuration.database_combinations import Family
from parallel_build.database.compare import fingerprint
from parallel_build.database.copy import run_worker, statements
from parallel_build.database.server.dialect_table import Version
from parallel_build.database.server.dialects import DatabaseServer, dialect_of
from parallel_build.remote.session_settings import BOTH, READING, SINCE, WRITING, parse_greeting, pinned

NEWEST: dict[str, Version] = {"mariadb": (11, 8, 2), "mysql": (9, 7, 4)}


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_every_setting_is_in_the_one_statement(family: str) -> None:
    statement = pinned(family, NEWEST[family], writing=True)
    assert statement.startswith("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, ")
    for name in BOTH | READING[family] | WRITING[family]:
        assert statement.count(f"SESSION {name} = ") == 1


def test_what_a_server_does_not_have_is_left_out() -> None:
    assert "character_set_collations" not in pinned("mariadb", (10, 11, 19))
    assert "character_set_collations" in pinned("mariadb", (11, 4, 2))
    assert "old_mode" not in pinned("mariadb", (10, 5, 9))
    assert "sql_safe_updates" not in pinned("mysql", (9, 7, 4), without={"sql_safe_updates"})
    assert all(name in READING[family] | WRITING[family] for family, name in SINCE)


def test_a_session_that_reads_needs_no_privilege() -> None:
    """[refused by MySQL 9.7 or MariaDB 10.11 without SUPER: error 1227]."""
    privileged = {"character_set_filesystem", "innodb_strict_mode", "binlog_format", "sql_require_primary_key", "enforce_storage_engine"}
    for family in ("mariadb", "mysql"):
        assert not privileged & (BOTH | READING[family]).keys()


def test_settings_of_its_own_take_the_place_of_the_tables() -> None:
    statement = pinned("mysql", (9, 7, 4), fingerprint.SETTINGS)
    assert "SESSION sql_mode = ''," in statement
    assert statement.count("sql_mode") == 1


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_program_that_asks_the_original_begins_with_the_originals_settings(family: Family) -> None:
    other: Family = "mysql" if family == "mariadb" else "mariadb"
    old, new = (
        DatabaseServer(name, dialect, NEWEST[of], "")
        for name, of in (("old", family), ("new", other))
        if (dialect := dialect_of(of, NEWEST[of]))
    )
    command = run_worker.probe_command(run_worker.Tools("python3", "client"), old, new, "x.y")
    assert f"--init-command={pinned(family, NEWEST[family])}" in command


def test_rows_are_taken_in_without_checks_that_the_original_may_not_pass() -> None:
    statement = pinned("mariadb", (10, 11, 19), statements.target_settings("mariadb"), writing=True)
    for text in ("check_constraint_checks = 0", "foreign_key_checks = 0", "innodb_strict_mode = 0", "NO_AUTO_VALUE_ON_ZERO"):
        assert text in statement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.5.5-10.11.19-MariaDB-0+deb12u1-log", ("mariadb", (10, 11, 19))),
        ("11.8.2-MariaDB", ("mariadb", (11, 8, 2))),
        ("9.7.4-2", ("mysql", (9, 7, 4))),
    ],
)
def test_what_a_server_greets_with(text: str, expected: tuple[str, Version]) -> None:
    assert parse_greeting(text) == expected


def test_a_greeting_that_names_no_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a database server's version"):
        parse_greeting("unknown")

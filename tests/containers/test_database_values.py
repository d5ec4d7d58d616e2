"""No value is lost without a word on real servers: too long for a packet, shifted, cut off, doubled; and none is called different that is not.

Every outcome is checked without the comparison too: hashes of each column, asked through the servers' own client programs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare, fingerprint
from parallel_build.database.compare.fingerprint import Range
from parallel_build.database.compare.session_pool import open_side
from parallel_build.database.copy import copy
from parallel_build.database.schema import definitions
from parallel_build.errors import ComparisonFailed, GuardFailed, StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import Combination, sql

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
NAME = "kept"
MIB = 1 << 20


@pytest.fixture
def pair(servers: Combination) -> Iterator[tuple[Host, Host]]:
    """An empty database on the original, none on the new server; packets as they were afterwards."""
    hosts = servers.source, servers.target
    packets = [sql(host, "SELECT @@GLOBAL.max_allowed_packet").strip() for host in hosts]
    _clear(hosts)
    sql(hosts[0], f"CREATE DATABASE {NAME} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    yield hosts
    for host, packet in zip(hosts, packets, strict=True):
        sql(host, f"SET GLOBAL max_allowed_packet = {packet}")
    _clear(hosts)


def _clear(hosts: tuple[Host, Host]) -> None:
    with contextlib.suppress(StepFailed):
        copy.empty(hosts[1], [NAME])
    for host in hosts:
        sql(host, f"DROP DATABASE IF EXISTS {NAME}")


def _make(host: Host, statements: str, *, before: int = 64 * MIB, after: int = 64 * MIB) -> None:
    """Rows written with one packet, read with another."""
    sql(host, f"SET GLOBAL max_allowed_packet = {before}")
    sql(host, f"USE {NAME};\n{statements}", options=["--max-allowed-packet=1G"])
    sql(host, f"SET GLOBAL max_allowed_packet = {after}")


def _copy(pair: tuple[Host, Host]) -> copy.CopyReport:
    return copy.copy(*pair, [NAME], threads=2, cancel=CancelToken(), progress=lambda text: None)


def _compare(pair: tuple[Host, Host]) -> compare.Comparison:
    return compare.compare(*pair, [NAME], threads=2, cancel=CancelToken(), progress=lambda text: None)


def _same(pair: tuple[Host, Host], expression: str, table: str = "a") -> None:
    ours, theirs = (sql(host, f"SELECT {expression} FROM {NAME}.{table} ORDER BY 1") for host in pair)
    assert ours and ours == theirs


def test_a_value_longer_than_the_originals_packet_is_an_error_with_its_column(pair: tuple[Host, Host]) -> None:
    _make(
        pair[0],
        "CREATE TABLE a (id int primary key, x longtext); INSERT INTO a VALUES (1, REPEAT('z', 20000000)), (2, NULL);",
        after=16 * MIB,
    )
    with pytest.raises(StepFailed, match=r"table kept\.a, column x: .*max_allowed_packet.*SET GLOBAL"):
        _copy(pair)
    sql(pair[0], f"SET GLOBAL max_allowed_packet = {64 * MIB}")
    assert _copy(pair).rows == 2, "the remedy is the right one"
    _same(pair, "id, LENGTH(x), SHA2(x, 256)")


def test_a_lost_long_value_is_a_difference_whatever_the_packets_are(pair: tuple[Host, Host]) -> None:
    made = "CREATE TABLE a (id int primary key, x longtext); INSERT INTO a VALUES (1, REPEAT('z', 20000000)), (2, NULL);"
    _make(pair[0], made)
    _copy(pair)
    for here, there in ((16, 64), (64, 16), (16, 16)):
        for host, packet in zip(pair, (here, there), strict=True):
            sql(host, f"SET GLOBAL max_allowed_packet = {packet * MIB}")
        assert _compare(pair).same, "unequal packets are no difference"
        sql(pair[1], f"UPDATE {NAME}.a SET x = NULL WHERE id = 1")
        found = _compare(pair)
        assert [str(one) for one in found.differences if "id=1: changed x" in str(one)], [str(one) for one in found.differences]
        sql(pair[1], f"SET GLOBAL max_allowed_packet = {64 * MIB}")
        sql(pair[1], f"UPDATE {NAME}.a SET x = REPEAT('z', 20000000) WHERE id = 1")


def test_columns_after_a_value_that_is_too_long_do_not_move(pair: tuple[Host, Host]) -> None:
    made = (
        "CREATE TABLE a (id int primary key, x longtext NOT NULL, a varchar(9) NOT NULL, b varchar(9) NOT NULL, c varchar(9) NOT NULL);"
        "INSERT INTO a VALUES (1, REPEAT('z', 20000000), 'aye', 'bee', 'cee');"
    )
    _make(pair[0], made, after=16 * MIB)
    with pytest.raises(StepFailed, match=r"table kept\.a, column x"):
        _copy(pair)


@pytest.mark.parametrize("nullable", ["NULL", "NOT NULL"])
def test_a_value_that_only_its_escaping_makes_too_long_is_an_error_or_whole(pair: tuple[Host, Host], nullable: str) -> None:
    made = (
        f"CREATE TABLE a (id int primary key, x longblob {nullable}, b blob);"
        "INSERT INTO a VALUES (1, REPEAT('\"', 10000000), '\"\\\\'), (2, REPEAT(x'00ff', 500), x'22');"
    )
    _make(pair[0], made, after=16 * MIB)
    with pytest.raises(StepFailed, match=r"table kept\.a, column x"):
        _copy(pair)
    sql(pair[0], f"SET GLOBAL max_allowed_packet = {64 * MIB}")
    assert _copy(pair).rows == 2
    _same(pair, "id, LENGTH(x), SHA2(x, 256), HEX(b)")
    assert _compare(pair).same


def test_millions_of_quotes_are_read_in_linear_time(pair: tuple[Host, Host]) -> None:
    """[MariaDB 10.11: REPLACE of six million quotes in 27 MB did not end within ten minutes]."""
    made = "CREATE TABLE a (id int primary key, x longblob); INSERT INTO a VALUES (1, REPEAT('abc\"\\\\', 5400000));"
    _make(pair[0], made, before=1024 * MIB, after=1024 * MIB)
    assert _copy(pair).seconds < 90
    _same(pair, "id, LENGTH(x), SHA2(x, 256)")


def test_long_values_of_every_kind_among_other_bytes_arrive(pair: tuple[Host, Host]) -> None:
    made = (
        "CREATE TABLE a (id int primary key, x longblob, t mediumtext CHARACTER SET latin1, u longtext CHARACTER SET utf16, e mediumblob NOT NULL, "
        "j json);"
        "INSERT INTO a VALUES (1, x'00ff22275c0d0a', 'é\"\\\\', 'é😀', '', '{\"a\": \"é😀\"}'), (2, NULL, NULL, NULL, 'NULL', NULL), "
        "(3, 'NULL', 'NULL', '', x'fbffff', 'null');"
    )
    _make(pair[0], made)
    _copy(pair)
    _same(pair, "id, HEX(x), HEX(t), HEX(u), HEX(e), x IS NULL, t IS NULL, u IS NULL, e IS NULL, j IS NULL")


def test_rows_too_long_only_together_are_neither_lost_nor_called_the_same(pair: tuple[Host, Host]) -> None:
    names = [f"t{number}" for number in range(30)]
    made = (
        f"CREATE TABLE a (id int primary key, {', '.join(f'{name} text' for name in names)}) ROW_FORMAT=DYNAMIC;"
        f"INSERT INTO a VALUES (1, {', '.join(f'REPEAT({chr(39)}{name[-1]}{chr(39)}, 60000)' for name in names)});"
    )
    _make(pair[0], made)
    _copy(pair)
    for host in pair:
        sql(host, f"SET GLOBAL max_allowed_packet = {MIB}")
    assert _compare(pair).same
    sql(pair[1], f"UPDATE {NAME}.a SET " + ", ".join(f"{name} = REPEAT('!', 60000)" for name in names))
    assert not _compare(pair).same
    copy.empty(pair[1], [NAME])
    with pytest.raises(StepFailed, match=r"table kept\.a: .*max_allowed_packet"):
        _copy(pair)


def test_a_row_that_can_not_be_hashed_is_an_error_of_the_comparison(pair: tuple[Host, Host]) -> None:
    _make(pair[0], f"CREATE TABLE a (id int primary key, {', '.join(f't{n} text' for n in range(5))}); INSERT INTO a (id) VALUES (1), (2);")
    _copy(pair)
    for host in pair:
        sql(host, f"UPDATE {NAME}.a SET " + ", ".join(f"t{n} = REPEAT('x', 60000)" for n in range(5)) + " WHERE id = 2")
        sql(host, f"SET GLOBAL max_allowed_packet = {MIB // 8}")
    with pytest.raises(ComparisonFailed, match=r"kept\.a can't be compared.*max_allowed_packet.*SET GLOBAL"):
        _compare(pair)


def test_rows_hashed_at_once_are_told_apart_beyond_where_the_server_cuts_their_texts_off(pair: tuple[Host, Host]) -> None:
    made = (
        "CREATE TABLE a (id int primary key auto_increment, x text, d double, t datetime NOT NULL, n varchar(9));"
        "INSERT INTO a (x, d, t) SELECT REPEAT('z', 60000), RAND(3), '2026-11-30 11:12:13' FROM information_schema.COLUMNS LIMIT 400;"
    )
    _make(pair[0], made, after=16 * MIB)
    _copy(pair)
    sql(pair[1], f"SET GLOBAL max_allowed_packet = {16 * MIB}")
    first, last = (sql(pair[0], f"SELECT id FROM {NAME}.a ORDER BY id {order} LIMIT 1").strip() for order in ("ASC", "DESC"))
    cuts = any(
        "MariaDB" in sql(host, "SELECT VERSION()") for host in pair
    )  # MySQL hashes the whole text, though it would give no such text out
    with open_side(pair[0], 2) as left, open_side(pair[1], 2) as right:
        (table,) = definitions.read_tables(left.sessions[0], NAME)
        for where, trusted in ((f"`id` < {int(first) + 70}", True), ("", not cuts)):
            ours, theirs = (fingerprint.digest(side.sessions[0], Range(table, where, 1)) for side in (left, right))
            assert (ours == theirs and ours.whole) is trusted and ours.rows == theirs.rows > 0
        everything = [Range(table, "", 1)]
        assert compare.compare_ranges(left, right, everything, cancel=CancelToken(), progress=lambda text: None).same
        sql(pair[1], f"UPDATE {NAME}.a SET n = '' WHERE id = {last}")
        found = compare.compare_ranges(left, right, everything, cancel=CancelToken(), progress=lambda text: None)
    assert [str(one) for one in found.differences if f"id={last}: changed n" in str(one)], [str(one) for one in found.differences]


def test_a_packet_below_one_value_is_found_before_the_first_row(pair: tuple[Host, Host]) -> None:
    _make(pair[0], "CREATE TABLE a (id int primary key, x text);", after=MIB // 2)
    with pytest.raises(GuardFailed, match=r"max_allowed_packet is 524288 bytes.*SET GLOBAL"):
        _copy(pair)
    assert sql(pair[1], f"SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{NAME}'").strip() == "0"


def test_numbers_with_fractions_arrive_bit_by_bit(pair: tuple[Host, Host]) -> None:
    made = (
        "CREATE TABLE a (id int primary key auto_increment, d double, u double unsigned, r double(10,2), f float, g float(7,3), n decimal(30,10));"
        "INSERT INTO a (d, u, r, f, g, n) SELECT (RAND(7) - 0.5) * POW(10, FLOOR(RAND(8) * 600) - 300), RAND(9) / 3, RAND(1) * 99999, "
        "(RAND(2) - 0.5) * POW(10, FLOOR(RAND(3) * 60) - 30), RAND(4) * 999, RAND(5) FROM information_schema.COLUMNS LIMIT 500;"
        "INSERT INTO a (d) VALUES (0), (-0e0), (4.9e-324), (-2.2250738585072014e-308), (1.7976931348623157e308), (0.1), (1/3), (NULL);"
    )
    _make(pair[0], made)
    assert _copy(pair).rows == 508
    _same(pair, "id, HEX(ST_AsBinary(POINT(d, COALESCE(u, 0)))), HEX(ST_AsBinary(POINT(f, COALESCE(r, 0)))), g, n")
    assert _compare(pair).same
    sql(pair[1], f"UPDATE {NAME}.a SET d = d * (1 + 3e-16) WHERE id = 5")
    assert "id=5: changed d" in str(_compare(pair).differences[0])


def test_a_merge_table_has_its_rows_once(pair: tuple[Host, Host]) -> None:
    _make(
        pair[0],
        "CREATE TABLE a (id int, x varchar(9)) ENGINE=MyISAM; CREATE TABLE b LIKE a; INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES (2, 'b');"
        "CREATE TABLE m (id int, x varchar(9)) ENGINE=MERGE UNION=(a, b) INSERT_METHOD=LAST;",
    )
    if "maria" not in sql(pair[1], "SELECT LOWER(VERSION())") and "maria" in sql(pair[0], "SELECT LOWER(VERSION())"):
        pytest.skip("one pair of each family is enough")
    assert _copy(pair).rows == 2
    _same(pair, "id, x", "m")
    assert _compare(pair).same


def test_times_that_mysql_would_cut_off_are_found_before_the_first_row(servers: Combination, pair: tuple[Host, Host]) -> None:
    if servers.old != "mariadb":
        pytest.skip("MySQL has no such times")
    _make(
        pair[0],
        "CREATE TABLE a (id int primary key, t time(6), p time); INSERT INTO a VALUES (1, '-838:59:59.5', NULL), (2, '838:59:59', '838:59:59');",
    )
    if servers.new == "mysql":
        with pytest.raises(GuardFailed, match=r"kept\.a\.t holds times beyond 838:59:59"):
            _copy(pair)
        sql(pair[0], f"DELETE FROM {NAME}.a WHERE id = 1")
    _copy(pair)
    _same(pair, "id, t, p")


def test_a_session_that_was_killed_is_opened_again_or_reported_to_be_lost(servers: Combination) -> None:
    with session(servers.source) as opened, session(servers.source) as other:
        for expected in (1, 2):
            other.execute(f"KILL {int(opened.value('SELECT CONNECTION_ID()'))}")
            assert opened.value(f"SELECT {expected}") == expected
        assert opened.value("SELECT @@SESSION.time_zone") == "+00:00", "the new session is as the first one was"


def test_every_session_is_as_pinned_whatever_the_server_is_set_to(servers: Combination) -> None:
    for host in (servers.source, servers.target):
        with session(host) as opened:
            assert len(opened.rows("SELECT TABLE_NAME FROM information_schema.TABLES LIMIT 5")) == 5
            assert opened.value("SELECT @@SESSION.sql_mode") == "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"
            assert opened.value("SELECT @@SESSION.autocommit") == 1
            assert opened.value("SELECT @@SESSION.character_set_results") == "utf8mb4"

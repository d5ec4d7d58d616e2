"""Binary log events taken apart by their fields: logs that are put together here, as the servers write them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pytest

from parallel_build.database.replicate import log_end, log_events, log_reader
from parallel_build.database.replicate.log_events import Event, Unknown

CHECKED = 4  # bytes of checksum
JOB: dict[str, Any] = {
    "schemas": ["cloud", "cloud_usage"],
    "fold": False,
    "many": 5,
    "keys": [["cloud", "vm", [[2, 1]]], ["cloud", "log", None]],
}


def event(kind: int, body: bytes, *, end: int = 100, server: int = 13, seconds: int = 1) -> bytes:
    """An event with a checksum."""
    return log_events.HEADER.pack(seconds, kind, server, log_events.HEADER.size + len(body) + CHECKED, end, 0) + body + b"sums"


def header(checksum: int = 1) -> bytes:
    """A file's first bytes."""
    body = struct.pack("<H50sIB", 4, b"10.11.6-MariaDB", 0, 19) + bytes(40) + bytes([checksum])
    return log_events.MAGIC + event(log_events.FORMAT, body)


def packed(number: int) -> bytes:
    return bytes([number]) if number < 251 else b"\xfc" + number.to_bytes(2, "little")


def table(number: int, schema: str, name: str, columns: list[tuple[int, bytes]]) -> bytes:
    """A TABLE_MAP event's body."""
    found = number.to_bytes(6, "little") + b"\x01\0"
    for text in (schema, name):
        found += bytes([len(text.encode())]) + text.encode() + b"\0"
    details = b"".join(detail for _, detail in columns)
    return (
        found + packed(len(columns)) + bytes(kind for kind, _ in columns) + packed(len(details)) + details + bytes((len(columns) + 7) // 8)
    )


def rows(number: int, count: int, data: bytes, *, kind: int = 30) -> bytes:
    """A row event's body with all columns present."""
    bits = ((1 << count) - 1).to_bytes((count + 7) // 8, "little")
    more = b"\x02\0" if kind in log_events.NEWER else b""
    images = bits * (2 if kind in log_events.UPDATES else 1)
    if kind in log_events.COMPRESSED:
        data = b"\x81" + bytes([len(data) & 0xFF]) + zlib.compress(data)
    return number.to_bytes(6, "little") + b"\x01\0" + more + packed(count) + images + data


def query(text: bytes, database: bytes = b"cloud", variables: bytes = b"", *, thread: int = 7) -> bytes:
    return struct.pack("<IIBHH", thread, 0, len(database), 0, len(variables)) + variables + database + b"\0" + text


def seen(*parts: bytes, job: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the reader finds in a log with these events."""
    found = log_reader.Found(job or JOB)
    for one in log_events.events(io.BytesIO(header() + b"".join(parts)).read):
        found.take(one)
    return found.result()


VM = [(15, b"\x2c\x01"), (8, b""), (252, b"\x02")]  # varchar(300), bigint unsigned, text


def vm(name: str | None, number: int, text: str | None) -> bytes:
    nulls = (name is None) | (text is None) << 2
    found = bytes([nulls])
    if name is not None:
        found += len(name.encode()).to_bytes(2, "little") + name.encode()
    found += number.to_bytes(8, "little")
    if text is not None:
        found += len(text.encode()).to_bytes(2, "little") + text.encode()
    return found


@pytest.mark.parametrize("kind", [23, 25, 30, 32, 166, 168])
def test_keys_of_written_and_deleted_rows(kind: int) -> None:
    data = vm("a", 5, None) + vm(None, (1 << 64) - 1, "x" * 60)
    found = seen(event(19, table(9, "cloud", "vm", VM)), event(kind, rows(9, 3, data, kind=kind)))
    assert found["keys"] == [["cloud", "vm", [(5,), ((1 << 64) - 1,)]]]
    assert (found["events"], found["doubts"], found["whole"]) == (2, [], [])


@pytest.mark.parametrize("kind", [24, 31, 167])
def test_keys_of_an_update_before_and_after_it(kind: int) -> None:
    found = seen(event(19, table(9, "cloud", "vm", VM)), event(kind, rows(9, 3, vm("a", 5, None) + vm("b", 6, "c"), kind=kind)))
    assert found["keys"] == [["cloud", "vm", [(5,), (6,)]]]
    assert found["events"] == 1


def test_a_table_is_named_whole_where_its_keys_do_not_serve() -> None:
    maps = event(19, table(9, "cloud", "vm", VM)) + event(19, table(10, "cloud", "log", VM)) + event(19, table(11, "tools", "vm", VM))
    many = b"".join(vm("a", number, None) for number in range(6))
    found = seen(maps, event(30, rows(9, 3, many)), event(30, rows(10, 3, vm("a", 1, None))), event(30, rows(11, 3, vm("a", 1, None))))
    assert found["whole"] == [("cloud", "log"), ("cloud", "vm")]
    assert found["doubts"] == []
    strange = seen(event(19, table(9, "cloud", "vm", [(15, b"\x2c\x01"), (8, b""), (99, b"")])), event(30, rows(9, 3, vm("a", 1, "x"))))
    assert strange["whole"] == [("cloud", "vm")], "a column of an unknown type: the table is known, its rows are not"
    cut = seen(event(19, table(9, "cloud", "vm", VM)), event(30, rows(9, 3, vm("a", 1, "text")[:-2])))
    assert cut["whole"] == [("cloud", "vm")]
    partial = seen(event(19, table(9, "cloud", "vm", VM)), event(39, rows(9, 3, b"")))
    assert partial["whole"] == [("cloud", "vm")], "a part of a JSON value"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (event(99, b"new"), "kind 99"),
        (event(26, b"\x01\0lost"), "kind 26"),
        (event(30, rows(9, 3, b"")), "not named before"),
        (event(19, table(9, "cloud", "made_since", VM)), "cloud.made_since"),
        (event(2, query(b"UPDATE vm SET a=UUID()")), "UPDATE vm SET a"),
        (event(165, query(b"\x81\x40" + zlib.compress(b"UPDATE vm SET a=UUID()"))), "UPDATE vm SET a"),
        (event(165, query(b"\x91\x40nonsense")), "unknown way"),
        (event(18, struct.pack("<IIBHH", 7, 0, 5, 0, 0) + bytes(13) + b"cloud\0LOAD DATA INFILE 'x' INTO TABLE vm"), "LOAD DATA INFILE"),
        (event(2, b"short"), "taken apart"),
        (event(2, query(b"CALL p()", b"")), "CALL p"),
    ],
)
def test_whatever_is_not_understood_is_a_doubt(part: bytes, words: str) -> None:
    found = seen(part)
    assert found["doubted"] == 1
    assert words in found["doubts"][0]


def test_what_says_nothing_of_rows_is_none() -> None:
    silent = b"".join(event(kind, b"\0" * 30) for kind in sorted(log_events.SILENT - {log_events.FORMAT}))
    assert seen(silent)["doubts"] == []


def test_a_statement_is_reported_with_its_session() -> None:
    variables = (
        b"\0\0\0\0\0" + b"\x01" + struct.pack("<Q", 1 << 20) + b"\x06\x03std" + b"\x04" + struct.pack("<HHH", 28, 28, 8)
        + b"\x05\x06SYSTEM" + b"\x0b\x04root\x09localhost" + b"\x0c\x02cloud\0tools\0" + b"\x7fnewer"
    )  # fmt: skip
    found = log_events.statement(Event(2, 1, 1, 1, query(b"DROP TABLE x", b"tools", variables)))
    assert found == log_events.Statement(7, "tools", b"DROP TABLE x", "root@localhost", ("cloud", "tools"), 1 << 20, 28)
    over = log_events.statement(Event(2, 1, 1, 1, query(b"DROP TABLE x", b"tools", b"\x0c\xfe")))
    assert over.databases is None, "more than it lists"


def test_writers_are_those_of_our_rows() -> None:
    vms = event(19, table(9, "cloud", "vm", VM)) + event(30, rows(9, 3, vm("a", 5, None)))
    assert seen(event(2, query(b"BEGIN", thread=31)), vms)["writers"] == [(13, 31)]
    assert seen(event(2, query(b"BEGIN", thread=31)), event(162, bytes(19)), vms)["writers"] == [(13, 0)], "MariaDB names no connection"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"\xfdbin" + bytes(600), "encrypted"), (header()[:-3], "within an event"), (header() + bytes(19), "0 bytes")],
)
def test_what_is_no_log_is_not_read_over(data: bytes, words: str) -> None:
    with pytest.raises(Unknown, match=words):
        list(log_events.events(io.BytesIO(data).read))


def test_events_without_checksums_and_in_any_portions() -> None:
    plain = header(0) + b"".join(
        one[:9] + struct.pack("<I", len(one) - 4) + one[13:-4] for one in [event(2, query(b"BEGIN")), event(16, bytes(8))]
    )
    data, at = io.BytesIO(plain), random.Random(1)
    assert [one.kind for one in log_events.events(lambda size: data.read(at.randint(1, 9)))] == [15, 2, 16]


def test_the_end_of_a_log_after_a_stop() -> None:
    first, stop = header()[:1024], event(3, b"")
    more = event(19, table(9, "cloud", "vm", VM)) + event(30, rows(9, 3, vm("a", 5, None)))
    other = event(19, table(9, "tools", "vm", VM)) + event(30, rows(9, 3, vm("a", 5, None)))

    def tail(data: bytes, first: bytes = first) -> str:
        return log_end.of_tail(first.ljust(1024, b"\0"), data, ["cloud"], fold=False)

    assert tail(b"") == tail(stop) == tail(other + stop) == ""
    assert "1 events of changed rows" in tail(more + stop)
    assert "DROP TABLE vm" in tail(event(2, query(b"DROP TABLE vm")) + stop)
    assert "encrypted" in tail(stop, b"\xfdbin" + bytes(90))
    assert "can't be read" in tail(stop[:-2])


@pytest.mark.parametrize(
    ("first", "more"), [(b"\xfdbin" + bytes(1020), 512), (header() + event(164, bytes(17)), 0)], ids=["MySQL", "MariaDB"]
)
def test_of_an_encrypted_log_the_stop_alone_is_nothing(first: bytes, more: int) -> None:
    """Nobody could write while the server was stopped; else no window of such a cloud would ever get past its stop."""

    def tail(length: int) -> str:
        return log_end.of_tail(first[:1024].ljust(1024, b"\0"), random.Random(1).randbytes(more + length), ["cloud"], fold=False)

    assert tail(23) == ""
    assert "can't be read" in tail(110), "as long as a transaction"
    assert "can't be read" in log_end.of_tail(header()[:1024].ljust(1024, b"\0"), random.Random(1).randbytes(23), ["cloud"], fold=False)


def test_bytes_of_any_kind_are_a_doubt_or_nothing() -> None:
    drawn = random.Random(20261130)
    for _ in range(50):
        data = drawn.randbytes(drawn.randrange(200))
        for kind in (2, 18, 19, 30, 31, 39, 165, 166):
            assert set(seen(event(19, table(9, "cloud", "vm", VM)), event(kind, data))) == set(seen())


def test_statements_about_definitions_are_reported_in_full() -> None:
    """They may be replayed for a table that a copy has kept; anything else that counts may not."""
    found = seen(
        event(2, query(b"ALTER TABLE vm ADD x int")), event(2, query(b"UPDATE vm SET x=UUID()")), event(2, query(b"DROP TABLE t", b"tools"))
    )
    assert found["texts"] == [("cloud", "ALTER TABLE vm ADD x int")]
    assert found["doubted"] == 2

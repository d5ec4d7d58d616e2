"""Binary log events of MariaDB and MySQL, read by their fields: which rows of which tables, and which statements.

Runs on a database server with the Python that is there, and imports nothing of the project. What it does not know it does not pass over:
`events` yields every event, and whoever decodes one that is of an unknown kind gets `Unknown`.
Sources: the servers' `log_event.h` and `rows_event.h` (MariaDB 10.11, MySQL 9.x); what was run on real servers is in docs/understand/database.md.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import ctypes
import struct
import zlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

MAGIC = b"\xfebin"
HEADER = struct.Struct("<IBIIIH")  # seconds, kind, server_id, length, end, flags
CHUNK = 1 << 20
CHECKSUM = 4

QUERY, STOP, ROTATE, FORMAT, LOAD_QUERY, TABLE_MAP, PARTIAL_UPDATE, PAYLOAD, QUERY_COMPRESSED = 2, 3, 4, 15, 18, 19, 39, 40, 165
# Rows written, updated, deleted: the older form, the newer form, MariaDB's compressed form.
ROWS = frozenset((23, 24, 25, 30, 31, 32, 166, 167, 168))
UPDATES, NEWER, COMPRESSED = frozenset((24, 31, 167)), frozenset((30, 31, 32)), frozenset((166, 167, 168))
# What says nothing about rows or definitions by itself: ends of transactions and files, numbers of transactions, values for the next statement,
# a statement's text next to its rows, heartbeats, key of an encrypted file.
SILENT = frozenset((STOP, ROTATE, 5, 13, 14, FORMAT, 16, 17, 27, 29, 33, 34, 35, 36, 37, 38, 41, 42, 160, 161, 162, 163, 164))

NUMBERS = frozenset((33, 34, 42, 162))  # of transactions, each before its transaction

INTEGERS = {1: 1, 2: 2, 3: 4, 8: 8, 9: 3}  # bytes of TINYINT, SMALLINT, INT, BIGINT, MEDIUMINT
FIXED = {**INTEGERS, 4: 4, 5: 8, 6: 0, 7: 4, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3}
TWO_BYTES_MORE = frozenset((15, 16, 141, 246, 247, 248, 253, 254))  # of description
ONE_BYTE_MORE = frozenset((4, 5, 17, 18, 19, 140, 242, 245, 249, 250, 251, 252, 255))
BLOBS = frozenset((140, 242, 245, 249, 250, 251, 252, 255))
DECIMAL_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # that so many digits take


class Unknown(Exception):
    """An event, or a part of one, that is of no known kind."""


class Event(NamedTuple):
    """One event.

    Attributes:
        end: where the next one begins; 0 in an event that the server made up for its reader.
        body: without header and checksum.
        size: bytes in its file; 0 for one that came within another.
    """

    kind: int
    server_id: int
    seconds: int
    end: int
    body: bytes
    size: int = 0


class Statement(NamedTuple):
    """A statement as it was logged.

    Attributes:
        thread: the connection it ran in.
        database: the default database, "" for none.
        text: as the client sent it.
        account: who it ran for, where the event names one.
        databases: those it changed, where the server has listed them (MySQL); None where it has not.
        sql_mode, charset: as of the session; None where the event does not say.
    """

    thread: int
    database: str
    text: bytes
    account: str
    databases: Optional[Tuple[str, ...]]
    sql_mode: Optional[int]
    charset: Optional[int]


class TableMap(NamedTuple):
    """A table as the following rows are written."""

    schema: str
    name: str
    types: bytes
    details: Tuple[Any, ...]


def events(read: Callable[[int], bytes]) -> Iterator[Event]:
    """The events of one log file, those of compressed transactions one by one.

    Args:
        read: gives up to so many bytes, none at the end.
    Raises:
        Unknown: it is no binary log, or it ends within an event.
    """
    buffer, at = read(CHUNK), 0
    while len(buffer) < len(MAGIC):
        more = read(CHUNK)
        if not more:
            raise Unknown("the file is empty" if not buffer else "the file ends within its first bytes")
        buffer += more
    if buffer[:4] != MAGIC:
        raise Unknown("it does not begin as a binary log does (it may be encrypted)")
    at, checksum = len(MAGIC), 0
    while True:
        while len(buffer) - at < HEADER.size or len(buffer) - at < HEADER.unpack_from(buffer, at)[3]:
            more = read(CHUNK)
            if not more:
                if len(buffer) > at:
                    raise Unknown("the log ends within an event")
                return
            buffer, at = buffer[at:] + more, 0
        seconds, kind, server_id, length, end, _ = HEADER.unpack_from(buffer, at)
        if length < HEADER.size:
            raise Unknown(f"an event of {length} bytes")
        if kind == FORMAT:
            # Its own checksum is there whatever it announces for the others; the byte before it says which they have.
            checksum = CHECKSUM if buffer[at + length - CHECKSUM - 1] == 1 else 0
            body = buffer[at + HEADER.size : at + length - CHECKSUM]
        else:
            body = buffer[at + HEADER.size : at + length - checksum]
        at += length
        event = Event(kind, server_id, seconds, end, body, length)
        if kind == PAYLOAD:
            for inner in _inner(body):
                yield inner._replace(end=end)
        else:
            yield event


def _inner(body: bytes) -> Iterator[Event]:
    """The events of a compressed transaction (MySQL's binlog_transaction_compression)."""
    values, at = {}, 0
    while True:
        field, at = _number(body, at)
        if field == 0:
            break
        length, at = _number(body, at)
        values[field] = _number(body, at)[0]
        at += length
    payload = body[at:]
    if values.get(2, 255) != 255:
        if values[2] != 0:
            raise Unknown(f"a transaction compressed in way {values[2]}")
        payload = _unpack_zstd(payload, values.get(3, 0))
    at = 0
    while at < len(payload):
        seconds, kind, server_id, length, end, _ = HEADER.unpack_from(payload, at)
        if length < HEADER.size or at + length > len(payload):
            raise Unknown("a compressed transaction that can't be taken apart")
        yield Event(kind, server_id, seconds, end, payload[at + HEADER.size : at + length])
        at += length


def _unpack_zstd(packed: bytes, length: int) -> bytes:
    """By the system's own library, which systemd and the package manager of every new server need."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        raise Unknown("a compressed transaction, and there is no libzstd.so.1") from None
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    room = ctypes.create_string_buffer(length or 1)
    if library.ZSTD_decompress(room, length, packed, len(packed)) != length:
        raise Unknown("a compressed transaction that can't be unpacked")
    return room.raw[:length]


def _unpack_zlib(packed: bytes) -> bytes:
    """MariaDB's compressed part of an event: a byte with the length of the length, the length, zlib's bytes."""
    if not packed or packed[0] & 0xF0 != 0x80:
        raise Unknown("an event compressed in an unknown way")
    try:
        return zlib.decompress(packed[1 + (packed[0] & 0x07) :])
    except zlib.error:
        raise Unknown("a compressed event that can't be unpacked") from None


def _number(data: bytes, at: int) -> Tuple[int, int]:
    """A number of the protocol's packed form, and where what follows it begins."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None:
        raise Unknown("a length that is none")
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def statement(event: Event) -> Statement:
    """The statement of a QUERY, QUERY_COMPRESSED or LOAD_QUERY event.

    Raises:
        Unknown: it can't be taken apart.
    """
    body = event.body
    try:
        thread, _, length, _, more = struct.unpack_from("<IIBHH", body, 0)
        begin = 13 + (13 if event.kind == LOAD_QUERY else 0)
        text = body[begin + more + length + 1 :]
        if event.kind == QUERY_COMPRESSED:
            text = _unpack_zlib(text)
        database = body[begin + more : begin + more + length].decode("utf-8", "surrogateescape")
        found = _variables(body[begin : begin + more])
    except (struct.error, IndexError):
        raise Unknown("a statement's event that can't be taken apart") from None
    return Statement(thread, database, text, found.get("account", ""), found.get("databases"), found.get("sql_mode"), found.get("charset"))


# Of a statement's variables: how many bytes each has; what has its length before it is taken apart below.
VARIABLES = {0: 4, 3: 4, 7: 2, 8: 2, 9: 8, 10: 4, 13: 3, 16: 1, 17: 8, 18: 2, 19: 1, 20: 1, 128: 3, 129: 8}


def _variables(data: bytes) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    at = 0
    while at < len(data):
        code, at = data[at], at + 1
        if code == 1:
            found["sql_mode"], at = int.from_bytes(data[at : at + 8], "little"), at + 8
        elif code == 4:
            found["charset"], at = int.from_bytes(data[at : at + 2], "little"), at + 6
        elif code in (2, 5, 6):
            at += data[at] + (2 if code == 2 else 1)
        elif code == 11:
            user, at = data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
            host, at = data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
            found["account"] = f"{user.decode('utf-8', 'replace')}@{host.decode('utf-8', 'replace')}"
        elif code == 12:
            count, at = data[at], at + 1
            if count != 254:  # more than it lists
                *names, _ = data[at:].split(b"\0", count)
                at += sum(len(name) + 1 for name in names)
                found["databases"] = tuple(name.decode("utf-8", "surrogateescape") for name in names)
        elif code == 130:
            at += 9 if data[at] & 0x60 else 1
        elif code == 131:
            at += 1 + 4 * data[at]
        elif code in VARIABLES:
            at += VARIABLES[code]
        else:
            break  # a newer server's: what follows can't be told apart
    return found


def table_map(body: bytes) -> Tuple[int, TableMap]:
    """A table's number in the log, and the table. A column of an unknown type matters only to who takes rows apart."""
    number = int.from_bytes(body[:6], "little")
    at = 8
    schema = body[at + 1 : at + 1 + body[at]].decode("utf-8", "surrogateescape")
    at += body[at] + 2
    name = body[at + 1 : at + 1 + body[at]].decode("utf-8", "surrogateescape")
    at += body[at] + 2
    count, at = _number(body, at)
    types, at = body[at : at + count], at + count
    length, at = _number(body, at)
    return number, TableMap(schema, name, types, _details(types, body[at : at + length]))


def _details(types: bytes, data: bytes) -> Tuple[Any, ...]:
    """For each column: an integer of so many bytes, `("length", n)` for a value with n bytes of length before it, None where its type is unknown.

    From the first unknown type on all are None: how much of the description is its own isn't known.
    """
    found: List[Any] = []
    at = 0
    for kind in types:
        size = 2 if kind in TWO_BYTES_MORE else 1 if kind in ONE_BYTE_MORE else 0
        detail, at = data[at : at + size], at + size
        layout = _layout(kind, detail)
        if layout is None:
            break
        found.append(layout)
    return tuple(found + [None] * (len(types) - len(found)))


def _layout(kind: int, detail: bytes) -> Any:
    if kind in FIXED:
        return FIXED[kind]
    if kind in BLOBS:
        return ("length", detail[0])
    if kind in (15, 141, 253):
        return ("length", 1 if int.from_bytes(detail, "little") < 256 else 2)
    if kind == 254:
        real, length = detail[0], detail[1]
        if real in (247, 248):
            return length
        if real & 0x30 != 0x30:  # two bits of a longer CHAR's length are kept upside down in its type
            length |= ((real & 0x30) ^ 0x30) << 4
        return ("length", 1 if length < 256 else 2)
    if kind in (247, 248):
        return detail[1]
    if kind == 246:
        precision, scale = detail
        whole = precision - scale
        return whole // 9 * 4 + DECIMAL_BYTES[whole % 9] + scale // 9 * 4 + DECIMAL_BYTES[scale % 9]
    if kind == 16:
        return detail[1] + (1 if detail[0] else 0)
    if kind in (17, 18, 19):
        return {17: 4, 18: 5, 19: 3}[kind] + (detail[0] + 1) // 2
    return None


def table_number(body: bytes) -> int:
    """Which table's rows an event has."""
    return int.from_bytes(body[:6], "little")


class Keys:
    """Takes the integer keys out of a table's rows.

    Args:
        numbers: the key's columns, counted from 1, each with 1 where unsigned.
    """

    def __init__(self, table: TableMap, numbers: Sequence[Sequence[int]]) -> None:
        self._table = table
        self._wanted = {int(number) - 1: bool(unsigned) for number, unsigned in numbers}
        self._order = [int(number) - 1 for number, _ in numbers]
        self._plans: Dict[Tuple[bytes, bytes], Tuple[List[Tuple[int, int]], int]] = {}

    def of(self, event: Event) -> Iterator[Tuple[int, ...]]:
        """The keys of the event's rows, of an update before and after it.

        Raises:
            Unknown: a row can't be taken apart, or does not hold the key.
        """
        try:
            yield from self._rows(event)
        except (IndexError, struct.error):
            raise Unknown("rows that can't be taken apart") from None

    def _rows(self, event: Event) -> Iterator[Tuple[int, ...]]:
        data, at = event.body, 8
        if event.kind in NEWER:
            at += int.from_bytes(data[at : at + 2], "little")
        count, at = _number(data, at)
        if count != len(self._table.types):
            raise Unknown("rows with another number of columns than their table")
        bits = (count + 7) // 8
        images, at = [data[at : at + bits]], at + bits
        if event.kind in UPDATES:
            images, at = [*images, data[at : at + bits]], at + bits
        if event.kind in COMPRESSED:
            data, at = _unpack_zlib(data[at:]), 0
        end = len(data)
        while at < end:
            for image in images:
                key, at = self._row(data, at, image)
                yield key
        if at != end:
            raise Unknown("rows that end elsewhere than their event")

    def _row(self, data: bytes, at: int, image: bytes) -> Tuple[Tuple[int, ...], int]:
        present = bin(int.from_bytes(image, "little")).count("1")
        size = (present + 7) // 8
        nulls, at = data[at : at + size], at + size
        plan, rest = self._plans.get((image, nulls)) or self._plan(image, nulls)
        values = {}
        for step, argument in plan:
            if step == 0:
                at += argument
            elif step == 1:
                at += 1 + data[at]
            elif step < 5:
                at += step + int.from_bytes(data[at : at + step], "little")
            else:
                size = step - 5
                values[argument] = int.from_bytes(data[at : at + size], "little", signed=not self._wanted[argument])
                at += size
        return tuple(values[index] for index in self._order), at + rest

    def _plan(self, image: bytes, nulls: bytes) -> Tuple[List[Tuple[int, int]], int]:
        """How a row with these columns, and NULL in these of them, is passed through: bytes to skip, lengths to skip, values of the key."""
        steps: List[Tuple[int, int]] = []
        skipped, place = 0, 0
        shown, empty = int.from_bytes(image, "little"), int.from_bytes(nulls, "little")
        for index, layout in enumerate(self._table.details):
            if not shown >> index & 1:
                continue
            null, place = empty >> place & 1, place + 1
            if null:
                continue
            if layout is None:
                raise Unknown(f"a column of type {self._table.types[index]}")
            if index in self._wanted:
                if self._table.types[index] not in INTEGERS:
                    raise Unknown("a key that is no integer in the log")
                steps += [(0, skipped)] * bool(skipped) + [(5 + layout, index)]
                skipped = 0
            elif isinstance(layout, int):
                skipped += layout
            else:
                steps += [(0, skipped)] * bool(skipped) + [(layout[1], 0)]
                skipped = 0
        if any(not any(step > 5 and argument == index for step, argument in steps) for index in self._wanted):
            raise Unknown("rows without their key (binlog_row_image)")
        self._plans[image, nulls] = steps, skipped
        return steps, skipped

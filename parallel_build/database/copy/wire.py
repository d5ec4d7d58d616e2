"""Sessions of the copy's worker on the original that take rows as they come over the wire, and hand them on unread.

Runs on the new database server, next to `worker`, with the Python that is there and the PyMySQL that was pushed with it. PyMySQL opens the
session; the rows of a table are not taken apart: each is one text that the original has put together for LOAD DATA (see `statements`), and the
few bytes before it, its packet's length and its own, are what LOAD DATA passes over on its way to where a row begins. The servers' client
programs print such a row byte by byte: for 1 GB of rows they used 5 s of CPU, this 1 s.

The protocol is MySQL's and MariaDB's text protocol, without compression: packets of three bytes of length, a number and the content; a
content of 0xffffff bytes continues in the next packet.
"""

# ruff: noqa: UP006, UP007, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, Dict, List, Optional, Tuple, Union, cast

import pymysql
from pymysql.constants import COMMAND

from parallel_build.database.copy.clients import READ_SIZE, TOO_LONG, Failed, Sink, TooLong, Unfit

CONNECT_TIMEOUT = 30  # seconds
HEADER = 4  # bytes of a packet before its content
LONGEST = 0xFFFFFF  # content of a packet that the next one continues
LARGE = 0xFF0000  # content from which the bytes before a row may look like what a row begins with; smaller, they can't
ERROR, END, NULL = 0xFF, 0xFE, 0xFB  # first byte of a content that is no row, or of the value NULL
# A value's length takes one byte up to 250, else this byte and so many more.
LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


class Scanner:
    """Separates the rows from the rest in what a server answers to one SELECT of one column.

    Args:
        start: the bytes that every row begins with.
        unique: they are nowhere else in a row, so that most rows need not be looked at.
    Attributes:
        ended: the answer is complete.
    """

    def __init__(self, start: bytes, *, unique: bool) -> None:
        self.start, self.unique = start, unique
        self.ended = False
        self._rows = False
        self._continued = False
        self._ahead = 0  # where the next packet begins, from the beginning of what `scan` is given next

    def scan(self, data: Union[bytes, bytearray], end: int) -> Tuple[int, List[Tuple[int, int]]]:
        """Look through the next bytes of the answer, and through those that were left by the call before.

        Args:
            data: the bytes; nothing counts from `end` on.
        Returns:
            How many bytes are done with, the rest is to be given again with what follows it; and the pieces of them that are rows, each
            row after some bytes that are neither row nor `start`.
        Raises:
            Failed: the server's error, or a row that it could not make; among rows that are not looked at, their count shows the latter.
        """
        at = self._ahead
        pieces: List[Tuple[int, int]] = []
        begin = 0
        if self.unique and self._rows and not self._continued:
            at = self._last(data, at, end)
        while at + HEADER <= end:
            length = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            if self._continued:
                # The middle of a row: only its packet's header is taken out.
                pieces.append((begin, at))
                begin = at + HEADER
                self._continued = length == LONGEST
            else:
                complete = at + HEADER + length <= end
                if at + HEADER + 1 > end:
                    break
                first = data[at + HEADER]
                if first == ERROR:
                    if not complete:
                        break
                    raise Failed(_error(bytes(data[at + HEADER : at + HEADER + length])))
                if first == END and length < 9:
                    if not complete:
                        break
                    if self._rows:
                        pieces.append((begin, at))
                        self.ended = True
                        return end, _filled(pieces)
                    self._rows = True
                    begin = at + HEADER + length
                elif self._rows:
                    if first == NULL:
                        raise TooLong(TOO_LONG)
                    if length >= LARGE:
                        content = at + HEADER + 1 + LENGTHS.get(first, 0)
                        if content > end:
                            break
                        pieces.append((begin, at))
                        begin = content
                        self._continued = length == LONGEST
            at += HEADER + length
        done = min(at, end)
        if self._rows:
            pieces.append((begin, done))
        self._ahead = at - done
        return done, _filled(pieces)

    def _last(self, data: Union[bytes, bytearray], at: int, end: int) -> int:
        """Where the last packet begins whose row begins in `data`; `at` where that is not known."""
        row = data.rfind(self.start, at, end)
        for size in (1, 3, 4):
            packet = row - size - HEADER
            if row >= 0 and packet >= at:
                length = int.from_bytes(data[packet : packet + 3], "little")
                lead = data[packet + HEADER]
                if size > 1:
                    lead = int.from_bytes(data[packet + HEADER + 1 : row], "little") if LENGTHS.get(lead) == size - 1 else -1
                # Of a longer value than three bytes can tell, the last bytes may look like a length as well, but of less than `start`.
                if len(self.start) <= lead == length - size:
                    return packet
        return at


def _filled(pieces: List[Tuple[int, int]]) -> List[Tuple[int, int]]:
    return [(begin, end) for begin, end in pieces if begin < end]


def _error(content: bytes) -> str:
    """A server's error packet in words: its number, `#` and five letters, the text."""
    return f"ERROR {int.from_bytes(content[1:3], 'little')}: {content[9:].decode(errors='replace')}"


class Wire:
    """One session on the original.

    Args:
        options: the client programs' option file, with address, account and password.
        tls: None for a session without TLS, else the authority's file ("" for any) and whether the certificate has to name the address.
        start: see `Scanner`.
        name: for messages.
    Raises:
        Unfit: PyMySQL does not know how the original wants a session to be opened.
        Failed: it can't be opened.
    """

    def __init__(self, options: str, tls: Optional[Dict[str, Any]], start: bytes, name: str) -> None:
        self.name, self.start = name, start
        self.ended = False
        try:
            opened = pymysql.connect(
                read_default_file=options,
                charset="utf8mb4",
                connect_timeout=CONNECT_TIMEOUT,
                ssl=_context(tls) if tls else None,
                ssl_disabled=not tls,
                autocommit=None,
            )
        except (RuntimeError, ValueError) as problem:
            raise Unfit(f"{name}: {problem}") from None
        except (pymysql.err.MySQLError, OSError) as problem:
            raise Failed(f"{name}: {problem}") from None
        self._session = cast(Any, opened)
        # Kept here too: PyMySQL forgets it with a session that it has lost.
        self._socket: socket.socket = self._session._sock
        self._buffer = bytearray(READ_SIZE)

    def ask(self, statement: str) -> str:
        """Run a statement and return what it answers, values with tabs between them."""
        try:
            with self._session.cursor() as cursor:
                cursor.execute(statement)
                return "\n".join("\t".join("NULL" if value is None else str(value) for value in row) for row in cursor.fetchall())
        except (pymysql.err.MySQLError, OSError) as problem:
            raise Failed(f"{self.name}: {problem}") from None

    def rows(self, statement: str, sink: Sink, *, unique: bool) -> int:
        """Hand the rows of a SELECT to `sink`; return how many the original found."""
        scanner = Scanner(self.start, unique=unique)
        view = memoryview(self._buffer)
        held = 0
        self._begin(statement)
        while not scanner.ended:
            end = held + self._receive(view[held:])
            try:
                done, pieces = scanner.scan(self._buffer, end)
            except Failed as problem:
                raise type(problem)(f"{self.name}: {problem}") from None
            for begin, stop in pieces:
                sink(view[begin:stop])
            held = end - done
            view[:held] = view[done:end]
        return int(self.ask("SELECT FOUND_ROWS()"))

    def _begin(self, statement: str) -> None:
        # PyMySQL's public way to send a statement takes every value of the answer apart; between its statements its socket has nothing to read.
        try:
            self._session._execute_command(COMMAND.COM_QUERY, statement)
        except (pymysql.err.MySQLError, OSError) as problem:
            raise Failed(f"{self.name}: {problem}") from None

    def _receive(self, into: memoryview) -> int:
        try:
            count = int(self._socket.recv_into(into))
        except OSError as problem:
            raise Failed(f"{self.name}: {problem}") from None
        if not count:
            raise Failed(f"{self.name}: the session ended without a word")
        return count

    def lives(self) -> bool:
        """Whether nobody has ended it here."""
        return not self.ended

    def end(self) -> None:
        """End the session at once; whoever waits for its rows fails."""
        self.ended = True
        with contextlib.suppress(OSError):  # it has ended by itself
            # Not TLS's own shutdown, which a reader in another thread does not survive in order.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the session and give back what it holds."""
        self.end()
        if self._session.open:
            self._session.close()


def _context(tls: Dict[str, Any]) -> ssl.SSLContext:
    """At least as strict as the client program is, see `account.client_options`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(tls["authority"]) and bool(tls["verified"])
    context.verify_mode = ssl.CERT_REQUIRED if tls["authority"] else ssl.CERT_NONE
    if tls["authority"]:
        context.load_verify_locations(tls["authority"])
    return context

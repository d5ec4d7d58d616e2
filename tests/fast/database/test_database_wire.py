"""Rows as they come over the wire: which bytes are handed on, wherever the network cuts them; and what LOAD DATA makes of what is left around."""

from __future__ import annotations

import itertools
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from parallel_build.database.copy import clients, wire
from parallel_build.database.copy.statements import END, START

BEGIN, FINISH = bytes.fromhex(START), bytes.fromhex(END)
HEAD = [b"\x01", b"\x03def" + b"\x00" * 3 + b"\x01r" + bytes(14), b"\xfe\x00\x00\x02\x00"]
LAST = b"\xfe\x00\x00\x22\x00"


def value(text: bytes) -> bytes:
    """A value as a row of the text protocol has it."""
    if len(text) < 251:
        return bytes([len(text)]) + text
    if len(text) < 1 << 16:
        return b"\xfc" + struct.pack("<H", len(text)) + text
    if len(text) < 1 << 24:
        return b"\xfd" + struct.pack("<I", len(text))[:3] + text
    return b"\xfe" + struct.pack("<Q", len(text)) + text


def packets(contents: list[bytes]) -> bytes:
    """What a server sends for these contents, long ones in several packets."""
    sent, number = bytearray(), 1
    for content in contents:
        while True:
            piece, content = content[: wire.LONGEST], content[wire.LONGEST :]
            sent += struct.pack("<I", len(piece))[:3] + bytes([number % 256]) + piece
            number += 1
            if len(piece) < wire.LONGEST:
                break
    return bytes(sent)


def passed(answer: bytes, cuts: Iterator[int], *, unique: bool, size: int = 1 << 20) -> bytes:
    """What is handed on when the network brings the answer in pieces of these sizes."""
    scanner = wire.Scanner(BEGIN, unique=unique)
    buffer, held, at, out = bytearray(size), 0, 0, bytearray()
    while not scanner.ended:
        piece = answer[at : at + min(next(cuts), size - held)]
        assert piece, "the answer is over, and its end was not seen"
        at += len(piece)
        buffer[held : held + len(piece)] = piece
        done, pieces = scanner.scan(buffer, held + len(piece))
        for begin, end in pieces:
            out += buffer[begin:end]
        held, buffer[: held + len(piece) - done] = held + len(piece) - done, buffer[done : held + len(piece)]
    assert at == len(answer), "nothing is left for the next statement's answer"
    return bytes(out)


def taken_in(text: bytes) -> list[bytes]:
    """The rows that LOAD DATA finds: everything up to where one begins is passed over, and it ends at the first byte that ends one."""
    rows, at = [], 0
    while (begin := text.find(BEGIN, at)) >= 0:
        at = text.index(FINISH, begin)
        rows.append(text[begin + len(BEGIN) : at])
    return rows


def anywhere(seed: int, largest: int) -> Iterator[int]:
    made = random.Random(seed)
    while True:
        yield made.choice((1, 2, 3, 5, made.randrange(1, largest)))


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.engine) for seed in range(8, 60))])
@pytest.mark.parametrize("unique", [True, False])
def test_every_row_comes_through_wherever_the_answer_is_cut(seed: int, unique: bool) -> None:
    made = random.Random(seed)
    lengths = [made.choice((0, 1, 3, made.randrange(240, 262), made.randrange(2000), made.randrange(65500, 65560))) for _ in range(40)]
    alphabet = bytes(byte % 0xF8 for byte in range(256)) if unique else bytes(byte if byte != FINISH[0] else 0 for byte in range(256))
    rows = [made.randbytes(length).translate(alphabet) for length in lengths]
    answer = packets([*HEAD, *(value(BEGIN + row + FINISH) for row in rows), LAST])
    got = passed(answer, anywhere(seed, 90_000 if seed % 2 else 400), unique=unique)
    assert taken_in(got) == rows


@pytest.mark.parametrize(
    "length",
    [
        0xFFFFFF - 4,
        pytest.param(0xFB0000 - 8, marks=pytest.mark.processes),
        *(pytest.param(length, marks=pytest.mark.engine) for length in (0xFEFFFF - 8, 0xFF0000 - 8, 0xFFFFFB - 8, 0xFFFFFF - 8)),
        *(pytest.param(length, marks=pytest.mark.engine) for length in (0x1000000, 0x2000010)),
    ],
)
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize(
    "cuts", [anywhere(1, 1 << 20), itertools.repeat(1 << 20), itertools.repeat(16384)], ids=["anywhere", "large", "small"]
)
def test_rows_of_more_than_a_packet(length: int, unique: bool, cuts: Iterator[int]) -> None:
    rows = [*(b"before %d" % number * 9000 for number in range(20)), b"x" * length, b"after"]
    answer = packets([*HEAD, *(value(BEGIN + row + FINISH) for row in rows), LAST])
    assert taken_in(passed(answer, cuts, unique=unique)) == rows


@pytest.mark.parametrize(
    "length", [0xFB, 0xFFFB, 0xFBFF, *(pytest.param(length, marks=pytest.mark.processes) for length in (0xFFFBFF, 0xFFFFFB))]
)
def test_no_length_before_a_row_looks_like_its_beginning(length: int) -> None:
    """Packets whose length, number and own length have the very bytes that a row begins with."""
    sizes = [length - 4 - extra for extra in ((0, 1, 2, 3, 4, 5, 8, 9) if length < 0x10000 else (4, 5, 8))]
    rows = [b"y" * size for size in sizes] * (40 if length < 0x10000 else 1)
    answer = packets([*HEAD, *(value(BEGIN + row + FINISH) for row in rows), LAST])
    assert taken_in(passed(answer, anywhere(2, 1 << 20), unique=True)) == rows


def test_an_empty_answer_has_no_rows() -> None:
    assert passed(packets([*HEAD, LAST]), anywhere(3, 10), unique=True) == b""


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_an_error_among_the_rows_is_reported(cut: int) -> None:
    error = b"\xff" + struct.pack("<H", 1317) + b"#70100Query execution was interrupted"
    answer = packets([*HEAD, value(BEGIN + b"1" + FINISH), error])
    with pytest.raises(clients.Failed, match="ERROR 1317: Query execution was interrupted"):
        passed(answer, iter([cut] * 1000), unique=True)


def test_a_statement_that_is_refused_is_reported() -> None:
    error = b"\xff" + struct.pack("<H", 1146) + b"#42S02Table 'cloud.t' doesn't exist"
    with pytest.raises(clients.Failed, match="ERROR 1146: Table"):
        passed(packets([error]), anywhere(4, 20), unique=True)


def test_a_session_that_was_lost_is_ended_and_closed_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends all sessions after a failure must come to the last of them."""
    here, there = socket.socketpair()
    connection = pymysql.Connection(defer_connect=True)
    monkeypatch.setattr(connection, "_sock", here)
    monkeypatch.setattr(pymysql, "connect", lambda **options: connection)
    session = wire.Wire(str(tmp_path / "source.cnf"), None, BEGIN, "reading")
    connection._force_close()  # type: ignore[attr-defined]
    session.end()
    session.close()
    assert not session.lives()
    assert there.recv(1) == b""


def test_a_row_that_the_original_could_not_put_together_is_not_left_out() -> None:
    with pytest.raises(clients.Failed, match="max_allowed_packet"):
        passed(packets([*HEAD, value(BEGIN + b"1" + FINISH), b"\xfb", LAST]), anywhere(5, 30), unique=True)

"""The ways in which a real original came about: by CloudStack's own statements, from a dump, or from the dump of an older program.

A server keeps a view as it printed it when it was made. Made again from that print it prints it otherwise, and made over the stand-ins
of an older dump program otherwise again: the same cloud, three different definitions.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

from lab.database.errors import LoadFailed
from lab.database.loading import feed

Origin = Literal["created", "restored", "restored-old"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
# Of the older server that the older program's dump was first restored on. What was made there keeps it.
OLD_DEFAULT = b"utf8mb3 COLLATE utf8mb3_general_ci"
_DEFAULT = re.compile(rb"^(CREATE DATABASE .*?`(\w+)`.*? DEFAULT CHARACTER SET )(\w+(?: COLLATE \w+)?)")
_STAND_IN = re.compile(rb"^/\*!50001 CREATE VIEW (`\w+`) AS SELECT\s*$")
_COLUMN = re.compile(rb"^ +(?:1|NULL) AS (`(?:[^`]|``)+`)(,?)( ?\*/;)?$")
_DROP_VIEW = re.compile(rb"^/\*!50001 DROP VIEW IF EXISTS (`\w+`)\*/;$")


def restore(client: Sequence[str], program: Sequence[str], databases: Sequence[str], origin: Origin, *, timeout: float = 3600) -> None:
    """Make databases over again in one of the ways.

    Args:
        client: command of a client that reads SQL as an administrator.
        program: command of the server's dump program, without the options that say what is dumped.
        databases: those that are dumped, dropped and made again.
        origin: `created` leaves them as they are.

    Raises:
        LoadFailed: the dump can't be taken, or the server refuses it.
    """
    if origin == "created":
        return
    with tempfile.TemporaryDirectory(prefix="lab-dump-") as folder:
        dump = Path(folder) / "dump.sql"
        _take(program, databases, dump)
        with dump.open("rb") as lines:
            feed(client, _statements(lines, databases, origin), timeout=timeout)


def _take(program: Sequence[str], databases: Sequence[str], target: Path) -> None:
    options = ["--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--databases"]
    with target.open("wb") as file:
        done = subprocess.run([*program, *options, *databases], stdout=file, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise LoadFailed(
            f"{program[0]} could not take a dump", done.stderr.decode(errors="replace").strip(), "remove that cause, then run it again"
        )


def _statements(lines: Iterable[bytes], databases: Sequence[str], origin: Origin) -> Iterator[bytes]:
    for name in databases:
        yield b"DROP DATABASE `" + name.encode() + b"`;\n"
    yield from as_older_program(lines) if origin == "restored-old" else lines


def as_older_program(lines: Iterable[bytes]) -> Iterator[bytes]:
    """A dump as programs of MySQL 5.1 to 5.6 and MariaDB 5.5 to 10.5 write it.

    Until all is made, a table stands in for each view, with columns of type tinyint; and no routine's database has the default collation
    that it had when the routine was made.
    """
    later: list[bytes] = []
    within = False
    for line in lines:
        found = _DEFAULT.match(line)
        if found:
            later.append(b"ALTER DATABASE `" + found[2] + b"` CHARACTER SET " + found[3] + b";\n")
            yield line.replace(found[3], OLD_DEFAULT, 1)
        elif stand_in := _STAND_IN.match(line):
            within = True
            yield b"/*!50001 CREATE TABLE " + stand_in[1] + b" (\n"
        elif within and (column := _COLUMN.match(line)):
            within = not column[3]
            yield b"  " + column[1] + b" tinyint NOT NULL" + column[2] + b"\n"
            if column[3]:
                yield b") ENGINE=MyISAM */;\n"
        elif gone := _DROP_VIEW.match(line):
            yield b"/*!50001 DROP TABLE IF EXISTS " + gone[1] + b"*/;\n" + line
        else:
            yield line
    yield from later

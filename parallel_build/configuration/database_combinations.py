"""The transfer methods from one database server to another, as data: which series to which, and by which method.

Without servers and sessions, so that a configuration can be judged before anything is contacted; `dialects.supported` asks real servers.
Sources: the servers' manuals (MariaDB 10.11, MySQL 8.0, 8.4, 9.x); what was run on real servers is marked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["mariadb", "mysql"]
Method = Literal["dump", "replicate"]


@dataclass(frozen=True)
class Combination:
    """One supported way over: old series to new series.

    Attributes:
        old: family and (major, minor) range of the original, both ends included.
        new: family and (major, minor) range of the new server.
        methods: transfer methods that serve.
        why_not_replicate: reason, where `replicate` is not among them.
        proved: run on real servers in the tests; else right by documentation.
    """

    old: tuple[Family, tuple[int, int], tuple[int, int]]
    new: tuple[Family, tuple[int, int], tuple[int, int]]
    methods: tuple[Method, ...]
    why_not_replicate: str = ""
    proved: bool = False


_OLD = "replication from a series before MariaDB 10.6 or MySQL 8.0 is not offered: copy it with dump"
_DIFFERENT = "the binary logs of MariaDB and MySQL are not compatible in this direction"
COMBINATIONS: tuple[Combination, ...] = (
    Combination(("mariadb", (10, 6), (10, 11)), ("mariadb", (10, 11), (10, 11)), ("dump", "replicate"), proved=True),
    Combination(("mariadb", (10, 6), (11, 8)), ("mariadb", (11, 0), (11, 8)), ("dump", "replicate")),
    Combination(("mariadb", (10, 2), (10, 5)), ("mariadb", (10, 11), (11, 8)), ("dump",), _OLD, proved=True),
    Combination(("mysql", (8, 0), (8, 0)), ("mysql", (8, 0), (8, 0)), ("dump", "replicate")),
    Combination(("mysql", (5, 7), (5, 7)), ("mysql", (8, 0), (9, 7)), ("dump",), _OLD),
    Combination(("mysql", (8, 0), (8, 4)), ("mysql", (8, 4), (8, 4)), ("dump", "replicate")),
    # A source replicates to its own series and to the next one [MySQL manual, Replication Compatibility Between MySQL Versions].
    Combination(("mysql", (8, 4), (9, 7)), ("mysql", (9, 0), (9, 7)), ("dump", "replicate"), proved=True),
    Combination(
        ("mysql", (8, 0), (8, 0)), ("mysql", (9, 0), (9, 7)), ("dump",),
        "MySQL replicates to the next series only: 8.0 to 8.4, 8.4 to 9",
    ),
    Combination(("mariadb", (10, 2), (11, 8)), ("mysql", (8, 0), (9, 7)), ("dump",), _DIFFERENT, proved=True),
    Combination(("mysql", (5, 7), (8, 0)), ("mariadb", (10, 11), (11, 8)), ("dump",), _DIFFERENT),
)  # fmt: skip


def families_refuse(old: Family, new: Family, method: Method) -> tuple[str, Method] | None:
    """Why a method serves between no series of two families, and the method that does serve; None where it serves between some."""
    entries = [entry for entry in COMBINATIONS if (entry.old[0], entry.new[0]) == (old, new)]
    if any(method in entry.methods for entry in entries):
        return None
    return entries[0].why_not_replicate, entries[0].methods[0]

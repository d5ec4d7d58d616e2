"""Drawn tables, of which a drawn change was done to a copy: the comparison calls just those different that the server's own dump shows to be.

`PARALLEL_BUILD_DIFFERENCES=N` takes N rounds of 40 tables each, `PARALLEL_BUILD_DIFFERENCES_SEED` begins elsewhere.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare, fingerprint, session_pool
from parallel_build.database.schema import definitions
from parallel_build.remote.host import Host
from tests.containers.database_stand import roots, sql, stand
from tests.containers.drawn_differences import Drawn, table

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1200)]
SEED = int(os.environ.get("PARALLEL_BUILD_DIFFERENCES_SEED") or 20261130)
ROUNDS = int(os.environ.get("PARALLEL_BUILD_DIFFERENCES", "2"))
TABLES = 40
LENIENT = (
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', SESSION time_zone = '+00:00', SESSION innodb_strict_mode = 0;"
)
DUMP = {
    "mariadb": "mariadb-dump --order-by-primary",
    "mysql": "mysqldump --order-by-primary --set-gtid-purged=OFF --no-tablespaces",
}
PRINTED = "--hex-blob --skip-extended-insert --complete-insert --no-create-info --compact --default-character-set=utf8mb4 drawn"


def run(host: Host, family: str, statements: str) -> None:
    """Run what may be refused in part: a table or a value that this server does not take is left out."""
    host.write("/root/drawn.sql", f"{LENIENT} {statements}".encode())
    host.run(["sh", "-c", f"{family} --force --default-character-set=utf8mb4 </root/drawn.sql"], timeout=300, ok=None)


def dumped(host: Host, family: str, drawn: Sequence[Drawn]) -> dict[str, list[str]]:
    """What the server's own program prints of each table, and floats with all of their digits."""
    shown = host.run(["sh", "-c", f"{DUMP[family]} {PRINTED} | od -An -v -tx1 | tr -d ' \\n'"], timeout=300).stdout
    text = bytes.fromhex(shown).decode("utf-8", "surrogateescape")
    found: dict[str, list[str]] = {each.name: [] for each in drawn}
    for line in f"\n{text}".split("\nINSERT INTO `")[1:]:
        found[line.partition("`")[0]].append(line.rstrip("\n"))
    for each in drawn:
        key = "id" if each.keyed else "''"
        for column in each.floats:
            asked = f"SELECT CONCAT({key}, '=', IFNULL(`{column}` + 0e0, 'NULL')) FROM drawn.`{each.name}`"
            found[each.name] += sql(host, asked).split("\n")
        found[each.name].sort()
    return found


def different(hosts: Sequence[Host]) -> tuple[set[str], set[str], set[str]]:
    """Tables that were compared; of these those called different; and those of which the order of their rows can't be compared."""
    with session_pool.open_side(hosts[0], 2) as left, session_pool.open_side(hosts[1], 2) as right:
        found, other = (side.ask(lambda opened: definitions.read_tables(opened, "drawn")).result() for side in (left, right))
        both = [each for each in found if each.name in {one.name for one in other}]
        verdict = compare.Comparison("left", "right")
        compare._compare_parts(left, right, compare._ranges(left, right, both, verdict), verdict, CancelToken(), lambda text: None)
    assert not [each for each in verdict.differences if "changed again" in each.detail]
    order = {words.partition(":")[0].removeprefix("drawn.") for words in verdict.not_comparable}
    return {each.name for each in both}, {each.object.removeprefix("table ") for each in verdict.differences}, order


@pytest.mark.parametrize("pair", ["mariadb to mariadb", "mysql to mysql", "mariadb to mysql"])
def test_what_a_servers_dump_shows_to_differ_differs_and_nothing_else(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    families = pair.split(" to ")
    if missing := set(families) - roots().keys():
        pytest.skip(f"no root file system with {', '.join(sorted(missing))}")
    monkeypatch.setattr(fingerprint, "DIGEST_BYTES", 1)
    monkeypatch.setattr(fingerprint, "DIGEST_PIECES", 7)  # of each table, however small
    compared = changed = 0
    with stand() as made:
        hosts = [
            made.add(name, roots()[family], number) for name, family, number in zip(("left", "right"), families, (13, 31), strict=True)
        ]
        for number in range(ROUNDS):
            dice = random.Random(SEED * 1000 + number)
            drawn = [table(dice, f"t{place}") for place in range(TABLES)]
            making = "\n".join(statement for each in drawn for statement in each.making)
            for host, family in zip(hosts, families, strict=True):
                run(host, family, f"DROP DATABASE IF EXISTS drawn; CREATE DATABASE drawn CHARACTER SET utf8mb4; USE drawn; {making}")
            before = dumped(hosts[1], families[1], drawn)
            run(hosts[1], families[1], "USE drawn;\n" + "\n".join(each.changing for each in drawn))
            after = dumped(hosts[1], families[1], drawn)
            tables, called, order = different(hosts)
            wanted = {name for name in tables if before[name] != after[name]}
            unordered = {each.name for each in drawn if not each.keyed} & order
            wrong = {each.name: (each.making[0], each.changing) for each in drawn if each.name in (wanted ^ called) - unordered}
            assert wrong == {}, f"seed {SEED}, round {number}"
            compared, changed = compared + len(tables), changed + len(wanted)
    assert compared > ROUNDS * TABLES * 0.8 and compared * 0.2 < changed < compared * 0.8

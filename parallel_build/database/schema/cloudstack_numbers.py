"""The numbers that CloudStack gives away and that leave its database: ids in names of VMs and folders, MAC addresses. Read, and moved forward only.

After a rollback the original counts on from where it stood, while what the new side made may still run under the next numbers. [CloudStack: table generators
in `sequence` (vm_instance_seq names r-19-VM), `data_center.mac_address` and `op_networks.mac_address_seq`; the other ids by AUTO_INCREMENT]
"""

from __future__ import annotations

from dataclasses import dataclass

from parallel_build.database.schema import counters
from parallel_build.remote.sql import Session, quote

# Tables whose ids stand in names and paths outside the database: instance names, folders of templates, volumes and snapshots on storage.
COUNTED = ("account", "networks", "snapshots", "vm_instance", "vm_template", "volumes")
# Given away since the last note, by a new side that can't be asked any more.
MARGIN = 10_000

Numbers = dict[str, int]  # "sequence vm_instance_seq", "data_center 1", "op_networks 204", "AUTO_INCREMENT volumes" -> the next number


@dataclass(frozen=True)
class Generator:
    """One kind of number: a column with a row for each generator."""

    table: str
    key: str
    column: str


GENERATORS = (
    Generator("sequence", "name", "value"),
    Generator("data_center", "id", "mac_address"),
    Generator("op_networks", "id", "mac_address_seq"),
)
AUTO = "AUTO_INCREMENT"
INSTANCES = "sequence vm_instance_seq"


def read(database: Session) -> Numbers:
    """The next number of each generator."""
    found: Numbers = {}
    for each in GENERATORS:
        for row in database.rows(f"SELECT {quote(each.key)} AS k, {quote(each.column)} AS n FROM cloud.{quote(each.table)}"):
            found[f"{each.table} {row['k']}"] = int(row["n"])
    highest = int(database.value("SELECT COALESCE(MAX(id), 0) FROM cloud.vm_instance"))
    if INSTANCES in found:
        found[INSTANCES] = max(found[INSTANCES], highest + 1)
    for (_, table), number in counters.read(database, ["cloud"]).items():
        if table in COUNTED:
            found[f"{AUTO} {table}"] = number
    return found


def with_margin(known: Numbers) -> Numbers:
    """Numbers that are surely past those given away since they were noted."""
    return {name: number + MARGIN for name, number in known.items()}


def to_move(own: Numbers, used: Numbers) -> dict[str, tuple[int, int]]:
    """What must move: name -> (now, wanted). A generator that the original does not have is the new side's alone."""
    return {name: (own[name], used[name]) for name in sorted(own.keys() & used.keys()) if used[name] > own[name]}


def move(database: Session, name: str, wanted: int) -> None:
    """Move one number forward. Never back: whoever has moved it further meanwhile wins."""
    table, key = name.split(" ", 1)
    if table == AUTO:
        # InnoDB takes a number below the table's highest id for that id and one.
        database.execute(f"ALTER TABLE cloud.{quote(key)} {AUTO} = {int(wanted)}")
        return
    each = next(each for each in GENERATORS if each.table == table)
    database.execute(
        f"UPDATE cloud.{quote(each.table)} SET {quote(each.column)} = %s WHERE {quote(each.key)} = %s AND {quote(each.column)} < %s",
        [wanted, key, wanted],
    )


def reverse(name: str, was: int) -> str:
    """The statement that would put a number back, for the record: right only as long as nothing was given a number since."""
    table, key = name.split(" ", 1)
    if table == AUTO:
        return f"ALTER TABLE cloud.{quote(key)} {AUTO} = {was}"
    each = next(each for each in GENERATORS if each.table == table)
    return f"UPDATE cloud.{quote(each.table)} SET {quote(each.column)} = {was} WHERE {quote(each.key)} = '{key}'"

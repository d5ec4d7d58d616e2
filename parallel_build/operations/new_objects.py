"""What exists when the window opens, and what was created since: an operator has to tidy it up after going back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.created_kinds import TABLES
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import UNDO_ASKS_FOR, store
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

# Kind -> (table, name column, condition): rows that stand for something outside the database or that a user would miss.
KINDS = {
    "virtual machines": ("vm_instance", "instance_name", "type = 'User'"),
    "system VMs": ("vm_instance", "instance_name", "type <> 'User'"),
    "volumes": ("volumes", "name", "1"),
    "snapshots": ("snapshots", "name", "1"),
    "networks": ("networks", "name", "1"),
    "templates": ("vm_template", "name", "1"),
    "accounts": ("account", "account_name", "1"),
    "users": ("user", "username", "1"),
}


@dataclass(frozen=True)
class Created:
    """Items by kind, each with id, uuid and name; `unknown` says why nothing could be learnt."""

    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unknown: str = ""

    def in_words(self) -> str:
        """One line for the operator."""
        if self.unknown:
            return f"what was created is not known ({self.unknown})"
        parts = [f"{len(found)} {kind} ({', '.join(str(i['name']) for i in found[:5])}{', ...' if len(found) > 5 else ''})"
                 for kind, found in self.items.items() if found]  # fmt: skip
        return ", ".join(parts) or "nothing was created since the window opened"


def highest_ids(database: Session) -> dict[str, int]:
    """The highest id of each kind's table; a later row has a higher one."""
    there = {
        str(row["name"]) for row in database.rows("SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud'")
    }
    return {
        table: int(database.value(f"SELECT COALESCE(MAX(id), 0) FROM cloud.`{table}`"))
        for table in sorted({table for table, _, _ in KINDS.values()} | (there & set(TABLES)))
    }


def since(database: Session, ids: dict[str, int]) -> Created:
    """What the database has beyond these ids and that is not removed again."""
    items = {}
    for kind, (table, name, condition) in KINDS.items():
        items[kind] = database.rows(
            f"SELECT id, uuid, {name} AS name FROM cloud.`{table}` WHERE id > %s AND removed IS NULL AND {condition} ORDER BY id",
            [ids.get(table, 0)],
        )
    return Created(items)


def since_window(context: Context, host: Access) -> Created:
    """What the new side created since this stack's window opened; never fails, says why where it is not known."""
    ids = store(context).facts("Window").get("highest_ids")
    if not ids:
        return Created(unknown="the window's record has no snapshot")
    try:
        with session(host, timeout=UNDO_ASKS_FOR) as database:
            if database.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA='cloud'") == 0:
                return Created()
            return since(database, ids)
    except (ConnectionFailed, CommandFailed, StepFailed) as error:
        return Created(unknown=str(error))

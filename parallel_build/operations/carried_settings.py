"""Settings of the original that name a path or an old server: listed, and changed in the copy where `new.carry.settings` says so."""

from __future__ import annotations

from typing import Any

from parallel_build.configuration.carry import CarriedSetting
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.facts.carried_settings import label, missing, update
from parallel_build.health import queries, scoped
from parallel_build.health.scoped import Setting, local_path, mentions
from parallel_build.operations.context import Context
from parallel_build.remote.sql import Refused, Session


def write(context: Context, database: Session) -> list[str]:
    """Change them in the copy; what is changed already stays.

    Raises:
        StepFailed: one is not there.
    """
    wanted = context.configuration.new.carry.settings
    if problems := missing(database, wanted):
        raise StepFailed(
            "; ".join(problems), "the copy has the original's settings", "correct new.carry.settings, then run the same command again"
        )
    for each in wanted:
        context.intend(f"change {label(each)} in the copy")
        database.execute(*update(each))
    return [label(each) for each in wanted]


def check(database: Session, wanted: list[CarriedSetting]) -> None:
    """Raises GuardFailed where one of them is not on the original."""
    if problems := missing(database, wanted):
        raise GuardFailed(
            "; ".join(problems), "only a value that is there is changed in the copy", "correct new.carry.settings; nothing has been changed"
        )


def naming(context: Context, database: Session) -> list[str]:
    """Settings whose value is a path or names one of the original's management servers, and which are changed in the copy."""
    names = {word for server in context.configuration.original.management for word in (server.name, server.address)}
    names |= {str(row["name"]) for row in database.rows("SELECT name FROM cloud.mshost WHERE removed IS NULL")} - {"localhost"}
    changed = {(each.name, each.of or "") for each in context.configuration.new.carry.settings}
    return [
        f"{setting}{' -> changed in the copy' if (setting.name, setting.where) in changed else ''}"
        for setting in _settings(database)
        if setting.name != "host" and setting.value and (local_path(setting) or any(mentions(setting.value, name) for name in names))
    ]


def _settings(database: Session) -> list[Setting]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in ("settings", *scoped.QUERIES):
        try:
            rows[name] = database.rows(queries.QUERIES[name], ())
        except Refused as error:
            if not error.unknown:
                raise
            rows[name] = []  # a version without that table has no such settings
    return list(scoped.everywhere(lambda name: rows.get(name, []), ()))

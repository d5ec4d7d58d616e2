"""What users created on the new side: read from its database, without what the original has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from parallel_build.cloudstack.created_kinds import KINDS, PROJECT, Kind
from parallel_build.remote.sql import Refused

TOGETHER = 500  # identities in one statement
Row = dict[str, Any]


class Rows(Protocol):
    """A session to a database server."""

    def rows(self, statement: str, values: Any = None) -> list[Row]:
        """The rows of a query."""


@dataclass(frozen=True)
class Created:
    """One object.

    Attributes:
        kind: name of its kind.
        uuid: on the new side.
        account, domain: its owner's name and the domain's path; "" for none.
        project: UUID of the project that owns it; "" for none.
        details: what else is known of it, by the names of its kind.
    """

    kind: str
    uuid: str
    name: str
    account: str = ""
    domain: str = ""
    project: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """For people."""
        return f"{self.domain}{self.account}" if self.account else self.domain

    @property
    def key(self) -> str:
        """What tells it from any other: two kinds may be of one row."""
        return f"{self.kind} {self.uuid}"

    def text(self, name: str) -> str:
        """A detail as text, "" where it has none."""
        found = self.details.get(name)
        return "" if found is None else str(found)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "details": dict(self.details)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Created:
        """From plain values; what another version added is left out."""
        texts = {name: str(document.get(name) or "") for name in ("kind", "uuid", "name", "account", "domain", "project")}
        return cls(**texts, details=dict(document.get("details") or {}))


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        unknown: kinds that could not be read, and why.
    """

    objects: list[Created] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def read(new: Rows, original: Rows, highest: Mapping[str, int]) -> Found:
    """Everything that the new side has and the original has not.

    Args:
        highest: the highest id of each table when the window opened.
    """
    objects, unknown = list[Created](), dict[str, str]()
    for kind in KINDS:
        if not kind.updated and kind.table not in highest:
            unknown[kind.name] = "the window was opened by an earlier version, or the original has no such table"
            continue
        try:
            rows = _rows(new, kind, highest.get(kind.table, 0))
            known = _known(original, kind, [str(row["identity"]) for row in rows])
        except Refused as error:
            if not error.unknown:
                raise
            unknown[kind.name] = f"the schema of this version is different: {error.cause}"
            continue
        objects += [_object(kind, row) for row in rows if str(row["identity"]) not in known]
    return Found(objects, unknown)


def _rows(database: Rows, kind: Kind, above: int) -> list[Row]:
    extra = "".join(f", {sql} AS `{name}`" for name, sql in kind.extra.items())
    rows = database.rows(
        f"SELECT t.id AS row_id, t.uuid AS uuid, {kind.named} AS name, {kind.identity} AS identity, own.account_name AS owner_name, own.type AS owner_type, "
        "(SELECT pr.uuid FROM cloud.projects pr WHERE pr.project_account_id = own.id LIMIT 1) AS project, d.path AS domain_path"
        f"{extra} FROM cloud.`{kind.table}` t {kind.joins} LEFT JOIN cloud.account own ON own.id = {kind.account} "
        f"LEFT JOIN cloud.domain d ON d.id = COALESCE({kind.domain}, own.domain_id) "
        f"WHERE t.id > %s AND {kind.condition} ORDER BY t.id",
        [0 if kind.updated else above],
    )
    for name, statement in kind.lists.items():
        several: dict[int, list[str]] = {}
        for each in database.rows(statement, [above]):
            several.setdefault(int(each["id"]), []).append(str(each["value"]))
        for row in rows:
            row[name] = several.get(int(row["row_id"]), [])
    return rows


def _known(original: Rows, kind: Kind, identities: list[str]) -> set[str]:
    found: set[str] = set()
    condition = kind.condition if kind.updated else "1"
    for some in _parts(identities):
        marks = ", ".join(["%s"] * len(some))
        statement = f"SELECT {kind.identity} AS identity FROM cloud.`{kind.table}` t WHERE {kind.identity} IN ({marks}) AND {condition}"
        found |= {str(row["identity"]) for row in original.rows(statement, some)}
    return found


def _parts(identities: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(identities), TOGETHER):
        yield identities[first : first + TOGETHER]


def _object(kind: Kind, row: Row) -> Created:
    names = [*kind.extra, *kind.lists]
    in_project = row["owner_type"] == PROJECT
    return Created(
        kind.name,
        str(row["uuid"] or row["identity"]),
        str(row["name"] or ""),
        "" if in_project else str(row["owner_name"] or ""),
        str(row["domain_path"] or ""),
        str(row["project"] or "") if in_project else "",
        {name: _plain(row[name]) for name in names if row[name] is not None},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big") if len(value) == 1 else value.decode(errors="replace")
    if isinstance(value, Decimal):
        return int(value)
    return str(value) if isinstance(value, date) else value


def by_kind(objects: Iterable[Created]) -> dict[str, list[Created]]:
    """Objects by the name of their kind, in the order of `KINDS`; kinds of a different version come last."""
    found: dict[str, list[Created]] = {kind.name: [] for kind in KINDS}
    for each in objects:
        found.setdefault(each.kind, []).append(each)
    return {kind: some for kind, some in found.items() if some}

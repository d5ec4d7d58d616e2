"""Are two servers' definitions the same? A server that was given both says so; see `trial`. What only one side has, and counters, need no judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from parallel_build.cancel import CancelToken
from parallel_build.database.compare.session_pool import Side
from parallel_build.database.copy.trial import PARTS_OF_TABLES, Trial
from parallel_build.database.schema import attributes, counters, definitions, meanings
from parallel_build.database.schema.definitions import Code, Schema, Table
from parallel_build.database.schema.prints import Key, Print, code_print, prints
from parallel_build.database.schema.translate import Translation
from parallel_build.database.server import judge


@dataclass(frozen=True)
class Difference:
    """One finding.

    Attributes:
        kind: `missing`, `additional`, `definition`, `auto_increment`, `rows`.
        schema: database.
        object: what differs, as `table event`, `column event.uuid`, `procedure x`.
        detail: in which way, with key range and sample keys for rows.
    """

    kind: str
    schema: str
    object: str
    detail: str

    def __str__(self) -> str:
        return f"{self.schema}: {self.object}: {self.kind}: {self.detail}"


@dataclass
class Definitions:
    """What became of the definitions.

    Attributes:
        differences: all findings.
        tables: the original's tables that the copy has with the same columns: their rows can be compared.
        notes: what could not be compared, or is another on purpose, in words.
        objects: how many were compared: databases, tables, views, routines, triggers and events.
    """

    differences: list[Difference] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    objects: int = 0


def compare_definitions(
    left: Side, right: Side, names: Sequence[str], *, cancel: CancelToken, progress: Callable[[str], None]
) -> Definitions:
    """Compare whole databases' definitions and counters."""
    here, there = _read(left, names), _read(right, names, odd_too=True)
    ours, theirs = here(), there()
    cancel.check()
    mine, other = prints(ours), prints(theirs)
    found = Definitions()
    found.differences += _one_sided(mine, other)
    found.differences += _odd(right, names)
    found.differences += _running(mine, other)
    found.differences += _counted(left, right, [one.name for one in ours if one.name in {each.name for each in theirs}])
    common = [key for key in mine if key in other]
    found.objects = len(common)
    found.differences += _collations([(mine[key].made, other[key].made) for key in common], Translation(left.server, right.server))
    found.differences += _judged(left, right, ours, [(mine[key], other[key]) for key in common], cancel, progress)
    for key in common:
        table, copy = mine[key].made, other[key].made
        if isinstance(table, Table) and isinstance(copy, Table):
            apart = "columns" if _names(table) != _names(copy) else "primary keys" if table.primary_key != copy.primary_key else ""
            if apart:
                found.notes.append(f"{table.schema}.{table.name}: its rows, because the {apart} are not the same")
            else:
                found.tables.append(table)
    return found


def _names(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def _read(side: Side, names: Sequence[str], *, odd_too: bool = False) -> Callable[[], list[Schema]]:
    """Ask for the definitions of the databases that are there; to be waited for."""
    present = side.ask(lambda opened: definitions.existing(opened, names)).result()
    asked = [side.ask(partial(definitions.read, schema=name, odd_too=odd_too)) for name in present]
    return lambda: [each.result() for each in asked]


def _one_sided(mine: dict[Key, Print], other: dict[Key, Print]) -> list[Difference]:
    """Objects that only one side has; what is in a database that is missing as a whole is not named one by one."""
    gone = {key[1] for key in mine.keys() ^ other.keys() if key[0] == "database"}
    found = []
    for key in mine.keys() ^ other.keys():
        kind, name, thing = key
        if kind != "database" and name in gone:
            continue
        missing = key in mine
        detail = "the copy does not have it" if missing else "the original does not have it"
        found.append(Difference("missing" if missing else "additional", name, f"{kind} {thing}", detail))
    return found


def _odd(right: Side, names: Sequence[str]) -> list[Difference]:
    """What no copy brings: the original was looked at for it before."""
    asked = [(name, right.ask(partial(definitions.odd, schema=name))) for name in names]
    return [
        Difference("additional", name, f"{kind} {thing}", "the original does not have it")
        for name, answer in asked
        for thing, kind in answer.result()
    ]


def _running(mine: dict[Key, Print], other: dict[Key, Print]) -> list[Difference]:
    """Events stay disabled on a copy until it is used, and a replica's never run; one that runs though the original's does not is a difference."""
    found = []
    for key, each in other.items():
        ours = mine[key].made if key in mine else None
        if isinstance(each.made, Code) and isinstance(ours, Code) and each.made.status == "ENABLED" and ours.status != "ENABLED":
            found.append(Difference("definition", key[1], f"event {key[2]}", f"status '{ours.status}' became 'ENABLED'"))
    return found


def _counted(left: Side, right: Side, names: Sequence[str]) -> list[Difference]:
    if not names:
        return []
    here, there = (side.ask(partial(counters.read, names=names)) for side in (left, right))
    ours, theirs = here.result(), there.result()
    return [
        Difference("auto_increment", name, f"table {table}", f"auto_increment '{ours[name, table]}' became '{theirs[name, table]}'")
        for name, table in ours.keys() & theirs.keys()
        if ours[name, table] != theirs[name, table]
    ]


def _collations(pairs: Iterable[tuple[object, object]], translation: Translation) -> list[Difference]:
    """Between families a print may leave out what is its own server's default: asked column by column, by the copy's own table."""
    found = []
    for table, copy in pairs:
        if translation.same or not isinstance(table, Table) or not isinstance(copy, Table):
            continue
        theirs = {column.name: column for column in copy.columns}
        for column in table.columns:
            other = theirs.get(column.name)
            if not (column.collation and other and other.collation):
                continue
            wanted = _present_name(translation.collation(column.collation))
            if wanted != _present_name(other.collation):
                detail = f"collation '{wanted}' became '{other.collation}'"
                found.append(Difference("definition", table.schema, f"column {table.name}.{column.name}", detail))
    return found


def _present_name(collation: str) -> str:
    return f"utf8mb3{collation[4:]}" if collation.startswith("utf8_") else collation


def _judged(
    left: Side,
    right: Side,
    ours: Sequence[Schema],
    pairs: Sequence[tuple[Print, Print]],
    cancel: CancelToken,
    progress: Callable[[str], None],
) -> list[Difference]:
    """Ask the judge about what is not known to mean the same."""
    host = right.sessions[0].host
    pairs = [(one, _by_default(one, other, left, right)) for one, other in pairs]
    known = right.ask(partial(meanings.known, host=host, original=left.server.family)).result()
    doubtful = [pair for pair in pairs if not known.same(*pair)]
    if not doubtful:
        return []
    progress(f"{len(doubtful)} definitions are printed in other words: asking a server what they mean")
    with judge.judge(host, cancel) as opened:
        trial = Trial(opened, left.server, right.server, ours, known, cancel)
        trial.make()
        doubtful = [pair for pair in doubtful if not known.same(*pair)]
        trial.settle(one.key for one, _ in doubtful)
        before, first = (trial.attributes(), trial.printed()) if doubtful else ({}, {})
        refused = trial.judge([other for _, other in doubtful])
        after, second = (trial.attributes(), trial.printed()) if doubtful else ({}, {})
    meanings.keep(host, known)
    found = []
    for one, other in doubtful:
        if known.same(one, other):
            continue
        named = _named(one, before, after) if other.key not in refused else []
        found += named or [
            Difference(
                "definition", one.schema, f"{one.kind} {one.name}", _words(first.get(one.key, one), second.get(one.key, other), refused)
            )
        ]
    return found


def _by_default(one: Print, other: Print, left: Side, right: Side) -> Print:
    """The copy's print with the original's collation, where each server took its family's own because its client named none."""
    mine, code = one.made, other.made
    if left.server.family == right.server.family or not isinstance(mine, Code) or not isinstance(code, Code):
        return other
    if (mine.collation, code.collation) != (left.server.dialect.default_collation, right.server.dialect.default_collation):
        return other
    return code_print(replace(code, collation=Translation(left.server, right.server).collation(mine.collation)))


def _words(one: Print, other: Print, refused: dict[Key, str]) -> str:
    if other.key in refused:
        return f"the new server does not make it from its own print any more: {refused[other.key]}"
    if one.kind == "database":
        return f"default character set and collation '{one.text}' became '{other.text}'"
    start = next((at for at, (a, b) in enumerate(zip(one.text, other.text, strict=False)) if a != b), 0)
    begin = max(0, start - 20)
    return f"definition '{one.text[begin : start + 60]}' ({len(one.text)} characters) became '{other.text[begin : start + 60]}' ({len(other.text)})"


def _named(one: Print, before: attributes.Objects, after: attributes.Objects) -> list[Difference]:
    """What the judge's information_schema has on both: parts that only one has, and attributes that differ."""
    full = f"{one.schema}.{one.name}"
    kinds = PARTS_OF_TABLES if one.kind == "table" else (one.kind,)
    found = []
    for kind, name in sorted(before.keys() | after.keys()):
        if kind not in kinds or not (name == full or (one.kind == "table" and name.startswith(f"{full}."))):
            continue
        words = f"{kind} {name.removeprefix(f'{one.schema}.')}"
        if (kind, name) not in after:
            found.append(Difference("missing", one.schema, words, "the copy does not have it"))
        elif (kind, name) not in before:
            found.append(Difference("additional", one.schema, words, "the original does not have it"))
        else:
            mine, other = before[kind, name], after[kind, name]
            changed = [key for key in sorted(mine.keys() | other.keys()) if mine.get(key, "") != other.get(key, "")]
            found += [
                Difference("definition", one.schema, words, f"{key} {_short(mine.get(key, ''))} became {_short(other.get(key, ''))}")
                for key in changed
            ]
    return found


def _short(text: str) -> str:
    return f"'{text}'" if len(text) <= 80 else f"'{text[:60]}...' ({len(text)} characters)"

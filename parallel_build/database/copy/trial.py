"""Everything that a copy makes, made once and empty on a judge: what can't be made is found, and what each definition means is recorded.

A definition's meaning is what the judge prints of it once that makes itself again. Two definitions are the same when their meanings are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import create, definers
from parallel_build.database.copy.create import Failure
from parallel_build.database.schema import attributes, definitions
from parallel_build.database.schema.attributes import Attributes, Objects
from parallel_build.database.schema.definitions import Code, Schema, Table
from parallel_build.database.schema.prints import Key, Known, Print, prints
from parallel_build.database.schema.translate import Translation, outside_quotes
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session, quote

NAMED_SET = re.compile(r" (?:CHARACTER SET|COLLATE) [a-z0-9_]+")
PARTS_OF_TABLES = ("table", "column", "index", "foreign key", "check", "partition")
ROUNDS = 8  # times that a definition may be made from its own print until it stays


class Trial:
    """The original's definitions on a judge.

    Args:
        judge: session to it.
        old: the original's server, for whose family's words others are taken.
        new: the server next to which the judge runs.
        definitions: the original's databases.
        known: filled with what is found to be the same.
    Attributes:
        failures: what the server does not make, causes before consequences.
    """

    def __init__(
        self, judge: Session, old: DatabaseServer, new: DatabaseServer, definitions: Sequence[Schema], known: Known, cancel: CancelToken
    ) -> None:
        self._judge, self._old, self._new, self._cancel, self._known = judge, old, new, cancel, known
        self._definitions = definitions
        self._originals = prints(definitions)
        self._forms: dict[Key, list[Print]] = {}
        self._unchanged = Translation(new, new)
        self.failures: list[Failure] = []

    def make(self) -> None:
        """Make everything, and learn what each print becomes; of a table the first print is enough until a different one is to be judged."""
        names = [one.name for one in self._definitions]
        create.make_schemas(self._judge, self._old, self._new, self._definitions)
        definers.ensure(self._judge, definers.used(self._definitions), names)
        translation = Translation(self._old, self._new)
        failures = self._make_tables([table for one in self._definitions for table in one.tables], translation)
        failures += create.try_codes(self._judge, self._new, [code for one in self._definitions for code in one.codes], translation)
        first = create.causes(failures)
        self.failures = [*first, *(failure for failure in failures if failure not in first)]
        self._forms = {key: [each] for key, each in self._originals.items()}
        now = self._settle({key: forms for key, forms in self._forms.items() if isinstance(forms[0].made, Code)})
        for key, forms in self._forms.items():
            if key in now and now[key] != forms[-1]:
                forms.append(now[key])
        self._learn(self._forms)

    def judge(self, others: Iterable[Print]) -> dict[Key, str]:
        """Make these in place of the original's of the same names, and learn what each becomes; return what the server refuses, in its words.

        What `attributes` holds is then theirs.
        """
        wanted = [each for each in others if each.kind != "database"]
        refused = self._replace(wanted, self._unchanged)
        forms = {each.key: [each] for each in wanted if each.key not in refused}
        self._settle(forms)
        self._learn(forms)
        return refused

    def settle(self, keys: Iterable[Key]) -> None:
        """Make the original's of these names from their prints until those stay."""
        forms = {key: self._forms[key] for key in keys if key[0] == "table" and key in self._forms}
        self._settle(forms)
        self._learn(forms)

    def attributes(self) -> Objects:
        """What everything that is on the judge now looks like, part by part; names carry their database."""
        found: Objects = {}
        for one in self._definitions:
            for (kind, name), each in attributes.read(self._judge, one.name).items():
                found[kind, f"{one.name}.{name}"] = each
        return found

    def _settle(self, forms: dict[Key, list[Print]]) -> dict[Key, Print]:
        """Make each from its own print until that stays the same; return what is printed in the end."""
        for _ in range(ROUNDS):
            now = self.printed()
            moved = [now[key] for key, seen in forms.items() if key in now and now[key] != seen[-1]]
            if not moved:
                break
            for each in moved:
                forms[each.key].append(each)
            if refused := self._replace(moved, self._unchanged):
                raise self._odd(*next(iter(refused.items())))
        else:
            raise self._odd(moved[0].key, "it prints it in other words each time it is made from its own print")
        return now

    def _learn(self, forms: dict[Key, list[Print]]) -> None:
        """Keep what each means: the print that it has become, and of a table what information_schema has on its parts, too."""
        now = self.printed()
        parts = by_table(self.attributes()) if any(key[0] == "table" for key in forms) else {}
        for key, seen in forms.items():
            if key in now:
                self._known.learn(seen, meaning(now[key], parts.get(f"{key[1]}.{key[2]}", [])))

    def printed(self) -> dict[Key, Print]:
        """What the judge prints of everything now."""
        return prints(definitions.read(self._judge, one.name) for one in self._definitions)

    def _replace(self, wanted: Sequence[Print], translation: Translation) -> dict[Key, str]:
        """Make these in place of what has their names; return the server's errors on those that it refuses."""
        tables = [each.made for each in wanted if isinstance(each.made, Table)]
        codes = [each.made for each in wanted if isinstance(each.made, Code)]
        # What hangs on a table goes with it, and comes back with it.
        on = {(table.schema, table.name) for table in tables}
        again = {(code.schema, code.name) for code in codes if code.kind == "TRIGGER"}
        kept = [
            code
            for one in self._definitions
            for code in one.codes
            if code.kind == "TRIGGER" and (code.schema, code.table) in on and (code.schema, code.name) not in again
        ]
        self._judge.execute("SET SESSION foreign_key_checks = 0")
        for code in codes:
            self._judge.execute(f"DROP {code.kind} IF EXISTS {quote(code.schema)}.{quote(code.name)}")
        for table in tables:
            self._judge.execute(f"DROP TABLE IF EXISTS {quote(table.schema)}.{quote(table.name)}")
        failures = self._make_tables(tables, translation) + create.try_codes(self._judge, self._new, codes, translation)
        create.try_codes(self._judge, self._new, kept, Translation(self._old, self._new))
        return {(failure.kind, failure.made.schema, failure.made.name): failure.error.cause for failure in failures}

    def _make_tables(self, tables: Sequence[Table], translation: Translation) -> list[Failure]:
        failures = []
        create.take_as_they_are(self._judge, self._new)
        for table in tables:
            self._cancel.check()
            try:
                create.make_table(self._judge, table, table.create, translation, self._cancel)
            except StepFailed as error:
                failures.append(Failure(table, error))
        return failures

    def _odd(self, key: Key, words: str) -> StepFailed:
        kind, name = key[0], f"{key[1]}.{key[2]}"
        return StepFailed(
            f"{self._new.name}: {kind} {name} can't be made from the server's own print of it",
            words,
            f"on the original: drop {kind} {name} if nobody needs it, or report this as an issue of this project, with its definition",
        )


def by_table(read: Objects) -> dict[str, list[tuple[str, str, Attributes]]]:
    """What belongs to each table, by `schema.table`."""
    names = {name for kind, name in read if kind == "table"}
    found: dict[str, list[tuple[str, str, Attributes]]] = {name: [] for name in names}
    for (kind, name), each in sorted(read.items()):
        # A name may have dots of its own: the longest table's name that fits.
        parts = name.split(".")
        fitting = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
        owner = next((one for one in fitting if one in names), None)
        if kind in PARTS_OF_TABLES and owner:
            found[owner].append((kind, name, each))
    return found


def meaning(one: Print, parts: Sequence[tuple[str, str, Attributes]]) -> str:
    """The digest of what a print and its parts say.

    MySQL prints a column's character set where whoever made it had named it, though it be the table's own: of a table this is known by its parts.
    """
    text = outside_quotes(one.text, lambda part: NAMED_SET.sub("", part)) if one.kind == "table" else one.text
    return hashlib.sha256(json.dumps([*one.key, text, *one.under, *parts], sort_keys=True).encode(errors="surrogatepass")).hexdigest()[:32]

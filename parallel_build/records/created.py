"""What users created on the new side of a window that was rolled back, and what of it has been created again: two files on the original's database host.

The first is written once, before the new databases are emptied. The second is only appended to, a line for each object before and after the API is
called, by a command that carries the run's number: what an earlier run does after a later one is refused there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.created import Created, Found
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.records.record_file import RecordFile
from parallel_build.records.run_folder import now, operator
from parallel_build.records.window_record import WindowRecord
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER

NAME = "created.json"
BEGUN, MADE, DONE, FAILED = "begun", "made", "done", "failed"
# $1 folder, $2 name, $3 line. A line that a power cut has torn is ended first, so that this one stands alone.
APPEND = """
umask 077; mkdir -p -m 700 "$1"; file="$1/$2"
[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
printf '%s\\n' "$3" >>"$file"; sync "$file"
"""


@dataclass(frozen=True)
class CreatedRecord:
    """What is on record.

    Attributes:
        number, identity, opened: of the window.
        found: the objects, and the kinds that could not be read.
        unknown: why nothing could be read; "" where it could.
    """

    number: int
    identity: str
    opened: str
    found: Found = field(default_factory=Found)
    unknown: str = ""

    @classmethod
    def of_window(cls, record: WindowRecord, found: Found, unknown: str = "") -> CreatedRecord:
        """For this window."""
        return cls(record.number, record.identity, str(record.opened), found, unknown)

    def document(self) -> dict[str, Any]:
        """As plain values."""
        objects = [each.document() for each in self.found.objects]
        head = {"number": self.number, "identity": self.identity, "opened": self.opened, "unknown": self.unknown}
        return {**head, "kinds unknown": self.found.unknown, "objects": objects}

    @classmethod
    def from_json(cls, text: str | bytes) -> CreatedRecord:
        """Read one.

        Raises:
            ValueError: it is none.
        """
        document = json.loads(text)
        try:
            objects = [Created.of(each) for each in document["objects"]]
            kinds = {str(name): str(why) for name, why in document.get("kinds unknown", {}).items()}
            return cls(
                int(document["number"]),
                str(document["identity"]),
                str(document["opened"]),
                Found(objects, kinds),
                str(document.get("unknown", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


@dataclass(frozen=True)
class Entry:
    """How far an object has come.

    Attributes:
        stage: begun (the API is about to be called), made (it is there), done (with all that belongs to it), failed.
        id: on the original.
        why: the cloud's words, where it failed.
        by: who has run it: a user's password is in that operator's report.
        note: what else a resumed run has to know.
    """

    stage: str
    id: str = ""
    why: str = ""
    by: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)


class CreatedFiles:
    """Both files.

    Args:
        host: session to the original's source.
    """

    def __init__(self, host: Access) -> None:
        self.host, self._file = host, RecordFile(host, FOLDER, NAME)

    def read(self) -> CreatedRecord | None:
        """What is on record; None where nothing is.

        Raises:
            GuardFailed: there is a file, and it can't be used.
        """
        raw = self._file.read().raw
        if raw is None:
            return None
        try:
            return CreatedRecord.from_json(raw)
        except ValueError as error:
            raise GuardFailed(
                f"{self._file.path} on {self.host.name} can't be used",
                f"{error}"[:200],
                f"look at {self._file.path}.1 there, which is the text before; if that is right: cp -p {self._file.path}.1 {self._file.path}; "
                "then run the same command again",
            ) from None

    def keep(self, record: CreatedRecord) -> bool:
        """Put it on record; one of the same window that knows more, and objects that an earlier try has found, stay.

        Returns:
            whether anything was written.
        """
        text = self._file.read()
        known = CreatedRecord.from_json(text.raw) if text.raw is not None else None
        if known is not None and (known.number, known.opened) == (record.number, record.opened):
            if record.unknown:
                return False
            there = {each.key for each in known.found.objects}
            objects = [*known.found.objects, *(each for each in record.found.objects if each.key not in there)]
            record = CreatedRecord(record.number, record.identity, record.opened, Found(objects, record.found.unknown))
            if record == known:
                return False
        if not self._file.write(
            text, json.dumps(record.document(), sort_keys=True), keep=known is not None and known.number != record.number
        ):
            raise StepFailed(
                f"{self._file.path} on {self.host.name} was changed by somebody else", "two rollbacks at once", "run the same command again"
            )
        return True

    def entries(self, number: int) -> dict[str, Entry]:
        """How far each object of a window has come, by its key; a line that was torn says nothing, its call was not made."""
        found: dict[str, Entry] = {}
        for line in (self.host.read(f"{FOLDER}/{_name(number)}") or b"").splitlines():
            try:
                document = json.loads(line)
                found[str(document["key"])] = Entry(*(document[name] for name in ("stage", "id", "why", "by", "note")))
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def note(self, number: int, key: str, stage: str, id: str = "", why: str = "", **note: Any) -> Entry:
        """Append a line for an object; refused on the server where a later run has taken over."""
        entry = Entry(stage, id, why, operator(), note)
        line = json.dumps({"key": key, "time": now(), **vars(entry)}, sort_keys=True)
        self.host.script(APPEND, [FOLDER, _name(number), line], cancellable=False)
        return entry


def _name(number: int) -> str:
    return f"replayed-{number}.jsonl"

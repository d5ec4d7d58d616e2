"""What must be known of a window by whoever goes on or goes back, kept on the original's database host.

The operator's machine may be gone; the original database's host is the one server both ways need. The record is one JSON file, replaced whole and
synced, beside a journal that is only appended to. It holds no secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from parallel_build.errors import Fenced, GuardFailed
from parallel_build.records.record_file import RecordFile, Text
from parallel_build.records.run_folder import now, operator
from parallel_build.records.touched import TouchedServer, servers_of
from parallel_build.remote.clock import read_host_clock
from parallel_build.remote.frame import FOLDER
from parallel_build.remote.host import Host
from parallel_build.resolved_stack import Site

NAMES_SERVERS = 3  # the first version whose record names the servers that were touched
PLACE = f"{FOLDER}/window.json"
VERSION = NAMES_SERVERS  # 1 had neither number, token nor revision
BACK = "Back"  # under this name the record says how a way back goes
TRIES = 50  # of a change that others come before; each of them is done in a moment


@dataclass
class WindowRecord:
    """The record of one stack's window.

    Attributes:
        identity: `Site.identity` of the stack that holds the window.
        number: of the opening: one more for each window of this cloud.
        token: number of the run that wrote last; an earlier one writes nothing any more.
        revision: one more with each write.
        version: of this form; a later one adds fields, which are kept.
        facts: what steps remember for their undo, by step.
        servers: every server that something was done to, by name.
        opened, switched, closed, retired: times (ISO 8601, UTC, of the operator's machine: words for people) or None.
        returning: since when a way back is under way: from then on no step goes forward until the window is closed.
        host_keys: the new machines' public host keys, so that who has lost the state can still reach them.
        clock: the host's own clocks at the opening (`HostClock`), by which the deadline is measured.
        switched_clock: the same at the switch, by which the rollback window is measured.
    """

    stack: str
    identity: str
    opened: str | None = None
    switched: str | None = None
    closed: str | None = None
    retired: str | None = None
    returning: str | None = None
    holder: str = ""
    clock: dict[str, Any] = field(default_factory=dict)
    switched_clock: dict[str, Any] = field(default_factory=dict)
    host_keys: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, TouchedServer] = field(default_factory=dict)
    number: int = 0
    token: int = 0
    revision: int = 0
    version: int = VERSION
    unknown: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> WindowRecord:
        """Read a record, of whatever version: fields that are not known here are kept as they are.

        Raises:
            ValueError: it is no record.
        """
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        known = {each.name for each in fields(cls)} - {"unknown"}
        missing = [name for name in ("stack", "identity") if not isinstance(document.get(name), str)]
        if missing:
            raise ValueError(f"it does not say {' and '.join(missing)}")
        given = {name: value for name, value in document.items() if name in known}
        given["servers"] = servers_of(document.get("servers", {}))
        found = cls(**given, unknown={name: value for name, value in document.items() if name not in known})
        if not isinstance(found.facts, dict) or not all(isinstance(each, int) for each in (found.number, found.token, found.revision)):
            raise ValueError("its facts or numbers are of another kind")
        return found

    def to_json(self) -> str:
        """One line of JSON."""
        known = {name: value for name, value in self.__dict__.items() if name != "unknown"}
        known["servers"] = {name: server.document() for name, server in self.servers.items()}
        return json.dumps({**self.unknown, **known}, sort_keys=True)

    @property
    def ahead(self) -> bool:
        """Whether a way back is under way that is ahead of the state: users may be in on the original already."""
        return bool(self.returning and not self.closed and self.facts.get(BACK, {}).get("ahead"))


def going_back(record: WindowRecord) -> GuardFailed:
    """The error of a step that would go forward while a way back is under way."""
    return GuardFailed(
        f"a way back has begun {record.returning}, and has not come to its end",
        "the original may serve already, whatever the state still says of the switch",
        f"lead it to its end: python -m parallel_build back {record.stack}; after that a new window can be opened",
    )


class WindowStore:
    """Reads and writes the record on the original's database host.

    Args:
        host: session to the original's source.
        site: the stack.
    """

    def __init__(self, host: Host, site: Site) -> None:
        self.host, self.site = host, site
        self.file = RecordFile(host, FOLDER)

    @property
    def path(self) -> str:
        """The record's file; one for the cloud, whichever stack asks."""
        return self.file.path

    def read(self) -> WindowRecord | None:
        """The record, or None where no window was ever opened.

        Raises:
            GuardFailed: there is one, and it can't be read: never the same as none.
        """
        return self._record(self.file.read())

    def _record(self, text: Text) -> WindowRecord | None:
        if text.raw is None:
            return None
        try:
            return WindowRecord.from_json(text.raw)
        except (ValueError, TypeError) as error:
            raise self.file.unusable(f"{type(error).__name__}: {error}"[:200]) from None

    def mine(self) -> WindowRecord:
        """This stack's record.

        Raises:
            GuardFailed: there is none, or another stack holds the window.
        """
        return self._mine(self.read())

    def _mine(self, record: WindowRecord | None) -> WindowRecord:
        if record is None or record.closed:
            raise GuardFailed(
                f"no window is open on {self.host.name}",
                f"{self.path} does not exist or is closed",
                "run `pulumi up` with phase switched, which opens it",
            )
        self.check_owner(record)
        return record

    def check_owner(self, record: WindowRecord) -> None:
        """Raises GuardFailed when another stack, or another state of this one, holds the window."""
        if not self.owns(record) and not record.closed:
            raise GuardFailed(
                f"the window on {self.host.name} is held by stack {record.stack}, opened {record.opened} by {record.holder}, "
                f"window {record.identity}",
                "two operators must not switch one cloud at the same time, and this state did not open it",
                "continue or roll back with the stack and state that did; where that state is lost: "
                f"parallel-build back {record.stack} --window {record.identity}, "
                f"or tie this state to the window: parallel-build recover {record.stack} --adopt {record.identity}",
            )

    def owns(self, record: WindowRecord) -> bool:
        """Whether this stack opened the window."""
        return record.identity in self.site.identities

    def open(self) -> WindowRecord:
        """Take the window for this stack; taking it again is no change.

        Of two operators at the same moment one is refused: the record is only replaced by who has seen what it replaces.
        Raises:
            GuardFailed: another stack holds it, or took it just now.
        """
        for _ in range(2):
            text = self.file.read()
            record = self._record(text)
            if record is not None and not record.closed:
                self.check_owner(record)
                return record
            fresh = WindowRecord(
                self.site.stack,
                self.site.identity,
                opened=now(),
                holder=operator(),
                clock=read_host_clock(self.host).__dict__,
                host_keys=dict(self.site.host_keys),
                number=record.number + 1 if record else 1,
                token=self.check_run(record),
                revision=1,
            )
            if self.file.write(text, fresh.to_json(), keep=True):
                self.journal("window opened")
                return fresh
        raise self._restless()

    def check_run(self, record: WindowRecord | None) -> int:
        """This run's number for what it writes.

        Raises:
            Fenced: a later run has written.
        """
        known, own = record.token if record else 0, self.host.token
        if own is not None and known > own:
            raise Fenced(
                f"run {known} has taken over the window on {self.host.name}, this is run {own}",
                "another operator, or a later command, works on this window since",
                f"this run must end; see where the cloud stands: parallel-build recover {self.site.stack}",
            )
        return known if own is None else own

    def remember(self, step: str, **facts: Any) -> WindowRecord:
        """Keep facts for a step's undo, before the step changes anything; known facts of that step stay."""
        return self.note({step: facts})

    def note(self, facts: Mapping[str, Mapping[str, Any]], *, forward: bool = False, servers: Iterable[TouchedServer] = ()) -> WindowRecord:
        """Keep facts of several steps in one write: whoever reads the record finds all of them or none.

        Args:
            facts: of each step what changes; what else is known of it stays.
            servers: those that something is about to be done to.
            forward: what follows would be wrong beside a way back: of the two the way back wins.
        Raises:
            GuardFailed: there is no window of this stack, or (with `forward`) a way back has begun, or a server's name stands for another one by now.
        """
        touched = list(servers)

        def change(record: WindowRecord) -> None:
            if forward and record.returning:
                raise going_back(record)
            for step, known in facts.items():
                record.facts.setdefault(step, {}).update(known)
            for server in touched:
                record.servers[server.name] = server.merged(record.servers.get(server.name))

        return self._change(change)

    def facts(self, step: str) -> dict[str, Any]:
        """What a step remembered; empty when no window is open.

        Raises:
            GuardFailed: one is, of another stack.
        """
        record = self.read()
        if record is None or record.closed:
            return {}
        self.check_owner(record)
        found: dict[str, Any] = record.facts.get(step, {})
        return found

    def mark_switched(self) -> None:
        """Note the time since which users may have changed things on the new side; the first mark counts."""
        clock = read_host_clock(self.host).__dict__

        def change(record: WindowRecord) -> None:
            if record.switched is None:
                record.switched, record.switched_clock = now(), clock

        self._change(change, "switched")

    def mark_returning(self, *, ahead: bool = False) -> WindowRecord:
        """Note that a way back has begun, before its first change: from then on no step goes forward. The first mark counts.

        Args:
            ahead: it has the original serve before the steps that the state still has are undone.
        """

        def change(record: WindowRecord) -> None:
            record.returning = record.returning or now()
            if ahead:
                record.facts[BACK] = {"ahead": True}

        return self._change(change, "going back")

    def mark_retired(self) -> str:
        """Note that the way back has ended; the first mark counts, its time is returned."""

        def change(record: WindowRecord) -> None:
            record.retired = record.retired or now()

        return str(self._change(change, "retired").retired)

    def unmark_retired(self) -> None:
        """The operator goes back all the same."""

        def change(record: WindowRecord) -> None:
            record.retired = None

        if self._is_mine():
            self._change(change, "no longer retired")

    def close(self) -> None:
        """Give the window back: the original serves."""

        def change(record: WindowRecord) -> None:
            record.closed = now()

        if self._is_mine():
            self._change(change, "window closed")

    def journal(self, what: str) -> None:
        """Append a line to the journal on the host, synced. Words for people: a full disk that has no room for them stops nothing."""
        line = json.dumps({"time": now(), "operator": operator(), "stack": self.site.stack, "what": what})
        self.host.script(
            'mkdir -p -m 700 "$1"; { printf "%s\\n" "$2" >>"$1/journal.jsonl" && sync "$1/journal.jsonl"; } 2>/dev/null || true',
            [self.file.folder, line],
            cancellable=False,
        )

    def _is_mine(self) -> bool:
        record = self.read()
        return record is not None and not record.closed and self.owns(record)

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        """Change this stack's record: made anew from what is there until nobody has come between reading and writing.

        Args:
            change: applied to the record just read; it may refuse by raising.
            what: the journal's words for it; told only where something has changed.
        """
        for _ in range(TRIES):
            read = self.file.read()
            record = self._mine(self._record(read))
            token, before = self.check_run(record), record.to_json()
            change(record)
            if record.to_json() == before:
                return record
            record.token, record.revision = token, record.revision + 1
            if self.file.write(read, record.to_json()):
                if what:
                    self.journal(what)
                return record
        raise self._restless()

    def _restless(self) -> GuardFailed:
        return GuardFailed(
            f"{self.path} on {self.host.name} changes all the time",
            "others are at work on this window, or open windows there",
            "ask who, then run it again",
        )

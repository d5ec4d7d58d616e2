"""What must be known of a window by whoever continues or goes back, kept on the original's database host and, from the switch on, on the new source too.

The operator's machine may be gone, and so may either of the two hosts (`records.copies`). The record is one JSON file, replaced whole and synced,
next to a journal that is only appended to. It holds no secrets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from parallel_build.configuration import SwitchedStepName
from parallel_build.errors import CommandFailed, ConnectionFailed, Fenced, GuardFailed, ParallelBuildError
from parallel_build.records.copies import Proof, RecordCopies, of_hosts
from parallel_build.records.host_copy import Both, HostNotes, machine_id
from parallel_build.records.record_file import RecordFile, Text
from parallel_build.records.run_folder import now, operator
from parallel_build.records.touched import TouchedServer
from parallel_build.records.window_record import BACK, FIRST_STEPS, NAMES_SERVERS, VERSION, WindowRecord, going_back
from parallel_build.remote.access import Access
from parallel_build.remote.clock import HostClock, read_host_clock
from parallel_build.remote.frame import FOLDER
from parallel_build.resolved_stack import Site

__all__ = ["BACK", "FIRST_STEPS", "NAMES_SERVERS", "PLACE", "VERSION", "WindowRecord", "WindowStore", "going_back", "on_both"]
PLACE = f"{FOLDER}/window.json"
TRIES = 50  # of a change that others come before; each of them is done in a moment


class WindowStore:
    """Reads and writes the record on the original's database host, and its copy on the new source.

    Args:
        host: session to the original's source.
        site: the stack.
        copies: both copies; without them only the original's is known.
    """

    def __init__(self, host: Access, site: Site, copies: RecordCopies | None = None) -> None:
        self.host, self.site = host, site
        self.file: RecordFile | RecordCopies = copies or RecordFile(host, FOLDER)

    @property
    def path(self) -> str:
        """The record's file; one for the cloud, whichever stack asks."""
        return self.file.path

    def read(self) -> WindowRecord | None:
        """The record, or None where no window was ever opened. What it says may be acted on.

        Raises:
            GuardFailed: there is one, and it can't be read: never the same as none.
            ConnectionFailed: one copy alone, and nothing proves that the other's host is down.
        """
        return self.of(self.file.read())

    def look(self) -> WindowRecord | None:
        """The record, only to be looked at: one copy alone is enough for that."""
        copies = self.copies
        return self.of(copies.look()) if copies else self.read()

    @property
    def copies(self) -> RecordCopies | None:
        """Both copies, where both hosts are known."""
        file = getattr(self, "file", None)
        return file if isinstance(file, RecordCopies) else None

    def keep_copy(self) -> None:
        """From now on the new source has a copy of the record: it has the data. Nothing happens where it has one."""
        copies = self.copies
        if copies is None or {copies.first.host.name, copies.second.host.name} <= self.mine().holders.keys():
            return
        named = copies.holders()

        def change(record: WindowRecord) -> None:
            record.holders = {**named, **record.holders}

        self._change(change, f"the record is on {copies.second.host.name} too")

    def level(self) -> None:
        """Bring a host up to date whose copy is behind the other's."""
        if self.copies:
            self.copies.level()

    def original_problem(self) -> ParallelBuildError | None:
        """Why the original's database host can't be asked for its copy; None where it can, or where no other copy could say so."""
        if self.copies is None:
            return None
        self.copies.notes.forget(self.host.name)
        return self.copies.look().copies[0].problem

    def hosts(self) -> list[Access]:
        """Those that have the record and answer."""
        return self.copies.hosts() if self.copies else [self.host]

    def standing(self) -> tuple[WindowRecord | None, list[Access]]:
        """The record, only to be looked at, and the hosts that have it and answer."""
        copies = self.copies
        if copies is None:
            return self.look(), self.hosts()
        both = copies.look()
        return self.of(both), copies.hosts(both)

    def clock(self, read: Callable[[Access], HostClock] | None = None) -> HostClock:
        """The clocks of the original's database host; where it is gone, those of the host that has the record now."""
        ask = read or read_host_clock
        try:
            return ask(self.host)
        except (ConnectionFailed, CommandFailed):
            others = [host for host in self.hosts() if host is not self.host]
            if not others:
                raise
            return ask(others[0])

    def of(self, text: Text) -> WindowRecord | None:
        """The record that a text is.

        Raises:
            GuardFailed: it is none.
        """
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
            record = self.of(text)
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
                holders={self.host.name: {"machine": machine_id(self.host)}},
                number=record.number + 1 if record else 1,
                token=self.check_run(record),
                revision=1,
                steps=["Window", *get_args(SwitchedStepName)],
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
            forward: what follows would be wrong during a rollback: of the two the rollback wins.
        Raises:
            GuardFailed: there is no window of this stack, or (with `forward`) a rollback has begun, or a server's name stands for a different server by now.
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
        clock = self.clock().__dict__

        def change(record: WindowRecord) -> None:
            if record.switched is None:
                record.switched, record.switched_clock = now(), clock

        self._change(change, "switched")

    def mark_returning(self, *, ahead: bool = False) -> WindowRecord:
        """Note that a rollback has begun, before its first change: from then on no step goes forward. The first mark counts.

        Args:
            ahead: it has the original serve before the steps that the state still has are undone.
        """

        def change(record: WindowRecord) -> None:
            record.returning = record.returning or now()
            if ahead:
                record.facts[BACK] = {"ahead": True}

        return self._change(change, "going back")

    def mark_retired(self) -> str:
        """Note that the rollback has ended; the first mark counts, its time is returned."""

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
        for host in self.hosts():
            host.script(
                'mkdir -p -m 700 "$1"; { printf "%s\\n" "$2" >>"$1/journal.jsonl" && sync "$1/journal.jsonl"; } 2>/dev/null || true',
                [self.file.folder, line],
                cancellable=False,
            )

    def _is_mine(self) -> bool:
        record = self.look()
        return record is not None and not record.closed and self.owns(record)

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        """Change this stack's record: made again from what is there until nobody has come between reading and writing.

        Args:
            change: applied to the record just read; it may refuse by raising.
            what: the journal's words for it; written only where something has changed.
        """
        for _ in range(TRIES):
            read = self.copies.look() if self.copies else self.file.read()
            record = self._mine(self.of(read))
            token, before = self.check_run(record), record.to_json()
            change(record)
            if record.to_json() == before:
                if self.copies and isinstance(read, Both):
                    self.copies.settle(read, returning=bool(record.returning))
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
            "ask who it is, then run the same command again",
        )


def on_both(
    first: Access, second: Access, site: Site, proof: Proof | None = None, notes: HostNotes | None = None, limit: float | None = None
) -> WindowStore:
    """The record on the original's source and the new one.

    Args:
        proof: asked before one copy alone is acted on; None only looks.
        limit: seconds that a look at the original's copy may take, where others than those of a short command are meant.
    """
    return WindowStore(first, site, of_hosts(first, second, FOLDER, proof, notes, limit))

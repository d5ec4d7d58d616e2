"""What must be known of a window by whoever goes on or goes back, kept on the original's database host.

The operator's machine may be gone; the original database's host is the one server both ways need. The record is one JSON file, replaced whole and
synced, beside a journal that is only appended to. It holds no secrets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parallel_build.errors import GuardFailed
from parallel_build.records.run_folder import now, operator
from parallel_build.remote.clock import read_host_clock
from parallel_build.remote.host import Host
from parallel_build.resolved_stack import Site

FOLDER = "/var/lib/cloudstack-parallel-build"
BACK = "Back"  # under this name the record says how a way back goes
TRIES = 50  # of a change that others come before; each of them is done in a moment


# Takes the record for whoever has seen what is there now: of two operators at one moment the second finds something else. 45: it has changed.
TAKE = """
mkdir -p -m 700 "$1"; cd "$1"; exec 9>>window.lock; flock -w 20 9
if [ -e window.json ]; then seen=$(sha256sum <window.json | cut -d' ' -f1); else seen=none; fi
[ "$seen" = "$2" ] || exit 45
if [ -e window.json ]; then mv window.json "window-$(date +%s).json"; fi
umask 077; printf '%s\\n' "$3" >window.new; sync window.new; mv window.new window.json; sync .
"""
CHANGED = 45
# Changes the record, under the same lock, if it still is what the change was made from; the new text comes on standard input, of any length.
PUT = """
set -eu
cd "$1"; exec 9>>window.lock; flock -w 20 9
[ -e window.json ] && [ "$(sha256sum <window.json | cut -d' ' -f1)" = "$2" ] || exit 45
umask 077; cat >window.put; sync window.put; mv window.put window.json; sync .
"""


@dataclass
class WindowRecord:
    """The record of one stack's window.

    Attributes:
        identity: `Site.identity` of the stack that holds the window.
        facts: what steps remember for their undo, by step.
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

    @property
    def path(self) -> str:
        """The record's file; one for the cloud, whichever stack asks."""
        return f"{FOLDER}/window.json"

    def read(self) -> WindowRecord | None:
        """The record, or None where no window was ever opened."""
        raw = self.host.read(self.path)
        if not raw:
            return None
        return WindowRecord(**json.loads(raw))

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
        if record.identity != self.site.identity and not record.closed:
            raise GuardFailed(
                f"the window on {self.host.name} is held by stack {record.stack}, opened {record.opened} by {record.holder}",
                "two operators must not switch one cloud at the same time",
                f"go on or go back with that stack and its state; only if that is lost for good, remove {self.path} there",
            )

    def open(self) -> WindowRecord:
        """Take the window for this stack; taking it again is no change.

        Of two operators at the same moment one is refused: the record is only replaced by who has seen what it replaces.
        Raises:
            GuardFailed: another stack holds it, or took it just now.
        """
        for _ in range(2):
            raw = self.host.read(self.path)
            record = WindowRecord(**json.loads(raw)) if raw else None
            if record is not None and not record.closed:
                self.check_owner(record)
                return record
            seen = "none" if raw is None else hashlib.sha256(raw).hexdigest()
            clock = read_host_clock(self.host)
            fresh = WindowRecord(
                self.site.stack,
                self.site.identity,
                opened=now(),
                holder=operator(),
                clock=clock.__dict__,
                host_keys=dict(self.site.host_keys),
            )
            done = self.host.script(TAKE, [FOLDER, seen, self._text(fresh)], ok=(0, CHANGED), cancellable=False)
            if done.ok:
                self.journal("window opened")
                return fresh
        raise self._restless()

    def remember(self, step: str, **facts: Any) -> WindowRecord:
        """Keep facts for a step's undo, before the step changes anything; known facts of that step stay."""
        return self.note({step: facts})

    def note(self, facts: Mapping[str, Mapping[str, Any]], *, forward: bool = False) -> WindowRecord:
        """Keep facts of several steps in one write: whoever reads the record finds all of them or none.

        Args:
            facts: of each step what changes; what else is known of it stays.
            forward: what follows would be wrong beside a way back: of the two the way back wins.
        Raises:
            GuardFailed: there is no window of this stack, or (with `forward`) a way back has begun.
        """

        def change(record: WindowRecord) -> None:
            if forward and record.returning:
                raise going_back(record)
            for step, known in facts.items():
                record.facts.setdefault(step, {}).update(known)

        return self._change(change)

    def facts(self, step: str) -> dict[str, Any]:
        """What a step remembered; empty when there is no record."""
        record = self.read()
        if record is None or record.closed or record.identity != self.site.identity:
            return {}
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
        """Append a line to the journal on the host, synced."""
        line = json.dumps({"time": now(), "operator": operator(), "stack": self.site.stack, "what": what})
        self.host.script(
            'mkdir -p -m 700 "$1"; printf "%s\\n" "$2" >>"$1/journal.jsonl"; sync "$1/journal.jsonl"',
            [FOLDER, line],
            cancellable=False,
        )

    def _is_mine(self) -> bool:
        record = self.read()
        return record is not None and not record.closed and record.identity == self.site.identity

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        """Change this stack's record: made anew from what is there until nobody has come between reading and writing.

        Args:
            change: applied to the record just read; it may refuse by raising.
            what: the journal's words for it; told only where something has changed.
        """
        for _ in range(TRIES):
            raw = self.host.read(self.path)
            record = self._mine(WindowRecord(**json.loads(raw)) if raw else None)
            before = self._text(record)
            change(record)
            text = self._text(record)
            if text == before:
                return record
            seen = hashlib.sha256(raw or b"").hexdigest()
            done = self.host.run(["sh", "-c", PUT, "sh", FOLDER, seen], input=text + "\n", ok=(0, CHANGED), cancellable=False)
            if done.ok:
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

    @staticmethod
    def _text(record: WindowRecord) -> str:
        return json.dumps(record.__dict__, sort_keys=True)

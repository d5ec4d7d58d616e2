"""What one host has of the window's record, and the errors where two of them do not fit together."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, ParallelBuildError
from parallel_build.records.record_file import Held, RecordFile, Text
from parallel_build.remote.access import Access

ASKED_AGAIN = 60.0  # seconds after which a host that was proved down, or was silent, is asked again
HOLDERS = "holders"


@dataclass
class HostNotes:
    """What a process knows of the record's hosts, so that not every look asks again.

    Attributes:
        machines: host -> its machine-id.
        silent: hosts that were proved down a moment ago, or that nobody needs -> when, and why they could not be asked.
        proved: those of them that were proved down.
        two: both hosts had to have a copy at the last look: they are asked at the same time.
        passed: hosts whose lost copy was passed over, which is reported once.
    """

    machines: dict[str, str] = field(default_factory=dict)
    silent: dict[str, tuple[float, ParallelBuildError]] = field(default_factory=dict)
    proved: set[str] = field(default_factory=set)
    two: bool = False
    passed: set[str] = field(default_factory=set)

    def machine(self, host: Access, limit: float | None = None) -> str:
        """A host's machine-id.

        Args:
            limit: seconds that asking for it may take, where others than those of a short command are meant.
        """
        if host.name not in self.machines:
            self.machines[host.name] = machine_id(host, limit)
        return self.machines[host.name]

    def why_silent(self, name: str) -> ParallelBuildError | None:
        """Why a host is not asked now."""
        then, error = self.silent.get(name, (0.0, None))
        return error if _clock() - then <= ASKED_AGAIN else None

    def is_down(self, name: str) -> bool:
        """Whether it was proved down a moment ago; that nobody needed it proves nothing."""
        return name in self.proved and self.why_silent(name) is not None

    def note(self, name: str, error: ParallelBuildError, *, down: bool) -> None:
        """Do not ask it for a moment.

        Args:
            down: it was proved down; else nobody needs it.
        """
        if self.why_silent(name) is None:
            self.silent[name] = (_clock(), error)
            self.proved.discard(name)
        if down:
            self.proved.add(name)

    def forget(self, name: str) -> None:
        """Ask it again."""
        self.silent.pop(name, None)
        self.proved.discard(name)
        self.machines.pop(name, None)


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Copy:
    """What one host has.

    Attributes:
        text: its text; None where there is no file, or where `problem` says why nobody knows.
        document: the same as JSON.
        machine: the host's machine-id; empty where it has none.
        problem: why it could not be asked, or can't be used.
    """

    file: RecordFile
    text: Text = field(default_factory=lambda: Text(None))
    document: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    problem: ParallelBuildError | None = None

    @property
    def name(self) -> str:
        """The host's name in the stack."""
        return self.file.host.name

    @property
    def there(self) -> bool:
        """It has a copy that can be read."""
        return bool(self.document)

    @property
    def open(self) -> bool:
        """A window is open by it."""
        return self.there and not self.document.get("closed")

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """Of two copies the higher is right."""
        return rank(self.document)

    @property
    def unusable(self) -> bool:
        """Its host answers, and what it has is torn, empty or something else."""
        return isinstance(self.problem, GuardFailed) and not isinstance(self.problem, Held)

    def known_by(self, right: Mapping[str, Any]) -> bool:
        """Whether a record says that this host has a copy."""
        return self.name in holders(right)


def rank(document: Mapping[str, Any]) -> tuple[int, ...]:
    """What orders two copies of a record."""
    found = (document.get(name, 0) for name in ("number", "token", "revision"))
    return tuple(each if isinstance(each, int) else 0 for each in found)


def holders(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The hosts that have a copy, as a record names them, each with its machine-id."""
    found = document.get(HOLDERS)
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Both(Text):
    """What is right, and what it was chosen from."""

    copies: tuple[Copy, ...] = ()

    @property
    def right(self) -> Copy | None:
        """The copy that is right; None where no host has one."""
        there = [each for each in self.copies if each.there]
        return max(there, key=lambda each: each.rank, default=None)

    @property
    def document(self) -> Mapping[str, Any]:
        """What is right, as JSON."""
        return self.right.document if self.right else {}

    @property
    def behind(self) -> list[Copy]:
        """Hosts that can be asked and have a lower copy of the same window's record, or of an earlier one's."""
        right = self.right
        return [each for each in self.copies if right and each.there and each.rank < right.rank]


def surely_lower(copy: Copy, right: Copy) -> bool:
    """Whether the text before shows that a lost copy knew no more than the other: each write, of which one was lost at most, leaves that next to it."""
    try:
        before = copy.file.before()
    except (ConnectionFailed, CommandFailed):
        return False
    if before.raw is None:
        return False
    if not before.raw.strip():  # the lost one was its first
        return True
    try:
        document = json.loads(before.raw)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document) and rank(document) < right.rank


def machine_id(host: Access, limit: float | None = None) -> str:
    """What tells a host from one that was created again under its name; empty where it has none."""
    found = host.read("/etc/machine-id") if limit is None else host.read("/etc/machine-id", timeout=limit)
    return (found or b"").decode(errors="replace").strip()


def foreign(copy: Copy) -> GuardFailed:
    """The error for a copy of another original's open window."""
    others = ", ".join(name for name in holders(copy.document) if name != copy.name) or "unknown"
    return GuardFailed(
        f"{copy.file.path} on {copy.name} is of an open window of stack {copy.document.get('stack')} with another original: {others}",
        f"{copy.name} is the new source of that window, and can't be that of this one too",
        f"end that window, or give this stack another new source; if the original's source was moved, set original.database.source to {others} "
        "again; nothing has been changed",
    )


def missing(copy: Copy, right: Copy) -> GuardFailed:
    """The error for a host that has to have a copy, and has none."""
    stack = right.document.get("stack")
    return GuardFailed(
        f"{copy.name} has no copy of the window's record, and {right.name} says that it has one ({copy.file.path})",
        "it was removed, or the disk is another: whether it knew more can't be seen",
        f"put it back there; or, where it is lost: parallel-build recover {stack} --restore-record {copy.name}",
    )


def conflict(copy: Copy, right: Copy) -> GuardFailed:
    """The error for two copies of one revision that are not the same."""
    stack = right.document.get("stack")
    return GuardFailed(
        f"the copies of the window's record on {copy.name} and {right.name} have the same revision, and are not the same",
        "one of them was changed by hand",
        f"see both ({copy.file.path}, {right.file.path}); then put one in the place of the other: "
        f"parallel-build recover {stack} --restore-record HOST",
    )


def check_worse(place: Copy, source: Copy) -> None:
    """Rule: one host's copy is put in the place of another's only where that is lost, unusable, another machine's or knows no more.

    Raises:
        GuardFailed: it is sound and higher, or of another cloud's open window.
    """
    if place.open and place.document.get("identity") != source.document.get("identity") and not place.known_by(source.document):
        raise foreign(place)
    known = str(holders(place.document).get(place.name, {}).get("machine") or "")
    if place.rank <= source.rank or (known and known != place.machine):
        return
    stack = place.document.get("stack")
    raise GuardFailed(
        f"{place.name} has a sound copy of the window's record, and it is the higher one: {at(place)}; {source.name} has {at(source)}",
        f"what it knows more than {source.name} would be lost: which servers were started or stopped",
        f"to bring {source.name} up to date instead: parallel-build recover {stack} --restore-record {source.name}",
    )


def at(copy: Copy) -> str:
    """How far a copy is, for people."""
    number, token, revision = copy.rank
    return f"window {number}, run {token}, revision {revision}"

"""The window's record on two hosts, so that the loss of either stops neither the switch nor a rollback.

Until the new source carries the data there is one copy, on the original's source. From then on a write counts when both hosts have it, or when the
other is proved down. Of two copies the higher is right: the number of the opening, then the run's, then the revision. One copy alone, while the
other host is merely silent, may be looked at and not acted on: the silent one may know more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, ParallelBuildError
from parallel_build.records.host_copy import (
    HOLDERS,
    Both,
    Copy,
    HostNotes,
    at,
    check_worse,
    conflict,
    foreign,
    holders,
    missing,
    rank,
    surely_lower,
)
from parallel_build.records.record_file import Held, RecordFile, Text
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers

SECOND = "window-copy.json"  # of its own name: what is the new source today is an original, with a record of its own, one day
LOOK = 10.0  # seconds for a look at the second copy: a new source that hangs must not hold a rollback up
TRIES = 50
UNWRITTEN = (ConnectionFailed, CommandFailed, Held)  # what keeps a host from being written to, whether it can be read or not

Proof = Callable[[Access, ParallelBuildError, bool], None]
"""Raises unless a host that can't be asked is proved down. The flag: a rollback is under way, so its power may be cut."""


class RecordCopies:
    """The record's file on the original's source, and its copy on the new one.

    Args:
        first: on the original's source.
        second: on the new source.
        proof: asked before anything rests on one copy alone; None only looks.
        notes: what this process knows of the hosts.

    Attributes:
        doubting: the second is asked also where the first says that no window is open: it may have been put back from a backup.
        tell: what an operator reads of copies that are passed over.
    """

    def __init__(self, first: RecordFile, second: RecordFile, proof: Proof | None = None, notes: HostNotes | None = None) -> None:
        self.first, self.second, self.proof, self.doubting = first, second, proof, True
        self.tell: Callable[[str], None] = lambda text: None
        self.notes = HostNotes() if notes is None else notes
        self.host, self.folder, self.path = first.host, first.folder, first.path

    def unusable(self, why: str) -> GuardFailed:
        """The error for a text that says nothing."""
        return self.first.unusable(why)

    def look(self) -> Both:
        """What both hosts have; one that can't be asked is passed over.

        Raises:
            ConnectionFailed, CommandFailed, GuardFailed: neither has anything that can be read.
        """
        if self.notes.two:
            with Workers(2) as pool:
                asked = list(pool.map(self._ask, (self.first, self.second)))
        else:
            asked = [first := self._ask(self.first)]
            alone = first.problem is None and not first.open and not self.doubting
            if self.second.host.name in holders(first.document) or not (first.open or alone):
                asked.append(self._ask(self.second))
        both = Both(None, tuple(asked))
        right = both.right
        if right is None and asked[0].problem is not None:
            raise asked[0].problem
        self.notes.two = right is not None and right.open and len(asked) == 2
        for copy in asked[1:]:
            if isinstance(copy.problem, (ConnectionFailed, CommandFailed)) and not (right and right.open and copy.known_by(right.document)):
                self.notes.note(copy.name, copy.problem, down=False)  # nobody needs it
        return Both(right.text.raw if right else None, both.copies)

    def read(self) -> Both:
        """What is right, to act on.

        Raises:
            ConnectionFailed: one copy alone, and nothing proves that the other's host is down.
            GuardFailed: a copy can't be used, or is another machine's, or is missing.
        """
        both = self.look()
        # What a retired window's record says can't be undone any more, and its original may have been taken away.
        if self.proof is not None and not (both.right and both.right.open and both.document.get("retired")):
            self.settle(both, returning=bool(both.document.get("returning")))
        return both

    def settle(self, both: Both, *, returning: bool) -> None:
        """Prove that what is right may be acted on.

        Args:
            returning: a rollback is under way.
        Raises:
            ConnectionFailed, GuardFailed: as `read`.
        """
        right = both.right
        for copy in both.copies:
            needed = copy.file is self.first or (right is not None and right.open and copy.known_by(right.document))
            if copy.problem is not None and copy.unusable:
                if returning and right is not None and self._passes_over(copy, right, copy.problem):
                    continue
                raise self._with_remedy(copy.problem, copy)
            if copy.problem is not None and needed:
                self._prove(copy, copy.problem, returning)
        if right is None:
            return
        if right.open:
            self._same_machines(both, right)
        for copy in both.copies:
            if right.open and copy.known_by(right.document) and copy.problem is None and not copy.there:
                lost = missing(copy, right)
                if not (returning and self._passes_over(copy, right, lost)):
                    raise lost
            if copy is not right and copy.open and copy.rank == right.rank and copy.text.digest != right.text.digest:
                raise conflict(copy, right)

    def write(self, seen: Text, text: str, *, keep: bool = False) -> bool:
        """Replace the record if it still is what was seen; on every host that has to have it, or that is proved down.

        Returns:
            False where somebody else has changed it.
        Raises:
            ConnectionFailed: a host can't be asked and is not proved down. CommandFailed: it can't be written there.
        """
        document = json.loads(text)
        both = seen if isinstance(seen, Both) else self.look()
        self.settle(both, returning=bool(document.get("returning")))
        known, wanted = holders(both.document), holders(document)
        by_file = {copy.file: copy for copy in both.copies}
        files = [file for file in (self.first, self.second) if file is self.first or file.host.name in wanted]
        # A host that becomes one of the two comes first: the other one's copy must never name one that has none.
        files.sort(key=lambda file: file is self.first or file.host.name in known)
        written = False
        for file in files:
            copy, returning = by_file.get(file) or self._joining(file), bool(document.get("returning"))
            if copy.unusable:  # `settle` has passed it over: it is made good by this write, and kept next to it
                copy, keep_it = replace(copy, text=copy.file.raw(), problem=None), True
            else:
                keep_it = keep
            if copy.problem is not None:
                self._prove(copy, copy.problem, returning)
                continue
            try:
                if not self._write(copy, text, document, keep=keep_it, later=written and file is self.second and file.host.name in known):
                    return False
            except UNWRITTEN as error:
                if not written:
                    raise
                self._prove(copy, error, returning)
            written = True
        return written

    def level(self) -> None:
        """Bring a host up to date that has a lower copy than the other: before anything on it is started.

        A new source that can be read and not written to is left behind: the next write is on it too, or proves it down.
        """
        both = self.look()
        left_out = [copy.name for copy in both.copies if self.notes.why_silent(copy.name) is not None]
        if left_out:
            for name in left_out:
                self.notes.forget(name)
            both = self.look()
        right = both.right
        for copy in both.behind:
            if right is not None and copy.known_by(right.document):
                self._same_machines(both, right)
                try:
                    copy.file.write(copy.text, (right.text.raw or b"").decode().rstrip("\n"))
                except UNWRITTEN:
                    if copy.file is self.first:
                        raise

    def holders(self) -> dict[str, dict[str, str]]:
        """Both hosts, as a record names them."""
        return {file.host.name: {"machine": self.notes.machine(file.host)} for file in (self.first, self.second)}

    def hosts(self, both: Both | None = None) -> list[Access]:
        """Those of the two that answer, and have a copy or have to have one."""
        both = both or self.look()
        answer = [copy for copy in both.copies if copy.problem is None or copy.unusable]
        return [copy.file.host for copy in answer if copy.file is self.first or copy.there or copy.unusable]

    def restore(self, name: str) -> str:
        """Put the other host's copy on a host whose own was lost or can't be used; where there is one copy, keep it for the machine that it is on now.

        Returns:
            the text that is there now.
        Raises:
            GuardFailed: there is nothing to put there; or its own copy is sound and knows more, or is of another cloud's window.
        """
        self.notes.forget(name)
        both = self.look()
        place = next((copy for copy in both.copies if copy.name == name), None)
        others = [copy for copy in both.copies if copy.there and copy.name != name]
        source = others[0] if others else place
        if place is None or source is None or not source.there or isinstance(place.problem, (ConnectionFailed, CommandFailed)):
            raise GuardFailed(
                f"the record can't be restored on {name}",
                str(place.problem) if place and place.problem else "there is no other copy that can be read",
                "see what both say: parallel-build recover STACK",
            )
        if source is not place:
            check_worse(place, source)
        document = {**source.document, HOLDERS: {**holders(source.document), name: {"machine": self.notes.machine(place.file.host)}}}
        document["revision"] = max(rank(document)[2], place.rank[2]) + 1
        text = json.dumps(document, sort_keys=True)
        for copy in [place, *others]:
            if not copy.file.write(copy.text if copy.there else copy.file.raw(), text, keep=copy is place):
                raise GuardFailed(
                    f"{copy.file.path} on {copy.name} was changed while the record was restored",
                    "another operator works on this window",
                    f"see who, and what both say: parallel-build recover {document.get('stack')}",
                )
        return text

    def _joining(self, file: RecordFile) -> Copy:
        """What is on the host that is to become the second.

        Raises:
            ConnectionFailed: it can't be asked. GuardFailed: it has a copy of another original's open window.
        """
        copy = self._ask(file)
        if copy.problem is not None:
            raise copy.problem
        own = holders(copy.document).get(self.first.host.name)
        if copy.open and not copy.document.get("retired") and own != {"machine": self.notes.machine(self.first.host)}:
            raise foreign(copy)
        return copy

    def _ask(self, file: RecordFile) -> Copy:
        if error := self.notes.why_silent(file.host.name):
            return Copy(file, problem=error)
        machine = ""
        try:
            machine = self.notes.machine(file.host, file.limit)
            text = file.read()
        except GuardFailed as error:
            return Copy(file, machine=machine, problem=error)
        except (ConnectionFailed, CommandFailed) as error:
            return Copy(file, problem=error)
        if text.raw is None:
            return Copy(file, machine=machine)
        try:
            document = json.loads(text.raw)
        except ValueError as error:
            return Copy(file, machine=machine, problem=file.unusable(f"{type(error).__name__}: {error}"[:200]))
        if not isinstance(document, dict) or not document:
            return Copy(file, machine=machine, problem=file.unusable("it is no JSON object"))
        return Copy(file, text, document, machine)

    def _passes_over(self, copy: Copy, right: Copy, error: ParallelBuildError) -> bool:
        """Whether a rollback continues without a copy that is lost: the other one is the higher, by what this host had before."""
        if not surely_lower(copy, right):
            return False
        if copy.name not in self.notes.passed:
            self.notes.passed.add(copy.name)
            self.tell(
                f"{error.fact}. {right.name} has the higher copy of the window's record ({at(right)}), by the text before it on {copy.name}: "
                f"the rollback continues with that, and writes it on {copy.name} again; what can't be used is kept there"
            )
        return True

    def _prove(self, copy: Copy, error: ParallelBuildError, returning: bool) -> None:
        if self.notes.is_down(copy.name):
            return
        if self.proof is None:
            raise error
        self.proof(copy.file.host, error, returning)
        self.notes.note(copy.name, error, down=True)

    def _write(self, copy: Copy, text: str, document: Mapping[str, Any], *, keep: bool, later: bool) -> bool:
        """Write one host's; where the other has it already, what came between counts only if it is higher."""
        seen = copy.text
        for _ in range(TRIES):
            if copy.file.write(seen, text, keep=keep):
                return True
            if not later:
                return False
            now = self._ask(copy.file)
            if now.problem is not None:
                raise now.problem
            if now.rank >= rank(document):
                # Of this run it was made from what is written here; of a later one it was not, and this run has been overtaken.
                return now.rank[:2] == rank(document)[:2]
            seen = now.text
        return False

    def _same_machines(self, both: Both, right: Copy) -> None:
        for copy in both.copies:
            known = str(holders(right.document).get(copy.name, {}).get("machine") or "")
            if known and copy.machine and known != copy.machine:
                raise GuardFailed(
                    f"{copy.name} is another machine than the one that the window's record was kept on: machine-id {copy.machine}, was {known}",
                    "it was created again or cloned: its copy of the record may be old, and what ran on the former machine may still run",
                    f"see what both copies say: parallel-build recover {right.document.get('stack')}; if {copy.name} takes the former one's place: "
                    f"parallel-build recover {right.document.get('stack')} --restore-record {copy.name}",
                )
        if not both.copies[0].known_by(right.document) and right is not both.copies[0]:
            raise foreign(right)

    def _with_remedy(self, error: ParallelBuildError, copy: Copy) -> GuardFailed:
        """Where the other host's copy can be read, it is the last good one."""
        other = self.second if copy.file is self.first else self.first
        good = self._ask(other)
        if not good.there:
            return GuardFailed(error.fact, error.cause, error.remedy)
        return GuardFailed(
            error.fact,
            error.cause,
            f"{other.host.name} has a copy, revision {good.rank[2]} of {good.document.get('stack')}; to put it in this one's place: "
            f"parallel-build recover {good.document.get('stack')} --restore-record {copy.name}",
        )


def of_hosts(
    first: Access, second: Access, folder: str, proof: Proof | None = None, notes: HostNotes | None = None, limit: float | None = None
) -> RecordCopies:
    """The record of a stack with these two sources.

    Args:
        limit: seconds that a look at the first may take, where others than those of a short command are meant.
    """
    return RecordCopies(RecordFile(first, folder, limit=limit), RecordFile(second, folder, SECOND, limit or LOOK), proof, notes)

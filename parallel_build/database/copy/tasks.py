"""What a copy still has to do: parts to read, tables to finish; and what this snapshot can't bring any more.

Runs on the new database server, next to `worker`, with the Python that is there.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import collections
import threading
import time
from typing import Any, Collection, Dict, Mapping, Optional, Sequence, Set, Union

Part = Dict[str, Any]
AGAIN = 0.5  # seconds after which a part that had to give way is tried again


class Tasks:
    """Every part is a task; what finishes a table becomes one once its last part is in.

    Args:
        parts: the parts, in their order.
        finish: tables with statements that finish them.
        one_by_one: parts of one table go one after another.
        stopped: set when the copy ends.
    Attributes:
        busy: tasks that somebody works at.
        left: tables that have to be read in another snapshot.
    """

    def __init__(self, parts: Sequence[Part], finish: Mapping[str, Sequence[str]], stopped: threading.Event, *, one_by_one: bool) -> None:
        self.changed = threading.Condition()
        self.stopped, self.one_by_one, self.finish = stopped, one_by_one, finish
        self.parts = collections.deque(parts)
        self.finishing: collections.deque[str] = collections.deque()
        self.open_parts: Dict[str, int] = collections.Counter(part["table"] for part in parts)
        self.busy = 0
        self.loading: Set[str] = set()
        self.left: Set[str] = set()
        self._not_before: Dict[str, float] = {}

    def next(self) -> Union[Part, str, None]:
        """A table to finish first, else the first part that may begin; None when nothing will come any more."""
        with self.changed:
            while not self.stopped.is_set():
                task = self.finishing.popleft() if self.finishing else self._take_part()
                if task is not None:
                    self.busy += 1
                    return task
                if not self.busy and not self.parts:
                    return None
                self.changed.wait(AGAIN if not self.parts else AGAIN / 5)
        return None

    def _take_part(self) -> Optional[Part]:
        """The first part that may begin: where the server lets only one statement load a table, a table's parts go one after another."""
        now = time.monotonic()
        for number, part in enumerate(self.parts):
            table = part["table"]
            if not (self.one_by_one and table in self.loading) and self._not_before.get(table, 0.0) <= now:
                del self.parts[number]
                self.loading.add(table)
                return part
        return None

    def again(self, part: Part) -> None:
        """A part was not read to its end: once more, but other tables first for a moment."""
        with self.changed:
            self._put_down(part)
            if part["table"] not in self.left:
                self.parts.appendleft(part)
                self._not_before[part["table"]] = time.monotonic() + AGAIN
            self.changed.notify_all()

    def leave(self, part: Part) -> None:
        """The part's table can't be read in this snapshot any more."""
        with self.changed:
            self._put_down(part)
            self._leave([part["table"]])

    def leave_tables(self, tables: Collection[str]) -> None:
        """These tables can't be read in this snapshot, before anybody has begun to."""
        with self.changed:
            self._leave(tables)

    def leave_all(self, part: Part) -> None:
        """Nothing more can be read in this snapshot."""
        with self.changed:
            self._put_down(part)
            self._leave([part["table"], *(other["table"] for other in self.parts)])

    def _put_down(self, part: Part) -> None:
        self.busy -= 1
        self.loading.discard(part["table"])

    def _leave(self, tables: Collection[str]) -> None:
        self.left.update(tables)
        self.parts = collections.deque(part for part in self.parts if part["table"] not in self.left)
        self.changed.notify_all()

    def part_read(self, part: Part) -> bool:
        """A part is in; whether it was the table's last. It stays a task until `part_done`."""
        with self.changed:
            self.open_parts[part["table"]] -= 1
            return self.open_parts[part["table"]] == 0 and part["table"] not in self.left

    def part_done(self, part: Part, *, last: bool) -> bool:
        """A part is done with; whether its table is whole."""
        with self.changed:
            self._put_down(part)
            waiting = last and bool(self.finish.get(part["table"]))
            if waiting:
                self.finishing.append(part["table"])
            self.changed.notify_all()
            return last and not waiting

    def finished(self) -> None:
        """What finishes a table is done."""
        with self.changed:
            self.busy -= 1
            self.changed.notify_all()

    def wake(self) -> None:
        """Whoever waits for a task looks whether the copy has ended."""
        with self.changed:
            self.changed.notify_all()

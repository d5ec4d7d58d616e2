"""The live table of `switch` and `back`: each step with its times, how long users are out, and the deadline; plain lines without a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import get_args

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from parallel_build.cli import screen
from parallel_build.configuration import SwitchedStepName
from parallel_build.durations import duration
from parallel_build.records.rehearsal_times import rehearsed
from parallel_build.resolved_stack import Site

LINES = 6  # of what was reported last, below the table
REFRESHES = 4  # a second
STATES = {"waiting": "dim", "running": "bold yellow", "done": "green", "undone": "cyan", "failed": "bold red"}
OUT, IN = "UserAccess", "Acceptance"


@dataclass
class Row:
    """One step.

    Attributes:
        step: its type.
        rehearsed: how long it took in rehearsal, in words.
        state: a key of `STATES`.
        began, ended: seconds of the monotonic clock.
    """

    step: str
    rehearsed: str = ""
    state: str = "waiting"
    began: float | None = None
    ended: float | None = None

    def took(self, now: float) -> str:
        """How long it has taken so far, or took."""
        return "" if self.began is None else duration((self.ended or now) - self.began)


@dataclass
class Board:
    """What is known of a run.

    Args:
        steps: types of the steps, in order, with their rehearsed times.
        deadline: seconds that the first new management server may take to start, from the window's opening.
        clock: the monotonic clock.
    """

    steps: dict[str, str]
    deadline: float
    clock: Callable[[], float] = time.monotonic
    rows: dict[str, Row] = field(init=False)
    lines: list[str] = field(default_factory=list)
    opened: float | None = None
    users_out: float | None = None
    users_in: float | None = None
    undoing: bool = False

    def __post_init__(self) -> None:
        self.rows = {step: Row(step, rehearsed) for step, rehearsed in self.steps.items()}

    def hear(self, kind: str, step: str, undo: bool) -> None:
        """A step began, ended or failed.

        Args:
            kind: `begin`, `end` or `failed`.
            step: its type; others are ignored.
            undo: whether it is undone.
        """
        row, now = self.rows.get(step), self.clock()
        if row is None:
            return
        self.undoing = self.undoing or undo
        if kind == "begin":
            row.state, row.began, row.ended = "running", now, None
        else:
            row.state, row.ended = ("failed" if kind == "failed" else "undone" if undo else "done"), now
        if kind == "begin" and not undo:
            self.opened = self.opened or (now if step == "Window" else None)
            self.users_out = self.users_out or (now if step == OUT else None)
        if kind == "end" and self.users_out is not None and step == (OUT if undo else IN):
            self.users_in = now

    def say(self, line: str) -> None:
        """What a step reported."""
        self.lines = [*self.lines, line][-LINES:]

    def clocks(self) -> str:
        """Users' and the deadline's clock, in words."""
        now, parts = self.clock(), []
        if self.users_out is not None:
            parts.append(f"users {'were out' if self.users_in else 'are out'} for {duration((self.users_in or now) - self.users_out)}")
        started = self.rows.get("FirstManagement")
        if self.opened is not None and not self.undoing and (started is None or started.state != "done"):
            left = self.deadline - (now - self.opened)
            parts.append(f"until the deadline: {duration(left)}" if left > 0 else "the deadline has passed")
        return "; ".join(parts)

    def __rich__(self) -> Group:
        """The table as it is now."""
        now = self.clock()
        table = Table(title=self.clocks() or None, title_justify="left", title_style="bold")
        for head in ("step", "state", "elapsed", "in rehearsal"):
            table.add_column(head)
        for row in self.rows.values():
            table.add_row(row.step, row.state, row.took(now), row.rehearsed, style=STATES[row.state])
        return Group(table, *(Text(line, overflow="ellipsis", no_wrap=True) for line in self.lines))


class Show:
    """How a run is shown: `line` for what a step reports, `hear` for what the engine does."""

    def __init__(self, board: Board, terminal: Console | None, line: Callable[[str], None] = print) -> None:
        self._board, self._terminal, self._line = board, terminal, line
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        """One line: below the table, or printed where there is none."""
        if self._terminal is None:
            self._line(text)
            return
        with self._lock:
            self._board.say(text)

    def hear(self, kind: str, step: str, undo: bool) -> None:
        """See `Board.hear`."""
        with self._lock:
            self._board.hear(kind, step, undo)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While this lasts the table is on the terminal; afterwards it stays there as it was last."""
        if self._terminal is None:
            yield
            return
        with Live(self._board, console=self._terminal, refresh_per_second=REFRESHES, vertical_overflow="visible"):
            yield
        if clocks := self._board.clocks():
            self._terminal.print(clocks)


def of_window(site: Site) -> Show:
    """What shows the window of a stack here."""
    configuration = site.configuration
    steps = {step: rehearsed(configuration, site.stack, step) for step in get_args(SwitchedStepName)}
    return Show(Board({"Window": "", **steps}, configuration.window.deadline.total_seconds()), screen.console())

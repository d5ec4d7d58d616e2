"""Standing at a position: an applier looks for its end only when something follows it in the log, and on an idle original nothing does."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parallel_build.database.compare.compare import Comparison
from parallel_build.database.compare.judged import Difference
from parallel_build.database.replicate import align_snapshots, baseline, channel
from parallel_build.database.replicate.baseline import Baseline, combined, in_question
from parallel_build.database.replicate.channel import Position, Status
from parallel_build.database.server.dialect_table import DIALECTS
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session

END = Position("log.000002", 500)
SERVERS = [
    DatabaseServer("newdb1", next(one for one in DIALECTS if one.family == family), (10, 11, 0), "") for family in ("mariadb", "mysql")
]


class Applier:
    """A new source whose applier stands somewhere; it stops when it is asked to."""

    def __init__(self, applied: int, *, applying: bool, error: str = "") -> None:
        self.applied, self.applying, self.error = applied, applying, error
        self.printed: list[str] = []

    def execute(self, statement: str) -> int:
        self.printed.append(statement)
        self.applying = self.applying and not statement.startswith("STOP")
        return 0

    def status(self, *_: object) -> Status:
        return Status("olddb1", True, self.applying, 0, END, Position(END.file, self.applied), self.error, True)


@pytest.fixture(params=SERVERS, ids=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    return cast(DatabaseServer, request.param)


def made(monkeypatch: pytest.MonkeyPatch, applied: int, **more: Any) -> Applier:
    found = Applier(applied, **more)
    for module in (channel, baseline):
        monkeypatch.setattr(module, "settled", found.status)
    return found


def test_an_applier_at_its_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, server: DatabaseServer) -> None:
    """Neither when snapshots are joined, nor before a comparison: that one has it stop."""
    new = made(monkeypatch, 500, applying=True)
    assert align_snapshots._arrived(cast(Session, new), server, END)
    assert baseline.stands_at(cast(Session, new), server, END)
    assert len(new.printed) == 1
    assert new.printed[0].startswith("STOP")
    assert not new.applying


def test_an_applier_on_its_way_is_waited_for_and_left_alone(monkeypatch: pytest.MonkeyPatch, server: DatabaseServer) -> None:
    new = made(monkeypatch, 400, applying=True)
    assert not align_snapshots._arrived(cast(Session, new), server, END)
    assert not baseline.stands_at(cast(Session, new), server, END)
    assert new.printed == []


def test_an_applier_that_stopped_before_its_end_is_an_error(monkeypatch: pytest.MonkeyPatch, server: DatabaseServer) -> None:
    new = made(monkeypatch, 400, applying=False, error="1062")
    with pytest.raises(StepFailed, match="1062"):
        align_snapshots._arrived(cast(Session, new), server, END)
    with pytest.raises(StepFailed, match="1062"):
        baseline.stands_at(cast(Session, new), server, END)


def found(*differences: Difference, unread: set[tuple[str, str]] | None = None, rows: int = 5, offset: int = 100) -> Baseline:
    comparison = Comparison("olddb1", "newdb1", list(differences), [], 1, rows, 10, 1.0, unread or set())
    return Baseline(comparison, Position("log.000001", offset), 0.0, None, 0.2)


def test_what_changed_under_a_comparison_is_judged_at_the_later_position() -> None:
    """Differences of rows stay; of definitions and of what was read again the later ones count. From the first position on everything is proved."""
    column = Difference("definition", "cloud", "column event.noted", "nullable")
    rows = Difference("rows", "cloud", "table vm", "1 row")
    first = found(column, rows, unread={("cloud", "host")})
    assert in_question(first.comparison) == {("cloud", "event")}
    whole = combined(first, found(rows=3, offset=900))
    assert whole.comparison.differences == [rows]
    assert (whole.comparison.rows, whole.position.offset, whole.comparison.unread) == (8, 100, set())
    again = combined(first, found(column, unread={("cloud", "host")}))
    assert again.comparison.differences == [rows, column]
    assert again.comparison.unread == {("cloud", "host")}

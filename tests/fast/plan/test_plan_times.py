"""How long the plan says that the scripts' work takes: by sizes alone, and by a rehearsal with the rows that there are now."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from parallel_build.plan import report, times
from parallel_build.plan.rebuilds import Size, TableWork, Work
from tests.fast.plan.test_plan_command import GOOD


def work(kind: Work, size: int) -> TableWork:
    return TableWork(kind, "cloud.event", Size(1000, size), "schema-42010to42100", "ALTER TABLE event FORCE")


def test_a_larger_table_takes_longer_and_a_rebuild_longest() -> None:
    small, large = (times.seconds(work(Work.REBUILDS, size)) for size in (0, 1 << 30))
    assert small == times.STATEMENT and large > 20 * small
    assert times.seconds(work(Work.REBUILDS, 1 << 30)) > times.seconds(work(Work.INDEXES, 1 << 30))
    both = [work(Work.REBUILDS, 1 << 30), work(Work.ROWS, 1 << 20)]
    assert times.of_sizes(both) == pytest.approx(sum(map(times.seconds, both)))


@pytest.mark.parametrize(("then", "now", "factor"), [(1000, 1200, 1.2), (1000, 500, 0.5), (0, 1200, 1.0), (1000, 0, 1.0)])
def test_a_rehearsed_time_grows_with_the_rows(then: int, now: int, factor: float) -> None:
    assert times.Rehearsed({"4.21.0.0": 30.0, "views": 10.0}, then).seconds(now) == pytest.approx(40 * factor)


def test_the_plan_says_a_time_and_by_what_it_knows_it() -> None:
    plan = replace(GOOD, work=[work(Work.REBUILDS, 4_000_000_000)], rows=1200)
    text = " ".join(report.as_text(plan).split())
    assert "time of this work: about" in text and "a guess by the tables' sizes alone" in text
    measured = times.Rehearsed({"4.21.0.0": 50.0}, 1000)
    assert "time of this work: 1 min 0 s, by the last rehearsal and the rows that there are now" in " ".join(
        report.as_text(plan, measured=measured).split()
    )
    assert json.loads(json.dumps(report.as_document(plan, (), measured)))["seconds"] == 60.0
    assert report.as_document(replace(GOOD, work=None))["seconds"] is None

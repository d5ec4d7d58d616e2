"""Rules over what is under way: jobs, alerts, VMs and volumes between two states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parallel_build.health.alerts import still_open
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import rule
from parallel_build.rules import RuleFinding, Severity, listed

STUCK = 3600  # seconds after which a job or a state of transition does not end by itself any more


def _hours(row: dict[str, Any]) -> str:
    return f"{(row['age'] or 0) / 3600:.1f} h"


def _command(row: dict[str, Any]) -> str:
    return str(row["command"]).rsplit(".", 1)[-1]


@rule(Severity.WARNS, "async_job with job_status 0; pseudo jobs are left out")
def no_job_hangs(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No job runs for hours; reports younger ones."""
    running = facts.rows("jobs_running")
    hanging = [f"{_command(row)} since {_hours(row)}" for row in running if (row["age"] or 0) >= STUCK]
    if hanging:
        yield RuleFinding(
            f"jobs run for more than an hour: {listed(hanging)}",
            "a job that hangs holds its VM or volume; the window's guard refuses while a job of the last day runs",
            "wait for it, or cancel it",
        )
    young = [_command(row) for row in running if (row["age"] or 0) < STUCK]
    if young:
        yield RuleFinding(
            f"{len(young)} jobs run: {listed(young)}",
            "normal on a cloud in use; the window opens when none runs",
            "none now",
            Severity.NOTES,
        )


@rule(Severity.NOTES, "async_job with job_status 2 of the last day")
def few_jobs_fail(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports jobs that failed in the last day."""
    failed = [f"{_command(row)} {row['times']} times" for row in facts.rows("jobs_failed")]
    if failed:
        yield RuleFinding(
            f"jobs failed in the last day: {listed(failed)}",
            "what fails before an upgrade fails after it",
            "look at what each of them ended with: queryAsyncJobResult, or the management server's log",
        )


@rule(Severity.NOTES, "alert, not archived, of the last day")
def alerts_are_seen(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports alerts of the last day, without good news and what it ended."""
    open_ones = still_open(facts.rows("alerts"), facts.setting("management.network.cidr"))
    alerts = [f"{row['subject']}" + (f" ({row['times']} times)" if row["times"] > 1 else "") for row in open_ones]
    if alerts:
        yield RuleFinding(
            f"alerts of the last day: {listed(alerts)}",
            "after the upgrade nobody can tell them from new ones",
            "look into them, archive them",
        )


@rule(Severity.WARNS, "vm_instance and volumes by state")
def nothing_is_stuck(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No VM or volume stays between two states; reports those on their way."""
    moving = [("VM", row) for row in facts.rows("vms_moving")] + [("volume", row) for row in facts.rows("volumes_moving")]
    stuck = [f"{kind} {row['name']} ({row['state']} since {_hours(row)})" for kind, row in moving if (row["age"] or 0) >= STUCK]
    if stuck:
        yield RuleFinding(
            f"stuck between two states: {listed(stuck)}",
            "they would be so in the copy as well; the window's guard refuses while they are",
            "bring each to rest: stop or start it, or correct its state with the vendor's help",
        )
    young = [f"{kind} {row['name']} ({row['state']})" for kind, row in moving if (row["age"] or 0) < STUCK]
    if young:
        yield RuleFinding(
            f"on their way: {listed(young)}", "normal on a cloud in use; the window opens when none is", "none now", Severity.NOTES
        )

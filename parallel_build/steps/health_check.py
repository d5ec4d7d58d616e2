"""HealthCheck: the original is fit to be upgraded, reported in daylight and not by the window's guards at night."""

from __future__ import annotations

import time
from typing import ClassVar

from parallel_build import health
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.health.finding import RULES
from parallel_build.health.report import headline
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import window_open
from parallel_build.rules import Finding, RuleFinding, Severity
from parallel_build.steps.base import Step, step

REPORT = "health"  # evidence/health.json and evidence/health.txt in the run folder
LOOK_AGAIN = 5.0  # seconds


@step
class HealthCheck(Step):
    """Every rule of `parallel_build.health`; what blocks fails the step, all of it together."""

    type = "HealthCheck"
    phase = Phase.PREPARED
    summary = "health of the original"
    # Hosts and system VMs come back by themselves after a restart: they get this long, in seconds, before they count as broken.
    patience: ClassVar[float] = 60.0
    passing: ClassVar[frozenset[str]] = frozenset({"hosts_are_up", "system_vms_run"})

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is looked at."""
        accepted = configuration.health.accepted
        return [
            f"examine the original by {len(RULES)} rules (docs/operate/health.md), reading only: servers, hosts, system VMs, routers, storage, jobs, "
            "database, settings, certificates, the way to the target",
            "what blocks ends here with nothing changed, all of it together; the report is kept as evidence/health.txt",
            *([f"findings of {', '.join(accepted)} are reported and accepted"] if accepted else []),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing was changed."""
        return ["nothing: nothing was changed"]

    def apply(self, context: Context) -> Outputs:
        """Read, judge, keep the report, and fail on what blocks."""
        accepted = check_names(context.configuration)
        context.progress("reading the original")
        deadline = time.monotonic() + self.patience
        while True:
            facts = health.gather(context.site, context.connections)
            report = health.examine(facts)
            blocking = [each for each in report if each.severity is Severity.BLOCKS and each.rule not in accepted]
            transient = [each for each in blocking if each.rule in self.passing]
            if not transient or len(transient) < len(blocking) or time.monotonic() > deadline:
                break
            context.progress(f"looking again, this may pass: {'; '.join(each.fact for each in transient)}")
            context.cancel.wait(LOOK_AGAIN)
        context.run.keep(REPORT, health.as_document(facts, report))
        context.run.keep_text(REPORT, health.as_text(facts, report))
        for each in report:
            if each.severity is not Severity.NOTES:
                context.progress(f"{each.severity.value}{' (accepted)' if each.rule in accepted else ''}: {each.fact}")
        for name, why in report.not_judged.items():
            context.progress(f"not judged: {name}: {why}")
        if blocking:
            raise refusal(blocking)
        context.progress(f"{headline(report)}; see {context.run.path / 'evidence' / REPORT}.txt")
        return {
            "summary": report.counts,
            "findings": [{"rule": each.rule, "severity": each.severity.value, "fact": each.fact} for each in report],
        }

    def verify(self, context: Context) -> Outputs:
        """Look again; while a window is open the original is silent on purpose, and once retired it is history."""
        if context.configuration.phase is Phase.RETIRED or window_open(context):
            return {"summary": {}, "findings": []}
        return self.apply(context)

    def revert(self, context: Context) -> None:
        """Nothing was changed."""


def refusal(blocking: list[Finding[RuleFinding]]) -> GuardFailed:
    """One error that names everything that blocks."""
    lines = []
    for each in blocking:
        lines.append(f"  - {each.rule}: {each.fact}")
        lines += [f"      {label}: {text}" for label, text in (("why", each.cause), ("to do", each.remedy)) if text]
    return GuardFailed(
        f"the original is not fit to be upgraded, {len(blocking)} findings block:\n" + "\n".join(lines) + "\n",
        "an upgrade fixes nothing, it makes what is broken harder to see",
        "nothing has been changed; fix these and run the same command again, or name a rule in health.accepted to continue in spite of it",
    )


def check_names(configuration: StackConfiguration) -> set[str]:
    """The rules that are accepted.

    Raises:
        ConfigurationError: there is no such rule.
    """
    known = {rule.name for rule in RULES}
    unknown = [name for name in configuration.health.accepted if name not in known]
    if unknown:
        raise ConfigurationError(
            f"health.accepted: there is no rule {', '.join(unknown)}",
            f"the rules are {', '.join(sorted(known))}",
            "correct health.accepted",
        )
    return set(configuration.health.accepted)

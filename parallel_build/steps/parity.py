"""Parity: this cloud compared with the one that the upgrade was rehearsed on."""

from __future__ import annotations

from parallel_build import parity
from parallel_build.configuration import Parity as ParitySection
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import window_open
from parallel_build.parity.compare import Rank
from parallel_build.steps.base import Step, step

REPORT = "parity"  # evidence/parity.json and evidence/parity.txt in the run folder
SHOWN = 5


@step
class Parity(Step):
    """Facts of both, compared; a difference of the configured rank fails the step."""

    type = "Parity"
    phase = Phase.PREPARED
    summary = "likeness to the cloud that was rehearsed on"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """What is compared."""
        section = wanted(configuration)
        fails = (
            "nothing fails"
            if section.fail_at == "never"
            else f"a difference of rank {section.fail_at} or worse ends here with nothing changed"
        )
        return [
            f"read what this cloud is made of, and compare it with {section.against} (docs/operate/parity.md): {fails}; "
            "the comparison is kept as evidence/parity.txt"
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing was changed."""
        return ["nothing: nothing was changed"]

    def apply(self, context: Context) -> Outputs:
        """Read both, compare, keep, and fail on what is too different."""
        section = wanted(context.configuration)
        context.progress(f"facts of {section.against}")
        rehearsed = parity.load(section.against)
        context.progress("facts of this cloud")
        real = parity.gather(context.site, context.connections)
        report = parity.compare(rehearsed, real)
        context.run.keep(REPORT, parity.as_document(rehearsed, real, report))
        context.run.keep_text(REPORT, parity.as_text(rehearsed, real, report))
        bad = [] if section.fail_at == "never" else report.beyond(Rank(section.fail_at))
        shown = [f"{each.severity.value}: {each.fact}, {each.cause}" for each in bad]
        if bad:
            more = f"\n  - and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
            raise GuardFailed(
                f"this cloud is not like {rehearsed.get('stack', section.against)}, on which the upgrade was rehearsed; "
                "what differs (there / here):\n" + "\n".join(f"  - {line}" for line in shown[:SHOWN]) + more + "\n",
                f"the rehearsal shows nothing about that; all of it is in {context.run.path / 'evidence' / REPORT}.txt",
                "rehearse on a cloud that is alike; or, once you have decided that it does not matter, set parity.failAt to never, which only reports",
            )
        context.progress(f"differences from {rehearsed.get('stack', section.against)}: {report.summary()}")
        return {"against": rehearsed.get("stack", ""), "summary": report.summary()}

    def verify(self, context: Context) -> Outputs:
        """Compare again; while a window is open the original is silent on purpose, and once retired it is history."""
        if context.configuration.phase is Phase.RETIRED or window_open(context):
            return {"against": "", "summary": ""}
        return self.apply(context)

    def revert(self, context: Context) -> None:
        """Nothing was changed."""


def wanted(configuration: StackConfiguration) -> ParitySection:
    """The section.

    Raises:
        ConfigurationError: it is not there, so there is nothing to compare with.
    """
    if configuration.parity is None:
        raise ConfigurationError(
            "parity.against is missing", "there is nothing to compare this cloud with", "name a stack or a file of facts"
        )
    return configuration.parity

"""Writing the planned templates next to the stack file, for a stack that has no `templates` of its own."""

from __future__ import annotations

import json
from pathlib import Path

from parallel_build.configuration.planned_templates import place
from parallel_build.errors import GuardFailed
from parallel_build.plan import templates
from parallel_build.plan.facts import Plan


def write(plan: Plan, stack_file: Path) -> str:
    """Write them; nothing happens where the same are written already.

    Returns:
        what was done, for the operator.
    Raises:
        GuardFailed: a template can't be registered as the plan has it, or none could be planned.
    """
    if plan.templates is None:
        raise GuardFailed(
            "no templates are written",
            "the clusters could not be read: " + "; ".join(plan.problems),
            "make them readable, then run the same command again",
        )
    if lacking := [f"{each.hypervisor} {each.arch}: {each.problem()}" for each in plan.templates if each.problem()]:
        raise GuardFailed("no templates are written", "; ".join(lacking), "complete them as it says, or list `templates` in the stack file")
    path = place(stack_file)
    entries = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in templates.as_configured(plan.templates)]
    text = (
        json.dumps({"version": str(plan.new), "package": plan.package.where if plan.package else "", "templates": entries}, indent=1) + "\n"
    )
    if path.exists() and path.read_text() == text:
        return f"{path} has these templates already"
    path.write_text(text)
    return f"{len(entries)} templates written to {path}: a stack without `templates` registers them"

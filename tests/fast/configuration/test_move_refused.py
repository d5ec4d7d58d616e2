"""A move, the same version on new servers: what is told apart, and what is refused in preview."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parallel_build.configuration import load
from parallel_build.configuration.planned_templates import place, with_planned
from parallel_build.errors import ConfigurationError
from parallel_build.resolved_stack import Site
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY
from tests.fast.sites import VALUES, site, values

MOVE: dict[str, Any] = {"new": {"version": "4.20.3.0"}, "templates": []}


def test_the_same_version_is_a_move_and_a_later_one_is_not() -> None:
    assert site(**MOVE).configuration.move and not site().configuration.move
    assert site(new={"version": "4.20.3"}, templates=[]).configuration.move
    assert not site(new={"version": "4.20.3.1"}).configuration.move, "a security release is an upgrade"


def test_a_vendors_build_moves_as_itself_and_survives_the_state() -> None:
    there = site(original={"version": "4.20.3.0-acme1"}, new={"version": "4.20.3.0-acme1"}, templates=[])
    again = Site.from_json(there.to_json())
    assert again.configuration.move and again.configuration.new.version.full == "4.20.3.0-acme1"


@pytest.mark.parametrize(("changes", "words"), [
    ({**MOVE, "templates": VALUES["templates"]}, "templates: a move to 4.20.3.0 takes none"),
    ({**MOVE, "new": {"version": "4.20.3.0-acme1"}}, "new.version: 4.20.3.0-acme1 and original.version 4.20.3.0 are different builds of one version"),
    ({**MOVE, "original": {"version": "4.20.3.0-acme1"}}, "neither an upgrade nor a move. To move the cloud, name the build that runs"),
    ({**MOVE, "original": {"version": "4.20.3.0-acme1"}, "new": {"version": "4.20.3.0-acme2"}}, "are different builds"),
    ({**MOVE, "new": {"version": "4.20.2.0"}}, "new.version: 4.20.2.0 is not later than original.version 4.20.3.0"),
    ({**MOVE, "rehearsal": {"enabled": True, "machine": {"name": "rehearsal", "address": "10.91.0.51"}}}, "rehearsal.enabled: a move has no schema upgrade"),
    ({**MOVE, "rehearsal": {"housekeeping": {"events": "90d"}}}, "rehearsal.housekeeping: a move takes every row over"),
    ({**MOVE, "routers": {"untilRenewed": "wait"}}, "routers.untilRenewed: wait is about routers that are to be renewed, and a move leaves them alone"),
    ({**MOVE, "routers": {"untilRenewed": "allow"}}, "routers.untilRenewed: allow"),
])  # fmt: skip
def test_what_belongs_to_an_upgrade_is_refused_by_key(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(values(**changes), "test")
    assert words in str(refused.value)


def test_templates_that_were_planned_for_the_upgrade_to_this_version_are_not_taken_for_the_move(tmp_path: Path) -> None:
    stack_file = tmp_path / "Pulumi.prod.yaml"
    place(stack_file).write_text(json.dumps({"version": "4.20.3.0", "templates": VALUES["templates"]}))
    sides = {"original": json.dumps({"version": "4.20.3.0"}), "new": json.dumps({"version": "4.20.3.0"})}
    assert "templates" not in with_planned(sides, stack_file)
    assert "templates" in with_planned({**sides, "original": json.dumps({"version": "4.19.3.0"})}, stack_file)


def test_the_change_review_says_that_nothing_is_upgraded() -> None:
    load_all()
    configuration = site(**MOVE).configuration

    def plan(step: str) -> str:
        return "\n".join(REGISTRY[step]().plan(configuration))

    for step in ("Window", "FirstManagement", "SystemVms", "Routers", "HypervisorSteps", "Retirement"):
        assert "4.20.3.0 -> 4.20.3.0" not in plan(step) and "NOT CONFIGURED" not in plan(step) and "NOT REHEARSED" not in plan(step), step
    assert "A MOVE of 4.20.3.0 to new servers" in plan("Ready")
    assert "it must upgrade nothing" in plan("FirstManagement")
    assert "only for those that are not connected" in plan("SystemVms") and "leaves routers alone" in plan("Routers")

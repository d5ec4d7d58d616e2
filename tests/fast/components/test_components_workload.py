"""Workload as a component: what it declares, that the window opens after it, and what a preview refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallel_build import components as c
from parallel_build.components.arguments import ArgumentsRefused
from parallel_build.workload.profile import BUILT_IN
from tests.fast.components.test_library import args, everything, named, run


def test_the_window_opens_after_it_and_its_numbers_are_in_the_preview() -> None:
    def program() -> None:
        cloud = c.Cloud("one", args())
        c.Workload("load", c.WorkloadArgs(cloud, {"accounts": 3, "networks": 0, "vms": 0, "disks": 0, "snapshots": 0}, zone="zone1"))
        everything(cloud)

    watched = run(program, preview=True)
    step = named(watched.seen, "load-workload")
    assert (
        step.kind == "Workload" and step.inputs["parameters"]["profile"]["accounts"] == 3 and step.inputs["parameters"]["zone"] == "zone1"
    )
    assert "3 of kind account" in " ".join(step.inputs["plan"]) and "refused while a window is open" in " ".join(step.inputs["undo"])
    assert "load-workload" in " ".join(named(watched.seen, "cut-window").dependencies)


def test_a_built_in_profile_and_a_file_are_the_same_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("accounts: 7\nremoteAccess: 1\n")
    found: list[Any] = []

    def program() -> None:
        profiles: list[Any] = ["medium", tmp_path / "mine.yaml", {"accounts": 7, "remoteAccess": 1}]
        for number, profile in enumerate(profiles):
            found.append(c.Workload(f"load{number}", c.WorkloadArgs(c.Cloud(f"c{number}", args()), profile)).profile)

    run(program)
    assert found[0] == BUILT_IN["medium"] and found[1] == found[2] and found[1].accounts == 7


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("huge", r"load.*args.profile can't be used.*huge can't be read"),
        ({"vms": -1}, r"args.profile can't be used(.|\n)*vms"),
        ({"wms": 1}, r"args.profile can't be used(.|\n)*wms"),
        (7, r"args.profile is an int"),
    ],
)
def test_profiles_that_are_none_are_refused_in_the_preview(profile: Any, words: str) -> None:
    with pytest.raises(ArgumentsRefused, match=words):
        run(lambda: c.Workload("load", c.WorkloadArgs(c.Cloud("one", args()), profile)), preview=True)


def test_a_workload_that_would_go_before_the_window_is_closed_is_refused() -> None:
    def program() -> None:
        cloud = c.Cloud("one", args())
        everything(cloud)
        c.Workload("load", c.WorkloadArgs(cloud))

    with pytest.raises(ArgumentsRefused, match="Cutover that was declared before it"):
        run(program)

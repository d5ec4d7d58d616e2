"""An original shaped as Enterprise Linux and new servers of Debian: a start that fails and is rolled back, then there and back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from parallel_build.parity.compare import compare
from tests.containers.conftest import LabRunner, tell
from tests.containers.el_lab import ID, NEW, OLD, agents, assert_shape
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import assert_new_serves, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of two families, in phase `prepared`."""
    with own_lab("mix", "--family", "el", "--new-family", "debian") as runner:
        yield runner


def test_a_start_that_fails_is_rolled_back(lab: LabRunner) -> None:
    before = keep_reading(lab)
    lab.run("fault", "newms1", "fail_step", '"4.22.0.0"')
    tell("switch, whose schema upgrade fails")
    failed = lab.run("tool", "switch", "lab", "--on-failure", "back", check=False)
    lab.run("fault", "newms1", "fail_step")
    assert failed.returncode != 0
    assert_original_serves(lab, before)
    assert agents(lab) == {f"{OLD} {OLD}"}
    lab.run("pulumi", "config", "set", "phase", "prepared")
    lab.run("pulumi", "up", "--yes", "--skip-preview")


def test_el_to_debian_and_back(lab: LabRunner) -> None:
    assert_shape(lab, "oldms1", "olddb1", "kvm1")
    assert lab.shell("newms1", ID).strip() == lab.shell("newdb1", ID).strip() == "debian"
    before = keep_reading(lab)
    facts = json.loads(lab.run("tool", "facts", "lab").stdout)
    assert {role: {machine["os"] for machine in found} for role, found in facts["machines"].items()} == {
        "management": {"EL shape"}, "hypervisor": {"EL shape"}, "database": {"EL shape"},
        "new management": {"Debian GNU/Linux"}, "new database": {"Debian GNU/Linux"},
    }  # fmt: skip
    one, other = ({**facts, "machines": {"management": facts["machines"][role]}} for role in ("management", "new management"))
    differences = {(each.words.area, each.words.key): each.words for each in compare(one, other).findings}
    tell(f"parity: {differences}")
    assert ("management", "os") in differences, "parity shows the change of family"
    tell("switch")
    lab.run("switch")
    assert_new_serves(lab)
    assert agents(lab) == {f"{NEW} {NEW}"}, "hosts take their packages from a repository of their own family"
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert agents(lab) == {f"{OLD} {OLD}"}

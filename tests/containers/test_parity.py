"""Facts of the lab, read from its running machines, and compared by command and step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.stack import STACK, environment
from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.project import PROJECT
from parallel_build.records.run_folder import RunFolder
from parallel_build.steps.parity import Parity
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.test_health import with_changes

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stand(lab: LabRunner) -> Stand:
    """The lab in phase prepared."""
    return Stand(lab)


def command(stand: Stand, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the tool inside the lab's network."""
    line = [sys.executable, "-m", "parallel_build", *words, "--config-file", str(stand.lab.stack_file)]
    env = {**os.environ, **environment(stand.lab)}
    return stand.inside(lambda: subprocess.run(line, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=120, check=False))


def test_facts_are_read_and_a_cloud_is_like_itself_until_it_is_changed(stand: Stand, tmp_path: Path) -> None:
    done = command(stand, "facts", STACK)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    (tmp_path / "lab.json").write_text(done.stdout)
    assert facts["problems"] == []
    assert {role: len(machines) for role, machines in facts["machines"].items()} == {
        "management": 2, "hypervisor": 2, "database": 1, "new management": 2, "new database": 1,
    }  # fmt: skip
    assert facts["machines"]["management"][0]["packages"]["cloudstack-management"] == "4.20.3.0"
    assert facts["machines"]["new management"][0]["packages"]["cloudstack-management"] == "4.22.1.0"
    assert facts["database"]["family"] == facts["newDatabase"]["family"] == "mariadb"
    assert facts["kinds"]["hypervisors"] == ["KVM"] and facts["counts"]["zones"] == 1
    secrets = json.loads((stand.lab.folder / "secrets.json").read_text())
    assert not [name for name, value in secrets.items() if isinstance(value, str) and len(value) > 7 and value in done.stdout]

    again = command(stand, "parity", str(tmp_path / "lab.json"), STACK)
    assert again.returncode == 0, again.stdout + again.stderr
    assert ": 0 high, 0 medium, 0 low" in again.stdout, again.stdout

    isolation = "cloud.physical_network_isolation_methods"
    stand.sql(f"RENAME TABLE {isolation} TO cloud.planted_away")
    try:
        lacking = command(stand, "parity", str(tmp_path / "lab.json"), STACK)
    finally:
        stand.sql(f"RENAME TABLE cloud.planted_away TO {isolation}")
    assert lacking.returncode == 0 and ": 0 high, 0 medium, 0 low" in lacking.stdout, lacking.stdout + lacking.stderr
    assert "not read: isolation: the schema of this version does not have it (1146" in lacking.stdout, "compared with nothing"

    stand.sql("INSERT INTO cloud.guest_os (id, category_id, uuid, display_name, is_user_defined) VALUES (9001, 1, 'planted', 'Mill OS', 1)",
              "UPDATE cloud.configuration SET value = '77', default_value = COALESCE(default_value, '4') WHERE name = 'workers'")  # fmt: skip
    try:
        other = command(stand, "parity", str(tmp_path / "lab.json"), STACK, "--json")
        site = with_changes(stand, parity={"against": str(tmp_path / "lab.json")})

        def step() -> str:
            with stand.connections(site) as opened:
                context = Context(site, opened, RunFolder(tmp_path, "lab", []), opened.cancel, lambda line: None, "Parity")
                with pytest.raises(GuardFailed) as caught:
                    Parity().apply(context)
                assert not context.acted
            return str(caught.value)

        words = stand.inside(step)
    finally:
        stand.sql("DELETE FROM cloud.guest_os WHERE id = 9001",
                  "UPDATE cloud.configuration SET value = default_value WHERE name = 'workers' AND value = '77'")  # fmt: skip
    assert other.returncode == 3, other.stderr
    found = {(each["rank"], each["area"], each["key"]) for each in json.loads(other.stdout)["differences"]}
    assert ("high", "own guest operating systems", "Mill OS") in found
    assert "Mill OS" in words and "parity.failAt" in words
    assert "Mill OS" in (tmp_path / "lab/evidence/parity.txt").read_text()
    tell(words)

"""States of the tree before children were named after their components (ce36dad), continued and undone by this one.

`states/` holds a state and its stack file for each phase and a hold point, as that tree's program wrote them with a provider that does nothing;
and one of 81fc6cf for each platform, whose plugin did nothing either.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_build.project import CODE
from tools import pins

STATES = Path(__file__).parent / "states"
STACK, PREFIX = "old", "cloudstack-parallel-build"
PROJECT = {"name": PREFIX, "runtime": "python", "stackConfigDir": "stacks"}
PLUGIN = """#!/bin/sh
PYTHONPATH={root} exec {python} -P -m {module} "$@"
"""
VERSIONS = {"libvirt": pins.LIBVIRT_PLUGIN, "vsphere": pins.VSPHERE_PLUGIN}
PROGRAM = "from parallel_build.components.program import main\nmain()\n"

pytestmark = [
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="the Pulumi CLI is not on PATH: `. scripts/environment` first"),
    pytest.mark.engine,
    pytest.mark.timeout(600),
]


def write_plugins(folder: Path, *, idle: tuple[str, ...]) -> list[dict[str, str]]:
    """Write programs that the engine starts as plugins; returns what Pulumi.yaml has of them.

    Args:
        idle: which of them do nothing; the project's own is the real one where it is not named.
    """
    modules = {name: f"tests.fast.provider_idle_plugin {VERSIONS[name]}" for name in idle if name in VERSIONS}
    modules["cutover"] = "tests.fast.provider_idle_process" if "cutover" in idle else "parallel_build.provider.server"
    for name, module in modules.items():
        plugin = folder / f"plugin-{name}/pulumi-resource-{name}"
        plugin.parent.mkdir()
        plugin.write_text(PLUGIN.format(root=CODE, python=sys.executable, module=module))
        plugin.chmod(0o755)
    return [{"name": name, "path": f"./plugin-{name}"} for name in modules]


class Continued:
    """A stack whose state an earlier tree wrote."""

    def __init__(self, folder: Path, label: str, program: str = PROGRAM) -> None:
        self.folder, self.file = folder, folder / f"stacks/Pulumi.{STACK}.yaml"
        for name in ("state", "stacks"):
            (folder / name).mkdir()
        plugins = write_plugins(folder, idle=("cutover", *VERSIONS))
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**PROJECT, "plugins": {"providers": plugins}}))
        (folder / "__main__.py").write_text(program)
        (folder / "id.pub").write_text("ssh-ed25519 AAAA operator\n")
        self.pulumi("stack", "init", STACK)
        shutil.copy(STATES / f"{label}.yaml", self.file)
        self.pulumi("stack", "import", "--stack", STACK, "--file", str(STATES / f"{label}.json"))

    def pulumi(self, *words: str) -> str:
        """What Pulumi prints."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *words],
            cwd=self.folder,
            env={
                **os.environ,
                "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
                "PULUMI_CONFIG_PASSPHRASE": "states",
                "PULUMI_PYTHON_CMD": sys.executable,
                "PYTHONPATH": str(CODE),
                "OPERATOR_KEYS": str(self.folder),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        """`pulumi up` without its preview."""
        self.pulumi("up", "--yes", "--skip-preview", "--stack", STACK)

    def go_to(self, phase: str) -> None:
        """Set the phase."""
        document = yaml.safe_load(self.file.read_text())
        document["config"][f"{PREFIX}:phase"] = phase
        self.file.write_text(yaml.safe_dump(document))

    def resources(self, package: str = "cutover:index:") -> list[dict[str, Any]]:
        """A provider's resources in the state; this project's own unless another is named."""
        found = json.loads(self.pulumi("stack", "export", "--stack", STACK))["deployment"].get("resources") or []
        return [each for each in found if str(each["type"]).startswith(package)]


def kind(urn: str) -> str:
    """The type in a URN."""
    return urn.split("::")[2].rpartition("$")[2]


EXAMPLE = (CODE / "examples/lab/__main__.py").read_text()


@pytest.mark.parametrize(
    ("label", "program"),
    [*((label, PROGRAM) for label in ("built", "prepared", "held", "switched", "retired")), ("switched", EXAMPLE)],
    ids=["built", "prepared", "held", "switched", "retired", "switched, by the example"],
)
def test_nothing_is_made_undone_or_replaced(label: str, program: str, tmp_path: Path) -> None:
    stack = Continued(tmp_path, label, program)
    there = {each["type"] for each in stack.resources()}
    assert len(there) > 5
    shown = json.loads(stack.pulumi("preview", "--json", "--stack", STACK))
    # What that tree did not know yet may be added: its components, and steps that came since.
    changed = {(each["op"], kind(each["urn"])) for each in shown["steps"] if each["op"] not in ("same", "update", "read")}
    assert {(op, what) for op, what in changed if op != "create" or what in there} == set()
    summary = shown["changeSummary"]
    assert summary.get("same", 0) + summary.get("update", 0) >= len(stack.resources()), "each of them was found again"
    assert not summary.keys() & {"delete", "replace", "create-replacement", "delete-replaced"}
    before = {each["id"] for each in stack.resources()}
    stack.up()
    assert before <= {each["id"] for each in stack.resources()}


@pytest.mark.parametrize(("label", "phase"), [("held", "prepared"), ("switched", "prepared"), ("prepared", "built")])
def test_the_switch_and_the_preparation_are_undone(label: str, phase: str, tmp_path: Path) -> None:
    stack = Continued(tmp_path, label)
    stack.go_to(phase)
    stack.up()
    left = {each["type"].rpartition(":")[2] for each in stack.resources()}
    assert "Window" not in left and "OriginalManagement" not in left
    assert ("Ready" in left) == (phase == "prepared") and "CloudDatabases" in left
    stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK)
    assert stack.resources() == []


def test_everything_is_undone_without_an_up_before(tmp_path: Path) -> None:
    stack = Continued(tmp_path, "switched")
    stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK)
    assert stack.resources() == []


MACHINES = {"libvirt": "libvirt:index/domain:Domain", "vsphere": "vsphere:index/virtualMachine:VirtualMachine"}


@pytest.mark.parametrize("platform", MACHINES)
def test_what_a_platform_made_is_found_again_and_goes_with_its_stack(platform: str, tmp_path: Path) -> None:
    """States of 81fc6cf, in phase switched."""
    stack = Continued(tmp_path, f"{platform}-switched")
    made = {each["urn"].rpartition("::")[2]: each["id"] for each in stack.resources(f"{platform}:")}
    assert sum(each["type"] == MACHINES[platform] for each in stack.resources(f"{platform}:")) == 5
    shown = json.loads(stack.pulumi("preview", "--json", "--stack", STACK))
    assert not shown["changeSummary"].keys() & {"delete", "replace", "create-replacement", "delete-replaced"}
    changed = {each["urn"]: each["op"] for each in shown["steps"] if kind(each["urn"]).startswith(f"{platform}:") and each["op"] != "same"}
    assert changed == {}, "nothing of a machine is asked for that is not there"
    stack.up()
    now = {each["id"] for each in stack.resources(f"{platform}:")}
    assert now == set(made.values())
    stack.go_to("prepared")
    stack.up()
    assert "Window" not in {each["type"].rpartition(":")[2] for each in stack.resources()}
    assert {each["id"] for each in stack.resources(f"{platform}:")} == now, "going back from the switch keeps them"
    stack.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK)
    assert stack.resources() == stack.resources(f"{platform}:") == []

"""A simulated vCenter, and Pulumi projects whose vSphere plugin is the test plugin: found by the project's own file, never in a cache."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.vsphere.center import VCenter
from tools.environment import CHECKOUT, tool_environment, vsphere_test_folders
from tools.golang import program_folder
from tools.pins import VSPHERE

TEMPLATES = "debian-12,debian-12-next"
FOLDER = "cloudstack"


@pytest.fixture(autouse=True)
def _marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("vsphere"), "every test in this folder needs the marker vsphere"


@dataclass
class Simulator:
    """A running simulated vCenter."""

    address: str
    process: subprocess.Popen[str]

    def client(self) -> VCenter:
        """A session of somebody else's."""
        return VCenter(self.address)


def start_simulator(boot: str = "200ms") -> Simulator:
    """Start one on a free port of the loopback interface and wait until it answers.

    Args:
        boot: time until a started guest reports its address.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    path = os.pathsep.join(map(str, vsphere_test_folders()))
    command = [str(shutil.which("vcsim", path=path)), "-l", address, "-boot", boot, "-templates", TEMPLATES, "-folder", FOLDER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 30)
    line = process.stdout.readline() if ready else ""
    assert line.startswith("vcsim ready"), f"the simulator did not start: {line!r}"
    return Simulator(address, process)


def stop_simulator(simulator: Simulator) -> None:
    """End it; a machine that is being reported on doesn't delay that."""
    simulator.process.terminate()
    try:
        simulator.process.wait(10)
    except subprocess.TimeoutExpired:
        simulator.process.kill()
        simulator.process.wait(10)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulated vCenter of the test's own."""
    running = start_simulator()
    yield running
    stop_simulator(running)


@pytest.fixture(scope="module")
def shared_simulator() -> Iterator[Simulator]:
    """One that several tests only look at."""
    running = start_simulator()
    yield running
    stop_simulator(running)


def configuration(address: str) -> dict[str, Any]:
    """A stack with two database servers (one with a data disk) and two management servers on vSphere."""
    return {
        "phase": "built",
        "original": {
            "version": "4.20.3.0",
            "management": [{"name": "oldms1", "address": "192.0.2.11"}],
            "database": {"source": {"name": "olddb1", "address": "192.0.2.13"}},
            "api": {"url": "http://192.0.2.11:8080/client/api"},
        },
        "new": {
            "version": "4.22.1.0",
            "platform": "vsphere",
            "management": [
                {"name": "newms1", "address": "192.0.2.41", "disk": 8, "memory": 2048},
                {"name": "newms2", "address": "192.0.2.42", "disk": 8, "memory": 2048},
            ],
            "database": {
                "source": {"name": "newdb1", "address": "192.0.2.31", "disk": 8, "memory": 2048, "vsphere": {"dataDisk": 20}},
                "replica": {"name": "newdb2", "address": "192.0.2.32", "disk": 10, "memory": 2048},
            },
            "network": {"gateway": "192.0.2.1"},
        },
        "platforms": {
            "vsphere": {
                "server": address,
                "user": "user",
                "allowUnverifiedTls": True,
                "datacenter": "DC0",
                "cluster": "DC0_C0",
                "datastore": "LocalDS_0",
                "network": "VM Network",
                "folder": FOLDER,
                "template": "debian-12",
                "addressTimeout": "1m",
            }
        },
        "window": {"userAccess": {"administrators": ["192.0.2.0/24"]}},
    }


@dataclass
class Project:
    """A stack of the test program, with a state and a Pulumi home of its own.

    Attributes:
        folder: the project.
        stack: the stack's name.
        values: its configuration; changed by `set`.
    """

    folder: Path
    stack: str
    values: dict[str, Any]
    environment: dict[str, str] = field(default_factory=dict)

    def set(self, path: str, value: Any) -> None:
        """Change one value; `path` is like `new.management.0.memory`."""
        *parents, last = path.split(".")
        place: Any = self.values
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[last] = value
        self.store()

    def store(self) -> None:
        """Write the configuration into the stack's file, next to the password that Pulumi has put there."""
        file = self.folder / f"Pulumi.{self.stack}.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["config"]["cloudstack-parallel-build:configuration"] = self.values
        file.write_text(yaml.safe_dump(settings))

    def pulumi(self, *words: str, ok: bool = True, **variables: str) -> str:
        """Run the CLI for this stack and return all that it printed."""
        done = subprocess.run(
            ["pulumi", *words, "--stack", self.stack, "--non-interactive"],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout

    def up(self, *words: str, ok: bool = True) -> str:
        """`pulumi up` without asking and without a preview."""
        return self.pulumi("up", "--yes", "--skip-preview", *words, ok=ok)

    def unchanged(self) -> None:
        """Prove that neither `up` nor `refresh` has anything to do."""
        self.up("--expect-no-changes")
        self.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")

    def preview(self, **variables: str) -> dict[str, str]:
        """What an `up` would do: the operation by `type::name`, without what stays the same; the parts of a replacement are one."""
        text = self.pulumi("preview", "--json", ok=True, **variables)
        found = {}
        for step in json.loads(text[text.index("{") :])["steps"]:
            if step["op"] != "same":
                *_, types, name = step["urn"].split("::")
                found[f"{types.split('$')[-1]}::{name}"] = "replace" if "replace" in step["op"] else step["op"]
        return found

    def changes(self) -> dict[str, int]:
        """What the last command changed, by operation."""
        found: dict[str, int] = json.loads(self.pulumi("stack", "history", "--json", "--page-size", "1"))[0]["resourceChanges"]
        return found


def make_project(folder: Path, address: str, stack: str = "prod") -> Project:
    """A project with an empty stack for the simulator at `address`."""
    shutil.copytree(Path(__file__).parent / "project", folder)
    (folder / "Pulumi.yaml").write_text(
        "name: cloudstack-parallel-build\nruntime:\n  name: python\n"
        f"plugins:\n  providers:\n    - name: vsphere\n      path: {program_folder(VSPHERE)}\n"
    )
    state = folder.parent / f"{folder.name}-state"
    state.mkdir()
    environment = {
        **tool_environment(),
        "PULUMI_HOME": str(folder.parent / f"{folder.name}-home"),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": "for the test",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    project = Project(folder, stack, configuration(address), environment)
    project.pulumi("stack", "init")
    project.pulumi("config", "set", "--secret", "vspherePassword", "pass")
    project.store()
    return project


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator) -> Project:
    """A project of the test's own on its own simulator."""
    return make_project(tmp_path / "project", simulator.address)

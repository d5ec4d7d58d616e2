"""The example on vSphere, previewed against a simulated vCenter: what it looks up is there, and its machines are what the plugin takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from parallel_build.project import CODE
from tests.fast.provider.test_old_states import write_plugins
from tests.fast.sites import SECRETS
from tests.vsphere.conftest import FOLDER, Simulator
from tools.environment import tool_environment
from tools.golang import program_folder
from tools.pins import VSPHERE

pytestmark = pytest.mark.vsphere


def example(address: str) -> str:
    """Its program, with the names of the simulator."""
    program = (CODE / "examples/vsphere/__main__.py").read_text()
    for old, new in (
        ('"vcenter.example.com"', f'"{address}", "allow_unverified_tls": True'),
        ('"pulumi-cloudstack@vsphere.local"', '"user"'),
        ('"Frankfurt"', '"DC0"'),
        ('"cluster": "management"', '"cluster": "DC0_C0"'),
        ('"san-1"', '"LocalDS_0"'),
        ('"cs-management"', '"VM Network"'),
        ('"folder": "cloudstack"', f'"folder": "{FOLDER}"'),
    ):
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    return program


def test_it_is_previewed(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAAoperator operator@here\n")
    (tmp_path / "__main__.py").write_text(example(simulator.address))
    project = yaml.safe_load((CODE / "examples/vsphere/Pulumi.yaml").read_text())
    plugins = [*write_plugins(tmp_path, idle=()), {"name": "vsphere", "path": str(program_folder(VSPHERE))}]
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({**project, "runtime": "python", "plugins": {"providers": plugins}}))

    def pulumi(*words: str) -> str:
        environment = {
            **tool_environment(),
            "HOME": str(tmp_path),
            "PULUMI_HOME": str(tmp_path / "home"),
            "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
            "PULUMI_CONFIG_PASSPHRASE": "example",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PYTHONPATH": str(CODE),
        }
        words = (*words, "--stack", "prod", "--non-interactive")
        done = subprocess.run(["pulumi", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pulumi("stack", "init")
    for key, value in {**SECRETS, "vspherePassword": "pass"}.items():
        pulumi("config", "set", "--secret", key, value)
    for phase, machines in (("built", 3), ("switched", 4)):
        pulumi("config", "set", "phase", phase)
        shown = pulumi("preview", "--diff")
        assert shown.count("+ vsphere:index/virtualMachine:VirtualMachine: (create)") == machines, shown
    assert "cutover:index:Routers: (create)" in shown and [value for value in SECRETS.values() if value in shown] == []

"""The examples whose machines a platform makes, previewed by the engine in every phase; the platform's plugin is one that does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from parallel_build.project import CODE
from tests.fast.provider.test_old_states import write_plugins
from tests.fast.sites import SECRETS

pytestmark = [
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="the Pulumi CLI is not on PATH: `. scripts/environment` first"),
    pytest.mark.engine,
    pytest.mark.timeout(600),
]
MACHINES = {"libvirt": "libvirt:index/domain:Domain", "vsphere": "vsphere:index/virtualMachine:VirtualMachine"}


class Example:
    """A copy of an example, with a state of its own.

    Args:
        name: of the example.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        (folder / "state").mkdir()
        (folder / ".ssh").mkdir()
        (folder / ".ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAAoperator operator@here\n")
        shutil.copy(CODE / "examples" / name / "__main__.py", folder)
        project = yaml.safe_load((CODE / "examples" / name / "Pulumi.yaml").read_text())
        project["runtime"] = "python"
        project["plugins"] = {"providers": write_plugins(folder, idle=("libvirt", "vsphere"))}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        self.pulumi("stack", "init", "prod")
        for key, value in {**SECRETS, "vspherePassword": "for the test"}.items():
            self.pulumi("config", "set", "--secret", key, value)

    def pulumi(self, *words: str) -> str:
        """What Pulumi prints."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *words, *(["--stack", "prod"] if words[0] != "stack" else [])],
            cwd=self.folder,
            env={
                **os.environ,
                "HOME": str(self.folder),
                "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
                "PULUMI_CONFIG_PASSPHRASE": "example",
                "PULUMI_PYTHON_CMD": sys.executable,
                "PYTHONPATH": str(CODE),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("name", MACHINES)
def test_it_is_previewed_in_every_phase(name: str, tmp_path: Path) -> None:
    example = Example(tmp_path, name)
    for phase, machines, step in (("built", 3, "CloudDatabases"), ("prepared", 4, "Ready"), ("switched", 4, "Routers")):
        example.pulumi("config", "set", "phase", phase)
        shown = example.pulumi("preview", "--diff")
        assert shown.count(f"+ {MACHINES[name]}: (create)") == machines, shown
        assert shown.count(f"+ cutover:index:{step}: (create)") == 1
        assert "192.0.2.41" in shown and [value for value in (*SECRETS.values(), "for the test") if value in shown] == []

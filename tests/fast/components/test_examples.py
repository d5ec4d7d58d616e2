"""The programs of `examples/`: each is run against pretended providers, in every phase."""

from __future__ import annotations

import asyncio
import json
import runpy
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from parallel_build.project import CODE
from tests.fast.components.test_components_program import Recorder
from tests.fast.configuration.test_vsphere_inputs import Callbacks
from tests.fast.provider_idle_plugin import TEMPLATE
from tests.fast.sites import SECRETS, values

EXAMPLES = CODE / "examples"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq5sD0mC8v0l0l1l2l3l4l5l6l7l8l9l0l1l2l3"
PHASES = ("built", "prepared", "switched", "retired")


def run(name: str, config: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run an example; returns what it declared."""

    async def callbacks() -> Callbacks:
        return Callbacks()

    monkeypatch.setattr("pulumi.runtime.resource._get_callbacks", callbacks)
    project = yaml.safe_load((EXAMPLES / name / "Pulumi.yaml").read_text())["name"]
    recorder = Recorder()
    monkeypatch.setattr(recorder.mocks, "call", lambda args: ({"id": "1", "resourcePoolId": "pool", **TEMPLATE}, []))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(recorder.mocks, project=project, stack="prod", preview=False, monitor=recorder)
    named = {f"{project}:{key}": value for key, value in config.items()}
    pulumi.runtime.set_all_config(named, [key for key in named if "phase" not in key])

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def program() -> None:
        runpy.run_path(str(EXAMPLES / name / "__main__.py"), run_name="__main__")

    try:
        program()
    finally:
        loop.close()
        pulumi.runtime.set_all_config({})
    return recorder.seen


@pytest.fixture(autouse=True)
def _key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text("ssh-ed25519 AAAAoperator operator@here\n")
    monkeypatch.setenv("HOME", str(tmp_path))


def check(seen: list[Any], phase: str, clouds: int) -> None:
    """Each cloud has its own chain, as far as the phase goes."""
    names = [each.full for each in seen]
    assert len(names) == len(set(names)), "no two resources share a name"
    kinds = [each.kind for each in seen]
    assert kinds.count("CloudDatabases") == kinds.count("StackIdentity") == clouds
    assert kinds.count("Ready") == (clouds if phase != "built" else 0)
    assert kinds.count("Window") == kinds.count("Acceptance") == (clouds if phase in ("switched", "retired") else 0)
    assert kinds.count("Retirement") == (clouds if phase == "retired" else 0)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", ["libvirt", "vsphere"])
def test_one_cloud_on_a_platform(name: str, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = run(name, {"phase": phase, "vspherePassword": "for the test", **SECRETS}, monkeypatch)
    check(seen, phase, 1)
    machines = [each for each in seen if each.kind in ("Domain", "VirtualMachine")]
    assert len(machines) == (4 if phase in ("prepared", "switched") else 3), "and the rehearsal's"


@pytest.mark.parametrize("phase", PHASES)
def test_two_clouds_on_machines_of_ones_own(phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {f"{cloud}-{key}": value for cloud in ("east", "west") for key, value in SECRETS.items()}
    keys = {f"{cloud}-{name}": KEY for cloud in ("east", "west") for name in ("new-mgmt-1", "new-mgmt-2", "new-db-1", "new-db-2")}
    phases = {f"{cloud}-phase": phase for cloud in ("east", "west")}
    seen = run("own", {**config, **phases, "hostKeys": json.dumps(keys), "ourDnsZone": "example.org"}, monkeypatch)
    check(seen, phase, 2)
    assert len([each for each in seen if each.kind == "ExistingMachine"]) == 8
    plan = str([each.inputs for each in seen if each.full == "west-database-cloud-databases"])
    assert "198.51.100.41" in plan and "192.0.2.41" not in plan


@pytest.mark.parametrize("phase", PHASES)
def test_the_stack_file_drives_a_program_of_ones_own(phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = values(phase=phase, runs=str(tmp_path), ssh={"publicKeyFile": str(tmp_path / ".ssh/id_ed25519.pub")})
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in written.items()}
    secrets = [f"cloudstack-parallel-build:{key}" for key in SECRETS]
    monkeypatch.setattr("parallel_build.components.settings.get_config_secret_keys_env", lambda: secrets)
    (tmp_path / "Pulumi.yaml").write_text("name: cloudstack-parallel-build\n")
    monkeypatch.setattr("parallel_build.components.settings.project_folder", lambda: tmp_path)
    seen = run("lab", {**config, **SECRETS, "ourDnsZone": "example.org"}, monkeypatch)
    check(seen, phase, 1)
    assert {"cutover-window", "cutover-routers"} <= {each.full for each in seen} or phase in ("built", "prepared")

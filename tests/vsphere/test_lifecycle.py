"""The life of a stack's machines on the simulated vCenter: built, unchanged, changed, replaced, lost, deleted."""

from __future__ import annotations

import pytest

from tests.vsphere.conftest import FOLDER, Project, Simulator, make_project, start_simulator, stop_simulator

pytestmark = pytest.mark.vsphere

MACHINES = ("newdb1", "newdb2", "newms1", "newms2")
VM = "vsphere:index/virtualMachine:VirtualMachine"
RULE = "vsphere:index/computeClusterVmAntiAffinityRule:ComputeClusterVmAntiAffinityRule"
REFUSED = "in phase switched the cloud runs on"


def references(simulator: Simulator) -> dict[str, str | None]:
    """Each machine's own reference: a different one means another machine."""
    client = simulator.client()
    return {name: client.find(f"/DC0/vm/{FOLDER}/{name}") for name in MACHINES}


def test_built_unchanged_and_deleted(simulator: Simulator, project: Project) -> None:
    client = simulator.client()
    before = client.children("/DC0/vm")
    project.up()
    assert project.changes()["create"] == 18
    assert all(references(simulator).values())
    project.unchanged()
    # Another text for the first boot, as a later version of this project may write it, is nothing for a running machine.
    project.pulumi("config", "set", "note", "other.example")
    project.unchanged()
    project.pulumi("destroy", "--yes", "--skip-preview")
    assert client.children(f"/DC0/vm/{FOLDER}") == []
    assert client.children("/DC0/vm") == before  # the two templates and the folder


def test_neither_host_key_nor_password_is_in_the_state(project: Project) -> None:
    project.up()
    state = project.pulumi("stack", "export")
    for secret in ("PLANTED-HOST-KEY", '"pass"', "guestinfo.userdata"):
        assert secret not in state
    # The control: it is there for who has the passphrase.
    assert "guestinfo.userdata" in project.pulumi("stack", "export", "--show-secrets")


def test_a_changed_size_is_an_update(simulator: Simulator, project: Project) -> None:
    project.up()
    machines = references(simulator)
    project.set("new.database.source.memory", 3072)
    assert project.preview() == {f"{VM}::newdb1": "update"}
    project.up()
    assert references(simulator) == machines
    project.unchanged()


def test_a_changed_template_is_a_replacement_before_the_switch_and_refused_after_it(simulator: Simulator, project: Project) -> None:
    project.up()
    project.set("phase", "prepared")
    project.set("platforms.vsphere.template", "debian-12-next")
    preview = project.preview()
    assert {name for name in MACHINES if preview.get(f"{VM}::{name}") == "replace"} == set(MACHINES)

    # Together with the switch, or after it: refused before anything is touched, with and without a preview.
    machines = references(simulator)
    project.set("phase", "switched")
    for refused in (project.pulumi("preview", ok=False), project.up(ok=False)):
        assert REFUSED in refused
        assert "was made from debian-12, and platforms.vsphere.template is debian-12-next now" in refused
        assert "set platforms.vsphere.template back to debian-12" in refused
        assert "Traceback" not in refused
    assert references(simulator) == machines

    # Back one phase it is allowed again, and then counts as what the machines were made from.
    project.set("phase", "prepared")
    project.up()
    replaced = references(simulator)
    assert all(replaced[name] not in (None, machines[name]) for name in MACHINES)
    project.set("phase", "switched")
    project.unchanged()


def test_a_machine_lost_behind_the_stacks_back(simulator: Simulator, project: Project) -> None:
    project.up()
    simulator.client().destroy(f"/DC0/vm/{FOLDER}/newdb1")
    assert "VirtualMachine newdb1 deleted" in project.pulumi("refresh", "--yes", "--skip-preview")
    assert project.preview() == {f"{VM}::newdb1": "create", f"{RULE}::databases-apart": "update"}

    # Once the cloud runs on it, an empty one in its place is refused, in the preview already.
    project.set("phase", "switched")
    for refused in (project.pulumi("preview", ok=False), project.up(ok=False)):
        assert "newdb1 would be built again, and in phase switched the cloud runs on it" in refused
        assert "Remedy: bring newdb1 back" in refused
    assert references(simulator)["newdb1"] is None

    project.set("phase", "prepared")
    project.up()
    assert references(simulator)["newdb1"]
    project.unchanged()


def test_from_nothing_to_switched_in_one_go(project: Project) -> None:
    project.set("phase", "switched")
    project.up()
    project.unchanged()
    project.set("new.database.source.memory", 3072)
    assert project.preview() == {f"{VM}::newdb1": "update"}


def test_a_retired_stacks_machines_are_protected(simulator: Simulator, project: Project) -> None:
    project.up()
    project.set("phase", "retired")
    project.up()
    refused = project.pulumi("destroy", "--yes", "--skip-preview", ok=False)
    assert "protect" in refused
    assert all(references(simulator).values())


def test_a_guest_that_reports_no_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    simulator = start_simulator(boot="90s")
    try:
        project = make_project(tmp_path_factory.mktemp("slow") / "project", simulator.address)
        failed = project.up(ok=False)
        assert "newdb1 was made and powered on, but reported no address within 1 minutes" in failed
        assert "open-vm-tools" in failed
        assert VM in project.pulumi("stack", "export"), "a machine that was made is in the state, so that destroy deletes it"
        project.pulumi("destroy", "--yes", "--skip-preview")
        assert simulator.client().children(f"/DC0/vm/{FOLDER}") == []
    finally:
        stop_simulator(simulator)

"""A new management server that can't be reached is powered off through vCenter, and nobody else's machine is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parallel_build.configuration import NewMachine, Secrets, load, load_secrets
from parallel_build.machines import made_guest, power, vcenter
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from tests.fast.sites import SECRETS
from tests.vsphere.conftest import FOLDER, Project, Simulator

pytestmark = pytest.mark.vsphere


def site(project: Project, password: str = "pass") -> Site:  # noqa: S107 - the simulator's
    """The project's stack as a step has it."""
    secrets: Secrets = load_secrets({**SECRETS, "vspherePassword": password}, project.stack)
    return Site(project.stack, load(project.values, project.stack), secrets)


def machine(where: Site, name: str) -> NewMachine:
    return next(each for each in where.configuration.new_machines() if each.name == name)


def test_the_stacks_own_machine_is_powered_off_and_found_off_and_found_gone(simulator: Simulator, project: Project) -> None:
    project.up()
    where = site(project)
    newms1, newms2 = machine(where, "newms1"), machine(where, "newms2")
    made = made_guest.look(where, newms2)
    assert made is not None and made.host and made.guest.startswith("vm-")
    assert power.cut(where, newms1) == f"PowerOffVM_Task of DC0/vm/{FOLDER}/newms1"
    assert power.cut(where, newms1) == f"DC0/vm/{FOLDER}/newms1 is powered off in vCenter"
    simulator.client().destroy(f"/DC0/vm/{FOLDER}/newms2")
    assert power.cut(where, newms2, made) == f"there is no machine newms2 ({made.guest}) any more in the vCenter that made it"
    with pytest.raises(MachineFailed, match="is not the one that made newms2"):
        power.cut(where, newms2, replace(made, host="another"))
    with pytest.raises(MachineFailed, match="may have been moved or renamed"):
        power.cut(where, newms2)


def test_a_machine_of_another_stack_under_this_name_is_left_alone(project: Project) -> None:
    project.up()
    where = replace(site(project), stack="other")
    with pytest.raises(MachineFailed, match="does not say that it is newms1 of stack other"):
        power.cut(where, machine(where, "newms1"))
    assert power.cut(site(project), machine(where, "newms1")).startswith("PowerOffVM_Task"), "it was still on"


def test_without_vcenters_word_nothing_is_known(project: Project, tmp_path: Path) -> None:
    where = site(project)
    newms1 = machine(where, "newms1")
    with pytest.raises(MachineFailed, match="vCenter refuses Login"):
        power.cut(site(project, "wrong"), newms1)
    settings = where.configuration.platforms.vsphere
    assert settings is not None
    with pytest.raises(MachineFailed, match=r"vCenter 127\.0\.0\.1:1 can't be asked for newms1"):
        vcenter.power_off(settings.model_copy(update={"server": "127.0.0.1:1"}), Secret("pass"), FOLDER, "newms1", "prod")
    with pytest.raises(MachineFailed, match=r"can't be asked for newms1.*certificate"):
        vcenter.power_off(settings.model_copy(update={"allow_unverified_tls": False}), Secret("pass"), FOLDER, "newms1", "prod")
    nothing = replace(where, secrets=where.secrets.model_copy(update={"vsphere_password": None}))
    with pytest.raises(MachineFailed, match="no secret vspherePassword"):
        power.cut(nothing, newms1)

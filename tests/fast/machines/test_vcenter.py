"""A machine in vCenter is known by its id there, and only the vCenter that made it may say that it is gone."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

import pytest

from parallel_build.configuration import VspherePlatform
from parallel_build.machines import vcenter
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.vcenter import Known
from parallel_build.secret import Secret

PATH = "DC0/vm/cloudstack/newms1"
NOTE = "stack prod, machine newms1."


class Gone(Exception):
    """vCenter has no object of that id."""


class Machine:
    """A machine as pyvmomi has it."""

    def __init__(self, center: Center, reference: str) -> None:
        self._center, self._moId = center, reference

    def PowerOff(self) -> None:
        path, _, note = self._center.machines[self._moId]
        self._center.machines[self._moId] = (path, "poweredOff", note)


class Center:
    """A vCenter with machines: reference -> (path, state, notes)."""

    gone = Gone

    def __init__(self, uuid: str = "center-1", **machines: tuple[str, str, str]) -> None:
        self.uuid, self.machines = uuid, machines

    def instance(self) -> str:
        return self.uuid

    def find(self, path: str) -> Machine | None:
        return next((Machine(self, each) for each, (there, _, _) in self.machines.items() if there == path), None)

    def machine(self, reference: str) -> Machine:
        return Machine(self, reference)

    def look(self, machine: Machine) -> tuple[str, str]:
        if machine._moId not in self.machines:
            raise Gone
        return self.machines[machine._moId][1:]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Power newms1 of stack prod off in a vCenter."""
    settings = VspherePlatform(
        server="v",
        user="u",
        datacenter="DC0",
        cluster="c",
        datastore="d",
        network="n",
        template="t",
        folder="cloudstack",
        allow_unverified_tls=True,
    )

    def run(center: Center, known: Known | None = None, *, identify: bool = False) -> str:
        monkeypatch.setattr(vcenter, "_session", lambda *_: contextlib.nullcontext(center))
        if identify:
            return " ".join(vcenter.identify(settings, Secret("p"), "cloudstack", "newms1"))
        return vcenter.power_off(settings, Secret("p"), "cloudstack", "newms1", "prod", known)

    return run


def test_a_machine_is_noted_by_its_id_and_its_vcenters(ask: Any) -> None:
    assert ask(Center(vm7=(PATH, "poweredOn", NOTE)), identify=True) == "center-1 vm7"
    with pytest.raises(MachineFailed, match="there is no machine"):
        ask(Center(), identify=True)


def test_it_is_powered_off_by_its_id_wherever_it_was_moved_to(ask: Any) -> None:
    center = Center(vm7=("DC0/vm/elsewhere/renamed", "poweredOn", ""), vm8=(PATH, "poweredOn", "another's"))
    assert ask(center, Known("center-1", "vm7")).startswith("PowerOffVM_Task")
    assert center.machines["vm7"][1] == "poweredOff" and center.machines["vm8"][1] == "poweredOn"


def test_gone_counts_in_the_vcenter_that_made_it_alone(ask: Any) -> None:
    assert ask(Center(), Known("center-1", "vm7")) == "there is no machine newms1 (vm7) any more in the vCenter that made it"
    with pytest.raises(MachineFailed, match="is not the one that made newms1"):
        ask(Center("center-2"), Known("center-1", "vm7"))
    with pytest.raises(MachineFailed, match="may have been moved or renamed"):
        ask(Center())


def test_without_its_id_the_stacks_note_counts(ask: Any) -> None:
    assert ask(Center(vm7=(PATH, "poweredOn", NOTE))) == f"PowerOffVM_Task of {PATH}"
    assert ask(Center(vm7=(PATH, "poweredOff", NOTE))) == f"{PATH} is powered off in vCenter"
    with pytest.raises(MachineFailed, match="does not say that it is newms1 of stack prod"):
        ask(Center(vm7=(PATH, "poweredOff", "stack test, machine newms1.")))


def test_without_the_sdk_the_command_that_installs_it_is_named(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyVmomi", None)
    with pytest.raises(MachineFailed, match=r"pyvmomi is not installed.*cloudstack-parallel-build\[vsphere\]"):
        ask(Center(vm7=(PATH, "poweredOn", NOTE)))


def test_a_vcenter_that_does_not_answer_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = VspherePlatform(
        server="127.0.0.1:1", user="u", datacenter="DC0", cluster="c", datastore="d", network="n", template="t", folder="cloudstack"
    )
    with pytest.raises(MachineFailed, match=r"vCenter 127\.0\.0\.1:1 can't be asked for newms1"):
        vcenter.power_off(settings, Secret("p"), "cloudstack", "newms1", "prod")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(vcenter, "SECONDS", 0.2)
        there = settings.model_copy(update={"server": f"127.0.0.1:{silent.getsockname()[1]}"})
        with pytest.raises(MachineFailed, match=r"can't be asked for newms1.*timed out"):
            vcenter.power_off(there, Secret("p"), "cloudstack", "newms1", "prod")

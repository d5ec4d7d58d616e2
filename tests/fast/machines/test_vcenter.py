"""A machine in vCenter is known by its id there, and only the vCenter that made it may say that it is gone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from parallel_build.configuration import VspherePlatform
from parallel_build.machines import vcenter
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.vcenter import Known
from parallel_build.secret import Secret

PATH = "DC0/vm/cloudstack/newms1"
NOTE = "stack prod, machine newms1."


class Center:
    """A vCenter with machines: reference -> (path, state, notes)."""

    def __init__(self, uuid: str = "center-1", **machines: tuple[str, str, str]) -> None:
        self.uuid, self.machines, self.calls = uuid, machines, list[str]()
        self.headers: dict[str, str] = {}
        self._answer = b""

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        text = body.decode()
        call = re.search(r"<Body><(\w+)", text)
        assert call
        self.calls.append(call[1])
        self._answer = f"<Envelope><Body>{self._words(call[1], text)}</Body></Envelope>".encode()

    def _words(self, call: str, text: str) -> str:
        if call == "RetrieveServiceContent":
            return f"<r><returnval><about><name>v</name><instanceUuid>{self.uuid}</instanceUuid></about></returnval></r>"
        if call == "FindByInventoryPath":
            found = [each for each, (path, _, _) in self.machines.items() if f"<inventoryPath>{path}<" in text]
            return f"<r>{''.join(f'<returnval>{each}</returnval>' for each in found)}</r>"
        reference = re.search(r">(vm\d+)<", text)
        if call in ("RetrieveProperties", "PowerOffVM_Task") and (reference is None or reference[1] not in self.machines):
            return "<Fault><faultstring>already deleted</faultstring><detail><ManagedObjectNotFoundFault/></detail></Fault>"
        assert reference or call in ("Login", "Logout")
        if call == "PowerOffVM_Task" and reference:
            path, _, note = self.machines[reference[1]]
            self.machines[reference[1]] = (path, "poweredOff", note)
        if call == "RetrieveProperties" and reference:
            _, state, note = self.machines[reference[1]]
            values = {"runtime.powerState": state, "config.annotation": note}
            return "<r>" + "".join(f"<propSet><name>{name}</name><val>{value}</val></propSet>" for name, value in values.items()) + "</r>"
        return "<r/>"

    def getresponse(self) -> Center:
        return self

    def read(self) -> bytes:
        return self._answer

    def close(self) -> None:
        """Nothing is open."""


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

    def run(center: Center, known: Known | None = None) -> str:
        monkeypatch.setattr("http.client.HTTPSConnection", lambda *_, **__: center)
        if known is None and center.calls == ["identify"]:
            return " ".join(vcenter.identify(settings, Secret("p"), "cloudstack", "newms1"))
        return vcenter.power_off(settings, Secret("p"), "cloudstack", "newms1", "prod", known)

    return run


def test_a_machine_is_noted_by_its_id_and_its_vcenters(ask: Any) -> None:
    center = Center(vm7=(PATH, "poweredOn", NOTE))
    center.calls = ["identify"]
    assert ask(center) == "center-1 vm7"
    gone = Center()
    gone.calls = ["identify"]
    with pytest.raises(MachineFailed, match="there is no machine"):
        ask(gone)


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

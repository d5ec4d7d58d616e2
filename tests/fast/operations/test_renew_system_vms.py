"""System VMs: requests side by side, one successor of a kind in a zone; zones that users don't wait for; a proof without a witness says so."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.systemvms import Proof
from parallel_build.errors import StepFailed, TimedOut
from parallel_build.operations import later_zones, prove_appliances, renew_system_vms
from parallel_build.operations.renew_system_vms import await_kinds, expected, renew
from parallel_build.steps import system_vms as step
from tests.fast.quick_time import hurry
from tests.fast.router_cloud import Items
from tests.fast.sites import site

KINDS = ("secondarystoragevm", "consoleproxy")
ZONES: dict[str, dict[str, str]] = {"z1": {}, "z2": {}, "off": {"allocationstate": "Disabled"}, "edge": {"type": "Edge"}}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


class Zones:
    """A cloud that makes successors only once every request has come.

    Args:
        wait_for: so many requests must be there before the first successor comes.
        barren: zones in which none comes.
    """

    def __init__(self, wait_for: int = 1, barren: str = "") -> None:
        self.vms: Items = []
        self.wait_for, self.barren = wait_for, barren
        self.lock = threading.Lock()
        self.destroyed: dict[str, Any] = {}
        self.pending: Items = []
        self.next = 100
        for zone in ZONES:
            for kind in KINDS:
                self.make(zone, kind, "old")

    def make(self, zone: str, kind: str, template: str) -> None:
        self.next += 1
        self.vms.append({
            "id": str(self.next), "name": f"{kind[0]}-{self.next}-VM", "systemvmtype": kind, "zoneid": zone, "zonename": zone, "state": "Running",
            "template": template,
        })  # fmt: skip

    def list(self, command: str, **_: str) -> Items:
        if command == "listZones":
            return [{"id": name, "name": name, **more} for name, more in ZONES.items()]
        if command == "listHosts":
            return []
        with self.lock:
            if len(self.destroyed) >= self.wait_for:
                for vm in self.pending:
                    if vm["zonename"] != self.barren:
                        self.make(vm["zonename"], vm["systemvmtype"], "new")
                self.pending = [vm for vm in self.pending if vm["zonename"] == self.barren]
            return [dict(vm) for vm in self.vms]

    def job(self, command: str, **parameters: Any) -> dict[str, Any]:
        assert command == "destroySystemVm"
        with self.lock:
            vm = next(vm for vm in self.vms if vm["id"] == parameters["id"])
            self.vms.remove(vm)
            self.destroyed[vm["id"]] = vm
            self.pending.append(vm)
        return {}

    def templates(self, zone: str) -> set[str]:
        return {vm["template"] for vm in self.vms if vm["zonename"] == zone}


def context(reported: list[str] | None = None, **changes: Any) -> Any:
    here = site(**changes)
    return SimpleNamespace(
        site=here, configuration=here.configuration, cancel=CancelToken(), progress=(reported if reported is not None else []).append,
        intend=lambda *_, **__: None, host=lambda _: None,
    )  # fmt: skip


def of_zones(cloud: Zones, *names: str) -> Items:
    return [vm for vm in cloud.list("listSystemVms") if vm["zonename"] in names]


def test_all_requests_go_out_before_the_first_successor_comes() -> None:
    cloud: Any = Zones(wait_for=4)
    renewed = renew(context(), cloud, of_zones(cloud, "z1", "z2"), timeout=5000)
    assert len(renewed) == 4 and cloud.templates("z1") == cloud.templates("z2") == {"new"}
    assert cloud.templates("off") == {"old"}


def test_several_of_one_kind_in_a_zone_need_one_successor() -> None:
    cloud: Any = Zones()
    cloud.make("z1", "consoleproxy", "old")
    renew(context(), cloud, [vm for vm in of_zones(cloud, "z1") if vm["systemvmtype"] == "consoleproxy"], timeout=20)
    assert len(cloud.destroyed) == 2


def test_a_zone_that_gets_none_is_named_and_the_others_have_theirs() -> None:
    cloud: Any = Zones(barren="z2")
    with pytest.raises(StepFailed, match=r"2 of 4 system VMs got no successor: .*in zone z2") as failed:
        renew(context(), cloud, of_zones(cloud, "z1", "z2"), timeout=1.0)
    assert "zone z1" not in failed.value.fact and cloud.templates("z1") == {"new"} and "window.acceptZones" in failed.value.remedy


def test_a_successor_that_has_not_come_after_an_interruption_is_waited_for() -> None:
    cloud: Any = Zones(barren="z2")
    groups = expected(cloud)
    assert groups == [[zone, kind] for zone in ("z1", "z2") for kind in ("consoleproxy", "secondarystoragevm")]
    cloud.job("destroySystemVm", id=of_zones(cloud, "z2")[0]["id"])
    with pytest.raises(TimedOut):
        await_kinds(context(), cloud, groups, timeout=0.5)
    cloud.barren = ""
    await_kinds(context(), cloud, groups, timeout=20)


@pytest.mark.parametrize(
    ("chosen", "now", "later"), [("all", {"z1", "z2"}, set()), (["z1"], {"z1"}, {"z2"}), (["z1", "edge"], {"z1"}, {"z2"})]
)
def test_which_zones_users_wait_for(monkeypatch: pytest.MonkeyPatch, chosen: Any, now: set[str], later: set[str]) -> None:
    cloud: Any = Zones()
    here = context(window={"acceptZones": chosen})
    assert set(step.SystemVms._zones(here, cloud)) == now
    monkeypatch.setattr(later_zones, "Cloud", SimpleNamespace(new=lambda _: cloud))
    monkeypatch.setattr(later_zones, "new_database", lambda _: None)
    monkeypatch.setattr(later_zones, "OpenSession", lambda *_: lambda: None)
    monkeypatch.setattr(systemvms, "required_release", lambda _: "4.22.0")
    monkeypatch.setattr(later_zones, "old_ones", lambda *words: (of_zones(cloud, *words[-1]), [], []))
    assert later_zones.renew_later(here) == []
    assert {name for name in ZONES if cloud.templates(name) == {"new"}} == later


def test_a_zone_that_is_not_there_is_refused() -> None:
    with pytest.raises(StepFailed, match=r"window\.acceptZones names z9"):
        step.SystemVms._zones(context(window={"acceptZones": ["z9"]}), Zones())  # type: ignore[arg-type]


def test_a_proof_without_a_witness_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    proofs = [Proof("s-1-VM", "4.22.1.0", "t", None, ()), Proof("v-2-VM", None, "t", "4.22.0", ()), Proof("v-3-VM", None, "t", None, ())]
    assert prove_appliances.without_witness(proofs) == ["v-3-VM"]
    reported: list[str] = []
    monkeypatch.setattr(step, "old_ones", lambda *_: ([], proofs, []))
    evidence = step.SystemVms._prove_all(context(reported), None, "4.22.0", None, [])  # type: ignore[arg-type]
    assert evidence["v-3-VM"]["witness"] == "none but the database" and "witness" not in evidence["v-2-VM"]
    assert reported == ["PROVED BY THE DATABASE ALONE, neither the API nor the appliance says a release: v-3-VM"]


def test_renewing_nothing_asks_for_nothing() -> None:
    cloud: Any = Zones()
    assert renew_system_vms.renew(context(), cloud, [], timeout=1) == [] and cloud.destroyed == {}

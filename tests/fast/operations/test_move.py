"""A move: the first start changes no version, system VMs come over by themselves, and only those that don't are renewed; routers run on."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cli import routers as command
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.startup import Expectation, StartFailed, StartWatch
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations import move, original_numbers, renew_on_original, renew_system_vms, storage_on_original, user_firewall
from parallel_build.operations.move import bring_over, judge
from parallel_build.records.window import WindowRecord
from parallel_build.steps import retirement, routers, system_vms
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from parallel_build.versions import CloudStackVersion
from tests.fast.memory_records import Records
from tests.fast.quick_time import hurry
from tests.fast.sites import site
from tests.fast.window_world import Copy, World, arrange, ending_at

MOVE: dict[str, Any] = {"new": {"version": "4.20.3.0"}, "templates": []}


# The first start.


def switch(world: World) -> None:
    HostSetting().apply(world.context)
    FirstManagement().apply(world.context)


def test_the_first_start_upgrades_nothing_and_sets_the_originals_rows_down_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)
    world = World(**MOVE)
    world.copy.host = False
    switch(world)
    assert world.wrong == [] and world.serving and world.copy == Copy(), "nothing of the copy was changed but host and the rows"
    assert world.record.switched and world.record.facts["Move"]["versions"] == ["4.20.3.0 Complete"]
    assert world.actions.index("UPDATE cloud.mshost ") < world.actions.index("start cloudstack-management on newms1")


def test_cut_off_anywhere_it_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)
    whole = World(**MOVE)
    switch(whole)
    for action in range(len(whole.actions)):
        world = World(**MOVE)
        with ending_at(world, action):
            switch(world)
        switch(world)
        assert world.wrong == [] and world.serving and world.record.switched and world.copy == Copy()


def test_a_start_that_failed_is_tried_again_on_the_same_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)
    world = World(**MOVE)
    world.failing = True
    with pytest.raises(StartFailed):
        switch(world)
    world.failing = False
    world.actions.clear()
    switch(world)
    assert world.serving and world.wrong == [] and "empty" not in world.actions, "its schema was never changed"


def test_a_version_that_changes_in_a_move_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch)
    world = World(**MOVE)
    HostSetting().apply(world.context)
    monkeypatch.setattr(move, "version_rows", lambda _: ["4.20.3.0 Complete", *(["4.22.1.0 Complete"] if world.serving else [])])
    with pytest.raises(
        StepFailed, match=r"cloud.version has changed in a move: 4.20.3.0 Complete, 4.22.1.0 Complete instead of 4.20.3.0 Complete"
    ):
        FirstManagement().apply(world.context)
    assert not world.record.switched


class Database:
    """What a management server that just came up shows."""

    def __init__(self, reported: str) -> None:
        self.reported = reported

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return [{"version": "4.20.3.0", "step": "Complete"}]

    def row(self, *_: Any) -> dict[str, Any]:
        return {"state": "Up", "version": self.reported, "age": 1}


def watch(reported: str, wanted: str, **expected: Any) -> StartWatch:
    found: Any = StartWatch.__new__(StartWatch)
    services = SimpleNamespace(state=lambda _: SimpleNamespace(active=True), listening=lambda _: {8250})
    found.server, found.services, found.database = (
        SimpleNamespace(name="newms1", address="10.91.0.41"),
        services,
        lambda: Database(reported),
    )
    found.cloud = SimpleNamespace(call=lambda _: {"capability": {"cloudstackversion": reported}})
    found.expect = Expectation(CloudStackVersion(wanted), upgrade=False, **expected)
    found.reading = SimpleNamespace(views_done=False, failed_modules=[], unneeded=True, planned=None, steps=[], views_seconds=None)
    return found  # type: ignore[no-any-return]


def test_a_start_of_another_build_is_not_the_one_that_was_asked_for() -> None:
    assert all(watch("4.20.3.0-acme1", "4.20.3.0-acme1", exact=True).signs().values())
    signs = watch("4.20.3.0-acme2", "4.20.3.0-acme1", exact=True).signs()
    assert not signs["own mshost row Up"] and not signs["signed call gives the version"] and signs["newest version row complete"]
    assert all(watch("4.20.3.0-SNAPSHOT", "4.20.3.0").signs().values()), "an upgrade to a version without a build asks for none"


def test_a_start_that_upgrades_although_nothing_was_to_be_upgraded_is_no_good_one() -> None:
    found = watch("4.20.3.0", "4.20.3.0")
    found.reading.planned = ("4.20.3.0", "4.22.1.0")
    with pytest.raises(StartFailed, match=r"has upgraded the schema from 4\.20\.3\.0 to 4\.22\.1\.0") as failed:
        found._judge(1.0)
    assert failed.value.touched


# System VMs.

Names = list[str]
Items = list[dict[str, Any]]


class Cloud:
    """Two zones of KVM and one of simulated hosts; an agent comes over after some looks, or never."""

    url = "http://new"

    def __init__(self, never: set[str], after: int = 0) -> None:
        self.never, self.after, self.looks = never, after, 0
        self.vms = {
            name: {"id": name, "name": name, "zonename": zone, "zoneid": zone, "systemvmtype": kind, "state": "Running", "hypervisor": hypervisor}
            for name, zone, kind, hypervisor in (
                ("s-1-VM", "z1", "secondarystoragevm", "KVM"), ("v-2-VM", "z1", "consoleproxy", "KVM"), ("s-3-VM", "z2", "secondarystoragevm", "KVM"),
                ("v-4-VM", "sim", "consoleproxy", "Simulator"), ("s-5-VM", "off", "secondarystoragevm", "KVM"),
            )
        }  # fmt: skip
        self.destroyed: Names = []

    def list(self, what: str, **_: Any) -> list[dict[str, Any]]:
        if what == "listZones":
            return [{"name": name, "allocationstate": "Disabled" if name == "off" else "Enabled"} for name in ("z1", "z2", "sim", "off")]
        return [dict(vm) for vm in self.vms.values()] if what == "listSystemVms" else []

    def job(self, what: str, **given: Any) -> dict[str, Any]:
        assert what == "destroySystemVm"
        vm = self.vms.pop(given["id"])
        self.destroyed.append(vm["name"])
        new = f"{vm['name'][:2]}{90 + len(self.destroyed)}-VM"
        self.vms[new] = {**vm, "id": new, "name": new}
        return {}

    def rows(self) -> Items:
        self.looks += 1
        there = [
            name
            for name, vm in self.vms.items()
            if vm["hypervisor"] == "KVM" and name not in self.never and (self.looks > self.after or name[2] == "9")
        ]
        return [{"vm": name, "address": "10.91.0.42"} for name in there] + [{"vm": name, "address": "10.91.0.11"} for name in self.never]


class Run:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
        self.site, self.cloud = site(**MOVE), cloud
        self.record = WindowRecord("test", self.site.identity, opened="then", facts={})
        self.records = Records(self.record, self.site)
        self.lines: list[str] = []
        hurry(monkeypatch)
        for module in (move, system_vms, routers):
            monkeypatch.setattr(module, "store", lambda _: self.records)
        monkeypatch.setattr(move, "new_database", lambda _: None)
        monkeypatch.setattr(move, "session", lambda _: contextlib.nullcontext(SimpleNamespace(rows=lambda _: cloud.rows())))
        monkeypatch.setattr(move, "COME_OVER", 1.2)
        for module in (system_vms, routers):
            monkeypatch.setattr(module, "ensure_running", lambda _: None)
        monkeypatch.setattr(system_vms, "await_hosts", lambda _: None)
        monkeypatch.setattr(original_numbers, "note", lambda _: None)
        monkeypatch.setattr(system_vms, "asked", lambda _, cloud: cloud)
        monkeypatch.setattr(system_vms, "Cloud", SimpleNamespace(new=lambda _: cloud))
        monkeypatch.setattr(renew_system_vms, "hosts_away", lambda _: list)
        self.context: Any = SimpleNamespace(
            site=self.site, configuration=self.site.configuration, cancel=CancelToken(), progress=self.lines.append, intend=lambda *_, **__: None,
            note=lambda **_: None, done={}, pending="",
        )  # fmt: skip


def test_those_that_are_connected_to_a_new_server_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Cloud(set(), after=1))
    evidence = system_vms.SystemVms().apply(run.context)
    assert (
        run.cloud.destroyed == []
        and set(evidence["connected"]) == {"s-1-VM", "v-2-VM", "s-3-VM"}
        and evidence["without an agent"] == ["v-4-VM"]
    )
    assert "renewed" not in run.record.facts["SystemVms"], "a rollback then renews none on the original"
    assert any("left alone" in text and "s-5-VM" in text for text in run.lines)
    assert system_vms.SystemVms().verify(run.context) == evidence


def test_only_those_that_do_not_come_over_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Cloud({"s-3-VM"}))
    evidence = system_vms.SystemVms().apply(run.context)
    assert run.cloud.destroyed == ["s-3-VM"] and set(evidence["connected"]) == {"s-1-VM", "v-2-VM", "s-91-VM"}
    assert run.record.facts["SystemVms"]["renewed"] is True
    run.cloud.destroyed.clear()
    system_vms.SystemVms().apply(run.context)
    assert run.cloud.destroyed == []


def test_a_successor_that_is_not_connected_either_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Cloud({"s-3-VM", "s-91-VM"}))
    run.context.configuration = site(**MOVE, window={"systemVmTimeout": "2s"}).configuration
    with pytest.raises(StepFailed, match="system VMs are not connected to a new management server: s-91-VM"):
        bring_over(run.context, run.cloud, ["z1", "z2"])  # type: ignore[arg-type]


def test_a_connection_to_the_original_is_none_to_a_new_server() -> None:
    cloud: Any = Cloud({"s-1-VM"})
    stand = judge(cloud, cloud.rows(), {"10.91.0.41", "10.91.0.42"}, ["z1"])
    assert [vm["name"] for vm in stand.away] == ["s-1-VM"] and stand.over == {"v-2-VM": "10.91.0.42"}


# Routers and what follows.


def test_routers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Cloud(set()))
    monkeypatch.setattr(routers, "renew_later", lambda _: [])
    assert routers.Routers().apply(run.context) == {"left alone": "a move renews no router"} and run.context.pending == ""
    with pytest.raises(GuardFailed, match="a move leaves routers alone"):
        command._may_run(run.context)


def test_retiring_asks_for_no_renewed_router(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Cloud(set()))
    monkeypatch.setattr(retirement, "_prove_renewed", lambda *_: pytest.fail("asked for routers"))
    for name in ("_prove_serving", "_trim"):
        monkeypatch.setattr(retirement.Retirement, name, lambda *_: {})
    run.record.switched = "then"
    monkeypatch.setattr(retirement, "store", lambda _: run.records)
    monkeypatch.setattr(retirement, "asked", lambda _, cloud: cloud)
    monkeypatch.setattr(retirement, "Cloud", SimpleNamespace(new=lambda _: run.cloud))
    monkeypatch.setattr(user_firewall, "at_once", lambda *_: None)
    monkeypatch.setattr(storage_on_original, "look", lambda _: [])
    retirement.Retirement().apply(run.context)
    assert run.record.retired


def test_in_a_rollback_a_system_vm_that_runs_gets_time_to_connect_to_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    looks: list[int] = []

    def renewable(_: Any) -> tuple[list[dict[str, Any]], list[str]]:
        looks.append(1)
        state = "Up" if len(looks) > 2 else "Disconnected"
        return [{"name": "s-1-VM", "state": "Running", "agentstate": state}, {"name": "v-2-VM", "state": "Stopped"}], []

    monkeypatch.setattr(systemvms, "renewable", renewable)
    there: Any = SimpleNamespace(runs=lambda vm: vm["name"] == "s-1-VM")
    run = Run(monkeypatch, Cloud(set()))
    renew_on_original.await_agents(run.context, run.cloud, there)  # type: ignore[arg-type]
    assert len(looks) == 3, "one that its host does not run is not waited for"

"""A rollback in the middle of the waves: a router of the new side runs on until its own network is restarted by the original."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import RollbackIncomplete
from parallel_build.operations import new_routers, original_management, renew_on_original, renew_router, restart_waves
from parallel_build.operations.context import Context
from parallel_build.operations.new_routers import NewRouters
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from tests.fast.memory_records import Records
from tests.fast.quick_time import hurry
from tests.fast.router_cloud import OLD, Cut, Items, Net, RouterCloud
from tests.fast.sites import site


class Original(RouterCloud):
    """The original, whose database still has the routers Running that the new side has replaced."""

    on_host = "kvm1"

    def _items(self, net: Net) -> Items:
        return [{**item, "hostname": self.on_host} for item in super()._items(net)]


class Rollback:
    """The original serves again; of its networks some have routers of the new side.

    Args:
        renewed: numbers of networks that the new side has restarted.
        kvm: the KVM host can be asked; else the networks' routers are on hypervisors that can't be.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cloud: Original, renewed: set[int], *, kvm: bool = True) -> None:
        self.site = site(window={"parallelRestarts": 1})
        self.cloud, self.kvm = cloud, kvm
        self.there: set[str] = set()  # what runs on the hypervisor, whoever made it
        self.of: dict[tuple[str, int], list[str]] = {}
        for net in cloud.nets.values():
            own = {f"r-{identity}-VM" for identity in net.routers}
            if net.number in renewed:
                self.of[net.kind, net.number] = [f"r-{5000 + net.number}-VM"]
                self.there |= {f"r-{5000 + net.number}-VM"}
            elif net.running:
                self.there |= own
        self.record = WindowRecord("test", self.site.identity, opened=now(), returning=now())
        self.record.facts = {"Routers": {"networks": ",".join(str(number) for number in sorted(renewed))}}
        self.records = Records(self.record, self.site)
        self.reported: list[str] = []
        self.longest: dict[str, int] = {}  # by network: calls during which no router of it ran
        self.removed: list[str] = []
        for module in (renew_on_original, new_routers):
            monkeypatch.setattr(module, "store", lambda _: self.records)
        monkeypatch.setattr(renew_on_original, "original_database", lambda _: None)
        monkeypatch.setattr(renew_on_original, "session", lambda _: contextlib.nullcontext(cloud))
        monkeypatch.setattr(original_management, "answering", lambda _: cloud)
        monkeypatch.setattr(renew_on_original, "await_hosts", lambda *_: None)
        monkeypatch.setattr(renew_on_original, "hosts_away", lambda _: list)
        monkeypatch.setattr(renew_router, "hosts_away", lambda _: list)
        monkeypatch.setattr(new_routers, "FRESH", -1.0)
        monkeypatch.setattr(restart_waves, "POLL", 0.01)
        done = cloud.job

        def job(command: str, **parameters: Any) -> dict[str, Any]:
            net = cloud.nets[parameters["id"]]
            missing = not self.there & {*(self.of or {}).get((net.kind, net.number), ()), *(f"r-{identity}-VM" for identity in net.routers)}
            self.longest[net.uuid] = self.longest.get(net.uuid, 0) + missing
            result = done(command, **parameters)
            self.there |= {f"r-{identity}-VM" for identity in net.routers}
            return result

        cloud.job = job  # type: ignore[method-assign]

    def run(self) -> dict[str, Any]:
        def host(server: Any) -> Any:
            """kvm1 has all of them, where the cloud's hypervisor is one that can be asked."""
            listed = "\n".join(self.there) if self.kvm and server.name == "kvm1" else ""
            return SimpleNamespace(run=lambda words: Result(0, listed, ""))

        def remove(context: Context, hypervisor: object, name: str) -> None:
            self.there.discard(name)
            self.removed.append(name)

        journal = SimpleNamespace(record=lambda *_, **__: None, log=lambda *_: None)
        context = Context(self.site, SimpleNamespace(host=host), journal, CancelToken(), self.reported.append, "Window")  # type: ignore[arg-type]
        self.cloud.on_host = "kvm1" if self.kvm else "esx1"
        self.routers = NewRouters(context, self.of, remove)
        return renew_on_original.renew_on_original(context, self.routers)


@pytest.mark.parametrize(
    ("second", "missing"),
    [
        ({"state": "Up", "resourcestate": "Enabled"}, False),
        ({"state": "Down", "resourcestate": "Maintenance"}, False),
        ({"state": "Alert", "resourcestate": "Disabled"}, False),
        (None, False),
        ({"state": "Down", "resourcestate": "Enabled"}, True),
    ],
    ids=["up", "in maintenance", "disabled", "removed", "dead"],
)
def test_a_host_that_was_put_aside_or_removed_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, second: dict[str, str] | None, missing: bool
) -> None:
    """The error's own remedy says so."""
    hurry(monkeypatch)
    hosts = [{"id": "a", "state": "Up"}, *([{"id": "b", **second}] if second else [])]
    facts = {"hosts_up": {"a": "kvm1", "b": "kvm2"}}
    monkeypatch.setattr(renew_on_original, "store", lambda _: SimpleNamespace(facts=lambda _: facts))
    context: Any = SimpleNamespace(configuration=site().configuration, cancel=CancelToken(), progress=lambda _: None)
    cloud: Any = SimpleNamespace(list=lambda *_, **__: hosts)
    if missing:
        with pytest.raises(RollbackIncomplete, match=r"not Up on it after .*: kvm2") as caught:
            renew_on_original.await_hosts(context, cloud)
        assert "into maintenance" in caught.value.remedy
    else:
        renew_on_original.await_hosts(context, cloud)


def nets(count: int) -> list[Net]:
    return [Net(number) for number in range(1, count + 1)]


@pytest.mark.processes
@pytest.mark.parametrize("kvm", [True, False])
def test_two_hundred_renewed_networks_are_restarted_and_none_is_without_a_router_for_longer(
    monkeypatch: pytest.MonkeyPatch, kvm: bool
) -> None:
    cloud = Original([*nets(300), Net(400, state="Allocated"), Net(401, state="Allocated", running=False, routers={"7": OLD})], release=OLD)
    rollback = Rollback(monkeypatch, cloud, set(range(1, 201)), kvm=kvm)
    result = rollback.run()
    assert cloud.restarted[0] == "network-1" and sorted(cloud.restarted) == sorted(f"network-{number}" for number in range(1, 201))
    assert len(result["restarted"]) == 200 and result["not restarted"] == {}
    assert max(rollback.longest.values()) == (1 if kvm else 0), "only while its own restart runs"
    assert len(rollback.removed) == (200 if kvm else 0)
    assert rollback.record.facts["Routers"]["back"]["network"] == "1-200"


@pytest.mark.parametrize("kvm", [True, False])
def test_routers_that_the_new_side_was_to_patch_are_replaced_although_they_run(monkeypatch: pytest.MonkeyPatch, kvm: bool) -> None:
    """They are the original's own routers, with scripts that it does not know."""
    cloud = Original(nets(9), release=OLD)
    rollback = Rollback(monkeypatch, cloud, set(), kvm=kvm)
    rollback.record.facts = {"Routers": {"networks": "1-9", "patched": {"network": "1-3,8", "vpc": ""}}}
    before = {net.uuid: set(net.routers) for net in cloud.nets.values()}
    rollback.run()
    replaced = {uuid for uuid, own in before.items() if own != set(cloud.nets[uuid].routers)}
    assert replaced == set(cloud.restarted) and {"network-1", "network-2", "network-3", "network-8"} <= replaced
    assert not kvm or len(replaced) == 4, "the others' routers run, and are as they were"
    cloud.restarted.clear()
    rollback.run()
    assert not kvm or cloud.restarted == [], "once"


def test_what_the_original_has_started_by_itself_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(nets(3), release=OLD)
    rollback = Rollback(monkeypatch, cloud, {1, 2, 3})
    rollback.there.add(f"r-{next(iter(cloud.nets['network-2'].routers))}-VM")
    rollback.run()
    assert cloud.restarted == ["network-1", "network-3"]


def test_a_router_that_nobody_has_on_record_and_that_is_gone_is_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(nets(3), release=OLD)
    rollback = Rollback(monkeypatch, cloud, set())
    rollback.there.clear()
    rollback.record.facts = {}
    rollback.run()
    assert len(cloud.restarted) == 3, "of a window that an earlier version opened"


@pytest.mark.parametrize("known", [True, False])
def test_a_router_that_cloudstack_has_set_stopped_is_brought_back(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """Its host does not report it any more. Of a window of an earlier version there is nothing on record."""
    cloud = Original([*nets(3), Net(9, state="Allocated", running=False, routers={"7": OLD})], release=OLD)
    rollback = Rollback(monkeypatch, cloud, {1, 2})
    rollback.record.facts = {}
    for number in (1, 2):
        cloud.nets[f"network-{number}"].running = False
    if not known:
        rollback.of = None  # type: ignore[assignment]
    rollback.run()
    assert cloud.restarted == ["network-1", "network-2"]


def test_what_cannot_be_restarted_is_listed_and_the_rollback_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(nets(40), release=OLD)
    cloud.bad = {"network-9"}
    rollback = Rollback(monkeypatch, cloud, set(range(1, 41)))
    result = rollback.run()
    assert result["not restarted"] == {"net0009": "no capacity for net0009"} and len(result["restarted"]) == 39
    assert rollback.routers.kept == {"r-5009-VM"}, "its new router is left where it is not removed already"
    assert any("Restart it there with cleanup" in text for text in rollback.reported)


def test_a_failing_canary_stops_and_the_next_try_begins_with_another(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Original(nets(40), release=OLD)
    cloud.bad = {"network-1"}
    rollback = Rollback(monkeypatch, cloud, set(range(1, 41)))
    with pytest.raises(RollbackIncomplete, match="the original serves and users are in"):
        rollback.run()
    assert cloud.calls == ["restartNetwork network-1"]
    result = rollback.run()
    assert len(result["restarted"]) == 39 and list(result["not restarted"]) == ["net0001"]
    assert cloud.restarted[0] == "network-2"


@pytest.mark.processes
@pytest.mark.parametrize("kvm", [True, False])
def test_cut_off_anywhere_it_resumes(monkeypatch: pytest.MonkeyPatch, kvm: bool) -> None:
    for cut in range(0, 31, 3):
        cloud = Original(nets(30), release=OLD)
        rollback = Rollback(monkeypatch, cloud, set(range(1, 31)), kvm=kvm)
        cloud.cut = cut
        if cut < 30:
            with pytest.raises(Cut):
                rollback.run()
        rollback.run()
        assert {f"network-{number}" for number in range(1, 31)} == set(cloud.restarted)
        again = len(cloud.restarted) - 30
        assert again <= (0 if kvm else renew_on_original.WRITTEN_TOGETHER)

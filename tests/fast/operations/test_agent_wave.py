"""The agents' wave: canary, then N at once, ended by a failure rate; hosts that keep their old agent are listed; resumed and undone from anywhere."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.services import AGENT, UnitState
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.operations import agent_wave, ha_hold, prove_original_down
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.steps import agents as step
from tests.fast.memory_records import Records
from tests.fast.sites import site

NEW, OLD = "4.22.1.0", "4.20.3.0"


class Cut(BaseException):
    """The operator's machine died here."""


class Host:
    """One KVM host."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud, self.name, self.version, self.active, self.enabled = cloud, name, OLD, True, True
        self.stops = 0

    def reach(self) -> None:
        if self.name in self.cloud.dead:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")

    def run(self, argv: list[str], **_: Any) -> Result:
        self.reach()
        assert argv == ["systemctl", "stop", AGENT]
        self.cloud.act(self.name)
        self.active, self.stops = False, self.stops + 1
        return Result(0, "", "")


class Packages:
    """What lies on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def fetched(self) -> dict[str, str]:
        self.host.reach()
        return {} if self.host.name in self.host.cloud.bare else {"cloudstack-agent": NEW}

    def install(self, timeout: float) -> None:
        cloud = self.host.cloud
        with cloud.lock:
            cloud.at_once += 1
            cloud.most = max(cloud.most, cloud.at_once)
        cloud.meet.wait(cloud.slow)
        with cloud.lock:
            cloud.at_once -= 1
        cloud.act(self.host.name)
        if self.host.name in cloud.bad:
            raise CommandFailed(f"{self.host.name}: apt-get ended with exit code 100", "dependency problems", "")
        self.host.version, self.host.enabled = NEW, False  # as EL's scripts leave it

    def put_back(self, timeout: float) -> None:
        self.host.reach()
        self.host.cloud.act(self.host.name)
        self.host.version = OLD


class Units:
    def __init__(self, host: Host) -> None:
        self.host = host

    def state(self, unit: str) -> UnitState:
        self.host.reach()
        return UnitState(unit, True, self.host.active, self.host.enabled, False, 7 if self.host.active else 0)

    def bring_up(self, unit: str, *, enable: bool) -> bool:
        self.host.active, self.host.enabled = True, self.host.enabled or enable
        return True


class Cloud:
    """KVM hosts, and a record; everything may end before any action."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 20, **keys: Any) -> None:
        hypervisors = [{"name": f"kvm{number:02}", "address": f"10.92.0.{number}"} for number in range(1, count + 1)]
        self.site = site(agents={"upgrade": keys}, original={"hypervisors": hypervisors})
        self.hosts = {each["name"]: Host(self, str(each["name"])) for each in hypervisors}
        self.dead, self.bad, self.bare = set[str](), set[str](), set[str]()
        self.lock, self.meet, self.slow = threading.Lock(), threading.Event(), 0.0
        self.at_once = self.most = self.done = 0
        self.cut = -1
        self.record = WindowRecord("test", self.site.identity, opened="then", facts={})
        self.record.steps = ["Window", "Agents"]
        self.told: list[str] = []
        for module in (agent_wave, ha_hold, step):
            monkeypatch.setattr(module, "store", lambda _: Records(self.record, self.site))
        monkeypatch.setattr(agent_wave, "packages_of", lambda context, host: Packages(context.host(host)))
        monkeypatch.setattr(agent_wave, "Services", Units)
        monkeypatch.setattr(prove_original_down, "prove_management", lambda _: self.asked_down())
        self.proofs = 0

    def asked_down(self) -> None:
        self.proofs += 1

    def act(self, name: str) -> None:
        with self.lock:
            if self.done == self.cut:
                raise Cut(name)
            self.done += 1

    def context(self) -> Any:
        return SimpleNamespace(
            site=self.site, configuration=self.site.configuration, cancel=CancelToken(), progress=self.told.append, intend=lambda *_, **__: None,
            note=lambda **_: None, pending="", host=lambda server: self.hosts[server.name], run=SimpleNamespace(record=lambda *_, **__: None), step="Agents",
        )  # fmt: skip

    def up(self) -> tuple[dict[str, Any], str]:
        context = self.context()
        return step.Agents().apply(context), context.pending

    @property
    def new(self) -> set[str]:
        return {name for name, host in self.hosts.items() if host.version == NEW}

    @property
    def touched(self) -> set[str]:
        return {name for name, host in self.hosts.items() if host.stops}


def test_every_host_has_the_new_agent_and_its_unit_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch)
    cloud.hosts["kvm05"].active = False
    evidence, pending = cloud.up()
    assert cloud.new == set(cloud.hosts) and (evidence["hosts"], evidence["done"], pending) == (20, 20, "") and cloud.proofs == 1
    assert all(host.enabled for name, host in cloud.hosts.items() if name != "kvm05"), (
        "what a package's script disabled starts at boot again"
    )
    assert [name for name, host in cloud.hosts.items() if not host.active] == ["kvm05"], "one that was found stopped stays down"
    stops = cloud.hosts["kvm01"].stops
    cloud.up()
    assert cloud.hosts["kvm01"].stops == stops, "done already: nothing happens"


def test_a_failing_canary_touches_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 60)
    cloud.bad = {"kvm01"}
    with pytest.raises(StepFailed, match=r"the agents' wave is stopped, the canary has failed: kvm01: dependency problems"):
        cloud.up()
    assert cloud.touched == {"kvm01"} and cloud.hosts["kvm01"].active, "its old agent runs again"
    cloud.bad.clear()
    assert cloud.up()[1] == "" and len(cloud.new) == 60


def test_a_canary_that_can_not_be_reached_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch)
    cloud.dead = {"kvm01"}
    with pytest.raises(StepFailed, match="the canary can't be begun: kvm01: kvm01 can't be reached"):
        cloud.up()
    assert cloud.touched == set() and "begun" not in cloud.record.facts["Agents"]


def test_dead_hosts_are_listed_and_the_window_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 60)
    cloud.dead, cloud.bare = {"kvm10", "kvm20"}, {"kvm30"}
    evidence, pending = cloud.up()
    assert len(cloud.new) == 57 and set(evidence["not renewed"]) == {"kvm10", "kvm20", "kvm30"}
    assert (
        pending.startswith("3 hosts keep their old agent and take no new VMs") and "step AgentPackages" in evidence["not renewed"]["kvm30"]
    )
    cloud.dead.clear()
    cloud.bare.clear()
    assert cloud.up()[1] == "" and len(cloud.new) == 60


def test_too_many_failures_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 40, atOnce=2, failureRate=0.1)
    cloud.bad = {f"kvm{number:02}" for number in range(11, 41)}
    with pytest.raises(StepFailed, match=r"[56] hosts have failed and 4 may"):
        cloud.up()
    assert len(cloud.touched) <= 10 + 4 + 2, "what ran came to its end, nothing more was begun"


def test_not_more_than_that_at_once_and_as_many_where_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 30, atOnce=5)
    cloud.slow = 0.02
    cloud.up()
    assert cloud.most == 5


def test_a_host_that_is_done_later_keeps_its_old_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, later=["kvm07"])
    evidence, pending = cloud.up()
    assert set(cloud.hosts) - cloud.new == {"kvm07"} and evidence["not renewed"] == {"kvm07": "agents.upgrade.later"} and "kvm07" in pending


def test_cut_off_anywhere_it_resumes_and_the_rollback_reaches_every_host_that_was_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in range(12):
        for back in (False, True):
            cloud = Cloud(monkeypatch, 5, atOnce=2)
            cloud.cut = cut
            if cut < 10:
                with pytest.raises(Cut):
                    cloud.up()
            else:
                cloud.up()
            cloud.cut = -1
            assert cloud.touched <= set(cloud.record.facts["Agents"]["begun"]), "each is on record before it is touched"
            if back:
                assert agent_wave.undo(cloud.context()) == [] and cloud.new == set() and cloud.record.facts["Agents"]["begun"] == {}
            else:
                assert cloud.up()[1] == "" and cloud.new == set(cloud.hosts)
            assert all(host.active for host in cloud.hosts.values())


def test_a_rollback_that_has_begun_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch)
    cloud.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        cloud.up()
    assert cloud.touched == set()


def test_the_undo_of_the_step_keeps_nobody_waiting_and_a_hold_point_has_it_done_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 4)
    cloud.up()
    step.Agents().revert(cloud.context())
    assert cloud.new == set(cloud.hosts), "Window's undo does it, once users are in"
    cloud.site = site(
        agents={"upgrade": {}}, original={"hypervisors": cloud.site.configuration.model_dump(mode="json")["original"]["hypervisors"]},
        window={"stopBefore": "OriginalManagement"},
    )  # fmt: skip
    cloud.dead = {"kvm03"}
    with pytest.raises(RollbackIncomplete, match="kvm03"):
        step.Agents().revert(cloud.context())
    cloud.dead.clear()
    step.Agents().revert(cloud.context())
    assert cloud.new == set()


def test_what_can_not_be_put_back_stays_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 4)
    cloud.up()
    cloud.dead = {"kvm02"}
    (left,) = agent_wave.undo(cloud.context())
    assert "the old agent on kvm02" in left and set(cloud.record.facts["Agents"]["begun"]) == {"kvm02"}
    cloud.dead.clear()
    assert agent_wave.undo(cloud.context()) == [] and cloud.new == set()
    assert agent_wave.undo(cloud.context()) == [], "nothing is left to undo"


class Api:
    """Hosts as the new side lists them."""

    def __init__(self, cloud: Cloud) -> None:
        self.states = dict.fromkeys(cloud.hosts, "Enabled")
        self.addresses = {each.name: each.address for each in cloud.site.configuration.original.hypervisors}
        self.calls: list[str] = []

    def list(self, *_: Any, **__: Any) -> Any:
        return [
            {
                "id": f"id-{name}",
                "name": name,
                "ipaddress": self.addresses[name],
                "hypervisor": "KVM",
                "state": "Up",
                "resourcestate": state,
            }
            for name, state in self.states.items()
        ]

    def call(self, what: str, *, id: str, allocationstate: str) -> None:
        assert what == "updateHost"
        self.calls.append(f"{id} {allocationstate}")
        self.states[id.removeprefix("id-")] = f"{allocationstate}d"


def test_hosts_with_an_old_agent_take_no_new_vms_until_they_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch, 20, later=["kvm07"])
    cloud.bad = {"kvm09"}
    cloud.up()
    api: Any = Api(cloud)
    api.states["kvm07"] = "Disabled"  # by its operator
    assert set(agent_wave.set_aside(cloud.context(), api)) == {"kvm07", "kvm09"} and api.calls == ["id-kvm09 Disable"]
    agent_wave.set_aside(cloud.context(), api)
    assert api.calls == ["id-kvm09 Disable"], "done already"
    cloud.bad.clear()
    cloud.up()
    agent_wave.set_aside(cloud.context(), api)
    assert api.calls == ["id-kvm09 Disable", "id-kvm09 Enable"] and api.states["kvm07"] == "Disabled"


def test_hosts_that_could_not_be_done_are_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(monkeypatch)
    cloud.dead = {"kvm03"}
    cloud.up()
    failed = agent_wave.Wave.of(cloud.record.facts["Agents"]).failed
    assert agent_wave.not_awaited(cloud.site.configuration, failed, Api(cloud).list()) == {"id-kvm03"}
    assert agent_wave.not_awaited(cloud.site.configuration, {}, Api(cloud).list()) == set()


def test_the_record_stays_small_at_five_hundred_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = {"begun": {f"kvm{number:04}": "ae" for number in range(500)}, "done": [f"kvm{number:04}" for number in range(500)]}
    record = WindowRecord("test", "id", opened="then", facts={"Agents": wave})
    assert len(record.to_json()) < 40_000

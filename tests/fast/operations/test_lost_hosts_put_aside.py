"""A hypervisor that dies in the window: whoever puts it aside is not kept waiting, forward or back, and its window can be closed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiUnavailable
from parallel_build.errors import StepFailed
from parallel_build.operations import agent_wave, hypervisor_commands, lost_hosts, original_management
from parallel_build.records.window import WindowRecord
from parallel_build.steps import hypervisors
from tests.fast.memory_records import Records
from tests.fast.quick_time import hurry
from tests.fast.sites import site, values

UP = {"id-1": "kvm1.example.org", "id-2": "kvm2.example.org"}


def item(number: int, state: str = "Up", resource: str = "Enabled", **more: str) -> dict[str, str]:
    """A host, as listHosts gives it."""
    return {
        "id": f"id-{number}",
        "name": f"kvm{number}.example.org",
        "state": state,
        "resourcestate": resource,
        "hypervisor": "KVM",
        **more,
    }


class Stand:
    """Both sides' lists of hosts, and a record."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hosts: list[dict[str, str]] | None, facts: dict[str, Any]) -> None:
        self.site = site(window={**values()["window"], "hostsTimeout": "2s"})
        self.record = WindowRecord("test", self.site.identity, opened="then", facts=facts)
        self.reported: list[str] = []
        self.kept: list[dict[str, Any]] = []
        self.unreachable: set[str] = set()
        records = Records(self.record, self.site)
        for module in (agent_wave, hypervisor_commands, lost_hosts, hypervisors):
            monkeypatch.setattr(module, "store", lambda _: records)

        def listed(command: str, **_: str) -> list[dict[str, str]]:
            if hosts is None:
                raise ApiUnavailable("no answer", "", "", None)
            return hosts

        cloud = SimpleNamespace(list=listed)
        monkeypatch.setattr(original_management, "answering", lambda _: cloud)
        monkeypatch.setattr(hypervisors, "Cloud", SimpleNamespace(new=lambda _: cloud))
        monkeypatch.setattr(hypervisors, "stranded", lambda *_: ("its agent does not run there", "start it"))
        hurry(monkeypatch)
        self.context: Any = SimpleNamespace(
            site=self.site, configuration=self.site.configuration, cancel=CancelToken(), progress=self.reported.append, step="Window",
            host=lambda server: SimpleNamespace(name=server.name, reachable=lambda: server.name not in self.unreachable),
            run=SimpleNamespace(record=lambda kind, **details: self.kept.append({"kind": kind, **details})),
        )  # fmt: skip


DEAD = [item(1), item(2, "Down")]


@pytest.mark.parametrize("resource", ["Disabled", "Maintenance", "ErrorInMaintenance"])
def test_a_host_that_died_and_was_put_aside_keeps_no_user_out(monkeypatch: pytest.MonkeyPatch, resource: str) -> None:
    stand = Stand(monkeypatch, [item(1), item(2, "Down", resource)], {"Window": {"hosts_up": UP, "hosts_aside": []}})
    assert [host["id"] for host in hypervisors.await_hosts(stand.context)] == ["id-1"]
    assert any("1 not awaited" in line for line in stand.reported)


@pytest.mark.parametrize(
    ("hosts", "window", "wave"),
    [
        (DEAD, {"hosts_aside": []}, {}),
        (
            [item(1), item(2, "Disconnected", "Disabled")],
            {"hosts_aside": ["id-2"]},
            {},
        ),  # disabled all along, and Up when the window opened
        ([item(1), item(2, "Disconnected", "Disabled")], {}, {}),  # nobody noted how it was
        ([item(1), item(2, "Disconnected", "Disabled")], {"hosts_aside": []}, {"aside": {"kvm2": "id-2"}}),  # by this window itself
        ([item(1)], {"hosts_aside": []}, {}),
    ],
    ids=["enabled", "put aside before", "an earlier version's window", "by the agents' wave", "not listed"],
)
def test_any_other_host_is_awaited(monkeypatch: pytest.MonkeyPatch, hosts: Any, window: dict[str, Any], wave: dict[str, Any]) -> None:
    stand = Stand(monkeypatch, hosts, {"Window": {"hosts_up": UP, **window}, "Agents": wave})
    with pytest.raises(StepFailed, match=r"not Up on the new side: kvm2\.example\.org") as caught:
        hypervisors.await_hosts(stand.context)
    assert ("allocationstate=Disable" in caught.value.remedy) is ("hosts_aside" in window)


COMMAND = {
    "mark": "x",
    "host": "kvm2",
    "command": ["install", "agent-4.22"],
    "reverse": ["install", "agent-4.20"],
    "timeout": 60.0,
    "done": True,
}


def touched() -> dict[str, Any]:
    """What a window has done on both hosts."""
    commands = {f"x/{name}": {**COMMAND, "host": name} for name in ("kvm1", "kvm2")}
    return {
        "Window": {"hosts_up": UP},
        "HypervisorSteps": {"commands": commands, "addresses": {"kvm1": "10.91.0.11", "kvm2": "10.91.0.11"}},
        "Agents": {"begun": {"kvm1": "ae", "kvm2": "ae"}, "done": ["kvm1", "kvm2"]},
    }


@pytest.mark.parametrize(
    "hosts",
    [
        [item(1), item(2, "Down", "Maintenance")],
        [item(1), {**item(2, "Alert", "Disabled"), "name": "node-b", "ipaddress": "10.91.0.22"}],
        [item(1)],
    ],
    ids=["in maintenance", "known by its address", "removed from the cloud"],
)
def test_what_can_not_be_undone_on_a_host_that_is_gone_keeps_no_window_open(monkeypatch: pytest.MonkeyPatch, hosts: Any) -> None:
    stand = Stand(monkeypatch, hosts, touched())
    stand.unreachable = {"kvm2"}
    lost_hosts.give_up(stand.context)
    (line,) = stand.reported
    assert "`install agent-4.20`" in line and "host=10.91.0.11 in " in line and "packages in " in line and line.startswith("kvm2 ")
    assert stand.kept[0]["host"] == "kvm2" and len(stand.kept[0]["left"]) == 3
    assert hypervisor_commands.hosts_on_record(stand.context) == {"kvm1"} and set(agent_wave.known(stand.context).begun) == {"kvm1"}
    assert all("kvm2" not in words for words in hypervisor_commands.left(stand.context))
    stand.reported.clear()
    lost_hosts.give_up(stand.context)
    assert stand.reported == [], "done already"


@pytest.mark.parametrize(
    ("hosts", "unreachable"),
    [
        ([item(1), item(2, "Down", "Maintenance")], set()),
        ([item(1), item(2, "Down")], {"kvm2"}),
        ([item(1), item(2, "Up", "Disabled")], {"kvm2"}),
        ([], {"kvm2"}),
        (None, {"kvm2"}),
    ],
    ids=["it can be reached", "nobody put it aside", "it is connected", "nothing is listed", "the original does not answer"],
)
def test_nothing_else_is_given_up(monkeypatch: pytest.MonkeyPatch, hosts: Any, unreachable: set[str]) -> None:
    stand = Stand(monkeypatch, hosts, touched())
    stand.unreachable = unreachable
    lost_hosts.give_up(stand.context)
    assert stand.reported == [] and hypervisor_commands.hosts_on_record(stand.context) == {"kvm1", "kvm2"}
    assert set(agent_wave.known(stand.context).begun) == {"kvm1", "kvm2"}


def test_a_window_that_touched_no_host_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, None, {"Window": {"hosts_up": UP}})
    monkeypatch.setattr(original_management, "answering", lambda _: pytest.fail("asked"))
    lost_hosts.give_up(stand.context)

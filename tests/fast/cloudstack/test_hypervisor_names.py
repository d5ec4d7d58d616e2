"""The stack's hypervisors and the cloud's hosts: one machine, whichever of the two has its full name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cloudstack import left_running
from parallel_build.cloudstack.agents import agent_hosts
from parallel_build.cloudstack.kvm_guests import named
from parallel_build.cloudstack.left_running import Guest
from parallel_build.configuration import Hypervisor
from parallel_build.operations import new_routers, prove_appliances


def kvm(*names: str) -> list[Hypervisor]:
    return [Hypervisor(name=name, address=f"10.91.0.{number}") for number, name in enumerate(names, 21)]


@pytest.mark.parametrize(
    ("stack", "host", "found"),
    [
        (("kvm1", "kvm2"), "kvm1", "kvm1"),
        (("kvm1", "kvm2"), "KVM1.example.org", "kvm1"),
        (("kvm1.example.org", "kvm2.example.org"), "kvm1.example.org", "kvm1.example.org"),
        (("kvm1.example.org", "kvm2.example.org"), "kvm1", "kvm1.example.org"),
        (("kvm1.one.example.org", "kvm1.two.example.org"), "kvm1", None),
        (("kvm1.one.example.org", "kvm1.two.example.org"), "kvm1.two.example.org", "kvm1.two.example.org"),
        (("kvm1.one.example.org",), "kvm1.two.example.org", None),
        (("kvm1",), "kvm11", None),
        (("kvm1",), "", None),
        (("kvm1",), None, None),
    ],
)
def test_a_host_is_known_by_its_short_and_by_its_full_name(stack: tuple[str, ...], host: str | None, found: str | None) -> None:
    hypervisor = named(kvm(*stack), host)
    assert (hypervisor.name if hypervisor else None) == found


def test_agents_are_found_by_address_and_then_by_either_name() -> None:
    hosts = kvm("kvm1", "kvm2.example.org", "kvm3")
    items = [
        {"name": "node-a", "hypervisor": "KVM", "ipaddress": "10.91.0.21"},
        {"name": "kvm2.example.org", "hypervisor": "KVM", "ipaddress": "198.51.100.22"},  # added by another network card
        {"name": "kvm3.example.org", "hypervisor": "KVM", "ipaddress": "198.51.100.23"},
    ]
    assert [each.hypervisor.name for each in agent_hosts(items, hosts) if each.hypervisor] == ["kvm2.example.org", "kvm3", "kvm1"]


def test_a_host_that_the_cloud_knows_by_its_full_name_is_asked_for_what_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = kvm("kvm1", "kvm2")
    running = {"kvm1": {"r-19-VM"}, "kvm2": set[str]()}
    for module in (left_running, new_routers):
        monkeypatch.setattr(module, "listed", lambda *_, **__: running)
    configuration = SimpleNamespace(original=SimpleNamespace(hypervisors=hosts))
    context: Any = SimpleNamespace(configuration=configuration, host=lambda hypervisor: hypervisor.name)
    routers = new_routers.NewRouters(context, {}, lambda *_: None)
    assert routers.runs({"name": "r-19-VM", "hostname": "kvm1.example.org"}) is True
    assert routers.runs({"name": "r-19-VM", "hostname": "kvm2.example.org"}) is False
    assert routers.runs({"name": "r-19-VM", "hostname": "esx1.example.org"}) is None
    asked: Any = prove_appliances.hypervisor_of(context, {"hostname": "kvm2.example.org"})
    assert asked == "kvm2"
    gone = Guest("s-5-VM", "SecondaryStorageVm", "kvm2.example.org", "KVM")
    elsewhere = Guest("r-19-VM", "DomainRouter", "kvm2.example.org", "KVM")
    unknown = Guest("v-6-VM", "ConsoleProxy", "esx1.example.org", "VMware")
    assert left_running.not_proved_gone(hosts, context.host, [gone, elsewhere, unknown]) == [elsewhere, unknown]

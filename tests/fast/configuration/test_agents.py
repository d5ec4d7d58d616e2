"""Section `agents.upgrade`: refused before anything is contacted, with key, cause and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.configuration import load
from parallel_build.errors import ConfigurationError
from parallel_build.provider.relevance import relevant
from tests.fast.sites import site, values

HOSTS = [{"name": f"kvm{number}", "address": f"10.91.0.{20 + number}"} for number in range(1, 4)]
WITH_ESX: dict[str, Any] = {"hypervisors": [*HOSTS, {"name": "esx1", "address": "10.91.0.29", "kind": "vmware"}]}


def upgrade(**keys: Any) -> dict[str, Any]:
    return {"agents": {"upgrade": keys}, "original": WITH_ESX}


@pytest.mark.parametrize(("changes", "words"), [
    (upgrade(canary=4), "agents.upgrade.canary: 4 hosts are more than the wave, 3, so the canary would be no trial; make it smaller"),
    (upgrade(canary=2, hosts=["kvm1"]), "agents.upgrade.canary: 2 hosts are more than the wave, 1"),
    (upgrade(canary=2, later=["kvm1", "kvm2"]), "agents.upgrade.canary: 2 hosts are more than the wave, 1"),
    (upgrade(failureRate=1.1), "agents.upgrade.failureRate: 1.1 is not a part of the wave; write a number from 0"),
    (upgrade(failureRate=-0.1), "is not a part of the wave"),
    (upgrade(failureRate=True), "is not a part of the wave"),
    (upgrade(failureRate="0.1"), "is not a part of the wave"),
    (upgrade(hosts=["kvm9"]), "agents.upgrade.hosts: kvm9 is not one of original.hypervisors; add it there, or correct the name"),
    (upgrade(later=["kvm9"]), "agents.upgrade.later: kvm9 is not one of original.hypervisors"),
    (upgrade(hosts=["esx1"]), "agents.upgrade.hosts: esx1 is a host of vmware, which has no agent of CloudStack's; leave it out"),
    (upgrade(later=["kvm1", "kvm2", "kvm3"]), "agents.upgrade: no host is left for it"),
    ({"agents": {"upgrade": {}}, "original": {"hypervisors": []}}, "agents.upgrade: no host is left for it; list KVM hosts in original.hypervisors"),
    (upgrade(atOnce=0), "agents.upgrade.atOnce"),
    (upgrade(packages=["cloudstack-agent; reboot"]), "agents.upgrade.packages"),
    ({**upgrade(), "new": {"version": "4.20.3.0"}, "templates": []}, "agents.upgrade: a move leaves agents at the version that they have"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_key_cause_and_remedy(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(values(**changes), "test")
    assert words in str(refused.value)


@pytest.mark.parametrize(("keys", "wave"), [
    ({}, ["kvm1", "kvm2", "kvm3"]), ({"later": ["kvm2"]}, ["kvm1", "kvm3"]), ({"hosts": ["kvm3", "kvm1"]}, ["kvm1", "kvm3"]), ({"failureRate": 0}, None),
])  # fmt: skip
def test_the_wave_is_the_hosts_with_an_agent_in_the_order_of_the_list(keys: dict[str, Any], wave: list[str] | None) -> None:
    found = [host.name for host in site(**upgrade(**keys)).configuration.upgraded_agents]
    assert wave is None or found == wave
    assert site().configuration.upgraded_agents == []


def test_a_changed_limit_is_no_difference_of_what_is_done_already() -> None:
    assert relevant(site(**upgrade(canary=1)).to_json()) == relevant(site(**upgrade(canary=2, atOnce=3)).to_json())

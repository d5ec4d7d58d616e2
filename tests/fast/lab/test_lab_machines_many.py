"""A lab with many KVM hosts: each has an address that nothing else in the lab has or gets."""

from __future__ import annotations

import pytest

from lab.bringup import plan
from lab.database import describe
from lab.files import Lab, Options
from lab.machines import ADDRESS, ALL_KVM_HOSTS, KVM_HOSTS, REHEARSAL, USER_ADDRESS, everything


def test_sixty_hosts_have_addresses_of_their_own() -> None:
    addresses = [machine.address for machine in (*everything(2, len(ALL_KVM_HOSTS)), REHEARSAL)] + [ADDRESS, USER_ADDRESS]
    assert len(ALL_KVM_HOSTS) == 60 and len(set(addresses)) == len(addresses)
    last = [int(host.address.rpartition(".")[2]) for host in ALL_KVM_HOSTS]
    assert not any(100 <= number < 200 for number in last), "the pods give these to system VMs"
    assert max(last) < 255 and ALL_KVM_HOSTS[:2] == KVM_HOSTS and everything(2)[-4:] == everything(2, 60)[-4:]


@pytest.mark.processes
def test_the_database_has_as_many_hosts_as_the_lab() -> None:
    layout = describe(plan(Lab("many"), Options(kvm_hosts=7, rows=1))).layout
    assert [(host.name, host.address) for host in layout.hosts] == [(host.name, host.address) for host in ALL_KVM_HOSTS[:7]]
    assert len({host.agent_guid for host in layout.hosts}) == 7

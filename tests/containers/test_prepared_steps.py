"""The steps of the phase `prepared` that change the original: agents' addresses and system VM templates, on a running original."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab import faults
from lab.hosts import sessions
from lab.machines import KVM_HOSTS, OLD_SOURCE
from parallel_build.cloudstack import agents, templates
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.steps.agent_addresses import AgentAddresses
from parallel_build.steps.system_vm_template import SystemVmTemplate
from tests.containers.original_stand import SERVER, TEMPLATE, Original, original_cloud
from tests.containers.steps_bench import interrupted

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

NEW = ["10.91.0.41", "10.91.0.42"]


@pytest.fixture(scope="module")
def original() -> Iterator[Original]:
    """The running original; each test leaves it as it found it."""
    with original_cloud() as made:
        yield made


def host_setting(original: Original) -> str:
    """The original's `host`."""
    return str(next(item["value"] for item in original.api("listConfigurations", name="host") if item["name"] == "host"))


def set_host(original: Original, value: str) -> None:
    """Change the original's `host` as an operator would."""
    original.inside(lambda: Cloud.original(original.site()).call("updateConfiguration", name="host", value=value))


def on_host(original: Original, number: int) -> list[str]:
    """The addresses in a KVM host's agent.properties."""
    return agents.listed(original.shell(KVM_HOSTS[number], f"cat {agents.AGENT_FILE}"))


def fault(original: Original, machine: int, key: str, value: str | None) -> None:
    """Set or remove a fault of an agent, and restart it."""

    def change() -> None:
        with sessions(original.lab) as opened:
            faults.change(opened, KVM_HOSTS[machine], key, value)
            opened[KVM_HOSTS[machine]].run(["systemctl", "restart", "cloudstack-agent"], timeout=60)

    original.inside(change)


def all_up(original: Original) -> bool:
    """Whether every KVM host is Up."""
    return all(host["state"] == "Up" for host in original.api("listHosts", type="Routing"))


def await_up(original: Original) -> None:
    """Wait until every KVM host is Up."""
    for _ in range(300):
        if all_up(original):
            return
        original.shell(SERVER, "sleep 0.3")
    raise AssertionError("the original's hosts did not come Up again")


def test_agents_learn_the_addresses_and_forget_them_whatever_is_interrupted(original: Original) -> None:
    before, step = host_setting(original), AgentAddresses()
    interrupted(lambda tell: original.apply(step, tell=tell))
    outputs, changed = original.apply(step)
    assert not changed
    assert outputs["proved"] == ["kvm1", "kvm2"]
    assert len(outputs["systemVms"]) == 2
    assert host_setting(original) == ",".join([before, *NEW])
    for number in (0, 1):
        assert on_host(original, number) == [before, *NEW]
    assert original.api("listHosts", type="Routing")[0]["state"] == "Up"
    interrupted(lambda tell: original.revert(step, tell=tell))
    assert not original.revert(step)
    assert host_setting(original) == before
    for number in (0, 1):
        assert on_host(original, number) == [before]


def test_what_an_operator_added_meanwhile_stays(original: Original) -> None:
    before, step = host_setting(original), AgentAddresses()
    original.apply(step)
    set_host(original, f"{before},10.91.0.99,{','.join(NEW)}")
    original.revert(step)
    assert host_setting(original) == f"{before},10.91.0.99"
    set_host(original, before)


def test_an_agent_that_does_not_learn_is_named_with_cause_and_remedy(original: Original) -> None:
    step = AgentAddresses()
    fault(original, 1, "agent_ignores_host_list", "true")
    try:
        await_up(original)
        with pytest.raises(
            StepFailed, match=r"have not learnt .*kvm2.*its file lists 10\.91\.0\.11.*has not written the list down"
        ) as caught:
            original.apply(step, original.site(original.values(agents={"timeout": "5s"})))
        assert "kvm1" not in caught.value.fact
    finally:
        fault(original, 1, "agent_ignores_host_list", None)
    await_up(original)
    assert original.apply(step)[0]["proved"] == ["kvm1", "kvm2"]
    original.revert(step)


def test_a_host_that_is_not_connected_is_told_apart(original: Original) -> None:
    step = AgentAddresses()
    original.shell(KVM_HOSTS[0], "systemctl stop cloudstack-agent")
    for _ in range(300):
        if not all_up(original):
            break
        original.shell(SERVER, "sleep 0.3")
    try:
        with pytest.raises(StepFailed, match=r"kvm1: its agent is not connected"):
            original.apply(step, original.site(original.values(agents={"timeout": "3s"})))
        # Going back does not wait for it: it is given the list when it connects.
        assert original.revert(step)
    finally:
        original.shell(KVM_HOSTS[0], "systemctl start cloudstack-agent")
    await_up(original)
    original.revert(step)


def test_hosts_the_stack_may_not_log_in_to_are_said_not_to_be_proved(original: Original) -> None:
    found = original.values()
    found["original"]["hypervisors"] = found["original"]["hypervisors"][:1]
    outputs, _ = original.apply(AgentAddresses(), original.site(found))
    assert outputs["proved"] == ["kvm1"]
    assert outputs["notProved"] == ["kvm2"]
    assert len(outputs["systemVmsNotProved"]) == 1
    assert any("can't be proved on kvm2" in line for line in original.lines)
    original.revert(AgentAddresses())


def test_the_other_methods_prove_what_they_need(original: Original) -> None:
    with pytest.raises(GuardFailed, match="they would never find the new servers"):
        original.apply(AgentAddresses(), original.site(original.values(agents={"method": "none"})))
    outputs, changed = original.apply(AgentAddresses(), original.site(original.values(agents={"method": "file"})))
    assert outputs == {"method": "file", "hosts": ["kvm1", "kvm2"]}
    assert not changed
    assert not original.revert(AgentAddresses(), original.site(original.values(agents={"method": "file"})))


def test_a_template_is_registered_waited_for_and_deleted(original: Original) -> None:
    step = SystemVmTemplate(TEMPLATE)
    lines = interrupted(lambda tell: original.apply(step, tell=tell))
    assert any("registered, id" in line for line in lines)
    outputs, changed = original.apply(step)
    assert not changed
    assert outputs["registered"]
    found = [
        item for item in original.api("listTemplates", templatefilter="all", name=TEMPLATE["name"]) if item["name"] == TEMPLATE["name"]
    ]
    assert [(item["isready"], item["status"], item["templatetype"], item["ispublic"]) for item in found] == [
        (True, templates.COMPLETE, "USER", False)
    ]
    assert original.revert(step)
    assert not original.revert(step)
    assert original.api("listTemplates", templatefilter="all", name=TEMPLATE["name"]) == []


def test_a_template_that_was_there_before_stays(original: Original) -> None:
    step = SystemVmTemplate(TEMPLATE)
    original.apply(step)
    record = "/var/lib/cloudstack-parallel-build/prepared/stand-template-systemvm-kvm-4.22.0-x86_64.json"
    kept = original.shell(OLD_SOURCE, f"cat {record}")
    assert json.loads(kept)["facts"]["registered"] is True
    original.shell(OLD_SOURCE, f"mv {record} {record}.away")
    outputs, changed = original.apply(step)
    assert (outputs["registered"], changed) == (False, False)
    assert not original.revert(step)
    assert original.api("listTemplates", templatefilter="all", name=TEMPLATE["name"])
    original.shell(OLD_SOURCE, f"mv {record}.away {record}")
    assert original.revert(step)


def test_a_failed_download_is_tried_again_and_then_told_in_the_clouds_words(original: Original) -> None:
    step = SystemVmTemplate({**TEMPLATE, "name": "systemvm-kvm-gone", "url": "http://10.91.0.1/templates/is-not-there.qcow2.bz2"})
    with pytest.raises(StepFailed, match="the download of systemvm-kvm-gone failed in") as caught:
        original.apply(step)
    # What the operator reads: each try with the cloud's own words, and at last fact, cause and remedy.
    tries = [line for line in original.lines if "deleting it and trying again" in line]
    assert [line.rpartition("(")[2] for line in tries] == ["1 of 3 tries failed)", "2 of 3 tries failed)"]
    assert caught.value.cause and all(caught.value.cause in line for line in tries)
    assert "see whether the secondary storage VM reaches http://10.91.0.1/templates/is-not-there" in caught.value.remedy
    print(f"  {caught.value}")
    original.revert(step)
    assert original.api("listTemplates", templatefilter="all", name="systemvm-kvm-gone") == []


def test_a_hypervisor_that_the_cloud_has_not_is_refused(original: Original) -> None:
    with pytest.raises(StepFailed, match=r"no zone of .* has a cluster of VMware"):
        original.apply(SystemVmTemplate({**TEMPLATE, "hypervisor": "VMware", "format": "OVA"}))

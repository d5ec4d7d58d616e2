"""The steps of the phase `prepared` that change the original: agents' addresses and system VM templates, on a running original."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab import faults
from lab.hosts import sessions
from lab.machines import KVM_HOSTS, OLD_REPLICA, OLD_SOURCE
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import agents, templates
from parallel_build.cloudstack.api import Cloud, status
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.facts import original as original_facts
from parallel_build.facts.new import NewFacts
from parallel_build.guards.both_sides import agents_know_the_new_servers
from parallel_build.operations import hypervisor_commands
from parallel_build.operations.context_helpers import store
from parallel_build.records.window import WindowStore
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.steps.agent_addresses import AgentAddresses
from parallel_build.steps.hypervisor_steps import HypervisorSteps
from parallel_build.steps.system_vm_template import SystemVmTemplate
from tests.containers.original_stand import SERVER, TEMPLATE, Original, original_cloud
from tests.containers.steps_bench import interrupted

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

NEW = ["10.91.0.41", "10.91.0.42"]
LISTENER = "stands-for-a-new-server"
LISTEN = """
import socket
server = socket.create_server(("10.91.0.10", 8250))
kept = []
while True: kept.append(server.accept())
"""


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


def answers(original: Original) -> bool:
    """Whether the original's API answers."""
    return bool(original.inside(lambda: status(Endpoint(f"http://{SERVER.address}:8080/client/api"))) == 401)


def all_up(original: Original) -> bool:
    """Whether every KVM host is Up."""
    return all(host["state"] == "Up" for host in original.api("listHosts", type="Routing"))


def wait_until(original: Original, holds: Callable[[], bool], what: str) -> None:
    """Look until something holds, for at most two minutes."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        original.shell(SERVER, "sleep 0.3")


def await_up(original: Original) -> None:
    """Wait until every KVM host is Up."""
    wait_until(original, lambda: all_up(original), "the original's hosts to come Up again")


def await_files(original: Original, wanted: list[str]) -> None:
    """Wait until both agents have written these addresses down."""
    wait_until(original, lambda: on_host(original, 0) == on_host(original, 1) == wanted, f"both agents' files to list {wanted}")


def whole_file(original: Original, number: int) -> str:
    """A KVM host's agent.properties, with its mode and owner."""
    return original.shell(KVM_HOSTS[number], f"stat -c 'mode %a %U %G' {agents.AGENT_FILE}; cat {agents.AGENT_FILE}")


def agent_start(original: Original, number: int) -> str:
    """What tells one start of a KVM host's agent from another."""
    return original.shell(KVM_HOSTS[number], "systemctl show cloudstack-agent -p InvocationID --value")


def in_window(original: Original, site: Site, what: Callable[[WindowStore], Any]) -> Any:
    """Do something with the window's record."""
    with original.context(site, "Window") as context:
        return original.inside(lambda: what(store(context)))


def ask_guard(original: Original, site: Site) -> None:
    """Ask what the window's guard asks, of the original as it is now."""

    def ask() -> None:
        with contextlib.closing(Connections(site, CancelToken())) as opened:
            agents_know_the_new_servers(site, original_facts.gather(site, opened), NewFacts())

    original.inside(ask)


def dialling(original: Original) -> set[str]:
    """Addresses that are connected to the listener."""
    shown = original.shell(OLD_REPLICA, "ss -Htn state established '( sport = :8250 )'")
    return {line.split()[3].rpartition(":")[0] for line in shown.splitlines()}


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
    wait_until(original, lambda: not all_up(original), "the host to be no longer Up")
    try:
        with pytest.raises(StepFailed, match=r"kvm1: its agent is not connected"):
            original.apply(step, original.site(original.values(agents={"timeout": "3s"})))
        # Going back does not wait for it: it is given the list when it connects.
        assert original.revert(step)
    finally:
        original.shell(KVM_HOSTS[0], "systemctl start cloudstack-agent")
    await_up(original)
    original.revert(step)


def test_hosts_the_stack_may_not_log_in_to_are_reported_not_to_be_proved(original: Original) -> None:
    found = original.values()
    found["original"]["hypervisors"] = found["original"]["hypervisors"][:1]
    outputs, _ = original.apply(AgentAddresses(), original.site(found))
    assert outputs["proved"] == ["kvm1"]
    assert outputs["notProved"] == ["kvm2"]
    assert len(outputs["systemVmsNotProved"]) == 1
    assert any("whether kvm2 have learnt the new addresses can't be seen" in line for line in original.lines)
    original.revert(AgentAddresses())


def test_method_file_needs_every_host_with_an_agent_within_reach(original: Original) -> None:
    there = original.values(agents={"method": "file"})
    outputs, changed = original.apply(AgentAddresses(), original.site(there))
    assert outputs == {"method": "file", "hosts": ["kvm1", "kvm2"]}
    assert not changed
    assert not original.revert(AgentAddresses(), original.site(there))
    fewer = original.values(agents={"method": "file"})
    fewer["original"]["hypervisors"] = fewer["original"]["hypervisors"][:1]
    with pytest.raises(GuardFailed, match=r"kvm2 has an agent and is not in original\.hypervisors"):
        original.apply(AgentAddresses(), original.site(fewer))
    with pytest.raises(GuardFailed, match="hosts with an agent that the stack does not know: kvm2"):
        ask_guard(original, original.site(fewer))
    ask_guard(original, original.site(there))
    original.shell(KVM_HOSTS[1], f"sed -i 's/^host=/#host=/' {agents.AGENT_FILE}")
    try:
        with pytest.raises(GuardFailed, match="kvm2 has no `host=`"):
            original.apply(AgentAddresses(), original.site(there))
        with pytest.raises(GuardFailed, match=r"no `host=` in .* on kvm2"):
            ask_guard(original, original.site(there))
    finally:
        original.shell(KVM_HOSTS[1], f"sed -i 's/^#host=/host=/' {agents.AGENT_FILE}")


def test_with_method_file_the_window_writes_the_agents_files_and_going_back_restores_them(original: Original) -> None:
    step, site = HypervisorSteps(), original.site(original.values(agents={"method": "file"}))
    before = [whole_file(original, number) for number in (0, 1)]
    in_window(original, site, lambda records: records.open())
    try:
        first = [agent_start(original, number) for number in (0, 1)]
        lines = interrupted(lambda tell: original.apply(step, site, tell))
        # Cut off before the file is written, and between the file and the restart: the agent that runs has not read it yet.
        assert [line for line in lines if line.startswith("kvm")] == [
            f"{name}: {what}"
            for name in ("kvm1", "kvm2")
            for what in (f"host={','.join(NEW)} in {agents.AGENT_FILE}", "restarting cloudstack-agent")
        ]
        for number in (0, 1):
            assert on_host(original, number) == NEW
            rest = [line for line in before[number].splitlines() if not line.startswith("host=")]
            assert sorted(whole_file(original, number).splitlines()) == sorted([*rest, f"host={','.join(NEW)}"]), "all else is kept"
        second = [agent_start(original, number) for number in (0, 1)]
        assert all(one != two for one, two in zip(first, second, strict=True)), "each agent was started after its file was written"
        _, changed = original.apply(step, site)
        assert not changed and second == [agent_start(original, number) for number in (0, 1)], "what is done is not done again"
        assert len(in_window(original, site, lambda records: records.facts("HypervisorSteps")["addresses"])) == 2

        interrupted(lambda tell: original.revert(step, site, tell))
        third = [agent_start(original, number) for number in (0, 1)]
        assert all(one != two for one, two in zip(second, third, strict=True))
        assert not original.revert(step, site) and third == [agent_start(original, number) for number in (0, 1)]
        assert [sorted(whole_file(original, number).splitlines()) for number in (0, 1)] == [sorted(each.splitlines()) for each in before]
        await_up(original)

        original.apply(step, site)
        original.shell(KVM_HOSTS[1], "systemctl mask --now cloudstack-agent")
        original.revert(step, site)
        with original.context(site, step.type) as context:
            left = original.inside(lambda: hypervisor_commands.left(context))
        assert left == ["the agent's address on kvm2"], "what could not be put back stays on record, and kvm1 was put back all the same"
        original.shell(KVM_HOSTS[1], "systemctl unmask cloudstack-agent")
        original.revert(step, site)
        await_up(original)
    finally:
        original.shell(KVM_HOSTS[1], "systemctl unmask cloudstack-agent")
        in_window(original, site, lambda records: records.close())


def test_with_method_none_an_address_that_agents_dial_must_lead_to_the_new_side_and_then_they_follow_it(original: Original) -> None:
    before, step, reused = host_setting(original), AgentAddresses(), "10.91.0.10"
    with pytest.raises(GuardFailed, match=r"`host` on the original is 10\.91\.0\.11, .* they would never find the new servers"):
        original.apply(step, original.site(original.values(agents={"method": "none"})))
    values = original.values(agents={"method": "none"})
    values["new"]["loadBalancer"] = reused
    site = original.site(values)
    with pytest.raises(GuardFailed, match=r"`host` lacks 10\.91\.0\.10.*nobody gives them a different address"):
        ask_guard(original, site)
    original.shell(SERVER, f"ip address add {reused}/24 dev eth0")
    try:
        set_host(original, reused)
        await_files(original, [reused])
        await_up(original)
        outputs, changed = original.apply(step, site)
        assert (outputs["method"], outputs["host"], outputs["proved"]) == ("none", reused, ["kvm1", "kvm2"]) and not changed
        ask_guard(original, site)
        assert not original.revert(step, site)
        # The night, as far as agents see it: the original is down, and the address another server's. Nothing is sent to them or restarted.
        started = [agent_start(original, number) for number in (0, 1)]
        original.shell(SERVER, f"systemctl stop cloudstack-management; ip address delete {reused}/24 dev eth0")
        original.shell(OLD_REPLICA, f"ip address add {reused}/24 dev eth0; systemd-run --unit {LISTENER} --collect python3 -c '{LISTEN}'")
        wait_until(
            original, lambda: dialling(original) == {host.address for host in KVM_HOSTS}, "both agents to dial where the address is now"
        )
        assert started == [agent_start(original, number) for number in (0, 1)]
    finally:
        original.shell(OLD_REPLICA, f"systemctl stop {LISTENER}; ip address delete {reused}/24 dev eth0")
        original.shell(SERVER, f"ip address replace {reused}/24 dev eth0; systemctl start cloudstack-management")
        wait_until(original, lambda: answers(original), "the original to answer again")
        await_up(original)
        set_host(original, before)
        await_files(original, [before])
        original.shell(SERVER, f"ip address delete {reused}/24 dev eth0")
        await_up(original)


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


def test_a_failed_download_is_tried_again_and_then_reported_in_the_clouds_words(original: Original) -> None:
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

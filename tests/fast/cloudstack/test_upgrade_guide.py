"""What the change review shows about hypervisors: what the official guide asks, host by host, where no step of the stack does it."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.configuration import StackConfiguration, load
from parallel_build.steps.hypervisor_steps import HypervisorSteps
from tests.fast.sites import values

STEP = {"hosts": ["kvm1"], "command": ["true"], "reverse": ["true"]}


def configured(hypervisors: list[dict[str, str]], steps: list[dict[str, Any]] | None = None) -> StackConfiguration:
    """A stack with these hypervisors."""
    plain = values(hypervisorSteps=steps or [])
    plain["original"]["hypervisors"] = [{"address": f"10.91.0.{70 + number}", **each} for number, each in enumerate(hypervisors)]
    return load(plain, "test")


def kvm(*names: str) -> list[dict[str, str]]:
    """KVM hosts."""
    return [{"name": name, "kind": "kvm"} for name in names]


@pytest.mark.parametrize(
    ("hypervisors", "steps", "wanted", "unwanted"),
    [
        (kvm("kvm1", "kvm2"), [], ["kvm1, kvm2: NOT CONFIGURED", "install cloudstack-agent 4.22.1.0", "stop cloudstack-agent"], []),
        (kvm("kvm1", "kvm2"), [STEP], ["on kvm1: true", "kvm2: NOT CONFIGURED"], ["kvm1, kvm2"]),
        (kvm("kvm1"), [STEP], ["on kvm1: true"], ["guide"]),
        ([{"name": "xen1", "kind": "xenserver"}], [], ["xen1: nothing configured", "pool HA must be on"], ["cloudstack-agent"]),
        ([{"name": "esx1", "kind": "vmware"}], [], ["esx1: nothing configured", "noredist"], ["cloudstack-agent"]),
        ([{"name": "lxc1", "kind": "lxc"}], [], ["lxc1: NOT CONFIGURED"], []),
        ([{"name": "hv1", "kind": "hyperv"}], [], ["hv1: nothing configured; see what the guide asks of hyperv hosts"], []),
        ([], [], ["KVM hosts, where there are any: not configured"], []),
    ],
)
def test_each_host_without_a_step_is_named_with_what_the_guide_asks(
    hypervisors: list[dict[str, str]], steps: list[dict[str, Any]], wanted: list[str], unwanted: list[str]
) -> None:
    text = "\n".join(HypervisorSteps().plan(configured(hypervisors, steps)))
    assert all(words in text for words in wanted), text
    assert not any(words in text for words in unwanted), text
    assert "asks nothing of these" not in text

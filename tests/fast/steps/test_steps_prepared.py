"""Pure parts of the steps that install management servers and prepare the original."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.templates import ZoneState, closest_os_type, latest, registration
from parallel_build.configuration import Hypervisor, Template
from parallel_build.errors import ConfigurationError, StepFailed
from parallel_build.operations import host_setting
from parallel_build.remote.apt import KEYRING, pin, repository_line
from parallel_build.remote.available import Available
from parallel_build.remote.packages import choose, of_release
from parallel_build.steps.agent_addresses import AgentAddresses
from parallel_build.steps.base import Step
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.system_vm_template import SystemVmTemplate
from parallel_build.versions import CloudStackVersion
from tests.fast.sites import SECRETS, VALUES, site

RELEASE = CloudStackVersion("4.22.1.0")


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("4.22.1.0", True),
        ("1:4.22.1.0~jammy", True),
        ("4.22.1.0-2", True),
        ("4.22.1.0+shapeblue1", True),
        ("4.22.1", True),
        ("4.22.1.1", False),
        ("4.22.10.0", False),
        ("14.22.1.0", False),
        ("4.22.1.0.5", False),
        ("none", False),
    ],
)
def test_a_debian_version_is_of_a_release(version: str, fits: bool) -> None:
    assert of_release(version, RELEASE) is fits


def test_the_newest_package_of_the_release_is_chosen_or_the_others_are_named() -> None:
    found = [Available("4.22.2.0", "a"), Available("4.22.1.0-2", "b"), Available("4.22.1.0-1", "c")]
    assert choose("cloudstack-management", "newms1", found, RELEASE).version == "4.22.1.0-2"
    with pytest.raises(StepFailed, match=r"newms1: there is no cloudstack-management 4\.22\.1\.0.*available: 4\.20\.3\.0"):
        choose("cloudstack-management", "newms1", [Available("4.20.3.0", "a")], RELEASE)
    with pytest.raises(StepFailed, match="available: none"):
        choose("cloudstack-management", "newms1", [], RELEASE)


@pytest.mark.parametrize(
    ("line", "key", "written"),
    [
        ("deb [trusted=yes] http://p/ ./", None, "deb [trusted=yes] http://p/ ./"),
        ("deb http://p jammy 4.22", "KEY", f"deb [signed-by={KEYRING}] http://p jammy 4.22"),
        ("deb [arch=amd64] http://p jammy 4.22", "KEY", f"deb [arch=amd64 signed-by={KEYRING}] http://p jammy 4.22"),
        ("deb [signed-by=/x.asc] http://p jammy 4.22", "KEY", "deb [signed-by=/x.asc] http://p jammy 4.22"),
    ],
)
def test_the_repository_line_names_its_key(line: str, key: str | None, written: str) -> None:
    assert repository_line(line, key) == written


def test_a_line_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        repository_line("http://p jammy 4.22", "KEY")
    with pytest.raises(ConfigurationError, match=r"it is more than one line, .*without a line break"):
        repository_line("deb http://p jammy 4.22\ndeb http://q jammy 4.22", "KEY")


def test_later_releases_are_kept_away() -> None:
    assert "Pin: version 4.22.1.0*" in pin("4.22.1.0").splitlines()


def row(**changes: Any) -> dict[str, Any]:
    """A row of listTemplates."""
    return {"status": "Download Complete", "isready": True, "downloaddetails": [], **changes}


@pytest.mark.parametrize(
    ("item", "registered", "ready", "failed"),
    [
        (None, False, False, False),
        (row(), True, True, False),
        (row(isready=False), True, False, False),
        (row(status="40% Downloaded", isready=False), True, False, False),
        (row(status="Installing Template", isready=False), True, False, False),
        (row(status="Processing", isready=False), True, False, False),
        (row(status=None, isready=False), True, False, False),
        (row(status="Connection refused", isready=False), True, False, True),
        (
            row(status="Processing", isready=False, downloaddetails=[{"downloadState": "DOWNLOAD_ERROR", "datastoreRole": "Image"}]),
            True,
            False,
            True,
        ),
        (row(downloaddetails=[{"downloadState": "DOWNLOAD_ERROR", "datastoreRole": "Primary"}]), True, True, False),
    ],
)
def test_how_a_template_stands_in_a_zone(item: dict[str, Any] | None, registered: bool, ready: bool, failed: bool) -> None:
    state = ZoneState.of("zone1", item)
    assert (state.registered, state.ready, state.failed) == (registered, ready, failed)


def test_the_template_made_last_counts() -> None:
    assert latest([]) is None
    assert latest([{"id": "a", "created": "2026-01-02T00:00:00+0000"}, {"id": "b", "created": "2026-01-01T00:00:00+0000"}]) == "a"


TEMPLATE = Template.model_validate(VALUES["templates"][0])


def test_a_template_is_registered_as_documented() -> None:
    found = registration(TEMPLATE, "-1", "os", CloudStackVersion("4.20.3.0"))
    assert found["name"] == found["displaytext"] == "systemvm-kvm-4.22.0-x86_64"
    assert found["requireshvm"] == "true"
    assert {found[key] for key in ("ispublic", "isfeatured", "isextractable", "passwordenabled", "isrouting")} == {"false"}
    assert found["arch"] == "x86_64"
    assert "checksum" not in found
    # Versions before 4.20 don't know the architecture.
    assert "arch" not in registration(TEMPLATE, "-1", "os", CloudStackVersion("4.19.1.0"))


OFFERED = ["CentOS 7 (64-bit)", "Debian GNU/Linux 5.0 (64-bit)", "Debian GNU/Linux 9 (64-bit)", "Debian GNU/Linux 10 (32-bit)"]


def test_the_highest_debian_that_is_offered_is_taken() -> None:
    wanted = "Debian GNU/Linux 12 (64-bit)"
    assert closest_os_type([*OFFERED, wanted], wanted, "url") == wanted
    assert closest_os_type(OFFERED, wanted, "url") == "Debian GNU/Linux 9 (64-bit)"
    with pytest.raises(StepFailed, match="offers no operating system type"):
        closest_os_type(["CentOS 7 (64-bit)"], wanted, "url")


NEW = ["10.91.0.41", "10.91.0.42"]


@pytest.mark.parametrize(
    ("value", "longer"),
    [
        ("10.91.0.11", "10.91.0.11,10.91.0.41,10.91.0.42"),
        ("10.91.0.11, 10.91.0.41", "10.91.0.11,10.91.0.41,10.91.0.42"),
        ("10.91.0.11@roundrobin", "10.91.0.11,10.91.0.41,10.91.0.42@roundrobin"),
    ],
)
def test_new_addresses_come_after_the_old_ones(value: str, longer: str) -> None:
    assert agents.extended(value, NEW) == longer
    assert agents.extended(longer, NEW) == longer


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ("localhost", "10.91.0.41,10.91.0.42"),
        ("localhost,10.91.0.11", "10.91.0.41,10.91.0.42,10.91.0.11"),
        ("127.0.0.1,::1,10.91.0.11", "10.91.0.41,10.91.0.42,10.91.0.11"),
        ("10.91.0.11,10.91.0.41", "10.91.0.41,10.91.0.42,10.91.0.11"),
        ("cloud.example.org", "10.91.0.41,10.91.0.42,cloud.example.org"),
    ],
)
def test_the_new_hosts_list_has_the_originals_addresses_and_none_that_leads_to_oneself(now: str, wanted: str) -> None:
    assert host_setting.value_for(site().configuration, now) == wanted


@pytest.mark.parametrize(
    ("now", "remembered", "wanted"),
    [
        ("10.91.0.11,10.91.0.41,10.91.0.42", "10.91.0.11", "10.91.0.11"),
        ("10.91.0.11,10.91.0.41,10.91.0.42", None, "10.91.0.11"),
        ("10.91.0.11,10.91.0.41,10.91.0.42", "10.91.0.11 , 10.91.0.41", "10.91.0.11 , 10.91.0.41"),  # it was among them before
        ("10.91.0.11,10.91.0.12,10.91.0.41,10.91.0.42", "10.91.0.11", "10.91.0.11,10.91.0.12"),  # somebody added one
        ("10.91.0.11", "10.91.0.11", "10.91.0.11"),
        ("10.91.0.41", None, ""),
    ],
)
def test_host_goes_back_to_what_it_was(now: str, remembered: str | None, wanted: str) -> None:
    assert agents.previous(now, NEW, remembered) == wanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("guid=x\nhost=10.91.0.11,10.91.0.41@static\nport=8250\n", ["10.91.0.11", "10.91.0.41"]),
        ("host = 10.91.0.11\n", ["10.91.0.11"]),
        ("#host=10.91.0.11\nhost.lb.check.interval=5\n", []),
        ("", []),
    ],
)
def test_the_addresses_in_agent_properties(text: str, found: list[str]) -> None:
    assert agents.listed(text) == found


def test_hosts_of_the_cloud_are_found_in_the_stack_by_address_or_name() -> None:
    known = [Hypervisor(name="kvm1", address="10.91.0.21"), Hypervisor(name="kvm2", address="10.91.0.22")]
    items = [
        {"name": "a.example", "ipaddress": "10.91.0.22", "hypervisor": "KVM", "state": "Up"},
        {"name": "kvm1.example", "ipaddress": "10.99.0.1", "hypervisor": "KVM", "state": "Up"},
        {"name": "kvm9", "ipaddress": "10.91.0.29", "hypervisor": "LXC", "state": "Up"},
        {"name": "esx", "ipaddress": "10.91.0.30", "hypervisor": "VMware", "state": "Up"},
    ]
    found = {host.name: host.hypervisor.name if host.hypervisor else None for host in agents.agent_hosts(items, known)}
    assert found == {"a.example": "kvm2", "kvm1.example": "kvm1", "kvm9": None}


@pytest.mark.parametrize(
    ("item", "cause"),
    [
        ({"state": "Disconnected"}, "not connected"),
        ({"state": "Up", "resourcestate": "Disabled"}, "before 4.13.1"),
        ({"state": "Up", "resourcestate": "Enabled"}, "has not written the list down"),
    ],
)
def test_why_an_agent_did_not_learn(item: dict[str, Any], cause: str) -> None:
    why, remedy = agents.AgentHost(item, None).cause()
    assert cause in why
    assert remedy


@pytest.mark.parametrize(
    "step",
    [
        ManagementInstalled({"name": "newms1"}),
        ManagementInstalled({"name": "newms2"}),
        SystemVmTemplate(VALUES["templates"][0]),
        AgentAddresses(),
    ],
)
def test_plan_and_undo_are_pure_and_hold_no_secret(step: Step) -> None:
    lines = [*step.plan(site().configuration), *step.undo(site().configuration)]
    assert len(lines) > 1
    assert not [line for line in lines for secret in SECRETS.values() if secret in line]


def test_the_usage_server_is_installed_on_one_machine_only() -> None:
    first, second = (ManagementInstalled({"name": name}).plan(site().configuration) for name in ("newms1", "newms2"))
    assert any("cloudstack-usage 4.22.1.0" in line for line in first)
    assert not any("cloudstack-usage 4.22.1.0" in line for line in second)


def test_a_machine_that_is_not_in_the_stack_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        ManagementInstalled({"name": "newms9"}).plan(site().configuration)


@pytest.mark.parametrize(("method", "word"), [("file", "can be written"), ("none", "names"), ("setting", "updateConfiguration")])
def test_each_way_of_telling_agents_has_its_plan(method: str, word: str) -> None:
    configuration = site(agents={"method": method}).configuration
    assert any(word in line for line in AgentAddresses().plan(configuration))
    assert AgentAddresses().undo(configuration)[0].startswith("nothing") == (method != "setting")

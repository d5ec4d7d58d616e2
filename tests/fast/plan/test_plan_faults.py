"""The catalogue of known faults: each planted and not planted is told apart, by the API, by SQL's rows, and by files; silence is no answer."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from parallel_build.plan.faults import CATALOGUE, Fault, Sources, Span, Verdict, concerning, judge
from parallel_build.plan.faults.work import FOLDER
from parallel_build.rules import Unanswered
from parallel_build.versions import CloudStackVersion as Version

FAULTS = {fault.name: fault for fault in CATALOGUE}
ZONE = {"id": "z1", "name": "zone1", "allocationstate": "Enabled", "type": "Core", "networktype": "Advanced"}
KVM = {
    "id": "h1", "name": "kvm1", "hypervisor": "KVM", "hypervisorversion": "4.22", "state": "Up", "resourcestate": "Enabled", "zoneid": "z1",
    "details": {"Host.OS": "Ubuntu", "Host.OS.Version": "20.04"},
}  # fmt: skip
# A cloud that no fault of the catalogue hits, as the API lists it.
HEALTHY: dict[str, list[dict[str, Any]]] = {
    "listZones": [ZONE],
    "listHosts": [KVM],
    "listClusters": [
        {
            "name": "c1",
            "hypervisortype": "KVM",
            "arch": "x86_64",
            "cpuovercommitratio": "1.0",
            "memoryovercommitratio": "1.0",
            "zoneid": "z1",
        }
    ],
    "listStoragePools": [{"name": "p1", "type": "NetworkFilesystem", "provider": "DefaultPrimary", "ipaddress": "10.0.0.9", "state": "Up"}],
    "listImageStores": [{"name": "s1", "protocol": "nfs", "zoneid": "z1", "readonly": False}],
    "listNetworks": [{"name": "n1", "state": "Implemented", "service": [{"name": "UserData", "provider": [{"name": "VirtualRouter"}]}]}],
    "listRouters": [{"name": "r-1-VM", "state": "Running", "version": "4.20.2", "serviceofferingid": "o1"}],
    "listSystemVms": [{"name": "s-1-VM", "state": "Running", "serviceofferingid": "o1"}],
    "listServiceOfferings": [{"id": "o1", "name": "for routers", "memory": 512}],
    "listTemplates": [{"name": "t", "templatetype": "SYSTEM", "isready": True, "zoneid": "z1"}],
    "listConfigurations": [
        {"name": "minreq.sysvmtemplate.version", "value": "4.20.2"},
        {"name": "ca.plugin.root.auth.strictness", "value": "true"},
        {"name": "host", "value": "10.0.0.11"},
        {"name": "vm.allocation.algorithm", "value": "random"},
    ],
    "listManagementServers": [{"name": "ms1", "state": "Up", "serviceip": "10.0.0.11"}],
    "listVirtualMachines": [{"name": "vm1", "state": "Running", "haenable": False}],
    "listAsyncJobs": [{"cmd": "DeployVMCmd", "jobstatus": 1}],
    "listUsers": [{"username": "admin", "isdefault": True, "accounttype": 1, "state": "enabled"}],
    "listNetworkOfferings": [{"name": "DefaultIsolatedNetworkOfferingForVpcNetworks", "conservemode": True}],
    "listCapabilities": [{"cloudstackversion": "4.20.3.0", "dynamicrolesenabled": True}],
    "listOsTypes": [{"description": "Debian", "isuserdefined": "false"}],
}
EL7 = {**KVM, "details": {"Host.OS": "CentOS Linux", "Host.OS.Version": "7.9"}}
# What is changed so that the fault hits, and words of what is found.
PLANTED: dict[str, tuple[dict[str, list[dict[str, Any]]], str]] = {
    "own_guest_os": ({"listOsTypes": [{"description": "Mill OS", "isuserdefined": "true"}]}, "Mill OS"),
    "vnc_password_too_long": ({"listHosts": [{**KVM, "details": {"Host.OS": "Ubuntu", "Host.OS.Version": "22.04"}}]}, "kvm1: Ubuntu 22.04"),
    "hosts_without_java_17": ({"listHosts": [KVM, EL7]}, "kvm1: CentOS Linux 7.9"),
    "agents_on_el10": ({"listHosts": [{**KVM, "details": {"Host.OS": "Rocky Linux", "Host.OS.Version": "10.0"}}]}, "Rocky Linux 10"),
    "hypervisors_too_old": ({"listHosts": [{**KVM, "hypervisor": "XenServer", "hypervisorversion": "8.1.0"}]}, "XenServer 8.1.0"),
    "xenserver_7": ({"listHosts": [{**KVM, "hypervisor": "XenServer", "hypervisorversion": "7.6.0"}]}, "XenServer 7.6.0"),
    "kvm_agents_of_4_21_0": ({}, "kvm1"),
    "overcommit_panics": ({"listClusters": [{**HEALTHY["listClusters"][0], "cpuovercommitratio": "2.0"}]}, "cluster c1: cpuovercommitratio 2.0"),
    "preferences_for_moved_systems": ({"listHosts": [{**KVM, "oscategoryname": "Novel"}]}, "kvm1"),
    "no_image_in_the_package": ({"listClusters": [{**HEALTHY["listClusters"][0], "arch": "aarch64"}]}, "cluster c1: KVM aarch64"),
    "disabled_hosts_not_told": ({"listHosts": [{**KVM, "resourcestate": "Disabled"}]}, "kvm1"),
    "no_ha_for_dead_hosts": ({"listVirtualMachines": [{"name": "vm1", "state": "Running", "haenable": True}]}, "VM vm1"),
    "storpool_takes_pools": ({"listStoragePools": [{"name": "p2", "type": "SharedMountPoint"}]}, "primary storage p2"),
    "linstor_over_tls": ({"listStoragePools": [{"name": "p3", "provider": "Linstor", "ipaddress": "https://10.0.0.8"}]}, "primary storage p3"),
    "config_drive_networks": (
        {"listNetworks": [{"name": "n2", "state": "Implemented", "service": [{"name": "UserData", "provider": [{"name": "ConfigDrive"}]}]}]},
        "network n2",
    ),
    "tiers_without_conserve_mode": (
        {"listNetworkOfferings": [{"name": "DefaultIsolatedNetworkOfferingForVpcNetworks", "conservemode": False}]}, "DefaultIsolated"
    ),
    "offerings_too_small": ({"listServiceOfferings": [{"id": "o1", "name": "for routers", "memory": 256}]}, "for routers (256 MB)"),
    "zones_without_template": ({"listTemplates": [{"name": "t", "templatetype": "SYSTEM", "isready": False, "zoneid": "z1"}]}, "zone zone1"),
    "zones_without_nfs": ({"listImageStores": [{"name": "s1", "protocol": "s3"}]}, "zone zone1"),
    "live_patch_not_enough": ({"listRouters": [{"name": "r-1-VM", "state": "Running", "version": "4.19.1"}]}, "r-1-VM (4.19.1, not 4.20.2)"),
    "tiers_at_rest": ({"listNetworks": [{"name": "t1", "vpcid": "v1", "state": "Allocated"}]}, "tier t1 (Allocated)"),
    "placement_changes": (
        {"listConfigurations": [{"name": "vm.allocation.algorithm", "value": "userconcentratedpod_random"}]}, "userconcentratedpod_random"
    ),
    "work_in_progress": ({"listVirtualMachines": [{"name": "vm1", "state": "Migrating"}]}, "vm1 (Migrating)"),
    "balancer_hides_agents": (
        {"listConfigurations": [{"name": "host", "value": "10.0.0.99"}, {"name": "ca.plugin.root.auth.strictness", "value": "true"}]},
        "host = 10.0.0.99",
    ),
    "administrator_comes_back": (
        {"listUsers": [{"username": "admin", "isdefault": True, "accounttype": 1, "state": "disabled"}]}, "user admin is disabled"
    ),
    "static_roles": ({"listCapabilities": [{"dynamicrolesenabled": False}]}, "dynamic.apichecker.enabled = false"),
}  # fmt: skip
WITHOUT = {"kvm_agents_of_4_21_0": {"listHosts": [{**KVM, "hypervisor": "VMware"}]}}


class Cloud:
    """Lists as they are given; a setting by its name; what is not given is not answered."""

    def __init__(self, lists: Mapping[str, list[dict[str, Any]]]) -> None:
        self.lists, self.asked = lists, list[str]()

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        self.asked.append(command)
        if command not in self.lists:
            raise Unanswered(f"this version has no {command}")
        found = self.lists[command] if parameters.get("projectid") is None else []
        return [item for item in found if "name" not in parameters or item["name"] == parameters["name"]]


def test_the_catalogue_has_every_fault_with_what_is_needed() -> None:
    assert len(CATALOGUE) >= 30 and len(FAULTS) == len(CATALOGUE)
    for fault in CATALOGUE:
        assert fault.source and fault.symptom and fault.remedy and (fault.sql or fault.api or fault.files or fault.target_alone), fault.name
        assert not fault.sql or fault.sql.startswith("SELECT "), f"{fault.name} reads only"


def test_every_question_of_the_api_has_its_planted_fault() -> None:
    assert set(PLANTED) == {fault.name for fault in CATALOGUE if fault.api is not None}


@pytest.mark.parametrize("name", PLANTED)
def test_the_api_tells_planted_from_not_planted(name: str) -> None:
    changed, words = PLANTED[name]
    planted, healthy = Cloud({**HEALTHY, **changed}), Cloud({**HEALTHY, **WITHOUT.get(name, {})})
    hit, clear = judge(FAULTS[name], Sources(api=planted)), judge(FAULTS[name], Sources(api=healthy))
    assert (hit.verdict, hit.by) == (Verdict.HIT, "API") and words in ", ".join(hit.found)
    assert (clear.verdict, clear.found) == (Verdict.CLEAR, ())
    assert all(command.startswith("list") for command in planted.asked)


@pytest.mark.parametrize("name", PLANTED)
def test_a_cloud_that_answers_nothing_is_not_taken_for_a_healthy_one(name: str) -> None:
    found = judge(FAULTS[name], Sources(api=Cloud({})))
    assert found.verdict is Verdict.UNKNOWN and "this version has no" in found.why


@pytest.mark.parametrize("fault", [fault for fault in CATALOGUE if fault.sql], ids=lambda fault: fault.name)
def test_rows_are_hits_and_a_refusal_is_no_answer(fault: Fault) -> None:
    row = {"what": "it", "system": "XenServer", "version": "4.1", "required": "4.20.2"}
    if fault.keep is not None:
        systems = (
            {"system": "Ubuntu", "version": "22.04"},
            {"system": "CentOS", "version": "7"},
            {"system": "CentOS Stream", "version": "10"},
            row,
        )
        rows = [{**row, **each} for each in systems]
    else:
        rows = [row]
    assert judge(fault, Sources(sql=lambda statement: rows)).verdict is Verdict.HIT
    assert judge(fault, Sources(sql=lambda statement: [])).verdict is Verdict.CLEAR

    def refuse(statement: str) -> list[dict[str, Any]]:
        raise Unanswered("the schema of this version does not have it")

    found = judge(fault, Sources(sql=refuse))
    assert found.verdict is Verdict.UNKNOWN and "does not have it" in found.why


def test_what_the_database_refuses_the_api_may_still_answer() -> None:
    def refuse(statement: str) -> list[dict[str, Any]]:
        raise Unanswered("no")

    assert judge(FAULTS["own_guest_os"], Sources(sql=refuse, api=Cloud(HEALTHY))).by == "API"


def test_without_anybody_to_ask_nobody_can_tell() -> None:
    found = judge(FAULTS["half_key_pairs"], Sources(api=Cloud(HEALTHY)))
    assert found.verdict is Verdict.UNKNOWN and "parallel-build plan" in found.why


def test_the_new_servers_family_decides_where_it_matters() -> None:
    planted = Sources(sql=lambda statement: [{"what": "cloud@%"}], family="mysql")
    assert judge(FAULTS["old_password_plugin"], planted).verdict is Verdict.HIT
    assert judge(FAULTS["old_password_plugin"], Sources(sql=planted.sql, family="mariadb")).verdict is Verdict.CLEAR


def test_target_alone_is_enough_where_a_fault_says_so() -> None:
    fault = Fault("x", "y", Span(only=("4.21.0.0",)), "s", "r", target_alone=True)
    assert judge(fault, Sources()).verdict is Verdict.HIT
    assert concerning([fault], Version("4.20.1"), Version("4.21.0.0")) == [fault]
    assert concerning([fault], Version("4.20.1"), Version("4.22.0.0")) == []


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("long_backup_volumes", ("4.20.2.0", "4.22.0.0"), ("4.20.2.0", "4.22.1.0")),
        ("backups_without_vm", ("4.20.3.0", "4.22.1.0"), ("4.21.0.0", "4.22.1.0")),
        ("guest_os_305_to_329", ("4.14.0.0", "4.16.1.0"), ("4.14.0.0", "4.17.0.0")),
        ("half_key_pairs", ("4.22.1.0", "24.0.0"), ("4.20.3.0", "4.22.1.0")),
        ("no_ha_for_dead_hosts", ("4.20.3.0", "4.22.1.0"), ("4.20.3.0", "4.22.2.0")),
        ("passwords_of_ldap", ("4.18.1.0", "4.19.0.1"), ("4.18.1.0", "4.19.1.0")),
        ("vnc_password_too_long", ("4.16.1.0", "4.17.0.0"), ("4.16.1.0", "4.17.1.0")),
        ("names_of_schedule_keys", ("4.20.3.0", "4.23.0.0"), ("4.18.2.0", "4.23.0.0")),
        ("nics_without_a_time", ("4.9.0.0", "4.11.3.0"), ("", "")),
    ],
)
def test_a_fault_concerns_the_upgrades_that_it_is_known_of(name: str, yes: tuple[str, str], no: tuple[str, str]) -> None:
    assert FAULTS[name].span.covers(Version(yes[0]), Version(yes[1]))
    if no[0]:
        assert not FAULTS[name].span.covers(Version(no[0]), Version(no[1]))


FILES = {
    "log_file_of_log4j_1": ("log4j-cloud.xml", '<log4j:configuration xmlns:log4j="x">', '<Configuration monitorInterval="60">'),
    "event_bus_in_the_old_place": ("META-INF/cloudstack/core/spring-event-bus-context.xml", "<beans/>", None),
    "java_options_of_your_own": ("default", 'JAVA_OPTS="-Xmx8G"', 'JAVA_OPTS="-Xmx8G --add-opens=java.base/java.lang=ALL-UNNAMED"'),
    "sql_mode_of_old_servers": (
        "db.properties", "db.cloud.url.params=a=b&sessionVariables=sql_mode='NO_AUTO_CREATE_USER'", "db.cloud.url.params=serverTimezone=UTC"
    ),
    "no_time_zone_in_the_url": ("db.properties", "db.cloud.url.params=a=b", "db.cloud.url.params=a=b&serverTimezone=UTC"),
}  # fmt: skip


def test_every_question_of_files_has_its_planted_file() -> None:
    assert set(FILES) == {fault.name for fault in CATALOGUE if fault.files}


@pytest.mark.parametrize("name", FILES)
def test_files_tell_planted_from_not_planted(name: str, tmp_path: Path) -> None:
    file, planted, healthy = FILES[name]

    def run(script: str) -> dict[str, list[str]]:
        there = script.replace("/etc/default/cloudstack-management", str(tmp_path / "default")).replace(FOLDER, str(tmp_path))
        done = subprocess.run(["sh", "-eu"], input=there, capture_output=True, text=True, check=True)
        return {"oldms1": done.stdout.splitlines()}

    def verdict() -> Verdict:
        return judge(FAULTS[name], Sources(shell=run)).verdict

    assert verdict() is Verdict.CLEAR, "no such file"
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(planted + "\n")
    assert verdict() is Verdict.HIT
    if healthy is not None:
        path.write_text(healthy + "\n")
        assert verdict() is Verdict.CLEAR

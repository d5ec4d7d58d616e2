"""The workload on a cloud in memory: made side by side, resumed after a failure, removed exactly, refused where it must be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.errors import ConfigurationError, GuardFailed, StepFailed
from parallel_build.workload import kept
from parallel_build.workload.profile import BUILT_IN, Profile, like, load
from parallel_build.workload.run import Workload
from parallel_build.workload.things import DOMAIN, KINDS, TAG, counted, named, things

FULL = Profile(
    accounts=3, users=1, networks=3, vpcs=2, tiers=2, vms=12, disks=5, snapshots=4, affinity_groups=2, addresses=2, remote_access=1
)  # fmt: skip
LISTS = {kind.create: kind for kind in KINDS}


class Cloud:
    """A cloud's API over objects in memory.

    Args:
        without: commands that this cloud does not have.
    """

    url = "http://cloud/client/api"

    def __init__(self, *without: str) -> None:
        self.without, self.calls, self.fail_after = set(without), list[str](), -1
        self.lock, self.busy, self.peak = threading.Lock(), 0, 0
        self.objects: dict[str, list[dict[str, Any]]] = {
            "listZones": [{"id": "z", "name": "zone1", "allocationstate": "Enabled"}],
            "listDomains": [{"id": "root", "name": "ROOT", "level": 0}],
            "listServiceOfferings": [{"id": "so", "name": "Small", "memory": 512}],
            "listDiskOfferings": [{"id": "do", "name": "Custom", "iscustomized": True}],
            "listNetworkOfferings": [{"id": "no", "name": "Isolated"}, {"id": "to", "name": "Tier", "forvpc": True}],
            "listVPCOfferings": [{"id": "vo", "name": "VPC"}],
            "listTemplates": [
                {"id": "t0", "name": "sys", "isready": True, "templatetype": "SYSTEM"},
                {"id": "t1", "name": "Windows", "isready": True},
                {"id": "t2", "name": "Linux", "isready": True},
                {"id": "t3", "name": "Broken", "isready": False},
            ],
            "listCapacity": [
                {"type": 0, "capacityused": 0, "capacitytotal": 64 << 30},
                {"type": 4, "capacityused": 0, "capacitytotal": 50},
            ],
            "listResourceLimits": [{"resourcetype": "0", "max": -1}],
        }

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        self._known(command)
        found = self.objects.get(command, [])
        wanted = {key: value for key, value in parameters.items() if key in ("name", "type", "ipaddressid", "associatednetworkid")}
        return [dict(item) for item in found if all(item.get(key) in (None, value) for key, value in wanted.items())]

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        return self.job(command, timeout=1, cancel=CancelToken(), **parameters)

    def job(
        self, command: str, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None] | None = None, **given: Any
    ) -> dict[str, Any]:
        self._known(command)
        with self.lock:
            self.busy += 1
            self.peak = max(self.peak, self.busy)
        try:
            with self.lock:
                self.calls.append(command)
                if self.fail_after == 0:
                    raise StepFailed("the management server went away", "a test", "none")
                self.fail_after -= 1
                return self._do(command, given)
        finally:
            with self.lock:
                self.busy -= 1

    def _known(self, command: str) -> None:
        if command in self.without:
            raise ApiRefused(f"refused {command}", "does not exist", "", 432)

    def _add(self, where: str, **fields: Any) -> dict[str, Any]:
        found = self.objects.setdefault(where, [])
        item = {"id": f"{where}-{sum(map(len, self.objects.values()))}-{len(self.calls)}", **fields}
        found.append(item)
        return item

    def _do(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        if command == "createTags":
            self._add("listTags", resourceid=given["resourceids"], key=given["tags"][0]["key"])
        elif command in ("attachVolume", "detachVolume"):
            disk = next(item for item in self.objects["listVolumes"] if item["id"] == given["id"])
            disk["virtualmachineid"] = given.get("virtualmachineid")
        elif command == "associateIpAddress":
            return {"ipaddress": self._add("listPublicIpAddresses", associatednetworkid=given["networkid"])}
        elif command == "createFirewallRule":
            self._add("listFirewallRules", ipaddressid=given["ipaddressid"])
        elif command == "createRemoteAccessVpn":
            self._add("listRemoteAccessVpns", **given)
        elif command == "createDomain":
            return {"domain": self._add("listDomains", level=1, **given)}
        elif command in LISTS:
            return {"made": self._made(command, given)}
        else:
            self._delete(command, given["id"])
        return {"success": True}

    def _made(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        kind = LISTS[command]
        if command == "createSnapshot":
            disk = next(item for item in self.objects["listVolumes"] if item["id"] == given["volumeid"])
            given = {**given, "domainid": disk["domainid"], "account": disk["account"]}
        if command == "createLoadBalancerRule":
            network = next(item for item in self.objects["listPublicIpAddresses"] if item["id"] == given["publicipid"])[
                "associatednetworkid"
            ]
            owner = next(item for item in self.objects["listNetworks"] if item["id"] == network)
            given = {**given, "domainid": owner["domainid"], "account": owner["account"]}
        made = self._add(kind.list, **{**given, "type": "DATADISK"} if command == "createVolume" else given)
        if command == "deployVirtualMachine":
            self._add(
                "listVolumes",
                name=f"ROOT-{made['id']}",
                type="ROOT",
                virtualmachineid=made["id"],
                domainid=given["domainid"],
                account=given["account"],
            )
        if command == "createAccount":
            made["name"] = given["account"]
            self._add("listUsers", username=given["username"], account=given["account"], domainid=given["domainid"])
        return made

    def _delete(self, command: str, identity: str) -> None:
        where = "listDomains" if command == "deleteDomain" else next(kind.list for kind in KINDS if kind.delete == command)
        item = next((item for item in self.objects[where] if item["id"] == identity), None)
        if item is None:
            raise StepFailed(f"{command}: there is no {identity}", "", "")
        if command == "deleteDomain" and any(each["domainid"] == identity for each in self.objects.get("listAccounts", [])):
            raise StepFailed("domain is not empty", "", "")
        self.objects[where].remove(item)
        if command == "destroyVirtualMachine":
            self.objects["listVolumes"] = [disk for disk in self.objects["listVolumes"] if disk.get("virtualmachineid") != identity]
        if command == "deleteAccount":
            for found in self.objects.values():
                found[:] = [each for each in found if each.get("account") != item["name" if "name" in item else "account"]]

    def owned(self) -> dict[str, int]:
        """How many of each kind are there."""
        return {kind.name: sum(kind.within in item for item in self.objects.get(kind.list, [])) for kind in KINDS}


class AccountsByName(Cloud):
    """Accounts are listed under their names."""

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        found = super().list(command, **parameters)
        return [{**item, "name": item.get("account")} for item in found] if command == "listAccounts" else found


def workload(cloud: Cloud, printed: list[str] | None = None) -> Workload:
    return Workload(cloud, CancelToken(), (printed if printed is not None else []).append)


def passwords(profile: Profile) -> dict[str, str]:
    return {thing.name: "Aa1-x" for thing in things(profile)}


def made(profile: Profile = FULL, *without: str) -> AccountsByName:
    cloud = AccountsByName(*without)
    workload(cloud).create(profile, passwords(profile))
    return cloud


def test_every_thing_is_made_once_tagged_and_side_by_side() -> None:
    cloud = made()
    for kind, number in counted(FULL).items():
        extra = {"disk": FULL.vms, "user": FULL.accounts}.get(kind, 0)  # root disks, and each account's first user
        assert cloud.owned()[kind] == number + extra, kind
    assert all(disk.get("virtualmachineid") for disk in cloud.objects["listVolumes"]), "data disks are attached"
    assert len(cloud.objects["listRemoteAccessVpns"]) == 1 and len(cloud.objects["listFirewallRules"]) == 2
    taggable = sum(number for kind, number in counted(FULL).items() if kind not in ("account", "user", "affinity group"))
    assert len(cloud.objects["listTags"]) == taggable
    assert {item["key"] for item in cloud.objects["listTags"]} == {TAG}
    templates = {vm["templateid"] for vm in cloud.objects["listVirtualMachines"]}
    assert templates == {"t1", "t2"}, "ready ones in turn, never a system template"
    assert workload(cloud).status()["VM"] == (12, 12)


def test_a_second_run_makes_nothing() -> None:
    cloud = made()
    cloud.calls.clear()
    assert workload(cloud).create(FULL, passwords(FULL)) == {} and cloud.calls == []


@pytest.mark.parametrize("calls", [1, 4, 9, 17, 30, 44, 60, 66, 67, 68])
def test_a_run_that_failed_anywhere_is_resumed(calls: int) -> None:
    whole, cloud = made(), AccountsByName()
    cloud.fail_after = calls
    with pytest.raises(StepFailed, match="went away"):
        workload(cloud).create(FULL, passwords(FULL))
    cloud.fail_after = -1
    workload(cloud).create(FULL, passwords(FULL))
    assert cloud.owned() == whole.owned()
    assert len(cloud.objects["listTags"]) == len(whole.objects["listTags"])
    assert all(disk.get("virtualmachineid") for disk in cloud.objects["listVolumes"])
    workload(cloud).remove()
    assert sum(cloud.owned().values()) == 0


def test_remove_takes_exactly_what_was_made() -> None:
    cloud = made()
    before = AccountsByName().objects
    foreign = {"id": "mine", "name": "wl-vm-1", "domainid": "root", "account": "admin"}
    cloud.objects["listVirtualMachines"].append(foreign)
    assert workload(cloud).remove() == []
    assert cloud.objects["listVirtualMachines"] == [foreign], "a VM elsewhere stays, whatever its name"
    assert [domain["name"] for domain in cloud.objects["listDomains"]] == [domain["name"] for domain in before["listDomains"]]
    cloud.calls.clear()
    assert workload(cloud).remove() == [] and cloud.calls == [], "nothing is left to remove"


def test_what_somebody_else_made_in_its_domain_stays_with_its_account() -> None:
    cloud = made()
    domain = next(item["id"] for item in cloud.objects["listDomains"] if item["name"] == DOMAIN)
    stranger = {"id": "s", "name": "by-hand", "domainid": domain, "account": named("account", 1)}
    cloud.objects["listNetworks"].append(stranger)
    left = workload(cloud).remove()
    assert left == ["network by-hand", "account wl-account-1", f"domain {DOMAIN}"]
    assert cloud.objects["listNetworks"] == [stranger]
    assert [item["account"] for item in cloud.objects["listAccounts"]] == ["wl-account-1"]


def test_another_profile_is_refused() -> None:
    with pytest.raises(GuardFailed, match=r"a workload of another profile.*parallel-build workload STACK remove"):
        workload(made()).create(BUILT_IN["small"], {})


def test_a_domain_of_that_name_that_no_workload_made_is_refused() -> None:
    cloud = AccountsByName()
    cloud.objects["listDomains"].append({"id": "d", "name": DOMAIN, "level": 1})
    for act in (lambda: workload(cloud).create(FULL, passwords(FULL)), workload(cloud).remove, workload(cloud).status):
        with pytest.raises(GuardFailed, match="that no workload made"):
            act()
    assert cloud.calls == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"listCapacity": [{"type": 0, "capacityused": 10 << 30, "capacitytotal": 12 << 30}]},
            "needs 6.0 GB of memory, and 2.0 GB are free",
        ),
        ({"listCapacity": [{"type": 4, "capacityused": 48, "capacitytotal": 50}]}, "needs 7 of public addresses, and 2 are free"),
        ({"listResourceLimits": [{"resourcetype": "0", "max": 10}]}, "wants 12 of kind VM, and the limit of the domain ROOT is 10"),
        ({"listServiceOfferings": []}, "no offering for VMs"),
        ({"listNetworkOfferings": []}, "no network offering for isolated networks"),
        ({"listTemplates": []}, "no template that is ready"),
        ({"listZones": [{"id": "z", "name": "zone1", "allocationstate": "Disabled"}]}, "no enabled zone"),
    ],
)
def test_a_profile_that_the_cloud_can_not_hold_is_refused_before_anything_is_made(change: dict[str, Any], words: str) -> None:
    cloud = AccountsByName()
    cloud.objects |= change
    with pytest.raises(GuardFailed, match=words) as refused:
        workload(cloud).create(FULL, passwords(FULL))
    assert refused.value.cause and refused.value.remedy and cloud.calls == []


def test_what_the_api_does_not_have_is_left_out_with_all_that_stands_on_it() -> None:
    cloud = AccountsByName("listVPCs", "createVPC", "listVPCOfferings", "listAffinityGroups", "createAffinityGroup", "listCapacity")
    printed: list[str] = []
    left_out = workload(cloud, printed).create(FULL, passwords(FULL))
    assert left_out["VPC"] == "this cloud has no createVPC" and left_out["network"].startswith("4 of 7")
    assert "affinity group" in left_out and left_out["VM"].startswith("6 of 12")
    assert len(cloud.objects["listNetworks"]) == 3 and any(line.startswith("not checked: capacity") for line in printed)
    assert workload(cloud).remove() == []


def test_without_tags_nothing_is_made_that_could_not_be_removed() -> None:
    cloud = AccountsByName("listTags")
    with pytest.raises(ApiRefused):
        workload(cloud).create(FULL, passwords(FULL))
    assert cloud.calls == []


def test_named_templates_are_used_and_missing_ones_refused() -> None:
    cloud = made(Profile(vms=2, templates=["Windows", "Linux"]))
    assert [vm["templateid"] for vm in sorted(cloud.objects["listVirtualMachines"], key=lambda vm: str(vm["name"]))] == ["t1", "t2"]
    with pytest.raises(GuardFailed, match="templates are not ready in that zone: Broken"):
        made(Profile(templates=["Broken"]))


def test_profiles_are_built_in_read_from_a_file_or_in_proportion(tmp_path: Path) -> None:
    assert load("medium").vms == 80 and len({profile.digest for profile in BUILT_IN.values()}) == len(BUILT_IN)
    file = tmp_path / "p.yaml"
    file.write_text("vms: 7\naffinityGroups: 2\n")
    assert (load(str(file)).vms, load(str(file)).affinity_groups) == (7, 2)
    file.write_text("vms: many\nothers: 1\n")
    with pytest.raises(ConfigurationError, match="others: this key is not known"):
        load(str(file))
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(str(tmp_path / "gone.yaml"))
    found = like({"counts": {"virtual machines": 120, "networks": 41, "VPCs": 3}}, 0.1)
    assert (found.vms, found.networks, found.vpcs, found.disks) == (12, 5, 1, 4)


def test_passwords_are_kept_for_the_operator_alone(tmp_path: Path) -> None:
    first = kept.passwords(tmp_path / "run", FULL)
    path = tmp_path / "run" / kept.FILE
    assert path.stat().st_mode & 0o777 == 0o600 and kept.passwords(tmp_path / "run", FULL) == first
    assert len(set(first.values())) == len(first) == FULL.accounts * (1 + FULL.users)
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="can't be read"):
        kept.passwords(tmp_path / "run", FULL)
    assert json.loads(path.read_text()) == {}
    kept.forget(tmp_path / "run")
    kept.forget(tmp_path / "run")
    assert not path.exists()


def test_a_workload_from_before_is_still_the_same_profiles() -> None:
    digests = {"small": "d0517c63c744", "medium": "21ad731ab520", "large": "b5b5d83d891e"}
    assert {name: BUILT_IN[name].digest for name in digests} == digests, "keys that came later are left out where they are not used"
    assert Profile(subdomains=1).digest != Profile().digest and "subdomains" in Profile(subdomains=1).document()


def test_things_for_tests_to_delete_are_made_and_removed() -> None:
    profile = Profile(accounts=2, spare_accounts=2, subdomains=2, networks=1, shared_vlans=[1201, 1202], vms=3)
    cloud = AccountsByName()
    cloud.objects["listNetworkOfferings"] += [
        {"id": "groups", "name": "With groups", "specifyvlan": True, "service": [{"name": "SecurityGroup"}]},
        {"id": "sh", "name": "Shared", "specifyvlan": True},
    ]
    workload(cloud).create(profile, passwords(profile))
    domain = next(item["id"] for item in cloud.objects["listDomains"] if item["name"] == DOMAIN)
    below = [item["name"] for item in cloud.objects["listDomains"] if item.get("parentdomainid") == domain]
    assert sorted(below) == ["wl-subdomain-0", "wl-subdomain-1"]
    shared = {item["name"]: item for item in cloud.objects["listNetworks"] if item.get("vlan")}
    assert {name: (item["vlan"], item["gateway"], item["domainid"]) for name, item in shared.items()} == {
        "wl-network-1": (1201, "172.31.0.1", domain), "wl-network-2": (1202, "172.31.1.1", domain),
    }  # fmt: skip
    assert {vm["networkids"] for vm in cloud.objects["listVirtualMachines"]} == {item["id"] for item in cloud.objects["listNetworks"]}
    assert {vm["account"] for vm in cloud.objects["listVirtualMachines"]} <= {"wl-account-0", "wl-account-1"}, "spare accounts own nothing"
    assert workload(cloud).remove() == [] and not [item for item in cloud.objects["listDomains"] if item.get("parentdomainid")]

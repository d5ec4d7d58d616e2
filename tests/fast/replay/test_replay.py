"""The replay on a cloud in memory: cut off at every moment it is resumed to the same end, and nothing is there twice."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.cloudstack.created import Created
from parallel_build.errors import ConfigurationError, StepFailed
from parallel_build.records.created import Entry
from parallel_build.replay import report
from parallel_build.replay.run import NOT, REPLAYED, THERE, TO_REPLAY, Line, Replay
from parallel_build.secret import mask, remembered

ANN = {"account": "ann", "domain": "/after/"}
PERSON = {"firstname": "A", "lastname": "B", "email": "a@example.test", "source": "UNKNOWN"}
OBJECTS = [
    Created("domains", "d-1", "after", "", "/after/", details={"path": "/after/", "parent": "root"}),
    Created("accounts", "a-1", "ann", **ANN, details={"state": "disabled", "type": 0, "role": "r-user", "roleName": "User"}),
    Created("users", "u-1", "ann", **ANN, details=PERSON),
    Created("users", "u-2", "bob", **ANN, details=PERSON),
    Created("users", "u-3", "eve", **ANN, details={**PERSON, "source": "LDAP"}),
    Created("API keys", "u-2", "bob", **ANN, details={"apiKey": "old-key-of-bob", "user": "u-2"}),
    Created("API keys", "u-9", "zoe", "zoe", "/", details={"apiKey": "new-key-of-zoe", "user": "u-9"}),
    Created("SSH key pairs", "k-1", "desk", **ANN, details={"publicKey": "ssh-ed25519 A", "fingerprint": "aa:bb"}),
    Created("networks", "n-1", "lonely", **ANN, details={"zone": "z", "offering": "o", "gateway": "10.7.0.1", "cidr": "10.7.0.0/24",
                                                         "type": "Isolated", "vms": []}),
    Created("networks", "n-2", "busy", **ANN, details={"zone": "z", "offering": "o", "type": "Isolated", "vms": ["i-9-9-VM"]}),
    Created("public addresses", "p-1", "203.0.113.7", **ANN, details={"network": "n-1", "sourceNat": 0}),
    Created("firewall rules", "f-1", "tcp 80-80", **ANN, details={"protocol": "tcp", "start": 80, "end": 80, "address": "p-1", "traffic": "Ingress",
                                                                  "cidrs": ["10.0.0.0/8"]}),
    Created("network ACL lists", "l-1", "tight", **ANN, details={"vpc": "vpc-1", "vpcName": "old", "description": "Tight"}),
    Created("network ACL rules", "r-1", "Ingress 1 tcp 22-22", **ANN, details={"acl": "l-1", "number": 1, "action": "Allow", "traffic": "Ingress",
            "protocol": "tcp", "start": 22, "end": 22, "cidrs": ["10.0.0.0/8", "192.0.2.0/24"]}),
    Created("tags", "t-1", "stage", **ANN, details={"value": "test", "resource": "n-1", "type": "Network"}),
    Created("tags", "t-2", "short", **ANN, details={"value": "x", "resource": "v-1", "type": "UserVm"}),
    Created("virtual machines", "v-1", "fresh", **ANN, details={"native": "i-9-9-VM", "hypervisor": "VMware", "host": "esx1", "state": "Running"}),
    Created("volumes", "w-1", "extra", **ANN, details={"native": "8a2f", "hypervisor": "XenServer", "pool": "sr", "type": "DATADISK"}),
]  # fmt: skip
LISTS = {
    "createDomain": "listDomains", "createAccount": "listAccounts", "createUser": "listUsers", "registerSSHKeyPair": "listSSHKeyPairs",
    "createNetwork": "listNetworks", "associateIpAddress": "listPublicIpAddresses", "createFirewallRule": "listFirewallRules", "createTags": "listTags",
    "createNetworkACLList": "listNetworkACLLists", "createNetworkACL": "listNetworkACLs",
}  # fmt: skip
FILTERS = {"associatednetworkid": "networkid", "ipaddressid": "ipaddressid", "vpcid": "vpcid", "aclid": "aclid"}


class Cloud:
    """The original's API over objects in memory.

    Args:
        taken: addresses that somebody else has by now.
    """

    url = "http://cloud/client/api"

    def __init__(self, *taken: str) -> None:
        self.taken, self.calls, self.refuse = set(taken), list[tuple[str, dict[str, Any]]](), set[str]()
        self.dies = -1
        self.objects: dict[str, list[dict[str, Any]]] = {
            "listDomains": [{"id": "root", "name": "ROOT", "path": "ROOT"}],
            "listRoles": [{"id": "r-user"}],
            "listNetworkOfferings": [{"id": "o"}],
            "listUsers": [{"id": "u-9", "username": "zoe", "account": "zoe", "domainid": "root", "apikey": "first-key-of-zoe"}],
            "listVirtualMachines": [],
        }

    def list(self, command: str, **given: Any) -> list[dict[str, Any]]:
        wanted = {FILTERS[name]: value for name, value in given.items() if name in FILTERS}
        return [dict(item) for item in self.objects.get(command, []) if all(item.get(name) == value for name, value in wanted.items())]

    def call(self, command: str, **given: Any) -> dict[str, Any]:
        return self.job(command, timeout=1, cancel=CancelToken(), **given)

    def job(
        self, command: str, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None] | None = None, **given: Any
    ) -> dict[str, Any]:
        self._die()
        if command in self.refuse or given.get("ipaddress") in self.taken:
            raise ApiRefused(f"refused {command}", "it is not free", "", 431)
        self.calls.append((command, given))
        found = self._do(command, given)
        self._die()
        return {"made": found}

    def _die(self) -> None:
        """Go away, before a call is made or after it was."""
        if self.dies == 0:
            raise StepFailed("the management server went away", "a test", "none")
        self.dies -= 1

    def _do(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        if command.startswith("disable"):
            item = next(each for each in self.objects[f"list{command.removeprefix('disable')}s"] if each["id"] == given["id"])
            item["state"] = "disabled"
            return item
        if command == "registerUserKeys":
            item = next(each for each in self.objects["listUsers"] if each["id"] == given["id"])
            item["apikey"] = f"key-{len(self.calls)}"
            return {"apikey": item["apikey"], "secretkey": f"secret-{len(self.calls)}"}
        return self._add(command, given)

    def _add(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        found = self.objects.setdefault(LISTS[command], [])
        item = {**given, "id": f"{command}-{sum(map(len, self.objects.values()))}", "state": "enabled"}
        if command == "createDomain":
            item |= {"id": given["domainid"], "path": f"ROOT/{given['name']}"}
        if command in ("createAccount", "createUser"):
            user = {
                "id": given["userid"],
                "username": given["username"],
                "account": given["account"],
                "domainid": given["domainid"],
                "state": "enabled",
            }
            item = (
                {"id": given["accountid"], "name": given["account"], "domainid": given["domainid"], "user": [user]}
                if "accountid" in given
                else user
            )
            if "accountid" in given:
                self.objects["listUsers"].append(user)
        if command == "registerSSHKeyPair":
            item["fingerprint"] = "aa:bb"
        if command == "associateIpAddress":
            item["ipaddress"] = given.get("ipaddress") or f"203.0.113.{100 + len(found)}"
        if command == "createTags":
            item |= {"resourceid": given["resourceids"], **given["tags"][0]}
        found.append(item)
        return item

    def state(self) -> str:
        """Everything that is there, without what the cloud chooses."""
        left_out = ("id", "aclid", "password", "apikey", "networkid", "ipaddressid", "resourceid", "resourceids", "ipaddress", "tags")
        return json.dumps(
            {
                name: [{key: of for key, of in item.items() if key not in left_out} for item in items]
                for name, items in self.objects.items()
            },
            sort_keys=True,
        )


class Log:
    """In memory; it may go away as well."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.dies = -1

    def entry(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def note(self, key: str, stage: str, id: str = "", why: str = "", **note: Any) -> None:
        if self.dies == 0:
            raise StepFailed("the record's host went away", "a test", "none")
        self.dies -= 1
        self.entries[key] = Entry(stage, id, why, "tester", note)


def replay(cloud: Cloud, log: Log, folder: Path) -> list[Line]:
    return Replay(cloud, OBJECTS, log, CancelToken(), lambda _: None).run(report.SecretFile(folder, "then"))


def verdicts(lines: list[Line]) -> dict[str, str]:
    return {line.each.key: line.verdict for line in lines}


def test_a_plan_calls_nothing_and_says_what_the_replay_then_does(tmp_path: Path) -> None:
    cloud, log = Cloud(), Log()
    planned = Replay(cloud, OBJECTS, log, CancelToken(), lambda _: None).plan()
    assert cloud.calls == [] and log.entries == {} and not (tmp_path / report.FILE).exists()
    done = verdicts(replay(cloud, log, tmp_path))
    assert {key: verdict.replace(TO_REPLAY, REPLAYED) for key, verdict in verdicts(planned).items()} == done
    why = {line.each.key: line.why for line in planned}
    assert "logs in by LDAP" in why["users u-3"] and "i-9-9-VM" in why["networks n-2"] and "VM i-9-9-VM" in why["tags t-2"]


def test_everything_is_created_with_its_owner_and_state(tmp_path: Path) -> None:
    cloud = Cloud()
    lines = replay(cloud, Log(), tmp_path)
    commands = [command for command, _ in cloud.calls]
    assert commands == [
        "createDomain", "createAccount", "disableAccount", "disableUser", "createUser", "disableUser", "registerUserKeys", "registerSSHKeyPair",
        "createNetworkACLList", "createNetwork", "associateIpAddress", "createNetworkACL", "createFirewallRule", "createTags",
    ]  # fmt: skip
    given = dict(cloud.calls)
    assert given["createNetwork"]["account"] == "ann" and given["createNetwork"]["netmask"] == "255.255.255.0"
    assert given["createFirewallRule"]["ipaddressid"] == cloud.objects["listPublicIpAddresses"][0]["id"]
    assert given["createTags"]["resourceids"] == cloud.objects["listNetworks"][0]["id"]
    assert given["createNetworkACL"]["aclid"] == cloud.objects["listNetworkACLLists"][0]["id"]
    assert given["createNetworkACL"]["cidrlist"] == "10.0.0.0/8,192.0.2.0/24"
    shown = {line.each.key: (line.verdict, line.old, line.new) for line in lines}
    assert shown["API keys u-2"] == (REPLAYED, "old-key-of-bob", "key-7")
    assert shown["API keys u-9"] == (THERE, "new-key-of-zoe", "first-key-of-zoe"), "those of a user from before work again"


def test_objects_are_created_in_their_order_and_kinds_of_a_different_version_are_listed(tmp_path: Path) -> None:
    cloud, odd = Cloud(), Created("cloud islands", "i-1", "atoll", **ANN, details={})
    lines = Replay(cloud, [odd, *reversed(OBJECTS)], Log(), CancelToken(), lambda _: None).run(report.SecretFile(tmp_path, "then"))
    assert verdicts([line for line in lines if line.each is not odd]) == verdicts(replay(Cloud(), Log(), tmp_path / "in-order"))
    assert (lines[-1].each, lines[-1].verdict) == (odd, NOT) and "does not know the kind" in lines[-1].why
    assert "cloud islands: 1" in report.text(lines, {})


def test_a_second_run_changes_nothing_also_where_the_log_is_lost(tmp_path: Path) -> None:
    cloud, log = Cloud(), Log()
    replay(cloud, log, tmp_path)
    before, calls = cloud.state(), len(cloud.calls)
    assert REPLAYED in verdicts(replay(cloud, log, tmp_path)).values()
    assert THERE in verdicts(replay(cloud, Log(), tmp_path)).values()
    assert (cloud.state(), len(cloud.calls)) == (before, calls)


def test_a_user_who_was_enabled_since_stays_enabled(tmp_path: Path) -> None:
    cloud, log = Cloud(), Log()
    replay(cloud, log, tmp_path)
    for user in cloud.objects["listUsers"]:
        user["state"] = "enabled"
    replay(cloud, log, tmp_path)
    assert {user.get("state") for user in cloud.objects["listUsers"]} == {"enabled"}


@pytest.mark.parametrize("what", ["cloud", "log"])
def test_cut_off_at_every_moment_it_is_resumed_to_the_same_end(tmp_path: Path, what: str) -> None:
    whole = Cloud("203.0.113.7")
    replay(whole, Log(), tmp_path / "whole")
    for moment in itertools.count():
        cloud, log, folder = Cloud("203.0.113.7"), Log(), tmp_path / str(moment)
        (cloud if what == "cloud" else log).dies = moment
        try:
            replay(cloud, log, folder)
        except StepFailed:
            cloud.dies = log.dies = -1
            replay(cloud, log, folder)
            assert cloud.state() == whole.state(), f"cut off at {moment}"
            continue
        assert moment > 20, "every call and every line was cut once"
        return


def test_an_address_that_somebody_has_is_replaced_and_shown_old_next_to_new(tmp_path: Path) -> None:
    cloud = Cloud("203.0.113.7")
    line = next(line for line in replay(cloud, Log(), tmp_path) if line.each.kind == "public addresses")
    assert (line.verdict, line.old, line.new) == (REPLAYED, "203.0.113.7", "203.0.113.100")
    assert "new side: 203.0.113.7; original: 203.0.113.100" in report.text([line], {})


def test_a_rule_of_that_number_which_says_something_else_stays(tmp_path: Path) -> None:
    cloud, log = Cloud(), Log()
    replay(cloud, log, tmp_path)
    cloud.objects["listNetworkACLs"][0]["startport"] = 443
    line = next(line for line in replay(cloud, Log(), tmp_path) if line.each.kind == "network ACL rules")
    assert (line.verdict, line.why) == (NOT, "the ACL has a different rule of number 1 by now")


def test_what_the_cloud_refuses_is_listed_and_keeps_nothing_else(tmp_path: Path) -> None:
    cloud, log = Cloud(), Log()
    cloud.refuse = {"createNetwork"}
    lines = {line.each.key: line for line in replay(cloud, log, tmp_path)}
    assert lines["networks n-1"].why == "the cloud refused it: it is not free" and lines["SSH key pairs k-1"].verdict == REPLAYED
    assert "it stands on is not there" in lines["firewall rules f-1"].why and lines["tags t-1"].verdict == NOT
    cloud.refuse = set()
    assert verdicts(replay(cloud, log, tmp_path))["firewall rules f-1"] == REPLAYED, "the next run tries again"


def test_vms_and_disks_get_the_commands_that_remove_them_unless_the_name_is_taken(tmp_path: Path) -> None:
    cloud = Cloud()
    removals = {line.each.kind: line.remove for line in replay(cloud, Log(), tmp_path) if line.remove}
    assert removals == {
        "virtual machines": "govc vm.power -off -force i-9-9-VM; govc vm.destroy i-9-9-VM",
        "volumes": "xe vdi-destroy uuid=8a2f",
    }
    cloud.objects["listVirtualMachines"] = [{"id": "x", "name": "theirs", "account": "zoe", "instancename": "i-9-9-VM"}]
    line = next(line for line in replay(cloud, Log(), tmp_path) if line.each.kind == "virtual machines")
    assert line.remove.startswith("do NOT remove i-9-9-VM") and "theirs of zoe" in line.remove


def test_passwords_are_in_the_operators_file_alone_before_they_are_used(tmp_path: Path) -> None:
    cloud = Cloud()
    lines = replay(cloud, Log(), tmp_path)
    passwords = json.loads((tmp_path / report.FILE).read_text())["then"]["users"]
    used = {given["username"]: given["password"] for _, given in cloud.calls if "password" in given}
    assert {f"/after/{name}": text for name, text in used.items()} == passwords and len(used) == 2
    shown = report.text(lines, {}) + json.dumps(report.document(lines, {}))
    assert all(text not in shown and mask(text, remembered()) != text for text in passwords.values())
    assert (tmp_path / report.FILE).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / report.FILE).write_text("{")
    with pytest.raises(ConfigurationError, match=r"can't be read"):
        report.SecretFile(tmp_path, "then")
    assert (tmp_path / report.FILE).read_text() == "{"

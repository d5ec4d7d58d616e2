"""What users do on the new side, and the replay on the original, by real calls from inside a network namespace; keys from the environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.created import Created
from parallel_build.plan.cloud import access
from parallel_build.records.created import Entry
from parallel_build.replay import report
from parallel_build.replay.run import Replay

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@desk"
NAMED = {"firstname": "A", "lastname": "B", "email": "a@example.test", "password": "Aa1-secret-of-before"}


class FileLog:
    """How far each object has come, in a file next to the test."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {}
        self._entries = {key: Entry(**of) for key, of in found.items()}

    def entry(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def note(self, key: str, stage: str, id: str = "", why: str = "", **note: Any) -> None:
        self._entries[key] = Entry(stage, id, why, "tester", note)
        self._path.write_text(json.dumps({key: vars(entry) for key, entry in self._entries.items()}))


class Users:
    """What users do."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.cancel = cloud, CancelToken()

    def do(self, command: str, **parameters: Any) -> dict[str, Any]:
        reply = self.cloud.job(command, timeout=60, cancel=self.cancel, **parameters)
        inner: dict[str, Any] = next((value for value in reply.values() if isinstance(value, dict)), reply)
        return inner

    def people(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A domain with an account that is locked in the end, a second user with API keys; and keys for somebody from before."""
        domain = self.do("createDomain", name="after", networkdomain="after.example.test")
        account = self.do("createAccount", account="ann", username="ann", domainid=domain["id"], accounttype="0", **NAMED)
        bob = self.do("createUser", account="ann", domainid=domain["id"], username="bob", **NAMED)
        self.do("registerUserKeys", id=bob["id"])
        old = next(user for user in self.cloud.list("listUsers", listall="true") if user["username"].endswith(".web"))
        self.do("registerUserKeys", id=old["id"])
        return domain, account

    def things(self, owner: dict[str, str]) -> dict[str, Any]:
        """A key pair, groups with rules, an empty network, tags."""
        self.do("registerSSHKeyPair", name="desk", publickey=KEY, **owner)
        group = self.do("createSecurityGroup", name="web", description="Web servers", **owner)
        self.do(
            "authorizeSecurityGroupIngress", securitygroupid=group["id"], protocol="tcp", startport=80, endport=81, cidrlist="10.0.0.0/8"
        )
        self.do(
            "authorizeSecurityGroupEgress", securitygroupid=group["id"], protocol="icmp", icmptype=-1, icmpcode=-1, cidrlist="0.0.0.0/0"
        )
        allowed = [{"account": owner["account"], "group": "web"}]
        self.do(
            "authorizeSecurityGroupIngress",
            securitygroupid=group["id"],
            protocol="tcp",
            startport=22,
            endport=22,
            usersecuritygrouplist=allowed,
        )
        self.do("createAffinityGroup", name="apart", type="host anti-affinity", **owner)
        offering = next(
            item for item in self.cloud.list("listNetworkOfferings", state="Enabled", guestiptype="Isolated")
            if not item["specifyvlan"] and not item["forvpc"]
        )  # fmt: skip
        zone = self.cloud.list("listZones")[0]
        where = {"networkofferingid": offering["id"], "zoneid": zone["id"], "gateway": "10.77.0.1", "netmask": "255.255.255.128"}
        lonely = self.do("createNetwork", name="lonely", displaytext="Nobody yet", **where, **owner)
        self.tag("Network", lonely["id"], "stage", "test")
        self.tag("SecurityGroup", group["id"], "team", "web")
        return lonely

    def rules(self, lonely: dict[str, Any], owner: dict[str, str]) -> dict[str, Any]:
        """Addresses and rules of a network from before, and of the new one."""
        vm, old = self.machine()
        whose = {"account": vm["account"], "domainid": vm["domainid"]}
        address = self.do("associateIpAddress", networkid=old, **whose)
        at = {"ipaddressid": address["id"], "protocol": "tcp"}
        self.do("createFirewallRule", **at, startport=443, endport=444, cidrlist="10.1.0.0/16,10.2.0.0/16")
        self.do("createPortForwardingRule", **at, publicport=2222, publicendport=2222, privateport=22, privateendport=22, virtualmachineid=vm["id"],
                networkid=old, openfirewall="false")  # fmt: skip
        balancer = self.do(
            "createLoadBalancerRule", name="shop", algorithm="leastconn", publicport=80, privateport=8080, publicipid=address["id"]
        )
        self.do("assignToLoadBalancerRule", id=balancer["id"], virtualmachineids=vm["id"])
        self.do("createEgressFirewallRule", networkid=lonely["id"], protocol="udp", startport=53, endport=53, cidrlist="10.77.0.0/25")
        other = self.do("associateIpAddress", networkid=lonely["id"], **owner)
        self.do("createFirewallRule", ipaddressid=other["id"], protocol="icmp", icmptype=8, icmpcode=0, cidrlist="0.0.0.0/0")
        self.tag("UserVm", vm["id"], "looked-at", "yes")
        self.tag("PublicIpAddress", address["id"], "use", "shop")
        return {**vm, "networkid": old}

    def machine(self) -> tuple[dict[str, Any], str]:
        """A VM from before in an isolated network of its account."""
        for network in self.cloud.list("listNetworks", listall="true", type="Isolated"):
            if network.get("vpcid") or not network.get("account"):
                continue
            for vm in self.cloud.list("listVirtualMachines", listall="true", networkid=network["id"]):
                if vm["account"] == network["account"]:
                    return vm, network["id"]
        raise AssertionError("the generated cloud has no such VM")

    def hypervisor(self, vm: dict[str, Any]) -> None:
        """What is on hypervisors and storage: a VM, a disk, a snapshot; and a tag on it."""
        whose = {"account": vm["account"], "domainid": vm["domainid"]}
        made = self.do(
            "deployVirtualMachine", name="fresh", zoneid=vm["zoneid"], templateid=vm["templateid"], serviceofferingid=vm["serviceofferingid"],
            networkids=vm["networkid"], **whose,
        )  # fmt: skip
        offering = next(item for item in self.cloud.list("listDiskOfferings") if not item.get("iscustomized"))
        self.do("createVolume", name="extra", zoneid=vm["zoneid"], diskofferingid=offering["id"], **whose)
        root = self.cloud.list("listVolumes", listall="true", virtualmachineid=made["id"], type="ROOT")[0]
        self.do("createSnapshot", volumeid=root["id"], name="before")
        self.tag("UserVm", made["id"], "short", "lived")

    def tag(self, kind: str, identity: str, key: str, value: str) -> None:
        self.do("createTags", resourceids=identity, resourcetype=kind, tags=[{"key": key, "value": value}])


def create(cloud: Cloud) -> None:
    """Everything that users do on the new side."""
    users = Users(cloud)
    users.do("updateConfiguration", name="router.version.check", value="false")  # routers are renewed later, in their waves
    domain, account = users.people()
    owner = {"account": "ann", "domainid": domain["id"]}
    vm = users.rules(users.things(owner), owner)
    users.hypervisor(vm)
    users.do("disableAccount", id=account["id"], lock="true")


def main(url: str, action: str, folder: str) -> None:
    """Do it once; what a replay says comes as JSON."""
    cloud, place = access.open_cloud(url), Path(folder)
    if action == "create":
        create(cloud)
        return
    objects = [Created.of(each) for each in json.loads((place / "objects.json").read_text())]
    printed: list[str] = []
    replay = Replay(cloud, objects, FileLog(place / "log.json"), CancelToken(), printed.append)
    lines = replay.run(report.SecretFile(place, "then")) if action == "replay" else replay.plan()
    print(json.dumps({"printed": printed, "text": report.text(lines, {}), **report.document(lines, {})}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])

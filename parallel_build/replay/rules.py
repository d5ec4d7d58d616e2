"""Rules on objects that are there: of security groups, addresses, networks and ACLs; and tags."""

from __future__ import annotations

from typing import Any

from parallel_build.cloudstack.created import Created
from parallel_build.cloudstack.created_kinds import ACL_RULES, BALANCING, FIREWALL, FORWARDING, GROUP_RULES, TAGS
from parallel_build.replay.original import NotReplayed, Original, given
from parallel_build.replay.recipe import Call, Recipe
from parallel_build.workload.choices import Item

ICMP = "icmp"
PORTED = ("tcp", "udp", "sctp")  # all other protocols have no ports
EGRESS = "egress"


def _ports(each: Created, first: str = "startport", last: str = "endport") -> dict[str, str]:
    """What a rule lets through. Security groups keep an ICMP type and code where others keep ports."""
    protocol = each.text("protocol").lower()
    if protocol == ICMP:
        kind, code = (
            (each.text("icmpType"), each.text("icmpCode")) if "icmpType" in each.details else (each.text("start"), each.text("end"))
        )
        return given(protocol=protocol, icmptype=kind, icmpcode=code)
    return given(protocol=protocol, **({first: each.text("start"), last: each.text("end")} if protocol in PORTED else {}))


def _says(item: Item, wanted: dict[str, Any], names: dict[str, str] | None = None) -> bool:
    """Whether a rule that is listed lets the same through."""
    listed = {name: str(item.get((names or {}).get(name, name), "")).lower() for name in wanted}
    return listed == {name: str(value).lower() for name, value in wanted.items()}


def _cidrs(text: object) -> set[str]:
    return {part.strip() for part in str(text or "").split(",") if part.strip()}


def _list(each: Created, name: str) -> list[str]:
    return [str(value) for value in each.details.get(name) or []]


def find_group_rule(original: Original, each: Created) -> Item | None:
    """By what it lets in or out."""
    group = original.ref(each.text("group"))
    member = "egressrule" if each.text("type") == EGRESS else "ingressrule"
    for found in original.items("listSecurityGroups", id=group, **original.scope(each)):
        for item in found.get(member) or []:
            same = (str(item.get("cidr") or "") == each.text("cidr") and str(item.get("securitygroupname") or "") == each.text("allowedGroup")
                    and str(item.get("account") or each.text("allowedAccount")) == each.text("allowedAccount"))  # fmt: skip
            if same and _says(item, _ports(each)):
                return {**item, "id": item["ruleid"]}
    return None


def make_group_rule(original: Original, each: Created) -> Call:
    """For addresses, or for a group."""
    command = "authorizeSecurityGroupEgress" if each.text("type") == EGRESS else "authorizeSecurityGroupIngress"
    who: dict[str, Any] = {"cidrlist": each.text("cidr")}
    if each.text("allowedGroup"):
        who = {"usersecuritygrouplist": [{"account": each.text("allowedAccount"), "group": each.text("allowedGroup")}]}
    return Call(command, {"securitygroupid": original.ref(each.text("group")), **_ports(each), **who})


def _out(each: Created) -> bool:
    return each.text("traffic").lower() == EGRESS


def find_firewall(original: Original, each: Created) -> Item | None:
    """By what it lets in or out, from where."""
    if _out(each):
        items = original.items("listEgressFirewallRules", networkid=original.ref(each.text("network")), **original.scope(each))
    else:
        items = original.items("listFirewallRules", ipaddressid=original.ref(each.text("address")), **original.scope(each))
    for item in items:
        if _says(item, _ports(each)) and _cidrs(item.get("cidrlist")) == set(_list(each, "cidrs")):
            return item
    return None


def make_firewall(original: Original, each: Created) -> Call:
    """On its address, or for what leaves its network."""
    terms = {**_ports(each), **given(cidrlist=",".join(_list(each, "cidrs")))}
    if _out(each):
        to = given(destcidrlist=",".join(_list(each, "toCidrs")))
        return Call("createEgressFirewallRule", {"networkid": original.ref(each.text("network")), **terms, **to})
    return Call("createFirewallRule", {"ipaddressid": original.ref(each.text("address")), **terms})


def find_forwarding(original: Original, each: Created) -> Item | None:
    """By its public ports."""
    public = _ports(each, "publicport", "publicendport")
    items = original.items("listPortForwardingRules", ipaddressid=original.ref(each.text("address")), **original.scope(each))
    return next((item for item in items if _says(item, public)), None)


def make_forwarding(original: Original, each: Created) -> Call:
    """To a VM that is there; the firewall's rule is an object of its own."""
    to = given(privateport=each.text("toStart"), privateendport=each.text("toEnd"), vmguestip=each.text("toAddress"))
    to["virtualmachineid"] = original.ref(each.text("vm"))
    where = {"ipaddressid": original.ref(each.text("address")), "networkid": original.ref(each.text("network"))}
    return Call("createPortForwardingRule", {**where, **_ports(each, "publicport", "publicendport"), **to, "openfirewall": "false"})


def find_balancer(original: Original, each: Created) -> Item | None:
    """By its name at its address."""
    items = original.items("listLoadBalancerRules", publicipid=original.ref(each.text("address")), **original.scope(each))
    return next((item for item in items if item.get("name") == each.name), None)


def make_balancer(original: Original, each: Created) -> Call:
    """Without its VMs, which `finish` gives it."""
    if each.text("scheme") not in ("", "Public"):
        raise NotReplayed("it balances within a network, by VMs of its own")
    where = {"publicipid": original.ref(each.text("address")), "networkid": original.ref(each.text("network"))}
    terms = given(
        name=each.name, description=each.text("description"), algorithm=each.text("algorithm"), publicport=each.text("start"),
        privateport=each.text("toStart"), protocol=each.text("lbProtocol"), cidrlist=each.text("cidrList"),
    )  # fmt: skip
    return Call("createLoadBalancerRule", {**where, **terms, "openfirewall": "false"})


def finish_balancer(original: Original, each: Created, identity: str) -> list[Call]:
    """The VMs that are there; those of the new side are not."""
    vms = []
    for uuid in _list(each, "vms"):
        try:
            vms.append(original.ref(uuid))
        except NotReplayed:
            continue
    return [Call("assignToLoadBalancerRule", {"id": identity, "virtualmachineids": ",".join(vms)})] if vms else []


def find_acl_rule(original: Original, each: Created) -> Item | None:
    """By its number: an ACL has each once."""
    items = original.items("listNetworkACLs", aclid=original.ref(each.text("acl")), **original.scope(each))
    found = next((item for item in items if str(item.get("number")) == each.text("number")), None)
    if found is not None and not _says(found, {**_ports(each), "action": each.text("action"), "traffictype": each.text("traffic")}):
        raise NotReplayed(f"the ACL has a different rule of number {each.text('number')} by now")
    return found


def make_acl_rule(original: Original, each: Created) -> Call:
    """In a list that is there."""
    terms = given(
        number=each.text("number"), action=each.text("action"), traffictype=each.text("traffic"), cidrlist=",".join(_list(each, "cidrs"))
    )
    return Call("createNetworkACL", {"aclid": original.ref(each.text("acl")), **_ports(each), **terms})


def find_tag(original: Original, each: Created) -> Item | None:
    """By its key on its object."""
    resource = original.ref(each.text("resource"))
    for item in original.items("listTags", resourcetype=each.text("type"), key=each.name, **original.scope(each)):
        if item.get("resourceid") == resource and item.get("key") == each.name:
            if str(item.get("value")) != each.text("value"):
                raise NotReplayed(f"its object has that tag with the value {item.get('value')} by now")
            return {"id": resource}
    return None


def make_tag(original: Original, each: Created) -> Call:
    """On an object that is there."""
    tag = {"key": each.name, "value": each.text("value")}
    return Call("createTags", given(resourceids=original.ref(each.text("resource")), resourcetype=each.text("type"), tags=[tag],
                                    customer=each.text("customer")))  # fmt: skip


RECIPES = {
    GROUP_RULES: Recipe(find_group_rule, make_group_rule),
    ACL_RULES: Recipe(find_acl_rule, make_acl_rule),
    FIREWALL: Recipe(find_firewall, make_firewall),
    FORWARDING: Recipe(find_forwarding, make_forwarding),
    BALANCING: Recipe(find_balancer, make_balancer, finish_balancer),
    TAGS: Recipe(find_tag, make_tag),
}

"""SSH key pairs, groups, networks and addresses."""

from __future__ import annotations

import ipaddress

from parallel_build.cloudstack.created import Created
from parallel_build.cloudstack.created_kinds import ACL_LISTS, ADDRESSES, AFFINITY, GROUPS, KEY_PAIRS, NETWORKS
from parallel_build.replay.original import NotReplayed, Original, given
from parallel_build.replay.recipe import Call, Recipe
from parallel_build.workload.choices import Item

GIVEN_BY_HAND = "Shared"


def _named(original: Original, each: Created, command: str) -> Item | None:
    return next((item for item in original.owned(each, command) if item.get("name") == each.name), None)


def find_key_pair(original: Original, each: Created) -> Item | None:
    """By name and owner; a different key of that name stays."""
    found = _named(original, each, "listSSHKeyPairs")
    if found is not None and found.get("fingerprint") != each.text("fingerprint"):
        raise NotReplayed("a different key of that name is there by now")
    return found


def make_key_pair(original: Original, each: Created) -> Call:
    """The public half is all that CloudStack keeps."""
    return Call("registerSSHKeyPair", {"name": each.name, "publickey": each.text("publicKey"), **original.owner(each)})


def find_group(original: Original, each: Created) -> Item | None:
    """By name and owner."""
    return _named(original, each, "listSecurityGroups")


def make_group(original: Original, each: Created) -> Call:
    """Its rules are objects of their own."""
    return Call("createSecurityGroup", given(name=each.name, description=each.text("description"), **original.owner(each)))


def find_affinity(original: Original, each: Created) -> Item | None:
    """By name and owner."""
    return _named(original, each, "listAffinityGroups")


def make_affinity(original: Original, each: Created) -> Call:
    """Without VMs."""
    owner = original.owner(each)
    return Call("createAffinityGroup", given(name=each.name, type=each.text("type"), description=each.text("description"), **owner))


def find_acl_list(original: Original, each: Created) -> Item | None:
    """By name within its VPC."""
    lists = original.items("listNetworkACLLists", vpcid=original.ref(each.text("vpc")), **original.scope(each))
    return next((item for item in lists if item.get("name") == each.name), None)


def make_acl_list(original: Original, each: Created) -> Call:
    """In a VPC that is there."""
    vpc = original.ref(each.text("vpc"))
    return Call("createNetworkACLList", given(name=each.name, description=each.text("description"), vpcid=vpc))


def find_network(original: Original, each: Created) -> Item | None:
    """By name and owner, in its zone or VPC."""
    for item in original.owned(each, "listNetworks"):
        if item.get("name") == each.name and item.get("zoneid") == each.text("zone") and str(item.get("vpcid") or "") == each.text("vpc"):
            return item
    return None


def make_network(original: Original, each: Created) -> Call:
    """An empty one, of an offering that the original has."""
    if vms := each.details.get("vms"):
        raise NotReplayed(f"VMs were in it ({', '.join(vms[:5])}): create it again together with them")
    if each.text("type") == GIVEN_BY_HAND or each.details.get("specifyVlan"):
        raise NotReplayed("its VLAN and addresses are an administrator's choice: create it by hand")
    vpc = original.ref(each.text("vpc")) if each.text("vpc") else ""
    if all(item["id"] != each.text("offering") for item in original.items("listNetworkOfferings", id=each.text("offering"))):
        raise NotReplayed(f"its offering {each.text('offeringName')} is not on the original")
    where = given(zoneid=each.text("zone"), networkofferingid=each.text("offering"), vpcid=vpc)
    where |= given(aclid=original.ref(each.text("acl"))) if vpc and each.text("acl") else {}
    if each.text("gateway") and each.text("cidr"):
        where |= {"gateway": each.text("gateway"), "netmask": str(ipaddress.ip_network(each.text("cidr"), strict=False).netmask)}
    shown = given(name=each.name, displaytext=each.text("displayText") or each.name, networkdomain=each.text("networkDomain"))
    return Call("createNetwork", {**shown, **where, **original.owner(each)})


def _place(original: Original, each: Created) -> dict[str, str]:
    place = {"networkid": each.text("network")} if each.text("network") else {"vpcid": each.text("vpc")}
    if not any(place.values()):
        raise NotReplayed("it belonged to no network")
    return {name: original.ref(uuid) for name, uuid in place.items()}


def find_address(original: Original, each: Created) -> Item | None:
    """The same address, at the same network or VPC."""
    if each.details.get("sourceNat"):
        raise NotReplayed("CloudStack gives a network its source NAT address with its router")
    place = _place(original, each)
    asked = {"associatednetworkid" if name == "networkid" else name: identity for name, identity in place.items()}
    return next(
        (item for item in original.items("listPublicIpAddresses", **asked, **original.scope(each)) if item.get("ipaddress") == each.name),
        None,
    )


def make_address(original: Original, each: Created) -> Call:
    """The same one, if nobody has it by now."""
    return Call("associateIpAddress", {**_place(original, each), **original.owner(each), "ipaddress": each.name})


def make_other_address(original: Original, each: Created) -> Call:
    """Whichever is free."""
    return Call("associateIpAddress", {**_place(original, each), **original.owner(each)})


RECIPES = {
    KEY_PAIRS: Recipe(find_key_pair, make_key_pair),
    GROUPS: Recipe(find_group, make_group),
    AFFINITY: Recipe(find_affinity, make_affinity),
    ACL_LISTS: Recipe(find_acl_list, make_acl_list),
    NETWORKS: Recipe(find_network, make_network),
    ADDRESSES: Recipe(find_address, make_address, either=make_other_address),
}

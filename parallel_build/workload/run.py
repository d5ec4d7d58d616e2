"""Making, showing and removing a workload. Everything is in one domain of its own; what can be tagged is tagged, and only what is tagged is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.errors import GuardFailed
from parallel_build.remote.parallel import Workers
from parallel_build.workload.choices import UNKNOWN_COMMAND, Calls, Choices, Item, choose
from parallel_build.workload.profile import Profile
from parallel_build.workload.requests import Passwords, Request, request
from parallel_build.workload.things import ACCOUNTS, BALANCERS, DISKS, DOMAIN, DOMAINS, KINDS, SNAPSHOTS, TAG, Kind, Thing, named, things

AT_ONCE = 4
LIMIT = 1800.0  # seconds one job may take
MARK = ".workload.invalid"  # the domain's network domain: its profile's digest, then this
RuleFinding = Callable[[str], None]


class Workload:
    """The workload of one cloud.

    Args:
        cloud: its API, with a root administrator's keys.
        say: gets a line for each thing that is made or removed.
    """

    def __init__(self, cloud: Calls, cancel: CancelToken, say: RuleFinding) -> None:
        self._cloud, self._cancel, self._say = cloud, cancel, say

    def domain(self) -> Item | None:
        """The workload's domain, None where there is none.

        Raises:
            GuardFailed: there is one of that name that no workload made.
        """
        found = [item for item in self._cloud.list("listDomains", listall="true", name=DOMAIN) if item["name"] == DOMAIN]
        if found and not str(found[0].get("networkdomain", "")).endswith(MARK):
            raise GuardFailed(
                f"{self._cloud.url} has a domain {DOMAIN} that no workload made",
                "its network domain is not a workload's",
                "rename that domain",
            )
        return found[0] if found else None

    def create(self, profile: Profile, passwords: Passwords, zone: str = "") -> dict[str, str]:
        """Make what is missing; what is there stays as it is.

        Returns:
            kinds that this cloud's API does not have, and so were left out: why.
        Raises:
            GuardFailed: there is a workload of another profile, or no room for this one.
        """
        there = self.domain()
        if there is not None and digest(there) != profile.digest:
            raise GuardFailed(
                f"{self._cloud.url} has a workload of another profile ({digest(there)}, not {profile.digest})",
                "two profiles at once would be one that nobody described",
                "remove it first: parallel-build workload STACK remove",
            )
        self._cloud.list("listTags", key=TAG, listall="true")  # what could not be tagged could not be removed again
        chosen = choose(self._cloud, profile, zone) if there is None or self.missing(profile, there) else None
        if chosen is None:
            return {}
        for unchecked in chosen.unchecked:
            self._say(f"not checked: {unchecked}")
        domain = there or self._make_domain(profile)
        left_out: dict[str, str] = {}
        for kind in KINDS:
            self._make(kind, [thing for thing in things(profile) if thing.kind is kind], profile, domain, chosen, passwords, left_out)
        return left_out

    def missing(self, profile: Profile, domain: Item) -> list[Thing]:
        """What of a profile is not there, or is there and not finished: not tagged, or a disk that is not attached."""
        found = {kind.name: self.items(kind, domain) for kind in KINDS if any(thing.kind is kind for thing in things(profile))}
        tagged = self.tagged()
        return [thing for thing in things(profile) if not _whole(thing.kind, found[thing.kind.name].get(thing.name), tagged)]

    def items(self, kind: Kind, domain: Item) -> dict[str, Item]:
        """Everything of a kind in the workload's domain by name, whoever made it; nothing of a kind that this API does not have."""
        try:
            where = {kind.within: domain["id"]} if kind.within == "domainid" else {}
            found = self._cloud.list(kind.list, listall="true", **where, **kind.listing)
        except ApiRefused as error:
            if error.code == UNKNOWN_COMMAND:
                return {}
            raise
        return {str(item.get(kind.named)): item for item in found if item.get(kind.within) == domain["id"]}

    def tagged(self) -> set[str]:
        """Ids of everything that carries the workload's tag."""
        return {str(item["resourceid"]) for item in self._cloud.list("listTags", key=TAG, listall="true") if item.get("key") == TAG}

    def status(self) -> dict[str, tuple[int, int]]:
        """Of each kind: how many are in the workload's domain, and how many of them are the workload's; nothing where there is none."""
        domain = self.domain()
        if domain is None:
            return {}
        tagged = self.tagged()
        shown = {}
        for kind in KINDS:
            found = self.items(kind, domain)
            shown[kind.name] = len(found), sum(_ours(kind, name, item, tagged) for name, item in found.items())
        return shown

    def remove(self) -> list[str]:
        """Remove exactly what the workload made, the last first.

        Returns:
            what else is in its domain and stays, with the accounts and the domain that hold it.
        """
        domain = self.domain()
        if domain is None:
            return []
        tagged, left = self.tagged(), list[str]()
        holding: set[str] = set()
        for kind in reversed(KINDS):
            found = self.items(kind, domain)
            ours = {name: item for name, item in found.items() if _ours(kind, name, item, tagged)}
            if kind is ACCOUNTS:
                ours = {name: item for name, item in ours.items() if name not in holding}
            strangers = [name for name in found if name not in ours and not _first_user(kind, name)]
            left += [f"{kind.name} {name}" for name in strangers]
            holding |= {str(found[name].get("account")) for name in strangers if kind is not ACCOUNTS}
            with Workers(AT_ONCE, self._cancel) as pool:
                for future in [pool.submit(self._delete, kind, name, item) for name, item in ours.items()]:
                    future.result()
        if left:
            return [*left, f"domain {DOMAIN}"]
        self._delete(DOMAINS, DOMAIN, domain)
        return []

    def _make_domain(self, profile: Profile) -> Item:
        self._say(f"domain {DOMAIN}")
        made = self._cloud.call("createDomain", name=DOMAIN, networkdomain=f"{profile.digest}{MARK}")
        found: Item = made["domain"]
        return found

    def _make(
        self,
        kind: Kind,
        wanted: list[Thing],
        profile: Profile,
        domain: Item,
        chosen: Choices,
        passwords: Passwords,
        left_out: dict[str, str],
    ) -> None:
        if not wanted:
            return
        there, tagged = self.items(kind, domain), self.tagged()
        others = {
            each.name: self.items(each, domain) for each in KINDS if any(each.name == need for thing in wanted for need, _ in thing.needs)
        }
        made_of = [thing for thing in wanted if all(named(need, number) in others[need] for need, number in thing.needs)]
        if len(made_of) < len(wanted):
            left_out[kind.name] = f"{len(wanted) - len(made_of)} of {len(wanted)}: what they stand on was left out"
        if kind is SNAPSHOTS:
            others["root disk"] = self._root_disks(domain, others["VM"])

        def one(thing: Thing) -> None:
            item = there.get(thing.name)
            if item is None:
                own = {"address": {thing.name: self._address(thing, domain, others)}} if kind is BALANCERS else {}
                item = self._create(request(thing, profile, domain, chosen, passwords, {**others, **own}), thing)
            if kind.tagged and str(item["id"]) not in tagged:
                self._tag(kind, item)
            self._finish(thing, item, profile, others)

        try:
            with Workers(AT_ONCE, self._cancel) as pool:
                for future in [pool.submit(one, thing) for thing in made_of]:
                    future.result()
        except ApiRefused as error:
            if error.code != UNKNOWN_COMMAND:
                raise
            left_out[kind.name] = f"this cloud has no {kind.create}"

    def _create(self, made: Request, thing: Thing) -> Item:
        self._cancel.check()
        reply = self._cloud.job(made.command, timeout=LIMIT, cancel=self._cancel, **made.parameters)
        self._say(f"{thing.kind.name} {thing.name}")
        inner = next((value for value in reply.values() if isinstance(value, dict) and "id" in value), reply)
        return {**inner, "id": str(inner.get("id") or reply["id"])}

    def _root_disks(self, domain: Item, vms: Mapping[str, Item]) -> dict[str, Item]:
        """Root disks by their VM's number."""
        numbers = {item["id"]: name.rpartition("-")[2] for name, item in vms.items() if name.startswith(named("VM", ""))}
        disks = self._cloud.list("listVolumes", listall="true", domainid=domain["id"], type="ROOT")
        return {numbers[disk["virtualmachineid"]]: disk for disk in disks if disk.get("virtualmachineid") in numbers}

    def _address(self, thing: Thing, domain: Item, others: Mapping[str, Mapping[str, Item]]) -> Item:
        """A public address of a thing's network, with a firewall rule; one that an interrupted run has taken is used again."""
        network = others["network"][named("network", thing.needs[0][1])]
        held = {"associatednetworkid": network["id"], "listall": "true"}
        taken = [item for item in self._cloud.list("listPublicIpAddresses", **held) if not item.get("issourcenat")]
        if not taken:
            reply = self._cloud.job(
                "associateIpAddress", timeout=LIMIT, cancel=self._cancel, networkid=network["id"], account=named("account", thing.account),
                domainid=domain["id"],
            )  # fmt: skip
            taken = [reply["ipaddress"]]
        if not self._cloud.list("listFirewallRules", ipaddressid=taken[0]["id"], listall="true"):
            self._cloud.job(
                "createFirewallRule",
                timeout=LIMIT,
                cancel=self._cancel,
                ipaddressid=taken[0]["id"],
                protocol="tcp",
                startport="80",
                endport="80",
            )
        return taken[0]

    def _tag(self, kind: Kind, item: Mapping[str, Any]) -> None:
        self._cloud.job(
            "createTags", timeout=LIMIT, cancel=self._cancel, resourceids=str(item["id"]), resourcetype=kind.tagged,
            tags=[{"key": TAG, "value": "1"}],
        )  # fmt: skip

    def _finish(self, thing: Thing, item: Item, profile: Profile, others: Mapping[str, Mapping[str, Item]]) -> None:
        """What is done with a thing once it is there: a disk is attached, and an address's VPN is made."""
        if thing.kind is DISKS and not item.get("virtualmachineid"):
            vm = others["VM"][named("VM", thing.needs[0][1])]
            self._cloud.job("attachVolume", timeout=LIMIT, cancel=self._cancel, id=item["id"], virtualmachineid=vm["id"])
        if thing.kind is BALANCERS and thing.number < profile.remote_access and item.get("publicipid"):
            there = self._cloud.list("listRemoteAccessVpns", publicipid=item["publicipid"], listall="true")
            if not there:
                self._cloud.job("createRemoteAccessVpn", timeout=LIMIT, cancel=self._cancel, publicipid=item["publicipid"])

    def _delete(self, kind: Kind, name: str, item: Mapping[str, Any]) -> None:
        self._say(f"removing {kind.name} {name}")
        if kind is DISKS and item.get("virtualmachineid"):
            self._cloud.job("detachVolume", timeout=LIMIT, cancel=self._cancel, id=item["id"])
        parameters: dict[str, Any] = {"id": item["id"], **kind.removal}
        self._cloud.job(kind.delete, timeout=LIMIT, cancel=self._cancel, **parameters)


def digest(domain: Mapping[str, Any]) -> str:
    """The digest of the profile that a workload's domain was made for."""
    return str(domain.get("networkdomain", "")).removesuffix(MARK)


def _ours(kind: Kind, name: str, item: Mapping[str, Any], tagged: set[str]) -> bool:
    """Whether a thing in the workload's domain is the workload's: by its tag, or by its name where nothing can be tagged."""
    return str(item["id"]) in tagged if kind.tagged else name.startswith(named(kind.name, ""))


def _whole(kind: Kind, item: Item | None, tagged: set[str]) -> bool:
    """Whether a thing is there and nothing is left to do about it."""
    if item is None or (kind.tagged and str(item["id"]) not in tagged):
        return False
    return kind is not DISKS or bool(item.get("virtualmachineid"))


def _first_user(kind: Kind, name: str) -> bool:
    """The user that an account begins with goes with the account."""
    return kind.name == "user" and name.startswith(named(ACCOUNTS.name, ""))

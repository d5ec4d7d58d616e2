"""Two stacks' facts side by side: what differs, and how much that weakens what a rehearsal on one says about the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from parallel_build.rules import Report, Rule, RuleFinding, examine

Facts = dict[str, Any]
FACTOR = 10  # a size that is so many times the other is another size
SIZE_FLOOR = {"megabytes of databases": 1000}  # below this much on both sides a factor means nothing
NUMBER = re.compile(r"\d+")


class Rank(StrEnum):
    """How much a difference weakens the rehearsal, the worst first."""

    HIGH = "high"  # the rehearsal does not tell about this at all
    MEDIUM = "medium"  # something may go another way
    LOW = "low"  # good to know


@dataclass(frozen=True)
class Difference(RuleFinding):
    """One difference, as a rule says it.

    Attributes:
        area: where it is, such as `settings`.
        key: what of it.
        rehearsed, real: its value on each side; "" where a side does not have it.
    """

    area: str = ""
    key: str = ""
    rehearsed: str = ""
    real: str = ""


def difference(rank: Rank, area: str, key: str, rehearsed: str, real: str, why: str) -> Difference:
    """What differs, and how much that weakens the rehearsal."""
    fact = f"{area}: {key} ({rehearsed or 'none'} / {real or 'none'})"
    return Difference(fact, why, "rehearse on a cloud that is alike, or decide that it does not matter", rank, area, key, rehearsed, real)


@dataclass(frozen=True)
class Two:
    """Facts of the cloud that the upgrade is tried on, and of the one that it is meant for."""

    rehearsed: Facts
    real: Facts


# Kinds of things: rank when the real cloud has one that the rehearsed cloud lacks, and why. The reverse is low: it was rehearsed without need.
KINDS: dict[str, tuple[Rank, str]] = {
    "hypervisors": (Rank.HIGH, "its agents, its system VM template and its commands are not rehearsed"),
    "hypervisor versions": (Rank.MEDIUM, "another version of a hypervisor may answer in another way"),
    "hypervisor models": (Rank.LOW, "how long system VMs and routers take to start there is not rehearsed"),
    "architectures": (Rank.HIGH, "since 4.20 each architecture has a system VM template of its own"),
    "primary storage": (Rank.MEDIUM, "starting VMs and routers on it is not rehearsed"),
    "secondary storage": (Rank.MEDIUM, "downloading templates to it is not rehearsed; the upgrade itself can only use NFS"),
    "zone types": (Rank.HIGH, "restarting networks is another thing in it"),
    "isolation": (Rank.MEDIUM, "restarting networks with this isolation is not rehearsed"),
    "guest networks": (Rank.MEDIUM, "restarting such networks is not rehearsed"),
    "network providers": (Rank.HIGH, "its plug-in and its devices are not rehearsed"),
    "own guest operating systems": (Rank.HIGH, "rows of your own may collide with the target's upgrade scripts"),
    "table engines": (Rank.MEDIUM, "tables of this engine are copied and altered in another way"),
}
# Settings by the beginning of their names that change what an upgrade does; all others are low.
WEIGHTY_SETTINGS = (
    "ca.", "router.", "minreq.", "system.vm.", "secstorage.", "consoleproxy.", "indirect.agent.", "agent.lb", "cluster.", "host.", "vm.ha.", "ha.",
    "network.router", "storage.", "dynamic.apichecker", "integration.api", "ping.", "workers", "wait", "job.", "event.purge", "enable.",
)  # fmt: skip
# They name places; that they differ says nothing.
PLACES = re.compile(
    r"^host$|address|url|\bip\b|cidr|hostname|smtp|cloud\.identifier|\.sites$|dns|guest\.domain|email|domain\.suffix|secstorage\.ssl|allowed\.ips",
    re.IGNORECASE,
)
ROLES = {
    "management": "the servers it comes from",
    "database": "the database it comes from",
    "new management": "the servers that upgrade the schema",
    "new database": "the server that the schema is upgraded on",
    "hypervisor": "the hosts that come over",
}


def compare(rehearsed: Facts, real: Facts) -> Report[Difference]:
    """What differs, the worst first.

    Args:
        rehearsed: facts of the cloud that the upgrade is tried on.
        real: facts of the cloud that it is meant for.
    """
    found = examine(RULES, Two(rehearsed, real), Rank)
    order: list[StrEnum] = list(Rank)
    findings = sorted(found.findings, key=lambda each: (order.index(each.severity), each.words.area, each.words.key))
    return replace(found, findings=tuple(findings))


def _versions(one: Facts, other: Facts) -> Iterator[Difference]:
    for key, words, why in (
        ("version", "original", "the upgrade takes another way through the versions"),
        ("target", "target", "another release is rehearsed"),
    ):
        if one.get(key) and other.get(key) and one[key] != other[key]:
            yield difference(Rank.HIGH, "CloudStack", words, one[key], other[key], why)


def _databases(one: Facts, other: Facts) -> Iterator[Difference]:
    for key, words in (("database", "original database"), ("newDatabase", "new database")):
        left, right = one.get(key), other.get(key)
        if not left or not right:
            continue
        if left["family"] != right["family"]:
            why = "another server family takes other SQL, and ALTERs in another way"
            yield difference(Rank.HIGH, words, "family", left["family"], right["family"], why)
        else:
            yield from _version(
                words, "version", left["version"], right["version"], "ALTERs may be done in another way, and take another time"
            )
        for name in sorted(set(left["variables"]) & set(right["variables"])):
            if left["variables"][name] != right["variables"][name]:
                yield difference(
                    Rank.MEDIUM, words, name, left["variables"][name], right["variables"][name], "it changes what statements do"
                )


LATER = ("confinement", "firewall")


def _version(area: str, key: str, left: str, right: str, why: str, numbers: int = 2) -> Iterator[Difference]:
    """Two versions: another release is medium, another patch level of it low."""
    if left != right:
        same = NUMBER.findall(left)[:numbers] == NUMBER.findall(right)[:numbers] and bool(NUMBER.search(left))
        yield difference(Rank.LOW if same else Rank.MEDIUM, area, key, left, right, "another patch level" if same else why)


def _machines(one: Facts, other: Facts) -> Iterator[Difference]:
    for role, whose in ROLES.items():
        left, right = one.get("machines", {}).get(role), other.get("machines", {}).get(role)
        if not left or not right:
            continue
        for key, numbers, why in (
            ("os", 0, f"{whose} run another operating system"),
            ("release", 1, f"{whose} run another release"),
            ("patch", 2, f"{whose} run another release"),
            ("java", 1, "another Java"),
            ("kernel", 2, "another kernel"),
            ("arch", 0, f"{whose} are of another architecture"),
            ("confinement", 0, "programs are confined in another way: what they may open is another thing"),
            ("firewall", 0, "another firewall manages their packets"),
        ):
            ours, theirs = _values(left, key), _values(right, key)
            if key in LATER and not all(any(key in machine for machine in side) for side in (left, right)):
                continue  # facts that an earlier version of this project wrote don't have it
            if ours != theirs and (ours or theirs) and not (key == "patch" and _values(left, "os") != _values(right, "os")):
                yield from _version(role, key, ours, theirs, why, numbers)
        if (ours := _values(left, "processor")) != (theirs := _values(right, "processor")):
            yield difference(Rank.LOW, role, "processor", ours, theirs, "times differ")
        yield from _packages(role, left, right)


def _values(machines: list[Facts], key: str) -> str:
    return ", ".join(sorted({str(machine[key]) for machine in machines if machine.get(key)}))


def _packages(role: str, left: list[Facts], right: list[Facts]) -> Iterator[Difference]:
    ours, theirs = _installed(left), _installed(right)
    for name in sorted(set(ours) | set(theirs)):
        mine, other = ours.get(name, ""), theirs.get(name, "")
        if mine == other:
            continue
        if not mine or not other:
            rank = Rank.MEDIUM if other and name.startswith("cloudstack") else Rank.LOW
            yield difference(rank, role, f"package {name}", mine, other, "only one side has it")
        else:
            yield from _version(role, f"package {name}", mine, other, "another release of it", 4 if name.startswith("cloudstack") else 2)
    mine_too = {library for machine in left for library in machine.get("libraries", [])}
    for library in sorted({library for machine in right for library in machine.get("libraries", [])} - mine_too):
        yield difference(Rank.HIGH, role, f"library {library}", "", library, "a plug-in that is not rehearsed; the new servers may lack it")
    theirs_too = {library for machine in right for library in machine.get("libraries", [])}
    for library in sorted(mine_too - theirs_too):
        yield difference(Rank.LOW, role, f"library {library}", library, "", "rehearsed with a plug-in that is not there")


def _installed(machines: list[Facts]) -> dict[str, str]:
    names = sorted({name for machine in machines for name in machine.get("packages", {})})
    return {
        name: ", ".join(sorted({machine["packages"][name] for machine in machines if name in machine.get("packages", {})}))
        for name in names
    }


def _kinds(one: Facts, other: Facts) -> Iterator[Difference]:
    if "kinds" not in one or "kinds" not in other:
        return
    for area, (rank, why) in KINDS.items():
        if area not in one["kinds"] or area not in other["kinds"]:
            continue  # one of the two could not be asked; its facts name that as a problem
        left, right = set(one["kinds"][area]), set(other["kinds"][area])
        for kind in sorted(right - left):
            yield difference(rank, area, kind, "", kind, why)
        for kind in sorted(left - right):
            yield difference(Rank.LOW, area, kind, kind, "", "rehearsed, but not there")


def _counts(one: Facts, other: Facts) -> Iterator[Difference]:
    left, right = one.get("counts", {}), other.get("counts", {})
    for name in sorted(set(left) & set(right)):
        few, many = sorted((int(left[name]), int(right[name])))
        if few == many:
            continue
        rank, why = Rank.LOW, "the same in another number"
        if name == "zones" and min(int(left[name]), 2) < min(int(right[name]), 2):
            rank, why = Rank.MEDIUM, "templates in several zones are not rehearsed"
        elif name == "management servers" and int(left[name]) == 1 < int(right[name]):
            rank, why = Rank.MEDIUM, "stopping and adding several servers is not rehearsed"
        elif few == 0 and int(right[name]) > 0:
            rank, why = Rank.MEDIUM, "there are none of them in the rehearsal"
        elif many >= max(1, few) * FACTOR and many >= SIZE_FLOOR.get(name, 0) and int(right[name]) == many:
            rank, why = Rank.MEDIUM, "the times of the rehearsal can't be carried over"
        yield difference(rank, "counts", name, str(left[name]), str(right[name]), why)


def _settings(one: Facts, other: Facts) -> Iterator[Difference]:
    if "settings" not in one or "settings" not in other:
        return
    left, right = one["settings"], other["settings"]
    for name in sorted(set(left) | set(right)):
        mine, theirs = left.get(name, ""), right.get(name, "")
        if mine == theirs or PLACES.search(name):
            continue
        weighty = name.startswith(WEIGHTY_SETTINGS)
        yield difference(
            Rank.MEDIUM if weighty else Rank.LOW,
            "settings",
            name,
            mine or "default",
            theirs or "default",
            "it changes what an upgrade meets" if weighty else "changed on one side, or to another value",
        )


def _rule(name: str, summary: str, judge: Callable[[Facts, Facts], Iterator[Difference]]) -> Rule[Two, Difference]:
    return Rule(name, Rank.LOW, "docs/operate/parity.md", summary, lambda two: judge(two.rehearsed, two.real))


RULES = (
    _rule("versions_are_the_same", "the versions of CloudStack, from and to, are the same", _versions),
    _rule("databases_are_alike", "the database servers are of one family and version, with the same settings", _databases),
    _rule("machines_are_alike", "the servers run the same system and packages", _machines),
    _rule("kinds_are_rehearsed", "the real cloud has no kind of thing that the rehearsed cloud lacks", _kinds),
    _rule("sizes_are_alike", "there are about as many things of each kind", _counts),
    _rule("settings_are_the_same", "settings have the same values", _settings),
)

"""Networks and VPCs with virtual routers: which of them still have old routers, which are idle, and which users wait for.

A network is restarted only where it is implemented and a router of it runs. CloudStack stops the routers of a network in which nothing runs
(`network.gc.interval`), and makes new ones from the new template when the network is used again: a restart of such a network is refused
[CloudStack NetworkServiceImpl.restartNetwork: "Correct states are: Implemented, Setup"]. In a zone that is disabled CloudStack finds no place for a new
router, so a restart there fails, or leaves the network without one [DeploymentPlanningManagerImpl.avoidDisabledResources; pull request 3600].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.systemvms import routers, running, same_release
from parallel_build.remote.sql import Row, Session
from parallel_build.versions import CloudStackVersion, is_version

NETWORK, VPC = "network", "vpc"
RESTARTABLE = ("Implemented", "Setup", "Enabled")  # the last is a VPC's
Key = tuple[str, int]  # kind and number

# A zone's state where it keeps CloudStack from making a router.
CLOSED = (
    "CASE WHEN COALESCE((SELECT c.value FROM cloud.configuration c WHERE c.name = 'allow.router.on.disabled.resources'), 'false') = 'true' "
    "THEN '' ELSE NULLIF(z.allocation_state, 'Enabled') END AS closed"
)
# Names of everything that can be restarted, in one question each; numbers are the same on both sides of a window.
QUERIES = {
    NETWORK: f"SELECT n.id, n.uuid, n.name, n.state, z.name AS zone, {CLOSED}, d.path AS domain, a.account_name AS account, n.redundant, 1 AS tiers "
    "FROM cloud.networks n LEFT JOIN cloud.data_center z ON z.id = n.data_center_id LEFT JOIN cloud.domain d ON d.id = n.domain_id "
    "LEFT JOIN cloud.account a ON a.id = n.account_id WHERE n.removed IS NULL AND n.vpc_id IS NULL AND n.traffic_type = 'Guest'",
    VPC: f"SELECT v.id, v.uuid, v.name, v.state, z.name AS zone, {CLOSED}, d.path AS domain, a.account_name AS account, v.redundant, "
    "(SELECT COUNT(*) FROM cloud.networks t WHERE t.vpc_id = v.id AND t.removed IS NULL) AS tiers "
    "FROM cloud.vpc v LEFT JOIN cloud.data_center z ON z.id = v.zone_id LEFT JOIN cloud.domain d ON d.id = v.domain_id "
    "LEFT JOIN cloud.account a ON a.id = v.account_id WHERE v.removed IS NULL",
}
TEMPLATES = (
    "SELECT v.uuid, t.name AS template, r.template_version FROM cloud.vm_instance v LEFT JOIN cloud.vm_template t ON t.id = v.vm_template_id "
    "LEFT JOIN cloud.domain_router r ON r.id = v.id WHERE v.removed IS NULL AND v.type <> 'User'"
)


@dataclass(frozen=True)
class Patch:
    """What a router reports that was patched where it runs.

    CloudStack only logs a patch that fails, and its call succeeds. It then writes its own version as the router's software all the same where the host's
    agent is an old one, whose scripts are those of before [ManagementServerImpl.patchSystemVM; NetworkOrchestrator.restartNetwork]. So both have to change.

    Attributes:
        code: version of the management servers.
        scripts: what routers reported as their scripts before any was patched.
        own: checksum of the management server's own scripts, which a router on an old template must have to be given commands; empty where it is unknown.
    """

    code: CloudStackVersion
    scripts: frozenset[str]
    own: str = ""

    def problem(self, router: Mapping[str, Any]) -> str:
        """Why a router is not patched; empty where it is."""
        software, scripts = (str(router.get(key) or "") for key in ("softwareversion", "scriptsversion"))
        if not software or not is_version(software, self.code):
            return f"its software is {software or 'unknown'}, not {self.code}: CloudStack's log says why the patch failed"
        if not scripts or scripts in self.scripts:
            return "its scripts are those of before: its host's agent is an old one, or CloudStack's log says why the patch failed"
        if self.own and scripts != self.own:
            return "its scripts are not those of the management server, so CloudStack refuses it commands: its host's agent package is of another build"
        return ""


@dataclass(frozen=True)
class RouterNetwork:
    """A network, or a VPC, with its routers.

    Attributes:
        kind: `network` or `vpc`.
        number, id, name, state: as CloudStack has it.
        zone, domain, account: names; of the domain the path, such as `ROOT/customers`.
        redundant: it has two routers, one of which waits.
        routers: items of listRouters.
        old: some router that runs is not of the release that was asked for, nor patched.
        closed: its zone's state, where CloudStack makes no routers in it.
        tiers: networks of a VPC; 1 of any other.
    """

    kind: str
    number: int
    id: str
    name: str
    state: str = "Implemented"
    zone: str = ""
    domain: str = ""
    account: str = ""
    redundant: bool = False
    routers: tuple[Mapping[str, Any], ...] = ()
    old: bool = True
    closed: str = ""
    tiers: int = 1

    @property
    def key(self) -> Key:
        """What tells it from any other."""
        return self.kind, self.number

    @property
    def label(self) -> str:
        """`network/204`: its key as a text."""
        return f"{self.kind}/{self.number}"

    @property
    def runs(self) -> bool:
        """A router of it runs."""
        return any(running(dict(router)) for router in self.routers)

    @property
    def idle(self) -> bool:
        """CloudStack refuses to restart it, or no router of it runs."""
        return self.state not in RESTARTABLE or not self.runs

    @property
    def patchable(self) -> bool:
        """CloudStack patches the routers of a VPC by way of its tiers: of one without any it patches none [VpcManagerImpl.restartVPCNetworks]."""
        return self.tiers > 0

    def is_named(self, names: Collection[str]) -> bool:
        """Whether a list of names or ids names it."""
        return self.name in names or self.id in names


@dataclass
class Survey:
    """What there is.

    Attributes:
        old: still to be restarted.
        renewed: every router that runs is of the release that was asked for.
        idle: left alone, those of disabled zones among them.
    """

    old: list[RouterNetwork] = field(default_factory=list)
    renewed: list[RouterNetwork] = field(default_factory=list)
    idle: list[RouterNetwork] = field(default_factory=list)

    @property
    def all(self) -> list[RouterNetwork]:
        """Those that take part."""
        return [*self.old, *self.renewed]

    @property
    def closed(self) -> dict[str, int]:
        """How many networks with a router that runs are left alone in each disabled zone, by its name and state."""
        zones = [f"{each.zone} ({each.closed})" for each in self.idle if each.closed and not each.idle]
        return {zone: zones.count(zone) for zone in sorted(set(zones))}


def survey(cloud: Cloud, database: Session, release: str, begun: Collection[Key] = (), patch: Patch | None = None) -> Survey:
    """Look at every network and VPC, with a number of questions that does not grow with theirs.

    Args:
        release: that routers must have.
        begun: those whose restart was begun: of such a network it counts as old that no router runs, since a restart that failed leaves it without.
        patch: what counts as renewed as well.
    """
    rows = {kind: database.rows(query) for kind, query in QUERIES.items()}
    templates = {str(row["uuid"]): str(row["template_version"] or row["template"] or "") for row in database.rows(TEMPLATES)}
    return sort(together(rows, routers(cloud), release, templates, patch), begun)


def together(
    rows: Mapping[str, Iterable[Row]],
    found: Iterable[Mapping[str, Any]],
    release: str,
    templates: Mapping[str, str],
    patch: Patch | None = None,
) -> list[RouterNetwork]:
    """Networks and VPCs with their routers; a VPC's router belongs to the VPC alone."""

    def good(router: Mapping[str, Any]) -> bool:
        return is_renewed(router, release, templates.get(str(router["id"]), "")) or (patch is not None and not patch.problem(router))

    of: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for router in found:
        key = (VPC, str(router["vpcid"])) if router.get("vpcid") else (NETWORK, str(router.get("guestnetworkid") or ""))
        of.setdefault(key, []).append(router)
    made = []
    for kind, listed in rows.items():
        for row in listed:
            own = tuple(of.get((kind, str(row["uuid"])), ()))
            up = [router for router in own if running(dict(router))]
            made.append(
                RouterNetwork(
                    kind,
                    int(row["id"]),
                    str(row["uuid"]),
                    str(row["name"] or row["uuid"]),
                    str(row["state"]),
                    str(row["zone"] or ""),
                    domain_path(row["domain"]),
                    str(row["account"] or ""),
                    bool(row["redundant"]),
                    own,
                    not up or not all(good(router) for router in up),
                    str(row.get("closed") or ""),
                    int(row.get("tiers", 1)),
                )
            )
    return made


def is_renewed(router: Mapping[str, Any], release: str, recorded: str) -> bool:
    """Whether API and database agree that a router runs a release. The template's name alone proves nothing: an upgrade writes the new one."""
    return same_release(str(router.get("version") or ""), release) and same_release(recorded, release)


def sort(found: Iterable[RouterNetwork], begun: Collection[Key] = ()) -> Survey:
    """Old, renewed and idle ones."""
    result = Survey()
    for each in found:
        lost = each.key in begun and not each.runs and each.state in RESTARTABLE
        if (each.idle or each.closed) and not lost:
            if each.routers:
                result.idle.append(each)
        else:
            (result.old if each.old else result.renewed).append(each)
    return result


def within(domain: str, wanted: str) -> bool:
    """Whether a domain is one that was named, or below it; without `ROOT/` it begins there."""
    path = wanted.strip("/")
    path = path if path.split("/")[0] == "ROOT" else f"ROOT/{path}".rstrip("/")
    return domain == path or domain.startswith(path + "/")


def domain_path(text: object) -> str:
    """`/customers/` of the database as `ROOT/customers`."""
    inner = str(text or "").strip("/")
    return f"ROOT/{inner}" if inner else "ROOT"


# What a configuration may name.
LABELS = tuple(f"SELECT name, uuid FROM cloud.{table} WHERE removed IS NULL" for table in ("networks", "vpc"))
DOMAINS = "SELECT path FROM cloud.domain WHERE removed IS NULL"
ACCOUNTS = "SELECT account_name FROM cloud.account WHERE removed IS NULL"


def names(database: Session) -> dict[str, list[str]]:
    """Names and ids of networks and VPCs, paths of domains, names of accounts. One question a table: their columns' collations may differ."""
    rows = [row for query in LABELS for row in database.rows(query)]
    return {
        "networks": [str(text) for row in rows for text in (row["name"], row["uuid"]) if text],
        "domains": [domain_path(row["path"]) for row in database.rows(DOMAINS)],
        "accounts": [str(row["account_name"]) for row in database.rows(ACCOUNTS)],
    }


# Jobs that restart a network, from whichever run: a second restart would only wait behind it.
UNDER_WAY = (
    "SELECT uuid, job_cmd, instance_id FROM cloud.async_job WHERE job_status = 0 AND removed IS NULL "
    "AND (job_cmd LIKE '%%RestartNetworkCmd%%' OR job_cmd LIKE '%%RestartVPCCmd%%')"
)


def under_way(database: Session) -> dict[Key, str]:
    """Restarts that run now: id of the job by kind and number."""
    found = {}
    for row in database.rows(UNDER_WAY, []):
        kind = VPC if "RestartVPC" in str(row["job_cmd"]) else NETWORK
        if row["instance_id"] is not None:
            found[kind, int(row["instance_id"])] = str(row["uuid"])
    return found


# A VM that has just changed, and a job that waits or has failed on a VM or a network: somebody works there, and CloudStack refuses what needs the router.
WANTED = (
    "SELECT DISTINCT n.network_id AS network, w.vpc_id AS vpc FROM cloud.nics n JOIN cloud.networks w ON w.id = n.network_id "
    "JOIN cloud.vm_instance v ON v.id = n.instance_id AND v.type = 'User' WHERE n.removed IS NULL AND v.removed IS NULL AND (v.update_time >= %s "
    "OR v.id IN (SELECT j.instance_id FROM cloud.async_job j WHERE j.instance_type = 'VirtualMachine' AND j.job_status <> 1 AND j.created >= %s))",
    "SELECT DISTINCT w.id AS network, w.vpc_id AS vpc FROM cloud.networks w JOIN cloud.async_job j ON j.instance_id = w.id "
    "WHERE j.instance_type = 'Network' AND j.job_status <> 1 AND j.created >= %s AND j.job_cmd NOT LIKE '%%RestartNetworkCmd%%'",
)


# [CloudStack NetworkHelperImpl.sendCommandsToRouter: "Unable to send command. Router requires upgrade"]
REFUSED = "SELECT COUNT(*) FROM cloud.async_job WHERE job_status = 2 AND created >= %s AND job_result LIKE '%%outer requires upgrade%%'"


def refused_calls(database: Session, since: str) -> int:
    """How many jobs of users CloudStack has refused since then because a router was not renewed yet."""
    return int(database.value(REFUSED, [since]) or 0)


# What jobs that wait or have failed were called with: of a rule that could not be made nothing is left but that.
CALLED_WITH = (
    "SELECT job_cmd_info AS info FROM cloud.async_job WHERE job_status <> 1 AND created >= %s AND job_cmd NOT LIKE '%%RestartNetworkCmd%%' "
    "AND job_cmd NOT LIKE '%%RestartVPCCmd%%' AND job_cmd_info IS NOT NULL ORDER BY id DESC LIMIT 1000"
)
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
# Networks and VPCs by the ids of what a call may name: themselves, addresses, rules, lists of rules.
NAMED = (
    "SELECT id AS network, vpc_id AS vpc FROM cloud.networks WHERE removed IS NULL AND uuid IN ({marks})",
    "SELECT 0 AS network, id AS vpc FROM cloud.vpc WHERE removed IS NULL AND uuid IN ({marks})",
    "SELECT COALESCE(network_id, 0) AS network, vpc_id AS vpc FROM cloud.user_ip_address WHERE uuid IN ({marks}) "
    "AND (network_id IS NOT NULL OR vpc_id IS NOT NULL)",
    "SELECT w.id AS network, w.vpc_id AS vpc FROM cloud.firewall_rules f JOIN cloud.networks w ON w.id = f.network_id WHERE f.uuid IN ({marks})",
    "SELECT 0 AS network, vpc_id AS vpc FROM cloud.network_acl WHERE vpc_id > 0 AND uuid IN ({marks})",
)


def wanted(database: Session, since: str) -> set[Key]:
    """Networks and VPCs in which users work, or wait.

    Args:
        since: when users were let in, `YYYY-MM-DD HH:MM:SS` in UTC, as CloudStack writes its times.
    """
    rows = [row for query in WANTED for row in database.rows(query, [since] * query.count("%s"))]
    called = sorted({uuid for row in database.rows(CALLED_WITH, [since]) for uuid in UUID.findall(str(row["info"]))})
    if called:
        marks = ", ".join(["%s"] * len(called))
        rows += [row for query in NAMED for row in database.rows(query.format(marks=marks), called)]
    return {(VPC, int(row["vpc"])) if row["vpc"] else (NETWORK, int(row["network"])) for row in rows}

"""Health, plan and parity of a cloud as far as its API alone shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, cast

from parallel_build import health
from parallel_build.cloudstack.releases import NEWEST
from parallel_build.errors import GuardFailed
from parallel_build.facts.original import OriginalFacts
from parallel_build.health import RULES, HealthFacts, Report
from parallel_build.parity.compare import Difference
from parallel_build.parity.compare import compare as compare_facts
from parallel_build.plan import templates
from parallel_build.plan.cloud import parity, rows
from parallel_build.plan.facts import Plan, catalogue
from parallel_build.plan.faults import Lists, Sources
from parallel_build.plan.target import refuse
from parallel_build.remote.parallel import Workers
from parallel_build.resolved_stack import Site
from parallel_build.rules import RuleFinding, Unanswered
from parallel_build.versions import CloudStackVersion

AT_ONCE = 4
MISSING = "the API does not show it: `parallel-build plan STACK` asks the database and the servers"
# The rules of the health check that need nothing but what the API lists.
BY_API = (
    "no_server_is_leaving", "hosts_are_up", "system_vms_run", "hosts_are_enabled", "agents_are_of_one_version", "system_vm_agents_answer",
    "routers_run", "routers_are_recent", "redundant_routers_agree", "router_checks_pass", "networks_need_no_restart", "capacity_is_left",
    "pools_are_up", "pools_have_room", "zones_have_secondary_storage", "zones_have_nfs", "zones_keep_system_vms", "no_job_hangs", "few_jobs_fail",
    "alerts_are_seen", "nothing_is_stuck", "host_is_no_loopback", "open_api_is_off", "administrator_is_enabled", "roles_are_dynamic",
)  # fmt: skip
# Asked side by side beforehand, so that a cloud that is far away is checked within a minute.
FIRST: tuple[tuple[str, dict[str, str]], ...] = (
    ("listHosts", {"type": "Routing"}), ("listConfigurations", {}), ("listVirtualMachines", rows.ALL), ("listVirtualMachines", rows.PROJECTS),
    ("listNetworks", rows.ALL), ("listNetworks", rows.PROJECTS), ("listRouters", rows.ALL), ("listRouters", rows.PROJECTS), ("listSystemVms", {}),
    ("listVolumes", rows.ALL), ("listVolumes", rows.PROJECTS), ("listStoragePools", {}), ("listImageStores", {}), ("listClusters", {}),
    ("listZones", {}), ("listAlerts", {}), ("listAsyncJobs", rows.ALL), ("listManagementServers", {}), ("listUsers", rows.ALL),
    ("listTemplates", {"templatefilter": "all", **rows.ALL}), ("listCapacity", {}), ("listOsTypes", {}), ("listVPCs", rows.ALL),
)  # fmt: skip


class _NoStack:
    """In place of a stack: a rule that asks for it can't judge."""

    def __getattr__(self, name: str) -> NoReturn:
        raise Unanswered("it needs a stack: `parallel-build health STACK` judges it")


class _Shown(_NoStack):
    """In place of the original's facts: those that the API lists. A list that is not answered is not taken for an empty one."""

    def __init__(self, cloud: Lists, version: CloudStackVersion) -> None:
        self._cloud, self.version = cloud, str(version)

    @property
    def hosts(self) -> list[dict[str, Any]]:
        """Routing hosts."""
        return self._cloud.list("listHosts", type="Routing")

    @property
    def system_vms(self) -> list[dict[str, Any]]:
        """System VMs."""
        return self._cloud.list("listSystemVms")

    @property
    def zones(self) -> list[dict[str, Any]]:
        """Zones."""
        return self._cloud.list("listZones")


@dataclass(frozen=True)
class CloudCheck:
    """What was found out.

    Attributes:
        url, version: of the cloud.
        health: the report of the rules that the API can answer.
        plan: path, templates and known faults; no work on tables, which are not seen by the API.
        facts: for `parity`.
        differences: from the facts that were given, where some were.
    """

    url: str
    version: CloudStackVersion
    health: Report[RuleFinding]
    plan: Plan
    facts: dict[str, Any]
    differences: Report[Difference] | None = None


def check(cloud: Lists, url: str, to: CloudStackVersion | None = None, against: dict[str, Any] | None = None) -> CloudCheck:
    """Ask and judge.

    Args:
        url: for the report.
        to: the target; the newest release that is known unless the cloud is later.
        against: facts of the cloud that the upgrade was rehearsed on.
    Raises:
        GuardFailed: the cloud does not show its version.
        ConfigurationError: the target is not later, or not known.
    """
    version = _version(cloud, url)
    target = to or NEWEST
    refuse(version, target, None)
    with Workers(AT_ONCE) as pool:
        for future in [pool.submit(_quietly, cloud, command, parameters) for command, parameters in FIRST]:
            future.result()
    tables, unanswered = rows.read(cloud)
    report = health.examine(_health_facts(cloud, version, tables, unanswered), [rule for rule in RULES if rule.name in BY_API])
    found = parity.facts(cloud, url, str(version), tables.get("settings"))
    plan = _plan(cloud, url, version, target)
    return CloudCheck(url, version, report, plan, found, compare_facts(against, found) if against is not None else None)


def _version(cloud: Lists, url: str) -> CloudStackVersion:
    try:
        return CloudStackVersion(str(cloud.list("listCapabilities")[0]["cloudstackversion"]))
    except (Unanswered, KeyError, ValueError) as error:
        raise GuardFailed(f"{url} does not show its version", str(error), "see whether listCapabilities answers there") from None


def _quietly(cloud: Lists, command: str, parameters: dict[str, str]) -> None:
    """Ask beforehand; whoever needs the answer is given the reason why there is none."""
    try:
        cloud.list(command, **parameters)
    except Unanswered:
        return


def _health_facts(
    cloud: Lists, version: CloudStackVersion, tables: dict[str, list[dict[str, Any]]], unanswered: dict[str, str]
) -> HealthFacts:
    return HealthFacts(cast(Site, _NoStack()), cast(OriginalFacts, _Shown(cloud, version)), tables, unanswered)


def _plan(cloud: Lists, url: str, old: CloudStackVersion, new: CloudStackVersion) -> Plan:
    problems: list[str] = []
    planned = None
    try:
        planned = templates.planned(new, None, templates.used(cloud.list("listClusters")))
    except Unanswered as error:
        problems.append(f"clusters: {error}")
    return Plan(url, old, new, None, planned, None, catalogue(old, new, Sources(api=cloud, missing=MISSING)), problems)

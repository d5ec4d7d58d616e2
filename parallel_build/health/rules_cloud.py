"""Rules over what the cloud runs on: hosts, system VMs, routers, networks, capacity."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack import zones
from parallel_build.cloudstack.systemvms import numbers
from parallel_build.guards import original as guards
from parallel_build.health.facts import HealthFacts, Row
from parallel_build.health.finding import guard_rule, rule
from parallel_build.rules import RuleFinding, Severity, listed

NEARLY_ALL = 0.95
REQUIRED = "minreq.sysvmtemplate.version"
# Capacities that the renewal of system VMs and routers takes from [CloudStack Capacity.java].
NEEDED = {
    0: "memory",
    1: "CPU",
    3: "allocated primary storage",
    4: "public addresses",
    5: "private addresses of a pod",
    6: "secondary storage",
}
FEW_ADDRESSES = 2  # a renewed system VM gets its addresses before the old one has given its back

guard_rule(guards.hosts_are_up)
guard_rule(guards.system_vms_run)


@rule(Severity.NOTES, "CloudStack issue 3581: before 4.13.1 such hosts are passed over when `host` changes")
def hosts_are_enabled(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports disabled hosts and hosts in maintenance."""
    away = [
        f"{row['name']} ({row['resource_state']})"
        for row in facts.rows("hosts")
        if row["type"] == "Routing" and row["resource_state"] != "Enabled"
    ]
    if away:
        yield RuleFinding(
            f"hosts are not Enabled: {listed(away)}",
            "VMs are not started there, and versions before 4.13.1 do not tell them of new management servers",
            "bring them back before the window, or have agents.method file reach them",
        )


@rule(Severity.WARNS, "host.version against the management servers' version; CloudStack issue 8406")
def agents_are_of_one_version(facts: HealthFacts) -> Iterator[RuleFinding]:
    """KVM agents are of the management servers' version."""
    wanted = facts.old.version
    behind = [
        f"{row['name']} ({row['version']})"
        for row in facts.rows("hosts")
        if row["type"] == "Routing" and row["hypervisor_type"] in ("KVM", "LXC") and wanted and numbers(row["version"]) != numbers(wanted)
    ]
    if behind:
        yield RuleFinding(
            f"agents are not of the cloud's version {wanted}: {listed(behind)}",
            "an earlier upgrade left them; system VMs made there report the agent's version",
            "upgrade cloudstack-agent there",
        )


@rule(Severity.WARNS, "host rows of SSVM and console proxy")
def system_vm_agents_answer(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The agent of every running system VM is Up."""
    alone = zones.left_alone(facts.rows("zones"))
    silent = [row for row in facts.rows("system_vms") if row["state"] == "Running" and row["agent"] not in (None, "Up")]
    # Where CloudStack makes no system VMs, one that is destroyed never comes back.
    for rows, remedy in (
        (
            [row for row in silent if row.get("zone") not in alone],
            "destroy it, so that CloudStack makes another; see its log if that does not help",
        ),
        (
            [row for row in silent if row.get("zone") in alone],
            "see its log and reboot it; do not destroy it: CloudStack makes none in its zone",
        ),
    ):
        names = [f"{row['name']} ({row['agent']})" for row in rows]
        if names:
            yield RuleFinding(
                f"system VMs run whose agent is not Up: {listed(names)}",
                "templates can't be downloaded by such a secondary storage VM, consoles not opened by such a proxy",
                remedy,
            )


@rule(Severity.WARNS, "states of virtual routers; listRouters")
def routers_run(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No virtual router is in error or unknown."""
    bad = [f"{row['name']} ({row['state']})" for row in facts.rows("routers") if row["state"] in ("Error", "Unknown", "Shutdown")]
    if bad:
        yield RuleFinding(
            f"virtual routers are broken: {listed(bad)}",
            "their networks would be restarted in the window, which then fails or takes longer",
            "restart these networks with cleanup now",
        )


@rule(Severity.WARNS, "domain_router.template_version against minreq.sysvmtemplate.version")
def routers_are_recent(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every virtual router has the template that the present version asks for."""
    values = {each.where: each.value for each in facts.values(REQUIRED)}

    def required(row: Row) -> str:
        """The zone's own value wins [CloudStack NetworkHelperImpl]."""
        return values.get(f"zone {row.get('zone')}") or values.get("", "")

    old = [
        f"{row['name']} ({row['template_version']}, not {required(row)})"
        for row in facts.rows("routers")
        if row["state"] == "Running" and numbers(row["template_version"]) and numbers(row["template_version"]) < numbers(required(row))
    ]
    if old:
        yield RuleFinding(
            f"virtual routers are older than {REQUIRED} says: {listed(old)}",
            "an earlier upgrade did not renew them; CloudStack refuses commands to them (router.version.check)",
            "restart their networks with cleanup",
        )


@rule(Severity.WARNS, "domain_router.redundant_state")
def redundant_routers_agree(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No redundant router is in fault or unknown."""
    bad = [
        f"{row['name']} ({row['redundant_state']})"
        for row in facts.rows("routers")
        if row["redundant"] and row["state"] == "Running" and row["redundant_state"] in ("FAULT", "UNKNOWN")
    ]
    if bad:
        yield RuleFinding(
            f"redundant routers are not sure of their part: {listed(bad)}",
            "a restart of such a pair interrupts its network",
            "see keepalived on them, or restart the network with cleanup",
        )


@rule(Severity.WARNS, "table router_health_check, since 4.14")
def router_checks_pass(facts: HealthFacts) -> Iterator[RuleFinding]:
    """CloudStack's own checks of virtual routers pass."""
    failing = sorted({f"{row['name']} ({row['check_name']})" for row in facts.rows("router_checks")})
    if failing:
        yield RuleFinding(
            f"health checks of virtual routers fail: {listed(failing)}",
            "something on them does not serve",
            "see getRouterHealthCheckResults; restart these networks with cleanup where nothing else helps",
        )


@rule(Severity.NOTES, "networks.restart_required")
def networks_need_no_restart(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports networks that wait for a restart."""
    names = [str(row["name"]) for row in facts.rows("networks")]
    if names:
        yield RuleFinding(
            f"networks wait for a restart: {listed(names)}",
            "changes to them are not in effect; the window restarts them",
            "restart them now",
        )


@rule(Severity.WARNS, "op_host_capacity")
def capacity_is_left(facts: HealthFacts) -> Iterator[RuleFinding]:
    """There is room to make new system VMs and routers."""
    for row in facts.rows("capacity"):
        used, total, kind = float(row["used"]), float(row["total"]), int(row["kind"])
        if kind not in NEEDED or total <= 0:
            continue
        addresses = kind in (4, 5)
        if (total - used <= FEW_ADDRESSES) if addresses else used / total >= NEARLY_ALL:
            where = f"{row['zone']}" + (f", pod {row['pod']}" if row["pod"] else "")
            yield RuleFinding(
                f"{where}: {NEEDED[kind]} are nearly used up ({used:.0f} of {total:.0f})"
                if addresses
                else f"{where}: {used / total:.0%} of {NEEDED[kind]} is used",
                "system VMs and routers are made again in the window and need some of it",
                "add some, or free some",
            )

"""Rules over the way from the original's version to the target's."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack.releases import NEWEST, OLDEST, is_known
from parallel_build.configuration.fix_files import fix_of
from parallel_build.guards import original as guards
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import guard_rule, rule
from parallel_build.health.target_scripts import GuestOsInsert
from parallel_build.rules import RuleFinding, Severity, listed
from parallel_build.versions import CloudStackVersion

REGISTERS_ITSELF = CloudStackVersion("4.16.0.0")
ARCHITECTURES = CloudStackVersion("4.20.0.0")
WITH_TEMPLATE = ("KVM", "XenServer", "VMware", "Hyperv", "LXC", "Ovm3")

guard_rule(guards.version_is_the_configured_one)


@rule(Severity.WARNS, "parallel_build/cloudstack/releases.py")
def path_is_known(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The way from the original's version to the target's is one that is known."""
    configuration = facts.site.configuration
    old, new = configuration.original.version, configuration.new.version
    if configuration.move:
        return
    if old < OLDEST:
        yield RuleFinding(
            f"the original is {old}", "upgrades from before 4.9 are not known to this project", "upgrade to 4.9 or later first"
        )
    if not is_known(new):
        yield RuleFinding(
            f"the target is {new}, which is none of the releases up to {NEWEST} that this project knows",
            "its steps, its templates' names and its log lines may differ",
            "rehearse it with more care than usual",
        )


@rule(Severity.WARNS, "upgrade guide: a template of the exact name for every hypervisor in use, by architecture since 4.20")
def templates_are_configured(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The stack has a system VM template for every hypervisor and architecture in use."""
    configuration = facts.site.configuration
    if configuration.move:
        return  # system VMs and routers stay on what they have
    by_arch = configuration.new.version >= ARCHITECTURES
    used = {
        (str(row["hypervisor_type"]), str(row.get("arch") or "x86_64") if by_arch else "")
        for row in facts.rows("clusters")
        if row["hypervisor_type"] in WITH_TEMPLATE
    }
    there = {(template.hypervisor, (template.arch or "x86_64") if by_arch else "") for template in configuration.templates}
    for hypervisor, arch in sorted(used - there):
        yield RuleFinding(
            f"no system VM template is configured for {hypervisor} {arch}".rstrip() + f" ({_where(facts, hypervisor)})",
            "without it the schema upgrade "
            + ("tries to register one itself, over NFS" if configuration.new.version >= REGISTERS_ITSELF else "stops"),
            "run `parallel-build plan STACK --write-templates`, or add it to the stack's `templates` under the exact name that the target looks up",
            None if configuration.new.version >= REGISTERS_ITSELF else Severity.BLOCKS,
        )


def _where(facts: HealthFacts, hypervisor: str) -> str:
    return "cluster " + listed(sorted(str(row["name"]) for row in facts.rows("clusters") if row["hypervisor_type"] == hypervisor))


@rule(Severity.BLOCKS, "upgrade guide: VMware needs packages of a noredist build; META-INF/cloudstack/vmware-compute in them")
def target_knows_vmware(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The target's packages have the plug-in for VMware, where a cluster is of VMware."""
    if facts.knows_vmware is False and any(row["hypervisor_type"] == "VMware" for row in facts.rows("clusters")):
        yield RuleFinding(
            f"the packages of {facts.site.configuration.new.version} on the new management servers have no plug-in for VMware ({_where(facts, 'VMware')})",
            "they are not of a noredist build: the schema upgrade would pass, and no VMware host would come up on the new side",
            "name a repository with a noredist build in new.packages.repository, and have the new management servers made again with it",
        )


@rule(Severity.WARNS, "upgrade guide, XenServer section: since 4.4 high availability of the pool must be on")
def pools_have_high_availability(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The pool of every XenServer cluster has high availability on."""
    clusters = [row for row in facts.rows("clusters") if row["hypervisor_type"] == "XenServer"]
    if not clusters:
        return
    for pool in facts.pools:
        if not pool.on:
            yield RuleFinding(
                f"high availability is off in the pool {pool.name!r} of {pool.host}",
                "CloudStack leaves it to the pool to make another host its master; when the master is lost, none of the pool's hosts can be managed",
                f"run `xe pool-ha-enable heartbeat-sr-uuids=UUID` on {pool.host}, with a shared storage repository's UUID of `xe sr-list shared=true`",
            )
    if not facts.pools:
        yield RuleFinding(
            f"whether high availability is on can't be read ({_where(facts, 'XenServer')})",
            "neither the cloud's database nor its API has it, and no host of kind xenserver in original.hypervisors answered",
            "run `xe pool-list params=name-label,ha-enabled` on a host of each pool; or list one of each pool in original.hypervisors, kind xenserver",
            Severity.NOTES,
        )


@rule(Severity.BLOCKS, "the target's own upgrade scripts; CloudStack issues 5685, 2740, 3609")
def guest_os_rows_do_not_collide(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No guest operating system of the operator's has a number that the target's scripts give."""
    if facts.site.configuration.move:
        return
    if facts.inserts is None:
        yield RuleFinding(
            "the target's upgrade scripts can't be read on the new servers",
            "whether they collide with guest operating systems of your own shows only in the rehearsal",
            "none needed when it passes there",
            Severity.NOTES,
        )
        return
    taken = {"guest_os": {int(row["id"]): str(row["display_name"]) for row in facts.rows("guest_os")}}
    taken["guest_os_hypervisor"] = {int(row["id"]): str(row["guest_os_name"]) for row in facts.rows("guest_os_mappings")}
    for insert in facts.inserts:
        there = taken[insert.table].get(insert.number)
        if there is not None:
            yield _collision(facts, insert, there)


def _collision(facts: HealthFacts, insert: GuestOsInsert, there: str) -> RuleFinding:
    """What is reported for one row: what to write where no fix repairs it, and which fix does where one names it."""
    row = f"{insert.table} {insert.number}"
    fact = f"row {insert.number} of cloud.{insert.table} is {there!r}; {insert.script} inserts {insert.name!r} under that number"
    cause = (
        "the mappings that follow would be those of another system, unseen"
        if insert.ignored
        else "the schema upgrade stops with Duplicate entry, half way"
    )
    fix = fix_of(facts.fixes, insert.table, insert.number)
    if fix is None:
        rehearsal = facts.site.configuration.rehearsal
        unnamed = f"; none of the fixes there ({listed([each.name for each in facts.fixes])}) has such a line" if facts.fixes else ""
        instead = " in place of rehearsal.waived" if rehearsal.waived else ""
        first = "" if rehearsal.enabled else f"set rehearsal.enabled and rehearsal.machine{instead}, without which no fix is run; then "
        return RuleFinding(
            fact,
            cause,
            f"{first}write {rehearsal.fixes}/NAME.sql with the lines `-- reason: ...` and `-- mends: {row}` and the statements that give your row, "
            f"and all that refers to it, a number of its own (docs/operate/rehearsal.md has one){unnamed}; `pulumi up` then rehearses it",
            Severity.WARNS if insert.ignored else Severity.BLOCKS,
        )
    if (record := facts.rehearsed(fix)) is not None:
        return RuleFinding(
            f"{fact}; {fix.name} fixes it, the rehearsal of {record.ended[:16]} passed with it",
            "the fix is run on the copy before the schema upgrade, in the window as in the rehearsal",
            "none needed",
            Severity.NOTES,
        )
    return RuleFinding(
        f"{fact}; {fix.name} is to fix it ({fix.reason})",
        f"no rehearsal has passed with {fix.name} as it is now; without it {cause}",
        "rehearse it: `pulumi up` does, or `parallel-build rehearse`",
        Severity.WARNS,
    )


@rule(Severity.NOTES, "upgrade guide, customisation warnings; guest_os.is_user_defined")
def own_guest_os_rows(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports guest operating systems that an operator added."""
    if facts.site.configuration.move:
        return
    own = [str(row["display_name"]) for row in facts.rows("guest_os") if row.get("is_user_defined")]
    own += [
        f"mapping {row['guest_os_name']} ({row['hypervisor_type']})"
        for row in facts.rows("guest_os_mappings")
        if row.get("is_user_defined")
    ]
    if own:
        yield RuleFinding(
            f"guest operating systems were added by hand: {listed(own)}",
            "the upgrade guide advises to remove such mappings first; the target may bring the same under its own numbers",
            "have them in the rehearsal; keep a list of them",
        )


@rule(Severity.NOTES, "CloudStack issue 13371")
def known_faults_of_the_target(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports faults that the target release is known for."""
    if not facts.site.configuration.move and facts.site.configuration.new.version == CloudStackVersion("4.22.1.0"):
        yield RuleFinding(
            "CloudStack 4.22.1.0 has a fault in VM high availability",
            "it was fixed after that release",
            "take a later patch release where there is one, or test high availability before users are let in",
        )

"""Guards over the original cloud: it must be fit to be upgraded, since an upgrade fixes nothing."""

from __future__ import annotations

from parallel_build.cloudstack import work, zones
from parallel_build.cloudstack.left_running import SIMULATED
from parallel_build.configuration import StackConfiguration
from parallel_build.database.replicate import log_proof
from parallel_build.database.replicate.channel import CLOUDSTACK
from parallel_build.durations import duration
from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.records.rehearsal import outdated, skipped
from parallel_build.resolved_stack import Site
from parallel_build.versions import CloudStackVersion

ROWS_TOLERATED = 100_000  # more than any growth: the servers only estimate their rows
OBJECTS = ("VM", "volume", "snapshot")
HANGS = 3600  # seconds
JOB_BEFORE = 300  # seconds; a job is entered about when its object leaves its state: a snapshot's after it, most others' before
GROUP = "group_replication_group_name"  # has a value only where a MySQL server was set up as a member
CLOCK_LIMIT = 1.0  # seconds; signatures, heartbeats and usage depend on it


def everything_was_read(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every server and the API can be asked; what can't be seen can't be judged."""
    problems = list(dict.fromkeys(old.problems + fresh.problems))
    if problems:
        raise GuardFailed(
            f"not everything could be read: {' | '.join(problems)}",
            "what can't be seen can't be judged",
            "make those servers reachable, then run the same command again",
        )


def account_has_its_rights(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the account of original.database.admin may do what the window and its rollback do on the original's database server."""
    if old.rights_missing:
        user, _, host = old.account.rpartition("@")
        account = f"'{user}'@'{host}'"
        raise GuardFailed(
            f"{old.account} lacks rights on {site.configuration.original.database.source.name}: {', '.join(old.rights_missing)}",
            "original.database.admin names an account that can't do all that the window and its rollback do there",
            f"GRANT {', '.join(old.rights_missing)} ON *.* TO {account} WITH GRANT OPTION; or name an administrator in original.database.admin"
            if old.rights_missing != ["GRANT OPTION"]
            else f"GRANT USAGE ON *.* TO {account} WITH GRANT OPTION; or name an administrator in original.database.admin",
        )


def version_is_the_configured_one(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the database is complete at `original.version`."""
    configured = site.configuration.original.version
    if old.version and CloudStackVersion(old.version) != configured:
        raise GuardFailed(
            f"the original's database is at {old.version}, not {configured}",
            "original.version says something else",
            "correct original.version, and rehearse that version",
        )
    if old.unfinished:
        raise GuardFailed(
            f"an earlier upgrade was never finished: {', '.join(old.unfinished)}",
            "these rows of cloud.version are not Complete",
            "have that upgrade finished first",
        )


def servers_answer_themselves(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every management server serves a signed call at its own address, as original.api says, or a rollback would time out waiting for it."""
    wrong = [f"{name}: {problem}" for name, problem in sorted(old.apis.items()) if problem]
    if wrong:
        served = site.configuration.original.served
        raise GuardFailed(
            f"management servers do not serve the API at their own addresses: {' | '.join(wrong)}",
            f"they are asked there by {served.scheme} on port {served.port}",
            "set original.api.scheme and original.api.port as their server.properties has them, and let this machine reach that port",
        )


def database_key_fits(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the database key decrypts configuration.init, or no new server could ever start on the copy."""
    if old.key_problem:
        raise old.key_problem


def nothing_hangs(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no VM, volume or snapshot has been between two states for an hour without a job: step Drain would time out waiting for it, users out.

    A job that is younger than that works on something else: on a large cloud there always is one.
    """
    oldest = max((each.seconds for each in old.work if each.kind == "job" and not each.left), default=-JOB_BEFORE)
    hanging = [each for each in old.work if each.kind in OBJECTS and each.seconds > max(HANGS, oldest + JOB_BEFORE)]
    if hanging and site.configuration.window.drain_then == "back":
        raise GuardFailed(
            f"{len(hanging)} items hang between two states: {', '.join(map(str, hanging[:8]))}",
            "no job works on them, so they do not come to rest by themselves",
            "bring them to rest; or set window.drainThen to cut: they are settled in the copy, as their hypervisor shows, and listed",
        )


def forecast(site: Site, old: OriginalFacts) -> list[str]:
    """What step Drain would wait for now."""
    if not old.work:
        return []
    limit = duration(site.configuration.window.drain)
    return [
        f"in progress: {work.in_words(sorted(old.work, key=lambda each: -each.seconds))}; waited for once users are out, at most {limit}"
    ]


def hosts_are_up(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every enabled host of an enabled zone is Up."""
    shut = {name for name, why in zones.left_alone(old.zones).items() if why != zones.EDGE}
    down = [
        f"{host['name']} ({host.get('state')})"
        for host in old.hosts
        if host.get("resourcestate") == "Enabled" and host.get("state") != "Up" and host.get("zonename") not in shut
    ]
    if down:
        raise GuardFailed(
            f"hosts are not Up: {', '.join(down[:8])}",
            "an upgrade does not fix them",
            "bring them up, or put them into maintenance; one that is dead: updateHost allocationstate=Disable",
        )


def system_vms_run(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: each kind of system VM has one that is Running, in each zone that has any and in which CloudStack makes them."""
    kinds: dict[tuple[str, str], bool] = {}
    elsewhere = zones.left_alone(old.zones)
    for vm in old.system_vms:
        if str(vm.get("zonename")) in elsewhere:  # nobody would make another there
            continue
        key = (str(vm.get("zonename")), str(vm.get("systemvmtype")))
        kinds[key] = kinds.get(key, False) or vm.get("state") == "Running"
    missing = [f"{kind} in {zone}" for (zone, kind), runs in sorted(kinds.items()) if not runs]
    if missing:
        raise GuardFailed(
            f"not Running: {', '.join(missing)}",
            "without it no template is downloaded, no console opened; an upgrade does not fix it",
            "see the original's alerts; where one is broken, destroy it: CloudStack makes a new one",
        )


def templates_are_ready(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every system VM template of the target is Ready on the original in every zone in which CloudStack makes system VMs."""
    elsewhere = zones.left_alone(old.zones)
    for template in site.configuration.templates:
        found = [item for item in old.templates if item.get("name") == template.name]
        found = [item for item in found if str(item.get("zonename")) not in elsewhere] or found
        waiting = [str(item.get("zonename")) for item in found if not item.get("isready")]
        if not found or waiting:
            raise GuardFailed(
                f"template {template.name} is {'not Ready in ' + ', '.join(waiting) if found else 'not registered'}",
                "the schema upgrade looks it up by this name",
                "run `pulumi up` in phase prepared: step SystemVmTemplate registers it, or says what is wrong",
            )


def no_cluster_replication(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no Galera, unless original.database.nodes names all its nodes, and no MySQL group: they do not share CloudStack's locks (GET_LOCK), and a
    member that was stopped may come back without the others.
    """
    for side, variables, galera, group in (
        (
            "original",
            old.variables,
            "name the other nodes of the cluster in original.database.nodes; docs/reference/guards.md, A Galera original, says what has to be true of them. "
            "It also has the steps for a cluster that the stack can't take; nothing has been changed",
            "take one member out of the group in a maintenance of its own before the upgrade: docs/reference/guards.md, A MySQL group, has the steps; "
            "nothing has been changed",
        ),
        (
            "new",
            fresh.variables,
            "make new.database.source and new.database.replica plain servers, with wsrep_on OFF; this tool links them itself",
            "make new.database.source and new.database.replica plain servers, without the plug-in group_replication; this tool links them itself",
        ),
    ):
        declared = side == "original" and site.configuration.original.database.nodes
        if variables.get("wsrep_on", "OFF") == "ON" and not declared:
            raise GuardFailed(f"the {side} database is a Galera cluster", "GET_LOCK does not work there", galera)
        if variables.get(GROUP):
            raise GuardFailed(
                f"the {side} database is a member of a MySQL group (Group Replication)",
                "GET_LOCK does not work there, and another member takes its place once it is stopped; started again in a rollback it is read only",
                group,
            )


def binary_log_for_replication(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: transfer.method replicate needs the original's binary log, in row format, with every change of CloudStack's databases in it."""
    if site.configuration.transfer.method != "replicate" or not old.variables:
        return
    if old.variables.get("log_bin") != "ON" or old.variables.get("binlog_format", "ROW") != "ROW":
        raise GuardFailed(
            f"the original has log_bin={old.variables.get('log_bin', 'unknown')}, binlog_format={old.variables.get('binlog_format', 'unknown')}",
            "replication needs both ON and ROW",
            "set them (a restart of the original's database), or use transfer.method dump",
        )
    _galera_logs_everything(site, old)
    names = [name for name in CLOUDSTACK if name != "cloudbridge" or site.configuration.original.database.cloudbridge]
    found = log_proof.gaps(old.log, site.configuration.original.database.source.name, names) if old.log else []
    if found:
        raise GuardFailed("; ".join(gap.fact for gap in found), found[0].cause, found[0].remedy)


def _galera_logs_everything(site: Site, old: OriginalFacts) -> None:
    pair = site.configuration.original.database
    if not pair.nodes:
        return
    node = old.galera.get(pair.source.name)
    off = [] if old.log is None or old.log.logs_applied else ["log_slave_updates"]
    off += [] if node is None or node.gtid_mode else ["wsrep_gtid_mode"]
    if off:
        raise GuardFailed(
            f"{pair.source.name}, a Galera node, does not log everything under one name: {', '.join(f'{name} is OFF' for name in off)}",
            "what is written on another node would be in no binary log that replication reads, or out of its order",
            "set transfer.method to dump; or set these ON in the option file of every node, and restart one node after the other in a maintenance of its own",
        )


def clocks_agree(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: all servers' clocks are within one second of each other."""
    clocks = {**old.clocks, **fresh.clocks}
    if not clocks:
        return
    ahead, behind = max(clocks, key=lambda n: clocks[n].ahead), min(clocks, key=lambda n: clocks[n].ahead)
    difference = clocks[ahead].ahead - clocks[behind].ahead
    # Only what the readings prove counts: a busy server answers late, and its clock may be right all the same.
    if difference - clocks[ahead].uncertain - clocks[behind].uncertain > CLOCK_LIMIT:
        raise GuardFailed(
            f"the clocks of {ahead} and {behind} differ by {difference:.1f} s",
            "signed calls, heartbeats and usage depend on them",
            "have both follow the same NTP servers",
        )


def source_is_the_source(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: original.database.source is the server that takes the writes, and a replica of none but its own replica (two-way replication)."""
    pair = site.configuration.original.database
    upstreams = dict(old.upstreams) or ({old.replicates_from: [old.replicates_from]} if old.replicates_from else {})
    own = {pair.replica.name, pair.replica.address, *old.addresses.get(pair.replica.name, [])} if pair.replica else set()
    strangers = sorted(name for name, addresses in upstreams.items() if not own.intersection([name, *addresses]))
    if strangers or old.read_only:
        raise GuardFailed(
            f"{pair.source.name} " + (f"is a replica of {', '.join(strangers)}" if strangers else "is read only"),
            "a replica may be behind, and the server that is really in service would still be written to",
            "correct original.database.source (source and replica may be swapped); where the two replicate from each other, name the other one in "
            "original.database.replica; or end that replication",
        )


def nothing_waits_on_the_peer(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: where source and replica replicate from each other, the source has applied what was written on the replica."""
    if old.unapplied:
        raise GuardFailed(
            f"{site.configuration.original.database.source.name} has not applied everything of {'; '.join(old.unapplied)}",
            "what was written there and not here would be in no copy, and the comparison would not see it",
            "have it catch up (SHOW SLAVE STATUS, SHOW REPLICA STATUS on the source); where nobody writes on the replica and only the replication is "
            "broken: end it with STOP and RESET SLAVE ALL on the source; the replica still follows it",
        )


def carried_state_is_there(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: everything that new.carry names is on the original's server, and is neither db.properties nor the key."""
    if old.not_carried:
        raise GuardFailed(
            "; ".join(old.not_carried),
            "what is named can't be carried, so the new servers would lack it",
            "correct new.carry; see what is there: parallel-build health",
        )


def services_can_be_masked(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: systemd runs the original's management and database servers: what is stopped there must stay down, and only a masked unit does."""
    others = sorted(name for name, systemd in old.systemd.items() if not systemd)
    if others:
        raise GuardFailed(
            f"not run by systemd: {', '.join(others)}",
            "a service of another init system can be disabled but not masked: a cron job, a package or a colleague would start it next to the new side",
            "move them to a system that systemd runs (EL 7, Ubuntu 16.04, Debian 8 and later) before the upgrade",
        )
    kept = [f"{name}: {', '.join(found)}" for name, found in sorted(old.unmaskable.items()) if found]
    if kept:
        raise GuardFailed(
            f"units could not be masked on {'; '.join(kept)}",
            "systemctl masks no unit whose file is in /etc/systemd/system itself, and the window would end there, with users out",
            "move such a file to /usr/local/lib/systemd/system, where it counts as well, and run systemctl daemon-reload: nothing is restarted by that",
        )


def no_transaction_is_long(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no transaction or statement has been at work on the original's database for more than a minute."""
    if old.long_transactions:
        raise GuardFailed(
            f"transactions have been at work for more than a minute: {'; '.join(old.long_transactions[:5])}",
            "a backup, a schema change or a large statement would hold up the stop, or be cut off by it",
            "wait for their end (SHOW PROCESSLIST on the original's source)",
        )


def rehearsal_passed(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the last rehearsal passed, with these versions and fixes, lately, and with about as many rows as there are now; or `rehearsal.waived`
    says why the window may open without one, and there is nothing that would be left out for want of it. A move has nothing to rehearse.
    """
    rehearsal = site.configuration.rehearsal
    if site.configuration.move:
        return
    if not rehearsal.enabled:
        _waived(site.configuration)
        return
    again = f"run `parallel-build rehearse {site.stack}`, or `pulumi up` in phase prepared"
    record = old.rehearsal
    if record is None:
        raise GuardFailed("nothing has been rehearsed", "rehearsal.enabled demands it before the window", again)
    if not record.passed:
        raise GuardFailed(
            f"the last rehearsal failed on {record.ended[:16]}",
            record.cause,
            f"remove that cause first, by a fix where it is in the data (docs/operate/rehearsal.md); then {again}",
        )
    if reason := outdated(site.configuration, record):
        raise GuardFailed(f"the rehearsal of {record.ended[:16]} does not count any more", reason, again)
    if (age := record.age()) is None:
        raise GuardFailed(
            f"when the last rehearsal was is not known: {record.ended[:16] or 'its record has no time'}",
            "that time is still to come or can't be read, so its record is torn or a clock was wrong",
            f"see the clock of this machine, then {again}",
        )
    if age > rehearsal.max_age.total_seconds():
        raise GuardFailed(
            f"the rehearsal of {record.ended[:16]} is {age / 86400:.1f} days old",
            f"rehearsal.maxAge is {rehearsal.max_age}",
            again,
        )
    if old.rows > record.rows * rehearsal.growth + ROWS_TOLERATED:
        raise GuardFailed(
            f"the databases have about {old.rows:,} rows, {record.rows:,} when the upgrade was rehearsed",
            "the rehearsal's times say nothing about the window any more",
            f"{again}; rehearsal.growth ({rehearsal.growth:g}) says how much they may grow",
        )


def _waived(configuration: StackConfiguration) -> None:
    have_one = "set rehearsal.enabled and rehearsal.machine (docs/operate/rehearsal.md) and run `pulumi up` in phase prepared"
    if configuration.rehearsal.waived is None:
        raise GuardFailed(
            "the upgrade is not rehearsed: rehearsal.enabled is off",
            "what stops the schema upgrade would be found in the window, with users out, and nobody knows how long it takes",
            f"{have_one}; or say why the window may open without one: rehearsal.waived: REASON",
        )
    if left_out := skipped(configuration):
        raise GuardFailed(
            f"rehearsal.waived leaves out what is configured for the copy: {', '.join(left_out)}",
            "fixes and housekeeping run in the window only as they were rehearsed",
            f"{have_one}, without rehearsal.waived; or move the files out of {configuration.rehearsal.fixes} and remove rehearsal.housekeeping",
        )


def nothing_of_an_earlier_window_runs(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no system VM or router that an earlier window's new side made runs on unless you confirmed its removal: names and addresses would be there twice.

    A simulated one holds no address; it counts only where its name is, or will be, given again.
    """
    confirmed = site.configuration.window.confirmed_removed
    left = [
        each
        for each in old.left_running
        if each.guest.name not in confirmed and (each.taken or each.coming or each.guest.hypervisor != SIMULATED)
    ]
    if not left:
        return
    commands = "; ".join(f"{each.guest}: {each.guest.remove}" for each in left)
    settings = "; ".join(
        f"pulumi config set --path 'window.confirmedRemoved[{number}]' {each.guest.name}"
        for number, each in enumerate(left, len(confirmed))
    )
    twice = [each.guest.name for each in left if each.taken or each.coming]
    raise GuardFailed(
        f"made by an earlier window's new side, and not seen removed since: {', '.join(str(each.guest) for each in left)}",
        (f"the original gives these names again: {', '.join(twice)}; " if twice else "")
        + "they hold addresses and networks that the original takes for free, and their hypervisors can't be asked from here",
        f"remove them ({commands}), then confirm it: {settings}",
    )


GUARDS = rules_of(
    everything_was_read,
    account_has_its_rights,
    version_is_the_configured_one,
    servers_answer_themselves,
    database_key_fits,
    nothing_hangs,
    hosts_are_up,
    system_vms_run,
    templates_are_ready,
    no_cluster_replication,
    binary_log_for_replication,
    clocks_agree,
    source_is_the_source,
    nothing_waits_on_the_peer,
    carried_state_is_there,
    services_can_be_masked,
    no_transaction_is_long,
    rehearsal_passed,
    nothing_of_an_earlier_window_runs,
)

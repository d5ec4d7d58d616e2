"""Guards at their limits: what just holds, what only looks wrong, what one fact more or less changes, and the words that an operator acts on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.cloudstack.left_running import SIMULATED, Guest
from parallel_build.cloudstack.services import MANAGEMENT, UnitState
from parallel_build.cloudstack.web import WebServer
from parallel_build.cloudstack.work import Work
from parallel_build.database.server.galera import GaleraStatus
from parallel_build.errors import GuardFailed
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.database_users import AccountUse, DatabaseUse
from parallel_build.facts.front_places import FrontMachine
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.facts.original import LeftGuest
from parallel_build.guards import both_sides, frontend, galera, original, seed, waves, world
from parallel_build.remote.clock import Clock
from tests.fast.configuration.test_frontend import DOOR
from tests.fast.guards.conftest import ill
from tests.fast.guards.test_guards import AGENTS, GOOD_NEW, GOOD_OLD, KVM, NEWER, OLDER, new, server
from tests.fast.guards.test_guards_galera import GOOD as NODE
from tests.fast.guards.test_guards_galera import MEMBERS, NODES, cluster
from tests.fast.guards.test_guards_galera import facts as nodes
from tests.fast.guards.test_guards_seed import REPLICATE, STATUS
from tests.fast.guards.test_guards_seed import fresh as seeded
from tests.fast.guards.test_waves import FACTS
from tests.fast.sites import site
from tests.fast.steps.test_rehearsal import PASSED, rehearsing


def refused(guard: Any, old: Any = GOOD_OLD, fresh: Any = GOOD_NEW, here: Any = None) -> GuardFailed | None:
    """How a guard refuses; None where it holds."""
    try:
        guard(here or site(), old, fresh)
    except GuardFailed as error:
        return error
    return None


def fact(guard: Any, old: Any = GOOD_OLD, fresh: Any = GOOD_NEW, here: Any = None) -> str:
    """The fact of a refusal."""
    error = refused(guard, old, fresh, here)
    assert error is not None
    return error.fact


# Asking only some, and those that warn


def test_only_the_guards_that_are_asked_are_asked() -> None:
    bad = replace(GOOD_OLD, version="4.19.0.0")
    assert guards.failures(site(), bad, GOOD_NEW, []) == [] != guards.failures(site(), bad, GOOD_NEW)


def test_a_rule_names_its_source_and_gets_both_sides() -> None:
    names = {rule.name: rule for rule in guards.GUARDS}
    assert "parallel_build/guards (own_names_resolve)" in names["own_names_resolve"].source
    assert [rule.name for rule in guards.GUARDS if not rule.source] == []
    assert guards.report(site(), GOOD_OLD, new(resolves=False)).failing == ["own_names_resolve"]


def test_notices_are_of_the_work_of_others_and_of_what_stands_before_the_original() -> None:
    still = {"front1": FrontMachine(addresses=("10.91.0.60",)), "front2": FrontMachine(movers=("keepalived",))}
    found = guards.notices(
        site(original={"frontend": [DOOR]}), replace(GOOD_OLD, fronts=still, away={"kvm2": "Maintenance", "kvm1": "Disabled"})
    )
    assert any(line.startswith("warning: kvm1, kvm2 can't be reached and is put aside") for line in found)
    assert "warning: keepalived does not run on front1: 10.91.0.60 would not move there" in found
    assert [why for line in found if (why := ill(line))] == []


def test_what_before_the_database_is_not_closed_and_who_only_reads_are_warnings() -> None:
    proxy = {"kind": "proxysql", "address": "10.91.0.66", "before": "database"}
    reading = DatabaseUse(accounts=(AccountUse("billing", "10.0.0.%"), AccountUse("grafana", "%")))
    found = guards.notices(site(original={"frontend": [proxy, DOOR]}), replace(GOOD_OLD, uses={"olddb1": reading}))
    assert any("proxysql at 10.91.0.66 stands before the original's database and has no command `close`" in line for line in found)
    assert any(
        line.startswith("warning: haproxy at 10.91.0.60 is turned by commands, and no user's call is made through it") for line in found
    )
    (readers,) = [line for line in found if "these only read" in line]
    assert readers.endswith(": account billing@10.0.0.%, account grafana@%")
    assert [why for line in found if (why := ill(line))] == []


@pytest.mark.parametrize(("kind", "declared", "holds"), [
    ("pacemaker", "pacemaker", True), ("pacemaker", "corosync", True), ("monit", "corosync", False), ("monit", "monit", True),
])  # fmt: skip
def test_corosync_is_another_name_of_pacemaker_alone(kind: Any, declared: str, holds: bool) -> None:
    managed = replace(GOOD_OLD, managers={"olddb1": [ClusterManager(kind, ("mariadb",))]})
    door = {"kind": declared, "servers": ["olddb1"]}
    assert (refused(world.nobody_else_starts_the_servers, managed, here=site(original={"frontend": [door]})) is None) is holds


# Both sides


def test_versions_are_judged_once_both_are_known_and_by_the_method() -> None:
    fits = both_sides.database_versions_fit
    for old, fresh in ((None, OLDER), (NEWER, None), (None, None)):
        assert refused(fits, replace(GOOD_OLD, server=old), replace(GOOD_NEW, server=fresh)) is None
    for case in ({"old": {"lower_case_table_names": "1"}, "fresh": {}}, {"old": {}, "fresh": {"lower_case_table_names": "1"}}):
        assert refused(fits, replace(GOOD_OLD, variables=case["old"]), replace(GOOD_NEW, variables=case["fresh"])) is None
    across = replace(GOOD_OLD, server=server("olddb1", "8.0.36")), replace(GOOD_NEW, server=server("newdb1", "10.11.6-MariaDB"))
    by_method = [refused(fits, *across, site(transfer={"method": method})) is None for method in ("dump", "replicate")]
    assert by_method == [True, False], "rows can be copied between families, and not followed"


@pytest.mark.parametrize(("package", "words"), [("", "newms1 has none"), ("4.21.0.0", "newms1 has 4.21.0.0")])
def test_the_package_that_is_there_and_the_one_that_is_wanted_are_named(package: str, words: str) -> None:
    found = fact(both_sides.target_is_installed, fresh=new(package=package))
    assert words in found and "cloudstack-management 4.22.1.0 is not installed everywhere" in found


def test_a_host_whose_file_can_not_be_read_is_not_called_ignorant() -> None:
    complete = replace(GOOD_OLD, hosts=KVM, host_setting="10.91.0.11,10.91.0.41,10.91.0.42")
    unread: dict[str, list[str]] = {"kvm2": []}
    for learnt in (unread, {"kvm1": ["10.91.0.41", "10.91.0.42"]}):
        assert refused(AGENTS, replace(complete, learnt=learnt)) is None


# The new side


def test_a_copy_that_just_fits_fits() -> None:
    exactly = replace(GOOD_OLD, bytes=GOOD_NEW.free_bytes // 2)
    assert refused(guards.new.space_is_enough, exactly) is None
    assert "20.0 GB" in fact(guards.new.space_is_enough, replace(GOOD_OLD, bytes=20_000_000_000))


def test_every_new_server_is_judged_also_behind_one_that_could_not_be_asked() -> None:
    first, second = replace(GOOD_NEW.management[0], web=None), replace(GOOD_NEW.management[0], name="newms2", web=WebServer(http=9090))
    assert "newms2 will serve http on 9090" in fact(
        guards.new.servers_will_serve_as_configured, fresh=replace(GOOD_NEW, management=[first, second])
    )


def test_a_server_that_is_away_is_reached_by_nobody() -> None:
    unreachable = new(unreachable=["kvm1 (10.91.0.21:22)", "kvm2 (10.91.0.22:22)"])
    assert (
        fact(guards.new.needed_servers_are_reachable, replace(GOOD_OLD, away={"kvm1": "Disabled"}), unreachable)
        == "newms1 can't reach kvm2 (10.91.0.22:22)"
    )
    assert (
        refused(guards.new.needed_servers_are_reachable, replace(GOOD_OLD, away={"kvm1": "Disabled", "kvm2": "Maintenance"}), unreachable)
        is None
    )


# The original


def test_the_grant_is_for_the_account_as_the_server_has_it() -> None:
    error = refused(original.account_has_its_rights, replace(GOOD_OLD, account="dba@corp@10.91.0.%", rights_missing=["RELOAD", "PROCESS"]))
    assert error is not None and "GRANT RELOAD, PROCESS ON *.* TO 'dba@corp'@'10.91.0.%'" in error.remedy


@pytest.mark.parametrize(("seconds", "holds"), [(original.HANGS, True), (original.HANGS + 1, False)])
def test_what_is_at_work_for_an_hour_hangs_afterwards(seconds: int, holds: bool) -> None:
    work = replace(GOOD_OLD, work=[Work("VM", 3, "Starting", "i-2-3-VM", seconds)])
    assert (refused(original.nothing_hangs, work) is None) is holds


def test_an_object_may_be_as_old_as_the_job_that_works_on_it() -> None:
    def busy(seconds: int) -> GuardFailed | None:
        job = Work("job", 1, "MigrateVolumeCmd", "Volume 3", 7200, 9)
        return refused(original.nothing_hangs, replace(GOOD_OLD, work=[job, Work("volume", 3, "Migrating", "ROOT-3", seconds)]))

    assert busy(7200 + original.JOB_BEFORE) is None
    assert busy(7200 + original.JOB_BEFORE + 1) is not None


def test_hosts_that_are_down_are_named_with_their_state() -> None:
    hosts = [{"name": f"kvm{n}", "state": state, "resourcestate": "Enabled"} for n, state in ((1, "Down"), (2, "Up"), (3, "Alert"))]
    assert fact(original.hosts_are_up, replace(GOOD_OLD, hosts=hosts)) == "hosts are not Up: kvm1 (Down), kvm3 (Alert)"


def test_one_system_vm_of_a_kind_that_runs_is_enough_and_every_kind_is_looked_at() -> None:
    vms = [{"zonename": "z", "systemvmtype": kind, "state": state} for kind, state in (
        ("consoleproxy", "Running"), ("consoleproxy", "Stopped"), ("secondarystoragevm", "Stopped"))]  # fmt: skip
    assert fact(original.system_vms_run, replace(GOOD_OLD, system_vms=vms)) == "not Running: secondarystoragevm in z"
    edge = [{"zonename": "far", "systemvmtype": "consoleproxy", "state": "Stopped"}, *vms]
    shut = [{"name": "far", "allocationstate": "Disabled"}, {"name": "z", "allocationstate": "Enabled"}]
    assert "secondarystoragevm in z" in fact(original.system_vms_run, replace(GOOD_OLD, system_vms=edge, zones=shut))


@pytest.mark.parametrize(("variables", "words"), [
    ({"log_bin": "ON", "binlog_format": "MIXED"}, "log_bin=ON, binlog_format=MIXED"), ({"log_bin": "OFF"}, "log_bin=OFF, binlog_format=unknown"),
    ({"binlog_format": "ROW"}, "log_bin=unknown, binlog_format=ROW"),
])  # fmt: skip
def test_what_is_known_of_the_log_is_shown(variables: dict[str, str], words: str) -> None:
    where = site(transfer={"method": "replicate"})
    assert words in fact(original.binary_log_for_replication, replace(GOOD_OLD, variables=variables), here=where)


def clocks(**given: tuple[float, float]) -> Any:
    """Facts with these clocks alone: how far ahead, and how uncertain."""
    return replace(GOOD_OLD, clocks={name: Clock(*values) for name, values in given.items()}), replace(GOOD_NEW, clocks={})


def test_the_two_clocks_that_are_furthest_apart_are_named() -> None:
    assert fact(original.clocks_agree, *clocks(b=(3.0, 0.0), a=(0.5, 0.0), c=(-1.0, 0.0))) == "the clocks of b and c differ by 4.0 s"
    assert refused(original.clocks_agree, *clocks()) is None


@pytest.mark.parametrize(("ahead", "behind", "holds"), [
    ((1.0, 0.0), (0.0, 0.0), True), ((1.01, 0.0), (0.0, 0.0), False), ((1.5, 0.25), (0.0, 0.25), True), ((1.6, 0.25), (0.0, 0.25), False),
    ((1.5, 0.0), (0.0, 0.6), True), ((1.5, 0.6), (0.0, 0.0), True),
])  # fmt: skip
def test_only_what_both_readings_prove_counts(ahead: tuple[float, float], behind: tuple[float, float], holds: bool) -> None:
    assert (refused(original.clocks_agree, *clocks(one=ahead, other=behind)) is None) is holds


def test_a_source_that_follows_its_own_replica_by_any_of_its_addresses_is_the_source() -> None:
    two_way = replace(GOOD_OLD, replicates_from="192.0.2.14", addresses={"olddb2": ["10.91.0.14", "192.0.2.14"]})
    assert refused(original.source_is_the_source, two_way) is None
    assert "192.0.2.15" in fact(original.source_is_the_source, replace(two_way, replicates_from="192.0.2.15"))


def test_every_unit_that_can_not_be_masked_is_named() -> None:
    kept = replace(GOOD_OLD, unmaskable={"oldms2": ["/etc/systemd/system/b.service"], "oldms1": ["/x/a.service", "/x/u.service"]})
    assert fact(original.services_can_be_masked, kept).endswith("oldms1: /x/a.service, /x/u.service; oldms2: /etc/systemd/system/b.service")


GUESTS = {
    "taken": LeftGuest(Guest("r-19-VM", "DomainRouter", "esx1", "VMware"), taken=True, coming=False),
    "coming": LeftGuest(Guest("s-20-VM", "SecondaryStorageVm", "esx1", "VMware"), taken=False, coming=True),
    "neither": LeftGuest(Guest("v-21-VM", "ConsoleProxy", "esx1", "VMware"), taken=False, coming=False),
}  # fmt: skip


def test_guests_of_an_earlier_window_are_named_with_what_is_given_twice_and_how_each_is_confirmed() -> None:
    left = replace(GOOD_OLD, left_running=list(GUESTS.values()))
    error = refused(original.nothing_of_an_earlier_window_runs, left, here=site(window={"confirmedRemoved": ["x-1-VM"]}))
    assert error is not None
    assert "the original gives these names again: r-19-VM, s-20-VM; " in error.cause
    assert "window.confirmedRemoved[1]' r-19-VM; pulumi config set --path 'window.confirmedRemoved[2]' s-20-VM; " in error.remedy
    assert "govc vm.destroy r-19-VM; " in error.remedy
    alone = refused(original.nothing_of_an_earlier_window_runs, replace(left, left_running=[GUESTS["neither"]]))
    assert alone is not None and alone.cause.startswith("they hold addresses")
    simulated = replace(GUESTS["neither"], guest=Guest("v-21-VM", "ConsoleProxy", "sim1", SIMULATED))
    assert refused(original.nothing_of_an_earlier_window_runs, replace(left, left_running=[simulated])) is None
    for again in (replace(simulated, taken=True), replace(simulated, coming=True)):
        assert refused(original.nothing_of_an_earlier_window_runs, replace(left, left_running=[again])) is not None


@pytest.mark.parametrize(("rows", "holds"), [(1_600_000, True), (1_600_001, False), (1_000_000, True)])
def test_a_rehearsal_counts_up_to_its_growth_and_some_rows(rows: int, holds: bool, tmp_path: Path) -> None:
    here = rehearsing(tmp_path)
    growth = here.configuration.rehearsal.growth
    record = replace(PASSED, rows=int((1_600_000 - original.ROWS_TOLERATED) / growth))
    limit = int(record.rows * growth + original.ROWS_TOLERATED)
    old = replace(GOOD_OLD, rehearsal=record, rows=limit + (rows - 1_600_000))
    assert (refused(original.rehearsal_passed, old, here=here) is None) is holds


# What stands before the original, and a cluster


def test_a_machine_that_was_not_asked_holds_nothing_and_may_hold_everything() -> None:
    quiet = {key: value for key, value in DOOR.items() if key not in ("close", "toNew", "toOriginal")}
    here = site(original={"frontend": [quiet]})
    assert refused(frontend.front_addresses_are_held_once, replace(GOOD_OLD, fronts={}), here=here) is None
    assert [line for line in frontend.notices(here, replace(GOOD_OLD, fronts={})) if "does not run" in line] == []


def test_members_that_nobody_named_are_shown_by_their_address_of_either_family() -> None:
    strangers = (*MEMBERS, "10.91.0.19:3306", "[fd00::19]:3306")
    large = nodes(**dict.fromkeys(NODES, replace(NODE, size=5, incoming=strangers)))
    assert fact(galera.galera_is_whole, large, here=cluster()).endswith("; not named: 10.91.0.19, fd00::19")
    unknown = replace(large, addresses={})
    assert "not named: 10.91.0.13, 10.91.0.14" in fact(galera.galera_is_whole, unknown, here=cluster()), "whose addresses are not known"
    assert GaleraStatus().on is False


# The seed


@pytest.mark.parametrize(("image", "holds"), [("FULL", True), ("", True), ("MINIMAL", False), ("NOBLOB", False)])
def test_rows_are_logged_whole_or_the_server_knows_no_other_way(image: str, holds: bool) -> None:
    assert (refused(seed.rows_are_logged_whole, fresh=seeded(row_image=image), here=REPLICATE) is None) is holds


def test_the_threads_that_do_not_run_are_named() -> None:
    status = replace(STATUS, receiving=False, applying=False)
    error = refused(seed.seed_follows, fresh=seeded(status=status), here=REPLICATE)
    assert error is not None and error.cause == "its receiver and applier do not run"
    error = refused(seed.seed_follows, fresh=seeded(status=replace(STATUS, applying=False)), here=REPLICATE)
    assert error is not None and error.cause == "its applier does not run"


def test_a_lag_that_the_server_does_not_tell_is_a_position() -> None:
    error = refused(seed.seed_is_caught_up, fresh=seeded(behind=None, status=replace(STATUS, lag=None)), here=REPLICATE)
    assert error is not None and error.cause == f"it is at {STATUS.applied}" and "newdb1 did not reach" in error.fact


NOWHERE = "the seed's record does not say where"


@pytest.mark.parametrize(
    ("differences", "cause"), [(["a", "b", "c", "d"], "a; b; c"), (["a"], "a"), ([], NOWHERE), (None, NOWHERE), ("torn", NOWHERE)]
)
def test_the_first_differences_of_a_seed_are_named(differences: Any, cause: str) -> None:
    error = refused(seed.seed_was_found_the_same, fresh=seeded(baseline={"same": False, "differences": differences}), here=REPLICATE)
    assert error is not None and error.cause == cause and error.fact == "newdb1 was found different from the original"


# The world around


MOVE: dict[str, Any] = {"new": {"version": "4.20.3.0"}, "templates": []}


@pytest.mark.parametrize(("version", "changes", "holds"), [
    ("4.20.3.0", MOVE, True), ("4.20.3.0-shapeblue1", MOVE, False), ("4.20.3.0-shapeblue1", {}, True), ("4.20.3.1", MOVE, False),
])  # fmt: skip
def test_a_move_takes_exactly_the_build_that_runs(version: str, changes: dict[str, Any], holds: bool) -> None:
    running = replace(GOOD_OLD, management=[{**row, "version": version} for row in GOOD_OLD.management])
    error = refused(world.management_servers_are_known, running, here=site(**changes))
    assert (error is None) is holds
    assert error is None or error.fact == f"the original's management servers run {version}, and original.version is 4.20.3.0"


@pytest.mark.parametrize(("key", "address", "holds"), [
    ("db.cloud.host", "10.91.0.13", True), ("db.cloud.host", "10.91.0.14", False),
    ("db.cloud.replicas", "10.91.0.14", True), ("db.cloud.slaves", "10.91.0.14", True), ("db.cloud.slaves", "10.91.0.99", False),
])  # fmt: skip
def test_a_replicas_key_may_lead_to_the_replica(key: str, address: str, holds: bool) -> None:
    facts = replace(GOOD_OLD, nodes={"oldms1": ManagementNode(targets=(DatabaseTarget(key, address),))})
    assert (refused(world.management_servers_use_the_source, facts) is None) is holds


def test_a_source_on_the_same_machine_is_reached_by_the_loopback() -> None:
    target = ManagementNode(targets=(DatabaseTarget("db.cloud.host", "127.0.0.1"),))
    for addresses, holds in (({"oldms1": ["10.91.0.11", "10.91.0.13"]}, True), ({"oldms1": ["10.91.0.11"]}, False), ({}, False)):
        facts = replace(GOOD_OLD, nodes={"oldms1": target}, addresses=addresses)
        assert (refused(world.management_servers_use_the_source, facts) is None) is holds


def test_a_name_is_shown_with_the_addresses_that_it_stands_for() -> None:
    def named(*addresses: str) -> str:
        target = DatabaseTarget("db.cloud.host", "db.example.org", addresses=addresses)
        return fact(world.management_servers_use_the_source, replace(GOOD_OLD, nodes={"oldms1": ManagementNode(targets=(target,))}))

    assert "is db.example.org (10.91.0.98, 10.91.0.99), port 3306" in named("10.91.0.98", "10.91.0.99", "db.example.org")
    assert "is db.example.org, port 3306" in named("db.example.org")


def test_networks_of_a_cloud_of_which_no_names_are_known_are_not_there() -> None:
    unknown = replace(FACTS, names={})
    named = [{"networks": ["net1"]}, {"domain": "gold"}, {"account": "a"}]
    error = refused(waves.waves_name_what_is_there, unknown, here=site(routers={"waves": named, "accepted": ["net1"]}))
    assert error is not None and error.fact.endswith(
        ": routers.waves[0].networks: net1, routers.waves[1].domain: gold, routers.waves[2].account: a, routers.accepted: net1"
    )


# The cause and the remedy of each case


@pytest.mark.parametrize(("tables", "words", "remedy"), [
    (1, "cloud on newdb1 holds 1 tables", "look at what is in it"), (3, "holds 3 tables", "look at what is in it"),
    (-1, "cloud on newdb1 does not exist", "CREATE DATABASE cloud there"),
])  # fmt: skip
def test_a_database_that_is_not_empty_is_looked_at_and_one_that_is_not_there_is_made(tables: int, words: str, remedy: str) -> None:
    error = refused(guards.new.databases_are_empty, fresh=replace(GOOD_NEW, tables={"cloud_usage": 0, "cloud": tables}))
    assert error is not None and words in error.fact and error.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("active", "masked", "words"), [(True, True, "is running"), (True, False, "is running"), (False, False, "is not masked")]
)
def test_a_unit_that_could_start_is_named_with_why(active: bool, masked: bool, words: str) -> None:
    unit = UnitState(MANAGEMENT, known=True, active=active, enabled=False, masked=masked)
    assert fact(guards.new.services_are_fenced, fresh=new(units=[unit])) == f"cloudstack-management on newms1 {words}"
    other = UnitState("mariadb", known=True, active=True, enabled=True, masked=False)
    assert refused(guards.new.services_are_fenced, fresh=new(units=[other])) is None


def test_long_lists_are_cut() -> None:
    hosts = [{"name": f"kvm{n}", "state": "Down", "resourcestate": "Enabled"} for n in range(12)]
    assert fact(original.hosts_are_up, replace(GOOD_OLD, hosts=hosts)).count("(Down)") == 8
    work = [Work("VM", n, "Starting", f"i-{n}-VM", 9000) for n in range(12)]
    assert fact(original.nothing_hangs, replace(GOOD_OLD, work=work)).count("-VM") == 8
    slow = [f"connection {n}" for n in range(12)]
    assert fact(original.no_transaction_is_long, replace(GOOD_OLD, long_transactions=slow)).count("connection") == 5


@pytest.mark.parametrize(("ids", "fact_words", "cause"), [
    ({"olddb1": 7, "newdb1": 7, "newdb2": 8}, "olddb1 and newdb1 both have server_id 7", "a server ignores events that carry its own number"),
    ({"olddb1": 1, "newdb1": 0, "newdb2": 8}, "newdb1 has server_id 0", "0 switches replication off"),
])  # fmt: skip
def test_numbers_of_servers_that_are_the_same_or_none(ids: dict[str, int], fact_words: str, cause: str) -> None:
    error = refused(seed.server_ids_differ, fresh=seeded(server_ids=ids), here=REPLICATE)
    assert error is not None and (error.fact, error.cause) == (fact_words, cause)


def test_a_seed_that_leaves_out_changes_is_refused() -> None:
    error = refused(seed.seed_follows, fresh=seeded(left_out="replicate_ignore_db=cloud"), here=REPLICATE)
    assert error is not None and error.fact == "newdb1 may pass over changes of olddb1: replicate_ignore_db=cloud"
    assert "option files of newdb1" in error.remedy and "DatabaseSeed" in error.remedy


def test_every_server_that_leads_elsewhere_is_named_also_behind_one_without_a_file_or_an_answer() -> None:
    elsewhere = ManagementNode(targets=(DatabaseTarget("db.cloud.host", "10.91.0.98"), DatabaseTarget("db.usage.host", "")))
    facts = replace(GOOD_OLD, nodes={"oldms1": ManagementNode(targets=None), "oldms2": elsewhere})
    words = fact(world.management_servers_use_the_source, facts)
    assert (
        "oldms1 has no db.properties; db.cloud.host of oldms2 is 10.91.0.98, port 3306; db.usage.host of oldms2 is empty, port 3306"
        in words
    )
    assert "of oldms2 is 10.91.0.98" in fact(world.management_servers_use_the_source, replace(facts, nodes={"oldms2": elsewhere}))


def test_servers_that_do_not_beat_here_are_of_another_source_and_where_none_runs_they_are_to_be_started() -> None:
    silent = refused(world.management_servers_beat_here, replace(GOOD_OLD, management=[]))
    assert silent is not None and silent.remedy == world.WRONG_SOURCE and "oldms1 (has no row), oldms2 (has no row)" in silent.fact
    down = {name: ManagementNode(runs=False) for name in ("oldms1", "oldms2")}
    error = refused(world.management_servers_beat_here, replace(GOOD_OLD, nodes=down))
    assert error is not None and error.remedy == "start them before the upgrade"

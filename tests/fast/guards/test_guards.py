"""Each guard: one case in which it holds, one in which it fails and says fact, cause and remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.cloudstack.left_running import Guest
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, UnitState
from parallel_build.cloudstack.web import WebServer
from parallel_build.cloudstack.work import Work
from parallel_build.database.server.dialects import DatabaseServer, dialect_of, parse_version
from parallel_build.errors import GuardFailed
from parallel_build.facts.cluster_managers import ClusterManager
from parallel_build.facts.database_users import DatabaseUse
from parallel_build.facts.management_node import DatabaseTarget, ManagementNode
from parallel_build.facts.new import ManagementFacts, NewFacts
from parallel_build.facts.original import LeftGuest, OriginalFacts
from parallel_build.remote.clock import Clock
from tests.fast.sites import site

MASKED = [UnitState(unit, known=True, active=False, enabled=False, masked=True) for unit in (MANAGEMENT, USAGE)]
GOOD_OLD = OriginalFacts(
    version="4.20.3.0",
    management=[
        {"name": name, "service_ip": address, "state": "Up", "version": "4.20.3.0", "age": 1}
        for name, address in (("oldms1", "10.91.0.11"), ("oldms2", "10.91.0.12"))
    ],
    hosts=[{"name": "kvm1", "state": "Up", "resourcestate": "Enabled"}],
    system_vms=[{"zonename": "z", "systemvmtype": "consoleproxy", "state": "Running"}],
    templates=[{"name": "systemvm-kvm-4.22.0-x86_64", "zonename": "z", "isready": True}],
    variables={"log_bin": "ON", "binlog_format": "ROW"},
    bytes=10_000_000,
    definers=["cloud@localhost"],
    clocks={"oldms1": Clock(0.1, 0.01)},
    systemd={"oldms1": True, "olddb1": True},
)
GOOD_NEW = NewFacts(
    management=[ManagementFacts("newms1", units=MASKED, addresses=["10.91.0.41"], package="4.22.1.0")],
    tables={"cloud": 0, "cloud_usage": 0},
    free_bytes=10_000_000_000,
    accounts=["cloud@localhost"],
    clocks={"newms1": Clock(-0.2, 0.01)},
)
RUNNING = [UnitState(MANAGEMENT, known=True, active=True, enabled=True, masked=False)]


def server(name: str, text: str) -> DatabaseServer:
    """A database server of this version."""
    family, version = parse_version(text)
    dialect = dialect_of(family, version)
    assert dialect is not None
    return DatabaseServer(name, dialect, version, text)


OLDER, NEWER = server("newdb1", "10.6.5-MariaDB"), server("olddb1", "10.11.6-MariaDB")


def new(**changes: Any) -> NewFacts:
    """Good facts with the only management server changed."""
    return replace(GOOD_NEW, management=[replace(GOOD_NEW.management[0], **changes)])


FAILING: dict[str, tuple[OriginalFacts, NewFacts, str]] = {
    "account_has_its_rights": (replace(GOOD_OLD, account="dba@localhost", rights_missing=["CREATE USER"]), GOOD_NEW, "CREATE USER"),
    "everything_was_read": (replace(GOOD_OLD, problems=["oldms1 can't be reached"]), GOOD_NEW, "oldms1"),
    "version_is_the_configured_one": (replace(GOOD_OLD, version="4.19.0.0"), GOOD_NEW, "4.19.0.0"),
    "management_servers_are_known": (
        replace(
            GOOD_OLD,
            management=[*GOOD_OLD.management, {"name": "ms9", "service_ip": "10.91.0.19", "state": "Up", "version": "4.20.3.0", "age": 2}],
        ),
        GOOD_NEW,
        "ms9",
    ),
    "management_servers_beat_here": (
        replace(GOOD_OLD, management=[GOOD_OLD.management[0], {**GOOD_OLD.management[1], "age": 40 * 86400}]),
        GOOD_NEW,
        "oldms2 (last 3456000 s ago)",
    ),
    "management_servers_use_the_source": (
        replace(GOOD_OLD, nodes={"oldms1": ManagementNode(targets=(DatabaseTarget("db.cloud.host", "10.91.0.99"),))}),
        GOOD_NEW,
        "db.cloud.host of oldms1 is 10.91.0.99, port 3306",
    ),
    "api_serves_this_database": (
        replace(GOOD_OLD, api_servers=["oldms1", "testms1"]),
        GOOD_NEW,
        "is not served from the database on olddb1: it lists testms1 as in service",
    ),
    "usage_servers_are_known": (
        replace(GOOD_OLD, nodes={"oldms2": ManagementNode(usage=True)}),
        GOOD_NEW,
        "the usage server runs on oldms2",
    ),
    "nothing_waits_on_the_peer": (
        replace(GOOD_OLD, unapplied=["olddb2 (applying No)"]),
        GOOD_NEW,
        "has not applied everything of olddb2 (applying No)",
    ),
    "carried_state_is_there": (
        replace(GOOD_OLD, not_carried=["new.carry.files.0: there is no /etc/x.jks on oldms1"]),
        GOOD_NEW,
        "there is no /etc/x.jks on oldms1",
    ),
    "carried_state_is_current": (
        GOOD_OLD,
        replace(GOOD_NEW, carried_otherwise=["/etc/x.jks on newms1"]),
        "not as on oldms1: /etc/x.jks on newms1",
    ),
    "database_serves_nobody_else": (
        replace(GOOD_OLD, uses={"olddb1": DatabaseUse(schemas=("billing",))}),
        GOOD_NEW,
        "schema billing",
    ),
    "nobody_else_starts_the_servers": (
        replace(GOOD_OLD, managers={"olddb1": [ClusterManager("pacemaker", ("mariadb",))]}),
        GOOD_NEW,
        "pacemaker on olddb1 starts and stops mariadb",
    ),
    "servers_have_their_own_addresses": (
        replace(GOOD_OLD, addresses={"olddb2": ["10.91.0.14", "10.91.0.13"]}),
        GOOD_NEW,
        "one machine has both 10.91.0.13 and 10.91.0.14",
    ),
    "servers_answer_themselves": (
        replace(GOOD_OLD, apis={"oldms1": "", "oldms2": "no answer"}),
        GOOD_NEW,
        "oldms2: no answer. Cause: they are asked there by http on port 8080",
    ),
    "database_key_fits": (
        replace(GOOD_OLD, key_problem=GuardFailed("the key does not fit", "it is a different one", "correct it")),
        GOOD_NEW,
        "does not fit",
    ),
    "nothing_hangs": (replace(GOOD_OLD, work=[Work("VM", 3, "Starting", "i-2-3-VM", 7200)]), GOOD_NEW, "i-2-3-VM"),
    "hosts_are_up": (
        replace(GOOD_OLD, hosts=[{"name": "kvm2", "state": "Down", "resourcestate": "Enabled"}]),
        GOOD_NEW,
        "kvm2",
    ),
    "system_vms_run": (
        replace(GOOD_OLD, system_vms=[{"zonename": "z", "systemvmtype": "consoleproxy", "state": "Stopped"}]),
        GOOD_NEW,
        "consoleproxy in z",
    ),
    "templates_are_ready": (replace(GOOD_OLD, templates=[]), GOOD_NEW, "not registered"),
    "no_cluster_replication": (replace(GOOD_OLD, variables={"wsrep_on": "ON"}), GOOD_NEW, "Galera"),
    "clocks_agree": (replace(GOOD_OLD, clocks={"oldms1": Clock(1.5, 0.01)}), GOOD_NEW, "1.7 s"),
    "services_are_fenced": (GOOD_OLD, new(units=RUNNING), "running"),
    "databases_are_empty": (GOOD_OLD, replace(GOOD_NEW, tables={"cloud": 3, "cloud_usage": 0}), "3 tables"),
    "never_the_old_database": (GOOD_OLD, new(database_host="10.91.0.13"), "10.91.0.13"),
    "no_database_beside_management": (GOOD_OLD, new(local_database=True), "newms1"),
    "node_addresses_are_local": (GOOD_OLD, new(addresses=["10.91.0.49"]), "10.91.0.49"),
    "needed_servers_are_reachable": (GOOD_OLD, new(unreachable=["secondary storage nfs (10.91.0.5:2049)"]), "exported"),
    "space_is_enough": (replace(GOOD_OLD, bytes=9_000_000_000), GOOD_NEW, "9.0 GB"),
    "source_is_the_source": (replace(GOOD_OLD, replicates_from="10.91.0.13"), GOOD_NEW, "is a replica of 10.91.0.13"),
    "services_can_be_masked": (replace(GOOD_OLD, systemd={"oldms1": True, "olddb1": False}), GOOD_NEW, "not run by systemd: olddb1"),
    "no_transaction_is_long": (replace(GOOD_OLD, long_transactions=["connection 7, 300 s, 12 rows written"]), GOOD_NEW, "connection 7"),
    "sides_are_apart": (
        GOOD_OLD,
        replace(GOOD_NEW, addresses={"newdb1": ["127.0.0.1", "10.91.0.13"]}),
        "newdb1 has 10.91.0.13, which is olddb1",
    ),
    "database_versions_fit": (replace(GOOD_OLD, server=NEWER), replace(GOOD_NEW, server=OLDER), "newer server series"),
    "replica_follows": (GOOD_OLD, replace(GOOD_NEW, replica_fault="its applier does not run"), "applier"),
    "nobody_uses_the_new_database": (GOOD_OLD, replace(GOOD_NEW, database_users=["10.91.0.41"]), "10.91.0.41"),
    "target_is_installed": (GOOD_OLD, new(package="4.21.0.0"), "newms1 has 4.21.0.0"),
    "servers_will_serve_as_configured": (GOOD_OLD, new(web=WebServer(http=None, https=8443)), "no http, https on 8443, not http on 8080"),
    "own_names_resolve": (GOOD_OLD, new(resolves=False), "newms1"),
    "agents_know_the_new_servers": (replace(GOOD_OLD, host_setting="10.91.0.11,10.91.0.41"), GOOD_NEW, "lacks 10.91.0.42"),
    "nothing_of_an_earlier_window_runs": (
        replace(GOOD_OLD, left_running=[LeftGuest(Guest("r-19-VM", "DomainRouter", "esx1", "VMware"), taken=False, coming=False)]),
        GOOD_NEW,
        "govc vm.destroy r-19-VM",
    ),
    "definers_exist": (replace(GOOD_OLD, definers=["root@10.0.0.5"]), GOOD_NEW, "root@10.0.0.5"),
}


def test_all_guards_hold_on_good_facts() -> None:
    assert guards.check(site(), GOOD_OLD, GOOD_NEW) == [guard.name for guard in guards.GUARDS]


def test_every_guard_has_its_failing_case() -> None:
    assert {guard.name for guard in guards.GUARDS} == {
        *FAILING,
        "binary_log_for_replication",
        "rehearsal_passed",
        *(guard.name for guard in guards.seed.GUARDS),  # in test_guards_seed
        *(guard.name for guard in guards.waves.GUARDS),  # in test_waves
        *(guard.name for guard in guards.frontend.GUARDS),  # in test_guards_frontend
        *(guard.name for guard in guards.galera.GUARDS),  # in test_guards_galera
    }


@pytest.mark.parametrize("name", FAILING)
def test_guard_fails_alone_and_says_what(name: str) -> None:
    old, fresh, words = FAILING[name]
    found = guards.report(site(), old, fresh)
    assert found.failing == [name]
    (failed,) = guards.failures(site(), old, fresh, [guard for guard in guards.GUARDS if guard.name == name])
    assert words in str(failed) and [str(failed)] == [str(error) for error in found.errors()]
    assert failed.fact and failed.cause and failed.remedy


@pytest.mark.parametrize(
    ("name", "old", "fresh", "words"),
    [
        ("version_is_the_configured_one", replace(GOOD_OLD, unfinished=["4.20.3.0 Upgrade"]), GOOD_NEW, "never finished"),
        (
            "management_servers_are_known",
            replace(GOOD_OLD, management=[*GOOD_OLD.management, {**GOOD_OLD.management[0], "version": "4.20.2.0"}]),
            GOOD_NEW,
            "several versions: 4.20.2.0, 4.20.3.0",
        ),
        ("templates_are_ready", replace(GOOD_OLD, templates=[{**GOOD_OLD.templates[0], "isready": False}]), GOOD_NEW, "not Ready in z"),
        ("services_are_fenced", GOOD_OLD, new(open_ports=[8080]), "listens on 8080"),
        (
            "services_can_be_masked",
            replace(GOOD_OLD, unmaskable={"oldms1": ["/etc/systemd/system/cloudstack-management.service"], "oldms2": []}),
            GOOD_NEW,
            "could not be masked on oldms1: /etc/systemd/system/cloudstack-management.service",
        ),
        ("databases_are_empty", GOOD_OLD, replace(GOOD_NEW, tables={"cloud": -1}), "does not exist"),
        ("no_cluster_replication", GOOD_OLD, replace(GOOD_NEW, variables={"wsrep_on": "ON"}), "the new database is a Galera"),
        (
            "no_cluster_replication",
            replace(GOOD_OLD, variables={"group_replication_group_name": "8a94f357-aab4-11df-86ab-c80aa9429562"}),
            GOOD_NEW,
            "the original database is a member of a MySQL group",
        ),
        (
            "no_cluster_replication",
            GOOD_OLD,
            replace(GOOD_NEW, variables={"group_replication_group_name": "8a94f357-aab4-11df-86ab-c80aa9429562"}),
            "the new database is a member of a MySQL group",
        ),
    ],
)
def test_a_guards_other_failures_say_as_much(name: str, old: OriginalFacts, fresh: NewFacts, words: str) -> None:
    (failed,) = guards.failures(site(), old, fresh, [guard for guard in guards.GUARDS if guard.name == name])
    assert words in failed.fact and failed.cause and failed.remedy


KVM = [{"name": name, "ipaddress": address, "hypervisor": "KVM", "state": "Up", "resourcestate": "Enabled"} for name, address in (
    ("kvm1", "10.91.0.21"), ("kvm2", "10.91.0.22"))]  # fmt: skip
AGENTS = guards.both_sides.agents_know_the_new_servers
BALANCED = {"version": "4.22.1.0", "loadBalancer": "10.91.0.10"}


def test_agents_must_have_learnt_what_the_setting_gives_them() -> None:
    reported = replace(GOOD_OLD, hosts=KVM, host_setting="10.91.0.11,10.91.0.41,10.91.0.42", learnt={"kvm1": ["10.91.0.11"], "kvm2": []})
    with pytest.raises(GuardFailed, match="not learnt the new addresses: kvm1") as caught:
        AGENTS(site(), reported, GOOD_NEW)
    assert "see step AgentAddresses" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "learnt", "words"),
    [
        ("10.91.0.11", {}, "`host` lacks 10.91.0.10"),
        ("10.91.0.11,10.91.0.10", {"kvm1": ["10.91.0.10"], "kvm2": ["10.91.0.11"]}, "not learnt the new addresses: kvm2"),
    ],
)
def test_a_re_used_address_is_one_that_agents_dial(host: str, learnt: dict[str, list[str]], words: str) -> None:
    where = site(agents={"method": "none"}, new=BALANCED)
    with pytest.raises(GuardFailed) as caught:
        AGENTS(where, replace(GOOD_OLD, hosts=KVM, host_setting=host, learnt=learnt), GOOD_NEW)
    assert words in caught.value.fact and "nobody gives them" in caught.value.cause and "new.loadBalancer" in caught.value.remedy


def test_a_re_used_address_that_agents_dial_is_enough_and_a_name_in_their_files_may_lead_there() -> None:
    where = site(agents={"method": "none"}, new=BALANCED)
    dialled = {"kvm1": ["10.91.0.10"], "kvm2": ["management.example.org"]}
    AGENTS(where, replace(GOOD_OLD, hosts=KVM, host_setting="10.91.0.10", learnt=dialled), GOOD_NEW)


def test_without_hosts_that_dial_nobody_needs_an_address() -> None:
    esx = [{"name": "esx1", "hypervisor": "VMware", "state": "Up", "resourcestate": "Enabled"}]
    AGENTS(site(agents={"method": "none"}), replace(GOOD_OLD, hosts=esx, host_setting="10.91.0.11"), GOOD_NEW)


@pytest.mark.parametrize(
    ("hosts", "learnt", "words"),
    [
        ([*KVM, {**KVM[0], "name": "kvm3", "ipaddress": "10.91.0.23"}], {"kvm1": ["10.91.0.11"]}, "the stack does not know: kvm3"),
        (KVM, {"kvm1": ["10.91.0.11"], "kvm2": []}, "no `host=` in /etc/cloudstack/agent/agent.properties on kvm2"),
    ],
)
def test_files_are_written_only_where_the_stack_finds_them(hosts: list[dict[str, Any]], learnt: dict[str, list[str]], words: str) -> None:
    where = site(agents={"method": "file"})
    with pytest.raises(GuardFailed) as caught:
        AGENTS(where, replace(GOOD_OLD, hosts=hosts, host_setting="10.91.0.11", learnt=learnt), GOOD_NEW)
    assert words in str(caught.value) and "original.hypervisors" in caught.value.remedy
    AGENTS(
        where, replace(GOOD_OLD, hosts=KVM, host_setting="10.91.0.11", learnt={"kvm1": ["10.91.0.11"], "kvm2": ["10.91.0.11"]}), GOOD_NEW
    )


@pytest.mark.parametrize(("package", "fits"), [("4.22.1.0", True), ("4.22.1.0~jammy", True), ("4.22.1.01", False), ("", False)])
def test_packages_of_the_target_with_a_distributions_ending(package: str, fits: bool) -> None:
    failed = guards.failures(site(), GOOD_OLD, new(package=package))
    assert bool(failed) is not fits


def test_case_of_table_names_must_be_the_same() -> None:
    other = replace(GOOD_NEW, variables={"lower_case_table_names": "1"})
    with pytest.raises(
        GuardFailed, match=r"lower_case_table_names.*`pulumi destroy`; put lower_case_table_names = 0 into .*; then `pulumi up`"
    ):
        guards.both_sides.database_versions_fit(site(), replace(GOOD_OLD, variables={"lower_case_table_names": "0"}), other)


def test_a_server_with_the_plug_in_of_groups_and_no_group_is_a_plain_one() -> None:
    guards.original.no_cluster_replication(site(), replace(GOOD_OLD, variables={"group_replication_group_name": ""}), GOOD_NEW)


def test_a_read_only_source_is_none() -> None:
    with pytest.raises(GuardFailed, match="read only"):
        guards.original.source_is_the_source(site(), replace(GOOD_OLD, read_only=True), GOOD_NEW)


def test_binary_log_matters_only_for_replication() -> None:
    without = replace(GOOD_OLD, variables={"log_bin": "OFF"})
    guards.original.binary_log_for_replication(site(), without, GOOD_NEW)
    with pytest.raises(GuardFailed, match="log_bin=OFF"):
        guards.original.binary_log_for_replication(site(transfer={"method": "replicate"}), without, GOOD_NEW)


@pytest.mark.parametrize(
    ("web", "words"),
    [
        (WebServer(http=8080), "will serve http on 8080, no https, not https on 9443"),
        (WebServer(http=None, https=8443), "no http, https on 8443, not https on 9443"),
        (WebServer(None, 9443, "/k.p12", "user cloud can't read /k.p12"), "would start without https: user cloud can't read /k.p12"),
        (WebServer(None, 9443, "/k.p12"), ""),
        (WebServer(8080, 9443, "/k.p12"), ""),
    ],
)
def test_a_new_server_that_would_not_serve_https_as_configured_is_not_started(web: WebServer, words: str) -> None:
    secure = site(new={"api": {"scheme": "https", "port": 9443}})
    failed = guards.failures(secure, GOOD_OLD, new(web=web))
    assert [words in str(each) for each in failed] == ([True] if words else [])


def test_another_job_does_not_hide_what_hangs() -> None:
    """On a large cloud some job always runs; one that is younger by far is at work on something else."""
    busy = replace(GOOD_OLD, work=[Work("job", 1, "StartVMCmd", "VirtualMachine 4", 30, 9), Work("VM", 3, "Migrating", "i-2-3-VM", 90000)])
    assert [type(each) for each in guards.failures(site(), busy, GOOD_NEW)] == [GuardFailed]


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        ([Work("job", 1, "StartVMCmd", "VirtualMachine 3", 7300, 9), Work("VM", 3, "Starting", "i-2-3-VM", 7300)], {}),
        ([Work("VM", 3, "Starting", "i-2-3-VM", 600)], {}),
        ([Work("VM", 3, "Starting", "i-2-3-VM", 7300)], {"drainThen": "cut"}),
    ],
)
def test_work_that_ends_or_may_be_cut_off_keeps_no_window_from_opening(found: list[Work], changes: dict[str, str]) -> None:
    assert guards.failures(site(window=changes), replace(GOOD_OLD, work=found), GOOD_NEW) == []


def test_what_would_be_waited_for_is_reported_before_users_are_out() -> None:
    busy = replace(GOOD_OLD, work=[Work("VM", 3, "Starting", "i-2-3-VM", 30), Work("job", 1, "StartVMCmd", "VirtualMachine 3", 240, 9)])
    (line,) = guards.notices(site(), busy)
    assert line.startswith("in progress: 1 job, 1 VM, the longest for 4 min: job StartVMCmd (VirtualMachine 3, for 4 min)")
    assert "at most 10 min" in line and guards.notices(site(), GOOD_OLD) == []


def test_all_failures_are_reported_together() -> None:
    bad = replace(GOOD_OLD, version="4.19.0.0", work=[Work("volume", 7, "Creating", "ROOT-7", 86400)])
    with pytest.raises(GuardFailed) as caught:
        guards.check(site(), bad, new(local_database=True))
    for words in ("4.19.0.0", "ROOT-7", "newms1", "nothing has been changed"):
        assert words in str(caught.value)
    assert caught.value.cause and caught.value.remedy


def test_a_clock_that_was_read_slowly_is_not_called_wrong() -> None:
    slow = replace(GOOD_OLD, clocks={"oldms1": Clock(1.5, 0.9)})
    assert guards.failures(site(), slow, GOOD_NEW) == []


def test_documentation_names_every_guard_and_its_rule() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/reference/guards.md").read_text()
    named = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    known = {guard.name for guard in guards.GUARDS}
    assert named == known
    assert text.count("\n| `") == len(known), "each once, with the rule that its function states"
    for guard in guards.GUARDS:
        rule = guard.summary
        assert f" {rule[0].upper()}{rule[1:]} |" in text, guard.name

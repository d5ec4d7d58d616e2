"""Guards over an original that is a Galera cluster: each holds on one whole cluster, and says what is wrong with any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.database.replicate.log_proof import LogFacts
from parallel_build.database.server.galera import GaleraStatus
from parallel_build.errors import GuardFailed
from parallel_build.facts.database_users import Client, DatabaseUse
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.galera import galera_is_whole, galera_stands_by
from parallel_build.guards.original import binary_log_for_replication, no_cluster_replication
from parallel_build.guards.world import servers_have_their_own_addresses
from parallel_build.resolved_stack import Site
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import site, values

NODES = ("olddb1", "olddb2", "olddb3")
SERVERS = {name: {"name": name, "address": f"10.91.0.{13 + number}"} for number, name in enumerate(NODES)}
MEMBERS = tuple(f"10.91.0.{13 + number}:3306" for number in range(3))
GOOD = GaleraStatus(True, "uuid-1", "Primary", "Synced", True, 3, MEMBERS, 100, True)


def cluster(**changes: Any) -> Site:
    """A stack whose original is a cluster of three nodes."""
    database = {"source": SERVERS["olddb1"], "nodes": [SERVERS["olddb2"], SERVERS["olddb3"]]}
    return site(original={**values()["original"], "database": database}, **changes)


def facts(**changes: GaleraStatus) -> OriginalFacts:
    """Three good nodes, some of them changed."""
    return replace(
        GOOD_OLD,
        variables={"wsrep_on": "ON", "log_bin": "ON", "binlog_format": "ROW"},
        galera={**dict.fromkeys(NODES, GOOD), **changes},
        addresses={name: [server["address"]] for name, server in SERVERS.items()},
    )


def test_a_whole_cluster_that_is_declared_may_have_its_window() -> None:
    assert guards.check(cluster(), facts(), GOOD_NEW) == [guard.name for guard in guards.GUARDS]


def test_without_its_nodes_it_is_refused_as_ever_with_a_remedy_that_serves() -> None:
    with pytest.raises(GuardFailed, match=r"the original database is a Galera cluster(.|\n)*original\.database\.nodes"):
        no_cluster_replication(site(), facts(), GOOD_NEW)
    with pytest.raises(GuardFailed, match="the new database is a Galera cluster"):
        no_cluster_replication(cluster(), facts(), replace(GOOD_NEW, variables={"wsrep_on": "ON"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"olddb2": GaleraStatus()}, "no node of a Galera cluster: olddb2"),
        ({"olddb1": GaleraStatus()}, "no node of a Galera cluster: olddb1"),
        ({"olddb3": replace(GOOD, status="non-Primary", ready=False)}, r"do not serve: olddb3 \(non-Primary, Synced, not ready\)"),
        ({"olddb2": replace(GOOD, state="Donor/Desynced")}, r"do not serve: olddb2 \(Primary, Donor/Desynced\)"),
        ({"olddb1": replace(GOOD, ready=False)}, "do not serve: olddb1"),
        ({"olddb2": replace(GOOD, uuid="uuid-2")}, r"belong to 2 Galera clusters \(uuid-1, uuid-2\)"),
        (
            dict.fromkeys(NODES, replace(GOOD, size=4, incoming=(*MEMBERS, "10.91.0.19:3306"))),
            r"has 4 members, and the stack names 3; not named: 10\.91\.0\.19",
        ),
        (dict.fromkeys(NODES, replace(GOOD, size=4, incoming=(*MEMBERS, ""))), r"has 4 members, and the stack names 3\."),
        (dict.fromkeys(NODES, replace(GOOD, size=2)), "has 2 members, and the stack names 3"),
    ],
)
def test_anything_but_one_whole_cluster_blocks(changes: dict[str, GaleraStatus], words: str) -> None:
    with pytest.raises(GuardFailed, match=words) as caught:
        galera_is_whole(cluster(), facts(**changes), GOOD_NEW)
    assert caught.value.reason and caught.value.remedy
    galera_is_whole(site(), facts(**changes), GOOD_NEW)  # nobody has declared one


def test_a_node_that_could_not_be_asked_is_what_another_guard_says() -> None:
    galera_is_whole(cluster(), replace(facts(), galera={"olddb1": GOOD}), GOOD_NEW)


def test_cloudstack_on_a_stand_by_node_blocks_and_a_program_of_somebody_elses_does_not() -> None:
    def used(name: str, user: str) -> OriginalFacts:
        return replace(facts(), uses={name: DatabaseUse(clients=(Client(user, "10.91.0.11", ("10.91.0.11",), "cloud"),))})

    with pytest.raises(GuardFailed, match=r"CloudStack uses stand-by nodes: cloud from 10\.91\.0\.11 in cloud on olddb3"):
        galera_stands_by(cluster(), used("olddb3", "cloud"), GOOD_NEW)
    galera_stands_by(cluster(), used("olddb1", "cloud"), GOOD_NEW)
    galera_stands_by(cluster(), used("olddb3", "haproxy_check"), GOOD_NEW)
    galera_stands_by(site(), used("olddb3", "cloud"), GOOD_NEW)


@pytest.mark.parametrize(("log", "gtid", "words"), [(False, True, "log_slave_updates is OFF"), (True, False, "wsrep_gtid_mode is OFF")])
def test_replicate_needs_the_nodes_own_complete_log(log: bool, gtid: bool, words: str) -> None:
    whole = LogFacts(on=True, format="ROW", image="FULL", logs_applied=True)
    binary_log_for_replication(cluster(transfer={"method": "replicate"}), replace(facts(), log=whole), GOOD_NEW)
    lacking = replace(facts(olddb1=replace(GOOD, gtid_mode=gtid)), log=replace(whole, logs_applied=log))
    with pytest.raises(GuardFailed, match=rf"{words}(.|\n)*set transfer\.method to dump"):
        binary_log_for_replication(cluster(transfer={"method": "replicate"}), lacking, GOOD_NEW)
    binary_log_for_replication(cluster(), lacking, GOOD_NEW)


def test_two_nodes_are_never_one_machine() -> None:
    one = {**facts().addresses, "olddb3": ["10.91.0.15", "10.91.0.14"]}
    with pytest.raises(GuardFailed, match=r"olddb2 and olddb3 .one machine has both"):
        servers_have_their_own_addresses(cluster(), replace(facts(), addresses=one), GOOD_NEW)

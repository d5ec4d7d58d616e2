"""An original of three real Galera nodes: stopped in order, started again by one, with any of them killed on the way. No row that was stored is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import ParallelBuildError, StepFailed
from parallel_build.facts import original as original_facts
from parallel_build.guards.galera import galera_is_whole
from parallel_build.operations import original_database, original_replica, prove_original_down
from parallel_build.operations.context_helpers import store
from parallel_build.remote.host import Connections
from tests.containers.conftest import tell
from tests.containers.database_stand import roots, sql
from tests.containers.galera_stand import NODES, Cluster, cluster
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster; its window is opened and closed by each test."""
    if "mariadb" not in roots():
        pytest.skip("no root file system with MariaDB")
    with cluster(tmp_path_factory.mktemp("runs")) as found:
        yield found


@pytest.fixture
def nodes(made: Cluster) -> Iterator[Cluster]:
    """Three nodes that serve, and a window with a copy."""
    made.confirmed.clear()
    made.until("three nodes", made.whole)
    made.write("olddb1", "last.row")
    made.open()
    yield made
    made.until("three nodes again", made.whole)
    assert made.same("last.row")
    made.close()
    sql(made.hosts["olddb1"], "DELETE FROM cloud.configuration WHERE name <> 'host'")


def states(nodes: Cluster) -> list[str]:
    """Of each node whether its unit runs, and how it is enabled."""
    command = "systemctl is-active mariadb; systemctl is-enabled mariadb"
    return [" ".join(nodes.shell(name, command).split()) for name in NODES]


def gathered(nodes: Cluster) -> original_facts.OriginalFacts:
    """What the guards are given of the three nodes, among good facts of everything else."""
    where = nodes.site()
    connections = Connections(where, CancelToken())
    try:
        servers = where.configuration.original.database.servers
        found = {server.name: original_facts._member(connections, server)["galera"][server.name] for server in servers}
        return replace(GOOD_OLD, galera=found)
    finally:
        connections.close()


def test_a_window_and_its_rollback(nodes: Cluster) -> None:
    facts = gathered(nodes)
    galera_is_whole(nodes.site(), facts, GOOD_NEW)
    assert {node.size for node in facts.galera.values()} == {3} and len({node.uuid for node in facts.galera.values()}) == 1
    tell("stop")
    nodes.stop()
    assert states(nodes) == ["inactive masked"] * 3
    noted = nodes.facts()
    stopped = [noted[name]["stopped"] for name in ("olddb2", "olddb3", "olddb1")]
    assert [each["safe"] for each in stopped] == [False, False, True], stopped
    assert stopped[0]["seqno"] < stopped[1]["seqno"] <= stopped[2]["seqno"] and stopped[0]["seqno"] > 0, stopped
    assert not any(noted[name]["lacks"] for name in NODES), noted
    with nodes.context() as context:
        for server in context.configuration.original.database.servers:
            assert prove_original_down._database(context, server, {}) == []
    tell("back")
    nodes.serve()
    assert nodes.whole("olddb1") and states(nodes)[1:] == ["inactive masked"] * 2
    assert nodes.rejoin() == []
    assert states(nodes) == ["active enabled"] * 3
    ran = [nodes.shell(name, "systemctl show mariadb -p InvocationID") for name in NODES]
    nodes.serve()
    assert nodes.rejoin() == []
    assert ran == [nodes.shell(name, "systemctl show mariadb -p InvocationID") for name in NODES], "what serves is left alone"


def test_a_copy_that_is_imported_again_starts_and_stops_the_source_alone(nodes: Cluster) -> None:
    nodes.stop()
    with nodes.context() as context:
        original_database.start(context)
    assert nodes.whole("olddb1")
    nodes.compared()
    nodes.stop()
    assert states(nodes) == ["inactive masked"] * 3 and nodes.facts()["olddb1"]["stopped"]["safe"]
    nodes.serve()
    assert nodes.rejoin() == []


def test_a_stand_by_node_whose_power_is_cut_before_the_stop(nodes: Cluster) -> None:
    nodes.power_off("olddb3")
    with pytest.raises(StepFailed, match=r"olddb3 .* can't be reached, and it may still be running"):
        nodes.stop()
    nodes.confirmed.append("olddb3")
    nodes.stop()
    nodes.serve()
    assert nodes.rejoin() == [], "it is off by the operator's word"
    assert nodes.whole("olddb1", "olddb2")
    nodes.power_on("olddb3")


def test_the_source_whose_server_is_killed_before_the_stop(nodes: Cluster) -> None:
    nodes.shell("olddb1", "kill -9 $(pidof mariadbd)")
    nodes.serve()
    assert nodes.rejoin() == []


def test_the_source_whose_power_is_cut_joins_the_others(nodes: Cluster) -> None:
    nodes.power_off("olddb1")
    nodes.until("the others to see it", lambda: nodes.value("olddb2", "wsrep_cluster_size") == "2")
    nodes.write("olddb2", "meanwhile")
    nodes.power_on("olddb1")
    nodes.serve()
    assert nodes.rejoin() == [] and nodes.same("meanwhile")


def test_all_of_them_killed_at_once_and_none_comes_up_by_itself(nodes: Cluster) -> None:
    for name in ("olddb2", "olddb3", "olddb1"):
        nodes.shell(name, "systemctl mask mariadb; kill -9 $(pidof mariadbd); rm -f /var/lib/mysql/gvwstate.dat")
    for name in NODES:
        nodes.until(f"{name} to be down", lambda name=name: nodes.shell(name, "pidof mariadbd") == "")
    nodes.serve()
    assert nodes.rejoin() == []


def test_power_cuts_in_the_rollback_of_the_source_and_of_a_stand_by_node(nodes: Cluster) -> None:
    nodes.stop()
    tell("a stand-by node is off")
    nodes.power_off("olddb2")
    nodes.serve()
    assert nodes.whole("olddb1"), "nobody waits for it"
    tell("the source is cut off behind its start")
    nodes.write("olddb1", "after")
    nodes.power_off("olddb1")
    with pytest.raises(ParallelBuildError, match="olddb1"):
        nodes.serve()
    nodes.power_on("olddb1")
    nodes.serve()
    (missing,) = nodes.rejoin()
    assert missing.startswith("node olddb2"), missing
    assert nodes.whole("olddb1", "olddb3")
    nodes.power_on("olddb2")
    nodes.serve()
    assert nodes.rejoin() == [] and nodes.same("after")


def test_a_stand_by_node_in_the_place_of_a_source_that_is_gone(nodes: Cluster) -> None:
    nodes.stop()
    nodes.power_off("olddb1")
    nodes.confirmed.append("olddb1")
    with nodes.context(undoing=True) as context:
        assert original_replica.lacking(store(context).mine()) == ""
        assert original_replica.choose(context).name == "olddb3", "it left the cluster after the other one"
    nodes.serve()
    assert nodes.whole("olddb3") and nodes.same("last.row", "olddb3")
    assert nodes.rejoin() == [] and nodes.whole("olddb2", "olddb3")
    assert any("olddb1 joins again only with a copy of everything" in line for line in nodes.lines)
    nodes.power_on("olddb1")
    assert states(nodes)[0] == "inactive masked"
    nodes.shell("olddb1", "rm /var/lib/mysql/grastate.dat; systemctl unmask mariadb; systemctl enable --now mariadb")


def test_all_without_power_and_the_source_alone_comes_back(nodes: Cluster) -> None:
    for name in NODES:
        nodes.power_off(name)
    nodes.power_on("olddb1")
    nodes.confirmed.extend(("olddb2", "olddb3"))
    nodes.serve()
    assert nodes.whole("olddb1") and any("runs without a cluster that serves" in line for line in nodes.lines)
    for name in ("olddb2", "olddb3"):
        nodes.power_on(name)
    nodes.confirmed.clear()
    assert nodes.rejoin() == []

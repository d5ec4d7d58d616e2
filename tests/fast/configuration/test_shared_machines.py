"""Which servers may be one machine: `new.allInOne`, and an original whose small servers have several roles."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.configuration import StackConfiguration, load
from parallel_build.database.server.settings import option_files
from parallel_build.errors import ConfigurationError
from parallel_build.machines.existing.machine import ExistingServer
from parallel_build.machines.existing.rules import Wanted
from parallel_build.resolved_stack import Site
from parallel_build.steps.cloud_databases import CloudDatabases
from parallel_build.steps.database_seed import DatabaseSeed
from parallel_build.steps.database_transfer import DatabaseTransfer
from parallel_build.steps.replication_pair import ReplicationPair
from tests.fast.sites import site, values

ONE = {"name": "new-1", "address": "10.91.0.41", "memory": 8192}
SECOND = {"name": "new-2", "address": "10.91.0.42"}
PAIR = {"source": {"name": "newdb1", "address": "10.91.0.31"}, "replica": {"name": "newdb2", "address": "10.91.0.32"}}
ALL_IN_ONE: dict[str, Any] = {"allInOne": True, "management": [ONE], "database": {"source": ONE}}


def of(**new: Any) -> StackConfiguration:
    """The configuration with a section `new` of these keys."""
    return load(values(new=new), "test")


def refused(**changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(values(**changes), "test")
    return str(caught.value)


def test_one_machine_may_do_everything() -> None:
    configuration = of(**ALL_IN_ONE)
    assert [machine.name for machine in configuration.new_machines()] == ["new-1"]
    assert configuration.host_setting == "10.91.0.41"
    assert configuration.usage_server == configuration.new.management[0]
    assert configuration.ports_of(configuration.new.database.source) == [3306, 8080, 8250, 8443, 9090]
    assert configuration.new.with_both_roles() == {"new-1"}


@pytest.mark.parametrize("left_out", ["management", "database"])
def test_it_is_written_once_where_one_place_is_left_out(left_out: str) -> None:
    document = values()
    document["new"] = {"version": "4.22.1.0", "platform": "existing", **{key: each for key, each in ALL_IN_ONE.items() if key != left_out}}
    assert load(document, "test").new == of(**ALL_IN_ONE).new


def test_two_machines_may_each_be_a_management_server_with_a_copy_of_the_databases() -> None:
    configuration = of(allInOne=True, management=[ONE, SECOND], database={"source": ONE, "replica": SECOND})
    assert [machine.name for machine in configuration.new_machines()] == ["new-1", "new-2"]


def test_it_travels_through_the_state() -> None:
    first = site(new=ALL_IN_ONE)
    assert Site.from_json(first.to_json()) == first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"new": {**ALL_IN_ONE, "allInOne": False}}, "new.management.0: new-1 (10.91.0.41) is new.database.source too, and on the new side no management"),
        ({"new": {**ALL_IN_ONE, "allInOne": False}}, "or set new.allInOne to true"),
        ({"new": {**ALL_IN_ONE, "allInOne": False}}, "new.database.replica: this key is missing"),
        ({"new": {"management": [{"name": "x", "address": "10.91.0.31"}]}}, "new.management.0: x has the address 10.91.0.31 that newdb1 has already"),
        ({"new": {"allInOne": True, "management": [{"name": "x", "address": "10.91.0.31"}]}}, "unless new.allInOne is true and both have one name"),
        ({"new": {"allInOne": True}}, "new.allInOne: true, and no server of new.management is a database server too"),
        ({"new": {**ALL_IN_ONE, "management": [{**ONE, "memory": 4096}]}}, "new.management.0: memory of new-1 differ from new.database.source"),
        ({"new": {**ALL_IN_ONE, "management": [{**ONE, "address": "10.91.0.43"}]}}, "used twice, with 10.91.0.43 here and 10.91.0.41 in new.database.source"),
        ({"new": {"allInOne": True, "management": [ONE], "database": {"source": ONE, "replica": ONE}}}, "new.database.replica: the name new-1 is used twice"),
        ({"original": {"database": {"source": {"name": "a", "address": "10.91.0.13"}, "replica": {"name": "b", "address": "10.91.0.13"}}}}, "two of a kind"),
        ({"original": {"management": [{"name": "a", "address": "10.91.0.11"}, {"name": "b", "address": "10.91.0.11"}]}}, "original.management.1: b has the"),
        ({"new": {"allInOne": 1}}, "neither true nor false"),
    ],
)  # fmt: skip
def test_what_can_not_be_one_machine_is_refused_by_key(changes: dict[str, Any], words: str) -> None:
    assert words in refused(**changes)


def test_an_original_of_one_server_is_written_twice_with_two_names() -> None:
    one = {"management": [{"name": "cs-1", "address": "10.91.0.11"}], "database": {"source": {"name": "cs-1-db", "address": "10.91.0.11"}}}
    configuration = load(values(original=one), "test")
    assert configuration.ports_of(configuration.original.management[0]) == [3306, 8080, 8250, 8443, 9090]
    assert configuration.confirmed_down == set()
    off = load(values(original=one, window={"confirmedDown": ["cs-1-db"]}), "test")
    assert off.confirmed_down == {"cs-1", "cs-1-db"}


def test_the_machine_is_proved_fit_for_both_and_its_database_is_not_fenced() -> None:
    configuration = of(**ALL_IN_ONE)
    wanted = Wanted.of(configuration, configuration.new.management[0])
    assert (wanted.database, wanted.management) == (True, True)
    assert ExistingServer.fenced(wanted) == ("cloudstack-management", "cloudstack-usage")
    assert {"mariadb-server", "cloudstack-management", "cloudstack-usage"} <= {*ExistingServer.packages(configuration, wanted)}


def test_the_management_server_has_memory_left() -> None:
    configuration = of(**ALL_IN_ONE)
    pool = int(option_files(configuration, configuration.new.database.source)[0].values["innodb_buffer_pool_size"]) >> 20
    assert pool == 8192 * 4 // 10
    alone = of(database={"source": {**PAIR["source"], "memory": 8192}, "replica": PAIR["replica"]})
    assert int(option_files(alone, alone.new.database.source)[0].values["innodb_buffer_pool_size"]) >> 20 == 8192 * 7 // 10


def test_the_change_review_warns_of_a_source_without_a_replica() -> None:
    configuration = load(values(new=ALL_IN_ONE, transfer={"method": "replicate"}), "test")
    pair = "\n".join(ReplicationPair().plan(configuration))
    assert "warning: new.database.replica is not set: from the switch on the disk of new-1 has the only copy of the databases" in pair
    assert "REPLICATION SLAVE" not in pair
    lines = [*CloudDatabases().plan(configuration), *DatabaseSeed().plan(configuration), *DatabaseTransfer().plan(configuration)]
    assert not any("None" in line or "newdb2" in line for line in lines)
    assert "prove: the same databases and accounts on new-1" in lines
    undo = [*ReplicationPair().undo(configuration), *CloudDatabases().undo(configuration)]
    assert "refuse while CloudStack uses new-1" in undo and not any("forget the source" in line for line in undo)
    assert not any("warning" in line for line in ReplicationPair().plan(of()))


NODES = [{"name": "olddb2", "address": "10.91.0.14"}, {"name": "olddb3", "address": "10.91.0.15"}]
CLUSTER: dict[str, Any] = {"source": {"name": "olddb1", "address": "10.91.0.13"}, "nodes": NODES}


def with_cluster(**database: Any) -> dict[str, Any]:
    return {"original": {**values()["original"], "database": {**CLUSTER, **database}}}


def test_the_nodes_of_a_cluster_are_servers_of_the_original_behind_its_source() -> None:
    configuration = load(values(**with_cluster()), "test")
    pair = configuration.original.database
    assert [server.name for server in pair.servers] == ["olddb1", "olddb2", "olddb3"]
    assert [server.name for server in pair.stand_by] == ["olddb2", "olddb3"]
    assert {"olddb2", "olddb3"} <= {server.name for server in configuration.original_servers()}
    assert configuration.ports_of(pair.nodes[1]) == [3306]
    assert load(values(**with_cluster(), window={"confirmedDown": ["olddb3"]}), "test").confirmed_down == {"olddb3"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            with_cluster(replica={"name": "olddb4", "address": "10.91.0.16"}),
            "original.database.replica: olddb4 next to original.database.nodes",
        ),
        (with_cluster(others=["billing"]), "original.database.others: billing next to original.database.nodes"),
        (with_cluster(engine="mysql"), "original.database.nodes: only for MariaDB's Galera, and original.database.engine is mysql"),
        (
            {"original": {**values()["original"], "database": {"nodes": NODES}}},
            "source: missing next to nodes. It is the node that CloudStack writes to",
        ),
        ({**with_cluster(), "transfer": {"seed": "physical"}}, "transfer.seed: physical next to original.database.nodes"),
        (
            with_cluster(nodes=[NODES[0], {"name": "olddb3", "address": "10.91.0.14"}]),
            "original.database.nodes.1: olddb3 has the address 10.91.0.14",
        ),
        (with_cluster(nodes=[{"name": "olddb2", "address": "10.91.0.13"}]), "original.database.nodes.0: olddb2 has the address 10.91.0.13"),
        (with_cluster(nodes=[{"name": "olddb1", "address": "10.91.0.14"}]), "original.database.nodes.0: the name olddb1 is used twice"),
    ],
)
def test_what_does_not_go_with_nodes_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    assert words in refused(**changes)

"""An original whose two database servers replicate from each other, on real servers: fit as it is, unless something waits on the other one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.server.dialects import identify
from parallel_build.errors import GuardFailed
from parallel_build.facts.original import OriginalFacts, _as_server
from parallel_build.guards.original import nothing_waits_on_the_peer, source_is_the_source
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import NETWORK, roots, sql, stand
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import site

pytestmark = [pytest.mark.databases, pytest.mark.timeout(600)]
CLOUD = (
    "CREATE DATABASE cloud; CREATE TABLE cloud.configuration (name VARCHAR(64) PRIMARY KEY, value TEXT); "
    "INSERT INTO cloud.configuration VALUES ('host', 'x')"
)
FOLLOWER = (
    "SET SESSION sql_log_bin = 0; CREATE USER follower@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT REPLICATION SLAVE ON *.* TO follower@'%'"
)
FOLLOW = {
    "mariadb": "CHANGE MASTER TO MASTER_HOST='{0}', MASTER_USER='follower', MASTER_PASSWORD='Lab-Password-1', MASTER_USE_GTID=current_pos; START SLAVE",
    "mysql": "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{0}', SOURCE_USER='follower', SOURCE_PASSWORD='Lab-Password-1', SOURCE_AUTO_POSITION=1, "
    "SOURCE_SSL=1; START REPLICA",
}
HALT = {"mariadb": "STOP SLAVE SQL_THREAD", "mysql": "STOP REPLICA SQL_THREAD"}
RESUME = {"mariadb": "START SLAVE SQL_THREAD", "mysql": "START REPLICA SQL_THREAD"}
OTHERS = {"mariadb": {"log_slave_updates": "ON"}, "mysql": {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"}}
SITE = site(
    original={
        "database": {
            "source": {"name": "olddb1", "address": f"{NETWORK}.13"},
            "replica": {"name": "olddb2", "address": f"{NETWORK}.14"},
        }
    }
)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, Host, Host]]:
    """Two servers, each the other's replica; CloudStack writes to the first."""
    family: str = request.param
    root = roots().get(family)
    if root is None:
        pytest.skip(f"no root file system with {family}")
    with stand() as made:
        one = made.add("olddb1", root, 13, OTHERS[family])
        two = made.add("olddb2", root, 14, OTHERS[family])
        for host in (one, two):
            sql(host, "RESET MASTER" if family == "mariadb" else "RESET BINARY LOGS AND GTIDS")
            sql(host, FOLLOWER)
        sql(one, FOLLOW[family].format(f"{NETWORK}.14"))
        sql(two, FOLLOW[family].format(f"{NETWORK}.13"))
        sql(one, CLOUD)
        yield family, one, two


def facts(host: Host) -> OriginalFacts:
    """What is read of the source, among good facts of everything else."""
    with session(host) as database:
        return replace(GOOD_OLD, **_as_server(database))


def fit(host: Host) -> bool:
    """Whether both rules hold."""
    found = facts(host)
    source_is_the_source(SITE, found, GOOD_NEW)
    try:
        nothing_waits_on_the_peer(SITE, found, GOOD_NEW)
    except GuardFailed:
        return False
    return True


def until(what: str, host: Host, wanted: bool) -> None:
    wait_for(what, lambda: fit(host) is wanted, timeout=60, cancel=CancelToken(), interval=0.5)


def test_two_servers_that_follow_each_other_are_fit_and_what_waits_on_the_other_one_blocks(pair: tuple[str, Host, Host]) -> None:
    family, one, two = pair
    until("both to follow", one, True)
    with session(one) as database:
        assert identify(database).family == family
    sql(one, HALT[family])
    sql(two, "INSERT INTO cloud.configuration VALUES ('written.on.the.other', '1')")
    until("the source to stand", one, False)
    with pytest.raises(GuardFailed, match=rf"olddb1 has not applied everything of {NETWORK}\.14 \(applying No"):
        nothing_waits_on_the_peer(SITE, facts(one), GOOD_NEW)
    sql(one, RESUME[family])
    until("the source to have it", one, True)
    assert sql(one, "SELECT value FROM cloud.configuration WHERE name = 'written.on.the.other'").strip() == "1"

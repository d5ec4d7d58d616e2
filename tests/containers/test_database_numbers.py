"""CloudStack's numbers on real servers: read as the next ones, moved forward, never back, also over a restart of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parallel_build.database.schema import cloudstack_numbers as numbers
from parallel_build.remote.sql import session
from tests.containers.database_stand import Combination, sql

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
# Columns as CloudStack 4.20 has them, without those that play no part.
CLOUD = """
DROP DATABASE IF EXISTS cloud; CREATE DATABASE cloud; USE cloud;
CREATE TABLE sequence (name varchar(64) NOT NULL, value bigint unsigned NOT NULL, PRIMARY KEY (name));
CREATE TABLE data_center (id bigint unsigned NOT NULL AUTO_INCREMENT, mac_address bigint unsigned NOT NULL DEFAULT 1, PRIMARY KEY (id));
CREATE TABLE op_networks (id bigint unsigned NOT NULL, mac_address_seq bigint unsigned NOT NULL DEFAULT 1, PRIMARY KEY (id));
CREATE TABLE vm_instance (id bigint unsigned NOT NULL AUTO_INCREMENT, name varchar(255), PRIMARY KEY (id));
CREATE TABLE volumes (id bigint unsigned NOT NULL AUTO_INCREMENT, name varchar(255), PRIMARY KEY (id));
INSERT INTO sequence VALUES ('vm_instance_seq', {vm}), ('networks_seq', 210);
INSERT INTO data_center (mac_address) VALUES (40);
INSERT INTO op_networks VALUES (204, {mac});
INSERT INTO vm_instance (id, name) VALUES (13, 'v-13-VM');
INSERT INTO volumes (id, name) VALUES ({volume}, 'ROOT-13');
"""


@pytest.fixture
def both(servers: Combination) -> Iterator[Combination]:
    """An original, and a new side that gave six VMs, nine addresses and ten volumes away."""
    sql(servers.source, CLOUD.format(vm=14, mac=7, volume=30))
    sql(servers.target, CLOUD.format(vm=20, mac=16, volume=40))
    yield servers
    for host in (servers.source, servers.target):
        sql(host, "DROP DATABASE IF EXISTS cloud")


def test_the_originals_numbers_pass_the_new_sides_and_never_go_back(both: Combination) -> None:
    with session(both.source) as old, session(both.target) as new:
        used = numbers.read(new)
        moved = numbers.to_move(numbers.read(old), used)
        assert moved == {"AUTO_INCREMENT volumes": (31, 41), "op_networks 204": (7, 16), "sequence vm_instance_seq": (14, 20)}
        for name, (_, wanted) in moved.items():
            numbers.move(old, name, wanted)
        assert numbers.read(old)["sequence vm_instance_seq"] == 20 and numbers.to_move(numbers.read(old), used) == {}
        old.execute("UPDATE cloud.sequence SET value = 99 WHERE name = 'vm_instance_seq'")
        numbers.move(old, "sequence vm_instance_seq", 20)
        numbers.move(old, "AUTO_INCREMENT volumes", 5)
        assert old.value("SELECT value FROM cloud.sequence WHERE name = 'vm_instance_seq'") == 99, "somebody was further meanwhile"
        old.execute("INSERT INTO cloud.volumes (name) VALUES ('ROOT-20')")
        assert old.value("SELECT MAX(id) FROM cloud.volumes") >= 31, "a table's highest id is never given again"
        # What the record says would put it back.
        old.execute(numbers.reverse("op_networks 204", 7))
        assert numbers.read(old)["op_networks 204"] == 7

"""Copies between series of MariaDB on real servers: 10.2 to 10.11, 10.11 to 11.4; every value the same, and what a series lacks is reported before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import account, copy
from parallel_build.database.server import rights
from parallel_build.database.server.dialects import identify, supported
from parallel_build.errors import GuardFailed
from parallel_build.facts import database_users
from parallel_build.facts.original import _as_server
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers import old_servers
from tests.containers.database_stand import Stand, roots, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1200)]
WAYS = [("10.2.11", ""), ("10.2.11", "10.11.5"), ("10.11.5", "11.4.5"), ("10.2.11", "11.4.5")]
CLOUD = """
CREATE DATABASE cloud DEFAULT CHARACTER SET utf8; CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb4;
USE cloud;
CREATE TABLE cloud.configuration (name varchar(255) PRIMARY KEY, value varchar(4095), KEY i_value (value(64))) ENGINE=InnoDB;
INSERT INTO cloud.configuration VALUES ('host', '10.91.0.11'), ('ünï', 'größe');
CREATE TABLE cloud.vm (
  id bigint unsigned NOT NULL AUTO_INCREMENT, uuid varchar(40) COLLATE utf8_bin,
  name varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci,
  created datetime DEFAULT NULL, update_time timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, ram double, note text, seal blob,
  speed decimal(20,6) DEFAULT '0.000000', state enum('Running','Stopped') DEFAULT 'Stopped',
  PRIMARY KEY (id), UNIQUE KEY u (uuid)) ENGINE=InnoDB AUTO_INCREMENT=5000;
INSERT INTO cloud.vm (uuid, name, created, update_time, ram, note, seal, speed, state)
  SELECT UUID(), CONCAT('vm ', seq, ' 😀'), '2026-01-01' + INTERVAL seq MINUTE, '2026-01-01',
  seq / 7, REPEAT('x', seq % 300), UNHEX(MD5(seq)), seq / 3, 1 + seq % 2
  FROM seq_1_to_3000;
CREATE TABLE cloud.nic (id bigint PRIMARY KEY, vm bigint unsigned, CONSTRAINT fk_nic FOREIGN KEY (vm) REFERENCES cloud.vm (id) ON DELETE CASCADE) ENGINE=InnoDB;
INSERT INTO cloud.nic SELECT id, id FROM cloud.vm;
CREATE VIEW cloud.vm_view AS SELECT v.id, v.name, n.id AS nic FROM cloud.vm v LEFT JOIN cloud.nic n ON n.vm = v.id;
CREATE PROCEDURE cloud.count_vms (OUT n int) SELECT COUNT(*) INTO n FROM cloud.vm;
CREATE TRIGGER cloud.vm_note BEFORE INSERT ON cloud.vm FOR EACH ROW SET NEW.note = COALESCE(NEW.note, 'none');
CREATE TABLE cloud_usage.cloud_usage (id bigint PRIMARY KEY, description varchar(1024), raw_usage double) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
INSERT INTO cloud_usage.cloud_usage SELECT seq, CONCAT('usage ', seq), seq * 1.1 FROM seq_1_to_2000;
"""


@dataclass
class Pair:
    """Two servers of two series."""

    made: Stand
    source: Host
    target: Host


def sql(host: Host, statements: str) -> None:
    """Through the server's own client, with nothing set that an old one does not know."""
    host.run(["mysql", "--default-character-set=utf8mb4"], input=statements, timeout=120)


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: f"{way[0]} to {way[1] or 'the image'}")
def way(request: pytest.FixtureRequest) -> Iterator[Pair]:
    root = roots().get("mariadb")
    if root is None:
        pytest.skip("no root file system with mariadb")
    old, new = request.param
    old_servers.unpacked(old)
    with stand() as made:
        source = made.add("olddb1", root, 13)
        old_servers.replace(made, source, old)
        target = made.add("newdb1", root, 31, {"innodb_autoinc_lock_mode": "2", "log_slave_updates": "ON"})
        if new:
            old_servers.replace(made, target, new, "--innodb-autoinc-lock-mode=2")
        sql(source, CLOUD)
        yield Pair(made, source, target)


def test_the_original_is_read_as_any_other(way: Pair) -> None:
    with session(way.source) as opened:
        server = identify(opened)
        found: dict[str, Any] = _as_server(opened)
        assert rights.missing(opened, server) == [] and found["server"] == server and found["rights_missing"] == []
        assert database_users.read(opened).schemas == ()


def test_everything_is_the_same_on_the_newer_series(way: Pair) -> None:
    names = ["cloud", "cloud_usage"]
    with session(way.source) as old, session(way.target) as new:
        entry = supported(identify(old), identify(new), "dump")
        if identify(old).version < (10, 6, 0):
            assert entry.methods == ("dump",)
            with pytest.raises(GuardFailed, match=r"set transfer\.method to dump"):
                supported(identify(old), identify(new), "replicate")
    copy.copy(way.source, way.target, names, threads=2, cancel=CancelToken(), progress=lambda text: None)
    verdict = compare.compare(way.source, way.target, names, threads=2, cancel=CancelToken(), progress=lambda text: None)
    assert verdict.same, [str(found) for found in verdict.differences]
    assert verdict.rows == 3000 + 3000 + 2 + 2000
    with session(way.source) as opened:
        assert opened.value("SELECT COUNT(*) FROM mysql.user WHERE User = %s", [account.COPY_USER]) == 0


def test_one_changed_value_is_a_difference(way: Pair) -> None:
    sql(way.target, "UPDATE cloud.vm SET ram = ram + 1 WHERE id = (SELECT MIN(id) FROM (SELECT id FROM cloud.vm) x)")
    verdict = compare.compare(way.source, way.target, ["cloud", "cloud_usage"], threads=2, cancel=CancelToken(), progress=lambda text: None)
    assert not verdict.same

"""Databases brought as files, on real servers: the very rows on the new source and its replica, and everything else of the new servers as it was.

Killed at random moments, with a full disk, without the tool, with tables whose files can't be taken in: each ends right, or refuses with nothing
changed. `PARALLEL_BUILD_KILLS` is how often it is killed, `PARALLEL_BUILD_KILL_SEED` the seed of chance.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lab.database import Accounts, DatabasePlan, load
from parallel_build.cancel import CancelToken
from parallel_build.database.physical import facts, judge, staging
from parallel_build.database.replicate import pair, pair_status
from parallel_build.database.schema import definitions
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import Stand, roots, sql, stand
from tests.containers.database_tool import describe
from tests.containers.files_tool import bring, same, undo

pytestmark = [pytest.mark.databases, pytest.mark.timeout(7200)]
KILLS = int(os.environ.get("PARALLEL_BUILD_KILLS", "3"))
SEED = int(os.environ.get("PARALLEL_BUILD_KILL_SEED", "7"))
SCHEMAS = ["cloud", "cloud_usage"]
BYTES = 24 << 20
LONGEST = 14.0  # seconds that it takes here, about: moments to kill at are drawn from it
# A database of somebody else on the original's server, and what its server's tables look like after years of upgrades.
FOREIGN = """
CREATE DATABASE billing; CREATE TABLE billing.bills (id int PRIMARY KEY, amount double) ENGINE=InnoDB; INSERT INTO billing.bills VALUES (1, 2.5);
CREATE USER billing@localhost IDENTIFIED BY 'Lab-Password-1';
ALTER TABLE cloud.event ADD COLUMN added_at_once varchar(20) DEFAULT 'früher', ALGORITHM=INSTANT;
CREATE TABLE cloud.emptied (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(10)) ENGINE=InnoDB; INSERT INTO cloud.emptied (name) VALUES ('a'), ('b');
DELETE FROM cloud.emptied;
"""
# The new source's data folder is a disk of its own, which can be filled up; the replica's is not.
SMALL_DISK = """
systemctl stop mariadb
mkdir -p /small && mount -t tmpfs -o size=2g tmpfs /small && cp -a /var/lib/mysql/. /small/ && chown mysql: /small && chmod 755 /small
mount --bind /small /var/lib/mysql
systemctl start mariadb
"""
FILL = "free=$(df -B1 --output=avail /small | tail -1); fallocate -l $((free - $1)) /small/filler"
STATE = (
    "SELECT CONCAT_WS(' ', @@server_id, @@gtid_domain_id, @@datadir, @@log_bin_basename, @@read_only, (SELECT GROUP_CONCAT(User, '@', Host ORDER BY 1) "
    "FROM mysql.user WHERE User <> 'cloud'), (SELECT GROUP_CONCAT(SCHEMA_NAME ORDER BY 1) FROM information_schema.SCHEMATA))"
)


@dataclass
class Scene:
    """The machines, and what the original is like before."""

    made: Stand
    source: Host
    target: Host
    replica: Host

    def original(self) -> str:
        """Whatever a backup could have changed: settings, accounts, databases, how far its log is."""
        return sql(self.source, STATE + "; SHOW MASTER STATUS; SELECT User, Host FROM mysql.user ORDER BY 1, 2")

    def nothing_left(self) -> None:
        """Neither record nor folder, process, or unit, anywhere."""
        for host in (self.target, self.replica):
            assert staging.read(host) is None
            assert host.run(["sh", "-c", "ls -d /var/lib/mysql/.cutover-files* /var/lib/cutover-files*"], ok=None).stdout == ""
            assert host.run(["systemctl", "is-active", staging.UNIT], ok=None).stdout.strip() == "inactive"
            assert host.run(["sh", "-c", "find /var/lib/mysql -name '*.cfg'"], ok=None).stdout == ""
        assert not self.source.run(["test", "-e", staging.FOLDER], ok=None).ok
        assert self.source.run(["pidof", "mariadb-backup"], ok=None).stdout == ""

    def follows(self) -> None:
        """The replica follows the new source without an error, and gets what is written there."""
        with session(self.target) as ours, session(self.replica) as opened:
            pair.await_position(ours, opened, timeout=120, cancel=CancelToken())
            found = pair_status.status(opened)
            assert found is not None
            assert found.fault() is None


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """An original with CloudStack's tables, a new source on a small disk, its replica."""
    root = roots().get("mariadb")
    if root is None:
        pytest.skip("no root file system with mariadb")
    with stand() as made:
        source = made.add("olddb1", root, 13)
        pair_settings = {"innodb_autoinc_lock_mode": "2", "gtid_strict_mode": "ON", "log_slave_updates": "ON", "gtid_domain_id": "31"}
        target = made.add("newdb1", root, 31, pair_settings)
        replica = made.add("newdb2", root, 32, pair_settings)
        load(
            ["ssh", *source.options(), source.destination, "mariadb"],
            DatabasePlan.for_bytes(BYTES),
            accounts=Accounts("Lab-Password-1"),
            timeout=900,
        )
        sql(source, FOREIGN)
        target.script(SMALL_DISK, timeout=180)
        made.wait(target)
        sql(target, "CREATE USER follower@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT REPLICATION SLAVE ON *.* TO follower@'%'")
        sql(
            replica,
            "CHANGE MASTER TO MASTER_HOST='10.93.0.31', MASTER_USER='follower', MASTER_PASSWORD='Lab-Password-1', MASTER_USE_GTID=slave_pos, "
            "MASTER_CONNECT_RETRY=5; SET GLOBAL read_only = ON; START SLAVE",
        )
        yield Scene(made, source, target, replica)


def _side(scene: Scene) -> list[str]:
    return [sql(host, STATE) for host in (scene.target, scene.replica)]


def test_the_very_rows_arrive_and_nothing_else_changes(scene: Scene) -> None:
    undo(scene.source, scene.target, [scene.replica], SCHEMAS)
    scene.follows()
    original, before = scene.original(), _side(scene)
    report = bring(scene.source, scene.target, [scene.replica], SCHEMAS)
    assert scene.original() == original
    assert _side(scene) == before  # identity, accounts, databases: billing and its account did not come
    assert report.tables > 300
    assert report.bytes > BYTES
    assert set(report.parts) == {"copy", "prepare", "import"}
    rows = same(scene.source, scene.target, SCHEMAS)
    assert rows > 10000
    assert same(scene.target, scene.replica, SCHEMAS) == rows
    scene.nothing_left()
    scene.follows()
    # What users do then continues where the original was, and reaches the replica.
    written = "INSERT INTO cloud.emptied (name) VALUES ('c'); SELECT MAX(id) FROM cloud.emptied"
    assert sql(scene.target, written).strip() == "3"
    scene.follows()
    assert sql(scene.replica, "SELECT MAX(id), MAX(name) FROM cloud.emptied").split() == ["3", "c"]
    sql(scene.target, "DELETE FROM cloud.emptied WHERE name = 'c'")
    for host in (scene.target, scene.replica):
        host.run(["systemctl", "restart", "mariadb"], timeout=120)
        scene.made.wait(host)
        assert sql(host, "CHECK TABLE cloud.event, cloud.vm_instance, cloud_usage.cloud_usage EXTENDED").count("OK") == 3
    undo(scene.source, scene.target, [scene.replica], SCHEMAS)
    scene.follows()


def test_an_original_without_the_tool_is_refused_and_left_alone(scene: Scene) -> None:
    tool = scene.source.run(["sh", "-c", "readlink -f $(command -v mariadb-backup)"]).stdout.strip()
    scene.source.script("for file in /usr/bin/mariadb-backup /usr/bin/mariabackup; do [ ! -e $file ] || mv $file $file.away; done")
    try:
        old, new = facts.server(scene.source, original=True), facts.server(scene.target, original=False)
        assert old.tool is None
        assert new.tool == new.server.version[:2]
        with pytest.raises(GuardFailed, match="olddb1 has no mariadb-backup"):
            judge.decide("physical", old, [new], None)
        assert "olddb1 has no mariadb-backup" in judge.decide("auto", old, [new], None).why
    finally:
        scene.source.script('for file in /usr/bin/maria*.away; do mv "$file" "${file%.away}"; done')
    assert scene.source.run(["test", "-e", tool]).ok


def test_tables_whose_files_cannot_be_taken_in_are_known(scene: Scene) -> None:
    sql(
        scene.source,
        "CREATE TABLE cloud.odd_engine (a int) ENGINE=MyISAM; INSERT INTO cloud.odd_engine VALUES (1);"
        "CREATE TABLE cloud.odd_empty (a int) ENGINE=MyISAM;"
        "CREATE TABLE cloud.odd_parts (a int) ENGINE=InnoDB PARTITION BY HASH (a) PARTITIONS 2; INSERT INTO cloud.odd_parts VALUES (1);"
        "CREATE TABLE cloud.odd_text (a text, FULLTEXT KEY (a)) ENGINE=InnoDB; INSERT INTO cloud.odd_text VALUES ('x');"
        "SET GLOBAL innodb_file_per_table = OFF; CREATE TABLE cloud.odd_system (a int) ENGINE=InnoDB; SET GLOBAL innodb_file_per_table = ON;"
        "INSERT INTO cloud.odd_system VALUES (1);",
    )
    try:
        with session(scene.source) as opened:
            found = facts.files(opened, [definitions.read(opened, name) for name in SCHEMAS])
        assert sorted(text.split()[0] for text in found.unfit) == [
            "cloud.odd_engine",
            "cloud.odd_parts",
            "cloud.odd_system",
            "cloud.odd_text",
        ]
    finally:
        sql(scene.source, "DROP TABLE cloud.odd_engine, cloud.odd_empty, cloud.odd_parts, cloud.odd_text, cloud.odd_system")


# Of what a server's tables may be made, over years of upgrades and by those who add some of their own.
MAKES = (
    "SET GLOBAL innodb_checksum_algorithm = 'crc32';"
    "CREATE TABLE cloud.make_old (id int PRIMARY KEY, a text) ENGINE=InnoDB; INSERT INTO cloud.make_old SELECT seq, REPEAT('x', 900) FROM cloud.seq_1_to_500;"
    "SET GLOBAL innodb_checksum_algorithm = 'full_crc32';"
    "CREATE TABLE cloud.make_packed (id int PRIMARY KEY, a text) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;"
    "INSERT INTO cloud.make_packed SELECT seq, REPEAT('y', 900) FROM cloud.seq_1_to_500;"
    "CREATE TABLE cloud.make_pages (id int PRIMARY KEY, a text) ENGINE=InnoDB PAGE_COMPRESSED=1; INSERT INTO cloud.make_pages VALUES (1, 'p');"
    "CREATE TABLE cloud.make_compact (id int PRIMARY KEY, a varchar(20)) ENGINE=InnoDB ROW_FORMAT=COMPACT; INSERT INTO cloud.make_compact VALUES (1, 'c');"
    "CREATE TABLE cloud.make_place (id int PRIMARY KEY, p point NOT NULL, SPATIAL KEY (p)) ENGINE=InnoDB;"
    "INSERT INTO cloud.make_place VALUES (1, POINT(1, 2)), (2, POINT(3, 4));"
    "CREATE TABLE cloud.make_virtual (id int PRIMARY KEY, a int, b int AS (a * 2) VIRTUAL, c int AS (a + 1) STORED, KEY (b)) ENGINE=InnoDB;"
    "INSERT INTO cloud.make_virtual (id, a) SELECT seq, seq FROM cloud.seq_1_to_300;"
    "CREATE TABLE cloud.make_instant (id int AUTO_INCREMENT PRIMARY KEY, a varchar(9), gone int, b varchar(9) DEFAULT 'vor') ENGINE=InnoDB;"
    "INSERT INTO cloud.make_instant (a, gone) SELECT seq, seq FROM cloud.seq_1_to_300;"
    "ALTER TABLE cloud.make_instant DROP COLUMN gone, ALGORITHM=INSTANT;"
    "ALTER TABLE cloud.make_instant ADD COLUMN first_ int DEFAULT 7 FIRST, ALGORITHM=INSTANT;"
    "ALTER TABLE cloud.make_instant MODIFY COLUMN b varchar(9) DEFAULT 'nach' AFTER id, ALGORITHM=INSTANT;"
    "INSERT INTO cloud.make_instant (a) VALUES ('z'); DELETE FROM cloud.make_instant WHERE id = 301;"
    "CREATE TABLE cloud.make_nokey (a int, b varchar(9) CHARACTER SET latin1) ENGINE=InnoDB; INSERT INTO cloud.make_nokey VALUES (1, 'ü'), (1, 'ü');"
    "CREATE TABLE cloud.make_hash (id int PRIMARY KEY, t text, UNIQUE KEY (t) USING HASH) ENGINE=InnoDB; INSERT INTO cloud.make_hash VALUES (1, 'h');"
)


def test_tables_of_every_make_arrive_or_are_known(scene: Scene) -> None:
    undo(scene.source, scene.target, [scene.replica], SCHEMAS)
    scene.follows()
    made = [word.partition(" ")[0] for word in MAKES.split("CREATE TABLE ")[1:]]
    try:
        sql(scene.source, MAKES)
        with session(scene.source) as opened:
            found = facts.files(opened, [definitions.read(opened, name) for name in SCHEMAS])
        print(f"  not taken in: {found.unfit}", flush=True)
        left = {text.split()[0] for text in found.unfit}
        if left:
            sql(scene.source, f"DROP TABLE {', '.join(left)}")
        report = bring(scene.source, scene.target, [scene.replica], SCHEMAS)
        assert report.tables > 300
        assert same(scene.source, scene.target, SCHEMAS) == same(scene.target, scene.replica, SCHEMAS)
        names = ", ".join(name for name in made if name not in left)
        for host in (scene.target, scene.replica):
            assert sql(host, f"CHECK TABLE {names} EXTENDED").count("status\tOK") == len(made) - len(left)
        undo(scene.source, scene.target, [scene.replica], SCHEMAS)
        scene.follows()
    finally:
        sql(scene.source, f"DROP TABLE IF EXISTS {', '.join(made)}; SET GLOBAL innodb_checksum_algorithm = 'full_crc32'")


@pytest.mark.parametrize("left", [30 << 20, 180 << 20])
def test_a_disk_that_fills_up_is_named_and_cleared(scene: Scene, left: int) -> None:
    """While the files arrive, and while they are prepared or taken in."""
    original = scene.original()
    scene.target.run(["sh", "-c", FILL, "sh", str(left)])
    try:
        with pytest.raises(StepFailed) as caught:
            bring(scene.source, scene.target, [scene.replica], SCHEMAS)
        assert "newdb1" in caught.value.fact
    finally:
        scene.target.run(["rm", "-f", "/small/filler"])
    assert scene.original() == original
    undo(scene.source, scene.target, [scene.replica], SCHEMAS)
    scene.nothing_left()
    scene.follows()
    bring(scene.source, scene.target, [scene.replica], SCHEMAS)
    assert same(scene.source, scene.target, SCHEMAS) == same(scene.target, scene.replica, SCHEMAS)


# -- who is killed ---------------------------------------------------------------------------------------------------------------


def _tool(scene: Scene, tool: subprocess.Popen[str]) -> None:
    tool.send_signal(signal.SIGKILL)


def _backup(scene: Scene, tool: subprocess.Popen[str]) -> None:
    scene.source.run(["sh", "-c", "kill -9 $(pidof mariadb-backup)"], ok=None)


def _preparation(scene: Scene, tool: subprocess.Popen[str]) -> None:
    scene.target.run(["systemctl", "kill", "--signal=KILL", staging.UNIT], ok=None)
    scene.target.run(["sh", "-c", "kill -9 $(pidof mbstream)"], ok=None)


def _server(host: Host) -> None:
    host.run(["pkill", "-KILL", "-x", "mariadbd"], ok=None)


def _new_source(scene: Scene, tool: subprocess.Popen[str]) -> None:
    _server(scene.target)


def _new_replica(scene: Scene, tool: subprocess.Popen[str]) -> None:
    _server(scene.replica)


def _original(scene: Scene, tool: subprocess.Popen[str]) -> None:
    _server(scene.source)


VICTIMS: list[Callable[[Scene, subprocess.Popen[str]], None]] = [_tool, _new_source, _new_replica, _preparation, _backup, _original]


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment(scene: Scene, number: int) -> None:
    """The same again completes, or everything is undone; the original is the same, and nothing is left."""
    chance = random.Random(SEED * 1000 + number)
    undo(scene.source, scene.target, [scene.replica], SCHEMAS)
    scene.follows()
    victim, moment, again = VICTIMS[number % len(VICTIMS)], chance.uniform(0.5, LONGEST), chance.random() < 0.6
    words = f"{victim.__name__} after {moment:.1f} s, then {'again' if again else 'undone'}"
    print(f"  {number}: {words}", flush=True)
    keys = [(scene.made.folder / f"key-{host.name}.pub").read_text().strip() for host in _hosts(scene)]
    job = {"hosts": [describe(host, key) for host, key in zip(_hosts(scene), keys, strict=True)], "schemas": SCHEMAS}
    tool = subprocess.Popen([sys.executable, "-m", "tests.containers.files_tool"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert tool.stdin is not None
    tool.stdin.write(json.dumps(job) + "\n")
    tool.stdin.flush()
    began = time.monotonic()
    while time.monotonic() - began < moment and tool.poll() is None:
        time.sleep(0.05)
    victim(scene, tool)
    try:
        tool.communicate(timeout=180)
    finally:
        tool.kill()
        tool.wait()
    for host in _hosts(scene):
        host.script("systemctl reset-failed mariadb 2>/dev/null || true; systemctl start mariadb", timeout=180)
        scene.made.wait(host)
    with session(scene.replica) as opened:
        opened.execute("START SLAVE")  # a receiver that was killed with its server begins again where it was
    if again:
        bring(scene.source, scene.target, [scene.replica], SCHEMAS)
        assert same(scene.source, scene.target, SCHEMAS) == same(scene.target, scene.replica, SCHEMAS), words
    else:
        undo(scene.source, scene.target, [scene.replica], SCHEMAS)
        assert (
            sql(scene.target, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage')").strip()
            == "0"
        )
    scene.nothing_left()
    scene.follows()


def _hosts(scene: Scene) -> list[Host]:
    return [scene.source, scene.target, scene.replica]

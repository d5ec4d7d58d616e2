"""`transfer: replicate` on real servers: a writing original, one comparison at one position, a takeover that nobody notices, no traces."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import changed_rows, channel, seed
from parallel_build.database.server import certificates
from parallel_build.database.server.dialects import identify
from parallel_build.errors import StepFailed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import GTID, Stand, roots, sql, stand
from tests.containers.database_users import Users

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
SCHEMAS = ["cloud", "cloud_usage"]
ORIGINAL = """
CREATE USER cloud@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@localhost;
CREATE DATABASE cloud DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE elsewhere;
CREATE TABLE cloud.event (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, description varchar(1024) CHARACTER SET utf8mb4 NOT NULL,
  created datetime(6));
CREATE TABLE cloud.host (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255), last_ping bigint, KEY i_name (name));
CREATE TABLE cloud.configuration (name varchar(255) NOT NULL PRIMARY KEY, value varchar(4095));
CREATE TABLE cloud.pairs (a bigint NOT NULL, b int unsigned NOT NULL, note varchar(20), PRIMARY KEY (a, b));
CREATE TABLE cloud_usage.usage_event (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, type varchar(32));
CREATE TABLE elsewhere.private (id int);
INSERT INTO cloud.host (name, last_ping) VALUES ('kvm1', 1), ('kvm2', 1);
INSERT INTO cloud.configuration VALUES ('host', '10.0.0.1'), ('port', '8250');
CREATE DEFINER=cloud@localhost VIEW cloud.host_view AS SELECT id, name FROM cloud.host;
"""
WRITES = (
    "INSERT INTO cloud.event (description, created) VALUES ('VM started ünï 😀', NOW(6))",
    "UPDATE cloud.host SET last_ping = last_ping + 1 WHERE id = 1",
    "INSERT INTO cloud.pairs VALUES (-{n}, {n}, 'x') ON DUPLICATE KEY UPDATE note = 'y'",
    "UPDATE cloud.configuration SET value = '{n}' WHERE name = 'port'",
    "INSERT INTO cloud_usage.usage_event (type) VALUES ('VM.START')",
    "INSERT INTO elsewhere.private VALUES ({n})",
    "DELETE FROM cloud.pairs WHERE b = {n} - 50",
)


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def trio(request: pytest.FixtureRequest) -> Iterator[tuple[Stand, Host, Host, Host]]:
    """An original, a new source, and a new replica that follows the new source by GTID."""
    root = roots().get(request.param)
    if root is None:
        pytest.skip(f"no root file system with {request.param}")
    pair = GTID[request.param]
    with stand() as made:
        original = made.add("olddb1", root, 13)
        source = made.add("newdb1", root, 31, pair)
        replica = made.add("newdb2", root, 32, pair)
        if request.param == "mysql":
            for host in (source, replica):
                sql(host, "RESET BINARY LOGS AND GTIDS")
        if request.param == "mariadb":  # MySQL makes itself certificates, which name no address
            _give_certificate(made, original)
        sql(original, ORIGINAL)
        sql(source, "CREATE USER follower@'%' IDENTIFIED BY 'Lab-Password-1'; GRANT REPLICATION SLAVE ON *.* TO follower@'%'")
        follow = (
            "CHANGE MASTER TO MASTER_HOST='10.93.0.31', MASTER_USER='follower', MASTER_PASSWORD='Lab-Password-1', MASTER_USE_GTID=slave_pos;"
            "START SLAVE"
            if request.param == "mariadb"
            else "CHANGE REPLICATION SOURCE TO SOURCE_HOST='10.93.0.31', SOURCE_USER='follower', SOURCE_PASSWORD='Lab-Password-1', "
            "SOURCE_AUTO_POSITION=1, SOURCE_SSL=1; START REPLICA"
        )
        sql(replica, follow)
        yield made, original, source, replica


def _give_certificate(made: Stand, host: Host) -> None:
    """TLS on a server, with a certificate that bears its address."""
    files = certificates.issue([host.server])[host.name]
    host.run(["install", "-d", "-m", "755", "/etc/mysql/own"], timeout=30)
    for name, text in (("ca.pem", files.ca), ("cert.pem", files.certificate), ("key.pem", files.key)):
        host.write(f"/etc/mysql/own/{name}", text, owner="mysql:mysql")
    lines = [f"ssl_{key} = /etc/mysql/own/{key}.pem" for key in ("ca", "cert", "key")]
    host.write("/etc/mysql/mariadb.conf.d/zz-own.cnf", "\n".join(["[mysqld]", *lines, ""]), mode=0o644)
    host.run(["systemctl", "restart", "mariadb"], timeout=120)
    made.wait(host)


def _quiet(text: str) -> None:
    del text


def _seed(trio: tuple[Stand, Host, Host, Host]) -> copy.CopyReport | None:
    return seed.seed(trio[1], trio[2], SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)


def _assert_encrypted(original: Host, source: Host) -> None:
    """The channel runs over TLS; its account can't log in without; MariaDB's certificate, which bears the address, is verified."""
    with session(source) as new, session(original) as old:
        server = identify(new)
        status = channel.read_status(new, server)
        assert status is not None and status.tls
        assert old.value("SELECT ssl_type FROM mysql.user WHERE User = 'cutover_repl'") in ("ANY", b"ANY")
        row = next(row for row in new.rows(server.dialect.replica_status) if channel.CHANNEL in row.values())
        field = "Master_SSL_Verify_Server_Cert" if server.family == "mariadb" else "Source_SSL_Verify_Server_Cert"
        assert row[field] == ("Yes" if server.family == "mariadb" else "No")


def test_seed_compare_take_over(trio: tuple[Stand, Host, Host, Host]) -> None:
    made, original, source, replica = trio
    cancel = CancelToken()
    with Users(original, WRITES, 0.005) as users:
        report = _seed(trio)
        assert report is not None and report.tls, "the original offers TLS"
        _assert_encrypted(original, source)
        assert _seed(trio) is None, "done already means nothing happens"
        baseline = seed.compare_at_position(original, source, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
        assert baseline.comparison.same, [str(found) for found in baseline.comparison.differences]
        assert baseline.locked_seconds < 1
        with seed.Takeover(original, source, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
            assert takeover.advance() > 0
            users.stop()
            sql(
                original,
                "INSERT INTO cloud.event (description) VALUES ('taken back'); DELETE FROM cloud.event WHERE description = 'taken back'",
            )
            started = time.monotonic()
            takeover.catch_up(timeout=60)
            verdict = takeover.compare_changes()
            takeover.promote()
            spent = time.monotonic() - started
        assert verdict.same, [str(found) for found in verdict.differences]
        assert verdict.rows > 0
    assert seed.traces(original, source) == []
    full = compare.compare(original, source, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    assert full.same, [str(found) for found in full.differences]
    with session(source) as opened:
        assert opened.value("SELECT COUNT(*) FROM cloud_usage.usage_event") == users.confirmed, "every statement arrived, once"
        assert opened.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'elsewhere'") == 0
        opened.execute("INSERT INTO cloud.event (description) VALUES ('written after the takeover')")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "written after the takeover" in sql(replica, "SELECT description FROM cloud.event ORDER BY id DESC LIMIT 1"):
            break
        made.cancel.wait(0.2)
    second = compare.compare(source, replica, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    assert second.same, [str(found) for found in second.differences]
    assert spent < 5, f"the window took {spent:.2f} s"
    copy.empty(source, SCHEMAS)


def test_undo_ends_the_reader_that_a_killed_tool_left(trio: tuple[Stand, Host, Host, Host]) -> None:
    _, original, source, _ = trio
    source.run(["mkdir", "-p", changed_rows.FOLDER], timeout=30)
    source.write(f"{changed_rows.FOLDER}/read.py", "import time\ntime.sleep(600)\n")
    source.run(["systemd-run", "--quiet", "--collect", "--unit=left", "python3", f"{changed_rows.FOLDER}/read.py"], timeout=30)
    seed.remove(original, source)
    assert not source.run(["test", "-e", changed_rows.FOLDER], timeout=30, ok=None).ok
    assert source.run(["systemctl", "is-active", "left"], timeout=30, ok=None).stdout.strip() != "active"
    seed.remove(original, source)


def test_a_row_changed_behind_the_channel_is_found(trio: tuple[Stand, Host, Host, Host]) -> None:
    _, original, source, _ = trio
    cancel = CancelToken()
    _seed(trio)
    baseline = seed.compare_at_position(original, source, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    assert baseline.comparison.same, [str(found) for found in baseline.comparison.differences]
    sql(original, "UPDATE cloud.host SET name = 'kvm2 ' WHERE id = 2; INSERT INTO cloud.pairs VALUES (-99999, 4294967295, 'far')")
    with seed.Takeover(original, source, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
        takeover.catch_up(timeout=60)
        sql(source, "UPDATE cloud.host SET name = 'kvm2' WHERE id = 2; UPDATE cloud.pairs SET note = 'near' WHERE a = -99999")
        verdict = takeover.compare_changes()
    named = " ".join(str(found) for found in verdict.differences)
    assert "id=2: changed name" in named
    assert "a=-99999, b=4294967295: changed note" in named
    seed.remove(original, source)
    assert seed.traces(original, source) == []
    seed.remove(original, source)
    copy.empty(source, SCHEMAS)


def test_catching_up_with_a_writing_original_is_refused(trio: tuple[Stand, Host, Host, Host]) -> None:
    _, original, source, _ = trio
    _seed(trio)
    cancel = CancelToken()
    baseline = seed.compare_at_position(original, source, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    with (
        seed.Takeover(original, source, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover,
        Users(original, WRITES, 0.005),
        pytest.raises(StepFailed, match=r"still writes|stands at"),
    ):
        for _ in range(50):
            takeover.catch_up(timeout=20)
            cancel.wait(0.05)
    seed.remove(original, source)
    copy.empty(source, SCHEMAS)


def test_many_changes_of_one_table_are_compared_whole() -> None:
    one = changed_rows.Changes(channel.Position("a", 4), 1, {("cloud", "host"): {(1,)}}, frozenset({("cloud", "event")}))
    both = one.joined(changed_rows.Changes(channel.Position("a", 9), 2, {("cloud", "host"): {(2,)}}, frozenset(), ("ALTER TABLE host",)))
    assert both.keys == {("cloud", "host"): {(1,), (2,)}}
    assert both.whole == {("cloud", "event")}
    assert (both.events, both.doubts, both.begin.offset) == (3, ("ALTER TABLE host",), 4)

"""The steps of the phase `built` on real servers: replicated pair, databases and accounts, installed management packages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from lab.images import base_root, mysql_root
from lab.packages import NEW, build
from parallel_build.database.server import certificates
from parallel_build.database.server.settings import TlsPaths
from parallel_build.errors import GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.machines.container import machine as container
from parallel_build.resolved_stack import Site
from parallel_build.steps.cloud_databases import CloudDatabases
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.replication_pair import ReplicationPair
from tests.containers.steps_bench import SECRETS, Bench, bench, configuration, interrupted
from tools.cache import cache_directory

pytestmark = pytest.mark.timeout(600)

ORIGINAL = """
CREATE DATABASE cloud CHARACTER SET utf8mb3;
CREATE DATABASE cloud_usage CHARACTER SET latin1;
CREATE USER cloud@localhost IDENTIFIED BY 'old';
CREATE USER 'by.hand'@'10.0.0.1' IDENTIFIED BY 'old';
CREATE TABLE cloud.t (a INT);
CREATE DEFINER=cloud@localhost VIEW cloud.v AS SELECT a FROM cloud.t;
CREATE DEFINER='by.hand'@'10.0.0.1' PROCEDURE cloud.p() SELECT 1;
"""


def values(engine: str) -> dict[str, Any]:
    """The stack's values with servers of one family."""
    found = configuration()
    found["new"]["database"]["engine"] = engine
    found["original"]["database"]["engine"] = engine
    return found


@pytest.fixture(
    scope="module", params=[pytest.param("mariadb", marks=pytest.mark.containers), pytest.param("mysql", marks=pytest.mark.databases)]
)
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[Bench, Site]]:
    """Two new database servers as an image brings them, not running, and an original one."""
    engine: str = request.param
    with bench(base_root() if engine == "mariadb" else mysql_root()) as made:
        for name in ("newdb1", "newdb2"):
            made.machine(name)
        made.machine("olddb1", enabled_units=(engine,))
        made.run("olddb1", "sh", "-c", "until [ -e /var/lib/parallel-build/provisioned ]; do sleep 0.2; done")
        made.sql("olddb1", ORIGINAL)
        yield made, made.site(values(engine))


def mariadb(site: Site) -> bool:
    """Whether the servers are MariaDB."""
    return site.configuration.new.database.engine == "mariadb"


def whole(made: Bench, step: ReplicationPair, site: Site) -> list[str]:
    """Apply without an interruption; return its lines."""
    made.lines.clear()
    made.apply(step, site)
    return list(made.lines)


def test_pair_survives_an_interruption_at_every_line_and_changes_nothing_when_it_stands(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    step = ReplicationPair()
    # On MySQL, which is slow to start, once is enough: what is resumed is the same code.
    lines = interrupted(lambda tell: made.apply(step, site, tell)) if mariadb(site) else whole(made, step, site)
    assert any("certificates made" in line for line in lines)
    assert any("replication runs" in line for line in lines)
    outputs, changed = made.apply(step, site)
    assert not changed
    assert outputs["tls"]
    assert outputs["sourceVerified"]
    assert outputs["readOnly"]
    assert len(set(outputs["serverIds"].values())) == 2


def test_a_row_travels_and_the_replica_takes_none_of_its_own(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    made.sql("newdb1", "CREATE DATABASE probe; CREATE TABLE probe.t (a INT PRIMARY KEY); INSERT INTO probe.t VALUES (7);")
    made.apply(ReplicationPair(), site)  # waits until the replica has everything
    assert made.sql("newdb2", "SELECT a FROM probe.t").strip() == "7"
    made.sql("newdb2", "SELECT 1")
    client = "mariadb" if mariadb(site) else "mysql"
    made.sql("newdb1", "CREATE USER writer@localhost IDENTIFIED BY 'w'; GRANT ALL ON probe.* TO writer@localhost;")
    made.apply(ReplicationPair(), site)
    refused = made.run("newdb2", "sh", "-c", f"{client} -uwriter -pw probe -e 'INSERT INTO t VALUES (8)' 2>&1 || true")
    assert "read" in refused and "only" in refused, refused
    made.sql("newdb1", "DROP DATABASE probe; DROP USER writer@localhost;")
    made.apply(ReplicationPair(), site)


def test_a_certificate_of_another_authority_is_refused_by_the_replica_and_replaced(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    step = ReplicationPair()
    made.apply(step, site)
    source = site.configuration.new.database.source
    other, paths = certificates.issue([source])[source.name], TlsPaths()
    unit = "mariadb" if mariadb(site) else "mysql"
    made.run("newdb1", "sh", "-c", f"cat >{paths.key}", input=other.key.reveal())
    made.run("newdb1", "sh", "-c", f"cat >{paths.certificate}", input=other.certificate)
    made.run("newdb1", "systemctl", "restart", unit)
    # The proof finds it, changing nothing: the replica has lost its source.
    with made.context(site, step.type) as context, pytest.raises(StepFailed, match="replicat"):
        made.inside(lambda: step.verify(context))
    outputs, changed = made.apply(step, site)
    assert changed
    assert any("was not issued by the authority" in line for line in made.lines)
    assert outputs["sourceVerified"]


def test_a_password_that_changed_is_set_on_both_sides(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    other = made.site(values(site.configuration.new.database.engine), replicationPassword="another-Pw.7")
    _, changed = made.apply(ReplicationPair(), other)
    assert changed
    assert not made.apply(ReplicationPair(), other)[1]
    made.apply(ReplicationPair(), site)


def test_databases_survive_an_interruption_at_every_line_and_close_what_was_open(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    made.sql("newdb1", "CREATE DATABASE test; CREATE USER cloud@'%' IDENTIFIED BY 'open'; CREATE USER ''@localhost;")
    step = CloudDatabases()
    if mariadb(site):
        interrupted(lambda tell: made.apply(step, site, tell))
    made.apply(step, site)
    outputs, changed = made.apply(step, site)
    assert not changed
    assert outputs["accounts"] == ["'cloud'@'10.91.0.41'"]
    assert outputs["locked"] == ["'cloud'@'localhost'"]
    assert outputs["databases"] == {"cloud": "utf8mb3_general_ci", "cloud_usage": "latin1_swedish_ci"}
    for name in ("newdb1", "newdb2"):
        accounts = made.sql(name, "SELECT CONCAT(user, '@', host) FROM mysql.user").split()
        assert {"cloud@10.91.0.41", "cloud@localhost", "by.hand@10.0.0.1"} <= set(accounts)
        assert "cloud@%" not in accounts
        assert "@localhost" not in accounts
        assert "test" not in made.sql(name, "SHOW DATABASES").split()


def test_objects_work_that_run_as_a_locked_account_and_nobody_can_be_it(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    made.apply(CloudDatabases(), site)
    made.sql(
        "newdb1",
        "CREATE TABLE cloud.t (a INT); INSERT INTO cloud.t VALUES (7); CREATE DEFINER=cloud@localhost VIEW cloud.v AS SELECT a FROM cloud.t;",
    )
    assert made.sql("newdb1", "SELECT * FROM cloud.v").strip() == "7"
    client = "mariadb" if mariadb(site) else "mysql"
    refused = made.run("newdb1", "sh", "-c", f"{client} -ucloud -p{SECRETS['cloudPassword']} -e 'SELECT 1' 2>&1 || true")
    assert "denied" in refused or "locked" in refused
    made.sql("newdb1", "DROP VIEW cloud.v; DROP TABLE cloud.t")


def test_no_password_is_in_a_binary_log_or_general_log(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    made.apply(CloudDatabases(), site)
    made.revert(CloudDatabases(), site)
    for name in ("newdb1", "newdb2"):
        made.sql(name, "SET GLOBAL general_log_file='/var/lib/mysql/general.log'; SET GLOBAL general_log = ON")
    changed = made.site(values(site.configuration.new.database.engine), cloudPassword="fresh-Pw.123", replicationPassword="fresh-Rp.456")
    made.apply(ReplicationPair(), changed)
    made.apply(CloudDatabases(), changed)
    for name in ("newdb1", "newdb2"):
        made.sql(name, "SET GLOBAL general_log = OFF")
        found = made.run(
            name, "sh", "-c", "cd /var/lib/mysql; grep -alE 'fresh-Pw.123|fresh-Rp.456' mysql-bin.* general.log *relay* 2>/dev/null || true"
        )
        assert found == ""
    journal = (made.folder / "runs/bench/journal.jsonl").read_text() + (made.folder / "runs/bench/run.log").read_text()
    assert "fresh-" not in journal
    made.apply(ReplicationPair(), site)
    made.apply(CloudDatabases(), site)


def test_databases_that_another_made_are_left_alone(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    made.revert(CloudDatabases(), site)
    made.sql("newdb1", "CREATE DATABASE cloud; CREATE TABLE cloud.theirs (a INT)")
    with pytest.raises(GuardFailed, match="this stack did not make it"):
        made.apply(CloudDatabases(), site)
    assert "theirs" in made.sql("newdb1", "SHOW TABLES FROM cloud")
    made.sql("newdb1", "DROP DATABASE cloud")


def test_undo_keeps_databases_that_were_switched_to_and_drops_the_others(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    step = CloudDatabases()
    made.apply(ReplicationPair(), site)
    made.apply(step, site)
    made.sql("newdb1", "CREATE TABLE cloud.t (a INT); INSERT INTO parallel_build.mark VALUES ('served', '2026-01-01', NOW(6));")
    made.revert(step, site)
    assert any("kept, with the accounts, for the investigation" in line for line in made.lines)
    assert "cloud" in made.sql("newdb1", "SHOW DATABASES").split()
    made.sql("newdb1", "DELETE FROM parallel_build.mark WHERE name = 'served'")
    interrupted(lambda tell: made.revert(step, site, tell))
    assert not made.revert(step, site)
    for name in ("newdb1", "newdb2"):
        assert not {"cloud", "cloud_usage"} & set(made.sql(name, "SHOW DATABASES").split())
        assert "cloud" not in made.sql(name, "SELECT user FROM mysql.user").split()


def test_pair_is_not_taken_apart_while_cloudstack_uses_it(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    made.apply(ReplicationPair(), site)
    client = "mariadb" if mariadb(site) else "mysql"
    made.sql("newdb1", "CREATE USER cloud@localhost IDENTIFIED BY 'used'")
    made.run(
        "newdb1",
        "sh",
        "-c",
        f"{client} -ucloud -pused -e 'SELECT SLEEP(60)' >/dev/null 2>&1 & until [ -n \"$(pidof {client})\" ]; do :; done",
    )
    with pytest.raises(RollbackIncomplete, match="undo the switched phase first"):
        made.revert(ReplicationPair(), site)
    # The client's end is not the session's: the server notices it only when the statement is over.
    session = made.sql("newdb1", "SELECT id FROM information_schema.processlist WHERE user = 'cloud'").strip()
    made.sql("newdb1", f"KILL {session}")
    made.sql("newdb1", "DROP USER cloud@localhost")


def test_undo_of_the_pair_survives_interruptions_and_a_server_that_is_gone(servers: tuple[Bench, Site]) -> None:
    made, site = servers
    step = ReplicationPair()
    made.apply(step, site)
    if mariadb(site):
        interrupted(lambda tell: made.revert(step, site, tell))
    made.revert(step, site)
    assert not made.revert(step, site)
    for name in ("newdb1", "newdb2"):
        assert "parallel_build" not in made.sql(name, "SHOW DATABASES").split()
        assert "parallel_build_repl" not in made.sql(name, "SELECT user FROM mysql.user").split()
    assert made.sql("newdb2", "SHOW REPLICA STATUS") == ""
    made.apply(step, site)
    container.power_off(made.folder / "machines", "newdb2")
    assert made.revert(step, site)
    assert any("can't be reached" in line for line in made.lines)
    container.power_on(made.folder / "machines", "newdb2")


@pytest.fixture(scope="module")
def management() -> Iterator[tuple[Bench, Site]]:
    """A machine for a management server, and a package repository."""
    repository = build(cache_directory()).repository(NEW)
    with bench(base_root()) as made:
        made.machine("newms1")
        server = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                made.space,
                "python3",
                "-m",
                "http.server",
                "8000",
                "--bind",
                "10.91.0.1",
                "--directory",
                str(repository),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = configuration()
            found["new"]["packages"] = {"repository": "deb [trusted=yes] http://10.91.0.1:8000/ ./"}
            made.run("newms1", "sh", "-c", "until bash -c '</dev/tcp/10.91.0.1/8000' 2>/dev/null; do sleep 0.1; done")
            yield made, made.site(found)
        finally:
            server.terminate()
            server.wait(timeout=10)


@pytest.mark.containers
def test_a_version_that_is_not_there_is_named_with_those_that_are(management: tuple[Bench, Site]) -> None:
    made, site = management
    found = site.configuration.model_dump(mode="json", by_alias=True)
    found["new"]["version"] = "4.23.0.0"
    with pytest.raises(StepFailed, match=r"no cloudstack-management 4\.23\.0\.0.*available: 4\.22\.1\.0"):
        made.apply(ManagementInstalled({"name": "newms1"}), made.site(found))
    assert made.run("newms1", "sh", "-c", "dpkg -l 'cloudstack*' 2>/dev/null | grep -c ^ii || true").strip() == "0"


@pytest.mark.containers
def test_packages_are_installed_masked_and_never_started(management: tuple[Bench, Site]) -> None:
    made, site = management
    step = ManagementInstalled({"name": "newms1"})
    interrupted(lambda tell: made.apply(step, site, tell))
    outputs, changed = made.apply(step, site)
    assert not changed
    assert outputs["packages"] == {"cloudstack-management": NEW, "cloudstack-usage": NEW}
    state = made.run(
        "newms1", "sh", "-c", "systemctl is-enabled cloudstack-management cloudstack-usage; journalctl -q -u cloudstack-management; true"
    )
    assert state.split() == ["masked", "masked"]
    assert made.run("newms1", "readlink", "/etc/cloudstack/usage/key").strip() == "../management/key"
    assert made.run("newms1", "sh", "-c", "ls /etc/systemd/system/*.wants | grep -c cloudstack || true").strip() == "0"
    assert made.revert(step, site) is False


@pytest.mark.containers
def test_a_machine_that_was_set_up_before_is_refused(management: tuple[Bench, Site]) -> None:
    made, site = management
    step = ManagementInstalled({"name": "newms1"})
    made.apply(step, site)
    made.run("newms1", "sh", "-c", "printf secret >/etc/cloudstack/management/key")
    with pytest.raises(StepFailed, match="has been set up before"):
        made.apply(step, site)
    made.run("newms1", "rm", "/etc/cloudstack/management/key")


@pytest.mark.containers
def test_undo_refuses_to_stop_a_server_that_runs(management: tuple[Bench, Site]) -> None:
    made, site = management
    step = ManagementInstalled({"name": "newms1"})
    made.apply(step, site)
    unit = "[Service]\nExecStart=/bin/sleep 600\n"
    made.run(
        "newms1", "sh", "-c", "systemctl unmask cloudstack-management; cat >/etc/systemd/system/cloudstack-management.service", input=unit
    )
    made.run("newms1", "sh", "-c", "systemctl daemon-reload; systemctl start cloudstack-management")
    with pytest.raises(RollbackIncomplete, match="may be serving users"):
        made.revert(step, site)
    made.run(
        "newms1",
        "sh",
        "-c",
        "systemctl stop cloudstack-management; rm /etc/systemd/system/cloudstack-management.service; systemctl daemon-reload",
    )
    assert made.revert(step, site) is True
    assert made.run("newms1", "sh", "-c", "systemctl is-enabled cloudstack-management || true").strip() == "masked"

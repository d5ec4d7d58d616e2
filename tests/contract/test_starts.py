"""How starts of a management server go well and fail: every row of the observed table, with its signs."""

from __future__ import annotations

import datetime
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.packages import NEW, OLD
from tests.contract.conftest import Host
from tests.contract.harness import DatabaseServer, ManagementHost, wait

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

TEMPLATE = "systemvm-kvm-4.22.0-x86_64"
STORM = 88
UNTOUCHED = {"4.20.3.0": "Complete"}


@pytest.fixture(autouse=True)
def copy(database: DatabaseServer, generated: Mapping[str, Path]) -> None:
    """A fresh copy of the old cloud's databases, with the template that the new version wants."""
    database.load(generated)
    database.execute(
        "INSERT INTO cloud.vm_template (unique_name, name, uuid, public, featured, type, hvm, bits, format, created, account_id, guest_os_id, "
        f"hypervisor_type, arch) VALUES ('new', '{TEMPLATE}', UUID(), 0, 0, 'USER', 1, 64, 'QCOW2', UTC_TIMESTAMP(), 2, 15, 'KVM', 'x86_64')"
    )


def newest(database: DatabaseServer) -> str:
    """Return the newest version whose upgrade is complete."""
    return str(database.value("SELECT version FROM cloud.version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1"))


def own_state(database: DatabaseServer) -> str | None:
    """Return the state of the row of the server under test."""
    state: str | None = database.value(f"SELECT state FROM cloud.mshost WHERE service_ip = '10.91.0.41' AND version = '{NEW}'")
    return state


def assert_untouched(database: DatabaseServer) -> None:
    """The copy is as it was imported."""
    assert newest(database) == OLD
    assert (
        database.value("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'cloud' AND table_name = 'user_vm_details'")
        == 1
    )
    assert not database.rows("SHOW COLUMNS FROM cloud.host LIKE 'last_mgmt_server_id'")


def first(server: ManagementHost, level: str) -> str:
    """Return the first line of a level."""
    return next(line for line in server.log() if f" {level} " in line)


def failed(server: ManagementHost) -> None:
    """Wait for 503; the process stays."""
    assert server.wait_for_answer() == 503
    assert "HTTP ERROR 503 Service Unavailable" in server.get("/client/api")[1]
    assert server.alive()


def test_a_good_first_start_upgrades_and_serves(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.start()
    assert server.wait_for_answer() == 401
    assert list(database.versions().items())[:4] == [
        ("4.22.1.0", "Complete"),
        ("4.22.0.0", "Complete"),
        ("4.21.0.0", "Complete"),
        ("4.20.3.0", "Complete"),
    ]
    assert own_state(database) == "Up"
    assert not server.logged("Failed to start module")
    # A good start logs an error too, as the real one does: it is the cause of nothing.
    assert [line.partition("(logid:) ")[2] for line in server.logged(" ERROR ")] == ["Unable to find properties file: commands.properties"]
    assert database.value("SELECT COUNT(*) FROM information_schema.views WHERE table_schema = 'cloud'") == 35
    assert database.value(f"SELECT type FROM cloud.vm_template WHERE name = '{TEMPLATE}'") == "SYSTEM"
    assert database.value("SELECT value FROM cloud.configuration WHERE name = 'minreq.sysvmtemplate.version'") == "4.22.0"
    # The trap: rows of system VMs name the new template although they run the old one.
    assert database.rows(
        "SELECT DISTINCT t.name FROM cloud.vm_instance v JOIN cloud.vm_template t ON t.id = v.vm_template_id "
        "WHERE v.type <> 'User' AND v.removed IS NULL"
    ) == [{"name": TEMPLATE}]


def configured_after(server: ManagementHost) -> float:
    """Seconds that the components took, by the log's own times."""
    begin = next(line for line in server.log() if "Done Configuring CloudStack Components" in line)
    end = next(line for line in server.log() if "DatabaseIntegrityChecker" in line)
    times = [datetime.datetime.fromisoformat(line[:23].replace(",", ".")) for line in (begin, end)]
    return (times[1] - times[0]).total_seconds()


def test_two_servers_that_start_at_once_take_longer(database: DatabaseServer, host: Host) -> None:
    alone = host(NEW)
    alone.settings(components_seconds=1)
    with database.held("standin.components"):  # what the other one holds while its components are configured
        alone.start()
        assert alone.wait_for_answer() == 401
    both = configured_after(alone)
    alone.end()
    database.execute("UPDATE cloud.mshost SET state = 'Down'")
    alone.start()
    assert alone.wait_for_answer() == 401
    assert both >= 2 > configured_after(alone)


def test_sigterm_leaves_the_cluster_in_time(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.start()
    assert server.wait_for_answer() == 401
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    wait(lambda: own_state(database) == "Down", 2, "the state Down")
    assert server.exit_code(3) == 143
    assert time.monotonic() - begin < 2.5
    assert server.logged("Cluster manager is stopped")


def test_a_killed_server_stays_up_in_the_table_and_starts_again(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.start()
    assert server.wait_for_answer() == 401
    server.signal(signal.SIGKILL)
    server.exit_code()
    assert own_state(database) == "Up"
    server.start()
    assert server.wait_for_answer() == 401
    assert database.value(f"SELECT COUNT(*) FROM cloud.mshost WHERE version = '{NEW}'") == 1


def test_another_server_up_in_the_copy(database: DatabaseServer, host: Host) -> None:
    database.execute("UPDATE cloud.mshost SET state = 'Up' ORDER BY id DESC LIMIT 1")
    server = host(NEW)
    server.start()
    assert server.exit_code() == 5
    errors = server.logged(" ERROR ")
    assert len(errors) == 1
    assert "Database upgrade is required but the management server is running in a clustered environment" in errors[0]
    assert_untouched(database)


@pytest.mark.parametrize("wrong", [{"database_key": "other"}, {"encryptor": "V1"}], ids=["key", "version"])
def test_wrong_database_key_or_encryptor(database: DatabaseServer, host: Host, wrong: dict[str, str]) -> None:
    server = host(NEW)
    server.configure(**wrong)
    server.start()
    failed(server)
    assert "Error decrypting value: " in first(server, "ERROR")
    assert server.logged("Unable to initialize the database encryptors")
    assert len(server.logged("Failed to start module [")) == STORM
    assert_untouched(database)


def test_automatic_encryptor(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.configure(encryptor="")
    server.start()
    assert server.wait_for_answer() == 401


def test_wrong_management_key(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.configure(key="other")
    server.start()
    failed(server)
    assert not server.logged(" ERROR ")
    assert [line.split("] (")[0].split("[")[-1] for line in server.log()[-2:]] == ["c.c.u.c.CloudStackEncryptor"] * 2
    assert all("Failed to decrypt value using" in line and " WARN " in line for line in server.log()[-2:])
    assert_untouched(database)


def test_unreadable_management_key(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    # Mode bits don't keep root out, so the key is made something that can't be read as a file.
    (server.configuration / "key").unlink()
    (server.configuration / "key").mkdir()
    server.start()
    failed(server)
    assert not server.logged(" ERROR ")
    assert not server.logged(" WARN ")
    assert_untouched(database)


def test_wrong_database_password(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.configure(password="other")
    server.start()
    failed(server)
    assert "Falling back on assumed datasource on localhost:3306 using username:password=cloud:cloud" in first(server, "WARN")
    assert "Unable to get a new db connection" in first(server, "ERROR")
    assert_untouched(database)


def test_wrong_database_password_with_a_second_database_that_lets_cloud_in(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.configure(password="other", database_key="")
    database.execute("CREATE OR REPLACE USER cloud@'127.0.0.1' IDENTIFIED BY 'cloud'")
    database.execute("GRANT ALL ON cloud.* TO cloud@'127.0.0.1'")
    try:
        server.start()
        assert server.wait_for_answer() in (401, 503)
        assert server.logged("Falling back on assumed datasource")
        # It goes to work on whatever database that is.
        assert server.logged("DB version = 4.20.3.0")
    finally:
        database.execute("DROP USER cloud@'127.0.0.1'")


@pytest.mark.parametrize("node", ["127.0.1.1", "10.91.0.99"])
def test_foreign_node_address(database: DatabaseServer, host: Host, node: str) -> None:
    server = host(NEW)
    server.configure(node=node)
    server.start()
    failed(server)
    assert newest(database) == NEW
    assert not database.rows(f"SELECT id FROM cloud.mshost WHERE version = '{NEW}'")


def test_killed_within_a_step(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.settings(step_seconds={"4.21.0.0": 60})
    server.start()
    wait(lambda: database.rows("SHOW COLUMNS FROM cloud.host LIKE 'last_mgmt_server_id'"), 90, "the step")
    server.signal(signal.SIGKILL)
    server.exit_code()
    assert newest(database) == OLD
    server.settings()
    server.start()
    failed(server)
    assert "Error executing: ALTER TABLE" in first(server, "ERROR")
    assert "Duplicate column name" in server.logged(" ERROR ")[1]
    assert newest(database) == OLD


def test_a_step_that_fails(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.settings(fail_step="4.22.1.0")
    server.start()
    failed(server)
    assert newest(database) == "4.22.0.0"
    assert "4.22.1.0" not in database.versions()
    assert server.logged("Unable to upgrade the database")
    assert len(server.logged("Failed to start module [")) == STORM


def test_empty_usage_database(database: DatabaseServer, host: Host) -> None:
    database.execute("DROP DATABASE cloud_usage")
    database.execute("CREATE DATABASE cloud_usage")
    server = host(NEW)
    server.start()
    failed(server)
    assert newest(database) == "4.22.0.0"
    assert "cloud_usage" in first(server, "ERROR")


def test_empty_cloud_database(database: DatabaseServer, host: Host) -> None:
    database.execute("DROP DATABASE cloud")
    database.execute("CREATE DATABASE cloud")
    server = host(NEW)
    server.start()
    failed(server)
    assert "Unable to get the 'init' value" in first(server, "ERROR")
    assert not database.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'cloud'")


def test_sigterm_within_a_step_is_a_kill(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.settings(step_seconds={"4.21.0.0": 60})
    server.start()
    wait(lambda: database.rows("SHOW COLUMNS FROM cloud.host LIKE 'last_mgmt_server_id'"), 90, "the step")
    server.signal(signal.SIGTERM)
    assert server.exit_code(5) == 143
    assert newest(database) == OLD


def test_old_version_on_an_upgraded_database(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.start()
    assert server.wait_for_answer() == 401
    server.signal(signal.SIGTERM)
    server.exit_code()
    old = host(OLD)
    old.start()
    failed(old)
    assert "Database version 4.22.1.0 is higher than management software version 4.20.3.0" in first(old, "ERROR")
    assert newest(database) == NEW


def test_ended_between_two_steps(database: DatabaseServer, host: Host) -> None:
    half = host(NEW)
    (half.root / "usr/share/cloudstack-common/lib/standin/shared/VERSION").write_text("4.21.0.0\n")
    half.start()
    half.wait_for_answer()
    half.signal(signal.SIGTERM)
    half.exit_code()
    assert newest(database) == "4.21.0.0"
    server = host(NEW)
    server.start()
    assert server.wait_for_answer() == 401
    assert newest(database) == NEW
    assert not server.logged("Running upgrade Upgrade42010to42100")


def test_killed_in_the_views_phase_looks_healthy_afterwards(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.settings(views_seconds=60)
    server.start()
    wait(lambda: newest(database) == NEW and server.logged("mshost_peer_view"), 90, "the views phase")
    server.signal(signal.SIGKILL)
    server.exit_code()
    server.settings()
    server.start()
    assert server.wait_for_answer() == 401
    assert own_state(database) == "Up"
    assert server.logged("DB version and code version matches so no upgrade needed")
    assert not server.logged("Executing VIEW script")
    definition = database.rows("SHOW CREATE VIEW cloud.user_vm_view")[0]["Create View"]
    assert "user_vm_details" in definition


def test_failed_plug_ins_hide_behind_401(database: DatabaseServer, host: Host) -> None:
    server = host(NEW)
    server.settings(fail_modules=["ipmitool", "saml2"])
    server.start()
    assert server.wait_for_answer() == 401
    assert own_state(database) == "Up"
    assert len(server.logged("Failed to start module [")) == 2


def test_missing_system_vm_template(database: DatabaseServer, host: Host) -> None:
    database.execute(f"DELETE FROM cloud.vm_template WHERE name = '{TEMPLATE}'")
    server = host(NEW)
    server.start()
    failed(server)
    assert "Failed to register template for hypervisor: KVM" in first(server, "ERROR")
    assert newest(database) == NEW

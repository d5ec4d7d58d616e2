"""Whole stacks on machines shaped as Enterprise Linux: dnf and rpm, its paths and units, root of the database by a password, an account with sudo.

From EL to EL: a start that fails and is rolled back, the switch with the agents' wave, back, all taken away. From EL to Debian: there and back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab.images.el import OPERATOR
from parallel_build.operations.agent_wave import FOLDER
from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import assert_new_serves, assert_no_trace, evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
OLD, NEW = "4.20.3.0", "4.22.1.0"
LABS = {"el": ("el", "--family", "el"), "mixed": ("mix", "--family", "el", "--new-family", "debian")}
to_el = pytest.mark.parametrize("lab", ["el"], indirect=True)
to_debian = pytest.mark.parametrize("lab", ["mixed"], indirect=True)
ID = "sed -n 's/^ID=//p' /etc/os-release"
VERSION = "rpm -q --qf '%{VERSION} ' cloudstack-agent cloudstack-common"
SOCKET = "/var/lib/mysql/mysql.sock"


@pytest.fixture(scope="module", params=LABS)
def lab(request: pytest.FixtureRequest) -> Iterator[LabRunner]:
    """A lab with such an original, in phase `prepared`."""
    with own_lab(*LABS[request.param]) as runner:
        yield runner


def agents(lab: LabRunner) -> set[str]:
    """Versions of what is installed on the hosts."""
    return {lab.shell(host, VERSION).strip() for host in ("kvm1", "kvm2")}


def assert_shape(lab: LabRunner, *machines: str) -> None:
    """They are what they are taken for."""
    for machine in machines:
        assert lab.shell(machine, ID).strip().strip('"') == "el-shape"
        assert not lab.shell(machine, "command -v apt-get dpkg-query || true").strip()


def assert_database_of_el(lab: LabRunner, machine: str, *, password: bool) -> None:
    """A server laid out as EL's."""
    assert (
        lab.sql(machine, "SELECT CONCAT(@@socket, ' ', @@log_error, ' ', @@pid_file)")
        == f"{SOCKET} /var/log/mariadb/mariadb.log /run/mariadb/mariadb.pid"
    )
    assert lab.shell(machine, "systemctl is-active mariadb").strip() == "active" and lab.shell(
        machine, "ls /etc/mysql/mariadb.conf.d 2>&1 || true"
    )
    login = lab.shell(machine, f"mariadb --no-defaults --socket={SOCKET} -e 'SELECT 1' 2>&1 || true")
    assert ("Access denied" in login) == password, login


@to_el
def test_both_sides_are_of_the_shape(lab: LabRunner) -> None:
    assert_shape(lab, "oldms1", "olddb1", "olddb2", "kvm1", "newms1", "newdb1", "newdb2")
    for machine in ("olddb1", "olddb2"):
        assert_database_of_el(lab, machine, password=True)
    for machine in ("newdb1", "newdb2"):
        assert_database_of_el(lab, machine, password=False)
        files = lab.shell(machine, "cd /etc/my.cnf.d; ls zz-parallel-build*; ls /etc/mysql").split()
        assert files == ["zz-parallel-build-tls.cnf", "zz-parallel-build.cnf", "parallel-build"], (
            "nothing lies where only Debian's servers read it"
        )
    stack = (lab.folder / "Pulumi.lab.yaml").read_text()
    assert stack.count(f"sshUser: {OPERATOR}") == 5 and "originalDatabasePassword" in stack
    assert lab.shell("newms1", "rpm -V cloudstack-management; systemctl is-enabled cloudstack-management || true").strip() == "masked"


@to_el
def test_check_holds_and_the_hosts_have_their_packages(lab: LabRunner) -> None:
    assert "guards hold" in lab.run("tool", "check", "lab").stdout
    assert agents(lab) == {f"{OLD} {OLD}"}
    for host in ("kvm1", "kvm2"):
        files = lab.shell(host, f"ls {FOLDER}/new {FOLDER}/old")
        assert f"cloudstack-agent-{NEW}-1.noarch.rpm" in files and f"cloudstack-agent-{OLD}-1.noarch.rpm" in files, files


@to_el
def test_a_start_that_fails_is_rolled_back(lab: LabRunner) -> None:
    before = keep_reading(lab)
    lab.run("fault", "newms1", "fail_step", '"4.22.0.0"')
    tell("switch, whose schema upgrade fails")
    failed = lab.run("tool", "switch", "lab", "--on-failure", "back", check=False)
    lab.run("fault", "newms1", "fail_step")
    assert failed.returncode != 0
    assert_original_serves(lab, before)
    assert agents(lab) == {f"{OLD} {OLD}"}
    lab.run("pulumi", "config", "set", "phase", "prepared")
    lab.run("pulumi", "up", "--yes", "--skip-preview")


@to_el
def test_el_to_el_and_back_and_all_taken_away(lab: LabRunner) -> None:
    before = keep_reading(lab)
    for key, value in (("server.name", "newdb2"), ("server.address", "10.91.0.32"), ("folder", "/srv/dumps"), ("readBack", "true")):
        lab.run("pulumi", "config", "set", "--path", f"window.dumpFile.{key}", value)
    tell("switch")
    lab.run("switch")
    assert_new_serves(lab)
    assert agents(lab) == {f"{NEW} {NEW}"}
    copied, note = evidence(lab, "DatabaseTransfer")["result"], evidence(lab, "DumpFile")["result"]
    assert note["rows"] == note["expected"] == copied["rows"] > 10000, "a server of EL's own program has read the cold copy back"
    assert lab.shell("olddb1", "systemctl is-enabled mariadb || true").strip() == "masked"
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert agents(lab) == {f"{OLD} {OLD}"}
    assert lab.shell("olddb1", "systemctl is-enabled mariadb; rpm -V mariadb-server").split()[0] == "enabled"
    tell("destroy")
    lab.run("destroy")
    assert_original_serves(lab, before, destroyed=True)
    assert lab.shell("kvm1", f"ls {FOLDER} 2>/dev/null || true") == ""
    assert_no_trace(lab)


@to_debian
def test_el_to_debian_and_back(lab: LabRunner) -> None:
    assert_shape(lab, "oldms1", "olddb1", "kvm1")
    assert lab.shell("newms1", ID).strip() == lab.shell("newdb1", ID).strip() == "debian"
    before = keep_reading(lab)
    machines = json.loads(lab.run("tool", "facts", "lab").stdout)["machines"]
    assert {role: {machine["os"] for machine in found} for role, found in machines.items()} == {
        "management": {"EL shape"}, "hypervisor": {"EL shape"}, "database": {"EL shape"},
        "new management": {"Debian GNU/Linux"}, "new database": {"Debian GNU/Linux"},
    }, "what parity compares shows the change of family"  # fmt: skip
    tell("switch")
    lab.run("switch")
    assert_new_serves(lab)
    assert agents(lab) == {f"{NEW} {NEW}"}, "hosts take their packages from a repository of their own family"
    tell("back")
    lab.run("back")
    assert_original_serves(lab, before)
    assert agents(lab) == {f"{OLD} {OLD}"}

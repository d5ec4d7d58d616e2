"""Servers that are there already, reached through a jump host: made ready, used, and left as they were found."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.images import base_root
from parallel_build.database.server.settings import rehearsal_option_file
from parallel_build.errors import GuardFailed
from parallel_build.machines.existing.manifest import FOLDER
from parallel_build.operations import isolation, rehearsal_server
from parallel_build.resolved_stack import Site
from parallel_build.steps.existing_machine import ExistingMachine
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.replication_pair import ReplicationPair
from tests.containers.existing_stand import Stand, difference, plain_root, snapshot
from tests.containers.steps_bench import bench
from tools.cache import remove

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    """The servers; each test leaves them as it found them."""
    folder = Path(tempfile.mkdtemp(prefix="existing-"))
    try:
        base = base_root()
        with plain_root(base, folder) as plain, bench(base) as made:
            ready = Stand(made, plain, base)
            try:
                yield ready
            finally:
                ready.close()
    finally:
        remove(folder)


def machines() -> list[ExistingMachine]:
    """One step a server."""
    return [ExistingMachine({"name": name}) for name in Stand.SERVERS]


def test_made_ready_used_and_left_as_found(stand: Stand) -> None:
    site = stand.site()
    before = {name: snapshot(stand.root(name)) for name in Stand.SERVERS}
    packages = {name: stand.packages(name) for name in Stand.SERVERS}
    steps = [*machines(), ReplicationPair(), ManagementInstalled({"name": "newms1"})]
    for step in steps:
        _, changed = stand.bench.apply(step, site)
        assert changed, f"{step.type} had nothing to do"
    for step in steps:
        _, changed = stand.bench.apply(step, site)
        assert not changed, f"{step.type} did something again"
    assert stand.run("newdb2", "mariadb", "-N", "-e", "SELECT COUNT(*) FROM parallel_build.heartbeat").strip() == "1"
    assert stand.packages("newms1") != packages["newms1"]
    assert stand.packages("newdb1") != packages["newdb1"]

    for step in reversed(steps):
        stand.bench.revert(step, site)
    assert {name: stand.packages(name) for name in Stand.SERVERS} == packages
    assert {name: difference(before[name], snapshot(stand.root(name))) for name in Stand.SERVERS} == {name: [] for name in Stand.SERVERS}
    for step in reversed(machines()):
        assert not stand.bench.revert(step, site), "an undo of nothing did something"


def test_what_somebody_else_did_meanwhile_stays(stand: Stand) -> None:
    """A package and a file of somebody else's, and a line in /etc/hosts, are there after the undo; all of ours is not."""
    site = stand.site()
    step = ExistingMachine({"name": "newms1"})
    before, packages = snapshot(stand.root("newms1")), stand.packages("newms1")
    installed = ManagementInstalled({"name": "newms1"})
    for each in (step, installed):
        stand.bench.apply(each, site)
    try:
        stand.run("newms1", "apt-get", "-q", "-y", "install", "lsof")
        stand.run("newms1", "sh", "-c", "echo mine >/etc/somebody.conf; echo 192.0.2.99 theirs >>/etc/hosts")
        for each in (installed, step):
            stand.bench.revert(each, site)
        left = {line.split(":")[0] for line in difference(before, snapshot(stand.root("newms1")))}
        assert {"+ etc/somebody.conf", "+ usr/bin/lsof", "~ etc/hosts"} <= left
        assert not {line for line in left if "cloudstack" in line or "mariadb" in line or "mysql" in line}
        assert stand.run("newms1", "tail", "-n", "1", "/etc/hosts") == "192.0.2.99 theirs\n"
        assert [line for line in stand.packages("newms1") if line not in packages] == [
            line for line in stand.packages("newms1") if " lsof " in line
        ]
        assert any("installed by somebody else since, left alone: lsof" in line for line in stand.bench.lines)
    finally:
        stand.run("newms1", "apt-get", "-q", "-y", "purge", "lsof")
        stand.run("newms1", "sh", "-c", "rm -f /etc/somebody.conf; sed -i '/theirs$/d' /etc/hosts")


def test_a_rehearsals_server_gets_its_database_server_before_its_firewall(stand: Stand) -> None:
    """Nothing can be installed once the firewall is up; a later rehearsal finds all of it there; and it is left as it was found."""
    site, name = stand.site(stand.rehearsing()), Stand.REHEARSAL
    machine = site.configuration.rehearsal.machine
    assert machine is not None
    before, packages = snapshot(stand.root(name)), stand.packages(name)
    step = ExistingMachine({"name": name})
    stand.bench.apply(step, site)
    with stand.bench.context(site, "Rehearsal") as context:
        host = context.host(machine)

        def make_ready() -> None:
            rehearsal_server.make_ready(context, machine)
            isolation.hold(host, [])

        stand.bench.inside(make_ready)
        wanted = rehearsal_option_file(site.configuration, machine).values["innodb_buffer_pool_size"]
        sql = "SELECT @@innodb_buffer_pool_size, @@log_bin"
        assert stand.run(name, "mariadb", "-N", "-e", sql).split() == [wanted, "1"]
        assert stand.bench.inside(lambda: isolation.held(host)), "the firewall is made of what the step has installed"
        done = len(stand.bench.lines)
        stand.bench.inside(make_ready)
        assert not any("installing" in line or "restarted" in line for line in stand.bench.lines[done:])
        stand.bench.inside(lambda: isolation.release(host))
    stand.bench.revert(step, site)
    assert stand.packages(name) == packages
    assert difference(before, snapshot(stand.root(name))) == []


SCRIPTS = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
mkdir -p /usr/lib/python3/dist-packages/testutils /opt/test-data
echo 'x = 1' >/usr/lib/python3/dist-packages/testutils/part.py
cp /usr/share/test-scripts/copied.conf /etc/copied.conf
echo 'y = 2' >/usr/lib/python3/dist-packages/test_utils.py
useradd -r -M testdaemon
update-alternatives --install /usr/bin/test-choice test-choice /usr/share/test-scripts/copied.conf 10
printf '[Unit]\\nDescription=t\\n[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/test-late.service
systemctl enable test-late.service
"""


def debs(stand: Stand, name: str) -> None:
    """Packages whose scripts write outside their lists, and dependencies that apt keeps for a name that they provide."""
    plain = {"test-lib": "", "test-awk": "Provides: awk\nDepends: test-lib\n", "test-shared": "", "their-tool": "Depends: test-shared\n"}
    for package, fields in {**plain, "test-scripts": "Depends: test-awk, test-shared\n"}.items():
        script = (
            f"rm -rf /tmp/t; mkdir -p /tmp/t/DEBIAN /tmp/t/usr/share/{package}; echo {package} >/tmp/t/usr/share/{package}/copied.conf; "
            f"printf 'Package: {package}\\nVersion: 1\\nArchitecture: all\\nMaintainer: t <t@example.com>\\nDescription: t\\n%s' "
            f"'{fields}' >/tmp/t/DEBIAN/control; "
        )
        if package == "test-scripts":
            script += "cat >/tmp/t/DEBIAN/postinst; chmod 755 /tmp/t/DEBIAN/postinst; "
        stand.run(name, "sh", "-c", script + f"dpkg-deb -b /tmp/t /srv/packages/{package}.deb >/dev/null", input=SCRIPTS)
    index = subprocess.run(
        ["dpkg-scanpackages", "--multiversion", "."], cwd=stand.root(name) / "srv/packages", check=True, timeout=120, capture_output=True
    ).stdout
    (stand.root(name) / "srv/packages/Packages").write_bytes(index)
    stand.run(name, "apt-get", "-q", "update")


def scripted(stand: Stand) -> Site:
    """A stack that installs the package with the scripts besides CloudStack's."""
    values = stand.values()
    values["new"]["packages"] = {"names": ["cloudstack-management", "test-scripts"]}
    return stand.site(values)


def test_dependencies_that_apt_keeps_and_files_of_scripts_go_too(stand: Stand) -> None:
    """Real packages: one that provides what something else needs is no `autoremove`, and scripts write what no list has."""
    debs(stand, "newms1")
    before, packages = snapshot(stand.root("newms1")), stand.packages("newms1")
    site = scripted(stand)
    steps = [ExistingMachine({"name": "newms1"}), ManagementInstalled({"name": "newms1"})]
    for each in steps:
        stand.bench.apply(each, site)
    there = stand.run(
        "newms1", "sh", "-c", "ls -d /usr/lib/python3/dist-packages/test* /etc/copied.conf /usr/bin/test-choice; id testdaemon"
    )
    assert "testutils" in there and "test_utils.py" in there and "copied.conf" in there and "test-choice" in there
    assert stand.run("newms1", "systemctl", "is-enabled", "test-late.service").strip() == "enabled"
    stand.run("newms1", "python3", "-c", "import test_utils, testutils.part")
    for each in reversed(steps):
        stand.bench.revert(each, site)
    assert stand.packages("newms1") == packages
    assert difference(before, snapshot(stand.root("newms1"))) == []


def test_what_somebody_has_come_to_need_or_asked_for_stays(stand: Stand) -> None:
    """A dependency of ours that somebody's package needs, one that somebody asked for, and their files in our folder."""
    debs(stand, "newms1")
    site = scripted(stand)
    steps = [ExistingMachine({"name": "newms1"}), ManagementInstalled({"name": "newms1"})]
    for each in steps:
        stand.bench.apply(each, site)
    try:
        stand.run("newms1", "apt-get", "-q", "-y", "install", "their-tool", "test-lib")
        stand.run("newms1", "sh", "-c", "echo theirs >/opt/test-data/theirs; useradd -r -M somebody")
        for each in reversed(steps):
            stand.bench.revert(each, site)
        left = " ".join(stand.packages("newms1"))
        assert " their-tool " in left and " test-shared " in left and " test-lib " in left
        assert " test-awk " not in left and " test-scripts " not in left and "cloudstack" not in left
        assert any("needed by others by now, left alone: test-shared" in line for line in stand.bench.lines)
        assert any("installed by somebody else since, left alone: their-tool" in line for line in stand.bench.lines)
        assert stand.run("newms1", "sh", "-c", "cat /opt/test-data/theirs; id -un somebody").split() == ["theirs", "somebody"]
        assert stand.run("newms1", "sh", "-c", "ls -d /usr/lib/python3/dist-packages/test* 2>/dev/null; true") == ""
    finally:
        stand.run("newms1", "apt-get", "-q", "-y", "purge", "their-tool", "test-shared", "test-lib")
        stand.run("newms1", "sh", "-c", "rm -rf /opt/test-data; userdel somebody")


def test_a_begun_server_is_left_as_found_and_not_given_to_another_stack(stand: Stand) -> None:
    """An apply that got no further than its manifest; and a second stack is refused meanwhile."""
    site = stand.site()
    step = ExistingMachine({"name": "newdb2"})
    before = snapshot(stand.root("newdb2"))
    stand.bench.apply(step, site)
    other = Site("another", site.configuration, site.secrets, site.host_keys)
    with pytest.raises(GuardFailed, match="newdb2 belongs to stack bench"):
        stand.bench.apply(step, other)
    stand.bench.revert(step, other)
    assert difference(before, snapshot(stand.root("newdb2"))), "another stack's undo must not undo this one's"
    stand.bench.revert(step, site)
    assert difference(before, snapshot(stand.root("newdb2"))) == []


def test_an_interrupted_manifest_is_begun_again(stand: Stand) -> None:
    """Half a manifest, as a lost connection leaves it, counts as none."""
    site = stand.site()
    step = ExistingMachine({"name": "newms1"})
    before = snapshot(stand.root("newms1"))
    stand.run("newms1", "sh", "-c", f"mkdir -p {FOLDER}.new/copies; echo half >{FOLDER}.new/packages")
    assert not stand.bench.revert(step, site)
    stand.bench.apply(step, site)
    stand.bench.revert(step, site)
    assert difference(before, snapshot(stand.root("newms1"))) == []


def test_a_running_database_server_of_somebodys_runs_on_as_it_did(stand: Stand) -> None:
    """Enabled and running before, with an account of somebody's: so it is afterwards, byte by byte in what it says."""
    site = stand.site()
    stand.run("newdb2", "systemctl", "enable", "--now", "mariadb")
    stand.run("newdb2", "mariadb", "-e", "CREATE USER keeper@localhost IDENTIFIED BY 'kept'")
    try:
        accounts = "SELECT user, host FROM mysql.user ORDER BY 1, 2"
        found = stand.run("newdb2", "mariadb", "-N", "-e", accounts)
        step = ExistingMachine({"name": "newdb2"})
        stand.bench.apply(step, site)
        assert stand.run("newdb2", "systemctl", "is-active", "mariadb").strip() == "active"
        stand.run("newdb2", "mariadb", "-e", "CREATE USER ours@localhost; CREATE DATABASE cloud")
        stand.bench.revert(step, site)
        assert stand.run("newdb2", "mariadb", "-N", "-e", accounts) == found
        assert stand.run("newdb2", "systemctl", "is-enabled", "mariadb").strip() == "enabled"
        assert "cloud" not in stand.run("newdb2", "mariadb", "-N", "-e", "SHOW DATABASES").split()
    finally:
        stand.run("newdb2", "mariadb", "-e", "DROP USER IF EXISTS keeper@localhost")
        stand.run("newdb2", "systemctl", "disable", "--now", "mariadb")


def test_databases_that_the_cloud_ran_on_are_kept_as_a_dump(stand: Stand) -> None:
    """The source still has tables in `cloud` at its last undo: they were served, and a dump stays in its logs."""
    site = stand.site()
    step, pair = ExistingMachine({"name": "newdb1"}), ReplicationPair()
    before = snapshot(stand.root("newdb1"))
    steps = [step, ExistingMachine({"name": "newdb2"}), pair]
    for each in steps:
        stand.bench.apply(each, site)
    stand.run(
        "newdb1",
        "mariadb",
        "-e",
        "CREATE DATABASE cloud; CREATE TABLE cloud.vm (name VARCHAR(20)); INSERT INTO cloud.vm VALUES ('kept-row')",
    )
    for each in reversed(steps):
        stand.bench.revert(each, site)
    assert difference(before, snapshot(stand.root("newdb1"))) == []
    dump = stand.run(
        "newdb1", "sh", "-c", "zcat /var/log/cloudstack-parallel-build/bench-*/databases.sql.gz; rm -r /var/log/cloudstack-parallel-build"
    )
    assert "kept-row" in dump
    assert "-- Dump completed" in dump


def test_servers_that_break_a_rule_are_refused_and_untouched(stand: Stand) -> None:
    """Real servers, each with something wrong: reported before anything has changed."""
    cases: tuple[tuple[str, tuple[str, ...], tuple[str, ...], dict[str, Any], str], ...] = (
        ("newdb2", ("mkdir", "-p", "/var/lib/mysql/shop"), ("rmdir", "/var/lib/mysql/shop"), {}, "holds the databases shop"),
        ("newms1", ("mkdir", "/etc/cloudstack"), ("rmdir", "/etc/cloudstack"), {}, "has something of CloudStack's: /etc/cloudstack"),
        ("newms1", ("true",), ("true",), {"memory": 10_000_000}, "MiB of memory, not 10000000"),
        ("newdb1", ("true",), ("true",), {"address": "10.91.0.99"}, "does not have the address 10.91.0.99"),
    )
    for name, plant, heal, machine, words in cases:
        stand.run(name, *plant)
        before = snapshot(stand.root(name))
        values = stand.values()
        new = values["new"]
        server = next(s for s in (new["database"]["source"], new["database"]["replica"], *new["management"]) if s["name"] == name)
        server.update(machine)
        with pytest.raises(GuardFailed, match=words):
            stand.bench.apply(ExistingMachine({"name": name}), stand.site(values))
        assert difference(before, snapshot(stand.root(name))) == []
        stand.run(name, *heal)


def test_an_account_with_sudo_serves_a_management_server_and_one_without_is_reported(stand: Stand) -> None:
    """Passwordless sudo is enough there; without it sudo's own words are the cause."""
    stand.run("newms1", "sh", "-c", "useradd -m op && install -d -o op -g op -m 700 /home/op/.ssh && "
              "install -o op -g op -m 600 /root/.ssh/authorized_keys /home/op/.ssh/authorized_keys")  # fmt: skip
    values = stand.values()
    values["new"]["management"][0]["sshUser"] = "op"
    site, step = stand.site(values), ExistingMachine({"name": "newms1"})
    try:
        with pytest.raises(GuardFailed, match="op does not become root on newms1") as refused:
            stand.bench.apply(step, site)
        assert "sudo" in refused.value.cause
        stand.run("newms1", "sh", "-c", "echo 'op ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/op; chmod 440 /etc/sudoers.d/op")
        before = snapshot(stand.root("newms1"))
        stand.bench.apply(step, site)
        stand.bench.revert(step, site)
        assert difference(before, snapshot(stand.root("newms1"))) == []
    finally:
        stand.run("newms1", "sh", "-c", "rm -f /etc/sudoers.d/op; userdel -r op 2>/dev/null; true")

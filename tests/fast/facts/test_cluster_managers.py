"""What a cluster manager could do is judged by its own files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.facts import cluster_managers
from parallel_build.facts.cluster_managers import ClusterManager, judge
from parallel_build.guards import world
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

CIB = """<cib><configuration><resources>
<primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="a">
<nvpair id="b" name="ip" value="10.91.0.5"/><nvpair id="c" name="cidr_netmask" value="24"/></instance_attributes></primitive>
<primitive id="db" class="{kind}" type="{type}"/></resources></configuration></cib>"""
KEEPALIVED = """
# notify_master "systemctl start mariadb"
vrrp_script alive { script "killall -0 mysqld" }
vrrp_instance v { unicast_peer { 10.91.0.13 }
  virtual_ipaddress {
    10.91.0.5/24 dev eth0
    2001:db8::5
  }
}
"""
MONIT = """
check process mysqld with pidfile /run/mysqld/mysqld.pid
  start program = "/usr/bin/systemctl start mysql"
  if failed port 3306 then restart
"""


@pytest.mark.parametrize(
    ("kind", "files", "units", "addresses"),
    [
        ("pacemaker", {"/var/lib/pacemaker/cib/cib.xml": CIB.format(kind="systemd", type="mariadb")}, {"mariadb"}, {"10.91.0.5"}),
        ("pacemaker", {"/var/lib/pacemaker/cib/cib.xml": CIB.format(kind="ocf", type="galera")}, {"galera"}, {"10.91.0.5"}),
        ("pacemaker", {"/var/lib/pacemaker/cib/cib.xml": CIB.format(kind="systemd", type="nginx")}, set(), {"10.91.0.5"}),
        ("keepalived", {"/etc/keepalived/keepalived.conf": KEEPALIVED}, set(), {"10.91.0.5", "2001:db8::5"}),
        ("keepalived", {"/etc/keepalived/k.conf": 'notify "/etc/n.sh"', "/etc/n.sh": "systemctl restart cloudstack-management.service"},
         {"cloudstack-management"}, set()),
        ("keepalived", {"/etc/keepalived/k.conf": "virtual_server 10.91.0.6 3306 {\n real_server 10.91.0.13 3306 {\n"}, set(), {"10.91.0.6"}),
        ("monit", {"/etc/monitrc": MONIT}, {"mysql"}, set()),
        ("monit", {"/etc/monitrc": "check process mysqld with pidfile /x\n if failed port 3306 then alert"}, set(), set()),
        ("supervisor", {"/etc/supervisor/conf.d/u.conf": "[program:usage]\ncommand=/usr/bin/cloudstack-usage"}, {"cloudstack-usage"}, set()),
        ("heartbeat", {"/etc/ha.d/haresources": "olddb1 10.91.0.5 mysql"}, {"mysql"}, {"10.91.0.5"}),
        ("rgmanager", {"/etc/cluster/cluster.conf": '<rm><ip address="10.91.0.5"/><script name="x" file="/etc/init.d/mysqld"/></rm>'},
         {"mysqld"}, {"10.91.0.5"}),
        ("orchestrator", {}, {"mysqld"}, set()),
    ],
)  # fmt: skip
def test_what_a_manager_can_do(kind: str, files: dict[str, str], units: set[str], addresses: set[str]) -> None:
    found = judge(kind, files)
    assert (set(found.units), set(found.addresses), found.unknown) == (units, addresses, "")


def test_what_can_not_be_read_is_unknown() -> None:
    assert judge("keepalived", {}).unknown and "secret.conf" in judge("monit", {"/etc/monitrc": ""}, ["/etc/monit.d/secret.conf"]).unknown


def test_only_what_runs_or_starts_at_boot_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.conf").write_text(f"notify {tmp_path}/never\n virtual_ipaddress {{ 10.91.0.5 }}\n")
    program = tmp_path / "systemctl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in "is-active --quiet keepalived") exit 0;; "is-enabled monit") echo enabled;; *) exit 3;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setitem(cluster_managers.MANAGERS, "keepalived", (("keepalived",), (f"{tmp_path}/*.conf",)))
    monkeypatch.setitem(cluster_managers.MANAGERS, "monit", (("monit",), (f"{tmp_path}/none",)))
    found = cluster_managers.read(LocalHost())
    assert found == [ClusterManager("keepalived", addresses=("10.91.0.5",)), ClusterManager("monit", unknown="none of its files was found")]


def catalog(*services: dict[str, Any]) -> str:
    """What Puppet's agent keeps of its last run: one line, megabytes on a real server."""
    other = {"type": "File", "title": "/etc/mysql/my.cnf", "tags": ["file"], "exported": False, "parameters": {"ensure": "file"}}
    resources = [{"type": "Service", "tags": ["service", "mysqld"], "exported": False, **each} for each in services]
    return json.dumps({"name": "olddb1", "resources": [other, *resources, other]})


@pytest.mark.processes
@pytest.mark.parametrize(
    ("service", "units"),
    [
        ({"title": "mariadb", "parameters": {"ensure": "running", "enable": True}}, {"mariadb"}),
        ({"title": "database", "parameters": {"name": "mysqld", "ensure": True}}, {"mysqld"}),
        ({"title": "cloudstack-management", "parameters": {"enable": True}}, {"cloudstack-management"}),
        ({"title": "cloudstack-usage", "parameters": {"ensure": "stopped", "enable": False}}, set()),
        ({"title": "ntp", "parameters": {"ensure": "running"}}, set()),
        ({"title": "mysqld_exporter", "parameters": {"ensure": "running"}}, set()),
        ({"title": "mariadb"}, set()),
    ],
)
def test_puppet_brings_up_what_its_catalog_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: dict[str, Any], units: set[str]
) -> None:
    """Its agent unmasks a service before it starts it, so a mask keeps nothing down."""
    (tmp_path / "olddb1.json").write_text(catalog({"title": "sshd", "parameters": {"ensure": "running"}}, service))
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\ncase "$*" in "is-active --quiet puppet") exit 0;; *) exit 3;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setitem(cluster_managers.MANAGERS, "puppet", (("puppet",), (f"catalog:{tmp_path}/*.json",)))
    assert cluster_managers.read(LocalHost()) == [ClusterManager("puppet", tuple(units))]


def managed(*managers: ClusterManager, on: str = "olddb1", **changes: Any) -> str:
    """What the guards say; "" where they hold."""
    for guard in (world.servers_have_their_own_addresses, world.nobody_else_starts_the_servers):
        try:
            guard(site(**changes), replace(GOOD_OLD, managers={on: list(managers)}), GOOD_NEW)
        except GuardFailed as error:
            assert "original.frontend" in error.remedy
            return error.fact
    return ""


def test_a_manager_blocks_only_for_what_concerns_the_stack() -> None:
    balancer: dict[str, Any] = {"original": {"frontend": [{"kind": "haproxy", "address": "10.91.0.5"}]}}
    vip = ClusterManager("keepalived", addresses=("10.91.0.5",))
    assert managed(vip) == ""  # somebody else's address
    assert "keepalived on olddb1 moves 10.91.0.5" in managed(vip, **balancer)
    assert "pacemaker on oldms1 starts and stops mysql" in managed(ClusterManager("pacemaker", ("mysql",)), on="oldms1")
    assert "may start anything: can't read x" in managed(ClusterManager("monit", unknown="can't read x"))


def test_a_declared_manager_does_not_block_where_it_is_declared() -> None:
    pacemaker = ClusterManager("pacemaker", ("mysql",))
    for kind in ("pacemaker", "corosync"):
        assert managed(pacemaker, original={"frontend": [{"kind": kind}]}) == ""
        assert managed(pacemaker, original={"frontend": [{"kind": kind, "servers": ["olddb1", "olddb2"]}]}) == ""
    assert managed(pacemaker, original={"frontend": [{"kind": "pacemaker", "servers": ["oldms1"]}]})
    assert managed(pacemaker, original={"frontend": [{"kind": "monit"}]})


def test_a_moving_address_is_no_servers_own_even_if_its_mover_is_declared() -> None:
    moves = ClusterManager("keepalived", addresses=("10.91.0.13",))
    assert "olddb1 (10.91.0.13, moved by keepalived on olddb1)" in managed(moves, original={"frontend": [{"kind": "keepalived"}]})

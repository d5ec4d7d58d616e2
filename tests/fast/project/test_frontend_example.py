"""The worked example of `examples/frontend/`: its files fit together, and its programs do what they say, against small models of the two admin sockets."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from parallel_build.configuration import Frontend, Server, load
from parallel_build.project import CODE
from tests.fast.sites import values

pytestmark = pytest.mark.processes
EXAMPLE = CODE / "examples/frontend"
PREFIX = "cloudstack-parallel-build:"

# HAProxy's runtime socket, as far as cloudstack-front asks it: names, operational and administrative state, in a file. [HAProxy management guide]
SOCAT = """#!{python}
import json, os, pathlib, sys
kept = pathlib.Path(os.environ["MODEL"])
model = json.loads(kept.read_text())
def one(command):
    words = command.split()
    if words[:3] == ["show", "servers", "state"]:
        if words[3:] not in ([], ["cloudstack"]):
            return "Can't find backend."
        lines = ["1", "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"]
        for number, (name, (state, admin)) in enumerate(model["servers"].items(), 1):
            if admin == 0 and name in model["answers"]:
                model["servers"][name][0] = state = 2
            lines.append(f"3 cloudstack {{number}} {{name}} 192.0.2.1 {{state}} {{admin}} 1")
        return "\\n".join(lines)
    model["orders"].append(command)
    server = words[2].split("/")[1]
    if model.get("refuses") == server:
        return "No such server."
    if words[3:] == ["state", "maint"]:
        model["servers"][server] = [0, 1]
    elif words[3:] == ["state", "ready"]:
        model["servers"][server] = [2, 0]
    elif words[3:] == ["health", "down"]:
        model["servers"][server][0] = 0
    return ""
print("\\n".join(one(each.strip()) for each in sys.stdin.readline().split(";")))
kept.write_text(json.dumps(model))
"""
# ProxySQL's admin interface is an SQLite database; LOAD and SAVE copy a table.
CLIENT = """#!{python}
import os, sqlite3, sys
database = sqlite3.connect(os.environ["MODEL"])
statement = sys.argv[-1]
copies = {{"LOAD MYSQL SERVERS TO RUNTIME": "runtime_mysql_servers", "SAVE MYSQL SERVERS TO DISK": "disk_mysql_servers"}}
if statement in copies:
    database.execute(f"DELETE FROM {{copies[statement]}}")
    database.execute(f"INSERT INTO {{copies[statement]}} SELECT * FROM mysql_servers")
else:
    for row in database.execute(statement):
        print("\\t".join(map(str, row)))
database.commit()
"""


def program(folder: Path, name: str, text: str) -> Path:
    """Put a program into a folder."""
    path = folder / name
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return path


class Balancer:
    """cloudstack-front before a model of HAProxy."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, folder / "model.json"
        program(folder, "socat", SOCAT)
        self.write(answers=["original-1", "original-2", "new-1"])

    def write(self, **changes: object) -> None:
        usual = {"servers": {"original-1": [2, 0], "original-2": [2, 0], "new-1": [0, 5], "new-2": [0, 5]}, "answers": [], "orders": []}
        self.model.write_text(json.dumps({**(self.read() if self.model.exists() else usual), **changes}))

    def read(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.model.read_text())
        return found

    def turn(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "MODEL": str(self.model),
                       "HAPROXY_SOCKET": str(self.folder / "admin.sock"), "HAPROXY_STATE": str(self.folder / "servers.state")}  # fmt: skip
        text = (EXAMPLE / "cloudstack-front").read_text().replace("limit=30", "limit=1")
        return subprocess.run(
            ["sh", "-c", text, "cloudstack-front", *words], capture_output=True, text=True, check=False, env=environment, timeout=60
        )

    def states(self) -> dict[str, bool]:
        """Whether each server is let serve."""
        servers = self.read()["servers"]
        assert isinstance(servers, dict)
        return {name: not admin & 1 for name, (_, admin) in servers.items()}


@pytest.fixture
def balancer(tmp_path: Path) -> Balancer:
    return Balancer(tmp_path)


def test_the_balancer_is_closed_led_to_either_side_and_left_as_it_is(balancer: Balancer) -> None:
    every = ("original-1", "original-2", "new-1", "new-2")
    for word, serve in (("closed", ()), ("new", every[2:]), ("closed", ()), ("original", every[:2])):
        done = balancer.turn(word)
        assert done.returncode == 0, done.stderr
        assert balancer.states() == {name: name in serve for name in every}, word
        assert "original-1" in (balancer.folder / "servers.state").read_text()
        balancer.write(orders=[])
        assert balancer.turn(word).returncode == 0 and balancer.read()["orders"] == [], f"{word} again changes nothing"


def test_the_side_that_is_left_goes_first_and_no_server_is_taken_for_good_unseen(balancer: Balancer) -> None:
    balancer.turn("new")
    assert balancer.read()["orders"] == [
        "set server cloudstack/original-1 state maint", "set server cloudstack/original-2 state maint",
        "set server cloudstack/new-1 state ready", "set server cloudstack/new-1 health down",
        "set server cloudstack/new-2 state ready", "set server cloudstack/new-2 health down",
    ]  # fmt: skip


def test_what_is_not_so_ends_with_an_error(balancer: Balancer) -> None:
    balancer.write(answers=[])
    assert "no server of the new side answers HAProxy's check" in balancer.turn("new").stderr
    balancer.write(refuses="original-1")
    refused = balancer.turn("original")
    assert refused.returncode == 1 and "HAProxy refuses" in refused.stderr
    balancer.write(servers={"original-1": [2, 0]})
    assert "has no server that is named new-..." in balancer.turn("new").stderr
    balancer.write(servers={})
    assert "HAProxy has no backend cloudstack" in balancer.turn("closed").stderr
    program(balancer.folder, "socat", "#!/bin/sh\nexit 1\n")
    assert balancer.turn("closed").returncode == 1
    assert balancer.turn().returncode == 2 and balancer.turn("elsewhere").returncode == 2


def test_the_database_proxy_sends_nothing_to_the_original_while_it_is_closed(tmp_path: Path) -> None:
    model = tmp_path / "model"
    tables = ("mysql_servers", "runtime_mysql_servers", "disk_mysql_servers")

    def rows(table: str) -> list[tuple[int, str]]:
        with sqlite3.connect(model) as database:
            return sorted(database.execute(f"SELECT hostgroup_id, status FROM {table}"))

    with sqlite3.connect(model) as database:
        for table in tables:
            database.execute(f"CREATE TABLE {table} (hostgroup_id INTEGER, hostname TEXT, status TEXT)")
            database.executemany(
                f"INSERT INTO {table} VALUES (?, ?, 'ONLINE')", [(10, "10.91.0.13"), (20, "10.91.0.14"), (30, "192.0.2.9")]
            )
    program(tmp_path, "mariadb", CLIENT)

    def turn(*words: str, hostgroups: str = "10,20") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": str(model), "PROXYSQL_HOSTGROUPS": hostgroups}
        return subprocess.run(
            [str(EXAMPLE / "proxysql-front"), *words], capture_output=True, text=True, check=False, env=environment, timeout=60
        )

    for word, status in (("closed", "OFFLINE_HARD"), ("closed", "OFFLINE_HARD"), ("original", "ONLINE"), ("original", "ONLINE")):
        done = turn(word)
        assert done.returncode == 0, done.stderr
        assert rows("runtime_mysql_servers") == rows("disk_mysql_servers") == [(10, status), (20, status), (30, "ONLINE")]
    assert "no server in hostgroups 77" in turn("closed", hostgroups="77").stderr
    assert turn().returncode == 2
    program(tmp_path, "mariadb", "#!/bin/sh\necho 'access denied' >&2; exit 1\n")
    assert turn("closed").returncode == 1


def test_its_files_name_the_same_servers_and_addresses() -> None:
    document = yaml.safe_load((EXAMPLE / "frontend.yaml").read_text())
    given = values(window=document[f"{PREFIX}window"])
    given["original"] |= document[f"{PREFIX}original"]
    configuration = load(given, "lab")
    door: Frontend = configuration.original.frontend[0]
    assert door.turned and {door.kind, door.moved_by} == {"haproxy", "keepalived"}
    balancer, mover = (EXAMPLE / "haproxy.cfg").read_text(), (EXAMPLE / "keepalived.conf").read_text()
    servers: list[tuple[str, Server]] = [("original", server) for server in configuration.original.management] + [
        ("new", server) for server in configuration.new.management
    ]
    wanted = {f"{side}-{server.name} {server.address}:8080" for side, server in servers}
    assert set(re.findall(r"^    server (\S+ \S+?)(?: disabled)?$", balancer, re.MULTILINE)) == wanted
    assert f"{door.address}/24" in mover
    for host in door.hosts:
        assert f"@{host.name} unicast_src_ip {host.address}" in mover
    assert {words[0] for words in (door.close, door.to_new, door.to_original)} == {"/usr/local/sbin/cloudstack-front"}
    assert configuration.window.user_access.probe is not None and str(door.address) in str(configuration.window.user_access.probe.url)

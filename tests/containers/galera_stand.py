"""Three real nodes of a MariaDB Galera cluster, and a new source: an original whose databases a window stops and a rollback starts again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.databases import CLUSTER_SETTINGS
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import load, load_secrets
from parallel_build.database.replicate import log_end
from parallel_build.machines.container import machine as container
from parallel_build.operations import original_database
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections, Host
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site
from parallel_build.steps.original_database import OriginalDatabase
from tests.containers.database_stand import NETWORK, Stand, roots, sql, stand
from tests.fast.sites import SECRETS, values

NODES = {"olddb1": 13, "olddb2": 14, "olddb3": 15}
NEW = 31
MEMBERS = ",".join(f"{NETWORK}.{number}" for number in NODES.values())
FILE = "/etc/mysql/mariadb.conf.d/99-galera.cnf"
CLOUD = (
    "CREATE DATABASE cloud; CREATE DATABASE cloud_usage; CREATE TABLE cloud.configuration (name VARCHAR(64) PRIMARY KEY, value TEXT); "
    "INSERT INTO cloud.configuration VALUES ('host', 'x')"
)


def options(name: str, address: str, members: str = MEMBERS) -> str:
    """A node's option file."""
    return CLUSTER_SETTINGS.format(cluster="stand", name=name, address=address, members=members)


@dataclass
class Cluster:
    """The machines, and what a step is given of them.

    Attributes:
        confirmed: what window.confirmedDown names.
        lines: what the last step reported.
    """

    made: Stand
    hosts: dict[str, Host]
    runs: Path
    confirmed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def site(self) -> Site:
        """The stack."""

        def server(name: str, number: int) -> dict[str, Any]:
            return {"name": name, "address": f"{NETWORK}.{number}", "hostKey": self._public(name)}

        source, *others = (server(name, number) for name, number in NODES.items())
        wanted = values()
        wanted["original"]["database"] = {"source": source, "nodes": others}
        wanted["new"]["database"] = {
            "source": {"name": "newdb1", "address": f"{NETWORK}.{NEW}"},
            "replica": {"name": "newdb2", "address": f"{NETWORK}.{NEW + 1}"},
        }
        wanted["window"] = {**wanted["window"], "confirmedDown": self.confirmed}
        wanted["ssh"] = {"identityFile": str(self.made.folder / "operator"), "configFile": "/dev/null", "connectTimeout": "5s"}
        return Site("test", load(wanted, "test"), load_secrets(SECRETS, "test"), {"newdb1": self._public("newdb1")})

    def _public(self, name: str) -> str:
        return (self.made.folder / f"key-{name}.pub").read_text().strip()

    @contextlib.contextmanager
    def context(self, *, undoing: bool = False) -> Iterator[Context]:
        """What a step of this stack is given, with sessions of its own."""
        where, cancel = self.site(), CancelToken()
        connections = Connections(where, cancel)
        self.lines.clear()
        run = RunFolder(self.runs, where.stack, where.secrets.all())
        try:
            yield Context(where, connections, run, cancel, self.lines.append, "OriginalDatabase", undoing=undoing)
        finally:
            connections.close()

    def open(self) -> None:
        """A window with a copy that was compared just now."""
        with self.context() as context:
            store(context).open()
        self.compared()

    def compared(self) -> None:
        """The copy was made and compared just now."""
        with self.context() as context:
            with session(context.host(context.configuration.original.database.source)) as old:
                end = log_end.read(old, ["cloud", "cloud_usage"])
            store(context).remember("DatabaseTransfer", copied={"tables": 1, "original": end.kept()})

    def stop(self) -> None:
        """Step OriginalDatabase."""
        with self.context() as context:
            OriginalDatabase().apply(context)

    def serve(self) -> None:
        """What a rollback does before users are in."""
        with self.context(undoing=True) as context:
            if not store(context).mine().returning:
                store(context).mark_returning()
            original_database.start(context)

    def rejoin(self) -> list[str]:
        """What it does after that; what is missing."""
        with self.context(undoing=True) as context:
            return original_database.start_replica(context)

    def close(self) -> None:
        """The window's end."""
        with self.context(undoing=True) as context:
            store(context).close()

    def facts(self) -> dict[str, Any]:
        """The window's record of the cluster."""
        with self.context() as context:
            return store(context).facts("OriginalGalera")

    def write(self, name: str, key: str) -> None:
        """A row that somebody has seen stored."""
        sql(self.hosts[name], f"REPLACE INTO cloud.configuration VALUES ('{key}', '1')")

    def shell(self, name: str, command: str) -> str:
        """A command on a machine; its output."""
        return self.hosts[name].run(["sh", "-c", command], timeout=120, ok=None).stdout.strip()

    def value(self, name: str, variable: str) -> str:
        """A status variable of a node, "" where it can't be asked."""
        host = self.hosts[name]
        shown = (
            host.run(["mariadb", "-N", "-B", "-e", f"SHOW GLOBAL STATUS LIKE '{variable}'"], timeout=30, ok=None)
            if host.reachable()
            else None
        )
        return shown.stdout.split()[-1] if shown is not None and shown.ok and shown.stdout.split() else ""

    def whole(self, *names: str) -> bool:
        """Whether exactly these nodes are Synced in one cluster."""
        wanted = names or tuple(NODES)
        return all(
            self.value(name, "wsrep_local_state_comment") == "Synced" and self.value(name, "wsrep_cluster_size") == str(len(wanted))
            for name in wanted
        )

    def same(self, key: str, *names: str) -> bool:
        """Whether each of these nodes has a row."""
        asked = [sql(self.hosts[name], f"SELECT COUNT(*) FROM cloud.configuration WHERE name = '{key}'").strip() for name in names or NODES]
        return asked == ["1"] * len(asked)

    def power_off(self, name: str) -> None:
        """Its power is cut."""
        container.kill(self.made.machines(), name)

    def power_on(self, name: str) -> None:
        """It boots with the disk that it had."""
        container.power_on(self.made.machines(), name)
        self.until(f"{name} to be there", self.hosts[name].reachable)

    def until(self, what: str, holds: Any) -> None:
        """Wait for something."""
        wait_for(what, holds, timeout=240, cancel=self.made.cancel, interval=0.5)


@contextlib.contextmanager
def cluster(runs: Path) -> Iterator[Cluster]:
    """Three nodes that serve, for the time of the block."""
    root = roots()["mariadb"]
    with stand() as made:
        hosts = {name: made.add(name, root, number, {"log_slave_updates": "ON"}) for name, number in NODES.items()}
        hosts["newdb1"] = made.add("newdb1", root, NEW)
        sql(hosts["olddb1"], CLOUD)
        for name, number in NODES.items():
            hosts[name].write(FILE, options(name, f"{NETWORK}.{number}"), mode=0o644)
            hosts[name].run(["systemctl", "stop", "mariadb"], timeout=120)
        hosts["olddb1"].run(["galera_new_cluster"], timeout=120)
        for name in ("olddb2", "olddb3"):
            hosts[name].run(["systemctl", "start", "mariadb"], timeout=300)
        found = Cluster(made, hosts, runs)
        found.until("three nodes in one cluster", found.whole)
        yield found

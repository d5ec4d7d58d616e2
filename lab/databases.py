"""The original's database servers: filled from a generated database or a dump, and the replica set up behind the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lab import given_dump
from lab.database import Accounts, DatabasePlan, load, restore
from lab.files import Lab, Options, System
from lab.hosts import ROOT_PASSWORD, Sessions, in_parallel
from lab.machines import OLD_NODE, OLD_REPLICA, OLD_SOURCE, Machine
from lab.progress import say, until
from parallel_build.configuration.database_combinations import Family
from parallel_build.database.server.dialects import identify
from parallel_build.machines.local_commands import run
from parallel_build.machines.provisioning import File
from parallel_build.remote.database_login import DatabaseLogin
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Session, session
from parallel_build.secret import Secret

DATABASES = ("cloud", "cloud_usage")
DATA = "var/lib/mysql"
REPLICATION_USER = "repl"
# What of the original's servers is spelt differently by family.
CONFIGURATION: dict[Family, str] = {
    "mariadb": "/etc/mysql/mariadb.conf.d/99-cloudstack.cnf",
    "mysql": "/etc/mysql/mysql.conf.d/zz-cloudstack.cnf",
}
EL_CONFIGURATION = "/etc/my.cnf.d/zz-cloudstack.cnf"
CLIENT_FILE = "/root/.my.cnf"  # with which root's own programs log in where root has a password
UNIT: dict[Family, str] = {"mariadb": "mariadb.service", "mysql": "mysql.service"}
DUMP: dict[Family, tuple[str, ...]] = {"mariadb": ("mariadb-dump",), "mysql": ("mysqldump", "--set-gtid-purged=OFF")}
LOG_SIZE: dict[Family, str] = {"mariadb": "innodb_log_file_size = 128M", "mysql": "innodb_redo_log_capacity = 256M"}
SETTINGS = """[mysqld]
# CloudStack's installation guide, "Install the database on the management server node"
server-id = {number}
log-bin = mysql-bin
binlog-format = ROW
innodb_rollback_on_timeout = 1
innodb_lock_wait_timeout = 600
max_connections = 700
# of a lab: reached over the network, small, and without a name server
bind-address = 0.0.0.0
skip-name-resolve
innodb_buffer_pool_size = 256M
{log_size}
{more}
"""
CLUSTER = (OLD_SOURCE, OLD_REPLICA, OLD_NODE)
# Behind the others, and only once the databases are there: a node is started as a part of its cluster from then on.
CLUSTER_FILE = "/etc/mysql/mariadb.conf.d/zz-galera.cnf"
CLUSTER_SETTINGS = """[mysqld]
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = {cluster}
wsrep_cluster_address = gcomm://{members}
wsrep_node_address = {address}
wsrep_node_name = {name}
wsrep_sst_method = rsync
default_storage_engine = InnoDB
innodb_autoinc_lock_mode = 2
"""
# $1: that file. An attempt that was interrupted may have left a node of a cluster.
APART = """
[ -e "$1" ] || exit 0
systemctl stop mariadb
rm -f "$1" /var/lib/mysql/grastate.dat /var/lib/mysql/gvwstate.dat /var/lib/mysql/galera.cache
"""


def configuration(machine: Machine, family: Family, system: System = "debian", *, cluster: bool = False) -> File:
    """The database server's configuration file."""
    number, more = (1, "") if machine == OLD_SOURCE else (2, "read_only = 1\nrelay-log = relay-bin")
    if cluster:
        number, more = CLUSTER.index(machine) + 1, "log_slave_updates = 1"
    path = EL_CONFIGURATION if system == "el" else CONFIGURATION[family]
    return File(path, SETTINGS.format(number=number, log_size=LOG_SIZE[family], more=more))


def source_of(options: Options, plan: DatabasePlan) -> DatabasePlan | Path | Mapping[str, Path]:
    """What the database is loaded from."""
    return given_dump.files(options) if options.dump else plan


def fill(lab: Lab, opened: Sessions, source: DatabasePlan | Path | Mapping[str, Path], password: Secret) -> None:
    """Load the databases into the source and make the replica follow it. Starts over when an earlier attempt was interrupted.

    Args:
        source: what to load.
        password: of the database user `cloud`.
    Raises:
        LabDatabaseError: the source can't be loaded.
        LabError: the replica does not follow.
    """
    primary = opened[OLD_SOURCE]
    family = lab.options().database
    unit = UNIT[family]
    if lab.options().galera:
        in_parallel(lambda machine: opened[machine].script(APART, [CLUSTER_FILE], timeout=120), CLUSTER)
    primary.run(["systemctl", "start", unit], timeout=120)  # An attempt that was interrupted may have left it stopped.
    # The replica is copied from the source's files, so nothing of the load needs to be in the binary log.
    with session(primary) as database:
        for name in DATABASES:
            database.execute(f"DROP DATABASE IF EXISTS {name}")
    client = ["ssh", *primary.options(), primary.destination, family, "--init-command='SET SESSION sql_log_bin = 0'"]
    load(client, source, accounts=Accounts(password.reveal()), progress=_reported())
    restore(client, ["ssh", *primary.options(), primary.destination, *DUMP[family]], DATABASES, lab.options().original)
    if lab.options().galera:
        _join(lab, opened)
    elif not lab.options().one_server:
        _replicate(lab, primary, opened[OLD_REPLICA], unit)


def _join(lab: Lab, opened: Sessions) -> None:
    """Make a cluster of the source, with what it has, and two further nodes, which get everything from it."""
    members = ",".join(machine.address for machine in CLUSTER)
    for machine in CLUSTER:
        values = {"cluster": f"lab-{lab.name}", "members": members, "address": machine.address, "name": machine.name}
        opened[machine].write(CLUSTER_FILE, CLUSTER_SETTINGS.format(**values), mode=0o644)
    in_parallel(lambda machine: opened[machine].run(["systemctl", "stop", "mariadb"], timeout=120), CLUSTER)
    opened[OLD_SOURCE].run(["galera_new_cluster"], timeout=120)
    for machine in CLUSTER[1:]:
        opened[machine].run(["systemctl", "start", "mariadb"], timeout=600)
    until(
        "the original's nodes",
        lambda: set(nodes(opened).values()) == {"Synced of 3"},
        timeout=60,
        remedy="see the journals of olddb1 to olddb3",
    )


def nodes(opened: Sessions) -> dict[str, str]:
    """What each node of the cluster is, "" where it can't be asked."""
    ask = ["mariadb", "-N", "-B", "-e", "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_local_state_comment')"]

    def one(machine: Machine) -> str:
        host = opened[machine]
        shown = host.run(ask, timeout=30, ok=None).stdout.split() if host.reachable() else []
        found = dict(zip(shown[::2], shown[1::2], strict=False))
        return f"{found['wsrep_local_state_comment']} of {found['wsrep_cluster_size']}" if len(found) == 2 else ""

    return dict(zip((machine.name for machine in CLUSTER), in_parallel(one, CLUSTER), strict=True))


def _replicate(lab: Lab, primary: Host, replica: Host, unit: str) -> None:
    in_parallel(lambda host: host.run(["systemctl", "stop", unit], timeout=120), (primary, replica))
    _copy_data(lab)
    in_parallel(lambda host: host.run(["systemctl", "start", unit], timeout=120), (primary, replica))
    secret = lab.secrets().made("original_replication_password")
    with session(primary) as database:
        dialect = identify(database).dialect
        account = f"'{REPLICATION_USER}'@'{OLD_REPLICA.address}'"
        database.execute(f"DROP USER IF EXISTS {account}")
        database.execute(f"CREATE USER {account} {dialect.password_clause}", [secret.reveal()])
        database.execute(f"GRANT {dialect.replication_grant} ON *.* TO {account}")
        position = database.row(dialect.log_status)
    assert position is not None, "a source without a binary log"
    values = {
        "host": OLD_SOURCE.address, "user": REPLICATION_USER, "password": secret.reveal(),
        "file": position["File"], "position": position["Position"],
    }  # fmt: skip
    if "public_key" in dialect.options:  # without TLS a password is given away only in a form that needs the source's key
        values["public_key"] = 1
    with session(replica) as database:
        options = ", ".join(f"{dialect.options[meaning]} = %s" for meaning in values)
        database.execute(dialect.change_source.format(options=options), list(values.values()))
        database.execute(dialect.start_replica)
        until("the original's replica", lambda: follows(database), timeout=60, remedy=f"see {dialect.replica_status} on olddb2")


def give_root_a_password(lab: Lab, opened: Sessions) -> None:
    """Let root in by a password alone, through the socket or not, as on an EL server after `mysql_secure_installation`; done once."""
    password = lab.secrets().made(ROOT_PASSWORD)
    if lab.done(ROOT_PASSWORD):
        return
    for machine in (OLD_SOURCE, OLD_REPLICA):
        host = opened[machine]
        host.write(CLIENT_FILE, f"[client]\nuser=root\npassword={password.reveal()}\n")
        # The file serves before and after: a server that knows root by the socket does not ask for a password.
        text = f"SET SESSION sql_log_bin = 0; ALTER USER root@localhost IDENTIFIED BY '{password.reveal()}';"
        host.run([lab.options().database], input=Secret(text), timeout=60)
        host.database = DatabaseLogin("original.database", password=password)
    lab.mark(ROOT_PASSWORD)


def _reported() -> Callable[[int], None]:
    """Says every ten seconds how much has been loaded."""
    last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 10:
            last = time.monotonic()
            say(f"  loaded {done / 2**20:.0f} MiB")

    return progress


def follows(database: Session) -> bool:
    """Whether a replica's both threads run and it has caught up."""
    dialect = identify(database).dialect
    state, names = database.row(dialect.replica_status) or {}, dialect.status_fields
    return state.get(names["io"]) == "Yes" and state.get(names["sql"]) == "Yes" and state.get(names["lag"]) == 0


def _copy_data(lab: Lab) -> None:
    """Copy the stopped source's data directory to the stopped replica: both are folders on this computer."""
    source, target = (lab.original / machine.name / "root" / DATA for machine in (OLD_SOURCE, OLD_REPLICA))
    run(["find", str(target), "-mindepth", "1", "-delete"], timeout=300)
    run(["cp", "-a", f"{source}/.", str(target)], timeout=3600)
    # auto.cnf holds a MySQL server's identity, which it recreates: the replica has its source's, and every machine of one image the image's.
    (source / "auto.cnf").unlink(missing_ok=True)
    for pattern in ("mysql-bin.*", "binlog.*", "relay-bin.*", "master.info", "relay-log.info", "multi-master.info", "auto.cnf"):
        for path in target.glob(pattern):
            path.unlink()

"""The original's database servers: filled from a generated database or a dump, and the replica set up behind the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.database import Accounts, DatabasePlan, load
from lab.files import Lab, Options
from lab.hosts import Sessions, in_parallel
from lab.machines import OLD_REPLICA, OLD_SOURCE, Machine
from lab.progress import say, until
from parallel_build.database.session import Session, session
from parallel_build.machines.commands import run
from parallel_build.machines.provisioning import File
from parallel_build.secret import Secret

DATABASES = ("cloud", "cloud_usage")
DATA = "var/lib/mysql"
REPLICATION_USER = "repl"
CONFIGURATION = "/etc/mysql/mariadb.conf.d/99-cloudstack.cnf"
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
innodb_log_file_size = 128M
{more}
"""


def configuration(machine: Machine) -> File:
    """The database server's configuration file."""
    if machine == OLD_SOURCE:
        return File(CONFIGURATION, SETTINGS.format(number=1, more=""))
    return File(CONFIGURATION, SETTINGS.format(number=2, more="read_only = 1\nrelay-log = relay-bin"))


def source_of(options: Options, plan: DatabasePlan) -> DatabasePlan | Path | Mapping[str, Path]:
    """What the database is loaded from."""
    if not options.dump:
        return plan
    if options.usage_dump:
        return {"cloud": Path(options.dump), "cloud_usage": Path(options.usage_dump)}
    return Path(options.dump)


def fill(lab: Lab, opened: Sessions, source: DatabasePlan | Path | Mapping[str, Path], password: Secret) -> None:
    """Load the databases into the source and make the replica follow it. Starts over when an earlier attempt was interrupted.

    Args:
        source: what to load.
        password: of the database user `cloud`.
    Raises:
        LabDatabaseError: the source can't be loaded.
        LabError: the replica does not follow.
    """
    primary, replica = opened[OLD_SOURCE], opened[OLD_REPLICA]
    primary.run(["systemctl", "start", "mariadb"], timeout=120)  # An attempt that was interrupted may have left it stopped.
    # The replica is copied from the source's files, so nothing of the load needs to be in the binary log.
    with session(primary) as database:
        for name in DATABASES:
            database.execute(f"DROP DATABASE IF EXISTS {name}")
    client = ["ssh", *primary.options(), primary.destination, "mariadb", "--init-command='SET SESSION sql_log_bin = 0'"]
    load(client, source, accounts=Accounts(password.reveal()), progress=_told())
    in_parallel(lambda host: host.run(["systemctl", "stop", "mariadb"], timeout=120), (primary, replica))
    _copy_data(lab)
    in_parallel(lambda host: host.run(["systemctl", "start", "mariadb"], timeout=120), (primary, replica))
    secret = lab.secrets().made("original_replication_password")
    with session(primary) as database:
        account = f"'{REPLICATION_USER}'@'{OLD_REPLICA.address}'"
        database.execute(f"CREATE OR REPLACE USER {account} IDENTIFIED BY %s", [secret.reveal()])
        database.execute(f"GRANT REPLICATION SLAVE ON *.* TO {account}")
        position = database.row("SHOW MASTER STATUS")
    assert position is not None, "a source without a binary log"
    with session(replica) as database:
        database.execute(
            "CHANGE MASTER TO master_host=%s, master_user=%s, master_password=%s, master_log_file=%s, master_log_pos=%s",
            [OLD_SOURCE.address, REPLICATION_USER, secret.reveal(), position["File"], position["Position"]],
        )
        database.execute("START SLAVE")
        until("the original's replica", lambda: follows(database), timeout=60, remedy="see SHOW SLAVE STATUS on olddb2")


def _told() -> Callable[[int], None]:
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
    state = database.row("SHOW SLAVE STATUS") or {}
    running = state.get("Slave_IO_Running") == "Yes" and state.get("Slave_SQL_Running") == "Yes"
    return running and state.get("Seconds_Behind_Master") == 0


def _copy_data(lab: Lab) -> None:
    """Copy the stopped source's data directory to the stopped replica: both are folders on this computer."""
    source, target = (lab.original / machine.name / "root" / DATA for machine in (OLD_SOURCE, OLD_REPLICA))
    run(["find", str(target), "-mindepth", "1", "-delete"], timeout=300)
    run(["cp", "-a", f"{source}/.", str(target)], timeout=3600)
    for pattern in ("mysql-bin.*", "relay-bin.*", "master.info", "relay-log.info", "multi-master.info"):
        for path in target.glob(pattern):
            path.unlink()

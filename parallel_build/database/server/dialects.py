"""What tells the database servers apart, as data: one `Dialect` a server family and version range. The ways over between them are in `ways`.

Nothing here asks a server anything but its version; everything else is looked up.
Sources: the servers' manuals (MariaDB 10.11, MySQL 8.0, 8.4, 9.x); what was run on real servers is marked in `docs/database.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from parallel_build.configuration.database_combinations import COMBINATIONS, Combination, Family, Method
from parallel_build.errors import GuardFailed
from parallel_build.remote.sql import Session

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Dialect:
    """How one family and version range says things.

    Attributes:
        family: server family.
        oldest: first version the entry is right for.
        client: client program of that family, newest name first.
        dumper: dump program of that family, newest name first.
        unit: systemd units that run the server, the usual one first.
        replica_status: statement that describes the replica threads, one row a channel.
        log_status: statement that gives the current binary log file and position.
        start_replica: starts both replica threads.
        stop_replica: stops both replica threads.
        reset_replica: forgets the source, its position and relay logs.
        change_source: statement with the options in braces; see `change_source_options`.
        options: names of the CHANGE options, keyed by meaning.
        status_fields: names of the replica status fields, keyed by meaning.
        gtid_position: expression for the transactions executed so far, None where there is nothing usable.
        wait_for_position: function call that waits for a file and position; `%s` are file, position, seconds, channel.
        replication_grant: privilege of a replica's account.
        status_grant: privilege to read the binary log position.
        password_clause: how CREATE USER takes a password; `%s` is the clear text.
        locked_clause: how CREATE USER makes an account that nobody can log in to.
        require_tls: variable that is true when the server offers TLS on TCP, as a query.
        read_only: variables that, set to 1, keep everybody out that must be.
        default_collation: of utf8mb4.
        timeout_variable: session variable that limits a statement's time.
        max_statement_unit: seconds one unit of `timeout_variable` stands for.
    """

    family: Family
    oldest: Version
    client: tuple[str, ...]
    dumper: tuple[str, ...]
    unit: tuple[str, ...]
    replica_status: str
    log_status: str
    start_replica: str
    stop_replica: str
    reset_replica: str
    change_source: str
    options: dict[str, str]
    status_fields: dict[str, str]
    gtid_position: str | None
    wait_for_position: str
    replication_grant: str
    status_grant: str
    password_clause: str
    locked_clause: str
    require_tls: str
    read_only: tuple[str, ...]
    default_collation: str
    timeout_variable: str
    max_statement_unit: float


_SOURCE_OPTIONS = {
    "host": "SOURCE_HOST", "port": "SOURCE_PORT", "user": "SOURCE_USER", "password": "SOURCE_PASSWORD",
    "file": "SOURCE_LOG_FILE", "position": "SOURCE_LOG_POS", "tls": "SOURCE_SSL", "ca": "SOURCE_SSL_CA",
    "verify": "SOURCE_SSL_VERIFY_SERVER_CERT", "heartbeat": "SOURCE_HEARTBEAT_PERIOD",
    "retry": "SOURCE_CONNECT_RETRY", "auto": "SOURCE_AUTO_POSITION", "public_key": "GET_SOURCE_PUBLIC_KEY",
}  # fmt: skip
_MASTER_OPTIONS = {
    "host": "MASTER_HOST", "port": "MASTER_PORT", "user": "MASTER_USER", "password": "MASTER_PASSWORD",
    "file": "MASTER_LOG_FILE", "position": "MASTER_LOG_POS", "tls": "MASTER_SSL", "ca": "MASTER_SSL_CA",
    "verify": "MASTER_SSL_VERIFY_SERVER_CERT", "heartbeat": "MASTER_HEARTBEAT_PERIOD",
    "retry": "MASTER_CONNECT_RETRY", "auto": "MASTER_USE_GTID",
}  # fmt: skip
_SOURCE_FIELDS = {
    "io": "Replica_IO_Running", "sql": "Replica_SQL_Running", "lag": "Seconds_Behind_Source",
    "host": "Source_Host", "user": "Source_User", "read_file": "Source_Log_File",
    "read_position": "Read_Source_Log_Pos", "applied_file": "Relay_Source_Log_File",
    "applied_position": "Exec_Source_Log_Pos", "io_error": "Last_IO_Error", "sql_error": "Last_SQL_Error",
    "tls": "Source_SSL_Allowed", "state": "Replica_IO_State",
}  # fmt: skip
_MASTER_FIELDS = {
    "io": "Slave_IO_Running", "sql": "Slave_SQL_Running", "lag": "Seconds_Behind_Master",
    "host": "Master_Host", "user": "Master_User", "read_file": "Master_Log_File",
    "read_position": "Read_Master_Log_Pos", "applied_file": "Relay_Master_Log_File",
    "applied_position": "Exec_Master_Log_Pos", "io_error": "Last_IO_Error", "sql_error": "Last_SQL_Error",
    "tls": "Master_SSL_Allowed", "state": "Slave_IO_State",
}  # fmt: skip

_MYSQL_8_0 = Dialect(
    family="mysql",
    oldest=(8, 0, 23),  # CHANGE REPLICATION SOURCE TO came with 8.0.23
    client=("mysql",),
    dumper=("mysqldump",),
    unit=("mysql", "mysqld"),
    replica_status="SHOW REPLICA STATUS",
    log_status="SHOW MASTER STATUS",
    start_replica="START REPLICA",
    stop_replica="STOP REPLICA",
    reset_replica="RESET REPLICA ALL",
    change_source="CHANGE REPLICATION SOURCE TO {options}",
    options=_SOURCE_OPTIONS,
    status_fields=_SOURCE_FIELDS,
    gtid_position="@@GLOBAL.gtid_executed",
    wait_for_position="SOURCE_POS_WAIT(%s, %s, %s, %s)",
    replication_grant="REPLICATION SLAVE",
    status_grant="REPLICATION CLIENT",
    password_clause="IDENTIFIED WITH caching_sha2_password BY %s",  # noqa: S106 - a clause
    locked_clause="IDENTIFIED WITH mysql_no_login ACCOUNT LOCK",
    require_tls="SELECT COUNT(*) FROM performance_schema.tls_channel_status "
    "WHERE CHANNEL = 'mysql_main' AND PROPERTY = 'Enabled' AND VALUE = 'Yes'",
    read_only=("super_read_only", "read_only"),
    default_collation="utf8mb4_0900_ai_ci",
    timeout_variable="max_execution_time",
    max_statement_unit=0.001,
)
DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        family="mariadb",
        oldest=(10, 6, 0),
        client=("mariadb", "mysql"),
        dumper=("mariadb-dump", "mysqldump"),
        unit=("mariadb", "mysql", "mysqld"),
        replica_status="SHOW ALL SLAVES STATUS",
        log_status="SHOW MASTER STATUS",
        start_replica="START SLAVE",
        stop_replica="STOP SLAVE",
        reset_replica="RESET SLAVE ALL",
        change_source="CHANGE MASTER TO {options}",
        options=_MASTER_OPTIONS,
        status_fields=_MASTER_FIELDS,
        gtid_position="@@GLOBAL.gtid_binlog_pos",
        wait_for_position="MASTER_POS_WAIT(%s, %s, %s, %s)",
        replication_grant="REPLICATION SLAVE",
        status_grant="BINLOG MONITOR",
        password_clause="IDENTIFIED BY %s",  # noqa: S106 - a clause
        # An account whose password hash no password has, and locked besides.
        locked_clause="IDENTIFIED VIA mysql_native_password USING '*0000000000000000000000000000000000000000' ACCOUNT LOCK",
        require_tls="SELECT @@GLOBAL.have_ssl = 'YES'",
        read_only=("read_only",),
        default_collation="utf8mb4_general_ci",
        timeout_variable="max_statement_time",
        max_statement_unit=1.0,
    ),
    _MYSQL_8_0,
    # SHOW MASTER STATUS is gone in 8.4, SHOW BINARY LOG STATUS came with 8.2; have_ssl and mysql_native_password are off or gone.
    replace(_MYSQL_8_0, oldest=(8, 4, 0), log_status="SHOW BINARY LOG STATUS"),
    replace(_MYSQL_8_0, oldest=(9, 0, 0), log_status="SHOW BINARY LOG STATUS"),
)


@dataclass(frozen=True)
class DatabaseServer:
    """What a database server said it is.

    Attributes:
        name: the host's name in the stack.
        dialect: how to talk to it.
        version: its version's three numbers.
        text: the version as it says it.
    """

    name: str
    dialect: Dialect
    version: Version
    text: str

    @property
    def family(self) -> Family:
        """mariadb or mysql."""
        return self.dialect.family

    def __str__(self) -> str:
        brand = "MariaDB" if self.family == "mariadb" else "MySQL"
        return f"{brand} {'.'.join(map(str, self.version))}"


def parse_version(text: str) -> tuple[Family, Version]:
    """Family and numbers of a `SELECT VERSION()` such as `10.11.19-MariaDB-0+deb12u1-log` or `8.4.5`.

    Raises:
        ValueError: the text doesn't begin with three numbers.
    """
    match = re.match(r"^(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)", text)  # old MariaDB puts 5.5.5- before its version for old replicas
    if not match:
        raise ValueError(f"{text!r} is not a database server's version")
    family: Family = "mariadb" if "mariadb" in text.lower() else "mysql"
    return family, (int(match[1]), int(match[2]), int(match[3]))


def dialect_of(family: Family, version: Version) -> Dialect | None:
    """The newest entry that is not newer than the server, or None for a server older than every entry."""
    fitting = [entry for entry in DIALECTS if entry.family == family and entry.oldest <= version]
    return max(fitting, key=lambda entry: entry.oldest) if fitting else None


def identify(session: Session) -> DatabaseServer:
    """Ask a server what it is.

    Raises:
        GuardFailed: its version is older than any that the dialects describe.
    """
    text = str(session.value("SELECT VERSION()"))
    family, version = parse_version(text)
    dialect = dialect_of(family, version)
    if dialect is None:
        oldest = min(entry.oldest for entry in DIALECTS if entry.family == family)
        raise GuardFailed(
            f"{session.host.name} runs {text}",
            f"{family} before {'.'.join(map(str, oldest))} is not supported as a server to copy from or to",
            "upgrade the database server of the original first, as CloudStack's upgrade guide describes",
        )
    return DatabaseServer(session.host.name, dialect, version, text)


def _fits(server: DatabaseServer, side: tuple[Family, tuple[int, int], tuple[int, int]]) -> bool:
    family, oldest, newest = side
    return server.family == family and oldest <= server.version[:2] <= newest


def combination(old: DatabaseServer, new: DatabaseServer) -> Combination | None:
    """The table's entry for two servers, or None."""
    return next((entry for entry in COMBINATIONS if _fits(old, entry.old) and _fits(new, entry.new)), None)


def supported(old: DatabaseServer, new: DatabaseServer, method: Method) -> Combination:
    """Rule: the way from `old` to `new` by `method` is in the table, and the new server is not older than the old one.

    Raises:
        GuardFailed: it is not; the message has the reason and what serves instead.
    """
    if old.family == new.family and new.version[:2] < old.version[:2]:
        raise GuardFailed(
            f"{new.name} runs {new}, {old.name} runs {old}",
            "data of a newer server series can't be trusted to an older one",
            f"install {old} or newer on {new.name}",
        )
    entry = combination(old, new)
    if entry is None:
        raise GuardFailed(
            f"there is no supported way from {old} on {old.name} to {new} on {new.name}",
            "the combination is not in the table of docs/database.md",
            "choose another version for the new servers (new.database.engine, its packages), or upgrade the original's server first",
        )
    if method not in entry.methods:
        raise GuardFailed(
            f"transfer method {method} does not serve from {old} on {old.name} to {new} on {new.name}",
            entry.why_not_replicate,
            f"set transfer.method to {entry.methods[0]}",
        )
    return entry


def require(session: Session, name: str) -> str:
    """A global variable's value as text; empty where the server has no such variable."""
    row = session.row("SHOW GLOBAL VARIABLES LIKE %s", [name.replace("_", r"\_")])
    return str(row["Value"]) if row else ""

"""What distinguishes the database servers, as data: one `Dialect` a server family and version range. The transfer methods between them are in
`database_combinations`.

Sources: the servers' manuals (MariaDB 10.2 to 11.8, MySQL 5.7, 8.0, 8.4, 9.x); what was run on real servers is marked in `docs/understand/database.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from parallel_build.configuration.database_combinations import Family

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Pair:
    """How the replication between the new source and the new replica is described and set up: by GTIDs.

    Attributes:
        channel: column of the status that names the channel; the pair's has no name.
        auto: column that shows whether GTIDs are followed, and its value then.
        verify: column that shows whether the source's certificate is verified.
        port: column of the source's port.
        errno: column with the receiver's last error number.
        change: options of the CHANGE statement besides host, port, user, password.
        forget: statements that empty a replica's own binary logs and GTIDs.
        begin: statement that sets what the replica is taken to have already; `%s` is the source's position.
        wait: query that waits for a position; `%s` are position and seconds.
        arrived: what `wait` gives when the position was reached.
        have: expression of what the replica has executed of the source.
        position: expression of what the source has written.
    """

    channel: str
    auto: tuple[str, str]
    verify: str
    port: str
    errno: str
    change: dict[str, Any]
    forget: str
    begin: str
    wait: str
    arrived: int
    have: str
    position: str


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
        pair: words of the new pair's own replication.
        password_plugin: what checks the passwords of the accounts that are made.
        hash_clause: how CREATE USER takes a password's hash; `%s` is the hash.
        account_locked: query that shows whether an account is locked; `%s` are user and host.
        lock: statements that keep commits waiting for a snapshot, and the one that ends it.
        option_folder: what Debian's packages include last; its files are read by name, so that ours win over those of the package.
        server_values: variables of a server that replicates.
        replica_values: those of a replica beyond; they can't be there when the server is initialised.
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
    pair: Pair
    password_plugin: str
    hash_clause: str
    account_locked: str
    lock: tuple[tuple[str, ...], str]
    option_folder: str
    server_values: dict[str, str]
    replica_values: dict[str, str]


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

READ_LOCK = (("FLUSH TABLES WITH READ LOCK",), "UNLOCK TABLES")  # waits for every statement that runs
STAGES = (("BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT"), "BACKUP STAGE END")  # lets statements run
RETRY = 5  # seconds between two attempts to connect to the source
BEAT = 2  # seconds of silence after which the source says that it is there

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
    pair=Pair(
        channel="Channel_Name",
        auto=("Auto_Position", "1"),
        verify="Source_SSL_Verify_Server_Cert",
        port="Source_Port",
        errno="Last_IO_Errno",
        change={"tls": 1, "verify": 1, "heartbeat": BEAT, "retry": RETRY, "auto": 1},
        forget="RESET MASTER",
        begin="SET GLOBAL gtid_purged = %s",
        wait="SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)",
        arrived=0,
        have="@@GLOBAL.gtid_executed",
        position="@@GLOBAL.gtid_executed",
    ),
    password_plugin="caching_sha2_password",  # noqa: S106 - a plug-in's name
    hash_clause="IDENTIFIED WITH caching_sha2_password AS %s",
    account_locked="SELECT account_locked FROM mysql.user WHERE User = %s AND Host = %s",
    lock=READ_LOCK,
    option_folder="/etc/mysql/mysql.conf.d",
    server_values={"gtid_mode": "ON", "enforce_gtid_consistency": "ON", "relay_log_recovery": "ON"},
    replica_values={"super_read_only": "ON"},
)
# Before it the words are the old ones. As originals, read only: passwords as 8.0 has them from its first release on.
_MYSQL_8_0_OLD = replace(
    _MYSQL_8_0,
    oldest=(8, 0, 0),
    replica_status="SHOW SLAVE STATUS",
    start_replica="START SLAVE",
    stop_replica="STOP SLAVE",
    reset_replica="RESET SLAVE ALL",
    change_source="CHANGE MASTER TO {options}",
    options=_MASTER_OPTIONS | {"auto": "MASTER_AUTO_POSITION", "public_key": "GET_MASTER_PUBLIC_KEY"},
    status_fields=_MASTER_FIELDS,
    wait_for_position="MASTER_POS_WAIT(%s, %s, %s, %s)",
    require_tls="SELECT @@GLOBAL.have_ssl = 'YES'",
    pair=replace(_MYSQL_8_0.pair, verify="Master_SSL_Verify_Server_Cert", port="Master_Port"),
)
_MYSQL_5_7 = replace(
    _MYSQL_8_0_OLD,
    oldest=(5, 7, 20),  # before it no session can set its isolation under the name that is used here
    password_clause="IDENTIFIED WITH mysql_native_password BY %s",  # noqa: S106 - a clause
    default_collation="utf8mb4_general_ci",
    password_plugin="mysql_native_password",  # noqa: S106 - a plug-in's name
    hash_clause="IDENTIFIED WITH mysql_native_password AS %s",
)
# SHOW MASTER STATUS and RESET MASTER are gone in 8.4, what stands for them came with 8.2; have_ssl and mysql_native_password are off or gone.
_MYSQL_8_4 = replace(_MYSQL_8_0, log_status="SHOW BINARY LOG STATUS", pair=replace(_MYSQL_8_0.pair, forget="RESET BINARY LOGS AND GTIDS"))
_MARIADB_10_5 = Dialect(
    family="mariadb",
    oldest=(10, 5, 2),
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
    pair=Pair(
        channel="Connection_name",
        auto=("Using_Gtid", "Slave_Pos"),
        verify="Master_SSL_Verify_Server_Cert",
        port="Master_Port",
        errno="Last_IO_Errno",
        change={"tls": 1, "verify": 1, "heartbeat": BEAT, "retry": RETRY},
        forget="RESET MASTER",
        begin="SET GLOBAL gtid_slave_pos = %s",
        wait="SELECT MASTER_GTID_WAIT(%s, %s)",
        arrived=0,
        have="@@GLOBAL.gtid_slave_pos",
        position="@@GLOBAL.gtid_binlog_pos",
    ),
    password_plugin="mysql_native_password",  # noqa: S106 - a plug-in's name
    hash_clause="IDENTIFIED VIA mysql_native_password USING %s",
    account_locked="SELECT JSON_VALUE(Priv, '$.account_locked') FROM mysql.global_priv WHERE User = %s AND Host = %s",
    lock=STAGES,
    option_folder="/etc/mysql/mariadb.conf.d",
    server_values={"log_slave_updates": "ON", "gtid_strict_mode": "ON", "relay_log_recovery": "ON"},
    replica_values={},
)
# BINLOG MONITOR came with 10.5.2, BACKUP STAGE and accounts that can be locked with 10.4. As originals, read only.
_MARIADB_10_4 = replace(_MARIADB_10_5, oldest=(10, 4, 2), status_grant="REPLICATION CLIENT")
_MARIADB_10_2 = replace(
    _MARIADB_10_4,
    oldest=(10, 2, 0),
    lock=READ_LOCK,
    account_locked="SELECT 'N' FROM mysql.user WHERE User = %s AND Host = %s",
)
DIALECTS: tuple[Dialect, ...] = (
    _MARIADB_10_2,
    _MARIADB_10_4,
    _MARIADB_10_5,
    _MYSQL_5_7,
    _MYSQL_8_0_OLD,
    _MYSQL_8_0,
    replace(_MYSQL_8_4, oldest=(8, 4, 0)),
    replace(_MYSQL_8_4, oldest=(9, 0, 0)),
)

"""What the new database servers are configured with, as text for an option file and as values to prove on the running server.

Two files, because certificates can only be made once the machines exist: the first is there before the server starts for the first time (cloud-init
puts it), the second is added with the certificates. Source of CloudStack's values: [CloudStack 4.22 installguide, management-server/_database.rst];
of the buffer pool: [CloudStack adminguide, tuning.rst].
"""

from __future__ import annotations

import ipaddress
import zlib
from dataclasses import dataclass, replace
from typing import Literal

from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.configuration.servers import New
from parallel_build.database.server.dialects import newest
from parallel_build.remote.families import DEBIAN, EL

Engine = Literal["mariadb", "mysql"]
Role = Literal["source", "replica"]

CONNECTIONS_PER_MANAGER = 350
KEEP_BINARY_LOGS = 7 * 86400  # seconds; MariaDB's default keeps them for ever, until the disk is full
MAX_PACKET = 64 * 1024 * 1024
RESERVED_MEMORY = 512  # MiB left for connections, the page cache and the rest of the machine
TLS_FOLDER = "/etc/mysql/parallel-build"


@dataclass(frozen=True)
class TlsPaths:
    """Where a server has its certificates."""

    ca: str = f"{TLS_FOLDER}/ca.pem"
    certificate: str = f"{TLS_FOLDER}/server-cert.pem"
    key: str = f"{TLS_FOLDER}/server-key.pem"


@dataclass(frozen=True)
class OptionFile:
    """An option file of a server.

    Attributes:
        path: absolute path.
        content: its text.
        values: what must be in force once the server has read it, by variable name, as `SHOW GLOBAL VARIABLES` spells it.
    """

    path: str
    content: str
    values: dict[str, str]


def server_id(address: str) -> int:
    """The server's number in replication: its IPv4 address as an integer, which is unique wherever addresses are.

    IPv6 addresses give a checksum of theirs; never 0, which would switch replication off.
    """
    parsed = ipaddress.ip_address(address)
    return int(parsed) if parsed.version == 4 else zlib.crc32(parsed.packed) or 1


def buffer_pool(memory: int) -> int:
    """`innodb_buffer_pool_size` in MiB for a dedicated server: 70 % of `memory` (MiB), but always leaving room for the rest."""
    return max(min(memory * 7 // 10, memory - RESERVED_MEMORY), memory // 4)


def shared_pool(memory: int) -> int:
    """The same where a management server runs on the machine too: 40 %."""
    return max(memory * 4 // 10, memory // 4)


def server_values(
    *,
    engine: Engine,
    server_id: int,
    memory: int,
    managers: int,
    role: Role,
    port: int = 3306,
    pool: int | None = None,
    domain: int | None = None,
    bind_address: str = "0.0.0.0",
) -> dict[str, str]:
    """The variables of the first file; arguments as in `server_configuration`."""
    values = {
        "server_id": str(server_id),
        "port": str(port),
        "bind_address": bind_address,
        "skip_name_resolve": "ON",
        "character_set_server": "utf8mb4",
        "collation_server": "utf8mb4_general_ci",
        "max_connections": str(CONNECTIONS_PER_MANAGER * managers),
        "max_allowed_packet": str(MAX_PACKET),
        "innodb_buffer_pool_size": str((pool or buffer_pool(memory)) * 1024 * 1024),
        # The default of 10 s is short for a server that is busy making its tables.
        "connect_timeout": "60",
        "innodb_rollback_on_timeout": "ON",
        "innodb_lock_wait_timeout": "600",
        "innodb_flush_log_at_trx_commit": "1",
        # With row binary logs it is safe, and parts of one table are loaded side by side; below 2 a LOAD DATA locks the table's counter.
        "innodb_autoinc_lock_mode": "2",
        "log_bin": "ON",
        "binlog_format": "ROW",
        "sync_binlog": "1",
        "binlog_expire_logs_seconds": str(KEEP_BINARY_LOGS),
        "read_only": "ON" if role == "replica" else "OFF",
        **newest(engine).server_values,
    }
    if engine == "mariadb" and domain is not None:
        # A domain of the pair's own: rows of the tool and rows replicated from the original never share a sequence of numbers.
        values["gtid_domain_id"] = str(domain)
    return values


def server_configuration(
    *,
    engine: Engine,
    server_id: int,
    memory: int,
    managers: int,
    role: Role,
    port: int = 3306,
    pool: int | None = None,
    domain: int | None = None,
    bind_address: str = "0.0.0.0",
) -> str:
    """The text of the first option file.

    Args:
        engine: server family.
        server_id: number in replication, see `server_id()`.
        memory: the machine's, in MiB.
        managers: number of management servers that will use it; each may open 350 connections.
        role: a replica is read only.
        port: TCP port.
        pool: `innodb_buffer_pool_size` in MiB; None takes `buffer_pool(memory)`.
        domain: MariaDB's `gtid_domain_id`, the same on both servers of a pair.
        bind_address: address listened on.
    """
    values = server_values(
        engine=engine, server_id=server_id, memory=memory, managers=managers, role=role, port=port, pool=pool, domain=domain,
        bind_address=bind_address,
    )  # fmt: skip
    return _text(values)


def tls_values(engine: Engine, role: Role, paths: TlsPaths) -> dict[str, str]:
    """The variables of the second file."""
    values = {"ssl_ca": paths.ca, "ssl_cert": paths.certificate, "ssl_key": paths.key}
    return values | (newest(engine).replica_values if role == "replica" else {})


def option_files(configuration: StackConfiguration, machine: NewMachine) -> tuple[OptionFile, OptionFile]:
    """Both option files of one of the stack's new database servers: the server's own, and the one that needs certificates."""
    database = configuration.new.database
    role: Role = "replica" if database.replica and machine.name == database.replica.name else "source"
    folder = newest(database.engine).option_folder
    values = server_values(
        engine=database.engine,
        server_id=server_id(machine.address),
        memory=machine.memory,
        managers=len(configuration.new.management),
        role=role,
        port=database.port,
        pool=database.buffer_pool or (shared_pool(machine.memory) if machine.name in configuration.new.with_both_roles() else None),
        domain=server_id(database.source.address),
        bind_address="*" if ":" in machine.address else "0.0.0.0",
    )
    tls = tls_values(database.engine, role, TlsPaths())
    return (
        OptionFile(f"{folder}/zz-parallel-build.cnf", _text(values), values),
        OptionFile(f"{folder}/zz-parallel-build-tls.cnf", _text(tls), tls),
    )


def before_first_boot(new: New, own: OptionFile) -> tuple[OptionFile, str]:
    """A server's option file where its system reads it, and its unit, before there is a machine to ask of which family it is.

    The kind of the packages' repository says it, and without one it is the Debian family. Where that is wrong, the steps put the file where the running
    server's family reads it.
    """
    repository = new.packages.repository
    family = EL if repository is not None and not repository.startswith("deb ") else DEBIAN
    path = f"{family.option_folder[new.database.engine]}/{own.path.rpartition('/')[2]}"
    return replace(own, path=path), family.server_unit[new.database.engine]


def rehearsal_option_file(configuration: StackConfiguration, machine: NewMachine) -> OptionFile:
    """The option file of the rehearsal's server: as the new source's, with half of its own memory, since a management server shares it."""
    half = machine.memory // 2
    if (pool := configuration.new.database.buffer_pool) is not None:
        new = configuration.new
        database = new.database.model_copy(update={"buffer_pool": min(pool, buffer_pool(half))})
        configuration = configuration.model_copy(update={"new": new.model_copy(update={"database": database})})
    own, _ = option_files(configuration, machine.model_copy(update={"memory": half}))
    return own


def _text(values: dict[str, str]) -> str:
    written = dict(values)
    if written.get("log_bin") == "ON":
        written["log_bin"] = "mysql-bin"
    lines = [f"{name} = {value}" for name, value in written.items()]
    return "\n".join(["# Written by cloudstack-parallel-build; changes are put back.", "[mysqld]", *lines, ""])

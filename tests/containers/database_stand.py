"""Real database servers in machines of their own, reached over SSH as the product does: for the tests and benchmarks of the database room."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.configuration import Server, Ssh
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import namespace
from parallel_build.machines.provisioning import File, Provisioning
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.host import Host
from parallel_build.secret import Secret

READY = 90.0
NETWORK = "10.93.0"
MARIADB_CONF = "/etc/mysql/mariadb.conf.d/90-stand.cnf"
# What a new server has of GTIDs, by family.
GTID = {
    "mariadb": {"gtid_strict_mode": "ON", "log_slave_updates": "ON", "gtid_domain_id": "31"},
    "mysql": {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"},
}
MYSQL_CONF = "/etc/mysql/mysql.conf.d/zz-stand.cnf"
# What a server may be set to without its CloudStack minding: each of these changes what a statement means, how long it may take, or what is reported about it.
# Read by the server at each start.
HOSTILE_FILE = "/etc/mysql/hostile.sql"
HOSTILE_BOTH = {
    "time_zone": "'+05:30'", "lc_messages": "'ru_RU'", "lc_time_names": "'ru_RU'", "character_set_client": "latin1",
    "character_set_connection": "latin1", "character_set_results": "latin1", "collation_connection": "latin1_german2_ci",
    "character_set_filesystem": "latin2", "sql_select_limit": "2", "max_join_size": "3", "sql_safe_updates": "1", "sql_auto_is_null": "1",
    "sql_quote_show_create": "0", "group_concat_max_len": "8", "div_precision_increment": "0", "default_week_format": "5", "max_sort_length": "8",
    "completion_type": "1", "foreign_key_checks": "0", "unique_checks": "0", "net_read_timeout": "3", "net_write_timeout": "3",
    "wait_timeout": "20", "interactive_timeout": "20", "lock_wait_timeout": "2", "innodb_lock_wait_timeout": "2", "auto_increment_increment": "7",
    "auto_increment_offset": "3", "autocommit": "0",
}  # fmt: skip
_MODES = "ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION,PAD_CHAR_TO_FULL_LENGTH,REAL_AS_FLOAT"
HOSTILE = {
    "mariadb": HOSTILE_BOTH | {
        "sql_mode": f"'{_MODES},ORACLE,NO_TABLE_OPTIONS,NO_KEY_OPTIONS,NO_FIELD_OPTIONS,TIME_ROUND_FRACTIONAL,EMPTY_STRING_IS_NULL'",
        "old_mode": "'NO_DUP_KEY_WARNINGS_WITH_IGNORE,ZERO_DATE_TIME_CAST'", "tx_isolation": "'SERIALIZABLE'", "max_statement_time": "3",
        "idle_transaction_timeout": "2", "check_constraint_checks": "0", "alter_algorithm": "'INSTANT'",
        "explicit_defaults_for_timestamp": "0",
    },
    "mysql": HOSTILE_BOTH | {
        "sql_mode": f"'{_MODES},ANSI,TIME_TRUNCATE_FRACTIONAL,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,STRICT_ALL_TABLES'",
        "transaction_isolation": "'SERIALIZABLE'", "max_execution_time": "3000", "sql_require_primary_key": "1",
        "sql_generate_invisible_primary_key": "1", "default_collation_for_utf8mb4": "utf8mb4_general_ci",
        "explicit_defaults_for_timestamp": "0", "print_identified_with_as_hex": "1",
    },
}  # fmt: skip
# What the tests' own statements are given through the client program: they are no part of what is tested.
FRIENDLY = (
    "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00', SESSION autocommit = 1, "
    "SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, SESSION sql_safe_updates = 0, SESSION completion_type = 0, "
    "SESSION foreign_key_checks = 1, SESSION unique_checks = 1, SESSION sql_quote_show_create = 1, SESSION lc_messages = 'en_US', "
    "SESSION auto_increment_increment = 1, SESSION auto_increment_offset = 1, SESSION wait_timeout = 3600, SESSION group_concat_max_len = 1048576"
)
FRIENDLY_OF = {
    "mariadb": ", SESSION max_statement_time = 0, SESSION idle_transaction_timeout = 0",
    "mysql": ", SESSION max_execution_time = 0, SESSION sql_require_primary_key = 0, SESSION sql_generate_invisible_primary_key = 0",
}


def roots() -> dict[str, Path]:
    """Root file systems to make machines of, by server family: from the environment, else the newest of the lab's images that has one.

    `PARALLEL_BUILD_MARIADB_ROOT` and `PARALLEL_BUILD_MYSQL_ROOT` name them.
    """
    found: dict[str, Path] = {}
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cloudstack-parallel-build" / "images"
    for family, prefix in (("mariadb", "base-"), ("mysql", "mysql-")):
        given = os.environ.get(f"PARALLEL_BUILD_{family.upper()}_ROOT")
        images = [path for path in cache.glob(f"{prefix}*") if (path / "usr/sbin").is_dir()]
        if given or images:
            found[family] = Path(given) if given else max(images, key=lambda path: path.stat().st_mtime)
    return found


@dataclass
class Stand:
    """A network namespace with a bridge, and the machines on it; everything goes when `close` is called."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="stand-")))
    name: str = field(default_factory=lambda: f"dbt{secrets.token_hex(3)}")
    cancel: CancelToken = field(default_factory=CancelToken)

    def __post_init__(self) -> None:
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._hosts: dict[str, Host] = {}
        _run("ip", "netns", "add", self.name)
        _run("ip", "-n", self.name, "link", "set", "lo", "up")
        _run("ip", "-n", self.name, "link", "add", "lab0", "type", "bridge")
        _run("ip", "-n", self.name, "address", "add", f"{NETWORK}.1/24", "dev", "lab0")
        _run("ip", "-n", self.name, "link", "set", "lab0", "up")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "operator"))
        # Whatever this process starts from now on, ssh above all, is inside the namespace.
        namespace.enter(self.name)

    def add(self, name: str, root: Path, number: int, settings: Mapping[str, str] | None = None, *, hostile: bool = False) -> Host:
        """Make a machine with a running database server and return the session to it.

        Args:
            root: root file system of an image with MariaDB or MySQL.
            number: last part of its address, and its server_id.
            settings: `[mysqld]` lines beyond the usual ones.
            hostile: its global settings are those of `HOSTILE`.
        """
        family = "mariadb" if (root / "usr/sbin/mariadbd").exists() else "mysql"
        address = f"{NETWORK}.{number}"
        key = self.folder / f"key-{name}"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        public = Path(f"{key}.pub").read_text().strip()
        lines = {
            "bind-address": "0.0.0.0",
            "server_id": str(number),
            "log_bin": "mysql-bin",
            "binlog_format": "ROW",
            "innodb_buffer_pool_size": "512M",
            "innodb_rollback_on_timeout": "1",
            "innodb_lock_wait_timeout": "600",
            "max_connections": "700",
            **({"init_file": HOSTILE_FILE} if hostile else {}),
            **(settings or {}),
        }
        changes = "".join(f"SET GLOBAL {name} = {value};\n" for name, value in HOSTILE[family].items()) if hostile else ""
        conf = "[mysqld]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
        provisioning = Provisioning(
            hostname=name,
            address=address,
            host_key_private=Secret(key.read_text()),
            host_key_public=public,
            authorized_keys=((self.folder / "operator.pub").read_text().strip(),),
            files=(File(MARIADB_CONF if family == "mariadb" else MYSQL_CONF, conf), *([File(HOSTILE_FILE, changes)] if hostile else ())),
            enabled_units=(family,),
        )
        container.create(container.ContainerSpec(name, root, self.folder / "machines", self.name, "lab0", provisioning), timeout=READY)
        ssh = Ssh(identity_file=self.folder / "operator", config_file=Path("/dev/null"))
        host = Host(Server(name=name, address=address), ssh, self.folder, public, self.cancel)
        self._hosts[name] = host
        self.wait(host)
        if family == "mysql":
            # The image's data folder was made once: every machine of it would have the same server_uuid.
            host.run(["sh", "-c", "rm -f /var/lib/mysql/auto.cnf && systemctl restart mysql"], timeout=120)
            self.wait(host)
        return host

    def wait(self, host: Host) -> None:
        """Until the database server of `host` answers."""

        def answers() -> bool:
            if not host.reachable() or find_socket(host) is None:
                return False
            client = "mariadb" if host.run(["which", "mariadb"], timeout=10, ok=None).ok else "mysql"
            return host.run([client, "-e", "SELECT 1"], timeout=20, ok=None).ok

        wait_for(f"the database server of {host.name}", answers, timeout=READY, cancel=self.cancel, interval=0.3)

    def machines(self) -> Path:
        """The folder that `container` keeps the machines in."""
        return self.folder / "machines"

    def close(self) -> None:
        """Delete every machine, the namespace and the folder, and go back to the network this process came from."""
        for name, host in self._hosts.items():
            host.close()
            container.delete(self.machines(), name)
        with contextlib.suppress(OSError):
            import ctypes

            ctypes.CDLL(None, use_errno=True).setns(self._own, namespace.CLONE_NEWNET)
        os.close(self._own)
        _run("ip", "netns", "delete", self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """A stand for the time of the block."""
    made = Stand()
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Combination:
    """An original's server and a new one, of two families.

    Attributes:
        old, new: the families.
    """

    made: Stand
    source: Host
    target: Host
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old} to {self.new}"


@contextlib.contextmanager
def combination(old: str, new: str, *, hostile: bool = False) -> Iterator[Combination]:
    """Two servers as the product finds and makes them, without databases.

    Args:
        hostile: both with the global settings of `HOSTILE`.
    """
    with stand() as made:
        source = made.add("olddb1", roots()[old], 13, hostile=hostile)
        target = made.add("newdb1", roots()[new], 31, {"innodb_autoinc_lock_mode": "2", **GTID[new]}, hostile=hostile)
        if new == "mysql":
            sql(target, "RESET BINARY LOGS AND GTIDS")
        yield Combination(made, source, target, old, new)


def sql(host: Host, statements: str, *, timeout: float = 600, options: Sequence[str] = ()) -> str:
    """Run statements as root through the server's own client; its plain output."""
    client = "mariadb" if host.run(["which", "mariadb"], timeout=10, ok=None).ok else "mysql"
    settings = f"--init-command={FRIENDLY}{FRIENDLY_OF[client]}"
    return host.run(
        [client, settings, "--batch", "--skip-column-names", "--default-character-set=utf8mb4", *options], input=statements, timeout=timeout
    ).stdout


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def seconds_of(started: float) -> float:
    """Seconds since `started` (time.monotonic)."""
    return round(time.monotonic() - started, 3)

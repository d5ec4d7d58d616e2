"""The replication channel from the original to the new source while it is being seeded: one named channel, one account, one filter.

It has a name of its own (`original`) in both families, so that it is never taken for the pair's own replication. Only CloudStack's databases
come through it: accounts and other databases of the original stay there. The filter also stands in an option file, because neither family
keeps a filter set at run time over a restart. As long as the channel is there the new source is read only: nobody but replication and
administrators writes to it.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import account as access
from parallel_build.database.copy import account_notes
from parallel_build.database.replicate import foreign, log_proof
from parallel_build.database.server.dialects import DatabaseServer, identify, require
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.families import placed
from parallel_build.remote.sql import Session, quote, session
from parallel_build.secret import Secret

CHANNEL = "original"
RESTART = 5.0  # seconds within which a channel that is started runs
CLOUDSTACK = ("cloud", "cloud_usage", "cloudbridge")  # its databases, whichever of them there are
USER = "cutover_repl"
# How both families say that a binary log is not there any more (error 1236).
LOG_GONE = ("1236", "ould not find first log file", "purged", "fatal error")
# Read after the server's own files, which say that a source is not read only.
FILTER_FILE = {
    "mariadb": "/etc/mysql/mariadb.conf.d/zzz-cutover-original.cnf",
    "mysql": "/etc/mysql/mysql.conf.d/zzz-cutover-original.cnf",
}


# As long as it follows: nobody else writes, and not every transaction of the original waits for this disk, or a busy original would be faster
# than its copy. What a power cut loses of that, the original still has. Afterwards a new source's values as `settings` has them, read_only last.
FOLLOWING = {"read_only": "1", "innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0"}
ON_ITS_OWN = {"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1", "read_only": "0"}


@dataclass(frozen=True)
class Position:
    """A place in the original's binary log."""

    file: str
    offset: int

    @property
    def order(self) -> tuple[int, int]:
        """Positions in the order of the log: its files are numbered."""
        return int(self.file.rpartition(".")[2]), self.offset

    def __str__(self) -> str:
        return f"{self.file}:{self.offset}"


@dataclass(frozen=True)
class Status:
    """The channel, as the new source reports it.

    Attributes:
        host: the original's address.
        receiving: events are fetched.
        applying: events are applied.
        lag: seconds behind, None when unknown.
        received: how far the original's log has been fetched.
        applied: how far it has been applied.
        error: the last errors in the server's words.
        tls: the connection is encrypted.
        filters: what is left out or let through, by the status' own column; only what is set.
    """

    host: str
    receiving: bool
    applying: bool
    lag: int | None
    received: Position
    applied: Position
    error: str
    tls: bool
    filters: dict[str, str] = field(default_factory=dict)


def named(server: DatabaseServer, statement: str) -> str:
    """A replica statement for the channel: START, STOP and RESET of each family say it in another place."""
    if server.family == "mysql":
        return f"{statement} FOR CHANNEL '{CHANNEL}'"
    words = statement.split()
    return " ".join([*words[:2], f"'{CHANNEL}'", *words[2:]])


def log_position(opened: Session, server: DatabaseServer) -> Position:
    """Where a server's binary log ends.

    Raises:
        GuardFailed: it writes none.
    """
    row = opened.row(server.dialect.log_status)
    if row is None:
        raise GuardFailed(
            f"{server.name} writes no binary log",
            "replication reads it",
            f"set log_bin and binlog_format = ROW on {server.name} and restart it in a maintenance hour, or set transfer.method to dump",
        )
    return Position(str(row["File"]), int(row["Position"]))


def read_status(opened: Session, server: DatabaseServer) -> Status | None:
    """The channel's status, None where there is no such channel."""
    names = server.dialect.status_fields
    field = "Connection_name" if server.family == "mariadb" else "Channel_Name"
    row = next((row for row in opened.rows(server.dialect.replica_status) if row[field] == CHANNEL), None)
    if row is None:
        return None
    errors = [str(row[names[key]]) for key in ("io_error", "sql_error") if row[names[key]]]
    lag = row[names["lag"]]
    return Status(
        host=str(row[names["host"]]),
        receiving=row[names["io"]] == "Yes",
        applying=row[names["sql"]] == "Yes",
        lag=None if lag is None else int(lag),
        received=Position(str(row[names["read_file"]]), int(row[names["read_position"]])),
        applied=Position(str(row[names["applied_file"]]), int(row[names["applied_position"]])),
        error=" | ".join(errors),
        tls=row[names["tls"]] == "Yes",
        filters={name: str(value) for name, value in row.items() if name.startswith("Replicate_") and value},
    )


def check(old: Session, new: Session, old_server: DatabaseServer, new_server: DatabaseServer, schemas: Sequence[str] = CLOUDSTACK) -> None:
    """Rule: the original's binary log holds every change of these databases as rows, and no two servers have one number.

    Raises:
        GuardFailed: they don't; the message says which.
    """
    log_proof.check(old, old_server, schemas)
    numbers = [str(opened.value("SELECT @@GLOBAL.server_id")) for opened in (old, new)]
    if numbers[0] == numbers[1]:
        raise GuardFailed(
            f"{old_server.name} and {new_server.name} both have server_id {numbers[0]}",
            "a server ignores events that carry its own number",
            f"give {new_server.name} another server_id (SET GLOBAL server_id, and in its option file)",
        )
    identities = [require(opened, "server_uuid") for opened in (old, new)]
    if identities[0] and identities[0] == identities[1]:
        raise GuardFailed(
            f"{old_server.name} and {new_server.name} both have server_uuid {identities[0]}",
            "one is a copy of the other's machine or data folder, and MySQL refuses to replicate between the two",
            f"stop the server on {new_server.name}, remove auto.cnf from its data folder, start it",
        )


def filters(schemas: Sequence[str]) -> list[str]:
    """Table patterns of the databases; _ and % are wildcards in them."""
    return [f"{name.replace('_', chr(92) + '_')}.%" for name in schemas]


def only(tables: Iterable[str]) -> list[str]:
    """Table patterns of single tables, each `schema.table`."""
    return [re.sub(r"([_%])", r"\\\1", name) for name in tables]


def option_file(server: DatabaseServer, patterns: Sequence[str], *, waiting: bool = False) -> str:
    """The filter as an option file of the new source.

    Args:
        waiting: a server that is restarted does not continue by itself.
    """
    key = f"{CHANNEL}.replicate_wild_do_table = " if server.family == "mariadb" else f"replicate_wild_do_table = {CHANNEL}:"
    # A backslash is doubled: option files know escapes.
    lines = [key + pattern.replace("\\", "\\\\") for pattern in patterns]
    words = "# While the new source follows the original: nothing but CloudStack's databases, and nobody else writes."
    values = [f"{name} = {value}" for name, value in FOLLOWING.items()]
    if waiting:
        values.append("skip_replica_start" if server.family == "mysql" else "skip_slave_start")
    return "\n".join([words, "[mysqld]", *values, *lines, ""])


def begin(source: Access, target: Access, schemas: Sequence[str], position: Position, *, waiting: bool = False) -> None:
    """Make the account on the original and the channel on the new source, filtered, and start it at `position`.

    Args:
        waiting: it is made and not started, and does not start by itself either.
    """
    address = access.own_address(target, source.server.address)
    password = Secret(secrets.token_urlsafe(24))
    with session(source) as old:
        server = identify(old)
        tls = access.offers_tls(old, server)
        authority = access.authority(source, old) if tls else None
        verified = access.names_its_address(source, old, authority)
        anonymous = server.family == "mysql" and str(old.value("SELECT @@GLOBAL.gtid_mode")) != "ON"
        port = int(old.value("SELECT @@GLOBAL.port"))
        fold = require(old, "lower_case_table_names") != "0"
        access.revoke(old, USER)
        account_notes.note(source, USER)
        old.execute("SET SESSION sql_log_bin = 0")
        account = f"{quote(USER)}@{quote(address)}"
        require_tls = "SSL" if tls else "NONE"
        old.execute(f"CREATE USER {account} {server.dialect.password_clause} REQUIRE {require_tls}", [password.reveal()])
        old.execute(f"GRANT {server.dialect.replication_grant} ON *.* TO {account}")
    with session(target) as new:
        own = identify(new)
        target.write(placed(target, FILTER_FILE[own.family]), option_file(own, filters(schemas), waiting=waiting), mode=0o644)
        names = own.dialect.options
        options: dict[str, str | int] = {
            names["host"]: source.server.address,
            names["port"]: port,
            names["user"]: USER,
            names["password"]: password.reveal(),
            names["file"]: position.file,
            names["position"]: position.offset,
            names["heartbeat"]: 1,
            names["retry"]: 5,
            names["tls"]: int(tls),
        }
        if authority:
            path = f"{new.value('SELECT @@GLOBAL.datadir')}cutover-original-ca.pem"
            target.write(path, authority, mode=0o644, owner="mysql:mysql")
            options[names["ca"]] = path
        if tls or own.family == "mariadb":
            # The default differs between versions. A certificate that does not name the original's address can't be checked against it;
            # the account is limited by address in any case.
            options[names["verify"]] = int(verified)
        if own.family == "mysql" and anonymous:
            options["ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS"] = "LOCAL"
        new.execute(_change(own, options), [value for value in options.values() if value != "LOCAL"])
        _set_filter(new, own, filters(schemas))
        _put(new, FOLLOWING)
        if not waiting:
            new.execute(named(own, own.dialect.start_replica))
        target.run(["rm", "-rf", foreign.FOLDER], cancellable=False)
        foreign.prepare(target, own, CHANNEL, CLOUDSTACK, fold=fold)
        if not waiting:
            foreign.watch(target, own)


def narrow(target: Access, new: Session, server: DatabaseServer, patterns: Sequence[str], *, waiting: bool) -> None:
    """Stop the channel and give it another filter; whoever asks for it starts it."""
    new.execute(named(server, server.dialect.stop_replica))
    target.write(placed(target, FILTER_FILE[server.family]), option_file(server, patterns, waiting=waiting), mode=0o644)
    _set_filter(new, server, patterns)
    _put(new, FOLLOWING)
    if not waiting:
        foreign.watch(target, server)


def _change(server: DatabaseServer, options: dict[str, str | int]) -> str:
    listed = ", ".join(f"{name} = {'LOCAL' if value == 'LOCAL' else '%s'}" for name, value in options.items())
    if server.family == "mysql":
        return server.dialect.change_source.format(options=listed) + f" FOR CHANNEL '{CHANNEL}'"
    return f"CHANGE MASTER '{CHANNEL}' TO {listed}, {server.dialect.options['auto']} = no"


def _set_filter(new: Session, server: DatabaseServer, patterns: Sequence[str]) -> None:
    """Set the channel's filter; the channel must be there, and stopped."""
    if server.family == "mysql":
        listed = ", ".join(f"'{pattern.replace(chr(92), chr(92) * 2)}'" for pattern in patterns)
        new.execute(f"CHANGE REPLICATION FILTER REPLICATE_WILD_DO_TABLE = ({listed}) FOR CHANNEL '{CHANNEL}'")
        return
    new.execute("SET SESSION default_master_connection = %s", [CHANNEL])
    new.execute("SET GLOBAL replicate_wild_do_table = %s", [",".join(patterns)])
    new.execute("SET SESSION default_master_connection = ''")


def left_out(new: Session, status: Status, schemas: Sequence[str]) -> str:
    """Settings of the new source by which the channel passes over changes of these databases, or over errors; in words."""
    expected = set(filters(schemas))
    through = set(status.filters.get("Replicate_Wild_Do_Table", "").split(","))
    words = [f"Replicate_Wild_Do_Table lacks {', '.join(sorted(expected - through))}"] if expected - through else []
    words += [f"{name} = {value}" for name, value in status.filters.items() if name != "Replicate_Wild_Do_Table"]
    for name, usual in (
        ("replica_skip_errors", "OFF"),
        ("slave_skip_errors", "OFF"),
        ("replica_exec_mode", "STRICT"),
        ("slave_exec_mode", "STRICT"),
    ):
        value = require(new, name)
        words += [f"{name} = {value}"] if value not in ("", usual) else []
    return "; ".join(dict.fromkeys(words))


def settled(new: Session, server: DatabaseServer) -> Status | None:
    """The channel's status once no statement about other databases stops its applier any more."""
    found = read_status(new, server)
    while found is not None and found.error and not found.applying:
        before, passed = found, foreign.revive(new.host, server, CHANNEL, CLOUDSTACK)
        found = read_status(new, server)
        if not passed and found == before:
            break
    return found


def steady(new: Session, server: DatabaseServer) -> Status | None:
    """As `settled`; a channel that is just being started again, because its watcher has passed over such a statement, is waited for."""
    deadline = time.monotonic() + RESTART
    while True:
        found = settled(new, server)
        if found is None or found.error or (found.receiving and found.applying) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def wait_applied(
    new: Session, server: DatabaseServer, position: Position, *, timeout: float, cancel: CancelToken, progress: Callable[[str], None]
) -> Status:
    """Wait until everything before `position` is applied.

    Raises:
        StepFailed: the channel stopped on an error, or the time is up.
    """
    deadline = time.monotonic() + timeout
    shown_at = time.monotonic()
    statement = f"SELECT {server.dialect.wait_for_position}"
    while True:
        # The server itself waits, so that the position is noticed at once; in short turns, so that a cancel is, too.
        arrived = new.value(statement, [position.file, position.offset, 1, CHANNEL])
        found = steady(new, server) if arrived is None else settled(new, server)
        if found is None or found.error or (arrived is None and not found.applying):
            words = found.error if found else "there is no such channel"
            raise StepFailed(
                f"{server.name} does not follow the original to {position}",
                words or "its applier does not run",
                f"look at {server.dialect.replica_status} on {server.name}; `pulumi up` in phase prepared repairs the seed, or seeds again",
            )
        if arrived is not None and int(arrived) >= 0:
            return found
        cancel.check()
        if time.monotonic() > deadline:
            raise StepFailed(
                f"{server.name} has applied the original's log up to {found.applied} after {timeout:.0f} s, not up to {position}",
                f"it is {found.lag} s behind" if found.lag is not None else "it does not tell how far it is behind",
                f"wait until it has caught up before the window, or raise the number of its parallel appliers on {server.name}",
            )
        if time.monotonic() - shown_at > 2:
            shown_at = time.monotonic()
            progress(f"waiting for {server.name} to apply the original's log: at {found.applied}, to {position}, {found.lag} s behind")


def end(target: Access, opened: Session | None = None) -> bool:
    """Stop the channel and forget it, its filter and its account; the new source can be written to again. Whether there was one.

    Args:
        opened: a session to use, else one is opened.
    """
    with contextlib.nullcontext(opened) if opened else session(target) as new:
        server = identify(new)
        there = read_status(new, server) is not None
        stop = named(server, server.dialect.stop_replica)
        reset = named(server, server.dialect.reset_replica) if server.family == "mysql" else f"RESET SLAVE '{CHANNEL}' ALL"
        if there:
            new.execute(stop)
            new.execute(reset)
        if read_status(new, server) is not None:
            raise StepFailed(
                f"{server.name}: the channel {CHANNEL} could not be removed",
                "the server took the command and shows the channel all the same",
                f"on {server.name} give `{stop}` and `{reset}` by hand, until `{server.dialect.replica_status}` does not show it; if it stays, restart the "
                "database server there; then run the same command again",
            )
        if there or str(new.value("SELECT @@GLOBAL.read_only")) in ("1", "ON"):
            _put(new, ON_ITS_OWN)
        folder = new.value("SELECT @@GLOBAL.datadir")
    # Without its files, what looks after the channel ends itself.
    target.run(
        ["rm", "-rf", foreign.FOLDER, placed(target, FILTER_FILE[server.family]), f"{folder}cutover-original-ca.pem"], cancellable=False
    )
    return there


def _put(new: Session, values: dict[str, str]) -> None:
    for name, value in values.items():
        new.execute(f"SET GLOBAL {name} = {value}")

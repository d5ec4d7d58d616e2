"""Keeping accounts out of a database server, and their open sessions with them; and putting each account back as it was.

Not in the binary log, where the account may leave it: another server has a lock of its own, or none. MariaDB before 10.4.2 can't lock an account: there
its password is changed to one that nobody has, and how it was is kept as the statement that sets it again.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.server import processes, writers
from parallel_build.database.server.dialects import newest, parse_version
from parallel_build.database.server.state import Account
from parallel_build.errors import ConnectionFailed
from parallel_build.remote import session_token
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Refused, Session, session

LOCKS_SINCE = {"mysql": (5, 7, 6), "mariadb": (10, 4, 2)}
NO_SUCH_ACCOUNT = 1396
NOT_ALLOWED = (1044, 1142, 1227)
LOCK_WAIT = 10  # seconds that a statement of ours waits for a lock of others
QUIET = 2  # looks without a session, one after the other: a login may have been under way while its account was locked
LOOK = 0.3  # seconds between two of them
QUOTED = re.compile(r"\*[0-9A-Fa-f]{16,}|'[^']*'?")  # what may be a password's hash in a server's words, whole or cut off
LOCKED = (True, 1, "Y", "y", "true", "1")


@dataclass(frozen=True)
class AccountLock:
    """An account as it was found before it was locked.

    Attributes:
        name: of the account.
        locked: it was locked already.
        restore: the statement that gives it its password back, where its server can't lock; it holds the old hash. Else empty.
    """

    name: Account
    locked: bool = False
    restore: str = ""

    def kept(self) -> dict[str, Any]:
        """As the window's record has it."""
        return {"user": self.name.user, "host": self.name.host, "locked": self.locked, "restore": self.restore}

    @classmethod
    def of(cls, kept: dict[str, Any]) -> AccountLock:
        """From the record."""
        return cls(Account(str(kept["user"]), str(kept["host"])), bool(kept.get("locked")), str(kept.get("restore") or ""))


def look(host: Access, schemas: Sequence[str], also: Collection[str] = (), *, timeout: float) -> list[AccountLock]:
    """The accounts that may write to these databases, as they are now. Changes nothing.

    Args:
        also: users that count whatever their grants say.
    """
    with session(host, timeout=timeout) as database:
        locks = can_lock(database)
        return [_as_it_is(database, name, locks) for name in writers.find(database, schemas, also)]


def can_lock(database: Session) -> bool:
    """Whether the server knows locked accounts."""
    family, version = parse_version(str(database.value("SELECT VERSION()")))
    return version >= LOCKS_SINCE[family]


def close(host: Access, locks: Sequence[AccountLock], *, timeout: float, cancel: CancelToken) -> int:
    """Lock these accounts and end their sessions; return how many sessions were ended. Proved: afterwards none is open.

    Args:
        locks: as `look` found them, and on record.
        timeout: seconds for the sessions' end.
    Raises:
        StepFailed: sessions are still open then.
    """
    with session(host, timeout=timeout) as database:
        _quietly(database)
        own = writers.asking(database)
        locks = [each for each in locks if each.name not in own]  # on record from a run that logged in with another
        for each in locks:
            if each.restore:
                hash_ = "*" + secrets.token_hex(20).upper()
                database.execute("ALTER USER %s@%s IDENTIFIED VIA mysql_native_password USING %s", [each.name.user, each.name.host, hash_])
            elif not _is_locked(database, each.name):
                database.execute("ALTER USER %s@%s ACCOUNT LOCK", [each.name.user, each.name.host])
        return _end_sessions(database, {each.name for each in locks}, timeout, cancel)


def closed(host: Access, locks: Sequence[AccountLock], *, timeout: float) -> list[str]:
    """What is not as `close` left it, in words: accounts that let somebody in again, and sessions.

    Where a server can't lock, that is an account with its own password again; a third password can't be told from ours, its sessions can.
    """
    with session(host, timeout=timeout) as database:
        own = writers.asking(database)
        locks = [each for each in locks if each.name not in own]
        found = [f"{each.name} is not locked" for each in locks if _is_open(database, each)]
        return [*found, *(f"a session of {user} from {place}" for _, user, place in _sessions(database, {each.name for each in locks}))]


def put_back(host: Access, locks: Sequence[AccountLock], *, timeout: float) -> list[Account]:
    """Every account as it was found; return those that were changed. One that was dropped meanwhile stays dropped."""
    changed = []
    with session(host, timeout=timeout) as database:
        _quietly(database)
        for each in locks:
            if each.locked and not each.restore:
                continue
            try:
                if each.restore:
                    _give_back(database, each)
                elif _is_locked(database, each.name):
                    database.execute("ALTER USER %s@%s ACCOUNT UNLOCK", [each.name.user, each.name.host])
                else:
                    continue
            except Refused as error:
                if error.number != NO_SUCH_ACCOUNT:
                    raise
                continue
            changed.append(each.name)
    return changed


def _give_back(database: Session, each: AccountLock) -> None:
    """Set an account's password again; no error repeats the statement, which holds the password's hash."""
    fact = f"{database.host.name}: {each.name} can't be given its password back"
    where = f"the statement is in the window's record; log in on {database.host.name} and see what keeps it from that, then run the same command again"
    try:
        database.execute(each.restore)
    except Refused as error:
        raise Refused(fact, QUOTED.sub("[secret]", error.cause), where, error.number) from None
    except ConnectionFailed as error:
        raise ConnectionFailed(fact, QUOTED.sub("[secret]", error.cause), where) from None


def receivers(host: Access) -> list[str]:
    """The servers that receive what is locked here through the binary log, because this account may not leave it; mostly none."""
    with session(host, timeout=60) as database:
        if _quietly(database):
            return []
        rows = database.rows(f"SELECT DISTINCT HOST AS h FROM {processes.table(database)} WHERE COMMAND LIKE 'Binlog Dump%%'", [])
        return sorted({str(row["h"]).rpartition(":")[0] or str(row["h"]) for row in rows})


def _quietly(database: Session) -> bool:
    """Leave the binary log alone, where the account may; where not, what is put back travels the same way."""
    database.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}")
    try:
        database.execute("SET SESSION sql_log_bin = 0")
    except Refused as error:
        if error.number not in NOT_ALLOWED:
            raise
        return False
    return True


def _as_it_is(database: Session, name: Account, locks: bool) -> AccountLock:
    if locks:
        return AccountLock(name, _is_locked(database, name))
    made = str(next(iter((database.row("SHOW CREATE USER %s@%s", [name.user, name.host]) or {"": ""}).values())))
    return AccountLock(name, restore="ALTER USER" + made.removeprefix("CREATE USER"))


def _is_open(database: Session, each: AccountLock) -> bool:
    if not each.restore:
        return not _is_locked(database, each.name)
    try:
        return _as_it_is(database, each.name, locks=False).restore == each.restore
    except Refused as error:
        if error.number != NO_SUCH_ACCOUNT:
            raise
        return False


def _is_locked(database: Session, name: Account) -> bool:
    family, _ = parse_version(str(database.value("SELECT VERSION()")))
    return database.value(newest(family).account_locked, [name.user, name.host]) in LOCKED


def _sessions(database: Session, accounts: Collection[Account]) -> list[tuple[int, str, str]]:
    """Open sessions of these accounts' users; not those of the account that asks, which come through the socket, nor of others that stay open there."""
    own = str(database.value("SELECT CURRENT_USER()")).rpartition("@")[0]
    local = {str(row["u"]) for row in database.rows("SELECT User AS u FROM mysql.user WHERE Host = 'localhost'")}
    users = {account.user for account in accounts}
    spared = {own, *(user for user in local if Account(user, "localhost") not in accounts)}
    rows = database.rows(
        f"SELECT ID AS i, USER AS u, HOST AS h FROM {processes.table(database)} WHERE ID <> CONNECTION_ID() AND USER IS NOT NULL"
    )
    found = [(int(row["i"]), str(row["u"]), str(row["h"] or "localhost")) for row in rows]
    return [(number, user, place) for number, user, place in found if user in users and not (user in spared and place == "localhost")]


def _end_sessions(database: Session, accounts: Collection[Account], timeout: float, cancel: CancelToken) -> int:
    ended: set[int] = set()
    quiet = 0

    def silent() -> bool:
        nonlocal quiet
        found = _sessions(database, accounts)
        for number in {number for number, _, _ in found} - ended:
            ended.add(number)
            _kill(database, number)
        quiet = 0 if found else quiet + 1
        return quiet >= QUIET

    users = ", ".join(sorted({account.user for account in accounts}))
    wait_for(f"the sessions of {users} to end", silent, timeout=timeout, cancel=cancel, interval=LOOK)
    return len(ended)


def _kill(database: Session, number: int) -> None:
    try:
        database.execute(f"KILL {number}")
    except Refused as error:
        if error.number != session_token.NO_SUCH_THREAD:
            raise

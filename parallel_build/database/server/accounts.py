"""Accounts of the new servers: what is missing is worked out from facts, as a list of changes that can be announced before they are made.

A password never goes to a server in the clear: the hash that the server would store is made here, so that it is in no statement, log, binary log or
process list.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_build.database.server.dialects import newest
from parallel_build.database.server.settings import Engine
from parallel_build.database.server.state import (
    Account,
    AccountFacts,
)
from parallel_build.remote.sql import Session
from parallel_build.secret import Secret

USER = "cloud"
PROCESS = {"*.*": frozenset({"PROCESS"})}

ALPHABET = string.ascii_letters + string.digits
CRYPT_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CACHING_SHA2_ROUNDS = 5000
SALT_LENGTH = 20
ALL = frozenset({"ALL PRIVILEGES"})

Grants = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Change:
    """A change of a server.

    Attributes:
        words: what it is, without secrets.
        statements: SQL with placeholders, and their values.
    """

    words: str
    statements: list[tuple[str, list[Any]]] = field(default_factory=list)

    def make(self, session: Session) -> None:
        """Make the change."""
        for statement, values in self.statements:
            session.execute(statement, values)


def native_hash(password: Secret) -> str:
    """What `mysql_native_password` stores: SHA-1 of SHA-1."""
    inner = hashlib.sha1(password.reveal().encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(inner, usedforsecurity=False).hexdigest().upper()


def caching_sha2_hash(password: Secret, salt: str) -> str:
    """What `caching_sha2_password` stores: `$A$005$`, 20 characters of salt, and SHA-256 crypt of 5,000 rounds.

    Source: the algorithm is Drepper's "Unix crypt using SHA-256", with a longer salt [MySQL mysys/crypt_genhash_impl.cc].
    """
    key, salted = password.reveal().encode(), salt.encode()
    inner = hashlib.sha256(key + salted + key).digest()
    first = hashlib.sha256(key + salted + _repeat(inner, len(key)))
    length = len(key)
    while length:
        first.update(inner if length & 1 else key)
        length >>= 1
    digest = first.digest()
    p = _repeat(hashlib.sha256(key * len(key)).digest(), len(key))
    s = _repeat(hashlib.sha256(salted * (16 + digest[0])).digest(), len(salted))
    for number in range(CACHING_SHA2_ROUNDS):
        this = hashlib.sha256(p if number & 1 else digest)
        if number % 3:
            this.update(s)
        if number % 7:
            this.update(p)
        this.update(digest if number & 1 else p)
        digest = this.digest()
    return f"$A$005${salt}{_crypt_base64(digest)}"


def password_hash(engine: Engine, password: Secret) -> str:
    """A hash the server takes as its own, with a fresh salt where the method has one."""
    if engine == "mariadb":
        return native_hash(password)
    return caching_sha2_hash(password, "".join(secrets.choice(ALPHABET) for _ in range(SALT_LENGTH)))


def fits(engine: Engine, password: Secret, stored: AccountFacts) -> bool:
    """Whether an account's stored hash is of this password."""
    if stored.plugin != newest(engine).password_plugin:
        return False
    if engine == "mariadb":
        return hmac.compare_digest(native_hash(password), stored.secret_hash)
    if not stored.secret_hash.startswith("$A$005$"):
        return False
    salt = stored.secret_hash[7 : 7 + SALT_LENGTH]
    return hmac.compare_digest(caching_sha2_hash(password, salt), stored.secret_hash)


def login(
    engine: Engine,
    name: Account,
    password: Secret,
    grants: Grants,
    found: AccountFacts | None,
    *,
    require_tls: bool = False,
) -> list[Change]:
    """What is missing for an account that logs in with a password and has exactly these privileges; empty when nothing is."""
    changes = []
    tls = " REQUIRE SSL" if require_tls else ""
    if found is None:
        statement = f"CREATE USER %s@%s {newest(engine).hash_clause}{tls}"
        changes.append(Change(f"CREATE USER {name}{tls}", [(statement, [name.user, name.host, password_hash(engine, password)])]))
    else:
        wrong = []
        if not fits(engine, password, found):
            wrong.append("password")
        if found.requires_tls != require_tls:
            wrong.append("TLS requirement")
        if found.locked:
            wrong.append("lock")
        if wrong:
            statement = f"ALTER USER %s@%s {newest(engine).hash_clause} REQUIRE {'SSL' if require_tls else 'NONE'} ACCOUNT UNLOCK"
            changes.append(
                Change(
                    f"ALTER USER {name}: {', '.join(wrong)}",
                    [(statement, [name.user, name.host, password_hash(engine, password)])],
                )
            )
    return changes + granted(name, grants, found.grants if found else {})


def without_login(engine: Engine, name: Account, grants: Grants, found: AccountFacts | None) -> list[Change]:
    """What is missing for an account that views and procedures run as and nobody can log in to: locked, its password known to no one."""
    unknown = Secret("".join(secrets.choice(ALPHABET) for _ in range(64)))
    changes = []
    if found is None:
        statement = f"CREATE USER %s@%s {newest(engine).hash_clause} ACCOUNT LOCK"
        changes.append(Change(f"CREATE USER {name} ACCOUNT LOCK", [(statement, [name.user, name.host, password_hash(engine, unknown)])]))
    elif not found.locked:
        statement = f"ALTER USER %s@%s {newest(engine).hash_clause} ACCOUNT LOCK"
        changes.append(Change(f"ALTER USER {name} ACCOUNT LOCK", [(statement, [name.user, name.host, password_hash(engine, unknown)])]))
    return changes + granted(name, grants, found.grants if found else {})


def granted(name: Account, wanted: Grants, found: Grants) -> list[Change]:
    """Grants that are missing, and revocations of what is too much."""
    changes = []
    for target, privileges in found.items():
        excess = privileges - wanted.get(target, frozenset())
        if excess and target in wanted and wanted[target] == ALL:
            excess &= {"GRANT OPTION"}
        if excess:
            words = ", ".join(sorted(excess))
            changes.append(
                Change(
                    f"REVOKE {words} ON {target} FROM {name}",
                    [(f"REVOKE {words} ON {_percent(target)} FROM %s@%s", [name.user, name.host])],
                )
            )
    for target, privileges in wanted.items():
        lacking = privileges - found.get(target, frozenset())
        if lacking:
            words = ", ".join(sorted(lacking))
            changes.append(
                Change(
                    f"GRANT {words} ON {target} TO {name}",
                    [(f"GRANT {words} ON {_percent(target)} TO %s@%s", [name.user, name.host])],
                )
            )
    return changes


def dropped(name: Account) -> Change:
    """The end of an account."""
    return Change(f"DROP USER {name}", [("DROP USER IF EXISTS %s@%s", [name.user, name.host])])


def everything_on(schemas: Sequence[str]) -> dict[str, frozenset[str]]:
    """All privileges on these databases. In a grant `_` stands for any character, so it is escaped as the servers themselves spell it."""
    return {"`" + schema.replace("_", r"\_") + "`.*": ALL for schema in schemas}


def _percent(target: str) -> str:
    return target.replace("%", "%%")


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _crypt_base64(digest: bytes) -> str:
    """crypt(3)'s own base 64, with the order of bytes that SHA-256 crypt prescribes."""
    text = ""
    a, b, c = 0, 10, 20
    for _ in range(10):
        text += _group(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
        a, b, c = c + 1, a + 1, b + 1
    return text + _group(digest[31] << 8 | digest[30], 3)


def _group(value: int, count: int) -> str:
    return "".join(CRYPT_ALPHABET[value >> 6 * position & 63] for position in range(count))

"""The original's keys: the database key has to travel, the management key need not [CloudStack EncryptionSecretKeyChecker.java]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_build.cloudstack import properties
from parallel_build.cloudstack.encryption import Encryptor, WrongKey, decrypt, unwrap
from parallel_build.cloudstack.properties import DB_PROPERTIES, KEY_FILE
from parallel_build.errors import GuardFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret

DEFAULT_KEY = Secret("password")  # both keys when setup-databases was given none [cloud-setup-databases.in]


@dataclass(frozen=True)
class DatabaseKey:
    """What decrypts the values in the database.

    Attributes:
        secret: the key.
        encryptor: what the original's db.properties names; automatic where it names none.
    """

    secret: Secret
    encryptor: Encryptor


def read_original(host: Access) -> DatabaseKey:
    """Recover the database key from an original management server's own files.

    Raises:
        GuardFailed: the files are missing, or their key does not decrypt them.
    """
    values = properties.read(host, DB_PROPERTIES)
    if values is None:
        raise GuardFailed(
            f"{host.name} has no {DB_PROPERTIES}",
            "the database key is read there, and only a management server that was set up has it",
            "name the original's management servers in original.management, or set the stack's secret databaseKey",
        )
    named = values.get("db.cloud.encryptor.version", "")
    encryptor = Encryptor(named) if named in list(Encryptor) else Encryptor.AUTOMATIC
    wrapped = values.get("db.cloud.encrypt.secret", "")
    inner = unwrap(wrapped)
    if inner is None:
        return DatabaseKey(Secret(wrapped) if wrapped else DEFAULT_KEY, encryptor)
    key_file = host.read(KEY_FILE)
    if key_file is None:
        raise GuardFailed(
            f"{host.name} has no {KEY_FILE}",
            f"its encryption type is {values.get('db.cloud.encryption.type', 'unknown')}, which keeps the key elsewhere",
            "set the stack's secret databaseKey",
        )
    try:
        return DatabaseKey(decrypt(inner, Secret(first_line(key_file)), encryptor), encryptor)
    except WrongKey:
        raise GuardFailed(
            f"the key file of {host.name} does not decrypt its db.properties",
            "the two files are not of one installation, or one of them was changed",
            "set the stack's secret databaseKey",
        ) from None


def first_line(content: bytes) -> str:
    """What CloudStack takes for the key: the file's first line, ended as Java's readLine has it [EncryptionSecretKeyChecker.java]."""
    return re.split(r"[\r\n]", content.decode(errors="replace"), maxsplit=1)[0]


def database_key(site: Site, host: Access) -> DatabaseKey:
    """The stack's `databaseKey` where it is set, else the one the original has; the encryptor is the original's."""
    configured = site.secrets.database_key
    if configured is None:
        return read_original(host)
    named = (properties.read(host, DB_PROPERTIES) or {}).get("db.cloud.encryptor.version", "")
    return DatabaseKey(configured, Encryptor(named) if named in list(Encryptor) else Encryptor.AUTOMATIC)


def prove(key: DatabaseKey, database: Session) -> None:
    """Prove on the database itself that the key fits: CloudStack's own test is `configuration.init` [DatabaseUpgradeChecker].

    Raises:
        GuardFailed: it does not, so that a management server could never start on this database.
    """
    value = database.value("SELECT value FROM cloud.configuration WHERE name = 'init'")
    if value is None or value in ("true", "false"):
        return
    try:
        clear = decrypt(str(value), key.secret, key.encryptor)
    except WrongKey:
        clear = Secret("")
    if clear.reveal() not in ("true", "false"):
        raise GuardFailed(
            f"the database key does not decrypt configuration.init on {database.host.name}",
            "wrong key, or wrong encryptor version",
            "unset the stack's secret databaseKey to take the original's own, or correct it",
        )

"""From db.properties and the key file to databases that can be used - or to the fallback that hides that they can't.

[CloudStack 4.22 utils/crypt/EncryptionSecretKeyChecker.java, framework/db/TransactionLegacy.java; log lines as seen]
"""

from __future__ import annotations

import logging
import os

import pymysql

from ..shared import paths, properties
from ..shared.database import Database
from ..shared.encryption import DecryptionFailed, Encryptor, masked
from .failures import StartFailed

keys_log = logging.getLogger("c.c.u.c.EncryptionSecretKeyChecker")
encryptor_log = logging.getLogger("c.c.u.c.CloudStackEncryptor")
transaction_log = logging.getLogger("c.c.u.d.T.Transaction")
lock_log = logging.getLogger("c.c.u.d.Merovingian2")

ACCESS_DENIED = 1045
UNKNOWN_DATABASE = 1049
FALLBACK = ("localhost", 3306, "cloud", "cloud")


def decrypted_properties() -> dict[str, str]:
    """Read db.properties and decrypt its ENC(...) values with the management server's secret key.

    Raises StartFailed without a module: the log then simply ends.
    """
    try:
        values = properties.read(paths.MANAGEMENT_CONFIGURATION / "db.properties")
    except OSError:
        raise StartFailed(None) from None
    kind = values.get("db.cloud.encryption.type", "none")
    keys_log.debug("Encryption Type: %s", kind)
    if kind not in ("file", "env"):
        if kind == "web":
            raise StartFailed(None)
        return values
    encryptor_log.debug("Calling to initialize for class com.cloud.utils.crypt.EncryptionSecretKeyChecker")
    encryptor = Encryptor(_secret(kind))
    encryptor_log.debug("Initialized with all possible encryptors")
    for key in ("db.cloud.encrypt.secret", "db.cloud.password", "db.usage.password"):
        if properties.is_encrypted(values.get(key, "")):
            values[key] = _decrypt(encryptor, properties.ciphertext(values[key]))
    encryptor_log.debug(
        "CloudStack will encrypt and decrypt values using encryptor : %s for class EncryptionSecretKeyChecker", encryptor.name
    )
    return values


def _secret(kind: str) -> str:
    if kind == "env":
        secret = os.environ.get("CLOUD_SECRET_KEY", "")
    else:
        try:
            secret = (paths.MANAGEMENT_CONFIGURATION / "key").read_text().strip()
        except OSError:
            raise StartFailed(None) from None
    if not secret:
        raise StartFailed(None)
    return secret


def _decrypt(encryptor: Encryptor, value: str) -> str:
    try:
        return encryptor.decrypt(value)
    except DecryptionFailed:
        for name, _ in encryptor.failures:
            encryptor_log.warning("Failed to decrypt value using %s: %s", name, masked(value))
        raise StartFailed(None) from None


def database(values: dict[str, str], kind: str) -> Database:
    """Return the database of db.properties, not yet connected to.

    Args:
        values: db.properties, decrypted.
        kind: `cloud` or `usage`.
    """
    return Database(
        values.get(f"db.{kind}.host", "localhost"),
        int(values.get(f"db.{kind}.port", "3306")),
        values.get(f"db.{kind}.username", "cloud"),
        values.get(f"db.{kind}.password", ""),
        values.get(f"db.{kind}.name", {"cloud": "cloud", "usage": "cloud_usage"}[kind]),
    )


def connect(cloud: Database) -> Database:
    """Return the database if it can be connected to, else the one that CloudStack assumes on localhost.

    Raises StartFailed where that one does not let cloud in either.
    """
    try:
        cloud.rows("SELECT 1")
    except pymysql.MySQLError as failure:
        refused = "Could not create connection to database server. Attempted reconnect 3 times. Giving up."
        transaction_log.warning(
            "Unable to load db configuration, using defaults with 5 connections. Falling back on assumed datasource on "
            "localhost:3306 using username:password=cloud:cloud. Please check your configuration "
            "com.zaxxer.hikari.pool.HikariPool$PoolInitializationException: Failed to initialize pool: %s\n"
            "Caused by: java.sql.SQLNonTransientConnectionException: %s\n%s",
            refused,
            refused,
            _causes(failure),
        )
        return _fallback()
    return cloud


def _fallback() -> Database:
    host, port, user, password = FALLBACK
    assumed = Database(host, port, user, password, "cloud")
    try:
        assumed.rows("SELECT 1")
    except pymysql.MySQLError as failure:
        timeout = (
            "java.sql.SQLTransientConnectionException: cloud - Connection is not available, request timed out after "
            "1001ms (total=0, active=0, idle=0, waiting=0)"
        )
        cause = f"Caused by: java.sql.SQLException: {_text(failure)}"
        lock_log.error("Unable to get a new db connection %s\n%s", timeout, cause)
        locking = "com.cloud.utils.exception.CloudRuntimeException: Unable to initialize a connection to the database for locking purposes"
        bean = "Failed to instantiate [com.cloud.server.LockControllerListener]: Constructor threw exception; nested exception is "
        raise StartFailed(
            "system",
            "Error creating bean with name 'lockControllerListener': Bean instantiation via constructor failed; nested "
            f"exception is org.springframework.beans.BeanInstantiationException: {bean}{locking}",
            (
                f"Caused by: org.springframework.beans.BeanInstantiationException: {bean}{locking}",
                f"Caused by: {locking}",
                f"Caused by: {timeout}",
                cause,
            ),
        ) from None
    return assumed


def _causes(failure: pymysql.MySQLError) -> str:
    if failure.args[0] in (ACCESS_DENIED, UNKNOWN_DATABASE):
        return f"Caused by: com.mysql.cj.exceptions.CJException: {_text(failure)}"
    return (
        "Caused by: com.mysql.cj.exceptions.CJCommunicationsException: Communications link failure\n"
        f"Caused by: java.net.ConnectException: {_text(failure)}"
    )


def _text(failure: pymysql.MySQLError) -> str:
    text = str(failure.args[1]) if len(failure.args) > 1 else str(failure)
    for reason in ("Connection refused", "No route to host", "timed out"):
        if reason in text:
            return reason
    return text

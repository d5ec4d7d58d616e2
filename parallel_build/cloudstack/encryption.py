"""CloudStack's two encryptions of values in db.properties and in the database.

V1 (jasypt, up to 4.17) is PBEWithMD5AndDES with 1,000 rounds; V2 (4.18 and later) is AES-256-GCM with the key's SHA-256. Both formats were checked
by decrypting what CloudStack wrote [observed on 4.20.3.0 and 4.22.1.0].
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from parallel_build.secret import Secret

NONCE, TAG, SALT, ROUNDS = 12, 16, 8, 1000


class Encryptor(StrEnum):
    """Value of `db.cloud.encryptor.version`; empty (automatic) tries V2, then V1 [CloudStackEncryptor.java]."""

    V1 = "V1"
    V2 = "V2"
    AUTOMATIC = ""


class WrongKey(ValueError):
    """The value was not encrypted with this key and encryptor."""


def decrypt(value: str, key: Secret, encryptor: Encryptor = Encryptor.AUTOMATIC) -> Secret:
    """Decrypt a value of the database, or what stands in `ENC(...)`.

    Raises:
        WrongKey: the key or the encryptor does not fit.
    """
    methods = [_decrypt_v2, _decrypt_v1]
    if encryptor is Encryptor.V1:
        methods = [_decrypt_v1]
    elif encryptor is Encryptor.V2:
        methods = [_decrypt_v2]
    for method in methods:
        try:
            return Secret(method(value, key.reveal()))
        except (ValueError, InvalidTag, binascii.Error, UnicodeDecodeError):
            continue
    raise WrongKey("the value can't be decrypted with this key and encryptor")


def encrypt(value: Secret, key: Secret, encryptor: Encryptor) -> str:
    """Encrypt a value as CloudStack would; automatic means V2."""
    if encryptor is Encryptor.V1:
        salt = os.urandom(SALT)
        padder = PKCS7(64).padder()
        padded = padder.update(value.reveal().encode()) + padder.finalize()
        worker = _des(key.reveal(), salt).encryptor()
        return base64.b64encode(salt + worker.update(padded) + worker.finalize()).decode()
    nonce = os.urandom(NONCE)
    sealed = AESGCM(hashlib.sha256(key.reveal().encode()).digest()).encrypt(nonce, value.reveal().encode(), None)
    return base64.b64encode(nonce + sealed).decode()


def unwrap(value: str) -> str | None:
    """What stands inside `ENC(...)`, or None for a clear value."""
    return value[4:-1] if value.startswith("ENC(") and value.endswith(")") else None


def _decrypt_v2(value: str, key: str) -> str:
    raw = base64.b64decode(value, validate=True)
    if len(raw) < NONCE + TAG:
        raise ValueError("too short")
    return AESGCM(hashlib.sha256(key.encode()).digest()).decrypt(raw[:NONCE], raw[NONCE:], None).decode()


def _decrypt_v1(value: str, key: str) -> str:
    raw = base64.b64decode(value, validate=True)
    if len(raw) <= SALT or len(raw) % 8:
        raise ValueError("not a PBE value")
    worker = _des(key, raw[:SALT]).decryptor()
    padded = worker.update(raw[SALT:]) + worker.finalize()
    unpadder = PKCS7(64).unpadder()
    return (unpadder.update(padded) + unpadder.finalize()).decode()


def _des(key: str, salt: bytes) -> Cipher[modes.CBC]:
    digest = key.encode() + salt
    for _ in range(ROUNDS):
        digest = hashlib.md5(digest, usedforsecurity=False).digest()
    return Cipher(TripleDES(digest[:8] * 3), modes.CBC(digest[8:]))

"""CloudStack's encrypted database values, in both formats that exist.

* V2 (new databases since 4.18): AES-256-GCM; the key is SHA-256 of the secret's bytes, there is no additional data,
  and the stored text is Base64 of nonce (12 bytes), ciphertext and tag (16 bytes).
* V1 (jasypt, everything up to 4.17): PBEWithMD5AndDES with 1,000 rounds; the stored text is Base64 of salt (8 bytes) and
  ciphertext.

Source: CloudStack's AeadBase64Encryptor and LegacyBase64Encryptor, both checked against values that CloudStack wrote.
The lab keeps an implementation of its own, so that a mistake in the tool's can't hide behind the same mistake here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from lab.database.errors import DecryptionFailed

EncryptorVersion = Literal["V1", "V2"]
Entropy = Callable[[int], bytes]
_NONCE, _TAG, _SALT, _ROUNDS = 12, 16, 8, 1000


def encrypt(value: str, secret: str, version: EncryptorVersion = "V2", entropy: Entropy = os.urandom) -> str:
    """Encrypt a value as CloudStack stores it.

    Args:
        value: the clear text; CloudStack stores an empty value as it is, and so does this.
        secret: the database key (or the management key, for values of db.properties).
        version: "V1" or "V2".
        entropy: gives that many bytes for nonce or salt; a seeded one makes a run repeatable and is for test data only.
    """
    if not value:
        return value
    data = value.encode()
    if version == "V2":
        nonce = entropy(_NONCE)
        return base64.b64encode(nonce + AESGCM(_v2_key(secret)).encrypt(nonce, data, None)).decode()
    salt = entropy(_SALT)
    padder = PKCS7(64).padder()
    encryptor = _v1_cipher(secret, salt).encryptor()
    sealed = encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()
    return base64.b64encode(salt + sealed).decode()


def decrypt(stored: str, secret: str, version: EncryptorVersion = "V2") -> str:
    """Decrypt a value that CloudStack stored.

    Raises:
        DecryptionFailed: the text is not of that format, or the key is a different one.
    """
    if not stored:
        return stored
    try:
        raw = base64.b64decode(stored, validate=True)
        return (_decrypt_v2 if version == "V2" else _decrypt_v1)(raw, secret).decode()
    except (binascii.Error, InvalidTag, ValueError) as error:
        raise DecryptionFailed(
            f"a stored value does not decrypt as {version}",
            "the database key or the encryptor version is not the one that it was written with",
            "give the old server's database key (db.cloud.encrypt.secret), and V1 for a cloud set up before 4.18",
        ) from error


def detect(stored: str, secret: str, expected: str | None = None) -> EncryptorVersion | None:
    """Say which format a value has under this key, trying V2 before V1 as CloudStack does; None if neither fits.

    Args:
        stored: the encrypted text.
        secret: the database key.
        expected: the clear text if it is known (`true` for configuration.init). V1 has no integrity check, so one wrong
            key in 256 decrypts to rubbish without an error: knowing what must come out rules that out.
    """
    for version in ("V2", "V1"):
        try:
            clear = decrypt(stored, secret, version)
        except DecryptionFailed:
            continue
        if expected is None or clear == expected:
            return version
    return None


def _v2_key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _decrypt_v2(raw: bytes, secret: str) -> bytes:
    if len(raw) < _NONCE + _TAG:
        raise ValueError("shorter than nonce and tag")
    return AESGCM(_v2_key(secret)).decrypt(raw[:_NONCE], raw[_NONCE:], None)


def _v1_cipher(secret: str, salt: bytes) -> Cipher[modes.CBC]:
    digest = hashlib.md5(secret.encode() + salt, usedforsecurity=False).digest()
    for _ in range(_ROUNDS - 1):
        digest = hashlib.md5(digest, usedforsecurity=False).digest()
    # single DES is what three equal keys make of TripleDES; OpenSSL 3 has plain DES only in its legacy provider
    return Cipher(TripleDES(digest[:8] * 3), modes.CBC(digest[8:16]))


def _decrypt_v1(raw: bytes, secret: str) -> bytes:
    if len(raw) <= _SALT or (len(raw) - _SALT) % 8:
        raise ValueError("not salt and whole blocks")
    decryptor = _v1_cipher(secret, raw[:_SALT]).decryptor()
    unpadder = PKCS7(64).unpadder()
    padded = decryptor.update(raw[_SALT:]) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()

"""CloudStack's two ways of encrypting values, as they are found in db.properties and in the database.

V2 (since 4.18): AES-256-GCM, key = SHA-256 of the secret, Base64(12 bytes nonce, ciphertext, 16 bytes tag).
V1: jasypt's PBEWithMD5AndDES with 1,000 rounds, Base64(8 bytes salt, ciphertext); CBC with PKCS#5 padding.
[CloudStack 4.22 utils/crypt/AeadBase64Encryptor, LegacyBase64Encryptor; both checked against values that it wrote]
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import warnings

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    except ImportError:
        from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

ROUNDS = 1000
NONCE = 12
SALT = 8
BLOCK = 8


class DecryptionFailed(Exception):
    """The value was not encrypted with this secret and version."""


class Aead:
    """Version V2."""

    name = "AeadBase64Encryptor"
    reason = "Tag mismatch!"

    def __init__(self, secret: str) -> None:
        self._cipher = AESGCM(hashlib.sha256(secret.encode()).digest())

    def encrypt(self, plain: str) -> str:
        """Encrypt a text under a fresh nonce."""
        nonce = os.urandom(NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, plain.encode(), None)).decode()

    def decrypt(self, value: str) -> str:
        """Decrypt a text; raises DecryptionFailed."""
        try:
            raw = base64.b64decode(value, validate=True)
            return self._cipher.decrypt(raw[:NONCE], raw[NONCE:], None).decode()
        except (InvalidTag, binascii.Error, ValueError) as cause:
            raise DecryptionFailed(self.reason) from cause


class Legacy:
    """Version V1."""

    name = "LegacyBase64Encryptor"
    reason = "null"

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def _cipher(self, salt: bytes) -> Cipher[modes.CBC]:
        digest = self._secret + salt
        for _ in range(ROUNDS):
            digest = hashlib.md5(digest, usedforsecurity=False).digest()
        return Cipher(TripleDES(digest[:BLOCK] * 3), modes.CBC(digest[BLOCK:]))

    def encrypt(self, plain: str) -> str:
        """Encrypt a text under a fresh salt."""
        salt = os.urandom(SALT)
        text = plain.encode()
        padding = BLOCK - len(text) % BLOCK
        encryptor = self._cipher(salt).encryptor()
        return base64.b64encode(salt + encryptor.update(text + bytes([padding]) * padding) + encryptor.finalize()).decode()

    def decrypt(self, value: str) -> str:
        """Decrypt a text; raises DecryptionFailed."""
        try:
            raw = base64.b64decode(value, validate=True)
            decryptor = self._cipher(raw[:SALT]).decryptor()
            text = decryptor.update(raw[SALT:]) + decryptor.finalize()
            padding = text[-1]
            if not 1 <= padding <= BLOCK or text[-padding:] != bytes([padding]) * padding:
                raise DecryptionFailed(self.reason)
            return text[:-padding].decode()
        except (binascii.Error, ValueError, IndexError) as cause:
            raise DecryptionFailed(self.reason) from cause


class Encryptor:
    """CloudStack's encryptor: one version where it is named, else the first that decrypts a value (V2, then V1)."""

    def __init__(self, secret: str, version: str = "") -> None:
        candidates: dict[str, list[Aead | Legacy]] = {"V1": [Legacy(secret)], "V2": [Aead(secret)]}
        self.version = version
        self._candidates = candidates.get(version, [Aead(secret), Legacy(secret)])
        self._chosen: Aead | Legacy | None = self._candidates[0] if len(self._candidates) == 1 else None
        self.failures: list[tuple[str, str]] = []

    @property
    def name(self) -> str:
        """The name under which the log mentions the encryptor in use."""
        return (self._chosen or self._candidates[0]).name

    def encrypt(self, plain: str) -> str:
        """Encrypt with the version in use."""
        return (self._chosen or self._candidates[0]).encrypt(plain)

    def decrypt(self, value: str) -> str:
        """Decrypt a value and remember which version could.

        Raises DecryptionFailed; `failures` then has the name of each encryptor that was tried, with its reason.
        """
        self.failures = []
        for candidate in [self._chosen] if self._chosen else self._candidates:
            try:
                plain = candidate.decrypt(value)
            except DecryptionFailed as failure:
                self.failures.append((candidate.name, str(failure)))
                continue
            self._chosen = candidate
            return plain
        raise DecryptionFailed(self.failures[-1][1])


def masked(value: str) -> str:
    """Return what the log shows of an encrypted value."""
    return value[:5] + "*****"

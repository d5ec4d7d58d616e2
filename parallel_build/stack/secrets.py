"""Secrets of a Pulumi stack, read without Pulumi: the passphrase provider's format, and other providers through the Pulumi CLI.

The passphrase provider derives a key by PBKDF2 with SHA-256 in a million rounds from the passphrase and the salt in the stack file, and seals
each value with AES-256-GCM as `v1:<nonce>:<ciphertext>`, in Base64 [pulumi sdk/go/common/resource/config/crypt.go].
"""

from __future__ import annotations

import base64
import binascii
import getpass
import os
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret

ROUNDS = 1_000_000
KEY_BYTES = 32
VERSION = "v1"
PROOF = "pulumi"  # what the salt carries sealed, so that a wrong passphrase is known at once
UNCHANGED = "nothing has been contacted or changed"


class Decrypter:
    """Opens the values of one stack.

    Args:
        salt: the stack file's `encryptionsalt`: `v1:<salt>:v1:<nonce>:<ciphertext>`.
        passphrase: the stack's passphrase.
        where: the stack file, for messages.
    Raises:
        ConfigurationError: the salt can't be read, or the passphrase is not this stack's.
    """

    def __init__(self, salt: str, passphrase: Secret, where: str) -> None:
        self.where = where
        version, _, rest = salt.partition(":")
        raw, _, proof = rest.partition(":")
        if version != VERSION or not proof:
            raise self._unreadable("encryptionsalt")
        self._cipher = AESGCM(derived_key(self._bytes(raw, "encryptionsalt"), passphrase))
        if self.open(proof, "encryptionsalt").reveal() != PROOF:
            raise self._wrong()

    def open(self, sealed: str, key: str) -> Secret:
        """The clear text of one value.

        Args:
            sealed: `v1:<nonce>:<ciphertext>`.
            key: the value's name, for messages.
        Raises:
            ConfigurationError: it is not one of this stack's values.
        """
        parts = sealed.split(":")
        if len(parts) != 3 or parts[0] != VERSION:
            raise self._unreadable(key)
        try:
            clear = self._cipher.decrypt(self._bytes(parts[1], key), self._bytes(parts[2], key), None)
        except (InvalidTag, ValueError):
            raise self._wrong() if key == "encryptionsalt" else self._unreadable(key) from None
        return Secret(clear.decode())

    def _bytes(self, text: str, key: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._unreadable(key) from None

    def _unreadable(self, key: str) -> ConfigurationError:
        return ConfigurationError(
            f"{key} in {self.where} can't be decrypted",
            "it is not a value of this stack's passphrase provider",
            f"set it again with `pulumi config set --secret {key}`; {UNCHANGED}",
        )

    def _wrong(self) -> ConfigurationError:
        return ConfigurationError(
            f"the passphrase is not that of {self.where}",
            "its secrets can't be decrypted with it",
            f"set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the stack's own; {UNCHANGED}",
        )


def derived_key(salt: bytes, passphrase: Secret) -> bytes:
    """The key that a stack's values are sealed with; a fifth of a second of work."""
    return PBKDF2HMAC(SHA256(), KEY_BYTES, salt, ROUNDS).derive(passphrase.reveal().encode())


def passphrase(where: str) -> Secret:
    """The passphrase as Pulumi finds it: variable, file named by a variable, or asked for at the terminal.

    Args:
        where: the stack file, for messages.
    Raises:
        ConfigurationError: there is none.
    """
    given = os.environ.get("PULUMI_CONFIG_PASSPHRASE")
    if given is not None:
        return Secret(given)
    named = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if named:
        try:
            return Secret(Path(named).expanduser().read_text().strip())
        except OSError as error:
            raise ConfigurationError(
                f"PULUMI_CONFIG_PASSPHRASE_FILE: {named} can't be read",
                os.strerror(error.errno or 0),
                f"name the passphrase's file; {UNCHANGED}",
            ) from None
    if sys.stdin.isatty():
        return Secret(getpass.getpass(f"passphrase of {where}: "))
    raise ConfigurationError(
        f"the secrets of {where} can't be decrypted",
        "neither PULUMI_CONFIG_PASSPHRASE nor PULUMI_CONFIG_PASSPHRASE_FILE is set",
        f"set one of them as for `pulumi up`; {UNCHANGED}",
    )

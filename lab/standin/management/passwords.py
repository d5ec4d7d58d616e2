"""Passwords of users, as CloudStack's default authenticator keeps them.

Base64(salt):Base64(hash):rounds with PBKDF2, HMAC-SHA1. [CloudStack 4.22 PBKDF2UserAuthenticator.java]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

SALT = 64
ROUNDS = 100_000
KEY = 64


def hashed(password: str) -> str:
    """Return what is stored for a password."""
    salt = os.urandom(SALT)
    return f"{base64.b64encode(salt).decode()}:{_digest(password, salt, ROUNDS)}:{ROUNDS}"


def matches(password: str, stored: str) -> bool:
    """Tell whether a password is the stored one."""
    parts = stored.split(":")
    if len(parts) != 3 or not parts[2].isdigit():
        return False
    return hmac.compare_digest(_digest(password, base64.b64decode(parts[0]), int(parts[2])), parts[1])


def _digest(password: str, salt: bytes, rounds: int) -> str:
    return base64.b64encode(hashlib.pbkdf2_hmac("sha1", password.encode(), salt, rounds, KEY)).decode()

"""A writer of JKS keystores, for tests of what reads them [sun.security.provider.JavaKeyStore, KeyProtector]."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence

ALGORITHM = bytes.fromhex("300e060a2b060104012a021101010500")


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()


def _block(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _sealed(key: bytes, word: bytes) -> bytes:
    salt = os.urandom(20)
    stream, last = b"", salt
    while len(stream) < len(key):
        last = hashlib.sha1(word + last).digest()  # noqa: S324
        stream += last
    hidden = bytes(one ^ other for one, other in zip(key, stream, strict=False))
    return _der(0x30, ALGORITHM + _der(0x04, salt + hidden + hashlib.sha1(word + key).digest()))  # noqa: S324


def keystore(password: str, key: bytes, chain: Sequence[bytes], trusted: Sequence[bytes] = (), key_password: str | None = None) -> bytes:
    """A keystore with trusted certificates, then one key.

    Args:
        key: PKCS#8, DER.
        chain, trusted: certificates, DER.
        key_password: None for the keystore's own.
    """
    word = password.encode("utf-16-be")

    def certificate(content: bytes) -> bytes:
        return _text("X.509") + _block(content)

    parts = [b"\xfe\xed\xfe\xed", struct.pack(">II", 2, len(trusted) + 1)]
    parts += [struct.pack(">I", 2) + _text(f"ca{place}") + bytes(8) + certificate(each) for place, each in enumerate(trusted)]
    own = (password if key_password is None else key_password).encode("utf-16-be")
    parts += [struct.pack(">I", 1), _text("cloud"), bytes(8), _block(_sealed(key, own)), struct.pack(">I", len(chain))]
    parts += [certificate(each) for each in chain]
    content = b"".join(parts)
    return content + hashlib.sha1(word + b"Mighty Aphrodite" + content).digest()  # noqa: S324

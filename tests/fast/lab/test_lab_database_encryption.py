"""The lab's own implementation of CloudStack's encrypted values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.database.encryption import EncryptorVersion, decrypt, detect, encrypt
from lab.database.errors import DecryptionFailed

SHARED = Path(__file__).parents[4] / "shared"
VERSIONS: tuple[EncryptorVersion, ...] = ("V1", "V2")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("clear", ["true", "a", "12345678", "Grüße 🚀 \n with 'quotes'", "x" * 5000])
def test_what_is_encrypted_comes_back(version: EncryptorVersion, clear: str) -> None:
    stored = encrypt(clear, "a database key", version)
    assert stored != clear
    assert decrypt(stored, "a database key", version) == clear


@pytest.mark.parametrize("version", VERSIONS)
def test_two_encryptions_differ(version: EncryptorVersion) -> None:
    assert encrypt("true", "key", version) != encrypt("true", "key", version)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_value_stays_empty(version: EncryptorVersion) -> None:
    assert encrypt("", "key", version) == ""
    assert decrypt("", "key", version) == ""


def test_a_wrong_key_is_refused() -> None:
    with pytest.raises(DecryptionFailed, match="does not decrypt as V2"):
        decrypt(encrypt("true", "right", "V2"), "wrong", "V2")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stored", ["not base64!", "AAAA", "dHJ1ZQ=="])
def test_what_is_no_ciphertext_is_refused(version: EncryptorVersion, stored: str) -> None:
    with pytest.raises(DecryptionFailed):
        decrypt(stored, "key", version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_format_is_told_from_the_value(version: EncryptorVersion) -> None:
    assert detect(encrypt("true", "key", version), "key", "true") == version


def test_no_format_fits_a_wrong_key() -> None:
    # V1 lets one wrong key in 256 through: with the clear text known none may pass
    for number in range(600):
        assert detect(encrypt("true", f"key {number}", "V1"), "another", "true") is None


def test_values_that_were_written_down_before() -> None:
    """Fixed salt and nonce: a change of the implementation that changes the format is seen here."""
    assert encrypt("true", "key", "V1", lambda size: bytes(range(size))) == "AAECAwQFBgeQEfJC3UZmZQ=="
    assert encrypt("true", "key", "V2", lambda size: bytes(range(size))) == "AAECAwQFBgcICQoLYdzSDiBCp5XVVyYLsAt1y1vl7iY="


def test_values_that_cloudstack_wrote() -> None:
    facts = SHARED / "facts" / "cloudstack-observed.md"
    sample = SHARED / "data" / "encryption.txt"
    if not facts.exists() or not sample.exists():
        pytest.skip("the values observed on a real CloudStack (../shared) are not there")
    legacy = re.search(r"`(\S+)` under `(\S+)` is `(hello\d+)`", facts.read_text(encoding="utf-8"))
    assert legacy is not None
    assert decrypt(legacy[1], legacy[2], "V1") == legacy[3]
    text = sample.read_text(encoding="utf-8")
    stored = re.search(r"db\.cloud\.password=ENC\((.+?)\)", text)
    key = re.search(r"-m (\S+)", text)
    clear = re.search(r"cloud:(\S+?)@", text)
    assert stored is not None and key is not None and clear is not None
    assert decrypt(stored[1], key[1], "V2") == clear[1]

"""Both encryptions, against values that CloudStack itself wrote, and the refusal of a wrong key."""

from __future__ import annotations

import pytest

from parallel_build.cloudstack.encryption import Encryptor, WrongKey, decrypt, encrypt, unwrap
from parallel_build.secret import Secret

# Written by CloudStack 4.20.3.0 with throw-away keys.
WRITTEN_V1 = "+g6exQdKh3sjgHj8o5ZpDMu40+BDSI+n"
WRITTEN_V2 = "ENC(rg+GPfT9zApvKswLssXwh4vkxRfHc2OblUZhN8OdCDkpt7UR)"


def test_values_that_cloudstack_wrote_are_read() -> None:
    assert decrypt(WRITTEN_V1, Secret("dbKey01")).reveal() == "hello123"
    assert decrypt(unwrap(WRITTEN_V2) or "", Secret("mgmtKey01"), Encryptor.V2).reveal() == "cloudpw1"


@pytest.mark.parametrize("encryptor", [Encryptor.V1, Encryptor.V2])
@pytest.mark.parametrize("clear", ["", "a", "exactly8", "Grüße 🙂", "x" * 3000])
def test_what_is_written_is_read_back_automatically(encryptor: Encryptor, clear: str) -> None:
    assert decrypt(encrypt(Secret(clear), Secret("key"), encryptor), Secret("key")).reveal() == clear


@pytest.mark.parametrize("value", [WRITTEN_V1, unwrap(WRITTEN_V2), "", "not base64!", "AAAA"])
def test_wrong_key_or_value_is_refused(value: str) -> None:
    with pytest.raises(WrongKey):
        decrypt(value, Secret("anotherKey"), Encryptor.V2)


def test_encryptor_is_not_guessed_when_it_is_named() -> None:
    with pytest.raises(WrongKey):
        decrypt(WRITTEN_V1, Secret("dbKey01"), Encryptor.V2)

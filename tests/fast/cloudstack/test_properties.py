"""Files of Java's properties: read as Java reads them, and changed in single values only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, cast

import pytest

from parallel_build.cloudstack import agents, keys
from parallel_build.cloudstack.encryption import Encryptor, encrypt
from parallel_build.cloudstack.properties import DB_PROPERTIES, KEY_FILE, decode, encode, parse, read, replace, without
from parallel_build.configuration import Hypervisor
from parallel_build.errors import StepFailed
from parallel_build.operations import hypervisor_commands
from parallel_build.operations.context import Context
from parallel_build.secret import Secret
from tests.fast.files_host import Files

TEXT = "# comment db.cloud.host=x\ndb.cloud.host=localhost\n\ndb.cloud.password=a=b\nlast=1"


def test_values_may_hold_an_equals_sign_and_comments_are_no_values() -> None:
    assert parse(TEXT) == {"db.cloud.host": "localhost", "db.cloud.password": "a=b", "last": "1"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("key: value", {"key": "value"}),
        ("key value with blanks", {"key": "value with blanks"}),
        ("key   =  value ", {"key": "value "}),
        ("db.cloud.encrypt.secret=ENC(ab\\=\\=)", {"db.cloud.encrypt.secret": "ENC(ab==)"}),
        ("host=10.0.0.1\nhost=10.0.0.2", {"host": "10.0.0.2"}),
        ("list=a,\\\n    b", {"list": "a,b"}),
        ("! comment\n  # comment\nk=v", {"k": "v"}),
        ("k\\ 1=caf\\u00e9", {"k 1": "café"}),
        ("k=v\r\nx=y\r", {"k": "v", "x": "y"}),
    ],
)
def test_javas_notations(text: str, found: dict[str, str]) -> None:
    assert parse(text) == found


def test_bytes_are_latin_1_as_for_java() -> None:
    assert parse(decode(b"k=caf\xe9")) == {"k": "café"}
    assert encode(decode(bytes(range(256)))) == bytes(range(256))


def test_only_the_named_lines_change() -> None:
    changed = replace(TEXT, {"db.cloud.host": "10.0.0.1", "last": "2"})
    assert changed == "# comment db.cloud.host=x\ndb.cloud.host=10.0.0.1\n\ndb.cloud.password=a=b\nlast=2"
    assert replace(TEXT, {}) == TEXT
    assert replace(changed, {"last": "2"}) == changed, "done already is done"


def test_a_value_of_any_notation_is_replaced_where_it_stands() -> None:
    text = "# one\r\na : 1\r\nb=x,\\\r\n   y\r\na 2\r\n"
    assert replace(text, {"a": "3", "b": "ENC(q==)"}) == "# one\r\na=3\r\nb=ENC(q==)\r\na=3\r\n"
    assert without(text, "a") == "# one\r\nb=x,\\\r\n   y\r\n"


def test_a_missing_key_is_an_error_not_an_addition() -> None:
    with pytest.raises(StepFailed, match=r"db\.usage\.host"):
        replace(TEXT, {"db.usage.host": "x"})
    with pytest.raises(StepFailed, match=rf"^newms1: {DB_PROPERTIES} has no db\.usage\.host"):
        replace(TEXT, {"db.usage.host": "x"}, f"newms1: {DB_PROPERTIES}")


def test_what_java_gives_up_is_reported_with_server_and_file() -> None:
    files = Files("oldms1")
    files.files[DB_PROPERTIES] = b"ok=1\nk=\\u12"
    with pytest.raises(StepFailed, match=rf"oldms1: {DB_PROPERTIES}: \\u12 is no character"):
        read(files, DB_PROPERTIES)
    assert read(Files("oldms1"), DB_PROPERTIES) is None


def test_a_value_is_written_into_any_file_and_every_other_line_stays() -> None:
    drawn = random.Random(20261130)
    for _ in range(100):
        lines = [
            drawn.choice(["", "# a = x", "!b", "  ", "a=1", "b.c : 2", "d\\ e 3", "a=x\\\n  y", "k\\u0041=\\t"])
            for _ in range(drawn.randrange(8))
        ]
        text, value = "\n".join(lines), "".join(drawn.choices(["\\", "=", " ", "\n", "#", "a", "\u00e9", "\t", "!"], k=drawn.randrange(8)))
        known = parse(text)
        for key in known:
            changed = replace(text, {key: value})
            assert parse(changed) == {**known, key: value}
            assert without(changed, key) == without(text, key)


def test_the_key_is_found_in_any_notation() -> None:
    files = Files("oldms1")
    sealed = encrypt(Secret("database key"), Secret("management key"), Encryptor.V2).replace("=", "\\=")
    files.files = {
        DB_PROPERTIES: f"db.cloud.encryptor.version : V2\ndb.cloud.encrypt.secret ENC({sealed})\n".encode(),
        KEY_FILE: b"management key",
    }
    found = keys.read_original(files)
    assert (found.secret.reveal(), found.encryptor) == ("database key", Encryptor.V2)


@pytest.mark.parametrize("content", [b"management key\r\n", b"management key\nand another line\n", b"management key\n"])
def test_the_key_file_is_read_as_cloudstack_reads_it(content: bytes) -> None:
    files = Files("oldms1")
    sealed = encrypt(Secret("database key"), Secret("management key"), Encryptor.V2)
    files.files = {DB_PROPERTIES: f"db.cloud.encryptor.version=V2\ndb.cloud.encrypt.secret=ENC({sealed})\n".encode(), KEY_FILE: content}
    assert keys.read_original(files).secret.reveal() == "database key"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("host=10.0.0.1,10.0.0.2@static", ["10.0.0.1", "10.0.0.2"]),
        ("host: 10.0.0.1", ["10.0.0.1"]),
        ("host=2001\\:db8\\:\\:11,10.0.0.2", ["2001:db8::11", "10.0.0.2"]),
        ("host=[2001\\:DB8\\:0\\:0\\:\\:11]", ["2001:db8::11"]),
        ("host=10.0.0.1\nhost.reservedMemory=1\nhost=10.0.0.9", ["10.0.0.9"]),
        ("#host=10.0.0.1", []),
    ],
)
def test_what_an_agent_dials(text: str, known: list[str]) -> None:
    assert agents.listed(text) == known


def test_an_operators_notation_stays_when_addresses_are_added_and_taken_out() -> None:
    assert agents.extended("[2001:DB8::11]@static", ["2001:db8::11", "10.0.0.1"]) == "[2001:DB8::11],10.0.0.1@static"
    assert agents.reduced("[2001:DB8::11],10.0.0.1@static", ["2001:db8::11"]) == "10.0.0.1@static"


def test_an_agents_file_keeps_its_other_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kvm(Files):
        written = b""

        def write(self, path: str, content: Any, **_: Any) -> None:
            self.files[path] = content

        def run(self, argv: Sequence[str], **_: Any) -> Any:
            return type("R", (), {"stdout": "640 root:root"})()

    kvm = Kvm("kvm1")
    kvm.files[agents.AGENT_FILE] = b"guid=caf\xe9\nhost : 10.0.0.1\n#host=x\nhost.reservedMemory=1"

    class Known:
        progress = staticmethod(lambda _: None)
        host = staticmethod(lambda _: kvm)

    monkeypatch.setattr(hypervisor_commands, "Services", lambda _: type("S", (), {"state": lambda *_: type("U", (), {"active": True})()})())
    hypervisor = Hypervisor(name="kvm1", address="10.0.0.21")
    context = cast(Context, Known())
    assert hypervisor_commands.written(context, hypervisor) == "10.0.0.1"
    for _ in range(2):
        hypervisor_commands.set_addresses(context, hypervisor, "10.0.0.2@static")
        assert kvm.files[agents.AGENT_FILE] == b"guid=caf\xe9\n#host=x\nhost.reservedMemory=1\nhost=10.0.0.2@static\n"

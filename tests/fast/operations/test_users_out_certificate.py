"""Which TLS ports of a server are answered, with which password, and the reasons why others are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from parallel_build.cloudstack.encryption import Encryptor, encrypt
from parallel_build.cloudstack.properties import KEY_FILE
from parallel_build.cloudstack.web import SERVER_PROPERTIES
from parallel_build.operations import lasting_barrier, packet_filter, users_out_certificate, users_out_service
from parallel_build.operations.packet_filter import OPEN, Barrier
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.files_host import Files

PORTS = [443, 8443]
HTTPS = "https.enable=true\nhttps.keystore=/etc/cloud.jks\nhttps.keystore.password={password}\n"
BARRIER = Barrier(["192.0.2.0/24", "2001:db8::/64"], [80, 443, 8080, 8443], [80, 8080], PORTS)


class Server(Files):
    """A management server.

    Args:
        settings: its server.properties.
        printed: what the program there prints.
        listening: ports on which programs listen.
    """

    def __init__(self, settings: str, printed: str = "", listening: Sequence[int] = (8443, 22), code: int = 0) -> None:
        super().__init__("oldms1")
        self.files[SERVER_PROPERTIES] = settings.encode()
        self.printed, self.listening, self.code = printed, listening, code
        self.given: list[dict[str, Any]] = []
        self.arguments: list[str] = []

    def run(self, argv: Sequence[str], *, input: bytes | str | Secret | None = None, **more: Any) -> Result:
        if argv[0] == "python3":
            assert isinstance(input, Secret)
            self.given.append(json.loads(input.reveal()))
            self.arguments += argv
            return Result(self.code, self.printed, "Traceback\nSyntaxError: x\n" if self.code else "")
        if argv[0] == "ss":
            return Result(0, "".join(f"LISTEN 0 128 *:{port} *:*\n" for port in self.listening), "")
        return super().run(argv, **more)


def test_the_password_is_decrypted_by_the_servers_own_key_and_is_in_no_argument() -> None:
    for encryptor in (Encryptor.V1, Encryptor.V2):
        sealed = encrypt(Secret("vmops.com"), Secret("management-key"), encryptor)
        server = Server(HTTPS.format(password=f"ENC({sealed})"))
        server.files[KEY_FILE] = b"management-key\n"
        assert users_out_certificate.give(server, PORTS) == (PORTS, "")
        assert (server.given[0]["password"], server.given[0]["keystore"]) == ("vmops.com", "/etc/cloud.jks")
        assert not any("vmops.com" in each or "management-key" in each for each in server.arguments)
        assert "from __future__ import annotations" not in server.arguments[2], "the Python of EL 8 does not know it"


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ("https.enable=true\n", None, "https.keystore names no file"),
        (HTTPS.format(password="ENC(AAAA)"), None, f"is encrypted, and the server has no {KEY_FILE}"),
        (HTTPS.format(password="ENC(AAAA)"), b"other\n", f"{KEY_FILE} does not decrypt https.keystore.password"),
        ("https.enable=true\nx=\\u00zz\n", None, "is no character"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_refused_with_its_reason(settings: str, key: bytes | None, words: str) -> None:
    server = Server(settings)
    if key is not None:
        server.files[KEY_FILE] = key
    ports, why = users_out_certificate.give(server, PORTS)
    assert (ports, server.given) == ([], []) and words in why


def test_a_server_without_tls_has_nobody_to_answer() -> None:
    assert users_out_certificate.give(Server("http.port=8080\n"), PORTS) == ([], "")


def test_a_program_on_the_server_that_fails_is_a_reason() -> None:
    assert users_out_certificate.give(Server(HTTPS.format(password="x"), printed="/etc/cloud.jks: it is torn"), PORTS) == (
        [],
        "/etc/cloud.jks: it is torn",
    )
    assert users_out_certificate.give(Server(HTTPS.format(password="x"), code=1), PORTS) == ([], "SyntaxError: x")


def test_a_port_of_another_program_is_left_to_it() -> None:
    server = Server(HTTPS.format(password="x"), listening=(443, 8443))
    assert users_out_certificate.give(server, PORTS) == ([8443], "another program listens on 443, with a certificate of its own")
    own = Server(HTTPS.format(password="x") + "https.port=443\n", listening=(443,))
    assert users_out_certificate.give(own, PORTS) == (PORTS, "")


def test_both_packet_filters_send_tls_to_its_own_port() -> None:
    rules = BARRIER.rules(answered=True)
    assert "dport { 80, 8080 } redirect to :18503" in rules and "dport { 443, 8443 } redirect to :18504" in rules
    assert "own_open 18503 18504\n" in rules and "for p in 18503 18504; do $t -w -C INPUT" in rules
    for sent in ("--dports 80,8080 -j REDIRECT --to-ports 18503", "--dports 443,8443 -j REDIRECT --to-ports 18504"):
        assert rules.count(sent) == 1
    assert rules.count("--dport 18504 -m conntrack --ctstate DNAT -j ACCEPT") == 1
    assert "sport = :18504" in OPEN and "for p in 18503 18504; do while $t -w -D INPUT" in OPEN
    without = Barrier(BARRIER.allowed, BARRIER.ports, BARRIER.plain).rules(answered=True)
    assert "18504" not in without and "own_open 18503\n" in without


@pytest.mark.parametrize(
    ("answered", "reason", "words"),
    [(PORTS, "", ""), ([8443], "another program listens on 443", "those that come by TLS: another program listens on 443"), ([], "", "")],
)
def test_the_barrier_has_what_is_really_answered(monkeypatch: pytest.MonkeyPatch, answered: list[int], reason: str, words: str) -> None:
    put_up: list[str] = []
    monkeypatch.setattr(users_out_service, "start", lambda *_: "")
    monkeypatch.setattr(users_out_certificate, "give", lambda *_: (answered, reason))
    monkeypatch.setattr(lasting_barrier, "keep", lambda _, rules: put_up.append(rules))
    monkeypatch.setattr(packet_filter, "closed", lambda _: True)
    monkeypatch.setattr(Server, "script", lambda *_, **__: Result(0, "answered\n", ""), raising=False)
    assert packet_filter.close(Server(""), BARRIER) == words
    assert ("redirect to :18504" in put_up[0]) is bool(answered) and "redirect to :18503" in put_up[0]
    assert "reject with tcp reset" in put_up[0] and "80, 443, 8080, 8443" in put_up[0]

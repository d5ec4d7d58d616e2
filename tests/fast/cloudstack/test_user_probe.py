"""The probe from a user's address: its signature, what it takes for being served, and what the configuration says about it."""

from __future__ import annotations

import http.server
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import cs
import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import user_probe
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.cloudstack.user_probe import Probe, signed
from parallel_build.configuration import Server, UserProbe, load
from parallel_build.errors import ConfigurationError
from parallel_build.remote.host import Connections
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from parallel_build.steps.user_access import UserAccess
from tests.containers.asking_users import Call, Client, prove_unnoticed
from tests.fast.sites import site, values

URL = "http://192.0.2.10:8080/client/api"


def test_the_signature_is_that_of_the_library() -> None:
    call = signed(URL, Secret("an api-key_1"), Secret("Sec+ret/2"))
    sent = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(call).query))
    signature = sent.pop("signature")
    client: Any = cs.CloudStack(endpoint=URL, key="an api-key_1", secret="Sec+ret/2")
    client._sign(sent)
    assert sent["signature"] == signature
    assert "Sec+ret" not in call and "Sec%2Bret" not in call


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, int]]]:
    """A server on loopback that answers with the status it is given."""
    says = {"status": 200}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(says["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/client/api", says
    server.shutdown()
    server.server_close()
    thread.join()


def probe(source: str) -> Probe:
    """A probe from an address of this machine."""
    return Probe(site(), Connections(site(), CancelToken()), UserProbe(source=source))


@pytest.mark.parametrize(("status", "served"), [(200, True), (401, False), (503, False), (302, False)])
def test_only_an_answer_to_the_call_counts_as_served(api: tuple[str, dict[str, int]], status: int, served: bool) -> None:
    url, says = api
    says["status"] = status
    answer = probe("127.0.0.2").ask(Endpoint(url))
    assert (answer.served, answer.asked, answer.words) == (served, True, f"HTTP {status}")


def test_silence_is_told_from_a_probe_that_could_not_ask(api: tuple[str, dict[str, int]]) -> None:
    url, _ = api
    silent = probe("127.0.0.2").ask(Endpoint("http://127.0.0.1:1/client/api"))
    assert (silent.served, silent.asked) == (False, True)
    elsewhere = probe("192.0.2.77").ask(Endpoint(url))
    assert (elsewhere.served, elsewhere.asked) == (False, False)


@pytest.mark.parametrize("answers", [b"", b"HTTP/1.1 200 "])
def test_a_call_that_is_held_open_is_no_proof_that_users_are_out(monkeypatch: pytest.MonkeyPatch, answers: bytes) -> None:
    monkeypatch.setattr(user_probe, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def hold() -> None:
            taken.append(listening.accept()[0])
            taken[0].sendall(answers)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        held = probe("127.0.0.2").ask(Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/client/api"))
        thread.join()
        taken[0].close()
    assert (held.served, held.asked, held.words) == (False, False, user_probe.HELD), "a front that keeps it may have it done later"


@pytest.mark.parametrize(
    ("printed", "code", "asked", "words"),
    [
        ("000 0.004 1700000000.5", 28, False, user_probe.HELD),
        ("000 0.000 1700000000.5", 28, True, "Connection timed out"),
        ("000 0.000 1700000000.5", 7, True, "Failed to connect"),
        ("503 0.004 1700000000.5", 0, True, "HTTP 503"),
    ],
)
def test_a_server_that_asks_tells_a_call_that_is_held_from_one_that_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, printed: str, code: int, asked: bool, words: str
) -> None:
    class Jump:
        def run(self, argv: Sequence[str], **_: Any) -> Result:
            return Result(code, printed, f"curl: ({code}) {words}\n")

    class Opened:
        def host(self, _: Any) -> Jump:
            return Jump()

    there = Probe(site(), Opened(), UserProbe(server=Server(name="jump", address="10.91.0.201")))  # type: ignore[arg-type]
    answer = there.ask(Endpoint(URL))
    assert (answer.served, answer.asked, answer.words) == (False, asked, words)
    assert answer.at == (1700000000.5 if asked else 0.0)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "name one of them"),
        ({"source": "10.91.0.200", "server": {"name": "jump", "address": "10.91.0.201"}}, "name one of them"),
        ({"source": "a user"}, "is not an address"),
        ({"source": "10.91.0.200", "url": "balancer"}, "an API url looks like"),
        ({"source": "10.91.0.1"}, "is an administrator's"),
        ({"server": {"name": "oldms1", "address": "10.91.0.222"}}, "is used twice"),
    ],
)
def test_what_can_prove_nothing_is_refused(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(values(window={"userAccess": {"administrators": ["10.91.0.1/32"], "probe": section}}), "test")


def test_the_review_says_from_where_it_is_proved() -> None:
    section = {"administrators": ["10.91.0.1/32"], "probe": {"source": "10.91.0.200"}}
    assert "prove from 10.91.0.200" in UserAccess().plan(load(values(window={"userAccess": section}), "test"))[-1]
    assert "nobody asks from a user's address" in UserAccess().plan(site().configuration)[-1]


def asked(*calls: tuple[float, float], failing: Sequence[int] = (), seconds: float = 10.0) -> Client:
    """A client that has made these calls (began, ended)."""
    made = [Call(began, ended, number not in failing, "no answer") for number, (began, ended) in enumerate(calls)]
    return Client(Endpoint("http://ms/client/api"), made, 0.0, seconds)


EVEN = [(number / 10, number / 10 + 0.02) for number in range(100)]


def test_clients_that_are_answered_all_along_notice_nothing() -> None:
    client = asked(*EVEN)
    prove_unnoticed([client])
    assert client.pace == pytest.approx(1.0) and client.gap < 0.2
    one_slow = asked(*EVEN[:50], (5.0, 9.5), *EVEN[51:])
    assert one_slow.gap < 0.3, "one slow answer among others is no outage"


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (asked(*EVEN, failing=[7]), "no answer"),
        (asked(*EVEN[::4]), "it hardly asked"),
        (asked(*EVEN[:30], *((began, max(ended, 6.4)) for began, ended in EVEN[30:])), "nobody was answered for 3.5 s"),
        (asked(*EVEN[:60]), "nobody was answered for 4.1 s"),
        (asked(seconds=10.0), "it hardly asked"),
    ],
)
def test_an_outage_is_noticed_also_where_every_call_is_answered_in_the_end(client: Client, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        prove_unnoticed([client])

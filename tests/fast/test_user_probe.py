"""The probe from a user's address: its signature, what it takes for being served, and what the configuration says about it."""

from __future__ import annotations

import http.server
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import cs
import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.cloudstack.user_probe import Probe, signed
from parallel_build.configuration import UserProbe, load
from parallel_build.connection import Connections
from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret
from parallel_build.steps.user_access import UserAccess
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
    """A server on loopback that answers with the status it is told to."""
    says = {"status": 200}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(says["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
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

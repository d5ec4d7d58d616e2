"""TLS to the API: real sessions on loopback, with right certificates and every kind of wrong one; each error says fact, cause and remedy."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.standin.management import connectors
from lab.standin.management.listener import Server
from parallel_build.cancel import CancelToken
from parallel_build.cli import run_state
from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.api import ApiNotTrusted, ApiUnavailable, Cloud, Endpoint
from parallel_build.cloudstack.user_probe import Answer, Probe
from parallel_build.configuration import UserProbe
from parallel_build.errors import ConfigurationError, RollbackIncomplete
from parallel_build.facts import original as original_facts
from parallel_build.health import certificates
from parallel_build.operations import original_management
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from tests.authority import DAY, PASSWORD, Authority
from tests.fast.sites import site

pytestmark = pytest.mark.processes

KEYS = Secret("apikey-0123456789"), Secret("apisecret-0123456789")
NAME = "cloud.example.org"
Start = Callable[..., Endpoint]


class Answers(http.server.BaseHTTPRequestHandler):
    """Serves a signed call, refuses an unsigned one, sends `/elsewhere` on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a call whose parameters are in the url."""
        self._answer(urllib.parse.urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Answer a call whose parameters are in the body."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, query: str) -> None:
        if self.path.startswith("/elsewhere"):
            return self._send(307, "", ("Location", f"http://127.0.0.1:1/client/api?{query}"))
        if "signature=" not in query:
            return self._send(401, '{"errorresponse": {"errorcode": 401, "errortext": "unable to verify user credentials"}}')
        return self._send(200, json.dumps({"listcapabilitiesresponse": {"capability": {"cloudstackversion": "4.20.3.0"}}}))

    def _send(self, status: int, body: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def start(authority: Authority) -> Iterator[Start]:
    """Starts a server on loopback with a keystore (None: plain http), and gives the endpoint that fits it, changed as wanted."""
    with contextlib.ExitStack() as stack:

        def begin(keystore: Path | None, **changes: Any) -> Endpoint:
            server = Server(("127.0.0.1", 0), Answers)
            server.tls = connectors.Connectors(None, 8443, keystore, PASSWORD).context() if keystore else None
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            scheme = changes.pop("scheme", "https" if keystore else "http")
            path = changes.pop("path", "/client/api")
            found = Endpoint(f"{scheme}://127.0.0.1:{server.socket.getsockname()[1]}{path}", "original.api", authority.file)
            return replace(found, **changes)

        yield begin


def refused(where: Endpoint) -> ApiNotTrusted:
    """The error of a call and of the unsigned question, which are the same."""
    with pytest.raises(ApiNotTrusted) as called:
        Cloud(where, *KEYS, timeout=5).call("listCapabilities")
    with pytest.raises(ApiNotTrusted) as asked:
        api.status(where)
    assert str(called.value) == str(asked.value)
    assert called.value.fact and called.value.cause and called.value.remedy
    assert where.url in called.value.fact
    assert api.answers(where), "something is there, whoever it is"
    return called.value


def served(where: Endpoint) -> bool:
    """Whether a signed call is served, and an unsigned one refused by the API itself."""
    called = Cloud(where, *KEYS, timeout=5).call("listCapabilities")
    return bool(called["capability"]["cloudstackversion"] == "4.20.3.0" and api.status(where) == 401 and api.answers(where))


def test_the_right_authority_and_address_pass(authority: Authority, start: Start) -> None:
    assert served(start(authority.keystore("127.0.0.1", NAME)))


def test_plain_http_passes_where_it_is_configured(start: Start) -> None:
    assert served(start(None, ca_file=None))


def test_another_authority_of_the_same_name_is_refused(authority: Authority, start: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    error = refused(start(authority.keystore("127.0.0.1"), ca_file=other.file))
    assert "of no authority that is trusted" in error.fact
    assert f"checked against original.api.caFile ({other.file})" in error.cause
    assert "in original.api.caFile" in error.remedy


def test_without_a_file_the_machines_own_authorities_count(authority: Authority, start: Start) -> None:
    error = refused(start(authority.keystore("127.0.0.1"), ca_file=None))
    assert "this machine's own authorities" in error.cause


@pytest.mark.parametrize(
    ("since", "until", "words"), [(-3 * DAY, timedelta(minutes=-5), "has expired"), (timedelta(hours=1), DAY, "is not valid yet")]
)
def test_a_certificate_out_of_its_time_is_refused(
    authority: Authority, start: Start, since: timedelta, until: timedelta, words: str
) -> None:
    error = refused(start(authority.keystore("127.0.0.1", since=since, until=until)))
    assert error.fact.endswith(words)
    assert "https.keystore in server.properties" in error.remedy and "clock" in error.remedy


def test_a_certificate_by_name_needs_the_name_when_the_address_is_called(authority: Authority, start: Start) -> None:
    by_address = start(authority.keystore(NAME))
    error = refused(by_address)
    assert "is made out to another name than 127.0.0.1" in error.fact
    assert "IP address mismatch" in error.cause
    assert "set original.api.serverName (or serverNames" in error.remedy
    assert served(replace(by_address, server_name=NAME))
    assert "another name than ms2.example.org" in refused(replace(by_address, server_name="ms2.example.org")).fact
    assert "another name than 127.0.0.9" in refused(replace(by_address, server_name="127.0.0.9")).fact


def test_the_name_takes_nothing_from_the_rest_of_the_check(authority: Authority, start: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    where = start(authority.keystore(NAME), server_name=NAME)
    assert "no authority that is trusted" in refused(replace(where, ca_file=other.file)).fact
    expired = start(authority.keystore(NAME, since=-3 * DAY, until=-DAY), server_name=NAME)
    assert "has expired" in refused(expired).fact


def test_plain_http_on_a_port_that_is_called_by_https(start: Start) -> None:
    error = refused(start(None, scheme="https"))
    assert "does not speak TLS" in error.fact
    assert "plain http is served" in error.cause
    assert "original.api.scheme" in error.remedy and "original.api.port" in error.remedy


def test_https_on_a_port_that_is_called_by_plain_http(authority: Authority, start: Start) -> None:
    error = refused(start(authority.keystore("127.0.0.1"), scheme="http"))
    assert "is called by plain http, and what listens there speaks TLS" in error.fact
    assert "set original.api.scheme" in error.remedy


def test_silence_and_a_cut_handshake_are_no_question_of_trust(authority: Authority) -> None:
    nobody = Endpoint("https://127.0.0.1:1/client/api", "original.api", authority.file)
    assert api.status(nobody) is None and not api.answers(nobody)
    with pytest.raises(ApiUnavailable) as caught:
        Cloud(nobody, *KEYS, timeout=5).call("listCapabilities")
    assert not isinstance(caught.value, ApiNotTrusted)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listening.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert api.status(Endpoint(f"https://127.0.0.1:{listening.getsockname()[1]}/client/api", "original.api", authority.file)) is None
        listening.shutdown(socket.SHUT_RDWR)


def test_a_signed_call_is_not_sent_on_to_where_nobody_looked(authority: Authority, start: Start) -> None:
    where = start(authority.keystore("127.0.0.1"), path="/elsewhere")
    assert api.status(where) == 307
    with pytest.raises(ApiUnavailable, match=r"sends callers on to http://127.0.0.1:1/client/api \(listCapabilities\)"):
        Cloud(where, *KEYS, timeout=5).call("listCapabilities")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("configured", [True, False], ids=["another authority", "this machine's"])
def test_no_variable_of_the_environment_widens_what_is_trusted(
    authority: Authority, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, configured: bool
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv(name, str(authority.file))
    where = start(authority.keystore("127.0.0.1"))
    file = Authority(tmp_path / "other", "of another name").file if configured else None
    assert "no authority that is trusted" in refused(replace(where, ca_file=file)).fact


def test_a_file_that_is_gone_when_it_is_needed_is_named(authority: Authority, start: Start, tmp_path: Path) -> None:
    where = start(authority.keystore("127.0.0.1"), ca_file=tmp_path / "gone.pem")
    with pytest.raises(ConfigurationError, match=r"original.api.caFile: .*gone.pem can't be used: No such file") as caught:
        api.status(where)
    assert "certificates of the authorities" in caught.value.remedy


# What the rest of the house makes of it.


def https_site(where: Endpoint, **more: Any) -> Site:
    """A site whose first management server is at this endpoint: its url alone says how all are called."""
    made = site()
    original = made.configuration.original
    section = original.api.model_copy(update={"url": where.url, "ca_file": where.ca_file, **more})
    first = original.management[0].model_copy(update={"address": "127.0.0.1"})
    servers = [first, *original.management[1:]]
    return replace(
        made,
        configuration=made.configuration.model_copy(
            update={"original": original.model_copy(update={"api": section, "management": servers})}
        ),
    )


def test_a_url_with_a_servers_address_says_how_the_servers_are_called(authority: Authority, start: Start) -> None:
    where = start(authority.keystore(NAME))
    of = https_site(where, server_names={"oldms1": NAME})
    first = of.configuration.original.management[0]
    assert served(endpoint.of_original(of.configuration))
    assert served(endpoint.of_original(of.configuration, first))
    assert endpoint.of_original(of.configuration, first).url == where.url


def test_the_rollback_does_not_wait_for_an_answer_that_it_could_not_trust(authority: Authority, start: Start) -> None:
    of = https_site(start(authority.keystore(NAME)))
    context = cast(Any, SimpleNamespace(configuration=of.configuration))
    with pytest.raises(RollbackIncomplete) as caught:
        original_management._answers(context, of.configuration.original.management[0])
    assert "runs on oldms1, and it can't be proved that it serves" in caught.value.fact
    assert "run the same command again" in caught.value.remedy
    assert not original_management._failed_for_good(context, of.configuration.original.management[0])


def test_a_server_that_is_not_trusted_is_no_silent_one(authority: Authority, start: Start) -> None:
    answers, why = run_state._answers(start(authority.keystore(NAME)))
    assert answers and "another name" in why
    assert run_state._answers(start(authority.keystore("127.0.0.1"))) == (True, "")


def test_the_guards_fact_says_what_is_wrong_and_what_the_server_would_open(authority: Authority, start: Start) -> None:
    properties = b"http.enable=false\nhttps.enable=true\nhttps.port=8443\nhttps.keystore=/k.p12\n"
    host = cast(Any, SimpleNamespace(read=lambda path: properties))
    wrong = https_site(start(authority.keystore(NAME)))
    reported = original_facts._own_api(wrong, host, wrong.configuration.original.management[0])
    assert "another name" in reported and "server.properties says: no http, https on 8443" in reported
    right = https_site(start(authority.keystore("127.0.0.1")))
    assert original_facts._own_api(right, host, right.configuration.original.management[0]) == ""


def test_the_health_check_reads_a_date_whoever_signed(authority: Authority, start: Start) -> None:
    found = certificates.of_api(start(authority.keystore(NAME, until=timedelta(days=1)), ca_file=None), "oldms1")
    assert [each.what for each in found] == ["oldms1 (API)"] and found[0].expires is not None
    assert certificates.of_api(start(None), "oldms1") == []


def ask(where: Endpoint, *, from_server: bool) -> Answer:
    """A user's question: from an address of this machine, or from a machine that is logged in to, which this one stands for."""
    made = site()
    if not from_server:
        return Probe(made, Connections(made, CancelToken()), UserProbe(source="127.0.0.2")).ask(where)
    section = UserProbe.model_validate({"server": {"name": "jump", "address": "192.0.2.200"}})

    def run(words: list[str], *, input: str, timeout: float, ok: None) -> Any:
        done = subprocess.run(words, input=input, capture_output=True, text=True, timeout=timeout, check=False)
        return SimpleNamespace(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    host = SimpleNamespace(run=run)
    return Probe(made, cast(Any, SimpleNamespace(host=lambda server: host)), section).ask(where)


@pytest.mark.parametrize("from_server", [False, True])
def test_a_probe_checks_certificates_as_well(authority: Authority, start: Start, tmp_path: Path, from_server: bool) -> None:
    if from_server and not shutil.which("curl"):
        pytest.skip("no curl here")
    assert ask(start(authority.keystore("127.0.0.1")), from_server=from_server).served
    by_name = start(authority.keystore(NAME))
    assert ask(replace(by_name, server_name=NAME), from_server=from_server).served
    assert ask(start(None, ca_file=None), from_server=from_server).served
    (tmp_path / "other").mkdir()
    for wrong in (by_name, replace(by_name, server_name=NAME, ca_file=Authority(tmp_path / "other").file)):
        answer = ask(wrong, from_server=from_server)
        assert (answer.served, answer.asked) == (False, False), "it proves nothing about users"
        assert answer.words.startswith("TLS: ")
    silent = ask(replace(by_name, url="https://127.0.0.1:1/client/api"), from_server=from_server)
    assert (silent.served, silent.asked) == (False, True)

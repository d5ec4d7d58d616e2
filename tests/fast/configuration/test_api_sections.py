"""`original.api` and `new.api`: what each side's servers serve, which ports follow from it everywhere, and what a change of them is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.standin.management import connectors
from parallel_build.cloudstack import endpoint, properties, web
from parallel_build.configuration import NewMachine, load
from parallel_build.configuration.stack import StackConfiguration
from parallel_build.errors import ConfigurationError
from parallel_build.facts import network_targets
from parallel_build.machines.existing.rules import Wanted
from parallel_build.operations.user_firewall import user_ports
from parallel_build.provider.relevance import for_undo, relevant
from parallel_build.resolved_stack import Site
from parallel_build.steps.management_installed import ManagementInstalled
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.user_access import UserAccess
from tests.authority import PASSWORD, Authority
from tests.fast.sites import site, values

PLAIN = "http://10.91.0.11:8080/client/api"


def made(api: dict[str, Any], **new: Any) -> StackConfiguration:
    """A configuration with these sections."""
    return load(values(original={"api": {"url": PLAIN, **api}}, new={"api": new}), "test")


@pytest.mark.parametrize(
    ("api", "called"),
    [
        ({}, "http://10.91.0.12:8080/client/api"),
        ({"url": "https://10.91.0.11:8443/client/api"}, "https://10.91.0.12:8443/client/api"),
        ({"url": "https://10.91.0.11:9443/client/api"}, "https://10.91.0.12:9443/client/api"),
        # No port in the url: a redirection or a proxy there, and CloudStack's own port behind it.
        ({"url": "https://10.91.0.11/client/api"}, "https://10.91.0.12:8443/client/api"),
        # A load balancer ends TLS, or does not: nothing follows from its url.
        ({"url": "https://cloud.example.org/client/api"}, "http://10.91.0.12:8080/client/api"),
        ({"url": "https://10.91.0.99:8443/client/api"}, "http://10.91.0.12:8080/client/api"),
        ({"url": "https://cloud.example.org/client/api", "scheme": "https"}, "https://10.91.0.12:8443/client/api"),
        ({"url": "https://10.91.0.11:9443/client/api", "scheme": "http"}, "http://10.91.0.12:8080/client/api"),
        ({"scheme": "https", "port": 9443}, "https://10.91.0.12:9443/client/api"),
        ({"port": 8081}, "http://10.91.0.12:8081/client/api"),
    ],
)
def test_how_a_single_server_of_the_original_is_called(api: dict[str, Any], called: str) -> None:
    configuration = made(api)
    assert endpoint.of_original(configuration, configuration.original.management[1]).url == called
    assert endpoint.of_original(configuration).url == api.get("url", PLAIN), "the url itself is called as it is written"


def test_the_new_side_has_its_own_section() -> None:
    plain, secure = made({"scheme": "https"}), made({}, scheme="https", port=9443)
    assert endpoint.of_new(plain).url == "http://10.91.0.41:8080/client/api"
    assert endpoint.of_new(secure, secure.new.management[1]).url == "https://10.91.0.42:9443/client/api"
    assert endpoint.of_new(secure).section == "new.api"
    rehearsal = NewMachine(name="rehearsal", address="10.91.1.9")
    assert endpoint.of_rehearsal(rehearsal).url == "http://10.91.1.9:8080/client/api", "as the packages bring it"


def test_an_ipv6_address_is_put_into_brackets() -> None:
    machines = values()["new"]["management"]
    found = load(values(new={"management": [{**machines[0], "address": "2001:db8::41"}, machines[1]]}), "test")
    assert endpoint.of_new(found).url == "http://[2001:db8::41]:8080/client/api"


def test_names_in_certificates_server_by_server() -> None:
    names = {"serverName": "cloud.example.org", "serverNames": {"oldms2": "ms2.example.org"}}
    found = made({"scheme": "https", **names})
    asked = [endpoint.of_original(found, server).server_name for server in found.original.management]
    assert asked == ["cloud.example.org", "ms2.example.org"]
    by_address = made({"url": "https://10.91.0.12:8443/client/api", **names})
    assert endpoint.of_original(by_address).server_name == "ms2.example.org", "the url has that server's address"
    balancer = made({"url": "https://10.91.0.99/client/api", **names})
    assert endpoint.of_original(balancer).server_name == "cloud.example.org"
    by_name = made({"url": "https://api.example.org/client/api", "scheme": "https", **names})
    assert endpoint.of_original(by_name).server_name is None, "the url has a name of its own"


def test_authorities_count_for_a_probes_balancer_too(tmp_path: Path) -> None:
    authority = str(Authority(tmp_path).file)
    probe = {"source": "10.91.0.200", "url": "https://cloud.example.org/client/api"}
    access = {"userAccess": {"administrators": ["10.91.0.1/32"], "probe": probe}}
    load(values(original={"api": {"url": PLAIN, "caFile": authority}}, window=access), "test")
    with pytest.raises(ConfigurationError, match=r"original.api.caFile: it is about certificates, and nothing is called by https"):
        load(values(original={"api": {"url": PLAIN, "caFile": authority}}), "test")


def test_configured_ports_are_closed_proved_closed_and_kept_from_the_rehearsal() -> None:
    found = made({"scheme": "https", "port": 9443}, scheme="https", port=7443)
    assert user_ports(found) == [80, 443, 7443, 8080, 8443, 9443]
    assert "refuse TCP 80, 443, 7443, 8080, 8443, 9443 to all" in UserAccess().plan(found)[0]
    assert "ports 8250, 9090, 9443 closed" in OriginalManagement().plan(found)[-1]
    assert "ports 7443, 8080, 8250, 8443, 9090 closed" in ManagementInstalled({"name": "newms1"}).plan(found)[-1]
    targets = {(target.address, target.port) for target in network_targets._configured(found)}
    assert {("10.91.0.11", 9443), ("10.91.0.11", 8443), ("10.91.0.41", 7443), ("10.91.0.41", 8250)} <= targets
    assert Wanted.of(found, found.new.management[0]).api_port == 7443


def test_what_certificates_are_checked_by_is_no_change_of_a_step_and_an_undo_takes_the_newest() -> None:
    def secure(**more: Any) -> Site:
        return site(original={"api": {"url": "https://10.91.0.11:8443/client/api", **more}})

    stored, renewed = secure(), secure(serverName="cloud.example.org", timeout="45s")
    assert relevant(stored.to_json()) == relevant(renewed.to_json())
    assert relevant(stored.to_json()) != relevant(secure(port=9443).to_json())
    assert for_undo(stored, renewed).configuration.original.api.server_name == "cloud.example.org"
    assert for_undo(stored, None).configuration.original.api.server_name is None


def test_a_file_of_another_machine_is_no_error_in_a_state(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    text = site(original={"api": {"url": "https://10.91.0.11:8443/client/api", "caFile": str(authority.file)}}).to_json()
    authority.file.unlink()
    assert Site.from_json(text).configuration.original.api.ca_file == authority.file


@pytest.mark.parametrize(
    ("text", "http", "https"),
    [
        ("", 8080, None),
        ("http.port=8081", 8081, None),
        ("https.enable=true", 8080, 8443),
        ("http.enable=false\nhttps.enable=true\nhttps.port=9443", None, 9443),
        ("http.enable=false", 8080, None),  # neither: CloudStack opens http then
        ("# https.enable=true\nhttps.enable=false", 8080, None),
    ],
)
def test_listeners_as_cloudstack_reads_them(text: str, http: int | None, https: int | None, tmp_path: Path) -> None:
    keystore = tmp_path / "k.p12"
    keystore.touch()
    given = properties.parse(text)
    found, stands = web.listeners(given), connectors.of({**given, "https.keystore": str(keystore)})
    assert (found.http, found.https) == (stands.http, stands.https) == (http, https)
    assert connectors.of({**given, "https.keystore": str(tmp_path / "gone")}).https is None, "without its keystore, and without a word"


def test_the_stand_in_ends_with_a_keystore_that_it_cannot_read(tmp_path: Path) -> None:
    keystore = Authority(tmp_path).keystore("10.91.0.11")
    assert connectors.Connectors(None, 8443, keystore, PASSWORD).context().get_ca_certs() == []
    with pytest.raises(SystemExit):
        connectors.Connectors(None, 8443, keystore, "wrong").context()


@pytest.mark.parametrize(
    ("there", "readable", "problem"),
    [(True, True, ""), (False, False, "there is no /k.p12"), (True, False, "user cloud can't read /k.p12")],
)
def test_the_keystore_is_looked_at_as_the_service_sees_it(there: bool, readable: bool, problem: str) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], ok: Any = (0,)) -> Any:
        asked.append(words)
        return SimpleNamespace(ok=there if words[0] == "test" else readable)

    text = b"https.enable=true\nhttps.keystore=/k.p12\nhttps.keystore.password=secret\n"
    host = cast(Any, SimpleNamespace(read=lambda path: text, run=run))
    assert web.read(host).keystore_problem == "" and not asked, "only where it is about to be used"
    assert web.read_with_keystore(host).keystore_problem == problem
    assert asked[-1][:4] == (["su", "-s", "/bin/sh", "cloud"] if there else ["test", "-e", "/k.p12"])
    nameless = cast(Any, SimpleNamespace(read=lambda path: b"https.enable=true\n", run=run))
    assert web.read_with_keystore(nameless).keystore_problem == "https.keystore names no file"

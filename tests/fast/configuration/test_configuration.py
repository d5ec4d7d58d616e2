"""Every wrong value is named with its key, all at once, before anything is contacted."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from parallel_build.configuration import Phase, load, load_secrets
from parallel_build.database.server.settings import buffer_pool, rehearsal_option_file
from parallel_build.errors import ConfigurationError
from parallel_build.project import PROJECT
from parallel_build.provider.relevance import for_undo
from parallel_build.resolved_stack import Site
from tests.fast.sites import SECRETS, VALUES, site, values


def test_valid_configuration_survives_the_way_through_json() -> None:
    first = site(window={"deadline": "1d 12h"})
    second = Site.from_json(first.to_json())
    assert second == first
    assert second.configuration.window.deadline.total_seconds() == 36 * 3600
    assert second.identity == first.identity


def test_identity_tells_states_of_one_stack_apart() -> None:
    one = site()
    other = Site(one.stack, one.configuration, one.secrets, {"newms1": "ssh-ed25519 BBBB"})
    assert one.identity != other.identity


def test_host_setting_is_the_addresses_or_the_load_balancer() -> None:
    assert site().configuration.host_setting == "10.91.0.41,10.91.0.42"
    assert site(new={"loadBalancer": "10.91.0.99"}).configuration.host_setting == "10.91.0.99"


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"phase": "switchd"}, "phase", "built"),
        ({"surplus": 1}, "surplus", "not known here"),
        ({"new": {"version": "4.20.2.0"}}, "new.version", "not later"),
        ({"new": {"version": 4.22}}, "new.version", "in quotes"),
        ({"new": {"usageOn": "newms9"}}, "new.usageOn", "not one of"),
        ({"new": {"platform": "libvirt"}}, "platforms.libvirt", "missing"),
        ({"new": {"management": []}}, "new.management", "at least 1"),
        ({"new": {"management": [{"name": "oldms1", "address": "10.91.0.41"}]}}, "oldms1", "used twice"),
        ({"new": {"management": [{"name": "x", "address": "10.91.0.13"}]}}, "10.91.0.13", "olddb1"),
        ({"new": {"management": [{"name": "x", "address": "10.91.0"}]}}, "new.management.0.address", "IPv4"),
        ({"new": {"management": [{"name": "x;reboot", "address": "10.91.0.41"}]}}, "new.management.0.name", "host name"),
        ({"original": {"api": {"url": "ftp://x"}}}, "original.api.url", "looks like"),
        ({"window": {"userAccess": {"method": "firewall"}}}, "window.userAccess", "administrators"),
        ({"window": {"userAccess": {"method": "command", "close": ["x"]}}}, "window.userAccess", "open"),
        ({"window": {"userAccess": {"method": "cidr", "administrators": ["10.91.0.1/99"]}}}, "window.userAccess", "10.91.0.1/99"),
        ({"window": {"deadline": "soon"}}, "window.deadline", "2h"),
        ({"window": {"deadline": True}}, "window.deadline", "2h"),
        ({"transfer": {"threads": 0}}, "transfer.threads", "greater than or equal to 1"),
        (
            {"transfer": {"method": "replicate"}, "new": {"database": {**VALUES["new"]["database"], "engine": "mysql"}}},
            "transfer.method",
            "does not serve from mariadb to mysql, the binary logs of MariaDB and MySQL are not compatible in this direction; set it to dump",
        ),
        ({"transfer": {"seed": "clone"}}, "transfer.seed", "logical"),
        ({"transfer": {"seed": "physical", "method": "replicate"}}, "transfer.seed", "serves with transfer.method dump only"),
        (
            {"transfer": {"seed": "physical"}, "new": {"database": {**VALUES["new"]["database"], "engine": "mysql"}}},
            "transfer.seed",
            "does not serve from mariadb to mysql",
        ),
        ({"hypervisorSteps": [{"hosts": ["kvm9"], "command": ["true"]}]}, "hypervisorSteps", "kvm9"),
        ({"ssh": {"identityFile": "${NO_SUCH_VARIABLE_SET}/key"}}, "ssh.identityFile", "NO_SUCH_VARIABLE_SET"),
    ],
)
def test_wrong_value_is_named(changes: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(values(**changes), "test")
    assert key in str(caught.value)
    assert words in str(caught.value)
    assert "nothing has been contacted or changed" in str(caught.value)


def test_all_wrong_values_are_named_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(values(phase="x", transfer={"threads": 0}, window={"deadline": "x"}), "test")
    for key in ("phase", "transfer.threads", "window.deadline"):
        assert key in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://store.example.org/b/t.qcow2.bz2?X-Amz-Credential=AK%2F20261130&X-Amz-Signature=0a1b2c&response-content-type=application/x:y",
        "http://files_of_ours.example.org/t.qcow2",
        "http://192.0.2.1/t.qcow2?",
    ],
)
def test_a_templates_url_may_be_a_signed_one(url: str) -> None:
    template = {"hypervisor": "KVM", "name": "systemvm-kvm-4.22.0-x86_64", "url": url}
    assert load(values(templates=[template]), "test").templates[0].url == url


@pytest.mark.parametrize("tail", ["?a=b#c", "?a=b c", "?a='b'", "?$(id)", "?a;b", '?"'])
def test_no_other_character_gets_into_a_templates_url(tail: str) -> None:
    template = {"hypervisor": "KVM", "name": "systemvm-kvm-4.22.0-x86_64", "url": f"http://192.0.2.1/t.qcow2{tail}"}
    with pytest.raises(ConfigurationError, match=r"templates\.0\.url"):
        load(values(templates=[template]), "test")


def test_the_apis_host_may_have_an_underscore() -> None:
    url = "http://cloud_api.example.org:8080/client/api"
    assert load(values(original={"api": {"url": url}}), "test").original.api.url == url


@pytest.mark.parametrize("name", ["cloudPassword", "replicationPassword", "managementKey"])
@pytest.mark.parametrize("value", ["P@ssw0rd!", "my#key:1x", "100%/~user", "a^b,c*d&e?f"])
def test_a_secret_may_have_what_a_policy_for_passwords_asks_for(name: str, value: str) -> None:
    """CloudStack's own commands never get it."""
    load_secrets({**SECRETS, name: value}, "test")


@pytest.mark.parametrize("value", ["with space", "quote'", "back`tick", "dollar$1234", "short", ""])
def test_secret_that_a_shell_would_tear_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_secrets({**SECRETS, "managementKey": value}, "test")
    assert "managementKey" in str(caught.value)
    assert len(value) < 6 or value not in str(caught.value)


def test_missing_secret_is_named() -> None:
    with pytest.raises(ConfigurationError, match="cloudPassword: this key is missing"):
        load_secrets({name: value for name, value in SECRETS.items() if name != "cloudPassword"}, "test")


def test_phases_are_in_order() -> None:
    assert Phase.SWITCHED.reached(Phase.PREPARED)
    assert not Phase.BUILT.reached(Phase.PREPARED)


def test_paths_are_kept_as_they_are_written_and_each_operator_has_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("CLOUD_KEYS", "/media/ann")
    written = site(ssh={"identityFile": "~/.ssh/id", "knownHosts": "${CLOUD_KEYS}/known"}, runs="runs")
    assert written.configuration.ssh.identity_file == Path("/home/ann/.ssh/id")
    text = written.to_json()
    assert "/home/ann" not in text and "/media/ann" not in text
    monkeypatch.setenv("HOME", "/home/bob")
    monkeypatch.delenv("CLOUD_KEYS")
    elsewhere = Site.from_json(text).configuration
    assert elsewhere.ssh.identity_file == Path("/home/bob/.ssh/id")
    assert str(elsewhere.ssh.known_hosts).endswith("${CLOUD_KEYS}/known"), "what an undo may not need is no error"
    assert elsewhere.runs == PROJECT / "runs"
    assert Site.from_json(text).to_json() == text


def test_an_undo_takes_paths_and_limits_from_who_does_it_and_no_hold_point_of_the_past() -> None:
    stored = site(window={"stopBefore": "Acceptance"}, ssh={"identityFile": "/old"})
    assert for_undo(stored, None).configuration.window.stop_before is None
    continuing = site(window={"stopBefore": "SystemVms"}, ssh={"identityFile": "/mine"})
    assert for_undo(stored, continuing).configuration.window.stop_before == "SystemVms"
    going_back = site(phase="prepared", window={"stopBefore": "SystemVms"}, ssh={"identityFile": "/mine"})
    found = for_undo(stored, going_back).configuration
    assert found.window.stop_before is None
    assert found.ssh.identity_file == Path("/mine")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every object in a document."""
    if isinstance(value, dict):
        return [path, *(found for key, item in value.items() for found in places(item, (*path, key)))]
    if isinstance(value, list):
        return [found for number, item in enumerate(value) for found in places(item, (*path, number))]
    return []


def test_a_stored_stack_of_another_version_is_read_wherever_it_has_a_key_that_is_not_known_here() -> None:
    here = site(
        hypervisorSteps=[{"hosts": ["kvm1"], "command": ["true"]}],
        window={"userAccess": {"method": "command", "close": ["a"], "open": ["b"]}},
    )
    text = here.to_json()
    every = [
        path for path in places(json.loads(text)) if path[-1:] not in (("hostKeys",), ("serverNames",))
    ]  # those two have names of the operator's own
    assert len(every) > 25
    for path in every:
        document = json.loads(text)
        place = document
        for step in path:
            place = place[step]
        place["aKeyOfAnotherVersion"] = {"deep": [1, {"er": True}]}
        again = Site.from_json(json.dumps(document))
        assert again.to_json() == text, path


def test_a_stored_stack_that_can_not_be_read_does_not_blame_the_stack_file() -> None:
    document = json.loads(site().to_json())
    document["configuration"]["window"]["deadline"] = "soon"
    with pytest.raises(ConfigurationError, match=r"(?s)what the state of stack test holds.*window.deadline.*another version"):
        Site.from_json(json.dumps(document))


def test_the_database_packages_follow_the_engine() -> None:
    def packages(**database: object) -> list[str]:
        given = values()
        given["new"]["database"].update(database)
        if database.get("engine") == "mysql":
            given["original"]["database"]["engine"] = "mysql"
        return load(given, "test").new.database.packages

    assert packages() == ["mariadb-server"]
    assert packages(engine="mysql") == ["mysql-server"]
    assert packages(engine="mysql", packages=["mysql8.4-server"]) == ["mysql8.4-server"]


def test_no_facts_are_read_on_hosts_that_have_no_shell() -> None:
    hosts = [
        {"name": name, "address": f"10.91.0.{last}", "kind": name}
        for last, name in ((61, "kvm"), (62, "vmware"), (63, "hyperv"), (64, "xenserver"))
    ]
    configuration = load(values(original={"hypervisors": hosts}), "test")
    everywhere = {server.name for server in configuration.original_servers()}
    assert everywhere - {server.name for server in configuration.asked_servers()} == {"vmware", "hyperv"}


@pytest.mark.parametrize(("platform", "pool", "taken"), [("container", 4095, True), ("container", 4096, False), ("existing", 60000, True)])
def test_a_buffer_pool_fits_into_the_machine(platform: str, pool: int, taken: bool) -> None:
    given = values(
        new={"platform": platform}, platforms={"container": {"folder": "/srv/m", "namespace": "n", "bridge": "br0", "root": "/srv/r"}}
    )
    given["new"]["database"]["bufferPool"] = pool
    if taken:
        load(given, "test")
    else:
        with pytest.raises(ConfigurationError, match=r"new\.database\.bufferPool: 4096 MiB do not fit into the 4096 MiB of newdb1"):
            load(given, "test")


@pytest.mark.parametrize(("pool", "memory", "found"), [(None, 4096, None), (128, 4096, 128), (45000, 4096, None), (45000, 256, None)])
def test_a_rehearsals_server_has_a_buffer_pool_of_its_own_size(pool: int | None, memory: int, found: int | None) -> None:
    """A large one is meant for the new source; with it a small server would not start."""
    given = values()
    machine = {"name": "rehearse", "address": "10.91.0.51", "memory": memory}
    given["rehearsal"] = {"enabled": True, "machine": machine}
    given["new"]["database"] |= {"bufferPool": pool} if pool else {}
    configuration = load(given, "test")
    assert configuration.rehearsal.machine is not None
    values_ = rehearsal_option_file(configuration, configuration.rehearsal.machine).values
    assert int(values_["innodb_buffer_pool_size"]) >> 20 == (found or buffer_pool(memory // 2)) < memory


@pytest.mark.parametrize(
    ("place", "value"),
    [(("rehearsal", "growth"), math.inf), (("rehearsal", "growth"), math.nan), (("original", "database", "admin", "user"), "a\x00b"),
     (("new", "database", "source", "memory"), 10**30), (("new", "database", "source", "disk"), 10**30)],
)  # fmt: skip
def test_what_no_server_can_have_is_refused_by_name(place: tuple[str, ...], value: object) -> None:
    given = values()
    *sections, key = place
    found = given
    for section in sections:
        found = found.setdefault(section, {})
    found[key] = value
    with pytest.raises(ConfigurationError, match=re.escape(".".join(place))):
        load(given, "test")


def test_a_zero_byte_is_found_before_a_command_is_run_with_it() -> None:
    given = values()
    door = {"kind": "haproxy", "address": "10.91.0.60", "servers": ["oldms1"], "close": ["x", "a\0b"], "toNew": ["x"], "toOriginal": ["x"]}
    given["original"]["frontend"] = [door]
    given["window"]["userAccess"] = {"method": "frontend"}
    given["transfer"] = {"renew": "now\0"}
    with pytest.raises(ConfigurationError) as caught:
        load(given, "test")
    for key in ("original.frontend.0.close", "transfer.renew"):
        assert f"{key}: it has a zero byte in it" in str(caught.value)

"""Malformed configurations and hostile values: each is refused by name before anything is contacted, and none is shown as a traceback.

What only servers can reveal - sides swapped, a wrong key, a database that is the original's - is refused by guards, on facts.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.configuration import load_secrets
from parallel_build.configuration.stack_values import parse, refuse_clear
from parallel_build.errors import ConfigurationError, GuardFailed
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD, RUNNING, new
from tests.fast.sites import SECRETS, values
from tests.fast.sites import site as make_site

OLD_MS = {"name": "oldms1", "address": "10.91.0.11"}
PAIR = {"source": {"name": "newdb1", "address": "10.91.0.31"}, "replica": {"name": "newdb2", "address": "10.91.0.32"}}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHj4Z8Xn1C0y3mJt6rYp0JmN3m5g4x5lq7Xo9c1mW2aB"
TEMPLATE = {"hypervisor": "KVM", "name": "systemvm-kvm-4.22.0-x86_64", "url": "http://192.0.2.1/t.qcow2"}


def server(**changes: Any) -> dict[str, Any]:
    """The section `original` with one management server that is changed."""
    return {"original": {"management": [{**OLD_MS, **changes}]}}


def machine(**changes: Any) -> dict[str, Any]:
    """The section `new` with one management server that is changed."""
    return {"new": {"management": [{"name": "newms1", "address": "10.91.0.41", **changes}]}}


def api(**changes: Any) -> dict[str, Any]:
    """The section `original` with an API described otherwise."""
    return {"original": {"api": {"url": "http://10.91.0.11:8080/client/api", **changes}}}


def access(**changes: Any) -> dict[str, Any]:
    return {"window": {"userAccess": {"method": "firewall", "administrators": ["10.91.0.1/32"], **changes}}}


# What is written -> the key that the error names.
PLAIN: list[tuple[dict[str, Any], str]] = [
    # Wrong kinds.
    ({"phase": ""}, "phase"),
    ({"phase": "Switched"}, "phase"),
    ({"original": []}, "original"),
    ({"original": "oldms1"}, "original"),
    ({"new": None}, "new"),
    ({"window": 3}, "window"),
    ({"templates": {"name": "x"}}, "templates"),
    ({"hypervisorSteps": "true"}, "hypervisorSteps"),
    ({"hypervisorSteps": [{"hosts": ["kvm1"], "command": "rm -rf /"}]}, "hypervisorSteps.0.command"),
    ({"hypervisorSteps": [{"hosts": [], "command": ["true"]}]}, "hypervisorSteps.0.hosts"),
    ({"acceptance": {"commands": ["true"]}}, "acceptance.commands.0"),
    (access(method="command", close="lb out", open=["lb"]), "window.userAccess.close"),
    ({"transfer": {"threads": "4"}}, "transfer.threads"),
    ({"transfer": {"threads": True}}, "transfer.threads"),
    ({"transfer": {"threads": 1.5}}, "transfer.threads"),
    ({"transfer": {"threads": -1}}, "transfer.threads"),
    ({"transfer": {"method": "rsync"}}, "transfer.method"),
    ({"window": {"forceRollback": "no"}}, "window.forceRollback"),
    ({"window": {"forceRollback": 1}}, "window.forceRollback"),
    ({"original": {"database": {"source": {"name": "a", "address": "10.0.0.1"}, "engine": "postgres"}}}, "original.database.engine"),
    ({"agents": {"method": "ask"}}, "agents.method"),
    # Keys that are not known, in several depths.
    ({"windows": {}}, "windows"),
    ({"window": {"dead_line": "1h"}}, "window.dead_line"),
    (server(adress="10.0.0.1"), "original.management.0.adress"),
    ({"cloudPasswort": "x"}, "cloudPasswort"),
    ({"new": {"database": {**PAIR, "bufferpool": 64}}}, "new.database.bufferpool"),
    # Versions.
    ({"new": {"version": 4.22}}, "new.version"),
    ({"new": {"version": "4.22.1.0; reboot"}}, "new.version"),
    ({"new": {"version": "4.19.0.0"}}, "new.version"),
    ({"original": {"version": ""}}, "original.version"),
    # Names, with what a shell, ssh, a path or an eye would trip over.
    (server(name="oldms1;reboot"), "original.management.0.name"),
    (server(name="$(reboot)"), "original.management.0.name"),
    (server(name="../../etc/x"), "original.management.0.name"),
    (server(name="-oProxyCommand=reboot"), "original.management.0.name"),
    (server(name="оldms1"), "original.management.0.name"),  # begins with a Cyrillic letter
    (server(name="OLDMS1"), "original.management.0.name"),
    (server(name="a" * 64), "original.management.0.name"),
    (server(name="oldms1\n"), "original.management.0.name"),
    (server(name=""), "original.management.0.name"),
    (machine(name="oldms1"), "oldms1"),
    (machine(name="newdb2"), "newdb2"),
    # Addresses.
    (server(address="oldms1.example.com"), "original.management.0.address"),
    (server(address="10.91.0.11:8080"), "original.management.0.address"),
    (server(address="10.91.0.011"), "original.management.0.address"),
    (server(address="0.0.0.0"), "original.management.0.address"),
    (server(address="127.0.0.1"), "original.management.0.address"),
    (server(address="224.0.0.1"), "original.management.0.address"),
    (server(address="fe80::1%eth0"), "original.management.0.address"),
    (server(address="10.91.0.11' OR '1'='1"), "original.management.0.address"),
    (server(address=174784523), "original.management.0.address"),
    (machine(address="10.91.0.11"), "10.91.0.11"),
    (machine(address="10.91.0.31"), "10.91.0.31"),
    ({"new": {"database": {**PAIR, "source": {"name": "newdb1", "address": "10.91.0.13"}}}}, "olddb1"),
    ({"new": {"database": {**PAIR, "replica": PAIR["source"]}}}, "newdb1"),
    ({"new": {"loadBalancer": "10.91.0.99; reboot"}}, "new.loadBalancer"),
    ({"new": {"loadBalancer": "10.91.0.11"}}, "new.loadBalancer"),
    ({"new": {"network": {"prefix": 64.5}}}, "new.network.prefix"),
    ({"new": {"network": {"gateway": "the router"}}}, "new.network.gateway"),
    ({"new": {"network": {"dns": ["8.8.8.8\nnameserver 6.6.6.6"]}}}, "new.network.dns.0"),
    ({"new": {"network": {"timeServers": ["ntp.example.com; reboot"]}}}, "new.network.timeServers.0"),
    ({"new": {"network": {"timeServers": ["192.0.2.3 iburst\nallow all"]}}}, "new.network.timeServers.0"),
    ({"new": {"network": {"timeServers": ["999.1.1.1"]}}}, "new.network.timeServers.0"),
    ({"new": {"network": {"timeServers": "192.0.2.3"}}}, "new.network.timeServers"),
    # SSH.
    (server(sshHost="-oProxyCommand=touch /tmp/x"), "original.management.0.sshHost"),
    (server(sshHost="jump host"), "original.management.0.sshHost"),
    (server(sshUser="root; reboot"), "original.management.0.sshUser"),
    (server(sshPort=0), "original.management.0.sshPort"),
    (server(sshPort=70000), "original.management.0.sshPort"),
    (server(sshPort="22"), "original.management.0.sshPort"),
    (server(hostKey="AAAA"), "original.management.0.hostKey"),
    (server(hostKey=f"{KEY}\n@cert-authority * {KEY}"), "original.management.0.hostKey"),
    ({"ssh": {"user": "-l root"}}, "ssh.user"),
    ({"ssh": {"identityFile": "${SURELY_NOT_SET_ANYWHERE}/id"}}, "ssh.identityFile"),
    ({"ssh": {"identityFile": "~nobody-by-this-name/id"}}, "ssh.identityFile"),
    ({"ssh": {"knownHosts": "a\u0000b"}}, "ssh.knownHosts"),
    ({"ssh": {"configFile": ""}}, "ssh.configFile"),
    ({"window": {"confirmedDown": ["kvm1"]}}, "window.confirmedDown"),
    # Urls.
    ({"original": {"api": {"url": "10.91.0.11:8080/client/api"}}}, "original.api.url"),
    ({"original": {"api": {"url": "http://admin:password@10.91.0.11/client/api"}}}, "original.api.url"),
    ({"original": {"api": {"url": "http://10.91.0.11:99999/client/api"}}}, "original.api.url"),
    ({"original": {"api": {"url": "http://10.91.0.11/client/api?command=x"}}}, "original.api.url"),
    ({"original": {"api": {"url": "http://10.91.0.11/client/api\nX: y"}}}, "original.api.url"),
    (access(probe={"source": "10.91.0.200", "url": "https://cloud:0/client/api"}), "window.userAccess.probe.url"),
    # How the API's certificates are checked.
    (api(scheme="HTTPS"), "original.api.scheme"),
    (api(scheme="https; reboot"), "original.api.scheme"),
    (api(scheme=True), "original.api.scheme"),
    (api(scheme="https", port="8443"), "original.api.port"),
    (api(scheme="https", port=0), "original.api.port"),
    (api(scheme="https", port=65536), "original.api.port"),
    (api(scheme="https", port=8250), "original.api.port"),
    ({"new": {"api": {"port": 9090}}}, "new.api.port"),
    (api(scheme="https", verify=False), "original.api.verify"),
    (api(scheme="https", allowUnverifiedTls=True), "original.api.allowUnverifiedTls"),
    ({"new": {"api": {"url": "https://10.91.0.41:8443/client/api"}}}, "new.api.url"),
    ({"new": {"api": "https"}}, "new.api"),
    (api(scheme="https", caFile="surely-not-there.pem"), "original.api.caFile"),
    (api(scheme="https", caFile="README.md"), "original.api.caFile"),
    (api(scheme="https", caFile="docs"), "original.api.caFile"),
    (api(scheme="https", caFile="/dev/null"), "original.api.caFile"),
    (api(scheme="https", caFile="${SURELY_NOT_SET_ANYWHERE}/ca.pem"), "original.api.caFile"),
    (api(scheme="https", caFile=True), "original.api.caFile"),
    ({"new": {"api": {"scheme": "https", "caFile": "README.md"}}}, "new.api.caFile"),
    (api(scheme="https", serverName="*.example.org"), "original.api.serverName"),
    (api(scheme="https", serverName="cloud.example.org\nproxy = evil"), "original.api.serverName"),
    (api(scheme="https", serverName='cloud" -o /etc/passwd'), "original.api.serverName"),
    (api(scheme="https", serverName=""), "original.api.serverName"),
    (api(scheme="https", serverNames={"oldms1": "$(reboot)"}), "original.api.serverNames.oldms1"),
    (api(scheme="https", serverNames={"oldms9": "a.example.org"}), "original.api.serverNames: oldms9 is not one of original.management"),
    ({"new": {"api": {"scheme": "https", "serverNames": {"oldms1": "a.example.org"}}}}, "new.api.serverNames: oldms1"),
    # What would look like a check and be none.
    (api(serverName="cloud.example.org"), "original.api.serverName: it is about certificates, and nothing is called by https"),
    ({"new": {"api": {"serverName": "cloud.example.org"}}}, "new.api.serverName: it is about certificates"),
    ({"templates": [{**TEMPLATE, "url": "file:///etc/shadow"}]}, "templates.0.url"),
    ({"templates": [{**TEMPLATE, "url": "http://192.0.2.1/t.qcow2;reboot"}]}, "templates.0.url"),
    ({"templates": [{**TEMPLATE, "url": "http://user@192.0.2.1/t.qcow2"}]}, "templates.0.url: a template's url has a user or password in it"),
    ({"templates": [{**TEMPLATE, "url": "HTTPS://user:p@ss@192.0.2.1/t.qcow2"}]}, "put the file on a web server that asks for none"),
    ({"templates": [{**TEMPLATE, "name": "x'; DROP TABLE cloud.host; --"}]}, "templates.0.name"),
    ({"templates": [{**TEMPLATE, "checksum": "none"}]}, "templates.0.checksum"),
    ({"templates": [{**TEMPLATE, "hypervisor": "kvm"}]}, "templates.0.hypervisor"),
    # Packages, which reach apt's command line.
    ({"new": {"packages": {"names": ["cloudstack-management", "-oDPkg::Pre-Invoke::=reboot"]}}}, "new.packages.names.1"),
    ({"new": {"packages": {"names": ["x; reboot"]}}}, "new.packages.names.0"),
    ({"new": {"packages": {"names": []}}}, "new.packages.names"),
    ({"new": {"packages": {"repository": "deb http://192.0.2.1 ./\ndeb [trusted=yes] http://198.51.100.1 ./"}}}, "new.packages.repository"),
    ({"new": {"packages": {"repository": "http://192.0.2.1"}}}, "new.packages.repository"),
    ({"new": {"database": {**PAIR, "packages": ["mariadb-server$(reboot)"]}}}, "new.database.packages.0"),
    ({"new": {"database": {**PAIR, "port": 65536}}}, "new.database.port"),
    # Times and limits.
    ({"window": {"deadline": "-5m"}}, "window.deadline"),
    ({"window": {"deadline": "0s"}}, "window.deadline"),
    ({"window": {"deadline": "1h 2x"}}, "window.deadline"),
    ({"window": {"deadline": "999999999999d"}}, "window.deadline"),
    ({"window": {"rollbackWindow": 1e300}}, "window.rollbackWindow"),
    ({"window": {"startTimeout": None}}, "window.startTimeout"),
    ({"window": {"parallelRestarts": 0}}, "window.parallelRestarts"),
    ({"window": {"stopBefore": "Window"}}, "window.stopBefore"),
    ({"window": {"stopBefore": "first-management"}}, "window.stopBefore"),
    # Who keeps access in the window.
    (access(administrators=["10.91.0.1/32; accept"]), "window.userAccess"),
    (access(administrators=["10.91.0.1/24"]), "window.userAccess"),
    (access(administrators=["0.0.0.0/0"]), "window.userAccess"),
    (access(administrators=[]), "window.userAccess"),
    ({"new": {"usageOn": "newdb1"}}, "new.usageOn"),
    ({"new": {"packages": {"repository": "deb [signed-by=/etc/apt/keyrings/x.asc] https://example.org/apt jammy 4.22", "key": "KEY"}}}, "new.packages"),
    ({"new": {"platform": "vsphere"}}, "platforms.vsphere"),
    ({"agents": {"method": "file"}, "original": {"hypervisors": []}}, "agents.method"),
]  # fmt: skip

SECRET: list[tuple[str, str | None]] = [
    ("originalApiKey", ""),
    ("originalApiSecret", None),
    ("originalApiKey", "key with a space"),
    ("originalApiSecret", "line\nend"),
    ("cloudPassword", ""),
    ("cloudPassword", "x' OR '1'='1"),
    ("cloudPassword", "pässwörter1"),
    ("replicationPassword", "`reboot`1234"),
    ("managementKey", "$(reboot)123"),
    ("databaseKey", "line\nend"),
    ("databaseKey", ""),
]


def texts(changes: dict[str, Any]) -> dict[str, str]:
    """The values as Pulumi has them."""
    return {**{key: value if isinstance(value, str) else json.dumps(value) for key, value in values(**changes).items()}, **SECRETS}


def test_there_are_enough_of_them() -> None:
    assert len(PLAIN) + len(SECRET) >= 60


@pytest.mark.parametrize(("changes", "key"), PLAIN, ids=[f"{number}-{key}" for number, (_, key) in enumerate(PLAIN)])
def test_value_is_refused_by_name(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(texts(changes), "test")
    reported = str(caught.value)
    assert key in reported
    assert "stacks/Pulumi.test.yaml can't be used" in reported
    assert "Remedy: correct these" in reported and "nothing has been contacted or changed" in reported
    assert not [secret for secret in SECRETS.values() if secret in reported]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"new": {"database": {"source": PAIR["source"]}}}, "new.database.replica: this key is missing; from the switch on it is the only second copy"),
        ({"new": {"database": {**PAIR, "replica": None}}}, "new.database.replica: this key is missing; from the switch on it is the only second copy"),
        ({"original": {"usage": [{"name": "usage1", "address": "10.91.0.11"}]}}, "usage: true in original.management.0, and leave this one out"),
        (server(name="olddb1", address="10.91.0.13"), "with one address and two names, such as olddb1 and olddb1-db"),
        (machine(address="10.91.0.31"), "no management server may have a database server on it"),
        ({"original": {"database": {"source": {"name": "olddb1", "address": "10.91.0.13"}, "admin": {"optionFile": "~/.my.cnf"}}}}, "write it from / on"),
    ],
)  # fmt: skip
def test_what_small_clouds_write_has_a_remedy_that_can_be_followed(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(texts(changes), "test")
    assert words in str(caught.value)
    assert "default factory" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), SECRET)
def test_secret_is_refused_by_name_and_never_shown(name: str, value: str | None) -> None:
    given = texts({})
    given.pop(name, None)
    if value is not None:
        given[name] = value
    with pytest.raises(ConfigurationError) as caught:
        parse(given, "test")
    assert name in str(caught.value)
    assert "nothing has been contacted or changed" in str(caught.value)
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("key", ["secret", "P@ssw0rd!", "my#key:1", "Some&Crazy&$ key", "schlüssel"])
def test_the_key_of_the_originals_values_is_taken_as_it_is(key: str) -> None:
    found = load_secrets({**SECRETS, "databaseKey": key}, "test").database_key
    assert found is not None and found.reveal() == key


@pytest.mark.parametrize(
    "changes",
    [
        server(sshHost="jump-to.oldms1", sshUser="cloud-admin", sshPort=2222, hostKey=KEY),
        server(address="2001:db8::11"),
        {"new": {"loadBalancer": "cloud.example.com"}},
        {"new": {"network": {"prefix": 24, "gateway": "10.91.0.1", "dns": ["10.91.0.1", "2001:db8::1"]}}},
        {"original": {"api": {"url": "https://[2001:db8::11]:8443/client/api"}}},
        {"templates": [{**TEMPLATE, "checksum": "{SHA-512}" + "ab" * 64}]},
        {"window": {"deadline": "1d 12h", "stopBefore": "FirstManagement"}},
        {"new": {"packages": {"repository": "deb [signed-by=/usr/share/keyrings/x.gpg] https://example.org/apt jammy 4.22"}}},
    ],
)
def test_what_is_right_is_taken(changes: dict[str, Any]) -> None:
    parse(texts(changes), "test")


# What only servers can tell -> the guards that refuse it.
HOSTILE_FACTS: dict[str, tuple[Any, Any, set[str]]] = {
    "the new source is the original's": (
        GOOD_OLD,
        replace(GOOD_NEW, tables={"cloud": 366, "cloud_usage": 40}, database_users=["10.91.0.11"], addresses={"newdb1": ["10.91.0.13"]}),
        {"databases_are_empty", "nobody_uses_the_new_database", "sides_are_apart"},
    ),
    "the sides are swapped": (
        replace(GOOD_OLD, version="", problems=["olddb1: Table 'cloud.version' doesn't exist"]),
        replace(new(units=RUNNING, open_ports=[8080, 8250]), tables={"cloud": 366, "cloud_usage": 40}),
        {"everything_was_read", "services_are_fenced", "databases_are_empty"},
    ),
    "source and replica of the original are swapped": (
        replace(GOOD_OLD, replicates_from="10.91.0.14", read_only=True), GOOD_NEW, {"source_is_the_source"},
    ),
    "a new server was set up against the original's database": (GOOD_OLD, new(database_host="olddb1"), {"never_the_old_database"}),
    "the database key is another cloud's": (
        replace(GOOD_OLD, key_problem=GuardFailed("the database key does not fit", "another key", "correct it")), GOOD_NEW, {"database_key_fits"},
    ),
    "another version runs than was configured": (replace(GOOD_OLD, version="4.19.1.0"), GOOD_NEW, {"version_is_the_configured_one"}),
    "the packages are another release": (GOOD_OLD, new(package="4.23.0.0"), {"target_is_installed"}),
    "a management server was forgotten": (
        replace(GOOD_OLD, management=[*GOOD_OLD.management, {"name": "x", "service_ip": "10.91.0.99", "state": "Up", "version": "4.20.3.0", "age": 3}]),
        GOOD_NEW,
        {"management_servers_are_known"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE_FACTS)
def test_what_servers_reveal_is_refused_by_guards(what: str) -> None:
    old, fresh, expected = HOSTILE_FACTS[what]
    failing = {guard.name for guard in guards.GUARDS if guards.failures(make_site(), old, fresh, [guard])}
    assert failing == expected


def test_secrets_in_the_clear_are_refused_by_name() -> None:
    refuse_clear({"phase": "", **SECRETS}, SECRETS, "stacks/Pulumi.test.yaml")
    with pytest.raises(ConfigurationError) as caught:
        refuse_clear([*SECRETS, "vspherePassword"], set(SECRETS) - {"managementKey"}, "stacks/Pulumi.test.yaml")
    assert "managementKey, vspherePassword in stacks/Pulumi.test.yaml are in the clear" in str(caught.value)
    assert "pulumi config set --secret managementKey" in str(caught.value)

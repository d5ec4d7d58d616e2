"""State outside the database: what the script finds on a server, what stays on it, and what the rules make of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.health import Finding, HealthFacts, Severity, examine, server_files
from parallel_build.health.file_places import counts, used_for
from parallel_build.health.scoped import Setting, local_path
from parallel_build.health.server_files import ServerFiles, parse, same_zone
from parallel_build.rules import RuleFinding
from tests.fast.health.test_health import REACHED, facts, settings

RULES = {
    "files_come_from_packages",
    "properties_are_on_new_servers",
    "java_trusts_the_same",
    "time_zones_agree",
    "paths_in_settings_are_there",
}
DB, SERVER = "/etc/cloudstack/management/db.properties", "/etc/cloudstack/management/server.properties"


def run(places: list[Path], properties: list[Path], paths: list[str] = [], *, tools: Path, salt: str = "salt") -> str:  # noqa: B006 - only read
    """The script on this machine, with its places elsewhere."""
    argv = ["sh", "-s", "--", salt, *map(str, places), "--", *map(str, properties), "--", *paths]
    environment = {
        "PATH": f"{tools}:/usr/bin:/bin:/usr/sbin:/sbin",
        **{name: value for name, value in os.environ.items() if name.startswith("DPKG")},
    }
    done = subprocess.run(
        argv, input="set -eu\n" + server_files.READ, env=environment, text=True, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tool(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A server's files, and a folder `tools` before the path."""
    for name in ("etc/META-INF/cloudstack/event", "etc/empty", "tools"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/log4j-cloud.xml").write_text("changed")
    (tmp_path / "etc/META-INF/cloudstack/event/spring-event-bus-context.xml").write_text("<beans/>")
    (tmp_path / "etc/key").write_text("management key")
    (tmp_path / "etc/name with blanks.jks").write_text("x")
    (tmp_path / "etc/db.properties").write_text(
        "# comment\ndb.cloud.password=ENC(secret)\ndb.cloud.url.params=a=b&serverTimezone=\\\n  Europe/Zurich\ncolon : value\n\n"
    )
    for name in ("keytool", "dpkg", "dpkg-query", "rpm"):
        tool(tmp_path / "tools", name, "exit 1")
    return tmp_path


RPM = """case $1 in
-qa) echo cloudstack-common-4.20.3.0-1.noarch; echo cloudstack-management-4.20.3.0-1.noarch;;
-qf) shift
  for f; do case $f in
    --) ;;
    */log4j-cloud.xml) echo cloudstack-management-4.20.3.0-1.noarch;;
    *) echo "file $f is not owned by any package";;
  esac; done; exit 1;;
-V) echo 'S.5....T.  c SERVER/etc/log4j-cloud.xml'; echo '.M...UG..    SERVER/etc/empty'; echo 'missing     SERVER/etc/gone.sh'; exit 1;;
esac"""


def rpm(server: Path) -> None:
    """A server of the rpm family that knows one of the files."""
    tool(server / "tools", "rpm", RPM.replace("SERVER", str(server)))


def test_an_rpm_server(server: Path) -> None:
    rpm(server)
    shown = run([server / "etc"], [server / "etc/db.properties"], ["/etc/passwd", "/surely/not"], tools=server / "tools")
    found = parse(shown)
    etc = f"{server}/etc"
    assert found.family == "rpm" and not found.truncated
    assert found.changed == {f"{etc}/log4j-cloud.xml": "differs from its package", f"{etc}/gone.sh": "is gone"}
    assert found.foreign == {
        f"{etc}/{name}"
        for name in ("META-INF/cloudstack/event/spring-event-bus-context.xml", "key", "name with blanks.jks", "db.properties")
    }
    assert set(found.digests) == {*found.foreign, f"{etc}/log4j-cloud.xml"}
    assert found.paths == {"/etc/passwd"}
    assert set(found.properties[f"{etc}/db.properties"]) == {"db.cloud.password", "db.cloud.url.params", "colon"}
    assert found.timezone[0] and found.timezone[1][0] in "+-"


def test_the_link_that_the_packages_script_makes_is_nobodys_own(server: Path) -> None:
    rpm(server)
    link, package = server / "etc/log4j2.xml", server / "etc/log4j-cloud.xml"

    def foreign() -> bool:
        return str(link) in parse(run([server / "etc"], [], tools=server / "tools")).foreign

    for target in (package, Path("log4j-cloud.xml")):  # Debian's script makes the first kind, EL's the second
        link.symlink_to(target)
        assert not foreign()
        link.unlink()
    link.symlink_to(server / "etc/key")
    assert foreign(), "it leads elsewhere"
    link.unlink()
    link.write_text("changed")
    assert foreign(), "a file in the link's place"


@pytest.mark.processes
def test_no_secret_leaves_the_server(server: Path) -> None:
    rpm(server)
    shown = run([server / "etc"], [server / "etc/db.properties"], tools=server / "tools")
    assert not any(word in shown for word in ("ENC(secret)", "management key", "serverTimezone", "Zurich"))
    other = run([server / "etc"], [server / "etc/db.properties"], tools=server / "tools", salt="another")
    one, two = parse(shown).properties, parse(other).properties
    assert one.keys() == two.keys() and one != two, "a digest is good for one run only"
    assert parse(run([server / "etc"], [server / "etc/db.properties"], tools=server / "tools")).properties == one


def test_a_server_without_either_package_manager(server: Path) -> None:
    found = parse(run([server / "etc", server / "nowhere-*"], [server / "nothing"], tools=server / "tools"))
    assert (found.family, found.foreign, found.changed, found.properties) == ("none", frozenset(), {}, {})


@pytest.mark.skipif(shutil.which("dpkg-deb") is None or os.geteuid() != 0, reason="installs a package into a folder: needs dpkg and root")
@pytest.mark.engine
def test_a_debian_server_with_a_real_package(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, database = server / "package", server / "dpkg"
    etc = package / str(server / "etc").lstrip("/")
    (package / "DEBIAN").mkdir(parents=True)
    etc.mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: cloudstack-management\nVersion: 4.20.3.0\nArchitecture: all\nMaintainer: nobody <x@example.test>\nDescription: x\n"
    )
    (package / "DEBIAN/conffiles").write_text(f"{server}/etc/log4j-cloud.xml\n{server}/etc/as-shipped.xml\n")
    for name in ("log4j-cloud.xml", "as-shipped.xml"):
        (etc / name).write_text("as shipped")
    (server / "etc/log4j-cloud.xml").unlink()
    for name in ("info", "updates", "parts"):
        (database / name).mkdir(parents=True)
    (database / "status").touch()
    subprocess.run(["dpkg-deb", "-b", str(package), str(server / "x.deb")], check=True, capture_output=True)
    for name in ("dpkg", "dpkg-query"):
        (server / "tools" / name).unlink()
    monkeypatch.setenv("DPKG_ADMINDIR", str(database))
    subprocess.run(["dpkg", "--force-all", "-i", str(server / "x.deb")], check=True, capture_output=True)
    (server / "etc/log4j-cloud.xml").write_text("changed")
    found = parse(run([server / "etc"], [], tools=server / "tools"))
    assert found.family == "deb"
    assert found.changed == {f"{server}/etc/log4j-cloud.xml": "differs from its package"}
    assert f"{server}/etc/as-shipped.xml" not in found.foreign and f"{server}/etc/log4j-cloud.xml" not in found.foreign
    assert f"{server}/etc/name with blanks.jks" in found.foreign
    (server / "etc/as-shipped.xml").unlink()
    assert parse(run([server / "etc"], [], tools=server / "tools")).changed[f"{server}/etc/as-shipped.xml"] == "is gone"


@pytest.mark.skipif(shutil.which("keytool") is None, reason="needs a JDK's keytool")
@pytest.mark.engine
def test_a_certificate_that_was_added_to_javas_trust_store(server: Path) -> None:
    store = server / "java/lib/security/cacerts"
    (server / "java/bin").mkdir(parents=True)
    store.parent.mkdir(parents=True)
    options = ["-keystore", str(store), "-storepass", "changeit"]
    subprocess.run(
        ["keytool", "-genkeypair", "-alias", "x", "-dname", "CN=x", "-keyalg", "EC", "-keystore", str(server / "x.p12"), "-storepass", "changeit"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem = subprocess.run(
        ["keytool", "-exportcert", "-rfc", "-alias", "x", "-keystore", str(server / "x.p12"), "-storepass", "changeit"],
        check=True,
        capture_output=True,
    ).stdout
    subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "corp-ldap", *options], input=pem, check=True, capture_output=True)
    tool(server / "java/bin", "java", "exit 0")
    (server / "tools/java").symlink_to(server / "java/bin/java")
    (server / "tools/keytool").unlink()
    found = parse(run([server / "etc"], [], tools=server / "tools"))
    assert found.truststore == str(store)
    (mark,) = found.trusted
    assert mark == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()
    bundle = any(
        Path(each).exists() for each in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
    )
    assert found.added == ({mark: "corp-ldap"} if bundle else {})


def test_rpms_and_dpkgs_lines() -> None:
    shown = (
        "family deb\nchanged ??5?????? c /etc/a b.xml\nchanged ??5??????   /usr/x.jar\nchanged missing   c /etc/gone (Permission denied)\n"
        "changed .M...UG..    /etc/mode\nchanged SM5....T.  c /etc/both\nchanged Unsatisfied dependencies for x\n"
    )
    assert parse(shown).changed == {
        "/etc/a b.xml": "differs from its package", "/usr/x.jar": "differs from its package", "/etc/gone": "is gone",
        "/etc/both": "differs from its package",
    }  # fmt: skip


def test_keytools_words_of_both_kinds() -> None:
    shown = (
        "bundle \ntruststore /x\nkeytool corp, ldap, Nov 2, 2026, trustedCertEntry, \nkeytool Certificate fingerprint (SHA-256): AA:0B\n"
        "keytool old, 2.11.2026, trustedCertEntry, \nkeytool Certificate fingerprint (SHA1): cc:0d\n"
    )
    assert parse(shown).trusted == {"aa0b", "cc0d"}
    assert parse(shown).added == {}, "without the distribution's own list nothing is known to be added"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/cloudstack/management/key", DB, "/etc/cloudstack/management/db.properties.shipped", "/etc/cloudstack/management/x.xml.dpkg-dist",
        "/etc/cloudstack/usage/db.properties", "/etc/default/cloudstack-management.rpmnew",
        "/usr/share/cloudstack-common/scripts/vm/systemvm/id_rsa.cloud", "/usr/share/cloudstack-common/scripts/installer/cloudstack-help-text",
        "/usr/share/doc/cloudstack-common/changelog.gz", "/usr/share/man/man1/cloudstack.1.gz",
    ],
)  # fmt: skip
def test_what_set_up_and_package_managers_write_is_nobodys_own(path: str) -> None:
    assert not counts(path)
    assert ServerFiles(foreign=frozenset({path}), changed={path: "differs from its package"}).own == {}


def test_where_the_usage_check_continues_counts_once_it_has_moved() -> None:
    path = "/usr/local/libexec/sanity-check-last-id"
    for content, own in (("1\n", {}), ("4711\n", {path: "belongs to no package"})):
        digest = hashlib.sha256(content.encode()).hexdigest()
        assert ServerFiles(foreign=frozenset({path}), digests={path: digest}).own == own
    assert ServerFiles(foreign=frozenset({path})).own == {path: "belongs to no package"}, "one that could not be read"


@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("/etc/cloudstack/management/META-INF/cloudstack/core/spring-event-bus-context.xml", "modules such as an event bus"),
        ("/etc/cloudstack/management/kafka.producer.properties", "event bus"),
        ("/etc/cloudstack/management/corp-ldap.jks", "Java key store"),
        ("/etc/cloudstack/management/log4j-cloud.xml", "logging"),
        ("/etc/cloudstack/management/config.json", "user interface"),
        ("/usr/share/cloudstack-management/webapp/assets/logo.svg", "user interface"),
        ("/etc/cloudstack/extensions/own/own.sh", "extensions"),
        ("/etc/default/cloudstack-management", "JVM and service options"),
        ("/etc/systemd/system/cloudstack-management.service.d/heap.conf", "the service's unit"),
        ("/usr/share/cloudstack-management/lib/mysql-own.jar", "class path"),
        ("/usr/share/cloudstack-common/scripts/vm/hypervisor/xenserver/vhd-util", "XenServer"),
        ("/usr/local/share/ca-certificates/corp.crt", "certificate authority"),
        ("/etc/cloudstack/management/whatever", ""),
    ],
)
def test_what_files_are_for(path: str, use: str) -> None:
    assert counts(path) and used_for(path) == use


EVENT_BUS = "/etc/cloudstack/management/META-INF/cloudstack/core/spring-event-bus-context.xml"
CLEAN = ServerFiles(
    family="deb",
    timezone=("Etc/UTC", "+0000"),
    properties={DB: {"db.cloud.url.params": "a", "db.cloud.password": "b"}, SERVER: {"http.port": "c"}},
)
NEW = replace(CLEAN, properties={DB: {"db.cloud.url.params": "a", "db.cloud.password": "other"}, SERVER: {"http.port": "c"}})


def known(old: ServerFiles = CLEAN, new: ServerFiles | None = NEW, **changes: Any) -> HealthFacts:
    return facts(files={"oldms1": old, "oldms2": CLEAN}, new_files=new, **changes)


def found(of: HealthFacts) -> list[Finding[RuleFinding]]:
    return [each for each in examine(of) if each.rule in RULES]


def test_a_server_as_its_packages_brought_it_has_no_finding() -> None:
    assert found(known()) == []
    assert not RULES & set(examine(known()).not_judged)
    assert not RULES & set(examine(facts()).not_judged), "of servers that could not be asked there is a finding already"


def test_files_of_its_own_are_reported_until_the_new_servers_have_them() -> None:
    own = replace(
        CLEAN,
        foreign=frozenset({EVENT_BUS}),
        changed={"/etc/default/cloudstack-management": "differs from its package"},
        digests={EVENT_BUS: "d"},
    )
    (reported,) = found(known(own))
    assert (reported.rule, reported.severity) == ("files_come_from_packages", Severity.WARNS)
    assert reported.fact == (
        "oldms1 has files of its own: /etc/cloudstack/management/META-INF/cloudstack/core/spring-event-bus-context.xml "
        "(modules such as an event bus, belongs to no package), /etc/default/cloudstack-management (JVM and service options, differs from its package)"
    )
    (rest,) = found(known(own, replace(NEW, digests={EVENT_BUS: "d"})))
    assert EVENT_BUS not in rest.fact and "/etc/default" in rest.fact
    (other,) = found(known(own, replace(NEW, digests={EVENT_BUS: "another"})))
    assert EVENT_BUS in other.fact


def test_what_is_not_known_is_not_judged() -> None:
    assert (
        "neither dpkg nor rpm knows CloudStack on oldms1"
        in examine(known(replace(CLEAN, family="none"))).not_judged["files_come_from_packages"]
    )
    unjudged = examine(known(new=None)).not_judged
    assert set(unjudged) & RULES == {"properties_are_on_new_servers", "time_zones_agree"}
    assert [each.rule for each in found(known(replace(CLEAN, truncated=True)))] == ["files_come_from_packages"]


def test_a_new_server_without_packages_lacks_no_key_yet() -> None:
    """A server of platform `existing` is reached before anything is installed on it."""
    report = examine(known(new=replace(NEW, family="none", properties={})))
    assert "no package yet" in report.not_judged["properties_are_on_new_servers"]
    assert "properties_are_on_new_servers" not in {each.rule for each in report.findings}


def test_keys_of_properties_are_compared_without_their_values() -> None:
    own = replace(
        CLEAN,
        properties={DB: {"db.cloud.url.params": "z", "db.cloud.password": "y", "cluster.node.IP": "i"}, SERVER: {"session.timeout": "s"}},
    )
    missing, other = sorted(found(known(own)), key=lambda each: each.severity is Severity.NOTES)
    assert (missing.severity, other.severity) == (Severity.WARNS, Severity.NOTES)
    assert "server.properties on oldms1 has keys that the new servers do not have: session.timeout" in missing.fact
    assert "db.properties on oldms1 has other values than on the new servers: db.cloud.url.params" in other.fact
    assert "password" not in other.fact, "a set-up writes it for itself"


def test_a_certificate_in_javas_trust_store_is_reported_until_the_new_servers_trust_it() -> None:
    own = replace(CLEAN, truststore="/x/cacerts", added={"ab" * 32: "corp-ldap"}, trusted=frozenset({"ab" * 32}))
    (reported,) = found(known(own))
    assert reported.rule == "java_trusts_the_same" and "corp-ldap (abababababababab...)" in reported.fact
    assert found(known(own, replace(NEW, trusted=frozenset({"ab" * 32})))) == []


def test_the_usage_servers_time_zone_warns_and_anothers_is_a_note() -> None:
    zurich = replace(CLEAN, timezone=("Europe/Zurich", "+0100"))
    (usage,) = found(known(zurich))
    assert usage.severity is Severity.WARNS and "Europe/Zurich (+0100), that of the new servers Etc/UTC (+0000)" in usage.fact
    (other,) = found(facts(files={"oldms1": CLEAN, "oldms2": zurich}, new_files=NEW))
    assert other.severity is Severity.NOTES
    assert same_zone("UTC", "Etc/UTC") and not same_zone("UTC", "Europe/London")


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        (Setting("ldap.truststore", "/etc/cloudstack/management/corp-ldap.jks"), "/etc/cloudstack/management/corp-ldap.jks"),
        (Setting("saml2.idp.metadata.url", "corp-idp.xml"), "/etc/cloudstack/management/corp-idp.xml"),
        (Setting("saml2.idp.metadata.url", "https://idp.example.test/metadata"), ""),
        (Setting("saml2.idp.metadata.url", "file:///etc/idp.xml"), "/etc/idp.xml"),
        (Setting("network.loadbalancer.haproxy.stats.uri", "/admin?stats"), ""),
        (Setting("x", "10.0.0.0/8"), ""),
        (Setting("x", "/"), ""),
        (Setting("x", ""), ""),
    ],
)
def test_which_settings_name_a_file(setting: Setting, path: str) -> None:
    assert local_path(setting) == path


def test_a_file_that_a_domains_setting_names_is_missed_on_the_new_servers() -> None:
    path = "/etc/cloudstack/management/corp-ldap.jks"
    own = {"settings of a domain": [{"owner": "ROOT/sales", "name": "ldap.truststore", "value": path}], "settings": settings(**REACHED)}
    there = replace(CLEAN, paths=frozenset({path}))
    (reported,) = found(known(there, tables=own))
    assert (
        reported.fact
        == f"settings name files or folders that the new servers do not have: ldap.truststore of domain ROOT/sales ({path}), on oldms1"
    )
    assert found(known(there, replace(NEW, paths=frozenset({path})), tables=own)) == []
    assert found(known(CLEAN, tables=own)) == [], "a path that is not on the original either is none"

"""State outside the database: what `new.carry` names is put on a new server by real commands, found again, and taken away without a trace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.configuration import StackConfiguration, load
from parallel_build.errors import ConfigurationError, GuardFailed, StepFailed
from parallel_build.facts import carried
from parallel_build.operations import carried_settings, carry
from parallel_build.operations.context import Context
from parallel_build.provider.relevance import relevant
from parallel_build.records.left_outside import left_by_health
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from parallel_build.steps import carried_state
from parallel_build.steps.carried_state import CarriedState
from parallel_build.steps.host_setting import HostSetting
from tests.fast.local_host import LocalHost
from tests.fast.sites import site, values

pytestmark = pytest.mark.processes

KEYTOOL = r"""#!/bin/sh
# Enough of keytool: one file an alias, in the folder that the store's file names.
store= alias= verb=$1
while [ $# -gt 0 ]; do case $1 in -keystore) store=$2; shift;; -alias) alias=$2; shift;; esac; shift; done
file="$store.d/$alias"
case $verb in
  -exportcert) cat "$file" ;;
  -importcert) mkdir -p "$store.d"; cat >"$file" ;;
  -delete) rm "$file" ;;
esac
"""
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


class Server(LocalHost):
    """A server whose whole disk is a folder: absolute paths of the script's arguments are within it."""

    def __init__(self, name: str, root: Path) -> None:
        programs = root / "bin"
        (root / "java/lib/security").mkdir(parents=True)
        (root / "java/bin").mkdir()
        programs.mkdir()
        (root / "java/bin/java").write_text("")
        (root / "java/bin/java").chmod(0o755)
        (root / "java/lib/security/cacerts").write_text("")
        (programs / "java").symlink_to(root / "java/bin/java")
        (programs / "keytool").write_text(KEYTOOL)
        (programs / "keytool").chmod(0o755)
        super().__init__(name, programs)
        self.root, self.writes = root, list[str]()

    def run(self, argv: Sequence[str], *, timeout: float = 30, input: Any = None, ok: Any = (0,), cancellable: bool = True) -> Result:
        return super().run([self._here(each) for each in argv], timeout=timeout, input=input, ok=ok)

    def script(self, text: str, args: Sequence[str] = (), *, timeout: float = 30, ok: Any = (0,), cancellable: bool = True) -> Result:
        found = LocalHost.run(self, ["sh", "-s", "--", *(self._here(each) for each in args)], input="set -eu\n" + text, ok=ok)
        return Result(found.code, found.stdout.replace(str(self.root), ""), found.stderr)

    def read(self, path: str, **_: Any) -> bytes | None:
        return super().read(self._here(path))

    def write(self, path: str, content: bytes | str | Secret, *, mode: int = 0o600, owner: str = "", timeout: float = 30) -> None:
        assert not isinstance(content, Secret)
        self.writes.append(path)
        here = Path(self._here(path))
        here.write_bytes(content if isinstance(content, bytes) else content.encode())
        here.chmod(mode)

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """Have a file there."""
        here = Path(self._here(path))
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(text)
        here.chmod(mode)

    def tree(self) -> dict[str, tuple[str, int]]:
        """Every file under /etc and the tool's folder: content and mode."""
        found = {}
        for top in ("etc", "var"):
            for folder, folders, files in os.walk(self.root / top):
                for name in files:
                    path = Path(folder) / name
                    found["/" + str(path.relative_to(self.root))] = (path.read_text(), path.stat().st_mode & 0o777)
                if not folders and not files:
                    found["/" + str(Path(folder).relative_to(self.root)) + "/"] = ("", 0)
        return found

    def _here(self, word: str) -> str:
        return f"{self.root}{word}" if word.startswith(("/etc/", "/var/")) else word


BUS = "/etc/cloudstack/management/META-INF/cloudstack/event/bus.xml"
CARRY: dict[str, Any] = {
    "files": ["/etc/cloudstack/management/corp-ldap.jks", {"path": "/etc/old/event-bus.xml", "to": BUS}],
    "jvmOptions": ["-Xmx", "-Dcorp."],
    "trustStore": ["corp ca"],
    "extensions": True,
    "uiConfiguration": True,
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Server:
    """The original's server."""
    server = Server("oldms1", tmp_path / "old")
    server.put("/etc/cloudstack/management/db.properties", "db.cloud.password=ENC(x)\n")
    server.put("/etc/cloudstack/management/key", "secretkey")
    server.put("/etc/cloudstack/management/corp-ldap.jks", "a keystore", 0o640)
    server.put("/etc/cloudstack/management/config.json", "{}")
    server.put("/etc/old/event-bus.xml", "<beans/>")
    server.put("/etc/cloudstack/extensions/disk/run.sh", "#!/bin/sh", 0o755)
    server.put("/etc/default/cloudstack-management", 'JAVA_OPTS="-Xmx8g -Djava.x=1 -Dcorp.a=b -XX:Y=2"\nCLASSPATH=x\n')
    (server.root / "java/lib/security/cacerts.d").mkdir()
    (server.root / "java/lib/security/cacerts.d/corp ca").write_text(PEM + "\n")
    return server


@pytest.fixture
def new(tmp_path: Path) -> Server:
    """A new server, as its packages made it."""
    server = Server("newms1", tmp_path / "new")
    server.put("/etc/cloudstack/management/config.json", '{"package": 1}')
    server.put("/etc/default/cloudstack-management", '# package\nJAVA_OPTS="-Xmx2G --add-opens=a/b=ALL-UNNAMED"\n')
    server.put("/var/lib/x", "")
    return server


class Journal:
    """A run's folder that keeps what was intended."""

    def __init__(self) -> None:
        self.intents: list[str] = []

    def record(self, kind: str, **details: Any) -> None:
        if kind == "intent":
            self.intents.append(str(details["action"]))

    def log(self, step: str, message: str) -> None:
        """Nobody reads it."""


def context(configuration: StackConfiguration) -> Context:
    where = site()
    made = Context(where, None, Journal(), None, lambda line: None)  # type: ignore[arg-type]
    object.__setattr__(made.site, "configuration", configuration)
    return made


def of(**carry_: Any) -> StackConfiguration:
    return load(values(new={"carry": carry_}), "test")


def put(configuration: StackConfiguration, old: Server, new: Server) -> list[str]:
    found = carried.look(configuration, old)
    assert found.problems == ()
    return carry.put(context(configuration), new, old, found)


def test_everything_that_is_named_is_put_there_and_taken_away_without_a_trace(old: Server, new: Server) -> None:
    before, configuration = new.tree(), of(**CARRY)
    changed = put(configuration, old, new)
    there = new.tree()
    assert there["/etc/cloudstack/management/corp-ldap.jks"][0] == "a keystore"
    assert there["/etc/cloudstack/management/META-INF/cloudstack/event/bus.xml"][0] == "<beans/>"
    assert there["/etc/cloudstack/extensions/disk/run.sh"] == ("#!/bin/sh", 0o755)
    assert there["/etc/cloudstack/management/config.json"][0] == "{}"
    assert there["/etc/default/cloudstack-management"][0] == '# package\nJAVA_OPTS="--add-opens=a/b=ALL-UNNAMED -Xmx8g -Dcorp.a=b"\n'
    assert (new.root / "java/lib/security/cacerts.d/corp ca").read_text().strip() == PEM
    assert "certificate corp ca" in changed and len(changed) == 6
    assert not any(path.endswith(("db.properties", "/key")) for path in there)
    gone = carry.take_away(context(configuration), new)
    assert len(gone) == 5 and new.tree() == {**before, "/var/lib/cloudstack-parallel-build/": ("", 0)}, "the tool's own folder, empty"
    assert not (new.root / "java/lib/security/cacerts.d/corp ca").exists()
    assert "keystore" not in "".join(path.read_text() for path in new.root.rglob("*") if path.is_file() and "etc" in path.parts)


def test_the_second_time_nothing_is_written(old: Server, new: Server) -> None:
    configuration = of(**CARRY)
    put(configuration, old, new)
    new.writes.clear()
    assert put(configuration, old, new) == [] and new.writes == []


def test_what_is_not_wanted_any_more_goes_and_what_changed_is_brought_again(old: Server, new: Server) -> None:
    put(of(**CARRY), old, new)
    old.put("/etc/cloudstack/management/config.json", '{"theme": 1}')
    changed = put(of(uiConfiguration=True), old, new)
    assert changed == ["/etc/cloudstack/management/config.json"]
    assert set(new.tree()) - {"/var/lib/x"} >= {"/etc/cloudstack/management/config.json", "/etc/default/cloudstack-management"}
    assert "/etc/cloudstack/management/corp-ldap.jks" not in new.tree()
    assert new.tree()["/etc/default/cloudstack-management"][0].startswith('# package\nJAVA_OPTS="-Xmx2G')
    carry.take_away(context(of()), new)
    assert new.tree()["/etc/cloudstack/management/config.json"][0] == '{"package": 1}'


@pytest.mark.parametrize("cut", [3, *(pytest.param(cut, marks=pytest.mark.processes) for cut in (1, 2, 4, 5, 6, 7, 8))])
def test_an_undo_after_any_cut_leaves_nothing(old: Server, new: Server, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, configuration = new.tree(), of(**CARRY)
    plain, writes = Server.write, [0]

    def dying(self: Server, path: str, content: Any, **more: Any) -> None:
        writes[0] += 1
        if writes[0] == cut:
            self.put(f"{path}.new.77", "half of a keystore")  # what an interrupted write leaves
            raise KeyboardInterrupt
        plain(self, path, content, **more)

    monkeypatch.setattr(Server, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        put(configuration, old, new)
    monkeypatch.setattr(Server, "write", plain)
    put(configuration, old, new)
    carry.take_away(context(configuration), new)
    left = {path for path in new.tree() if path not in before and not path.startswith("/var/lib/cloudstack-parallel-build")}
    assert left == set()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            {"files": ["/etc/cloudstack/management/gone.jks"]},
            "new.carry.files.0: there is no /etc/cloudstack/management/gone.jks on oldms1",
        ),
        ({"files": ["/etc/linked"]}, "new.carry.files.0: /etc/linked/x is /etc/cloudstack/management/key, which each side has of its own"),
        (
            {"jvmOptions": ["-Xss"]},
            "new.carry.jvmOptions: no option of JAVA_OPTS in /etc/default/cloudstack-management on oldms1 begins with -Xss",
        ),
        ({"trustStore": ["gone"]}, "new.carry.trustStore: the trust store of Java on oldms1 has no certificate gone"),
    ],
)
def test_what_is_not_there_or_leads_to_the_key_is_refused_before_anything_is_changed(
    old: Server, wanted: dict[str, Any], words: str
) -> None:
    (old.root / "etc/linked").mkdir()
    (old.root / "etc/linked/x").symlink_to(old.root / "etc/cloudstack/management/key")
    found = carried.look(of(**wanted), old)
    assert words in "; ".join(found.problems)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"files": ["/etc/cloudstack/management/db.properties"]}, "new.carry.files.0.path: /etc/cloudstack/management/db.properties is"),
        ({"files": ["/etc/cloudstack/management/key"]}, "which each side has of its own"),
        ({"files": ["/etc/cloudstack/management"]}, "holds /etc/cloudstack/management/db.properties"),
        ({"files": ["/etc/cloudstack/management/x/.."]}, "holds /etc/cloudstack/management/db.properties"),
        ({"files": ["/etc"]}, "holds"),
        ({"files": ["/etc/cloudstack/usage/key"]}, "is /etc/cloudstack/usage/key"),
        ({"files": ["/etc/cloudstack/management/db.properties.bak"]}, "looks like a copy of db.properties"),
        ({"files": [{"path": "/root/x", "to": "/etc/cloudstack/management/key"}]}, "new.carry.files.0.to"),
        ({"files": ["/proc/1/environ"]}, "is the system's own"),
        ({"files": ["relative"]}, "new.carry.files.0.path"),
        ({"files": ["/a", {"path": "/b", "to": "/a"}]}, "two files go to /a"),
        ({"files": ["/etc/default/cloudstack-management"], "jvmOptions": ["-Xmx"]}, "carried whole (files)"),
        ({"from": "oldms9"}, "new.carry.from: oldms9 is not one of original.management"),
        ({"settings": [{"name": "host", "value": "x"}]}, "step HostSetting writes `host`"),
        ({"settings": [{"name": "ldap.truststore.password", "value": "x"}]}, "sealed with the cloud's key"),
        ({"settings": [{"name": "a", "value": "x", "of": "pod p"}]}, "new.carry.settings.0.of"),
        ({"settings": [{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]}, "a is there twice"),
        ({"everything": True}, "new.carry.everything: this key is not known here"),
    ],
)  # fmt: skip
def test_what_may_not_be_carried_is_refused_in_the_preview(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        of(**wanted)
    assert words in str(caught.value)


def test_the_change_review_shows_what_is_carried_and_what_is_left(tmp_path: Path) -> None:
    wanted = {
        **CARRY,
        "settings": [
            {"name": "ldap.truststore", "value": "/etc/x.jks", "of": "domain ROOT/sales"},
            {"name": "endpoint.url", "value": "http://new"},
        ],
    }
    configuration = load(values(new={"carry": wanted}, runs=str(tmp_path)), "test")
    plan = CarriedState().plan(configuration)
    assert plan[0] == "from oldms1 (10.91.0.11) to newms1 and newms2: /etc/cloudstack/management/corp-ldap.jks"
    assert any("-Xmx, -Dcorp." in line for line in plan) and any("certificate corp ca" in line for line in plan)
    assert "in the copy, by step HostSetting: ldap.truststore of domain ROOT/sales = /etc/x.jks" in plan
    assert any("endpoint.url = 'http://new' (new.carry.settings)" in line for line in HostSetting().plan(configuration))
    assert "no copy stays" in CarriedState().undo(configuration)[0]
    assert left_by_health(configuration, "test")[0].startswith("left behind: not known here yet")
    evidence = tmp_path / "test/evidence"
    evidence.mkdir(parents=True)
    (evidence / "HealthCheck.json").write_text(
        '{"result": {"findings": [{"rule": "files_come_from_packages", "fact": "oldms1 has files of its own: /x"}]}}'
    )
    assert left_by_health(configuration, "test") == ["left behind by the last health check: oldms1 has files of its own: /x"]


def test_a_changed_carry_is_no_diff_for_other_steps_and_keys_of_later_versions_are_none_by_default() -> None:
    plain = relevant(site().to_json())
    assert relevant(site(new={"carry": CARRY}).to_json()) == plain
    assert "allInOne" not in plain["configuration"]["new"] and "usage" not in plain["configuration"]["original"]
    assert relevant(site(new={"usage": False}).to_json()) != plain


class Database:
    """Settings of a cloud: (owner, name) -> value."""

    def __init__(self, settings: dict[tuple[str, str], str], sealed: Sequence[str] = ()) -> None:
        self.settings, self.sealed = settings, sealed

    def value(self, statement: str, arguments: list[str]) -> int:
        if "category IN" in statement:
            return int(arguments[0] in self.sealed)
        owner, name = arguments if len(arguments) == 2 else ("", arguments[0])
        return int((owner, name) in self.settings)

    def execute(self, statement: str, arguments: list[str]) -> int:
        value, *where = arguments
        owner, name = where if len(where) == 2 else ("", where[0])
        assert ("domain_details" in statement) == bool(owner)
        self.settings[owner, name] = value
        return 1

    def rows(self, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
        if "mshost" in statement:
            return [{"name": "old-fqdn"}]
        if "FROM cloud.configuration WHERE category" in statement:
            return [{"name": name, "value": value} for (owner, name), value in self.settings.items() if not owner]
        if "domain_details" in statement:
            return [{"owner": owner, "name": name, "value": value} for (owner, name), value in self.settings.items() if owner]
        return []


SETTINGS = {
    ("", "endpoint.url"): "http://old-fqdn:8080",
    ("ROOT/sales", "ldap.truststore"): "/etc/corp.jks",
    ("", "expunge.delay"): "60",
    ("", "host"): "10.91.0.11",
}
WANTED = [{"name": "ldap.truststore", "value": "/etc/new.jks", "of": "domain ROOT/sales"}]


def test_settings_that_name_a_path_or_an_old_server_are_listed_and_only_those_asked_for_are_changed() -> None:
    made = context(of(settings=WANTED))
    database = Database(dict(SETTINGS))
    assert carried_settings.naming(made, database) == [  # type: ignore[arg-type]
        "endpoint.url (http://old-fqdn:8080)",
        "ldap.truststore of domain ROOT/sales (/etc/corp.jks) -> changed in the copy",
    ]
    assert carried_settings.write(made, database) == ["ldap.truststore of domain ROOT/sales"]  # type: ignore[arg-type]
    assert database.settings == {**SETTINGS, ("ROOT/sales", "ldap.truststore"): "/etc/new.jks"}
    assert carried_settings.write(made, database) == ["ldap.truststore of domain ROOT/sales"]  # type: ignore[arg-type]


def test_under_an_open_window_nothing_is_carried_and_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_state, "window_open", lambda context: True)
    made = context(of(**CARRY))
    for act in (CarriedState().apply, CarriedState().verify):
        made.pending = ""
        assert act(made) == {"carried": {}, "left": {}, "settings": []}
        assert "nothing is carried now" in made.pending


def test_no_value_of_an_option_is_in_the_evidence(old: Server, new: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    old.put("/etc/default/cloudstack-management", 'JAVA_OPTS="-Djavax.net.ssl.trustStorePassword=planted"\n')
    configuration = of(jvmOptions=["-Djavax.net.ssl"])
    made = context(configuration)
    made.connections = type("Both", (), {"host": lambda self, server: old if server.name == "oldms1" else new})()
    monkeypatch.setattr(carried_state, "window_open", lambda context: False)
    monkeypatch.setattr(carried_state, "session", lambda host: contextlib.nullcontext(Database({})))
    monkeypatch.setattr(carried_state, "original_database", lambda context: old)
    monkeypatch.setattr(CarriedState, "_left", staticmethod(lambda context: {}))
    told: list[str] = []
    made.tell = told.append
    found = CarriedState().apply(made)
    assert found["carried"]["newms1"] == ["-Djavax.net.ssl"]
    assert "planted" not in str(found) + str(told) and "planted" in new.tree()["/etc/default/cloudstack-management"][0]


def test_a_setting_that_is_not_there_or_is_sealed_is_refused() -> None:
    wanted = of(settings=WANTED).new.carry.settings
    with pytest.raises(GuardFailed, match=r"new\.carry\.settings\.0: the original has no value of ldap\.truststore of domain ROOT/sales"):
        carried_settings.check(Database({}), wanted)  # type: ignore[arg-type]
    with pytest.raises(StepFailed, match="is sealed with the cloud's key"):
        carried_settings.write(context(of(settings=WANTED)), Database(dict(SETTINGS), ["ldap.truststore"]))  # type: ignore[arg-type]
    carried_settings.check(Database({}), [])  # type: ignore[arg-type]

"""A stack read without Pulumi: what Pulumi sealed is opened, whatever can't be is reported by name, and no server is contacted."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from parallel_build.errors import ConfigurationError
from parallel_build.project import PROJECT
from parallel_build.secret import Secret
from parallel_build.stack import file, secrets
from parallel_build.stack import state as stack_state
from tests.fast.sites import SECRETS, values

# Written by Pulumi 3.259.0 with the passphrase below.
PASSPHRASE = "correct horse ü"
SALT = "v1:1MpHi0rm5U4=:v1:zC9kWx8GkPvICU+2:LEkRuNJw6xiwGuyeTQtafUTF45iieQ=="
SEALED = "v1:NxCqpq3+7TQdRJqO:qcl5/ZmzMC9rb4DyM10EtMd1UJxyIxc+Sur5Xfibr3jtS6NBCtBx"
PREFIX = "cloudstack-parallel-build:"


@pytest.fixture(autouse=True)
def no_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every test has its own, empty backend and no passphrase."""
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    return tmp_path / "state"


derived_once = functools.cache(secrets.derived_key)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase's key is derived once, in a million rounds."""
    monkeypatch.setattr(secrets, "derived_key", derived_once)


def cipher() -> AESGCM:
    """The stack's cipher."""
    return secrets.Decrypter(SALT, Secret(PASSPHRASE), "test")._cipher


def seal(text: str) -> str:
    """A value as Pulumi would seal it under SALT."""
    nonce = os.urandom(12)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(cipher().encrypt(nonce, text.encode(), None)).decode()}"


def write(path: Path, **changes: Any) -> Path:
    """A complete stack file with sealed secrets; a change to None removes a key."""
    config: dict[str, Any] = {**values(), **{name: {"secure": seal(value)} for name, value in SECRETS.items()}}
    config.update(changes)
    document = {"encryptionsalt": SALT, "config": {f"{PREFIX}{key}": value for key, value in config.items() if value is not None}}
    path.write_text(yaml.safe_dump(document))
    return path


def state(path: Path, resources: list[dict[str, Any]], **more: Any) -> None:
    path.parent.mkdir(parents=True)
    text = json.dumps({"version": 3, "checkpoint": {"latest": {"resources": resources, **more}}})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_a_value_that_pulumi_sealed_is_opened() -> None:
    opened = secrets.Decrypter(SALT, Secret(PASSPHRASE), "f").open(SEALED, "managementKey")
    assert opened.reveal() == 'it is a "secret" – ü'


def test_site_has_plain_values_secrets_and_the_states_host_keys(tmp_path: Path, no_backend: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE)
    key = {"type": "cutover:index:SshHostKey", "urn": "urn:x::k", "outputs": {"name": "newms1", "publicKey": "ssh-ed25519 AAAA"}}
    state(no_backend / ".pulumi/stacks/cloudstack-parallel-build/test.json", [key])
    nested = {**values()["new"], "packages": {"key": {"secure": seal("a key")}}}
    reading = file.read_stack("test", config_file=write(tmp_path / "f.yaml", new=nested))
    assert reading.site.secrets.cloud_password.reveal() == SECRETS["cloudPassword"]
    assert reading.site.configuration.new.packages.key == "a key"
    assert reading.site.host_keys == {"newms1": "ssh-ed25519 AAAA"}
    assert [machine.name for machine in reading.unknown_keys()] == ["newdb1", "newdb2", "newms2"]


def test_passphrase_comes_from_a_file_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p").write_text(PASSPHRASE + "\n")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(tmp_path / "p"))
    assert file.read_site("test", config_file=write(tmp_path / "f.yaml")).stack == "test"


@pytest.mark.parametrize(
    ("passphrase", "changes", "words"),
    [
        (None, {}, "neither PULUMI_CONFIG_PASSPHRASE nor PULUMI_CONFIG_PASSPHRASE_FILE is set"),
        ("another", {}, "the passphrase is not that of"),
        (PASSPHRASE, {"managementKey": {"secure": "v1:AAAA:BBBB"}}, "managementKey in"),
        (PASSPHRASE, {"managementKey": {"secure": "AAABAN=="}}, "managementKey in"),
        (PASSPHRASE, {"managementKey": "in-the-clear-1"}, "managementKey in"),
        (PASSPHRASE, {"managementKey": None}, "managementKey: this key is missing"),
        (PASSPHRASE, {"phase": "switchd"}, "phase"),
        (PASSPHRASE, {"tranfer": {"secure": SEALED}}, "tranfer"),
        (PASSPHRASE, {"hypervisorStep": []}, "hypervisorStep"),
    ],
)
def test_what_can_not_be_read_is_named(
    passphrase: str | None, changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if passphrase is not None:
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", passphrase)
    with pytest.raises(ConfigurationError) as caught:
        file.read_site("test", config_file=write(tmp_path / "f.yaml", **changes))
    assert words in str(caught.value)
    assert "nothing has been contacted or changed" in str(caught.value)
    assert "in-the-clear-1" not in str(caught.value)


def test_another_program_s_own_keys_are_left_alone_and_hidden_where_they_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE)
    own = {"dnsZone": "example.org", "teamName": {"short": "ops"}, "dnsToken": {"secure": SEALED}}
    found = file.read_site("test", config_file=write(tmp_path / "f.yaml", **own))
    assert found == file.read_site("test", config_file=write(tmp_path / "g.yaml", dnsToken={"secure": SEALED}))
    assert len(found.sealed) == 1


@pytest.mark.parametrize("stack", ["../../etc/passwd", "a b", "", "x;reboot", "-S", "a/b/c/d"])
def test_a_name_that_is_none_is_refused(stack: str) -> None:
    with pytest.raises(ConfigurationError):
        file.read_site(stack)


@pytest.mark.parametrize("text", ["", "- 1", "config: 3", "a: [", "\x00"])
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"f\.yaml"):
        file.read_site("test", config_file=tmp_path / "f.yaml")


def test_words_stay_words_as_in_pulumi(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a: on\nb: no\nc: true\nd: 2026-01-01\ne: 4.22\n")
    assert file._yaml(tmp_path / "f") == {"a": "on", "b": "no", "c": True, "d": "2026-01-01", "e": 4.22}


def test_a_stack_without_templates_takes_those_that_a_plan_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", PASSPHRASE)
    own = write(tmp_path / "Pulumi.test.yaml")
    planned = {"hypervisor": "KVM", "name": "systemvm-kvm-4.22.0-x86_64", "url": "http://10.91.0.1/planned.qcow2.bz2"}
    (tmp_path / "Pulumi.test.templates.json").write_text(json.dumps({"version": "4.22.1.0", "templates": [planned]}))
    assert "planned" not in file.read_site("test", config_file=own).configuration.templates[0].url, "the stack's own list wins"
    without = write(tmp_path / "Pulumi.test.yaml", templates=None)
    assert [each.url for each in file.read_site("test", config_file=without).configuration.templates] == [planned["url"]]


def test_state_shows_steps_and_what_an_engine_left(no_backend: Path) -> None:
    step = {"type": "cutover:index:Window", "urn": "urn:pulumi:x::p::cutover:index:Window::window", "outputs": {"status": "partial: x"}}
    pending = [{"type": "creating", "resource": {"urn": "urn:pulumi:x::p::cutover:index:UserAccess::user-access"}}]
    state(no_backend / ".pulumi/stacks/p/test.json.gz", [step], pending_operations=pending)
    found = stack_state.read("p", "test", PROJECT)
    assert (found.steps, found.types) == ({"window": "partial: x"}, {"window": "Window"})
    assert found.pending == ["creating user-access"]


def test_no_state_is_reported(no_backend: Path) -> None:
    assert "there is no state of stack test" in stack_state.read("p", "test", PROJECT).problem


@pytest.mark.engine
def test_the_package_does_not_need_pulumi() -> None:
    code = (
        "import importlib, pkgutil, sys, parallel_build\n"
        "for m in pkgutil.walk_packages(parallel_build.__path__, 'parallel_build.'):\n"
        "    outer = m.name.startswith(('parallel_build.components', 'parallel_build.provider'))\n"
        "    if not outer and not m.name.endswith('__main__'): importlib.import_module(m.name)\n"
        "sys.exit(any(n == 'pulumi' or n.startswith('pulumi.') for n in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0

"""Small parts of the stand-in CloudStack: encryption, properties, settings, SQL scripts, signatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import packages
from lab.standin import sql
from lab.standin.management import passwords
from lab.standin.management.api.session import in_networks, signature
from lab.standin.management.templates import parse_checksum
from lab.standin.setup import console
from lab.standin.shared.encryption import DecryptionFailed, Encryptor, masked
from lab.standin.shared.properties import SetupProperties, WrongFormat, read, store
from lab.standin.shared.release import Version, template_version
from lab.standin.shared.settings import Settings, SettingsError, load


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_each_version_reads_what_it_wrote(version: str) -> None:
    encryptor = Encryptor("secret", version)
    assert encryptor.decrypt(encryptor.encrypt("value: ünï")) == "value: ünï"


@pytest.mark.parametrize(("written", "name"), [("V1", "LegacyBase64Encryptor"), ("V2", "AeadBase64Encryptor")])
def test_an_empty_version_finds_the_right_one_and_keeps_it(written: str, name: str) -> None:
    encryptor = Encryptor("secret")
    assert encryptor.decrypt(Encryptor("secret", written).encrypt("x")) == "x"
    assert encryptor.name == name


def test_a_named_version_reads_only_its_own() -> None:
    with pytest.raises(DecryptionFailed):
        Encryptor("secret", "V2").decrypt(Encryptor("secret", "V1").encrypt("x"))


def test_a_wrong_secret_is_refused_and_named_masked() -> None:
    value = Encryptor("secret").encrypt("x")
    encryptor = Encryptor("other")
    with pytest.raises(DecryptionFailed):
        encryptor.decrypt(value)
    assert [name for name, _ in encryptor.failures] == ["AeadBase64Encryptor", "LegacyBase64Encryptor"]
    assert masked(value) == value[:5] + "*****"


def test_setup_keeps_the_form_of_db_properties(tmp_path: Path) -> None:
    file = tmp_path / "db.properties"
    file.write_text("# kept\n#\n\na=1\nb=x=y\n")
    properties = SetupProperties(file)
    properties.put("a", "2")
    properties.replace("missing", "3")
    properties.put("new", "4")
    properties.write()
    assert file.read_text() == "# kept\n\na=2\nb=x=y\nnew=4"


def test_setup_refuses_another_form(tmp_path: Path) -> None:
    file = tmp_path / "db.properties"
    file.write_text("nonsense\n")
    with pytest.raises(WrongFormat):
        SetupProperties(file)


def test_an_agent_changes_one_line_of_its_properties(tmp_path: Path) -> None:
    file = tmp_path / "agent.properties"
    file.write_text("# a comment\nguid=1\nhost=old\nport=8250\n")
    store(file, "host", "a,b@static")
    assert file.read_text() == "# a comment\nguid=1\nhost=a,b@static\nport=8250\n"
    assert read(file)["host"] == "a,b@static"


def test_settings_default_and_are_checked(tmp_path: Path) -> None:
    assert load(tmp_path / "none.json") == Settings()
    file = tmp_path / "standin.json"
    file.write_text(json.dumps({"fail_step": "4.22.0.0"}))
    assert load(file).fail_step == "4.22.0.0"
    file.write_text(json.dumps({"fail_stepp": "4.22.0.0"}))
    with pytest.raises(SettingsError, match="fail_stepp"):
        load(file)


def test_scripts_of_both_versions() -> None:
    old, new = sql.views("4.20.3.0"), sql.views("4.22.1.0")
    assert {script.name for script in new} - {script.name for script in old} == {"cloud.gui_themes_view"}
    assert (len(old), len(new)) == (34, 35)
    assert all(len(script.statements) == 2 for script in old + new + sql.procedures("4.22.1.0"))
    changed = {script.name for script in new if script not in old}
    assert "cloud.user_vm_view" in changed
    assert next(script for script in new if script.name == "cloud.user_vm_view").requires >= {"vm_instance", "vm_instance_details"}


@pytest.mark.parametrize("step", ["42010to42100", "42100to42200", "42200to42210"])
def test_every_step_begins_with_what_can_not_be_repeated(step: str) -> None:
    statements = sql.upgrade(step)
    assert statements[0].sql.startswith("ALTER TABLE")
    assert " ADD COLUMN " in statements[0].sql
    assert sql.upgrade(f"{step}-cleanup")


def test_conditions_of_statements() -> None:
    conditional = {statement.only_with for statement in sql.upgrade("42010to42100")}
    assert {None, "kubernetes_cluster", "backups"} <= conditional


def test_a_password_is_told_from_another() -> None:
    stored = passwords.hashed("right")
    assert passwords.matches("right", stored)
    assert not passwords.matches("wrong", stored)


def test_signatures_are_those_of_the_documentation() -> None:
    parameters = {
        "command": "listUsers",
        "response": "json",
        "apikey": "plgWJfZK4gyS3mOMTVmjUVg-X-jlWlnfaUJ9GAbBbf9EdM-kAYMmAiLqzzq1ElZLYq_u38zCm0bewzGUdP66mg",
    }
    secret = "VDaACYb0LV9eNjTetIOElcVQkvJck_J_QljX_FcHRj87ZKiy0z0ty0ZsYBkoXkY9b7eq1EhwJaw7FF3akA3KBQ"
    assert signature(parameters, secret) == "TTpdDq/7j/J58XCRHomKoQXEQds="


@pytest.mark.parametrize(
    ("address", "networks", "inside"),
    [
        ("10.91.0.1", "10.91.0.0/24", True),
        ("10.92.0.1", "10.91.0.0/24, 10.93.0.0/16", False),
        ("::1", "0.0.0.0/0", False),
        ("::ffff:10.91.0.1", "10.91.0.1", True),
    ],
)
def test_source_networks(address: str, networks: str, inside: bool) -> None:
    assert in_networks(address, networks) is inside


def test_checksums_say_their_algorithm() -> None:
    assert parse_checksum("{SHA-512}abc") == ("sha512", "abc")
    assert parse_checksum("0" * 32) == ("md5", "0" * 32)
    assert parse_checksum("abc") == ("", "abc")


@pytest.mark.parametrize(
    ("name", "version"),
    [("systemvm-kvm-4.22.0-x86_64", "4.22.0"), ("systemvm-vmware-4.19.1", "4.19.1"), ("SystemVM Template (simulator)", "4.10.0")],
)
def test_a_template_names_its_version(name: str, version: str) -> None:
    assert template_version(name) == version


def test_versions_are_numbers() -> None:
    assert Version("4.9.0.0") < Version("4.20.3.0") < Version("4.22.1.0")


def test_progress_of_setup_is_padded_to_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    console.info("Finalizing setup ...", None)
    console.info(None, True)
    assert capsys.readouterr().out == "Finalizing setup ..." + " " * 60 + "[ \033[92mOK\033[0m ]\n"


@pytest.mark.engine
def test_packages_are_built_once_and_indexed(tmp_path: Path) -> None:
    repository = packages.build(tmp_path)
    directory = repository.repository(packages.NEW)
    built = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    own = {f"cloudstack-{name}_4.22.1.0_all.deb" for name in packages.PACKAGES} | {f"{name}_1.0_all.deb" for name in packages.COMPANIONS}
    assert own | {"Packages", "Packages.gz", "Release"} == set(built)
    assert packages.build(tmp_path) == repository
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == built
    with pytest.raises(packages.PackagingError, match=r"4\.21\.0\.0"):
        repository.repository("4.21.0.0")

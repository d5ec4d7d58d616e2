"""The lab's records: what is remembered of a lab, and what of it is secret."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.files import Lab, Options


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Lab("one")


def test_a_lab_is_below_the_state_folder(lab: Lab, tmp_path: Path) -> None:
    assert lab.folder == tmp_path / "cloudstack-parallel-build/labs/one"


def test_a_relative_state_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Lab("one").folder == Path("/home/somebody/.local/state/cloudstack-parallel-build/labs/one")


@pytest.mark.parametrize("name", ["", "A", "../x", "a" * 21, "a b"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="name"):
        Lab(name)


def test_options_are_kept(lab: Lab) -> None:
    wanted = Options(hosts="containers", management=1, rows=10)
    lab.begin(wanted)
    lab.begin(wanted)
    assert Lab("one").options() == wanted


def test_another_lab_of_the_name_is_refused(lab: Lab) -> None:
    lab.begin(Options())
    with pytest.raises(LabError, match="another hosts and management"):
        lab.begin(Options(hosts="containers", management=1))


def test_no_lab_says_how_to_get_one(lab: Lab) -> None:
    with pytest.raises(LabError, match="scripts/lab up"):
        lab.options()


def test_marks(lab: Lab) -> None:
    lab.begin(Options())
    assert not lab.done("built")
    lab.mark("built")
    assert lab.done("built")
    lab.unmark("built", "never")
    assert not lab.done("built")


def test_secrets_are_made_once_and_only_the_owner_reads_them(lab: Lab) -> None:
    lab.begin(Options())
    made = lab.secrets().made("cloud_password")
    assert lab.secrets().made("cloud_password") == made
    path = lab.folder / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {"cloud_password": made.reveal()}
    assert made.reveal() not in repr(lab.secrets())


def test_a_missing_secret_is_named(lab: Lab) -> None:
    with pytest.raises(LabError, match="database_key"):
        lab.secrets().must("database_key")


def test_keys_are_made_once(lab: Lab) -> None:
    lab.begin(Options())
    private, public = lab.key("oldms1")
    assert lab.key("oldms1") == (private, public)
    assert public.startswith("ssh-ed25519 ")
    assert lab.host_key("oldms1") == public


def test_a_new_machines_key_comes_from_the_stack(lab: Lab) -> None:
    lab.begin(Options())
    with pytest.raises(LabError, match="newdb1"):
        lab.host_key("newdb1")
    (lab.folder / "new_host_keys.json").write_text(json.dumps({"newdb1": "ssh-ed25519 AAAA"}))
    assert lab.host_key("newdb1") == "ssh-ed25519 AAAA"

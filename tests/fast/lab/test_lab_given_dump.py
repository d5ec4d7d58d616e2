"""A dump that the lab's original can't run on is refused before anything is built."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import bringup, given_dump
from lab.database import DatabasePlan, generate_files
from lab.errors import LabError
from lab.files import Lab, Options
from parallel_build.secret import Secret

pytestmark = pytest.mark.processes

SMALL = DatabasePlan(rows_usage=10, rows_event=10, rows_usage_event=10, rows_vm_stats=10, link_local_addresses=10, database_key="the key")
Keys = dict[str, Secret | None]


@dataclass
class Given:
    """A generated database as two dumps, and its keys."""

    cloud: Path
    usage: Path
    keys: Keys

    def options(self, usage: bool = True) -> Options:
        """Of a lab with these dumps."""
        return Options(dump=str(self.cloud), usage_dump=str(self.usage) if usage else None, hosts="containers")

    def change(self, pattern: str, text: str) -> None:
        """Put another text in the dump of `cloud`, once."""
        changed, times = re.subn(pattern, text, self.cloud.read_text(), count=1)
        assert times == 1, pattern
        self.cloud.write_text(changed)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The dumps that each test gets a copy of."""
    folder = tmp_path_factory.mktemp("dumps")
    admin = generate_files(SMALL, folder).secrets.admin
    keys: Keys = {
        "database_key": Secret("the key"),
        "original_api_key": Secret(admin.api_key),
        "original_api_secret": Secret(admin.secret_key),
    }
    return Given(folder / "cloud.sql", folder / "cloud_usage.sql", keys)


@pytest.fixture
def given(generated: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cloud = shutil.copy(generated.cloud, tmp_path / "cloud.sql")
    return Given(Path(cloud), generated.usage, dict(generated.keys))


def test_a_good_dump_is_taken_without_a_word(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    given_dump.check(given.options(), given.keys)
    assert capsys.readouterr().err == ""
    assert [agent.machine.name for agent in given_dump.agents(given.options(), "the key")] == ["kvm1", "kvm2"]


def _step(given: Given) -> None:
    given.change(r"('4\.20\.3\.0','[-: 0-9]+'),'Complete'", r"\1,'Upgrade'")


@pytest.mark.parametrize(
    ("spoil", "fact"),
    [
        (lambda given: given.keys.update(database_key=Secret("another")), "the database key is not the dump's"),
        (lambda given: given.keys.update(database_key=None), "can't be used without its keys"),
        (lambda given: given.keys.update(original_api_secret=Secret("another")), "not those of a root administrator"),
        (lambda given: given.keys.update(original_api_key=Secret("another")), "not those of a root administrator"),
        (lambda given: given.change(r"'4\.20\.3\.0'(,'[-: 0-9]+','Complete')", r"'4.20.2.0'\1"), "the dump is of CloudStack 4.20.2.0"),
        (lambda given: given.change(r"'init'", "'innit'"), "the database key can't be checked"),
        (_step, "version 4.20.3.0 is not Complete"),
    ],
)
def test_up_refuses_before_it_builds_anything(
    given: Given, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Given], None], fact: str
) -> None:
    def built() -> None:
        pytest.fail("the dump was not refused")

    monkeypatch.setattr(bringup, "base_root", built)
    spoil(given)
    lab = Lab("refused")
    with pytest.raises(LabError, match=re.escape(fact)) as refused:
        bringup.up(lab, given.options(), given.keys)
    assert refused.value.cause and refused.value.remedy
    assert "the key" not in str(refused.value).replace("the keys", "")
    assert not lab.folder.exists()


def test_what_is_odd_about_a_dump_is_reported(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    given.cloud.write_text("USE `cloud`;\n" + given.cloud.read_text())
    given_dump.check(given.options(usage=False), given.keys)
    assert "warning: there is no cloud_usage: the upgrade stops" in capsys.readouterr().err

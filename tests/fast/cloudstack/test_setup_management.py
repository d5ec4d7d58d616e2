"""cloudstack-setup-management: what it prints counts, and since 4.23 it is kept from downloading templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.standin import sql
from lab.standin.setup import templates
from parallel_build.cloudstack import setup
from parallel_build.cloudstack.properties import parse
from parallel_build.configuration import load
from parallel_build.errors import StepFailed
from parallel_build.remote.openssh import Result
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.first_management import FirstManagement
from parallel_build.versions import CloudStackVersion
from tests.fast.local_host import LocalHost
from tests.fast.sites import values

GOOD = "Configure CloudStack Management Server ...[OK]\nCloudStack Management Server setup is Done!\n"
HELP = "options:\n  --no-start\n"
NEW_HELP = f"{HELP}  --systemvm-templates-repository URL\n"


class Host:
    """A server whose command knows these options and prints this."""

    name = "newms1"

    def __init__(self, known: str, printed: str, stderr: str = "", code: int = 0) -> None:
        self.known, self.printed, self.stderr, self.code = known, printed, stderr, code
        self.commands: list[list[str]] = []

    def run(self, words: list[str], **_: Any) -> Result:
        self.commands.append(words)
        return Result(0, self.known, "") if words[-1] == "--help" else Result(self.code, self.printed, self.stderr)


def run(*given: Any, **more: Any) -> list[str]:
    host = Host(*given, **more)
    setup.setup_management(host)  # type: ignore[arg-type]
    return host.commands[-1]


def test_up_to_4_22_nothing_is_given_for_templates() -> None:
    assert run(HELP, GOOD) == ["cloudstack-setup-management", "--no-start"]


def test_since_4_23_it_is_given_a_place_where_nothing_is_and_what_it_prints_about_that_is_no_failure() -> None:
    after = "Downloading system VM template kvm-x86_64\nError downloading: Connection refused [Failed]\n"
    found = run(NEW_HELP, GOOD + after, stderr="urlopen error [Failed]")
    assert found == ["cloudstack-setup-management", "--no-start", "--systemvm-templates-repository", "http://127.0.0.1:9/"]


@pytest.mark.parametrize("known", [HELP, NEW_HELP])
@pytest.mark.parametrize(
    ("printed", "code"), [("Configure ...[Failed]\nTry to restore", 0), (f"x [Failed]\n{GOOD}", 0), (GOOD, 1), ("", 0)]
)
def test_a_set_up_that_failed_is_seen_whatever_its_exit_code(known: str, printed: str, code: int) -> None:
    with pytest.raises(StepFailed, match="cloudstack-setup-management failed on newms1"):
        run(known, printed, code=code)


@pytest.mark.parametrize(("version", "shown"), [("4.22.1.0", False), ("4.23.0.0", True), ("24.0.0", True)])
def test_the_plan_says_so(version: str, shown: bool) -> None:
    configuration = load(values(new={"version": version}), "test")
    for step in (FirstManagement(), AdditionalManagement()):
        (line,) = [line for line in step.plan(configuration) if "cloudstack-setup-management" in line]
        assert ("no system VM template is downloaded" in line) == shown
    assert str(configuration.new.version) == version


def test_the_stand_in_downloads_what_is_not_there_and_only_prints_a_failure(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(templates, "FOLDER", tmp_path)
    assert templates.wanted("") == [] and "metadata.ini is missing" in capsys.readouterr().err
    (tmp_path / "metadata.ini").write_text("[default]\nversion = 4.22.0\n[kvm-x86_64]\nfilename = a.bz2\n[vmware]\nfilename = b.ova\n")
    assert templates.wanted("vmware") == ["kvm-x86_64", "vmware"] and templates.wanted("all") == ["kvm-x86_64", "vmware"]
    assert templates.wanted("none") == [] and "unknown system VM templates: none" in capsys.readouterr().err
    (tmp_path / "b.ova").write_text("there")
    noted: list[str] = []
    templates.download("all", "http://127.0.0.1:9/", noted.append)
    assert noted == ["download:http://127.0.0.1:9/a.bz2"] and not (tmp_path / "a.bz2").exists()
    assert "Error downloading http://127.0.0.1:9/a.bz2" in capsys.readouterr().out


def test_the_stand_in_moves_keys_only_where_both_are_set() -> None:
    statements = [statement.sql for statement in sql.upgrade("42210to42300")]
    (move,) = [each for each in statements if each.startswith("INSERT INTO `cloud`.`api_keypair`")]
    assert "`api_key` IS NOT NULL AND `user`.`secret_key` IS NOT NULL" in move
    assert statements.index(move) < next(place for place, each in enumerate(statements) if "DROP COLUMN `api_key`" in each)
    assert "`api_key`" not in next(view for view in sql.views("4.23.0.0") if view.name == "cloud.user_view").statements[-1]
    assert "`api_key`" in next(view for view in sql.views("4.22.1.0") if view.name == "cloud.user_view").statements[-1]


@pytest.mark.parametrize("text", ["http.port=8080\n", "a=1\n\nsystem.vm.templates.download.repository=http://mine/\n", "no end of line"])
def test_the_first_start_is_kept_from_downloading_and_the_file_is_as_it_was_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    file = tmp_path / "server.properties"
    file.write_text(text)
    file.chmod(0o640)
    monkeypatch.setattr(setup, "SERVER_PROPERTIES", str(file))
    host, newest = LocalHost(), CloudStackVersion("4.23.0.0")
    setup.keep_from_downloading(host, CloudStackVersion("4.22.1.0"))
    assert file.read_text() == text
    for _ in range(2):
        setup.keep_from_downloading(host, newest)
    assert parse(file.read_text())["system.vm.templates.download.repository"] == "http://127.0.0.1:9/"
    assert file.read_text().count(setup.MARK) == 1 and file.stat().st_mode & 0o777 == 0o640
    for _ in range(2):
        setup.let_download(host, newest)
    assert file.read_text() == text.rstrip("\n") + "\n" and file.stat().st_mode & 0o777 == 0o640

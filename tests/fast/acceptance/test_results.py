"""What runs of the suite found: kept under names, laid side by side, compared; and the command that runs the suite on a stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build import cli
from parallel_build.__main__ import main
from parallel_build.acceptance import results
from parallel_build.acceptance.results import FAILED, PASSED, SKIPPED, Outcome, Run
from parallel_build.cli import acceptance, report_page
from parallel_build.errors import ConfigurationError
from parallel_build.project import CODE
from tests.fast.sites import site

BEFORE = Run(
    "before", "2026-01-01T00:00:00+00:00", "http://old", {"test_a_vm": Outcome(PASSED, 1.5), "test_a_disk": Outcome(FAILED, 1, "no")}, True
)
AFTER = Run(
    "after",
    "2026-01-02T00:00:00+00:00",
    "http://new",
    {"test_a_vm": Outcome(FAILED, 2, "gone"), "test_b": Outcome(SKIPPED, 0, "none")},
    True,
)


def keep(folder: Path, *runs: Run) -> None:
    for run in runs:
        path = results.path(folder, run.name)
        path.parent.mkdir(exist_ok=True, parents=True)
        run.write(path)


def test_runs_are_kept_for_the_operator_alone_and_read_oldest_first(tmp_path: Path) -> None:
    keep(tmp_path, AFTER, BEFORE)
    (tmp_path / results.FOLDER / "torn.json").write_text('{"name": "torn"')
    assert results.read(tmp_path) == [BEFORE, AFTER]
    assert results.path(tmp_path, "after").stat().st_mode & 0o777 == 0o600
    assert results.read(tmp_path / "nothing") == []


@pytest.mark.parametrize("name", ["", "../before", "Before", "a b", "-a", "x" * 41])
def test_a_name_that_could_be_another_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a run"):
        results.path(tmp_path, name)


def test_runs_are_laid_side_by_side_in_words() -> None:
    assert results.side_by_side([BEFORE, AFTER]) == [
        ("a vm", "passed", "failed: gone"), ("a disk", "failed: no", "not run"), ("b", "not run", "skipped: none"),
    ]  # fmt: skip
    assert results.broken_since(BEFORE, AFTER) == ["test_a_vm"] and results.broken_since(AFTER, BEFORE) == []
    assert BEFORE.counted() == "1 passed, 1 failed, 0 skipped"
    assert Run("x", "", "").counted().endswith("; cut off before its end")


def test_the_report_shows_them_side_by_side() -> None:
    functions = ([each.name for each in (BEFORE, AFTER)], results.side_by_side([BEFORE, AFTER]))
    page = report_page.page("prod", "", [], {}, "", [], functions=functions)
    assert "Functional tests" in page and '<th scope="col">before</th><th scope="col">after</th>' in page
    assert "<td>passed</td><td>failed: gone</td>" in page and "Functional tests" not in report_page.page("prod", "", [], {}, "", [])


TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2
def test_left_out(): pytest.skip("nothing to do")
@pytest.fixture
def broken(): raise RuntimeError("no cloud")
def test_not_begun(broken): pass
"""


@pytest.mark.processes
def test_the_plug_in_keeps_every_outcome_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    words = [
        "-p",
        "parallel_build.acceptance.suite",
        "--cloud-results",
        str(tmp_path / "x.json"),
        "--cloud-name",
        "x",
        "-c",
        "/dev/null",
        str(tmp_path),
    ]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=CODE, capture_output=True, check=False, timeout=120)
    document = json.loads((tmp_path / "x.json").read_text())
    assert {name: of["outcome"] for name, of in document["tests"].items()} == {
        "test_good": PASSED, "test_bad": FAILED, "test_left_out": SKIPPED, "test_not_begun": FAILED,
    }  # fmt: skip
    assert document["tests"]["test_left_out"]["why"] == "nothing to do" and "no cloud" in document["tests"]["test_not_begun"]["why"]
    assert document["whole"] is True and document["name"] == "x"


class Suite:
    """In place of the process that runs the suite: it finds what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.words, self.environment = folder, list[str](), dict[str, str]()
        self.finds: Run | None = AFTER
        self.hangs = self.ended = False

    def __call__(self, words: list[str], *, env: dict[str, str]) -> Any:
        self.words, self.environment = words, env
        if self.finds:
            keep(self.folder, self.finds)
        return SimpleNamespace(wait=self._wait, poll=self._poll, terminate=lambda: setattr(self, "ended", True))

    def _poll(self) -> int | None:
        return None if self.hangs and not self.ended else 0

    def _wait(self, seconds: float | None = None) -> int:
        if self.hangs and not self.ended:
            raise subprocess.TimeoutExpired("pytest", seconds or 0)
        return 0


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Suite:
    found = site(runs=str(tmp_path))
    monkeypatch.setattr(acceptance, "read_stack", lambda *_, **__: SimpleNamespace(site=found))
    started = Suite(tmp_path / found.stack)
    monkeypatch.setattr("parallel_build.cli.acceptance.subprocess.Popen", started)
    return started


def test_the_suite_runs_on_a_side_and_what_broke_is_listed(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    keep(suite.folder, BEFORE)
    (suite.folder / "workload.json").write_text("{}")
    options = ["--side", "new", "--against", "before", "--select", "users", "--vlan", "99", "--integration", "a", "--integration", "b"]
    assert main(["acceptance", "test", "after", *options]) == cli.FAILED
    printed = capsys.readouterr().out
    assert "after: 0 passed, 1 failed, 1 skipped" in printed and "passed in before, and fails now: a vm: gone" in printed
    words = suite.words
    assert (
        words[words.index("-k") + 1] == "users"
        and words[words.index("--cloud-vlan") + 1] == "99"
        and words.count("--cloud-integration") == 2
    )
    assert words[words.index("--cloud-passwords") + 1] == str(suite.folder / "workload.json")
    secrets = site().secrets
    for name, secret in (("CLOUDSTACK_KEY", secrets.original_api_key), ("CLOUDSTACK_SECRET", secrets.original_api_secret)):
        assert suite.environment[name] == secret.reveal() and not any(secret.reveal() in word for word in words)


def test_a_run_without_a_failure_is_good_and_one_that_is_cut_off_is_not(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    suite.finds = Run("after", AFTER.began, "http://new", {"test_a_vm": Outcome(PASSED)}, True)
    assert main(["acceptance", "test", "after"]) == cli.DONE
    suite.hangs = True
    suite.finds.whole = False
    assert main(["acceptance", "test", "after", "--limit", "0.1"]) == cli.FAILED and suite.ended
    assert "cut off before its end" in capsys.readouterr().out


def test_a_suite_that_did_not_begin_is_no_success_even_where_an_earlier_run_was(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    keep(suite.folder, Run("after", AFTER.began, "http://new", {}, True))
    suite.finds = None
    assert main(["acceptance", "test", "after"]) == cli.FAILED and "did not begin" in capsys.readouterr().err


def test_runs_are_shown_and_a_missing_one_is_refused_before_anything_runs(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acceptance", "test"]) == cli.DONE and "has not been run yet" in capsys.readouterr().out
    assert main(["acceptance", "test", "after", "--against", "before"]) == cli.UNUSABLE and suite.words == []
    keep(suite.folder, BEFORE, AFTER)
    assert main(["acceptance", "test"]) == cli.DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["before", "after"] and lines[3].split() == ["a", "vm", "passed", "failed"]

"""The commands `plan` and `workload`: what they print, write and exit with, and what a new server's package says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build import cli
from parallel_build.__main__ import main
from parallel_build.cli import plan as plan_command
from parallel_build.cli import workload as workload_command
from parallel_build.operations import record_hosts
from parallel_build.plan import facts, package
from parallel_build.plan.facts import Plan
from parallel_build.plan.faults import CATALOGUE, Answer, Verdict
from parallel_build.plan.package import METADATA, TargetPackage
from parallel_build.plan.templates import planned
from parallel_build.remote.openssh import Result
from parallel_build.versions import CloudStackVersion
from tests.fast.asked_host import AskedHost
from tests.fast.plan.test_plan import INI, NEW, OLD, SCRIPT
from tests.fast.sites import site

FAULTS = {fault.name: fault for fault in CATALOGUE}
BLOCKING = Answer(FAULTS["backups_without_vm"], Verdict.HIT, "SQL", ("backup x of VM 7",))
PACKAGE = TargetPackage("management.deb", NEW, INI, {"schema-42010to42100": SCRIPT})
GOOD = Plan("test", OLD, NEW, PACKAGE, planned(NEW, PACKAGE, [("KVM", "x86_64")]), [])


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A stack whose plan is the one that is given as `plan`."""
    given: dict[str, Any] = {"plan": GOOD, "asked": []}

    def gather(found: Any, connections: Any, new: CloudStackVersion, read: TargetPackage | None, mirror: str = "") -> Plan:
        given["asked"].append((new, read, mirror))
        return cast(Plan, given["plan"])

    reading = SimpleNamespace(site=site(), file=tmp_path / "Pulumi.test.yaml")
    monkeypatch.setattr(plan_command, "read_stack", lambda *_, **__: reading)
    monkeypatch.setattr(facts, "gather", gather)
    return given


def test_a_plan_is_printed_and_a_blocking_fault_fails(stack: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "test"]) == cli.DONE
    assert "CloudStack 4.20.3.0 to 4.22.1.0" in capsys.readouterr().out and stack["asked"] == [(NEW, None, "")]
    stack["plan"] = replace(GOOD, answers=[BLOCKING])
    assert main(["plan", "test", "--json"]) == cli.FAILED
    assert json.loads(capsys.readouterr().out)["faults"][0]["found"] == ["backup x of VM 7"]


@pytest.mark.parametrize(("to", "words"), [("4.20.3.0", "is not later"), ("4.19.1", "is not later"), ("4.77.0.0", "is not a release")])
def test_a_target_is_refused_before_a_server_is_asked(
    to: str, words: str, stack: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "test", "--to", to]) == cli.UNUSABLE
    assert words in capsys.readouterr().err and stack["asked"] == []


def test_a_database_that_is_later_than_the_stack_says_is_not_planned_back(
    stack: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stack["plan"] = replace(GOOD, old=CloudStackVersion("4.22.1.0"))
    assert main(["plan", "test"]) == cli.UNUSABLE
    assert "is not later than the original's version 4.22.1.0" in capsys.readouterr().err


def test_templates_are_written_on_request(stack: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "test"]) == cli.DONE
    written = tmp_path / "Pulumi.test.templates.json"
    assert not written.exists()
    assert main(["plan", "test", "--write-templates"]) == cli.DONE
    assert "1 templates written" in capsys.readouterr().out and json.loads(written.read_text())["version"] == "4.22.1.0"


class Local(AskedHost):
    """A server whose files are in a folder, with a package manager that prints what it is given."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__("newms1")
        self.root = root
        tools = root / "bin"
        tools.mkdir()
        (tools / "dpkg-query").write_text(f"#!/bin/sh\n{f'printf %s {version}' if version else 'exit 1'}\n")
        (tools / "dpkg-query").chmod(0o755)

    def run(self, argv: Sequence[str], *, input: Any = "", **_: Any) -> Result:
        inside = [str(self.root / word.lstrip("/")) if word.startswith("/") else word for word in argv[1:]]
        done = subprocess.run(
            [sys.executable, *inside], input=input, capture_output=True, text=True, check=True,
            env={"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"},
        )  # fmt: skip
        return Result(0, done.stdout, "")


def test_a_new_servers_package_is_read_in_place(tmp_path: Path) -> None:
    host = Local(tmp_path, "4.22.1.0~noble")
    library = tmp_path / "usr/share/cloudstack-management/lib"
    library.mkdir(parents=True)
    for name in ("a.jar", "b.jar"):
        with zipfile.ZipFile(library / name, "w") as jar:
            jar.writestr("META-INF/db/schema-42010to42100.sql", f"-- {name}\n{SCRIPT}")
            jar.writestr("META-INF/db/schema-42010to42100-cleanup.sql", "SELECT 1;")
    (library / "broken.jar").write_text("no zip")
    metadata = tmp_path / METADATA.lstrip("/")
    metadata.parent.mkdir(parents=True)
    metadata.write_text(INI)
    found = package.from_server(host)
    assert found is not None and found.version == NEW and found.metadata == INI
    assert found.scripts["schema-42010to42100"].count(SCRIPT) == 2, "of two archives neither hides the other"
    assert set(found.scripts) == {"schema-42010to42100", "schema-42010to42100-cleanup"}


def test_a_server_without_the_package_has_none(tmp_path: Path) -> None:
    assert package.from_server(Local(tmp_path, "")) is None


@pytest.mark.parametrize("action", ["create", "remove"])
def test_a_workload_is_left_alone_while_a_window_is_open(
    action: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = SimpleNamespace(opened="2026-01-01", closed=None)
    reading = SimpleNamespace(site=site(runs=str(tmp_path)))
    monkeypatch.setattr(workload_command, "read_stack", lambda *_, **__: reading)
    monkeypatch.setattr(record_hosts, "looked_at", lambda *_: SimpleNamespace(look=lambda: opened))
    assert main(["workload", "test", action]) == cli.FAILED
    assert f"`workload {action}` is refused" in capsys.readouterr().err


def test_a_share_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workload", "test", "create", "--like", "facts.json", "--share", "2"]) == cli.UNUSABLE
    assert "--share is no part of a cloud" in capsys.readouterr().err

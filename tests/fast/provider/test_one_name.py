"""`components/` and `provider/` are known by one name each, `parallel_build.components` and `parallel_build.provider`: to everything that reads the code."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

import grimp
import mypy.find_sources
import mypy.options
import pytest

from parallel_build.project import CODE
from tests.fast.wheels import build_wheel, environment_with, files, run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

NAMES = ("parallel_build.components.program", "parallel_build.components.machines.platforms", "parallel_build.provider.server")
WHERE = "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"


def test_nothing_says_another_name() -> None:
    tracked = files("*.py")
    wrong = re.compile(r"^\s*(?:from|import) (?:components|provider)\b", re.MULTILINE)
    assert [name for name in tracked if wrong.search((CODE / name).read_text())] == []


def test_the_type_checker_sees_the_name() -> None:
    options = mypy.options.Options()
    options.explicit_package_bases = True
    before = Path.cwd()
    os.chdir(CODE)
    try:
        found = {source.module for source in mypy.find_sources.create_source_list(["parallel_build"], options)}
    finally:
        os.chdir(before)
    assert set(NAMES) <= found


def test_the_linter_sees_the_name(tmp_path: Path) -> None:
    """One block: it sorts what it takes for the project's own apart from the rest."""
    text = "import pydantic\n\nfrom parallel_build.components.program import main\nfrom parallel_build.errors import StepFailed\n"
    (tmp_path / "sample.py").write_text(text)
    run([sys.executable, "-m", "ruff", "check", "--select", "I", "--stdin-filename", "sample.py", str(tmp_path / "sample.py")], CODE)
    listed = run([sys.executable, "-m", "ruff", "check", "--show-files", "."], CODE).split()
    assert [name for name in listed if name.endswith("components/program.py")] == [str(CODE / "components/program.py")]


def test_the_import_contract_sees_the_name() -> None:
    graph = grimp.build_graph("parallel_build", cache_dir=None)
    assert set(NAMES) <= graph.modules
    assert "parallel_build.components.cloud" in graph.find_modules_directly_imported_by("parallel_build.components.program")


def test_the_editable_install_has_the_name(tmp_path: Path) -> None:
    found = run([sys.executable, "-P", "-c", WHERE, *NAMES], tmp_path).split()
    assert [Path(path).resolve() for path in found] == [
        CODE / "components/program.py", CODE / "components/machines/platforms.py", CODE / "provider/server.py",
    ]  # fmt: skip


def test_a_wheel_has_the_name_and_runs_where_no_checkout_is(tmp_path: Path) -> None:
    home = environment_with(build_wheel(tmp_path), tmp_path / "env")
    python = str(home / "bin/python")
    (library,) = home.glob("lib/python*/site-packages")
    assert all(Path(path).is_relative_to(library) for path in run([python, "-c", WHERE, *NAMES], tmp_path).split())
    assert "recover" in run([str(home / "bin/parallel-build"), "--help"], tmp_path)
    assert os.access(library / "parallel_build/provider/pulumi-resource-cutover", os.X_OK)
    assert (library / "parallel_build/py.typed").is_file()
    (about,) = library.glob("cloudstack_parallel_build-*.dist-info")
    assert "License-Expression: Apache-2.0" in (about / "METADATA").read_text()
    assert (about / "licenses/LICENSE").read_bytes() == (CODE / "LICENSE").read_bytes()


def test_what_it_runs_on_is_declared_once_for_all() -> None:
    """Each package that the code imports is a dependency of the wheel, and pinned."""
    project = tomllib.loads((CODE / "pyproject.toml").read_text())["project"]
    platforms = [each for name in ("libvirt", "vsphere", "acceptance") for each in project["optional-dependencies"][name]]
    names = {re.split(r"[<>=~! ]", each)[0].lower().replace("-", "_") for each in [*project["dependencies"], *platforms]}
    pinned = {
        line.split("==")[0].lower().replace("-", "_") for line in (CODE / "requirements.txt").read_text().splitlines() if "==" in line
    }
    graph = grimp.build_graph("parallel_build", include_external_packages=True, cache_dir=None)
    known = {"google": "protobuf", "grpc": "grpcio", "yaml": "pyyaml", "pyVmomi": "pyvmomi"}
    outside = {name for name in graph.modules if graph.is_module_squashed(name)} - set(sys.stdlib_module_names)
    assert {known.get(name, name) for name in outside} == names
    assert names <= pinned

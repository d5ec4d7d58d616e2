"""The lab that container tests share: brought up once a session, taken down at its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parallel_build.machines.container import namespace
from parallel_build.project import PROJECT
from tests.containers import real_original as real
from tests.containers.database_stand import Combination, combination, roots

UP_LIMIT = 900.0
LIMIT = 900.0


def tell(text: str) -> None:
    """Say what a slow test is doing."""
    print(f"  [{time.strftime('%H:%M:%S')}] {text}", flush=True)


@dataclass(frozen=True)
class LabRunner:
    """Runs `scripts/lab`'s commands on one lab, each in a process of its own: they enter the lab's network."""

    name: str

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        from lab.files import Lab

        return Lab(self.name).folder

    def run(self, *words: str, check: bool = True, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run a command; its output is in the failure when it does not succeed.

        A `shell` is opened from here: tests ask machines hundreds of things, and a Python of its own costs many times as much as the answer.
        """
        if words[0] != "shell" or not (done := self._shell(words[1], words[2:], timeout)):
            done = self.command(*words, timeout=timeout)
        if check and done.returncode != 0:
            pytest.fail(f"lab {' '.join(words)} ended with exit code {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")
        return done

    def command(self, *words: str, timeout: float = LIMIT) -> subprocess.CompletedProcess[str]:
        """Run `scripts/lab`'s command in a process of its own."""
        return _run([sys.executable, "-m", "lab", "--name", self.name, *words], timeout)

    def _shell(self, machine: str, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str] | None:
        """What `shell` does; None where there is no such lab or machine."""
        from lab.errors import LabError
        from lab.files import Lab
        from lab.hosts import log_in

        lab = Lab(self.name)
        try:
            with log_in(lab, machine) as words:
                return namespace.inside(lab.namespace, lambda: _run([*words, *command], timeout))
        except (LabError, FileNotFoundError):
            return None

    def status(self) -> dict[str, Any]:
        """What `scripts/lab status --json` says."""
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def shell(self, machine: str, command: str, check: bool = True) -> str:
        """Run a command on a machine and return what it printed."""
        return self.run("shell", machine, command, check=check).stdout

    def sql(self, machine: str, statement: str) -> str:
        """Run a statement as root of a database machine; columns parted by tabs, no headings."""
        words = statement.replace("'", "'\\''")
        return self.shell(machine, f"$(command -v mariadb || command -v mysql) -N -B -e '{words}'").strip()


def _run(words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )  # fmt: skip


@pytest.fixture(scope="session", params=[
    "mariadb to mariadb", "mysql to mysql", "mariadb to mysql", "mariadb to mariadb, hostile", "mysql to mysql, hostile",
])  # fmt: skip
def servers(request: pytest.FixtureRequest) -> Iterator[Combination]:
    """Database servers of each combination, shared by all tests that want nothing special of them. Tests drop what they make.

    Hostile ones have global settings that change what a statement means, see `database_stand.HOSTILE`.
    """
    pair, _, hostile = request.param.partition(", ")
    old, new = pair.split(" to ")
    if not {old, new} <= roots().keys():
        pytest.skip(f"no root file system with {old} and {new}")
    with combination(old, new, hostile=bool(hostile)) as made:
        yield made


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def real_original(request: pytest.FixtureRequest) -> Iterator[Combination]:
    """The source of a real CloudStack, from its own data folder, and an empty new server of each family.

    A test that changes the source puts it right with `tests.containers.real_original.put_on`.
    """
    if reason := real.missing(request.param):
        pytest.skip(reason)
    with real.real_original(request.param) as made:
        yield made


@pytest.fixture(scope="session")
def lab() -> Iterator[LabRunner]:
    """A lab with containers as new machines, in phase `prepared`. Tests leave it as they found it."""
    # Another name lets two test runs work on one computer.
    runner = LabRunner(os.environ.get("CUTOVER_TEST_LAB", "test"))
    if os.environ.get("CUTOVER_TEST_LAB_KEEP"):  # While a test is written: a lab that is up already, and stays.
        yield runner
        return
    runner.run("down")
    try:
        up = runner.run("up", "--hosts", "containers", timeout=UP_LIMIT)
        print(up.stderr)
        yield runner
    finally:
        runner.run("down", check=False)


@pytest.fixture(scope="session")
def scale() -> Iterator[LabRunner]:
    """A lab with many networks, see `scale_stand`. Tests leave it in phase `prepared`."""
    from tests.containers.scale_stand import scale_lab

    with scale_lab() as made:
        yield made

"""Runs the parts of the tests, three at a time, and prints how long each took; `scripts/test` calls it.

They run side by side, since most of a test with servers is waiting. Every line of a part carries its name. A few tests that fail so are tried once more,
alone (`tools.second_try`), and named in the last lines.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools import second_try

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = [sys.executable, "-m"]

AGAIN = 150
"""Lines that a part which failed printed last, shown once more at the end: between the lines of the other parts they are hard to find."""

TESTS_FAILED = 1
"""pytest's exit code where all tests ran to their end and some failed."""

DRAWN = {
    "CUTOVER_CHAOS_SEED": str(random.SystemRandom().randrange(1_000_000)),
    "CUTOVER_REPLAY_SEED": str(random.SystemRandom().randrange(8_000_000, 9_000_000)),
    "PARALLEL_BUILD_RANDOM_SEED": time.strftime("%Y%m%d"),
}
"""Seeds of tests that draw something else in every run: the second try of one draws what its first try drew, or it would show nothing."""


@dataclass(frozen=True)
class Part:
    """One part of the tests.

    Attributes:
        name: as it is written behind `scripts/test`.
        tests: arguments of pytest; empty for a part that is no pytest run.
        commands: what is run instead.
        purpose: what `scripts/setup` has to make ready for it, beyond the tests' own packages.
    """

    name: str
    tests: Sequence[str] = ()
    commands: Sequence[Sequence[str]] = ()
    purpose: str | None = "lab"


def _containers(name: str, *files: str, timeout: int = 1500) -> Part:
    return Part(name, ("-v", "-s", "-m", "containers", "--timeout", str(timeout), *(f"tests/containers/test_{file}.py" for file in files)))


LINTERS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("tools.import_contract",),
    ("codespell_lib",),
    ("tools.prose",),
    ("mkdocs", "build", "--strict", "--quiet"),
)
"""Each a Python module with its arguments."""

# The longest first, so that no long one is left over at the end. The files of one part share a lab.
PARTS = (
    Part("libvirt", ("-v", "-s", "-m", "libvirt", "--timeout", "3300", "tests")),
    _containers("path", "lab_commands", "main_job"),
    _containers("chaos", "chaos", "replay", timeout=5400),
    # Whole it is `pytest -m databases tests`: hours on two busy processors.
    Part("databases", ("-v", "-s", "-p", "tests.sampling", "--sample", "2", "-m", "databases", "--timeout", "1500", "tests")),
    _containers("commands", "commands", "fencing", "database_fence", "planted_secrets"),
    _containers("existing", "existing", "existing_main_job", "data_disk", timeout=1700),
    Part("engine", ("-q", "-m", "engine", "tests/fast", "tests/contract"), purpose=None),
    Part("vsphere", ("-v", "-m", "vsphere", "--timeout", "900", "tests"), purpose="vsphere-test"),
    _containers("steps", "built_steps", "prepared_steps"),
    _containers("prepared", "health", "user_access", "parity", "prepared_serves"),
    _containers("window", "window_safety"),
    _containers("points", "points", timeout=1800),
    _containers("lost", "lost_for_good", timeout=1800),
    _containers("mysql", "mysql_path"),
    _containers("replicate", "replicate_path"),
    _containers("files", "files_path"),
    _containers("https", "https_only"),
    _containers("frontend", "frontend_programs", "frontend"),
    _containers("rehearsal", "rehearsal"),
    _containers("real", "recorded_cloud"),
    _containers("machines", "lab_machines"),
    _containers("move", "move_path"),
    _containers("shapes", "all_in_one"),
    _containers("newest", "newest_release"),
    _containers("scale", "drain_load", "scale", timeout=1800),
    _containers("hosts", "many_hosts", timeout=1800),
    _containers("agents", "agents_path", "live_patch"),
    _containers("el", "el_path"),
    _containers("el-servers", "el_packages", "el_firewall", "el_existing"),
    _containers("el-mixed", "el_mixed"),
    _containers("galera", "galera", "galera_path", timeout=1800),
    Part("browser", ("-v", "-m", "browser", "tests"), purpose="browser"),
    Part("processes", ("-q", "-m", "processes", "tests/fast", "tests/contract"), purpose=None),
    Part("fast", ("-q",), purpose=None),  # `pytest` as it is typed
    Part("lint", commands=LINTERS, purpose=None),
)
NAMES = tuple(part.name for part in PARTS)


@dataclass
class Outcome:
    """How a part went.

    Attributes:
        broken: what ended wrongly otherwise than by a test that failed.
        fell: tests that failed, each with its file.
        well: tests that passed.
        second: those of them that passed the second time, alone.
        printed: its last lines.
    """

    part: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)
    fell: dict[str, str] = field(default_factory=dict)
    well: frozenset[str] = frozenset()
    second: list[str] = field(default_factory=list)
    printed: deque[str] = field(default_factory=lambda: deque(maxlen=AGAIN))

    @property
    def good(self) -> bool:
        """Nothing failed."""
        return not self.failed and not self.broken

    def line(self) -> str:
        """One line of the report."""
        counts = f", {self.passed} passed, {self.failed} failed, {self.skipped} skipped" if self.passed + self.failed + self.skipped else ""
        broken = f" ({'; '.join(self.broken)})" if self.broken else ""
        second = f" ({len(self.second)} only the second time)" if self.second else ""
        return f"{self.part}: {'passed' if self.good else 'FAILED'} in {self.seconds:.0f} s{counts}{broken}{second}"


def main(words: list[str] | None = None) -> int:
    """Run the named parts, all without names; 0 when all passed."""
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {' '.join(NAMES)}; all without any")
    parser.add_argument("--at-once", type=int, choices=range(1, 5), default=3, help="parts that run side by side (default: 3)")
    parser.add_argument("--purposes", action="store_true", help="only print what scripts/setup has to make ready")
    given = parser.parse_args(words)
    unknown = [name for name in given.parts if name not in NAMES]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)} (parts: {' '.join(NAMES)})")
    chosen = [part for part in PARTS if not given.parts or part.name in given.parts]
    if given.purposes:
        print(*sorted({"test", *(part.purpose for part in chosen if part.purpose)}))
        return 0
    began = time.monotonic()
    with ThreadPoolExecutor(given.at_once) as workers:
        outcomes = list(workers.map(_reported, chosen))
    for outcome in outcomes:
        if not outcome.good:
            print(f"== what {outcome.part} printed last", *outcome.printed, sep="\n")
    _second_tries(outcomes)
    for outcome in outcomes:
        print(f"== {outcome.line()}")
    for outcome in outcomes:
        for name in outcome.second:
            print(f"== failed next to others and passed alone, look for the cause: {name}")
    print(f"== all: {time.monotonic() - began:.0f} s")
    totals = (sum(o.passed for o in outcomes), sum(o.failed for o in outcomes), sum(o.skipped for o in outcomes))
    print("{} passed, {} failed, {} skipped".format(*totals), flush=True)
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _second_tries(outcomes: Sequence[Outcome]) -> None:
    """Try the failed tests once more, one part after the other; a part in which they pass is good."""
    failed = [outcome for outcome in outcomes if not outcome.good]
    if any(outcome.broken for outcome in failed) or not second_try.may_have_one([outcome.fell for outcome in failed]):
        return
    parts = {part.name: part for part in PARTS}
    for outcome in failed:
        part = parts[outcome.part]
        again = _run(Part(part.name, second_try.arguments(part.tests, outcome.fell)))
        outcome.seconds += again.seconds
        if again.good and outcome.fell.keys() <= again.well:  # one that was skipped now, or left out, has not passed
            outcome.second, outcome.passed, outcome.failed = sorted(outcome.fell), outcome.passed + outcome.failed, 0


def _reported(part: Part) -> Outcome:
    outcome = _run(part)
    print(f"== {outcome.line()}", flush=True)
    return outcome


def _run(part: Part) -> Outcome:
    outcome, began = Outcome(part.name), time.monotonic()
    for command in part.commands:
        if _stream(part.name, [*PYTHON, *command], outcome.printed) != 0:
            outcome.broken.append(" ".join(command))
    if part.tests:
        with tempfile.TemporaryDirectory(prefix="tests-") as folder:
            report = Path(folder) / "report.xml"
            code = _stream(part.name, [*PYTHON, "pytest", "--tb=short", f"--junitxml={report}", *part.tests], outcome.printed)
            _count(report, outcome)
        if code != (TESTS_FAILED if outcome.failed else 0):  # it ended early, or crashed: what it did not come to has not passed
            outcome.broken.append(f"pytest ended with exit code {code}")
    outcome.seconds = time.monotonic() - began
    return outcome


def _stream(name: str, command: Sequence[str], printed: deque[str]) -> int:
    """Run a command, each of its lines with the part's name before it; `printed` keeps the last ones."""
    print(f"== {name}: {' '.join(command[1:])}", flush=True)
    # A lab of its own for each part: two must not meet.
    seeds = {key: os.environ.get(key) or value for key, value in DRAWN.items()}
    environment = {**os.environ, **seeds, "CUTOVER_TEST_LAB": f"test-{name}", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        if process.stdout is not None:
            for line in process.stdout:
                printed.append(f"[{name}] {line.rstrip()}")
                print(printed[-1], flush=True)
        return process.wait()


def _count(report: Path, outcome: Outcome) -> None:
    if not report.exists():
        outcome.broken.append("pytest wrote no report")
        return
    found = second_try.read(report, PROJECT)
    outcome.fell, outcome.well = found.failed, found.passed
    outcome.passed, outcome.failed, outcome.skipped = len(found.passed), len(found.failed), len(found.skipped)


if __name__ == "__main__":
    sys.exit(main())

"""The plug-in: `pytest -p parallel_build.acceptance.suite --pyargs parallel_build.acceptance.lines --cloud-url URL`.

What is there already is taken from the workload (`parallel-build workload`), and only its objects are stopped, changed or deleted. Everything that a test
makes belongs to an account of the workload, carries `PREFIX` in its name and is removed at its end, whether the test passed or not.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parallel_build.acceptance.bench import PATIENCE, PREFIX, Bench
from parallel_build.acceptance.results import FAILED, LONGEST, PASSED, SKIPPED, Outcome, Run
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import ConfigurationError
from parallel_build.plan.cloud import access
from parallel_build.workload import kept
from parallel_build.workload.choices import Choices, Item, choose
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload
from parallel_build.workload.things import KINDS

POLL = 0.25  # seconds between two questions how a job stands: the suite has a hundred short ones
KEPT = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The cloud, its keys, and what can only be tried from outside."""
    group = parser.getgroup("cloud", "a cloud's functional tests")
    group.addoption("--cloud-url", help="the API, such as https://cloud.example.org:8443/client/api")
    group.addoption("--cloud-region", help="section of cloudstack.ini")
    group.addoption("--cloud-ca-file", type=Path, help="authorities to check https against")
    group.addoption("--cloud-server-name", help="name in its certificate, where that is not the address's")
    group.addoption("--cloud-zone", default="", help="name of the zone (default: the first that is enabled)")
    group.addoption("--cloud-passwords", type=Path, help="workload.json of the run folder: passwords from before the upgrade")
    group.addoption(
        "--cloud-probe", default="", help="command that must succeed for a VM's address: {address} is replaced, {type} by its network's"
    )
    group.addoption("--cloud-vlan", default="", help="a VLAN that is free in the zone, for a new shared network")
    group.addoption(
        "--cloud-integration", action="append", default=[], help="command of an integrated system that must succeed; may be repeated"
    )
    group.addoption("--cloud-command-timeout", type=float, default=600.0, help="seconds that one such command may take (default: 600)")
    group.addoption(
        "--cloud-patience", type=float, default=PATIENCE, help=f"seconds until what was deleted is gone (default: {PATIENCE:g})"
    )
    group.addoption("--cloud-results", type=Path, help="file that the outcome of every test is kept in, as JSON")
    group.addoption("--cloud-name", default="", help="name of this run in that file")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to keep results."""
    if config.getoption("--cloud-results"):
        config.stash[KEPT] = Run(
            config.getoption("--cloud-name"), datetime.now(UTC).isoformat(timespec="seconds"), str(config.getoption("--cloud-url"))
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep a test's outcome: a run that is cut off has what it came to."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    run = item.config.stash.get(KEPT, None)
    if run is not None:
        before = run.tests.get(item.name, Outcome(PASSED))
        seconds = before.seconds + report.duration
        if report.outcome == PASSED:
            run.tests[item.name] = Outcome(before.outcome, seconds, before.why)
        else:
            run.tests[item.name] = Outcome(SKIPPED if report.outcome == SKIPPED else FAILED, seconds, _why(report))
        run.write(item.config.getoption("--cloud-results"))
    return report  # type: ignore[return-value]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Say that the run came to its end."""
    run = session.config.stash.get(KEPT, None)
    if run is not None:
        run.whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        run.write(session.config.getoption("--cloud-results"))


def _why(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")[:LONGEST]
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:LONGEST]


@pytest.fixture(scope="session")
def cloud(pytestconfig: pytest.Config) -> Cloud:
    """The API, with a root administrator's keys."""
    url = pytestconfig.getoption("--cloud-url")
    if not url:
        raise ConfigurationError("there is no cloud to test", "--cloud-url is missing", "name its API")
    option = pytestconfig.getoption
    opened = access.open_cloud(url, option("--cloud-region"), option("--cloud-ca-file"), option("--cloud-server-name"))
    opened.poll = POLL
    return opened


@pytest.fixture(scope="session")
def chosen(cloud: Cloud, pytestconfig: pytest.Config) -> Choices:
    """What new things are made of."""
    return choose(cloud, Profile(vms=1, disks=1, networks=1), pytestconfig.getoption("--cloud-zone"))


@pytest.fixture
def bench(cloud: Cloud, chosen: Choices, pytestconfig: pytest.Config) -> Iterator[Bench]:
    """The cloud under test; what a test made is removed afterwards, the last first."""
    workload = Workload(cloud, CancelToken(), lambda _: None)
    domain = workload.domain()
    assert domain is not None, "there is no workload: make one with `parallel-build workload STACK create`"
    found = Bench(cloud, workload, domain, chosen, pytestconfig.getoption("--cloud-patience"))
    yield found
    found.clear()


@pytest.fixture(scope="session")
def passwords(pytestconfig: pytest.Config) -> dict[str, str]:
    """Passwords of the workload's users, as they were set before the upgrade."""
    path = pytestconfig.getoption("--cloud-passwords")
    if path is None:
        pytest.skip("passwords from before the upgrade are not given: --cloud-passwords runs/STACK/workload.json")
    return kept.read(path)


class Probe:
    """The operator's command that reaches a VM, from wherever it must be reached."""

    def __init__(self, command: str, timeout: float) -> None:
        self.command, self._timeout = command, timeout

    def reaches(self, address: str, kind: str) -> bool:
        """Whether it succeeds; without a command nothing is known, and every address counts as reached."""
        if not self.command:
            return True
        words = shlex.split(self.command.replace("{address}", address).replace("{type}", kind))
        return not subprocess.run(words, capture_output=True, timeout=self._timeout, check=False).returncode


@pytest.fixture(scope="session")
def probe(pytestconfig: pytest.Config) -> Probe:
    """The command of `--cloud-probe`."""
    return Probe(pytestconfig.getoption("--cloud-probe"), pytestconfig.getoption("--cloud-command-timeout"))


__all__ = ["KINDS", "PREFIX", "Bench", "Item", "Probe", "bench", "chosen", "cloud", "passwords", "probe", "pytest_addoption"]

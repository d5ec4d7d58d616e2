"""The plug-in: `pytest -p parallel_build.acceptance.suite --pyargs parallel_build.acceptance.lines --cloud-url URL`.

What is there already is taken from the workload (`parallel-build workload`), and only its objects are stopped, changed or deleted. Everything that a test
makes carries `PREFIX` in its name and is removed at its end, whether the test passed or not.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.errors import ConfigurationError, ParallelBuildError
from parallel_build.plan.cloud import access
from parallel_build.workload.choices import UNKNOWN_COMMAND, Choices, Item, choose
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload
from parallel_build.workload.things import KINDS, Kind

PREFIX = "acceptance"
LIMIT = 900.0  # seconds one job may take


def pytest_addoption(parser: pytest.Parser) -> None:
    """The cloud, its keys, and what can only be tried from outside."""
    group = parser.getgroup("cloud", "a cloud's functional tests")
    group.addoption("--cloud-url", help="the API, such as https://cloud.example.org:8443/client/api")
    group.addoption("--cloud-region", help="section of cloudstack.ini")
    group.addoption("--cloud-ca-file", type=Path, help="authorities to check https against")
    group.addoption("--cloud-zone", default="", help="name of the zone (default: the first that is enabled)")
    group.addoption("--cloud-passwords", type=Path, help="workload.json of the run folder: passwords from before the upgrade")
    group.addoption("--cloud-probe", default="", help="command that must succeed for a VM's address: {address} is replaced")
    group.addoption(
        "--cloud-integration", action="append", default=[], help="command of an integrated system that must succeed; may be repeated"
    )


@dataclass
class Bench:
    """A cloud under test.

    Attributes:
        cloud: its API.
        workload: the workload on it, and its domain.
        choices: zone, offerings and templates that new things are made of.
    """

    cloud: Cloud
    workload: Workload
    domain: Item
    choices: Choices
    undo: list[Callable[[], None]] = field(default_factory=list)

    def name(self) -> str:
        """A name that nothing else has."""
        return f"{PREFIX}-{secrets.token_hex(4)}"

    def job(self, command: str, **parameters: Any) -> Item:
        """Make a call and wait for its job; a command that this cloud does not have skips the test."""
        try:
            reply = self.cloud.job(command, timeout=LIMIT, cancel=CancelToken(), **parameters)
        except ApiRefused as error:
            if error.code == UNKNOWN_COMMAND:
                pytest.skip(f"this cloud has no {command}")
            raise
        return next((value for value in reply.values() if isinstance(value, dict) and "id" in value), reply)

    def make(self, create: str, delete: str, removal: Mapping[str, str] | None = None, **parameters: Any) -> Item:
        """Make a thing that is deleted at the test's end unless the test has done so."""
        made = self.job(create, **parameters)

        def remove() -> None:
            with contextlib.suppress(ParallelBuildError):
                self.cloud.job(delete, timeout=LIMIT, cancel=CancelToken(), id=made["id"], **dict(removal or {}))  # type: ignore[arg-type]

        self.undo.append(remove)
        return made

    def find(self, command: str, identity: object, **parameters: Any) -> Item | None:
        """One thing by its id, None where the cloud does not list it."""
        found = self.cloud.list(command, listall="true", **parameters)
        return next((item for item in found if str(item["id"]) == str(identity)), None)

    def existing(self, kind: Kind) -> list[Item]:
        """Things of the workload, made before the upgrade.

        A test that has none to work on fails: an empty cloud proves nothing.
        """
        found = [item for name, item in sorted(self.workload.items(kind, self.domain).items()) if name.startswith("wl-")]
        assert found, f"the workload has no {kind.name}: make one with `parallel-build workload STACK create`"
        return found

    def machine(self, networks: str = "") -> Item:
        """A new VM of the administrator's, running."""
        return self.make(
            "deployVirtualMachine", "destroyVirtualMachine", {"expunge": "true"}, name=self.name(), zoneid=self.choices.zone,
            templateid=self.choices.templates[0], serviceofferingid=self.choices.service, networkids=networks or self.network()["id"],
        )  # fmt: skip

    def network(self) -> Item:
        """A new isolated network."""
        name = self.name()
        return self.make(
            "createNetwork", "deleteNetwork", name=name, displaytext=name, zoneid=self.choices.zone, networkofferingid=self.choices.network
        )

    def disk(self) -> Item:
        """A new data disk."""
        size: dict[str, Any] = {"size": 1} if self.choices.custom_disk else {}
        return self.make(
            "createVolume", "deleteVolume", name=self.name(), zoneid=self.choices.zone, diskofferingid=self.choices.disk, **size
        )


@pytest.fixture(scope="session")
def cloud(pytestconfig: pytest.Config) -> Cloud:
    """The API, with a root administrator's keys."""
    url = pytestconfig.getoption("--cloud-url")
    if not url:
        raise ConfigurationError("there is no cloud to test", "--cloud-url is missing", "name its API")
    return access.open_cloud(url, pytestconfig.getoption("--cloud-region"), pytestconfig.getoption("--cloud-ca-file"))


@pytest.fixture(scope="session")
def chosen(cloud: Cloud, pytestconfig: pytest.Config) -> Choices:
    """What new things are made of."""
    return choose(cloud, Profile(vms=1, disks=1, networks=1), pytestconfig.getoption("--cloud-zone"))


@pytest.fixture
def bench(cloud: Cloud, chosen: Choices) -> Iterator[Bench]:
    """The cloud under test; what a test made is removed afterwards, the last first."""
    workload = Workload(cloud, CancelToken(), lambda _: None)
    domain = workload.domain()
    assert domain is not None, "there is no workload: make one with `parallel-build workload STACK create`"
    found = Bench(cloud, workload, domain, chosen)
    yield found
    for undo in reversed(found.undo):
        undo()


@pytest.fixture(scope="session")
def passwords(pytestconfig: pytest.Config) -> dict[str, str]:
    """Passwords of the workload's users, as they were set before the upgrade."""
    path = pytestconfig.getoption("--cloud-passwords")
    if path is None:
        pytest.skip("passwords from before the upgrade are not given: --cloud-passwords runs/STACK/workload.json")
    found: dict[str, str] = json.loads(path.read_text())["passwords"]
    return found


__all__ = ["KINDS", "Bench", "bench", "chosen", "cloud", "passwords", "pytest_addoption"]

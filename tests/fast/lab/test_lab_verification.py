"""What is proved of a lab whose original serves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab import verification
from lab.errors import LabError
from lab.hosts import Sessions
from lab.machines import OLD_SOURCE
from lab.packages import NEW, OLD
from lab.status import Agent, Management, Status

UNITS = {"cloudstack-management": "active", "cloudstack-usage": "inactive"}
WELL = Status(
    lab="test",
    phase="prepared",
    serving="original",
    machines={},
    original=[
        Management("oldms1", OLD, {**UNITS, "cloudstack-usage": "active"}, users=True),
        Management("oldms2", OLD, dict(UNITS), users=True),
    ],
    new=[Management("newms1", None, {"cloudstack-management": "inactive", "cloudstack-usage": "inactive"})],
    agents=[Agent("kvm1", OLD, "Up", "oldms1", "oldms1"), Agent("kvm2", OLD, "Up", "oldms2", "oldms2")],
    system_vms=[{"name": "s-1-VM", "kind": "secondarystoragevm", "state": "Running", "version_appliance": "4.20.2"}],
    replication={"original": {"receiving": True, "applying": True}, "new": None},
)


def sessions(open_window: bool = False) -> Sessions:
    """Sessions whose database host knows whether the window is open."""
    return cast(Sessions, {OLD_SOURCE: SimpleNamespace(run=lambda *_, **__: SimpleNamespace(ok=open_window))})


def test_an_original_that_serves_whole() -> None:
    verification.original(WELL, sessions())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: setattr(found, "serving", "both"), "the serving side is both"),
        (lambda found: setattr(found.original[1], "version", None), "the API of oldms2 says None"),
        (lambda found: setattr(found.original[0], "version", NEW), f"the API of oldms1 says {NEW}"),
        (lambda found: setattr(found.original[1], "users", False), "users do not reach oldms2"),
        (lambda found: found.original[0].units.update({"cloudstack-usage": "failed"}), "usage on oldms1 is failed"),
        (lambda found: found.new[0].units.update({"cloudstack-management": "active"}), "newms1 still runs"),
        (lambda found: setattr(found.agents[1], "connected_to", "newms1"), "kvm2 is Up, connected to newms1"),
        (lambda found: setattr(found.agents[1], "connected_to", "oldms1,newms1"), "connected to oldms1,newms1"),
        (lambda found: setattr(found.agents[0], "connected_to", None), "connected to None"),
        (lambda found: setattr(found.agents[0], "state", "Alert"), "kvm1 is Alert"),
        (lambda found: setattr(found.agents[0], "version", NEW), f"the agent of kvm1 has version {NEW}"),
        (lambda found: found.system_vms[0].update(state="Stopped"), "s-1-VM is Stopped"),
        (lambda found: found.system_vms[0].update(version_appliance="4.22.0"), "with version 4.22.0"),
        (lambda found: found.replication["original"].update(applying=False), "replica does not follow"),
    ],
)
def test_each_thing_that_is_not_as_it_should_be_is_named(change: Callable[[Status], Any], words: str) -> None:
    found = copy.deepcopy(WELL)
    change(found)
    with pytest.raises(LabError, match=words):
        verification.original(found, sessions())


def test_an_open_window_is_named() -> None:
    with pytest.raises(LabError, match="the window is still open"):
        verification.original(WELL, sessions(open_window=True))

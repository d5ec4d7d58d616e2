"""Commands on hypervisors are known by what they are: whatever an operator changes in the list, each runs once and its own reverse undoes it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.configuration import load
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.operations import hypervisor_commands
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from parallel_build.steps import hypervisor_steps
from parallel_build.steps.hypervisor_steps import HypervisorSteps
from tests.fast.memory_records import Records
from tests.fast.sites import values
from tests.fast.window_world import World

UPGRADE = {"hosts": ["kvm1", "kvm2"], "command": ["install", "agent-4.22"], "reverse": ["install", "agent-4.20"]}
REPOSITORY = {"hosts": ["kvm1", "kvm2"], "command": ["add", "repository"], "reverse": ["remove", "repository"]}


class Stand:
    """Hypervisors that note what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.failing = World(), set[str]()
        self.unreachable: set[str] = set()
        self.ran: list[str] = []
        self.world.context.intend = lambda *_, **__: None  # type: ignore[method-assign]
        self.records = Records(WindowRecord("test", self.world.site.identity, opened="then"), self.world.site)
        for module in (hypervisor_commands, hypervisor_steps):
            if hasattr(module, "store"):
                monkeypatch.setattr(module, "store", lambda _: self.records)
        monkeypatch.setattr("tests.fast.window_world.Machine.run", lambda machine, argv, **_: self.run(machine.name, argv), raising=False)

    def run(self, name: str, argv: list[str]) -> Result:
        if name in self.unreachable:
            raise ConnectionFailed(f"{name} can't be reached over SSH", "", "")
        if name in self.failing:
            raise CommandFailed(f"{name}: failed", "", "")
        self.ran.append(f"{name}: {' '.join(argv)}")
        return Result(0, "", "")

    def configure(self, *steps: dict[str, Any], hosts: int = 2) -> None:
        given = values(hypervisorSteps=list(steps))
        given["original"]["hypervisors"] = given["original"]["hypervisors"][:hosts]
        self.world.site = dataclasses.replace(self.world.site, configuration=load(given, "test"))
        self.world.context.site = self.world.site

    def apply(self) -> list[str]:
        self.ran.clear()
        HypervisorSteps().apply(self.world.context)
        return list(self.ran)

    def revert(self) -> list[str]:
        self.ran.clear()
        HypervisorSteps().revert(self.world.context)
        return list(self.ran)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(monkeypatch)


def test_a_command_put_in_front_runs_and_no_other_runs_again(stand: Stand) -> None:
    stand.configure(UPGRADE)
    assert stand.apply() == ["kvm1: install agent-4.22", "kvm2: install agent-4.22"]
    stand.configure(REPOSITORY, UPGRADE)
    assert stand.apply() == ["kvm1: add repository", "kvm2: add repository"]
    assert stand.apply() == []
    assert stand.revert() == [
        "kvm2: remove repository", "kvm1: remove repository", "kvm2: install agent-4.20", "kvm1: install agent-4.20",
    ]  # fmt: skip
    assert stand.revert() == [] and hypervisor_commands.left(stand.world.context) == []


def test_a_command_taken_out_is_undone_by_the_record(stand: Stand) -> None:
    stand.configure(UPGRADE)
    stand.apply()
    stand.configure()
    assert stand.revert() == ["kvm2: install agent-4.20", "kvm1: install agent-4.20"]
    assert hypervisor_commands.left(stand.world.context) == []


def test_a_reverse_that_was_never_due_does_not_run(stand: Stand) -> None:
    stand.configure(UPGRADE)
    stand.apply()
    stand.configure(REPOSITORY, UPGRADE)
    assert stand.revert() == ["kvm2: install agent-4.20", "kvm1: install agent-4.20"]


def test_what_could_not_be_undone_stays_on_record_with_its_command(stand: Stand) -> None:
    stand.configure(UPGRADE)
    stand.apply()
    stand.failing = {"kvm1"}
    assert stand.revert() == ["kvm2: install agent-4.20"]
    assert hypervisor_commands.left(stand.world.context) == ["hypervisor step on kvm1 (install agent-4.20)"]
    stand.failing = set()
    assert stand.revert() == ["kvm1: install agent-4.20"]


def test_a_host_that_was_taken_out_is_named_with_what_is_to_be_run_there(stand: Stand) -> None:
    stand.configure(UPGRADE)
    stand.apply()
    stand.configure(hosts=1)
    assert stand.revert() == ["kvm1: install agent-4.20"]
    assert hypervisor_commands.left(stand.world.context) == ["hypervisor step on kvm2 (install agent-4.20)"]
    assert any("put it back into original.hypervisors, or run there: install agent-4.20" in line for line in stand.world.reported)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_dead_host_that_was_put_aside_before_the_window_is_passed_over(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """The guards let the window open without it: it must not end there, users out."""
    stand.configure({**UPGRADE, "atOnce": at_once})
    stand.unreachable = {"kvm1"}
    with pytest.raises(ConnectionFailed):
        stand.apply()
    assert stand.records.record is not None
    stand.records.record.facts["Window"] = {"hypervisors_away": ["kvm1"]}
    stand.apply()
    assert any("before it runs VMs again, there: install agent-4.22" in line for line in stand.world.reported)
    assert hypervisor_commands.hosts_on_record(stand.world.context) == {"kvm2"}, "nothing was done on it that could be undone"
    stand.unreachable = set()
    assert stand.apply() == ["kvm1: install agent-4.22"], "it is there again"


def test_the_address_of_a_dead_host_that_was_put_aside_before_the_window_is_not_waited_for(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, str] = {}

    def written(context: Any, hypervisor: Any) -> str:
        if hypervisor.name == "kvm1":
            raise ConnectionFailed("kvm1 can't be reached over SSH", "", "")
        return "10.91.0.11"

    monkeypatch.setattr(hypervisor_commands, "written", written)
    monkeypatch.setattr(hypervisor_commands, "set_addresses", lambda _, host, value, **__: given.update({host.name: value}))
    monkeypatch.setattr(hypervisor_commands, "Services", lambda _: SimpleNamespace(state=lambda _: SimpleNamespace(active=True)))
    with pytest.raises(ConnectionFailed):
        hypervisor_commands.write_addresses(stand.world.context)
    assert stand.records.record is not None
    stand.records.record.facts["Window"] = {"hypervisors_away": ["kvm1"]}
    hypervisor_commands.write_addresses(stand.world.context)
    assert given == {"kvm2": "10.91.0.41,10.91.0.42"}


def test_an_address_on_a_host_that_was_taken_out_says_what_to_do(stand: Stand) -> None:
    assert stand.records.record is not None
    stand.records.record.facts["HypervisorSteps"] = {"addresses": {"kvm2": "10.91.0.11"}}
    assert hypervisor_commands.left(stand.world.context) == ["the agent's address on kvm2"]
    stand.configure(hosts=1)
    assert "put it back into original.hypervisors" in hypervisor_commands.left(stand.world.context)[0]


def test_marks_of_version_1_are_places_of_its_list(stand: Stand) -> None:
    stand.configure(UPGRADE)
    assert stand.records.record is not None
    stand.records.record.facts["HypervisorSteps"] = {"started": ["0/kvm1", "0/kvm2"], "done": ["0/kvm1"]}
    assert stand.apply() == ["kvm2: install agent-4.22"]
    assert stand.revert() == ["kvm2: install agent-4.20", "kvm1: install agent-4.20"]


def test_no_sealed_value_gets_into_the_record(stand: Stand) -> None:
    sealed = {**REPOSITORY, "command": ["add", "deb https://TOKEN-1234@example"]}
    stand.configure(sealed)
    stand.world.site = dataclasses.replace(stand.world.site, sealed=(Secret("TOKEN-1234"),))
    stand.world.context.site = stand.world.site
    stand.apply()
    assert stand.records.record is not None and "TOKEN-1234" not in stand.records.record.to_json()
    stand.configure()
    assert stand.revert() == [] and len(hypervisor_commands.left(stand.world.context)) == 2
    stand.configure(sealed)
    assert stand.revert() == ["kvm2: remove repository", "kvm1: remove repository"]


def test_an_agent_that_was_down_on_purpose_gets_its_file_and_stays_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch)
    files = {"kvm1": "10.91.0.11", "kvm2": "10.91.0.11"}
    running = {"kvm1": True, "kvm2": False}
    restarted: list[str] = []

    def given(context: Any, hypervisor: Any, value: str, *, restart: bool = True) -> None:
        files[hypervisor.name] = value
        if restart:
            restarted.append(hypervisor.name)
            running[hypervisor.name] = True

    def services(host: Any) -> Any:
        return SimpleNamespace(state=lambda unit: SimpleNamespace(active=running[host.name]))

    monkeypatch.setattr(hypervisor_commands, "written", lambda context, hypervisor: files[hypervisor.name])
    monkeypatch.setattr(hypervisor_commands, "set_addresses", given)
    monkeypatch.setattr(hypervisor_commands, "Services", services)
    monkeypatch.setattr(hypervisor_commands, "hosts_with_agent", lambda configuration: configuration.original.hypervisors)
    hypervisor_commands.write_addresses(stand.world.context)
    assert restarted == ["kvm1"] and files["kvm2"] == files["kvm1"] != "10.91.0.11"
    running["kvm1"] = False  # its restart has failed: that is not how it was found
    hypervisor_commands._restore_addresses(stand.world.context)
    assert files == {"kvm1": "10.91.0.11", "kvm2": "10.91.0.11"}
    assert running == {"kvm1": True, "kvm2": False}

"""Users in by the configured order, and out of the new side by whichever undo comes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.components.cutover import ORDER
from parallel_build.configuration import Phase
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.operations import original_numbers, packet_filter, prove_user_access, user_firewall, users_in, users_out
from parallel_build.records.states import start_of
from parallel_build.records.window import WindowRecord
from parallel_build.steps import acceptance, additional_management, hypervisors, routers, system_vms
from tests.fast.memory_records import Records
from tests.fast.sites import site


class Window:
    """The new side is switched to; what opens and closes is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any] | None = None, **changes: Any) -> None:
        self.site = site(**changes)
        self.record = WindowRecord("test", self.site.identity, opened="then", switched="then", facts=facts or {})
        self.done: list[str] = []
        self.reported: list[str] = []
        self.context: Any = SimpleNamespace(
            cancel=CancelToken(),
            site=self.site,
            step="Test",
            configuration=self.site.configuration,
            progress=self.reported.append,
            intend=lambda *_, **__: None,
            note=lambda **_: None,
        )
        for module in (users_in, acceptance, user_firewall):
            monkeypatch.setattr(module, "store", lambda _: Records(self.record, self.site))
        monkeypatch.setattr(users_out, "note_out", lambda *_: None)
        monkeypatch.setattr(original_numbers, "note", lambda _: None)
        monkeypatch.setattr(user_firewall, "admit_on_new", lambda _: self.done.append("in"))
        monkeypatch.setattr(user_firewall, "close_on_new", lambda _: self.done.append("out"))
        monkeypatch.setattr(users_in, "fence_new_side", lambda _, *, insist: self.done.append("fenced"))
        for module in (acceptance, hypervisors):
            monkeypatch.setattr(module, "ensure_running", lambda _: None)
        monkeypatch.setattr(hypervisors, "await_hosts", lambda _: [])


def test_additional_servers_and_routers_come_after_users_are_in() -> None:
    names = [name for name, _ in ORDER]
    assert names[-4:] == ["system-vms", "acceptance", "additional-management", "routers"]
    assert routers.Routers.phase is Phase.SWITCHED


def test_with_first_users_are_in_when_server_and_hosts_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, window={"usersIn": "first"})
    hypervisors.Hypervisors().apply(window.context)
    assert window.done == ["in"]
    acceptance.Acceptance().apply(window.context)
    assert window.done == ["in"] and window.record.facts["Acceptance"] == {"passed": True, "accepted": True}


def test_with_accepted_only_after_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, acceptance={"commands": [["false"], ["true"]]})
    hypervisors.Hypervisors().apply(window.context)
    with pytest.raises(StepFailed):
        acceptance.Acceptance().apply(window.context)
    assert window.done == []
    monkeypatch.setattr(acceptance, "run_local", lambda *_: None)
    acceptance.Acceptance().apply(window.context)
    assert window.done == ["in"]


def test_with_wait_not_even_then(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, routers={"untilRenewed": "wait"})
    hypervisors.Hypervisors().apply(window.context)
    acceptance.Acceptance().apply(window.context)
    assert window.done == [] and window.record.facts["Acceptance"] == {"passed": True}
    assert not users_in.are_in(window.context)


def test_a_failed_acceptance_never_puts_users_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, window={"usersIn": "first"}, acceptance={"commands": [["false"], ["true"], ["sh", "-c", "exit 3"]]})
    hypervisors.Hypervisors().apply(window.context)
    with pytest.raises(StepFailed, match=r"2 acceptance commands failed: false ended with exit code 1.*exit code 3") as failed:
        acceptance.Acceptance().apply(window.context)
    assert window.done == ["in"] and "stay in" in failed.value.cause and "parallel-build back test" in failed.value.remedy
    assert "passed" not in window.record.facts.get("Acceptance", {})


def test_a_change_of_the_key_after_the_switch_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, {"UsersIn": {"point": "accepted"}}, window={"usersIn": "first"})
    hypervisors.Hypervisors().apply(window.context)
    assert window.done == []


IN = {"UsersIn": {"point": "first", "at": "then"}}
UNDOS: list[Any] = [routers.Routers, acceptance.Acceptance, system_vms.SystemVms, hypervisors.Hypervisors]


@pytest.mark.parametrize("first", UNDOS)
@pytest.mark.parametrize("facts", [IN, {"UsersIn": {"point": "first", "opening": "then"}}, {"Acceptance": {"accepted": True}}])
def test_whichever_undo_comes_first_takes_users_out_and_the_others_don_t_repeat_it(
    monkeypatch: pytest.MonkeyPatch, first: Any, facts: dict[str, Any]
) -> None:
    window = Window(monkeypatch, {name: dict(value) for name, value in facts.items()})
    for step in [first, *UNDOS]:
        step().revert(window.context)
    assert sorted(window.done) == ["fenced", "out"]


def test_an_undo_of_a_window_in_which_users_never_were_takes_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    for step in (routers.Routers, system_vms.SystemVms, hypervisors.Hypervisors):
        step().revert(window.context)
    assert window.done == []


def test_ahead_of_the_state_users_are_left_in_on_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, {**IN, "Back": {"ahead": True}})
    window.record.returning = "now"
    for step in UNDOS:
        step().revert(window.context)
    assert window.done == ["fenced"], "once"


def test_only_servers_that_are_good_are_asked_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch)
    assert [server.name for server in user_firewall.serving(window.context)] == ["newms1"]
    window.record.facts[start_of("newms2", first=False)] = {"good": {"seconds": 1}}
    assert [server.name for server in user_firewall.serving(window.context)] == ["newms1", "newms2"]


@pytest.mark.parametrize("good", [False, True], ids=["not started yet", "started before"])
def test_a_dead_further_server_keeps_nobody_out_who_comes_by_the_first(monkeypatch: pytest.MonkeyPatch, good: bool) -> None:
    admit = user_firewall.admit_on_new
    window = Window(monkeypatch)
    if good:
        window.record.facts[start_of("newms2", first=False)] = {"good": {"x": 1}}
    window.context.host = lambda server: server.name
    window.context.run = SimpleNamespace(record=lambda *_, **__: None)
    opened: list[str] = []
    dead = {"newms2"}

    def open_again(name: str) -> None:
        if name in dead:
            raise ConnectionFailed(f"{name} can't be reached over SSH", "", "")
        opened.append(name)

    asked: list[list[str]] = []
    monkeypatch.setattr(packet_filter, "open_again", open_again)
    monkeypatch.setattr(user_firewall, "tell_where", lambda context, server: None)
    monkeypatch.setattr(prove_user_access, "users_are_in", lambda context, servers, *, must: asked.append([each.name for each in servers]))
    admit(window.context)
    assert opened == ["newms1"] and asked == [["newms1"]]
    assert any("users are not let in on newms2 yet" in line for line in window.reported)
    dead.add("newms1")
    with pytest.raises(ConnectionFailed, match="newms1"):
        admit(window.context)


def test_a_further_server_is_opened_when_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(monkeypatch, {"UsersIn": {"at": "then"}})
    opened: list[str] = []
    monkeypatch.setattr(packet_filter, "open_again", opened.append)
    window.context.host = lambda server: server.name
    monkeypatch.setattr(additional_management, "store", lambda _: Records(window.record, window.site))
    monkeypatch.setattr(additional_management, "ensure_running", lambda _: None)
    monkeypatch.setattr(additional_management, "present_fingerprint", lambda _: "x")
    monkeypatch.setattr(additional_management, "start_usage", lambda _: {})
    monkeypatch.setattr(additional_management, "ManagementStart", lambda *_, **__: SimpleNamespace(run=lambda fingerprint: {}))
    monkeypatch.setattr(prove_user_access, "users_are_in", lambda *_, **__: [])
    additional_management.AdditionalManagement().apply(window.context)
    assert opened == ["newms2"]

"""Agents taken from servers that were cut off, and what a rollback reports about hosts that are not on the original again."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.endpoint import ApiUnavailable
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import fence_new_side, hosts_back, hypervisor_commands, original_management
from tests.fast.quick_time import hurry
from tests.fast.sites import site

AGENT = "0 0 10.91.0.21:51234 10.91.0.42:8250\n"
ELSEWHERE = "0 0 10.91.0.22:51234 10.91.0.11:8250\n"


class Hosts:
    """KVM hosts by what their agents are connected to; None can't be reached."""

    def __init__(self, **peers: str | None) -> None:
        self.peers = peers
        self.given: dict[str, str] = {}

    def host(self, server: Any) -> Any:
        def run(words: list[str]) -> Any:
            text = self.peers.get(server.name)
            if text is None:
                raise ConnectionFailed(f"{server.name} can't be reached over SSH", "", "")
            return SimpleNamespace(stdout=text)

        return SimpleNamespace(name=server.name, run=run)


class Original:
    """The original's database."""

    def __init__(self) -> None:
        self.rows_: list[dict[str, str]] = []

    def value(self, statement: str) -> str:
        return "10.91.0.41,10.91.0.42,10.91.0.11,10.91.0.12"

    def rows(self, statement: str) -> list[dict[str, str]]:
        return self.rows_


def at(monkeypatch: pytest.MonkeyPatch, hosts: Hosts, facts: dict[str, Any], original: Original | None = None) -> Any:
    store = SimpleNamespace(facts=lambda step: facts.get(step, {}))
    for module in (hosts_back, fence_new_side):
        monkeypatch.setattr(module, "store", lambda context: store)
    monkeypatch.setattr(hosts_back, "session", lambda host: contextlib.nullcontext(original or Original()))
    monkeypatch.setattr(hosts_back, "original_database", lambda context: None)
    monkeypatch.setattr(hypervisor_commands, "set_addresses", lambda context, host, value: hosts.given.update({host.name: value}))
    hurry(monkeypatch, hosts_back)
    window = {"userAccess": {"method": "firewall", "administrators": ["10.91.0.1/32"]}, "hostsTimeout": "2s"}
    configuration = site(window=window).configuration
    return SimpleNamespace(
        configuration=configuration, host=hosts.host, progress=lambda text: None, intend=lambda *_, **__: None, cancel=CancelToken()
    )


def test_an_agent_on_a_server_that_was_cut_off_is_given_the_originals_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(kvm1=AGENT, kvm2=ELSEWHERE)
    context = at(monkeypatch, hosts, {"CutOff": {"servers": {"newms2": "10.91.0.42"}}})
    assert hosts_back.take_agents(context) == []
    assert hosts.given == {"kvm1": "10.91.0.11,10.91.0.12"}, "an agent that is elsewhere is left alone"


def test_nothing_is_asked_where_every_server_was_proved_down(monkeypatch: pytest.MonkeyPatch) -> None:
    context = at(monkeypatch, Hosts(kvm1=None, kvm2=None), {"CutOff": {"servers": {}}})
    assert hosts_back.take_agents(context) == []


def test_a_host_that_can_not_be_asked_is_listed_and_keeps_the_others_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(kvm1=None, kvm2=AGENT)
    context = at(monkeypatch, hosts, {"CutOff": {"servers": {"newms2": "10.91.0.42"}}})
    (left,) = hosts_back.take_agents(context)
    assert left.startswith("agent on kvm1 (may be connected to newms2): kvm1 can't be reached")
    assert list(hosts.given) == ["kvm2"]


UP = {"a": "kvm1", "b": "kvm2"}


class Api:
    """Its list of hosts; None does not answer."""

    def __init__(self, *answers: list[str] | None) -> None:
        self.answers = list(answers)

    def list(self, command: str, **_: str) -> list[dict[str, str]]:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if found is None:
            raise ApiUnavailable("no answer", "", "", None)
        listed = [{"id": each, "state": "Up" if each in found else "Disconnected"} for each in UP if f"-{each}" not in found]
        return [{**host, "resourcestate": "Maintenance" if f"m{host['id']}" in found else "Enabled"} for host in listed] if found else []


@pytest.mark.parametrize(
    ("answers", "rows", "words"),
    [
        ([["a"], ["a", "b"]], [], []),
        ([["a"]], [], ["host kvm2 is not connected to the original"]),
        ([["a", "mb"]], [], []),
        ([["a", "-b"]], [], []),
        ([[]], [], ["host kvm1 is not connected to the original", "host kvm2 is not connected to the original"]),
        ([None], ["a", "b"], []),
        ([None], ["b"], ["host kvm1 is not connected to the original"]),
    ],
    ids=["comes in time", "does not come", "in maintenance", "removed", "none is listed", "by the table", "not by the table"],
)
def test_hosts_that_were_up_are_up_on_the_original_or_are_listed(
    monkeypatch: pytest.MonkeyPatch, answers: list[list[str] | None], rows: list[str], words: list[str]
) -> None:
    original = Original()
    original.rows_ = [{"id": each, "state": "Up" if each in rows else "Alert"} for each in UP]
    context = at(monkeypatch, Hosts(), {"Window": {"hosts_up": UP}}, original)
    api = Api(*answers)
    monkeypatch.setattr(original_management, "answering", lambda context: api)
    found = hosts_back.missing(context)
    assert [each.partition(" after")[0] for each in found] == words


def test_an_agent_that_comes_to_a_cut_off_server_later_is_taken_while_its_host_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(kvm1=ELSEWHERE, kvm2=AGENT)
    context = at(monkeypatch, hosts, {"CutOff": {"servers": {"newms2": "10.91.0.42"}}, "Window": {"hosts_up": UP}})
    monkeypatch.setattr(hosts_back, "TAKE_EVERY", 0.0)
    api = Api(["a"], ["a", "b"])
    monkeypatch.setattr(original_management, "answering", lambda context: api)
    assert hosts_back.missing(context) == []
    assert hosts.given == {"kvm2": "10.91.0.11,10.91.0.12"}


def test_agents_that_can_not_be_taken_keep_no_rollback_from_continuing(monkeypatch: pytest.MonkeyPatch) -> None:
    context = at(monkeypatch, Hosts(), {"CutOff": {"servers": {"newms2": "10.91.0.42"}}})

    def lost(host: Any) -> Any:
        raise ConnectionFailed("olddb1: the session was lost", "", "")

    monkeypatch.setattr(hosts_back, "session", lost)
    assert hosts_back.take_agents(context) == ["agents that may be connected to newms2: olddb1: the session was lost"]


def test_where_nobody_can_be_asked_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    context = at(monkeypatch, Hosts(), {"Window": {"hosts_up": UP}})

    def lost(host: Any) -> Any:
        raise ConnectionFailed("olddb1 can't be reached over SSH", "", "")

    monkeypatch.setattr(hosts_back, "session", lost)
    monkeypatch.setattr(original_management, "answering", lambda context: Api(None))
    (words,) = hosts_back.missing(context)
    assert words.startswith("whether kvm1, kvm2 are connected to the original can't be asked")

"""A hypervisor that is dead and put aside keeps no window from opening; one that the cloud uses does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import agents
from parallel_build.errors import ConnectionFailed, GuardFailed
from parallel_build.facts import original
from parallel_build.guards import world
from parallel_build.health.facts import _problems
from parallel_build.operations import agent_survey
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD, new
from tests.fast.sites import site

WORDS = "kvm2 can't be reached over SSH"


def host(number: int, state: str = "Up", resource: str = "Enabled", **more: str) -> dict[str, str]:
    return {"id": f"id-{number}", "name": f"kvm{number}", "state": state, "resourcestate": resource, "hypervisor": "KVM", **more}


@pytest.mark.parametrize(
    ("second", "away"),
    [
        (host(2, "Down", "Maintenance"), True),
        (host(2, "Alert", "Disabled"), True),
        ({**host(2, "Down", "ErrorInMaintenance"), "name": "node-b", "ipaddress": "10.91.0.22"}, True),
        ({**host(2, "Down", "Maintenance"), "name": "kvm2.example.org"}, True),
        (host(2), False),
        (host(2, "Down"), False),
        (None, False),
    ],
)
def test_only_what_the_cloud_does_without_may_be_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, second: dict[str, str] | None, away: bool
) -> None:
    def asked(_: Any, __: Any, server: Any) -> dict[str, Any]:
        if server.name == "kvm2":
            raise ConnectionFailed(WORDS, "", "")
        return {}

    monkeypatch.setattr(original, "_server", asked)
    monkeypatch.setattr(original, "_cloud", lambda _: {"hosts": [host(1), *([second] if second else [])]})
    for name in ("_database", "_beating", "_carried", "_uses"):
        monkeypatch.setattr(original, name, lambda *_: {})
    found = original.gather(site(), SimpleNamespace())  # type: ignore[arg-type]
    assert list(found.away) == (["kvm2"] if away else []) and any(WORDS in each for each in found.problems) is not away


def test_of_an_original_whose_api_does_not_answer_nothing_is_taken_for_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        raise ConnectionFailed("nobody answers", "", "")

    for name in ("_server", "_cloud", "_database", "_beating", "_carried", "_uses"):
        monkeypatch.setattr(original, name, lost)
    assert original.gather(site(), SimpleNamespace()).away == {}  # type: ignore[arg-type]


AWAY = replace(GOOD_OLD, away={"kvm2": WORDS})


def test_the_window_opens_without_it_and_it_is_named() -> None:
    fresh = new(unreachable=["kvm2 (10.91.0.22:22)"])
    assert guards.check(site(), AWAY, fresh) == [guard.name for guard in guards.GUARDS]
    assert any("kvm2 can't be reached and is put aside" in line for line in world.notices(site(), AWAY))
    with pytest.raises(GuardFailed, match="newms1 can't reach kvm2"):
        guards.new.needed_servers_are_reachable(site(), GOOD_OLD, fresh)
    with pytest.raises(GuardFailed, match=r"newms1 can't reach kvm1 \(10\.91\.0\.21:22\)\."):
        guards.new.needed_servers_are_reachable(site(), AWAY, new(unreachable=["kvm2 (10.91.0.22:22)", "kvm1 (10.91.0.21:22)"]))


def test_every_new_server_that_lacks_a_way_is_named_at_once() -> None:
    (first,) = new(unreachable=["ldap (192.0.2.5:389)"]).management
    both = replace(GOOD_NEW, management=[first, replace(first, name="newms2")])
    with pytest.raises(GuardFailed, match=r"newms1 can't reach ldap .*; newms2 can't reach ldap"):
        guards.new.needed_servers_are_reachable(site(), GOOD_OLD, both)


def test_health_does_not_report_it_either() -> None:
    found = [f"{WORDS} (10.91.0.22)", "kvm2: agent's certificate can't be read", "kvm22 can't be reached over SSH", "olddb1: refused"]
    assert _problems(found, AWAY) == ["kvm22 can't be reached over SSH", "olddb1: refused"]
    assert _problems(found, GOOD_OLD) == sorted(found)


@pytest.mark.parametrize(
    ("zones", "failing"),
    [
        ([{"name": "z1"}, {"name": "z2", "allocationstate": "Disabled"}], []),
        ([{"name": "z1"}, {"name": "z2", "type": "Edge"}], ["hosts_are_up"]),
        ([{"name": "z1"}, {"name": "z2"}], ["hosts_are_up"]),
        ([], ["hosts_are_up"]),
    ],
    ids=["disabled", "edge", "enabled", "unknown"],
)
def test_hosts_of_a_zone_that_is_disabled_need_not_be_up(zones: list[dict[str, str]], failing: list[str]) -> None:
    """One that is being built, or retired."""
    old = replace(GOOD_OLD, zones=zones, hosts=[{**host(1), "zonename": "z1"}, {**host(2, "Down"), "zonename": "z2"}])
    assert guards.report(site(), old, GOOD_NEW).failing == failing


@pytest.mark.parametrize(("resource", "behind"), [("Maintenance", []), ("Disabled", []), ("Enabled", ["kvm2"])])
def test_an_agent_on_a_host_that_is_put_aside_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, resource: str, behind: list[str]) -> None:
    def known(_: Any, hypervisor: Any) -> list[str] | str:
        return ["10.91.0.41"] if hypervisor.name == "kvm1" else WORDS

    monkeypatch.setattr(agent_survey, "_known", known)
    cloud: Any = SimpleNamespace(list=lambda command, **_: [host(1), host(2, "Down", resource)] if command == "listHosts" else [])
    context: Any = SimpleNamespace(configuration=site().configuration, cancel=CancelToken())
    survey = agent_survey.survey_agents(context, cloud, lambda known: "10.91.0.41" in known)
    assert list(survey.behind) == behind and survey.unproved == ([] if behind else ["kvm2"])
    assert agents.AgentHost(host(2, "Down", resource), None).aside is not bool(behind)

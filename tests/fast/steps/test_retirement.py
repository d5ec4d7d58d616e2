"""Which hosts keep a stack from being retired."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import GuardFailed
from parallel_build.operations.context import Context
from parallel_build.steps import retirement
from parallel_build.steps.retirement import Retirement
from tests.fast.sites import site


def prove(monkeypatch: pytest.MonkeyPatch, hosts: list[dict[str, str]], removed: list[str], **noted: Any) -> None:
    """Two hosts were Up when the window opened; these are listed now, and these the database has as removed."""
    here = site()
    capability = {"capability": {"cloudstackversion": str(here.configuration.new.version)}}
    cloud = SimpleNamespace(list=lambda *_, **__: hosts, call=lambda *_: capability)
    database = SimpleNamespace(rows=lambda _, ids: [{"uuid": each} for each in removed if each in ids])
    facts = {"Window": {"hosts_up": {"id-1": "kvm1", "id-2": "kvm2"}, **noted}}
    monkeypatch.setattr(retirement, "store", lambda _: SimpleNamespace(facts=lambda step: facts.get(step, {})))
    monkeypatch.setattr(retirement, "new_database", lambda _: None)
    monkeypatch.setattr(retirement, "session", lambda _: contextlib.nullcontext(database))
    context: Any = SimpleNamespace(configuration=here.configuration)
    Retirement()._prove_serving(cast(Context, context), cast(Cloud, cloud))


def test_a_host_that_was_removed_from_the_cloud_is_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error's own remedy says so: fix the host, or remove it."""
    prove(monkeypatch, [{"id": "id-1", "state": "Up"}], removed=["id-2"])


@pytest.mark.parametrize("resource", ["Maintenance", "Disabled"])
def test_a_host_under_repair_is_not_expected(monkeypatch: pytest.MonkeyPatch, resource: str) -> None:
    hosts = [{"id": "id-1", "state": "Up"}, {"id": "id-2", "state": "Down", "resourcestate": resource}]
    prove(monkeypatch, hosts, removed=[], hosts_aside=[])
    for noted in ({"hosts_aside": ["id-2"]}, {}):  # it was put aside, and Up, when the window opened; or nobody noted that
        with pytest.raises(GuardFailed, match="not Up on it: kvm2"):
            prove(monkeypatch, hosts, removed=[], **noted)


@pytest.mark.parametrize("others", [[], [{"id": "id-2", "state": "Alert"}]])
def test_a_host_that_is_away_is_expected(monkeypatch: pytest.MonkeyPatch, others: list[dict[str, str]]) -> None:
    with pytest.raises(GuardFailed, match="not Up on it: kvm2"):
        prove(monkeypatch, [{"id": "id-1", "state": "Up"}, *others], removed=[])

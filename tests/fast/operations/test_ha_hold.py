"""High availability is off while agents restart, by a value of each zone's own, and as it was found afterwards, on either side."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.operations import agent_wave, ha_hold, original_management
from parallel_build.records.window import WindowRecord
from tests.fast.memory_records import Records
from tests.fast.sites import site

VM, HOST = ha_hold.VM_HA, ha_hold.HOST_HA


class Database:
    """Zones and their details; also what answers as the API."""

    def __init__(self, **details: dict[str, str]) -> None:
        self.details = {"1": dict(details.get("z1", {})), "2": dict(details.get("z2", {}))}
        self.calls: list[str] = []

    def rows(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        if "data_center_details" in statement:
            return [{"dc_id": int(zone), "name": name, "value": value} for zone, own in self.details.items() for name, value in own.items()]
        return [{"id": int(zone), "uuid": f"uuid-{zone}"} for zone in self.details]

    def execute(self, statement: str, values: list[Any]) -> int:
        if statement.startswith("DELETE"):
            del self.details[values[0]][values[1]]
        elif statement.startswith("UPDATE"):
            assert values[2] in self.details[values[1]]
            self.details[values[1]][values[2]] = values[0]
        else:
            assert values[1] not in self.details[values[0]]
            self.details[values[0]][values[1]] = values[2]
        return 1

    def call(self, what: str, *, name: str, zoneid: str, value: str = "") -> None:
        self.calls.append(what)
        own = self.details[zoneid.removeprefix("uuid-")]
        own.pop(name, None)
        if what == "updateConfiguration":
            own[name] = value


class Run:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database, **changes: Any) -> None:
        self.site = site(agents={"upgrade": {}}, **changes)
        self.record = WindowRecord("test", self.site.identity, opened="then", facts={"Agents": {"begun": {"kvm1": "ae"}}})
        self.told: list[str] = []
        for module in (ha_hold, agent_wave):
            monkeypatch.setattr(module, "store", lambda _: Records(self.record, self.site))
        for name in ("new_database", "original_database"):
            monkeypatch.setattr(ha_hold, name, lambda _: None)
        monkeypatch.setattr(ha_hold, "session", lambda _: contextlib.nullcontext(database))
        monkeypatch.setattr(ha_hold, "Cloud", SimpleNamespace(new=lambda _: database))
        monkeypatch.setattr(ha_hold, "asked", lambda _, cloud: cloud)
        monkeypatch.setattr(original_management, "answering", lambda _: database)
        self.context: Any = SimpleNamespace(
            site=self.site, configuration=self.site.configuration, progress=self.told.append, intend=lambda *_, **__: None,
            run=SimpleNamespace(record=lambda *_, **__: None), step="Agents",
        )  # fmt: skip


@pytest.mark.parametrize("side", ["new", "original"])
@pytest.mark.parametrize("found", [{}, {"z1": {VM: "true", HOST: "true"}, "z2": {VM: "false", HOST: "false"}}, {"z2": {HOST: "true"}}])
def test_it_is_off_in_every_zone_and_then_as_found(monkeypatch: pytest.MonkeyPatch, side: Any, found: dict[str, dict[str, str]]) -> None:
    database = Database(**found)
    run = Run(monkeypatch, database, original={"version": "4.20.3.0"})
    for _ in range(2):  # a second time changes nothing
        ha_hold.hold(run.context, database, side)  # type: ignore[arg-type]
        assert all(own == {VM: "false", HOST: "false"} for own in database.details.values())
    assert ha_hold.put_back(run.context, side)
    assert database.details == {"1": found.get("z1", {}), "2": found.get("z2", {})}
    calls = len(database.calls)
    assert not ha_hold.put_back(run.context, side) and len(database.calls) == calls


def test_a_version_that_has_no_such_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    run = Run(monkeypatch, database, original={"version": "4.19.3.0"})
    ha_hold.hold(run.context, database, "original")  # type: ignore[arg-type]
    assert all(own == {HOST: "false"} for own in database.details.values())
    assert any("4.19.3.0 has no setting vm.ha.enabled" in text for text in run.told)


def test_the_original_is_only_touched_where_agents_were(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    run = Run(monkeypatch, database)
    run.record.facts["Agents"] = {"begun": {}}
    ha_hold.hold_on_original(run.context)
    assert database.details == {"1": {}, "2": {}} and ha_hold.STEP not in run.record.facts
    run.record.facts["Agents"] = {"begun": {"kvm1": "ae"}}
    ha_hold.hold_on_original(run.context)
    assert database.details["1"] == {VM: "false", HOST: "false"}


def test_a_rollback_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, Database())

    def lost(_: Any) -> Any:
        raise ConnectionFailed("olddb1 went away", "", "")

    monkeypatch.setattr(ha_hold, "session", lost)
    ha_hold.hold_on_original(run.context)
    assert any("can't be held still on the original" in text for text in run.told)


def test_it_stays_off_while_hosts_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    run = Run(monkeypatch, database)
    assert agent_wave.let_ha_go(run.context, ["host kvm1"]) == [], "nothing was held"
    ha_hold.hold_on_original(run.context)
    assert agent_wave.let_ha_go(run.context, ["host kvm1"]) == ["high availability stays off on the original until its hosts are back"]
    assert database.details["1"][VM] == "false"
    assert agent_wave.let_ha_go(run.context, []) == [] and database.details["1"] == {}


def test_a_value_that_does_not_come_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(z1={HOST: "true"})
    run = Run(monkeypatch, database)
    ha_hold.hold(run.context, database, "new")  # type: ignore[arg-type]
    monkeypatch.setattr(database, "execute", lambda *_: 0)
    with pytest.raises(StepFailed, match="resourceHAEnabled of zone 1 is false instead of true"):
        ha_hold.put_back(run.context, "new")

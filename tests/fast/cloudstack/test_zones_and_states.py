"""States and zones: what rests and what moves, and where nobody makes system VMs."""

from __future__ import annotations

import sqlite3
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from parallel_build import guards
from parallel_build.cloudstack import states, systemvms, templates, work, zones
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Template
from parallel_build.facts import new as new_facts
from parallel_build.facts.network_targets import secondary_storage, server_of
from parallel_build.facts.new import NewFacts
from parallel_build.guards.original import system_vms_run, templates_are_ready
from parallel_build.health import queries
from tests.fast.guards.test_guards import GOOD_OLD
from tests.fast.sites import site

EDGE = {"id": "e", "name": "edge", "allocationstate": "Enabled", "type": "Edge"}
OFF = {"id": "d", "name": "off", "allocationstate": "Disabled", "type": "Core"}
CORE = {"id": "c", "name": "core", "allocationstate": "Enabled", "type": "Core"}
OLDER = {"id": "o", "name": "older", "allocation_state": "Enabled"}


def moving(table: str, rows: list[tuple[str, int]]) -> set[str]:
    """The states that count as moving: the product's own predicate, judged by a database; each row has an age in days."""
    predicate = {"vm": states.VM_MOVING, "volume": states.VOLUME_MOVING}[table]
    predicate = predicate.replace("UTC_TIMESTAMP() - INTERVAL 1 DAY", "-1")
    with sqlite3.connect(":memory:") as opened:
        opened.execute("CREATE TABLE t (state TEXT, updated REAL, created REAL)")
        opened.executemany("INSERT INTO t VALUES (?, ?, NULL)", [(state, -float(age)) for state, age in rows])
        return {row[0] for row in opened.execute(f"SELECT state FROM t WHERE {predicate}")}


@pytest.mark.parametrize(
    "state", ["Uploaded", "NotUploaded", "UploadError", "UploadAbandoned", "Destroy", "Destroyed", "Ready", "Expunged"]
)
def test_a_volume_rests(state: str) -> None:
    assert moving("volume", [(state, 40), (state, 0)]) == set()


@pytest.mark.parametrize("state", ["Creating", "Migrating", "Snapshotting", "Resizing", "Attaching", "Copying", "of a later release"])
def test_a_volume_moves_however_long_it_does(state: str) -> None:
    assert moving("volume", [(state, 40)]) == moving("volume", [(state, 0)]) == {state}


@pytest.mark.parametrize("state", states.VOLUME_UPLOADING)
def test_an_upload_moves_for_a_day(state: str) -> None:
    assert moving("volume", [(state, 0)]) == {state}
    assert moving("volume", [(state, 40)]) == set()


def test_vms() -> None:
    assert moving("vm", [(state, 0) for state in (*states.VM_AT_REST, "Starting", "Stopping", "Migrating", "Restoring", "new")]) == {
        "Starting", "Stopping", "Migrating", "Restoring", "new",
    }  # fmt: skip


def test_guards_and_health_ask_for_the_same() -> None:
    class Asked:
        statements: ClassVar[list[str]] = []

        def rows(self, statement: str, *_: Any) -> list[dict[str, Any]]:
            self.statements.append(statement)
            return []

    work.read(cast(Any, Asked()))
    for predicate in (states.VM_MOVING, states.VOLUME_MOVING):
        assert any(predicate in statement for statement in Asked.statements)
    assert states.VM_MOVING in queries.QUERIES["vms_moving"] and states.VOLUME_MOVING in queries.QUERIES["volumes_moving"]


def test_where_nobody_makes_system_vms() -> None:
    assert zones.left_alone([EDGE, OFF, CORE, OLDER]) == {"edge": "an Edge zone", "off": "Disabled"}
    assert zones.kept({"name": "z", "allocation_state": "Enabled", "type": None})


@pytest.mark.parametrize("zone", [EDGE, OFF])
def test_a_system_vm_that_stands_still_in_such_a_zone_is_not_missed(zone: dict[str, str]) -> None:
    gone = {"zonename": zone["name"], "systemvmtype": "consoleproxy", "state": "Stopped"}
    old = replace(GOOD_OLD, system_vms=[*GOOD_OLD.system_vms, gone], zones=[zone, CORE])
    system_vms_run(site(), old, NewFacts())
    assert guards.failures(
        site(), replace(old, zones=[{**zone, "allocationstate": "Enabled", "type": "Core"}]), NewFacts(), [guards.rule_of(system_vms_run)]
    )


def test_a_template_is_not_missed_in_such_a_zone() -> None:
    behind = [{**item, "zonename": "off", "isready": False} for item in GOOD_OLD.templates]
    old = replace(GOOD_OLD, templates=[*GOOD_OLD.templates, *behind], zones=[OFF, CORE])
    templates_are_ready(site(), old, NewFacts())
    assert guards.failures(site(), replace(old, zones=[]), NewFacts(), [guards.rule_of(templates_are_ready)])


class Zones:
    """A cloud with these zones, a KVM cluster in each, and a console proxy in each."""

    url = "http://10.91.0.11:8080/client/api"

    def __init__(self, *found: dict[str, str]) -> None:
        self.found = found

    def list(self, command: str, **_: str) -> list[dict[str, Any]]:
        return {
            "listZones": [dict(zone) for zone in self.found],
            "listClusters": [{"zoneid": zone["id"], "hypervisortype": "KVM"} for zone in self.found],
            "listSystemVms": [
                {
                    "id": zone["id"],
                    "name": f"v-{zone['id']}-VM",
                    "zonename": zone["name"],
                    "state": "Running",
                    "systemvmtype": "consoleproxy",
                }
                for zone in self.found
            ],
        }[command]


def test_a_template_is_wanted_where_system_vms_are_made() -> None:
    assert templates.zones(cast(Cloud, Zones(EDGE, OFF, CORE)), "KVM") == ({"c": "core"}, False)
    assert templates.zones(cast(Cloud, Zones(CORE)), "KVM") == ({"c": "core"}, True)
    assert templates.zones(cast(Cloud, Zones(OFF)), "KVM") == ({"d": "off"}, True), "the schema upgrade asks for it all the same"
    assert Template.model_fields  # the stack's own templates are of this type


def test_a_system_vm_without_a_successor_is_left_alone() -> None:
    found, alone = systemvms.renewable(cast(Cloud, Zones(EDGE, OFF, CORE)))
    assert [vm["name"] for vm in found] == ["v-c-VM"]
    assert alone == ["v-d-VM (off: Disabled)", "v-e-VM (edge: an Edge zone)"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("nfs://192.0.2.5:export/sec", ("nfs", "192.0.2.5", 0)),
        ("nfs://2001:db8::5/sec", ("nfs", "2001:db8::5", 0)),
        ("nfs://[2001:db8::5]:2050/sec", ("nfs", "2001:db8::5", 2050)),
        ("nfs://[2001:db8::5]/sec", ("nfs", "2001:db8::5", 0)),
        ("nfs://nas.example.test:2049/sec", ("nfs", "nas.example.test", 2049)),
        ("nfs://192.0.2.5:99999/sec", ("nfs", "192.0.2.5", 0)),
        ("https://key:se/cret@192.0.2.7:9000/b", ("https", "key", 0)),
        ("https://key:secret@192.0.2.7:9000/b?x=a:b", ("https", "192.0.2.7", 9000)),
        ("cifs://192.0.2.8/share?user=a&password=b@c", ("cifs", "192.0.2.8", 0)),
        ("nfs://[2001:db8::5/sec", ("nfs", "2001:db8::5", 0)),
        ("", ("", "", 0)),
    ],
)
def test_the_server_of_a_stores_url(url: str, server: tuple[str, str, int]) -> None:
    assert server_of(url) == server


def test_no_url_of_a_store_ends_the_question_for_all() -> None:
    class Stores:
        def value(self, *_: Any) -> int:
            return 1

        def rows(self, *_: Any) -> list[dict[str, str]]:
            return [
                {"name": "s1", "url": "nfs://192.0.2.5:export/sec"},
                {"name": "s2", "url": "file:///x"},
                {"name": "s3", "url": "nfs://nas/x"},
            ]

    found = [(target.address, target.port) for target in secondary_storage(cast(Any, Stores()))]
    assert found == [("192.0.2.5", 2049), ("nas", 2049)]


def test_new_servers_are_asked_for_the_vcenters_and_stores_that_the_original_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cloud:
        def value(self, *_: Any) -> int:
            return 1

        def rows(self, statement: str, *_: Any) -> list[dict[str, str]]:
            if "vmware_data_center" in statement:
                return [{"a": "vcenter.example.test"}, {"a": "gone.example.test"}]
            return [{"name": "s1", "url": "nfs://nas/x"}] if "image_store" in statement else []

    monkeypatch.setattr(new_facts, "session", lambda host: nullcontext(Cloud()))
    monkeypatch.setattr(new_facts, "_reaches", lambda host, address, port: address != "gone.example.test")
    found = new_facts._used(site(), cast(Any, SimpleNamespace(host=lambda server: server)))
    assert sorted((target.what, target.address, target.port) for target in found) == [
        ("secondary storage s1", "nas", 2049),
        ("vCenter", "vcenter.example.test", 443),
    ]

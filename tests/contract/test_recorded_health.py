"""Health of a real, healthy CloudStack, by its own database and API as they were recorded: what is nobody's fault is no finding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_build.cloudstack import heartbeats
from parallel_build.facts import original
from parallel_build.health import Finding, HealthFacts, examine, queries
from parallel_build.health.facts import changed
from parallel_build.remote.sql import Session
from parallel_build.rules import RuleFinding
from tests.contract.harness import DatabaseServer
from tests.fast.guards.test_guards import GOOD_OLD
from tests.fast.health.test_health import FOLLOWS
from tests.fast.sites import site

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

# True of that cloud: its routers are simulated, and CloudStack's own checks of them fail; the rest is of its target.
TRUE = {"router_checks_pass", "known_faults_of_the_target"}
ROUTERS = "Health checks failed: 1 failing checks on router"


class Recorded:
    """The recorded database, asked as the product asks."""

    def __init__(self, server: DatabaseServer) -> None:
        self.server = server

    def rows(self, statement: str, _: Any = None) -> list[dict[str, Any]]:
        return self.server.rows(statement.replace("%%", "%"))

    def value(self, statement: str, _: Any = None) -> Any:
        return self.server.value(statement)


def api(data: Path, command: str, kind: str) -> list[dict[str, Any]]:
    """Items of a recorded reply."""
    reply = json.loads((data / f"api-4.20.3.0/{command}.json").read_text().partition("\n")[2])
    found: list[dict[str, Any]] = next(iter(reply.values())).get(kind, [])
    return found


@pytest.fixture(scope="module")
def cloud(database: DatabaseServer, recorded: Mapping[str, Path], data: Path) -> HealthFacts:
    """Facts of that cloud, as of the day on which it was recorded."""
    database.load(recorded)
    age = database.value("SELECT TIMESTAMPDIFF(SECOND, MAX(created), UTC_TIMESTAMP()) FROM cloud.alert")
    for table in ("alert", "async_job"):
        database.execute(f"UPDATE cloud.{table} SET created = created + INTERVAL {age} SECOND")
    # The dump was made with the servers at rest, the replies of the API before that.
    database.execute("UPDATE cloud.mshost SET last_update = UTC_TIMESTAMP(), state = 'Up'")
    database.execute("UPDATE cloud.host SET status = 'Up' WHERE status = 'Disconnected'")
    servers = database.rows("SELECT name, service_ip FROM cloud.mshost WHERE removed IS NULL")
    opened = cast(Session, Recorded(database))
    answers = queries.run(opened)
    assert answers.unanswered == {} and answers.problems == []
    read = original._from_database(opened)

    def beat(seconds: float) -> None:
        """What its management servers write while they run."""
        database.execute("UPDATE cloud.mshost SET last_update = last_update + INTERVAL 1 SECOND")

    old = replace(
        GOOD_OLD,
        **{name: read[name] for name in ("version", "unfinished", "work", "definers")},
        management=heartbeats.watch(opened, beat),
        accounts=[*read["accounts"], *read["definers"]],
        hosts=api(data, "listHosts-routing", "host"),
        system_vms=api(data, "listSystemVms", "systemvm"),
        zones=api(data, "listZones", "zone"),
    )
    configured = site(
        original={
            "management": [{"name": row["name"].split(".")[0], "address": row["service_ip"]} for row in servers],
            "api": {"url": f"http://{servers[0]['service_ip']}:8080/client/api"},
            "hypervisors": [],
        },
        new={"management": [{"name": "newms1", "address": "10.77.0.41"}]},
        templates=[],  # its hypervisors are simulated and need none
    )
    return HealthFacts(configured, old, answers.tables, replica=FOLLOWS, inserts=[], unknown_settings=frozenset())


def findings(cloud: HealthFacts) -> dict[str, Finding[RuleFinding]]:
    return {each.rule: each for each in examine(cloud) if each.rule not in TRUE}


def test_a_real_healthy_cloud_has_no_finding(cloud: HealthFacts) -> None:
    found = findings(cloud)
    alerts = found.pop("alerts_are_seen", None)
    assert alerts is not None and all(part.startswith(ROUTERS) for part in alerts.fact.partition(": ")[2].split(", "))
    assert found == {}
    assert examine(cloud).not_judged == {}


def test_what_cloudstacks_own_scripts_wrote_is_no_change(cloud: HealthFacts) -> None:
    names = changed(cloud.rows("settings"))
    assert "xen.heartbeat.timeout" not in names
    assert {"expunge.delay", "guest.domain.suffix"} <= set(names), "what somebody set is"


@pytest.mark.parametrize(("state", "rests"), [("Uploaded", True), ("NotUploaded", True), ("UploadOp", True), ("Snapshotting", False)])
def test_a_volume_that_was_uploaded_long_ago_rests(database: DatabaseServer, cloud: HealthFacts, state: str, rests: bool) -> None:
    which = "WHERE removed IS NULL AND state = 'Ready' ORDER BY id LIMIT 1"
    identity = database.value(f"SELECT id FROM cloud.volumes {which}")
    database.execute(f"UPDATE cloud.volumes SET state = '{state}', updated = UTC_TIMESTAMP() - INTERVAL 40 DAY WHERE id = {identity}")
    try:
        opened = cast(Session, Recorded(database))
        moving = original._from_database(opened)["work"]
        stuck = queries.run(opened).tables["volumes_moving"]
    finally:
        database.execute(f"UPDATE cloud.volumes SET state = 'Ready' WHERE id = {identity}")
    assert (not moving, not stuck) == (rests, rests), "guards and health agree"

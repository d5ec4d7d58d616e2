"""The workload on the stand-in's management server: made, made again without a change, and removed to the last row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.harness import DatabaseServer, ManagementHost, Namespace, as_administrator, wait

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

LIVING = {
    "domain": "SELECT COUNT(*) AS n FROM cloud.domain WHERE removed IS NULL",
    "account": "SELECT COUNT(*) AS n FROM cloud.account WHERE removed IS NULL",
    "user": "SELECT COUNT(*) AS n FROM cloud.user WHERE removed IS NULL",
    "network": "SELECT COUNT(*) AS n FROM cloud.networks WHERE removed IS NULL",
    "VM": "SELECT COUNT(*) AS n FROM cloud.vm_instance WHERE removed IS NULL AND type = 'User'",
    "disk": "SELECT COUNT(*) AS n FROM cloud.volumes WHERE removed IS NULL AND state NOT IN ('Expunged', 'Destroy')",
    "snapshot": "SELECT COUNT(*) AS n FROM cloud.snapshots WHERE removed IS NULL",
}


def run(namespace: Namespace, generated: Mapping[str, Path], action: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_administrator(namespace, generated, "tests.contract.workload_run", action))
    return found


def living(database: DatabaseServer) -> dict[str, int]:
    return {kind: int(database.value(statement)) for kind, statement in LIVING.items()}


def serve(database: DatabaseServer, generated: Mapping[str, Path], host: Callable[[str], ManagementHost]) -> None:
    """Have a cloud that answers, with its hosts connected."""
    database.load(generated)
    server = host("4.20.3.0")
    server.settings(job_seconds=0.02)
    server.start()
    assert server.wait_for_answer() == 401
    wait(
        lambda: not database.rows("SELECT id FROM cloud.host WHERE status <> 'Up' AND type = 'Routing' AND removed IS NULL"),
        60,
        "the hosts",
    )


def test_a_workload_is_made_resumed_and_removed(
    database: DatabaseServer, generated: Mapping[str, Path], host: Callable[[str], ManagementHost], namespace: Namespace
) -> None:
    serve(database, generated, host)
    before = living(database)
    made = run(namespace, generated, "create")
    assert made["result"] == {}
    after = living(database)
    grown = {kind: after[kind] - before[kind] for kind in LIVING}
    assert grown == {"domain": 1, "account": 2, "user": 4, "network": 3, "VM": 4, "disk": 6, "snapshot": 2}
    assert database.value("SELECT COUNT(*) FROM cloud.resource_tags WHERE `key` = 'parallel-build-workload'") == 12
    assert run(namespace, generated, "status")["result"]["VM"] == [4, 4]
    again = run(namespace, generated, "create")
    assert again["printed"] == [] or all(line.startswith("not checked") for line in again["printed"])
    assert living(database) == after
    assert run(namespace, generated, "remove")["result"] == []
    assert living(database) == before

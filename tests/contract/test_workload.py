"""The workload on the stand-in's management server: made, made again without a change, and removed to the last row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from parallel_build.plan.cloud.access import KEY, SECRET
from parallel_build.project import CODE
from parallel_build.workload.things import ACCOUNTS, USERS, things
from tests.contract.harness import URL, DatabaseServer, ManagementHost, Namespace, as_administrator, wait
from tests.contract.workload_run import PROFILE

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
    assert made["result"]["VPC"] == "this cloud has no createVPC" and made["result"]["VM"].startswith("1 of 4")
    after = living(database)
    grown = {kind: after[kind] - before[kind] for kind in LIVING}
    assert grown == {"domain": 1, "account": 2, "user": 4, "network": 2, "VM": 3, "disk": 5, "snapshot": 2}
    assert database.value("SELECT COUNT(*) FROM cloud.resource_tags WHERE `key` = 'parallel-build-workload'") == 9
    assert run(namespace, generated, "status")["result"]["VM"] == [3, 3]
    again = run(namespace, generated, "create")
    assert again["printed"] == [] or all(line.startswith("not checked") for line in again["printed"])
    assert living(database) == after
    assert run(namespace, generated, "remove")["result"] == []
    assert living(database) == before


def test_the_suite_passes_on_a_healthy_cloud_and_sees_broken_functions(
    database: DatabaseServer, generated: Mapping[str, Path], host: Callable[[str], ManagementHost], namespace: Namespace, tmp_path: Path
) -> None:
    serve(database, generated, host)
    run(namespace, generated, "create")
    passwords = {thing.name: f"Aa1-{thing.name}" for thing in things(PROFILE) if thing.kind in (ACCOUNTS, USERS)}
    (tmp_path / "workload.json").write_text(json.dumps({"passwords": passwords}))
    before = living(database)
    good = suite(namespace, generated, tmp_path)
    assert set(good.values()) == {"passed", "skipped"}, good
    assert sum(outcome == "passed" for outcome in good.values()) >= 12, good
    gone = {kind: before[kind] - number for kind, number in living(database).items()}
    assert gone == {"domain": 0, "account": 0, "user": 1, "network": 0, "VM": 1, "disk": 2, "snapshot": 0}, "only things of the workload"
    # No host takes a VM any more, and a password has changed.
    database.execute("UPDATE cloud.host SET resource_state = 'Disabled' WHERE type = 'Routing'")
    database.execute("UPDATE cloud.user SET password = 'broken' WHERE username = 'wl-account-0'")
    bad = {name for name, outcome in suite(namespace, generated, tmp_path).items() if outcome == "failed"}
    assert {"test_a_new_vm_is_made_stopped_started_and_deleted", "test_users_log_in_with_passwords_from_before"} <= bad


def suite(namespace: Namespace, generated: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Outcome by test."""
    keys = json.loads((generated["cloud"].parent / "secrets.json").read_text())["secrets"]["admin"]
    report = folder / "report.xml"
    words = [
        "-p", "parallel_build.acceptance.suite", "--pyargs", "parallel_build.acceptance.lines", "--cloud-url", URL, "--cloud-passwords",
        str(folder / "workload.json"), f"--junitxml={report}", "-q", "-p", "no:cacheprovider",
    ]  # fmt: skip
    subprocess.run(
        namespace.command(sys.executable, "-m", "pytest", *words),
        cwd=CODE,
        env={**os.environ, KEY: keys["api_key"], SECRET: keys["secret_key"]},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        kinds = {child.tag for child in case}
        outcomes[str(case.get("name"))] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    return outcomes

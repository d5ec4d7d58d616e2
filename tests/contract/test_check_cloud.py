"""check-cloud against the stand-in's management server: within a minute, over twenty rules, and its log proves that only lists were called."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cli import DONE, FAILED
from parallel_build.plan.cloud.access import KEY, SECRET
from parallel_build.project import CODE
from tests.contract.harness import NODE, DatabaseServer, ManagementHost, Namespace

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]

OLD = "4.20.3.0"
URL = f"http://{NODE}:8080/client/api"
Host = Callable[[str], ManagementHost]
TIME = 60.0  # seconds that the whole check may take


def check(namespace: Namespace, keys: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command from inside the cloud's network."""
    return subprocess.run(
        namespace.command(sys.executable, "-m", "parallel_build", "check-cloud", URL, *words),
        cwd=CODE,
        env={**os.environ, KEY: keys["api_key"], SECRET: keys["secret_key"]},
        capture_output=True,
        text=True,
        timeout=TIME * 2,
        check=False,
    )


def called(server: ManagementHost) -> list[str]:
    """Commands by the server's own log."""
    return [match[1] for line in server.log() if (match := re.search(r"===START===.* command=(\w*)", line))]


@pytest.fixture
def serving(database: DatabaseServer, generated: Mapping[str, Path], host: Host) -> ManagementHost:
    database.load(generated)
    server = host(OLD)
    server.start()
    assert server.wait_for_answer() == 401
    return server


def secrets(generated: Mapping[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((generated["cloud"].parent / "secrets.json").read_text())["secrets"]
    return found


def test_a_cloud_is_checked_by_lists_alone(serving: ManagementHost, namespace: Namespace, generated: Mapping[str, Path]) -> None:
    admin = secrets(generated)["admin"]
    done = check(namespace, admin, "--json")
    assert done.returncode in (DONE, FAILED), done.stderr
    document = json.loads(done.stdout)
    assert document["version"] == OLD and document["seconds"] < TIME
    judged = set(document["rules"]) - {each["rule"] for each in document["notJudged"]}
    assert len(judged) >= 20, document["notJudged"]
    assert document["plan"]["steps"][0] == "4.21.0.0" and document["plan"]["templates"][0]["name"].startswith("systemvm-kvm-")
    assert {each["verdict"] for each in document["plan"]["faults"]} == {"hit", "not hit", "can't tell"}
    commands = called(serving)
    assert commands and [each for each in commands if not each.startswith("list")] == []
    text = check(namespace, admin).stdout
    assert "Health: 25 rules" in text and admin["secret_key"] not in text and admin["api_key"] not in text


def test_keys_of_a_user_are_refused(serving: ManagementHost, namespace: Namespace, generated: Mapping[str, Path]) -> None:
    user = next(each for each in secrets(generated)["users"] if each["api_key"] and each["account"] != "admin")
    done = check(namespace, user)
    assert done.returncode == FAILED and done.stdout == ""
    assert "which is no root administrator" in done.stderr and "Remedy: take the keys" in done.stderr
    assert "listHosts" not in called(serving), "nothing more is asked"


def test_wrong_keys_are_refused(serving: ManagementHost, namespace: Namespace) -> None:
    done = check(namespace, {"api_key": "wrong", "secret_key": "wrong"})
    assert done.returncode == FAILED and "does not accept these keys" in done.stderr

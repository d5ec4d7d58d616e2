"""A cloud of the stand-in with a workload from before an upgrade, on which one function after the other is broken under the acceptance suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from parallel_build.plan.cloud.access import KEY, SECRET
from parallel_build.project import CODE
from parallel_build.workload.profile import Profile
from parallel_build.workload.things import ACCOUNTS, USERS, things
from tests.contract.harness import URL, DatabaseServer, ManagementHost, Namespace, as_administrator, wait
from tests.contract.plants import PARTS, PLANTS

OLD = "4.20.3.0"
LINES = "parallel_build.acceptance.lines"
MODULES = [name for name, _, _ in PARTS]
#: What a management server that runs writes by itself.
OF_THE_SERVER = (
    "mshost",
    "mshost_peer",
    "mshost_status",
    "host",
    "host_details",
    "op_host",
    "op_host_transfer",
    "op_ha_work",
    "alert",
    "async_job",
    "configuration",
)
PROFILE = Profile(
    accounts=2, spare_accounts=2, users=2, subdomains=2, networks=3, shared_vlans=[1201, 1202], vpcs=2, tiers=2, vms=18, disks=4, snapshots=2,
    affinity_groups=1, addresses=1,
)  # fmt: skip


USERS_DOMAIN = "(SELECT domain_id FROM cloud.account WHERE account.id = t.account_id)"
OWNERS = {
    "domain": "id",
    "account": "domain_id",
    "user": USERS_DOMAIN,
    **dict.fromkeys(("networks", "vpc", "vm_instance", "volumes", "snapshots"), "domain_id"),
}


class PlantedHost(ManagementHost):
    """A management server whose functions can be broken."""

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return what is run, and its environment."""
        return [sys.executable, "-m", "tests.contract.planted_server"], {"PYTHONPATH": str(CODE), "STANDIN_VERSION": OLD}

    def plant(self, name: str, upgraded: datetime) -> None:
        """Break a function; none by an empty name."""
        (self.root / "etc/cloudstack/plant.json").write_text(json.dumps({"plant": name, "upgraded": upgraded.isoformat()}))


class PlantedCloud:
    """The cloud.

    Args:
        folder: for its files.
    """

    def __init__(
        self, database: DatabaseServer, generated: Mapping[str, Path], host: PlantedHost, namespace: Namespace, folder: Path
    ) -> None:
        self._database, self._host, self._namespace, self._folder = database, host, namespace, folder
        self._secrets: dict[str, Any] = json.loads((generated["cloud"].parent / "secrets.json").read_text())["secrets"]
        database.load(generated)
        self._serve()
        self._generated = generated
        made = json.loads(as_administrator(namespace, generated, "tests.contract.workload_run", "create", PROFILE.model_dump_json()))
        self.left_out: dict[str, str] = made["result"]
        passwords = {thing.name: f"Aa1-{thing.name}" for thing in things(PROFILE) if thing.kind in (ACCOUNTS, USERS)}
        (folder / "workload.json").write_text(json.dumps({"passwords": passwords}))
        self._host.end()
        database.keep("cloud")
        self._upgraded = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(seconds=1)
        wait(lambda: datetime.now(UTC).replace(tzinfo=None) > self._upgraded, 5, "the second after")
        self._host.plant("", self._upgraded)
        self._serve()

    def refill(self) -> None:
        """Make again what tests have deleted."""
        as_administrator(self._namespace, self._generated, "tests.contract.workload_run", "create", PROFILE.model_dump_json())

    def outside(self) -> dict[str, set[str]]:
        """What is there that is not the workload's, by table."""
        ours = "SELECT id FROM cloud.domain WHERE name = 'parallel-build-workload' OR name LIKE 'wl-subdomain-%'"
        return {
            table: {
                str(row["uuid"])
                for row in self._database.rows(f"SELECT uuid FROM cloud.`{table}` t WHERE removed IS NULL AND {column} NOT IN ({ours})")
            }
            for table, column in OWNERS.items()
        }

    def _serve(self) -> None:
        self._host.settings(job_seconds=0.02)
        self._host.start()
        assert self._host.wait_for_answer() == 401
        hosts = "SELECT id FROM cloud.host WHERE status <> 'Up' AND type = 'Routing' AND removed IS NULL"
        wait(lambda: not self._database.rows(hosts), 60, "the hosts")

    def renew(self) -> None:
        """Have the cloud as it was when its workload had been made, with nothing broken; the server runs on."""
        self._host.plant("", self._upgraded)
        self._database.put_back("cloud", but=OF_THE_SERVER)

    def suite(self, plant: str = "", *words: str) -> dict[str, str]:
        """Run the suite with a function broken, the part that is about it first; the outcome by test."""
        first = PLANTS[plant].part if plant else ""
        parts = [f"{LINES}.{part}" for part in sorted(MODULES, key=lambda part: part != first)]
        self._host.plant(plant, self._upgraded)
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        probe = f"{sys.executable} -m tests.contract.probe {self._host.root}/etc/cloudstack/plant.json {{address}}"
        asked = [
            "-p", "parallel_build.acceptance.suite", "--pyargs", *parts, "--cloud-url", URL, "--cloud-passwords",
            str(self._folder / "workload.json"), "--cloud-probe", probe, "--cloud-integration", f"{sys.executable} -m tests.contract.portal {URL}",
            "--cloud-vlan", "1299", "--cloud-patience", "3", f"--junitxml={report}", "-q", "-p", "no:cacheprovider", *words,
        ]  # fmt: skip
        admin = self._secrets["admin"]
        user = next(each for each in self._secrets["users"] if each["api_key"] and each["account"] != "admin")
        keys = {KEY: admin["api_key"], SECRET: admin["secret_key"], "PORTAL_KEY": user["api_key"], "PORTAL_SECRET": user["secret_key"]}
        done = subprocess.run(
            self._namespace.command(sys.executable, "-m", "pytest", *asked),
            cwd=CODE,
            env={**os.environ, **keys},
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert report.exists(), done.stdout + done.stderr
        self.printed = done.stdout
        return outcomes(report)


def outcomes(report: Path) -> dict[str, str]:
    """The outcome by test of a report that pytest wrote."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
        kinds = {child.tag for child in case}
        found[str(case.get("name"))] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    return found

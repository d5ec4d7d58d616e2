"""How far the plan's times are from the times that the scripts really take: on a cloud whose tables are as large as is asked for.

    python -m bench.plan --size 1.5G

A MariaDB of its own in a network namespace, with a generated cloud. Tables that the recorded upgrade works on are filled by copies of made rows.
The scripts are those of the stand-in. The plan's time comes first; then they run, once as a rehearsal, and once as the window on a cloud that has grown by
a fifth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.transfer import size
from lab.database import DatabasePlan, generate_files
from lab.standin import sql as standin
from parallel_build.plan import times
from parallel_build.plan.facts import of_database
from parallel_build.plan.faults import Sources
from parallel_build.plan.package import TargetPackage
from parallel_build.plan.rebuilds import SqlServer
from parallel_build.versions import CloudStackVersion
from tests.contract.harness import DATABASE_KEY, DatabaseServer, Namespace
from tests.contract.test_plan import NEW, OLD, STEPS, scripts

#: What is filled, with the share of all bytes: tables that the scripts rebuild, one that they read for an index, and one that they change in place.
SHARES = {"cloud.router_health_check": 0.5, "cloud.user_vm_details": 0.3, "cloud.usage_event": 0.2}
ROW = 350  # bytes, about
GROWN = 1.2


def tell(text: str) -> None:
    """Say what it is doing."""
    print(f"  [{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def fill(server: DatabaseServer, wanted: int) -> None:
    """Have the tables as large as that."""
    vms = "(SELECT MIN(id) FROM cloud.vm_instance WHERE type = 'User')"
    router = "(SELECT MIN(id) FROM cloud.domain_router)"
    rows = {table: int(wanted * share / ROW) for table, share in SHARES.items()}
    for table, count in rows.items():
        tell(f"{table}: {count:,} rows")
        server.execute(f"DELETE FROM {table}")
        text = f"REPEAT('x', {ROW - 100})"
        statement = {
            "cloud.router_health_check": "(router_id, check_name, check_type, last_update, check_result, check_details) "
            f"SELECT {router}, CONCAT('c', seq), 'basic', UTC_TIMESTAMP(), 1, {text}",
            "cloud.user_vm_details": f"(vm_id, name, value, display) SELECT {vms}, CONCAT('n', seq), {text}, 1",
            "cloud.usage_event": "(type, account_id, created, zone_id, resource_id, resource_name, processed) SELECT 'VM.START', 2, UTC_TIMESTAMP(), 1, seq, "
            f"{text}, 1",
        }[table]
        for begin in range(0, count, 500_000):
            server.execute(f"INSERT INTO {table} {statement} FROM cloud.seq_{begin + 1}_to_{min(count, begin + 500_000)}")
        server.execute(f"ANALYZE TABLE {table}")


def planned(server: DatabaseServer) -> Any:
    """The plan of the recorded upgrade."""
    version = str(server.value("SELECT VERSION()")).split("-")[0]
    family = SqlServer("mariadb", tuple(int(part) for part in version.split(".")))
    package = TargetPackage("scripts", NEW, None, scripts())
    return of_database("bench", CloudStackVersion(str(OLD)), NEW, package, family, Sources(sql=server.rows))


def run_scripts(server: DatabaseServer) -> dict[str, float]:
    """Seconds of each version step."""
    found = {}
    for script in standin.procedures(str(NEW)):
        server.run(script.database, script.statements)
    for step in STEPS:
        began = time.monotonic()
        for name in (step, f"{step}-cleanup"):
            there = {
                f"cloud.{row['t']}"
                for row in server.rows("SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud'")
            }
            server.run("cloud", [each.sql for each in standin.upgrade(name) if not each.only_with or f"cloud.{each.only_with}" in there])
        found[step] = time.monotonic() - began
    return found


def measure(server: DatabaseServer, dumps: dict[str, Path], wanted: int) -> dict[str, Any]:
    """One upgrade: what was foretold, and what it took."""
    server.load(dumps)
    fill(server, wanted)
    plan = planned(server)
    work = plan.work or []
    touched = {each.table: each.size.bytes for each in work}
    foretold = times.of_sizes(work)
    tell(f"foretold {foretold:.1f} s for {sum(touched.values()) / 1e9:.2f} GB")
    found = run_scripts(server)
    tell(f"took {sum(found.values()):.1f} s: {found}")
    return {"foretold": foretold, "schema": found, "rows": plan.rows, "seconds": sum(found.values()), "bytes": sum(touched.values())}


def main() -> int:
    """Measure; 1 where a time was further off than the plan says."""
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("--size", type=size, default=size("1.5G"), help="bytes of the tables that are filled (default: 1.5G)")
    parser.add_argument("--folder", type=Path, help="where the database is (default: a temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    namespace = Namespace(f"plan-{os.getpid()}", ("10.91.0.41",))
    try:
        with tempfile.TemporaryDirectory(prefix="bench-plan-", dir=given.folder) as folder:
            content = Path(folder) / "content"
            content.mkdir()
            generate_files(DatabasePlan(database_key=DATABASE_KEY, scale=0.1, link_local_addresses=200), content)
            dumps = {name: content / f"{name}.sql" for name in ("cloud", "cloud_usage")}
            server = DatabaseServer(Path(folder) / "server", namespace)
            try:
                rehearsal = measure(server, dumps, given.size)
                window = measure(server, dumps, int(given.size * GROWN))
            finally:
                server.stop()
    finally:
        namespace.remove()
    before = window["seconds"] / window["foretold"]
    after = window["seconds"] / times.Rehearsed(rehearsal["schema"], rehearsal["rows"]).seconds(window["rows"])
    found = {"rehearsal": rehearsal, "window": window, "taken / foretold by sizes": before, "taken / foretold by the rehearsal": after}
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    return int(not (1 / times.FACTOR <= before <= times.FACTOR and abs(after - 1) <= 0.3))


if __name__ == "__main__":
    sys.exit(main())

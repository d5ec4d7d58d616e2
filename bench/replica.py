"""How far the new replica is behind when a `dump` has ended, by how it writes and applies, in one run on the same data.

Three machines as in `bench.transfer`: the original, the new source, its replica. Each way the replica follows the new source while the copy is
taken; when the copy has ended (everything on the new source's disk), the time until the replica has applied all of it is what counts. The three
servers share this computer's processors, so `dump` itself takes longer than without a replica, and a replica with processors of its own
would be less far behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.transfer import Bench, size
from lab.database import Accounts
from parallel_build.cancel import CancelToken
from parallel_build.database.copy import bulk_load_settings
from parallel_build.database.replicate import pair
from parallel_build.database.replicate.pair_status import source_position
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from tests.containers.database_stand import roots, sql, stand

RELAXED = {"innodb_flush_log_at_trx_commit": "2", "sync_binlog": "0"}
# Names of ways and what they set on the replica; the first is how this project's replicas are set up.
WAYS: dict[str, dict[str, str]] = {
    "flushed at each commit": {"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"},
    "not flushed at each commit": RELAXED,
    "and applied by 4 threads": RELAXED | {"slave_parallel_threads": "4"},
    "and pages written as the disk takes them": RELAXED
    | {"slave_parallel_threads": "4"}
    | bulk_load_settings.WRITING
    | bulk_load_settings.DIRTY,
}
LONGEST = 3600  # seconds that the replica may take


def follow(source: Host, replica: Host) -> None:
    """Have the replica follow everything that the new source will write."""
    sql(source, "CREATE OR REPLACE USER follower@'%' IDENTIFIED BY 'Bench-Password-1'; GRANT REPLICATION SLAVE ON *.* TO follower@'%'")
    with session(source) as opened:
        position = source_position(opened)
    sql(
        replica,
        f"SET GLOBAL gtid_slave_pos = '{position}'; CHANGE MASTER TO MASTER_HOST = '{source.server.address}', MASTER_USER = 'follower', "
        "MASTER_PASSWORD = 'Bench-Password-1', MASTER_USE_GTID = slave_pos; START SLAVE",
    )


def caught_up(source: Host, replica: Host, cancel: CancelToken) -> float:
    """Seconds until the replica has everything that the source has written by now."""
    with session(source) as first, session(replica) as second:
        started = time.monotonic()
        pair.await_position(first, second, timeout=LONGEST, cancel=cancel)
        return time.monotonic() - started


def measure(bench: Bench, replica: Host, way: str) -> dict[str, Any]:
    """One way: the copy, then the waiting."""
    bench.empty()
    caught_up(bench.target, replica, bench.cancel)
    settings = WAYS[way]
    sql(replica, "STOP SLAVE; " + "; ".join(f"SET GLOBAL {name} = {value}" for name, value in settings.items()) + "; START SLAVE")
    dump = bench.dump()["seconds"]
    return {"dump": dump, "behind": round(caught_up(bench.target, replica, bench.cancel), 2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.replica", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bytes", type=size, default=size("500M"), help="size of the original (default 500M)")
    parser.add_argument("--threads", type=int, default=4, help="parallel connections (default: 4, as the stack's)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    root = roots().get("mariadb")
    if root is None or os.geteuid() or not shutil.which("systemd-nspawn"):
        print("bench.replica needs root, systemd-nspawn and the lab's images (scripts/setup --for lab)", file=sys.stderr)
        return 2
    found: dict[str, dict[str, Any]] = {}
    with stand() as made:
        settings = {"innodb_buffer_pool_size": "512M", "max_allowed_packet": "64M", "gtid_strict_mode": "ON"}
        pair = settings | {"innodb_autoinc_lock_mode": "2", "gtid_domain_id": "31", "log_slave_updates": "ON"}
        source = made.add("olddb1", root, 13, settings)
        target = made.add("newdb1", root, 31, pair)
        replica = made.add("newdb2", root, 32, pair)
        bench = Bench(made, source, target, options.threads, print)
        row = bench.load(options.bytes)
        follow(target, replica)
        sql(target, Accounts("Bench-Password-1").sql())
        for way in WAYS:
            found[way] = measure(bench, replica, way)
            print(f"  {way}: dump {found[way]['dump']:.1f} s, then {found[way]['behind']:.1f} s behind", flush=True)
    print(f"{'the new replica':44} {'dump, s':>8} {'behind, s':>10}   ({int(row['bytes']) / 1e9:.2f} GB)")
    for way, one in found.items():
        print(f"{way:44} {one['dump']:8.1f} {one['behind']:10.1f}")
    if options.json:
        options.json.write_text(json.dumps({"bytes": int(row["bytes"]), "cores": os.cpu_count(), "ways": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

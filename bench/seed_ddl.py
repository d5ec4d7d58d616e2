"""What a seed costs the users of a running original while definitions change there: their longest wait, and how much longer the seed takes.

    python -m bench.seed_ddl --size 1G --family mariadb --family mysql

Two machines of one family, as in `bench.transfer`. Each family is seeded twice with the same limit: once with nothing but the users' small statements on the
original, once with an ALTER every 10 s, a report of 60 s after another and an UPDATE of 30 s after another. Waiting is measured from the server's table of
sessions by the benchmark itself. Afterwards both sides are compared at one position, and by what the servers' own dump programs write.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.transfer import size
from parallel_build.cancel import CancelToken
from parallel_build.configuration.preparation import Transfer
from parallel_build.database.copy import copy
from parallel_build.database.replicate import channel, seed
from parallel_build.database.server.dialects import identify
from parallel_build.remote.sql import session
from tests.containers.database_disturbance import ORIGINAL, SCHEMAS, TABLE, Disturbance, dumped
from tests.containers.database_stand import Combination, combination, sql

BYTES_A_ROW = 240
SHARES = {"cloud_usage.cloud_usage": 0.55, "cloud.event": 0.25, "cloud.vm_stats": 0.2}
ALTER_EVERY, REPORT = 10.0, 60.0
NEVER = 86400.0


@dataclass(frozen=True)
class Run:
    """One seed.

    Attributes:
        family: the servers'.
        what: with or without changes of definitions.
        seconds: the seed's, to where the new source follows.
        snapshots, gave_way: as the seed reports them.
        reported: the longest wait that it reports, in seconds.
        waited: the longest wait for a lock that was seen from outside, in seconds, and whose.
        slowest: seconds of the slowest statements of users.
        altered: changes of definitions meanwhile.
        same: the comparison at one position found no difference, and both dumps are the same.
    """

    family: str
    what: str
    seconds: float
    snapshots: int
    gave_way: int
    reported: float
    waited: tuple[float, str]
    slowest: dict[str, float]
    altered: int
    same: bool


def tell(text: str) -> None:
    """Say what it is doing."""
    print(f"  [{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def fill(pair: Combination, count: int) -> None:
    """The original's tables, of about `count` bytes of rows in all."""
    sql(pair.source, ORIGINAL)
    deep = "SET SESSION cte_max_recursion_depth = 100000;" if pair.old == "mysql" else ""
    for table, share in SHARES.items():
        thousands = max(1, int(count * share / BYTES_A_ROW / 1000))
        tell(f"filling {table} with {thousands},000 rows")
        for number, begin in enumerate(range(0, thousands, 500)):
            text = TABLE.format(table=table, thousands=min(500, thousands - begin))
            sql(pair.source, deep + (text if number == 0 else "USE cloud; INSERT" + text.partition("INSERT")[2]))
    sql(pair.source, f"ANALYZE TABLE {', '.join(SHARES)}")


def run(pair: Combination, what: str, every: float, limit: int | None) -> Run:
    """Seed once, and undo it."""
    with Disturbance(pair.source, every=every, report=REPORT if every < NEVER else 1.0) as users:
        started = time.monotonic()
        report = seed.seed(pair.source, pair.target, SCHEMAS, threads=3, cancel=CancelToken(), progress=tell, bytes_per_second=limit)
        seconds = time.monotonic() - started
        seen = users.seen()
        found = seed.compare_at_position(pair.source, pair.target, SCHEMAS, threads=3, cancel=CancelToken(), progress=tell)
    assert report is not None
    with session(pair.source) as old, session(pair.target) as new:
        last = channel.log_position(old, identify(old))
        channel.wait_applied(new, identify(new), last, timeout=600, cancel=CancelToken(), progress=tell)
    same = found.comparison.same and dumped(pair.source, pair.old) == dumped(pair.target, pair.new)
    seed.remove(pair.source, pair.target)
    copy.empty(pair.target, SCHEMAS)
    return Run(
        pair.old,
        what,
        round(seconds, 1),
        report.snapshots,
        report.gave_way,
        report.waited_seconds,
        seen.waited,
        seen.slowest,
        seen.altered,
        same,
    )


def main() -> int:
    """Run, print a table, and write what was measured."""
    parser = argparse.ArgumentParser(description="longest wait of users behind a seed, with definitions changing on the original")
    parser.add_argument("--size", type=size, default=size("1G"), help="bytes of rows (default 1G)")
    parser.add_argument(
        "--family", action="append", choices=("mariadb", "mysql"), help="servers' family; may be given twice (default both)"
    )
    parser.add_argument(
        "--limit", type=int, default=Transfer().bytes_per_second, help="bytes a second, 0 for none (default as transfer.bytesPerSecond)"
    )
    parser.add_argument("--json", type=Path, help="file for what was measured")
    given = parser.parse_args()
    runs = []
    for family in given.family or ("mariadb", "mysql"):
        with combination(family, family) as pair:
            fill(pair, given.size)
            for what, every in (("without", NEVER), ("with", ALTER_EVERY)):
                runs.append(run(pair, what, every, given.limit or None))
                tell(str(runs[-1]))
    print(
        "| family | definitions change | seed | snapshots | gave way | longest wait seen | reported | same |\n|---|---|---|---|---|---|---|---|"
    )
    for one in runs:
        print(
            f"| {one.family} | {one.what} ({one.altered}) | {one.seconds:.0f} s | {one.snapshots} | {one.gave_way} | {one.waited[0]:.2f} s "
            f"| {one.reported:.2f} s | {one.same} |"
        )
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in runs], indent=2) + "\n")
    slow = [one for one in runs if not one.same or one.waited[0] >= 1]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())

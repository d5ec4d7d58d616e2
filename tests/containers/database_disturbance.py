"""What users and administrators do on the original while it is seeded: changes of definitions, long reports, long changes; and who waits then.

Who waits is measured here by itself, from the server's table of sessions and by a clock around each statement: nothing of the product is asked.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from parallel_build.database.server import processes
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session

SCHEMAS = ["cloud", "cloud_usage"]
LOOK = 0.05  # seconds between two looks at who waits
REPORTED, CHANGED = "cloud.reported", "cloud.changed"  # nobody alters these: their waiting would be the users' own
ORIGINAL = """
CREATE USER cloud@localhost IDENTIFIED BY 'Lab-Password-1'; GRANT ALL ON *.* TO cloud@localhost;
CREATE DATABASE cloud DEFAULT CHARACTER SET utf8mb3; CREATE DATABASE cloud_usage DEFAULT CHARACTER SET utf8mb3;
USE cloud;
CREATE TABLE cloud.host (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(255), last_ping bigint, KEY i_name (name));
CREATE TABLE cloud.nics (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, host_id bigint unsigned NOT NULL,
  CONSTRAINT fk_host FOREIGN KEY (host_id) REFERENCES host (id) ON DELETE CASCADE);
CREATE TABLE cloud.reported (id int NOT NULL PRIMARY KEY, v int); CREATE TABLE cloud.changed (id int NOT NULL PRIMARY KEY, v int);
INSERT INTO cloud.host (name, last_ping) VALUES ('kvm1', 1), ('kvm2', 1); INSERT INTO cloud.nics (host_id) VALUES (1), (2);
INSERT INTO cloud.reported WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, i FROM n;
INSERT INTO cloud.changed SELECT * FROM cloud.reported;
CREATE DEFINER=cloud@localhost VIEW cloud.host_view AS SELECT id, name FROM cloud.host;
"""
# About 240 bytes a row.
TABLE = """
USE cloud;
CREATE TABLE {table} (id bigint unsigned NOT NULL AUTO_INCREMENT, uuid varchar(40) NOT NULL, description varchar(1024) CHARACTER SET utf8mb4 NOT NULL,
  created datetime NOT NULL, amount double, PRIMARY KEY (id), KEY i_created (created), KEY i_uuid (uuid));
INSERT INTO {table} (uuid, description, created, amount)
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT UUID(), CONCAT('row ', a.i, ' of ', b.i, ' ü😀', SHA2(a.i, 512)),
  '2026-01-01' + INTERVAL a.i * b.i SECOND, a.i / b.i FROM n a, n b WHERE b.i <= {thousands};
"""
USERS = (
    "UPDATE cloud.host SET last_ping = last_ping + 1 WHERE id = 1",
    "INSERT INTO cloud.event (uuid, description, created, amount) VALUES (UUID(), 'during {n}', NOW(), {n})",
    "SELECT COUNT(*) FROM cloud.vm_stats WHERE id < 100",
    "SELECT COUNT(*) FROM cloud.event WHERE id < 100",
    "SELECT COUNT(*) FROM cloud.host_view",
)
ALTERED = ("cloud.vm_stats", "cloud.host", "cloud.event", "cloud.nics")


def dumped(host: Host, family: str) -> str:
    """The digest of what the server's own dump program writes, apart from counters."""
    program = "mariadb-dump" if family == "mariadb" else "mysqldump --set-gtid-purged=OFF"
    command = f"{program} --skip-comments --skip-dump-date --skip-extended-insert --order-by-primary --databases {' '.join(SCHEMAS)}"
    return host.run(["sh", "-c", f"{command} | sed 's/ AUTO_INCREMENT=[0-9]*//' | sha256sum"], timeout=1800).stdout.strip()


@dataclass(frozen=True)
class Seen:
    """What was seen so far; as the attributes of `Disturbance`."""

    slowest: dict[str, float]
    waited: tuple[float, str]
    altered: int


@dataclass
class Disturbance:
    """Works on a server until the block ends.

    Args:
        host: the original.
        every: seconds between two changes of definitions.
        report: seconds that a report runs; another follows it.
        tables: whose definitions are changed, in turn.

    Attributes:
        slowest: seconds of the slowest statement, by what it was.
        waited: the longest that a session was seen waiting for a lock, and its statement.
        altered: changes of definitions that were made.
    """

    host: Host
    every: float
    report: float
    tables: Sequence[str] = ALTERED
    slowest: dict[str, float] = field(default_factory=dict)
    waited: tuple[float, str] = (0.0, "")
    altered: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,))
            for work in (self._alter, self._use, self._reports, self._changes, self._watch)
        ]

    def __enter__(self) -> Disturbance:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failure:
            raise self._failure

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ParallelBuildError as failure:
            self._failure = failure

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.slowest[what] = max(self.slowest.get(what, 0.0), time.monotonic() - started)

    def _alter(self) -> None:
        with session(self.host) as opened:
            while not self._stop.wait(self.every):
                table = self.tables[self.altered // 2 % len(self.tables)]
                change = "ADD COLUMN noted INT" if self.altered % 2 == 0 else "DROP COLUMN noted"
                with self._timed("ALTER"):
                    opened.execute(f"ALTER TABLE {table} {change}")
                self.altered += 1

    def _use(self) -> None:
        number = 0
        with session(self.host) as opened:
            while not self._stop.wait(0.05):
                number += 1
                for statement in USERS:
                    with self._timed("statements of users"):
                        opened.rows(statement.format(n=number))

    def _reports(self) -> None:
        with session(self.host) as opened:
            while not self._stop.is_set():
                opened.rows(f"SELECT COUNT(*) FROM {REPORTED} WHERE SLEEP({self.report / 1000}) = 0")

    def _changes(self) -> None:
        with session(self.host) as opened:
            while not self._stop.is_set():
                opened.execute(f"UPDATE {CHANGED} SET v = v + 1 WHERE SLEEP({self.report / 2000}) = 0")

    def _watch(self) -> None:
        since: dict[tuple[int, str], float] = {}
        with session(self.host) as opened:
            statement = (
                f"SELECT ID AS i, STATE AS s, INFO AS t FROM {processes.table(opened)} WHERE USER IN ('root', 'cloud') "
                "AND STATE LIKE 'Waiting for %' AND INFO IS NOT NULL AND ID <> CONNECTION_ID()"
            )
            while not self._stop.wait(LOOK):
                now = time.monotonic()
                found = {(int(row["i"]), str(row["t"])): row["s"] for row in opened.rows(statement)}
                since = {key: since.get(key, now) for key in found}
                for key, began in since.items():
                    if now - began > self.waited[0]:
                        self.waited = (now - began, f"{found[key]}: {key[1][:100]}")

    def seen(self) -> Seen:
        """What was seen so far."""
        return Seen(dict(self.slowest), self.waited, self.altered)

    def lines(self) -> list[str]:
        """What was seen, in words."""
        slowest = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(self.slowest.items()))
        return [
            f"{self.altered} changes of definitions; slowest: {slowest}; longest wait for a lock {self.waited[0]:.2f} s ({self.waited[1]})"
        ]

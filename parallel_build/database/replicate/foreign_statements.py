"""The program that lets the new source follow the original past statements about databases that are not copied. It runs on the new source.

The channel's filter is for tables. A statement without any (CREATE PROCEDURE tools.p(), CREATE EVENT, ...) passes it, finds no such database here, and
stops the applier. This program looks at a stopped applier's next statement in the relay log and passes over it only where `log_statements.foreign` proves
that it changes other databases alone; whatever else stopped the applier stays as it is. An UNTIL that the applier had is given to it again.

Arguments: the job's file, and `once` to look a single time. The job has the client's words, the databases in question, and how often to look.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import fcntl
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from parallel_build.database.replicate import log_events, log_statements
from parallel_build.database.replicate.log_events import Statement, Unknown

LINE = re.compile(r"^ *([A-Za-z_]+): ?(.*)$")
BEFORE = log_events.NUMBERS | frozenset((29, 160))  # what may stand between a transaction's beginning and its statement
STOPS = 100  # tenths of a second within which an applier without anything left to do stops
GONE = 30  # looks without a channel after which nobody needs this program any more


class Channel:
    """The channel on this server.

    Args:
        job: `client`: words of a session as root; `family`; `channel`; `schemas`; `fold`.
    """

    def __init__(self, job: Dict[str, Any]) -> None:
        self._client, self._family, self._name = job["client"], job["family"], job["channel"]
        self._names = log_statements.Names(job["schemas"], job["fold"])

    def ask(self, statement: str) -> Dict[str, str]:
        """A statement's first row, by column."""
        done = subprocess.run(
            [*self._client, "--vertical", "-e", statement], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.decode("utf-8", "replace").strip())
        found = (LINE.match(line) for line in done.stdout.decode("utf-8", "replace").splitlines())
        return {match[1]: match[2] for match in found if match}

    def status(self) -> Dict[str, str]:
        """The channel's status in the older names of both families; empty where there is none."""
        if self._family == "mariadb":
            return self.ask(f"SHOW SLAVE '{self._name}' STATUS")
        row = self.ask(f"SHOW REPLICA STATUS FOR CHANNEL '{self._name}'")
        return {name.replace("Replica_", "Slave_").replace("Source_", "Master_"): value for name, value in row.items()}

    def skip(self) -> str:
        """Pass over the statement that stopped the applier where it is proved to be about other databases alone; that statement in words, else nothing."""
        row = self.status()
        if row.get("Slave_SQL_Running") != "No" or row.get("Last_SQL_Errno", "0") == "0" or self._foreign(row, _named_end(row)) is None:
            return ""
        words = {"mariadb": ("SLAVE", "MASTER"), "mysql": ("REPLICA", "SOURCE")}[self._family]
        before, after = (f" '{self._name}'", "") if self._family == "mariadb" else ("", f" FOR CHANNEL '{self._name}'")
        self.ask(f"STOP {words[0]}{before}{after}")
        passed = ""
        try:
            if self._family == "mysql":
                self._close_gaps(after)
            row = {**self.status(), **{name: row[name] for name in row if name.startswith("Until_")}}
            found = self._foreign(row, 0)
            if found is not None:
                change = f"CHANGE MASTER{before} TO" if self._family == "mariadb" else "CHANGE REPLICATION SOURCE TO"
                self.ask(f"{change} {words[1]}_LOG_FILE = '{row['Relay_Master_Log_File']}', {words[1]}_LOG_POS = {found[1]}{after}")
                passed, row["Exec_Master_Log_Pos"] = log_statements.describe(found[0]), str(found[1])
        finally:
            self._start(row, words, before, after)
        return passed

    def _foreign(self, row: Dict[str, str], end: int) -> Optional[Tuple[Statement, int]]:
        """The applier's next statement, or the one with a known end, and where it ends; where it is proved to be about other databases alone."""
        found = self._next_statement(row, end)
        return found if found is not None and log_statements.foreign(found[0], self._names) else None

    def _close_gaps(self, after: str) -> None:
        """After an error of one of several workers MySQL lets nobody set a position, nor is the one shown right, before nothing in front of it is missing."""
        self.ask(f"START REPLICA SQL_THREAD UNTIL SQL_AFTER_MTS_GAPS{after}")
        for _ in range(STOPS):
            if self.status()["Slave_SQL_Running"] == "No":
                return
            time.sleep(0.1)
        raise RuntimeError("the applier does not stop where nothing is missing")

    def _start(self, row: Dict[str, str], words: Tuple[str, str], before: str, after: str) -> None:
        """Have the channel continue, up to the same UNTIL where it had one."""
        receiver = f"START {words[0]}{before} IO_THREAD{after}"
        until = row.get("Until_Condition", "None").upper() in ("MASTER", "SOURCE") and (row["Until_Log_File"], int(row["Until_Log_Pos"]))
        if not until:
            self.ask(f"START {words[0]}{before}{after}")
        elif _order(row["Relay_Master_Log_File"], int(row["Exec_Master_Log_Pos"])) >= _order(*until):
            self.ask(receiver)
        else:
            applier = "" if self._family == "mariadb" else " SQL_THREAD"
            self.ask(receiver)
            self.ask(f"START {words[0]}{before}{applier} UNTIL {words[1]}_LOG_FILE = '{until[0]}', {words[1]}_LOG_POS = {until[1]}{after}")

    def _next_statement(self, row: Dict[str, str], end: int) -> Optional[Tuple[Statement, int]]:
        """The statement that the applier has stopped at, and where it ends in the original's log; None where it is not a statement of its own."""
        folder = self.ask("SELECT @@GLOBAL.datadir AS datadir, @@GLOBAL.relay_log_basename AS base")
        path = Path(folder["base"]).parent if folder.get("base", "").startswith("/") else Path(folder["datadir"])
        wanted, at = int(row["Relay_Log_Pos"]), len(log_events.MAGIC)
        with (path / row["Relay_Log_File"]).open("rb") as file:
            try:
                for event in log_events.events(file.read):
                    here, at = at, at + event.size
                    if here < wanted or (event.end != end if end else event.kind in BEFORE):
                        continue
                    if event.kind not in (log_events.QUERY, log_events.QUERY_COMPRESSED) or not event.end:
                        return None
                    return log_events.statement(event), event.end
            except Unknown:
                return None
        return None


def _named_end(row: Dict[str, str]) -> int:
    """Where the statement ends that one of several workers has stopped at, as MySQL's error has it: the position shown is further back then. 0 for none."""
    found = re.search(r"end_log_pos (\d+)", row.get("Last_SQL_Error", ""))
    return int(found[1]) if found else 0


def _order(file: str, offset: int) -> Tuple[int, int]:
    return int(file.rpartition(".")[2]), offset


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One at a time: a second one would take the channel back to where the first one found it."""
    with path.open(encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(words: Optional[List[str]] = None) -> int:
    """Look once, or again and again as long as there is the channel."""
    words = sys.argv[1:] if words is None else words
    path = Path(words[0])
    job = json.loads(path.read_text(encoding="utf-8"))
    channel, without = Channel(job), 0
    if "once" in words:
        with _alone(path):
            print(channel.skip())
        return 0
    while without < GONE and path.exists():
        try:
            with _alone(path):
                skipped = channel.skip()
            without = 0 if skipped or channel.status() else without + 1
            if skipped:
                print(f"passed over a statement about databases that are not copied: {skipped}", flush=True)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:  # the server is down, or being started again
            print(error, flush=True)
        time.sleep(job["interval"])
    return 0

"""The program that reads the original's binary log on the new source: which rows changed, and what else was seen.

Pushed with the modules it needs as one archive (`log_archive`) and run by the server's own Python 3. The server's own log program fetches the log, as it
is, into named pipes: no file is written, and TLS and passwords are that program's matter. The job comes by standard input:

* `command`: the log program's words; it writes each log file into `folder`, under the log file's own name;
* `file`: the log file that is begun with;
* `schemas`, `fold`: the databases in question, and whether capitals are the same as small letters in names;
* `keys`: of each table, as `[schema, table, columns of the key or null]`; null where only what else was seen matters;
* `many`: changed rows of one table above which it is named whole.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from parallel_build.database.replicate import log_events, log_statements
from parallel_build.database.replicate.log_events import Event, Keys, TableMap, Unknown

SHOWN = 20  # of what is listed in words
TEXTS = 500  # statements about definitions that are reported in full; one more is as any other doubt


class Found:
    """What was found in a log.

    Args:
        job: see the module's first lines.
    """

    def __init__(self, job: Dict[str, Any]) -> None:
        self._names = log_statements.Names(job["schemas"], job["fold"])
        self._many = job["many"]
        self._known: Optional[Dict[Tuple[str, str], Any]] = None
        if job["keys"] is not None:
            self._known = {(schema, table): numbers for schema, table, numbers in job["keys"]}
        self._tables: Dict[int, Tuple[TableMap, Optional[Keys]]] = {}
        self._thread = 0
        self.rows: Dict[Tuple[str, str], Set[Tuple[int, ...]]] = {}
        self.whole: Set[Tuple[str, str]] = set()
        self.events = 0
        self.doubts: List[str] = []
        self.doubted = 0
        self.writers: Set[Tuple[int, int]] = set()
        self.texts: List[Tuple[str, str]] = []

    def doubt(self, words: str) -> None:
        """Keep something after which only a comparison of everything proves anything."""
        self.doubted += 1
        if len(self.doubts) < SHOWN and words not in self.doubts:
            self.doubts.append(words)

    def take(self, event: Event) -> None:
        """Take an event in."""
        kind = event.kind
        try:
            if kind in log_events.ROWS:
                self._rows(event)
            elif kind == log_events.TABLE_MAP:
                self._table(event.body)
            elif kind in (log_events.QUERY, log_events.QUERY_COMPRESSED, log_events.LOAD_QUERY):
                self._statement(event)
            elif kind == log_events.PARTIAL_UPDATE:
                self._whole(event)
            elif kind == log_events.FORMAT:
                self._tables = {}
            elif kind in log_events.NUMBERS:
                self._thread = 0  # of a transaction whose beginning names no connection (MariaDB)
            elif kind not in log_events.SILENT:
                self.doubt(f"an event of kind {kind}, which is not known")
        except (Unknown, IndexError, ValueError) as error:
            self.doubt(f"{error} (an event of kind {kind} that ends at {event.end})")

    def _statement(self, event: Event) -> None:
        statement = log_events.statement(event)
        self._thread = statement.thread
        if words := log_statements.judge(statement, self._names):
            self.doubt(words)
            if len(self.texts) < TEXTS and log_statements.defines(statement):
                self.texts.append((statement.database, statement.text.decode("utf-8", "replace")))

    def _table(self, body: bytes) -> None:
        number, table = log_events.table_map(body)
        keys = None
        name = (table.schema, table.name)
        # Row events have names as the server stores them: these are compared as they are, and doubted where only capitals differ.
        if self._names.has(table.schema) and self._known is not None:
            if name not in self._known:
                self.doubt(f"changed rows of {table.schema}.{table.name}, a table that was not there when its key was asked for")
            elif self._known[name]:
                keys = Keys(table, self._known[name])
        self._tables[number] = (table, keys)

    def _rows(self, event: Event) -> None:
        found = self._mine(event)
        if found is None:
            return
        table, keys = found
        name = (table.schema, table.name)
        if self._known is None or name in self.whole:
            self.events += 1
            return
        if keys is None:
            self.events += 1
            self.whole.add(name)
            return
        rows = self.rows.setdefault(name, set())
        count = 0
        try:
            for key in keys.of(event):
                count += 1
                rows.add(key)
        except Unknown:
            self.whole.add(name)
        self.events += (count // 2 if event.kind in log_events.UPDATES else count) or 1
        if len(rows) > self._many:
            self.whole.add(name)
        if name in self.whole:
            rows.clear()

    def _whole(self, event: Event) -> None:
        found = self._mine(event)
        if found is not None:
            self.events += 1
            self.whole.add((found[0].schema, found[0].name))

    def _mine(self, event: Event) -> Optional[Tuple[TableMap, Optional[Keys]]]:
        """The table, where it is one of the databases in question."""
        number = log_events.table_number(event.body)
        if number == 0xFFFFFF:  # the end of a statement whose rows were left out
            return None
        found = self._tables.get(number)
        if found is None:
            raise Unknown("rows of a table that was not named before")
        if not self._names.has(found[0].schema):
            return None
        if len(self.writers) < SHOWN:
            self.writers.add((event.server_id, self._thread))
        return found

    def result(self) -> Dict[str, Any]:
        """All of it, for JSON."""
        return {
            "events": self.events,
            "doubts": self.doubts,
            "doubted": self.doubted,
            "whole": sorted(self.whole),
            "keys": [[*name, sorted(rows)] for name, rows in sorted(self.rows.items()) if name not in self.whole],
            "writers": sorted(self.writers),
            "texts": self.texts,
        }


def following(name: str) -> str:
    """The name of the log file after this one."""
    stem, _, number = name.rpartition(".")
    return f"{stem}.{int(number) + 1:0{len(number)}d}"


class Pipes:
    """The log program at work, and what it writes, file after file.

    Args:
        job: see the module's first lines.
    """

    def __init__(self, job: Dict[str, Any]) -> None:
        self._folder, self._file = Path(job["folder"]), str(job["file"])
        self._done = threading.Event()
        self._errors: List[bytes] = []
        self._make(self._file)
        self.process = subprocess.Popen(job["command"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _make(self, name: str) -> None:
        os.mkfifo(self._folder / name, 0o600)

    def _watch(self) -> None:
        """A reader that waits for a program that is gone is released."""
        assert self.process.stderr is not None
        self._errors.append(self.process.stderr.read())
        self.process.wait()
        while not self._done.wait(0.05):
            with contextlib.suppress(OSError):
                os.close(os.open(self._folder / self._file, os.O_WRONLY | os.O_NONBLOCK))

    def files(self) -> Iterator[Callable[[int], bytes]]:
        """For each log file, what reads it."""
        while True:
            self._make(following(self._file))
            with (self._folder / self._file).open("rb", buffering=0) as pipe:
                first = pipe.read(log_events.CHUNK)
                if not first:
                    return
                yield _beginning_with(first, pipe.read)
            (self._folder / self._file).unlink()
            self._file = following(self._file)

    def end(self) -> Tuple[int, str]:
        """The log program's exit code, and what it complained of."""
        self._done.set()
        self._watcher.join(60)
        return self.process.wait(), b"".join(self._errors).decode("utf-8", "replace")


def _beginning_with(first: bytes, read: Callable[[int], Optional[bytes]]) -> Callable[[int], bytes]:
    waiting = [first]
    return lambda size: waiting.pop() if waiting else (read(size) or b"")


def read(job: Dict[str, Any]) -> Dict[str, Any]:
    """Read a log to its end."""
    found = Found(job)
    pipes = Pipes(job)
    broken = ""
    for data in pipes.files():
        try:
            for event in log_events.events(data):
                found.take(event)
        except Unknown as error:
            broken = str(error)
            while data(log_events.CHUNK):  # to its end, or the log program would wait
                pass
    code, complaint = pipes.end()
    if broken and not code:
        found.doubt(broken)
    return {**found.result(), "code": code, "error": complaint[-500:]}


def main() -> int:
    """Do the job."""
    json.dump(read(json.load(sys.stdin)), sys.stdout)
    return 0

"""The program that runs on the new database server during a copy: it pipes rows from the original into the server next to it.

Pushed with the modules it needs, and PyMySQL, as one archive (`run_worker.archive`), and run by the server's own Python 3 as the transient systemd
unit `cutover-copy`. It understands neither SQL nor rows: every statement is in its job file. Its folder holds

* `source.cnf` (mode 600): how to reach the original, with the password;
* `job.json` (mode 600): statements, client command lines, what to limit; the worker, launched before, waits for it, and opens its sessions;
* `order.json`: not read here; once it is there the tables are, and the worker begins;
* `status.json`: replaced four times a second with bytes, rows and the number of finished tables; at the end also which tables are left for another
  snapshot, because somebody changed them or waited for them;
* `whole`: the names of finished tables, one a line;
* `limit`: bytes a second, where whoever watches has changed what the job says;
* `alive`: touched by whoever watches; not touched for `abandoned` seconds, nobody does, and the copy ends itself.

Each stream has one session at a time on the original, all in one consistent snapshot (`reading`), and one on the new server. The original's rows are
taken as they come over the wire (`wire`), or printed by the client program (`clients`) where that compresses, or where the former can't open a session.
"""

# ruff: noqa: UP006, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Union

from parallel_build.database.copy.clients import Client, Failed, TooLong
from parallel_build.database.copy.loading import Load, Unwritten
from parallel_build.database.copy.opening import Control, Opening
from parallel_build.database.copy.pace import Pace
from parallel_build.database.copy.reading import Pool, Reading
from parallel_build.database.copy.tasks import Part, Tasks
from parallel_build.database.copy.unchanged import CHANGED, LOCKED, Definitions, numbers
from parallel_build.database.server import snapshot, waiting

if TYPE_CHECKING:
    from parallel_build.database.copy.wire import Wire

    Reader = Union[Client, Wire]

JOBLESS = 60.0  # seconds for which a worker that was launched waits for its job, then for its order; who comes later launches another
LISTEN = 0.01  # seconds from one look for them to the next
BEGINNINGS = 5  # of a snapshot before which somebody changed a definition


class Unread(Failed):
    """The original did not give a part's rows to their end."""


class Copy:
    """One run of the job."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "job.json")) as file:
            self.job: Dict[str, Any] = json.load(file)
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self.pace = Pace(self.job["bytes_per_second"])
        self.error = ""
        self.status: Dict[str, Any] = {
            "state": "running", "phase": "connecting", "error": "", "bytes": 0, "rows": 0, "done": 0, "tables_done": 0,
            "started": time.time(), "position": [], "tables": {}, "warnings": [], "building": [], "compressed": False,
            "locked_seconds": 0.0, "finished_bytes": 0, "share": 1.0, "read_by": "client program",
            "snapshot": "", "left": [], "waited_seconds": 0.0, "gave_way": 0, "usual": 0.0,
        }  # fmt: skip
        self.opening = Opening(folder, self.job, self.stopped)
        self.tasks = Tasks(self.job["parts"], self.job["finish"], self.stopped, one_by_one=self.job["one_by_one"])
        # One looks at what runs, one at definitions: that one may wait a second for somebody's lock.
        self.looking, self.asking = Control(self.opening), Control(self.opening)
        watch = self.job["watch"]
        self.waits = waiting.Watch(watch["tables"], watch["tied"]) if watch else None
        self.definitions = Definitions(watch["definitions"], self.asking, self.waits) if watch and self.waits else None
        self.readers: List[Reader] = []
        self.pool: Optional[Pool[Reader]] = None
        self.usual = 0.0

    # -- the snapshot ----------------------------------------------------------------------------------------------------------
    def connect(self) -> None:
        """Open the reading sessions; until the snapshot begins they hold nothing."""
        compress = self.job["compress"]
        if compress is None:
            first = self.opening.source()
            compress = self.opening.slow_network(first)
            first.close()
        self.status["compressed"] = compress
        self.readers = self.opening.readers(compress)
        self.status["read_by"] = self.opening.read_by

    def begin(self) -> Pool[Reader]:
        """All reading sessions in one snapshot."""
        if self.pace.asked and self.job["statements"]:
            # A second snapshot of one copy does not look once more: what changes meanwhile is left again.
            self.usual = self.mean_running() if self.job["usual"] is None else self.job["usual"]
        self.status["usual"] = self.usual
        if self.job["snapshot"]:
            taken = self.begin_snapshot(self.readers)
            self.status["position"], self.status["locked_seconds"], self.status["snapshot"] = taken
        return Pool(self.readers, self.job["streams"], savepoints=self.job["savepoints"], watched=self.waits is not None)

    def begin_snapshot(self, readers: List[Reader]) -> snapshot.Taken:
        """Begin the snapshot in all sessions; tables that are not what they were when it begins are left for another."""
        server = snapshot.Server(**self.job["snapshot"])
        asks = [reader.ask for reader in readers]
        for _ in range(BEGINNINGS):
            begun = self.definitions.begun() if self.definitions else 0
            moving = self.definitions.moving(waiting.parse(self.looking(self.job["statements"]))) if self.definitions else set()
            try:
                taken = snapshot.begin(server, self.asking, asks, self.pause, Failed)
            except snapshot.Busy as problem:
                raise Failed(str(problem)) from None
            if not self.definitions or self.definitions.begun() == begun:
                self.tasks.leave_tables(moving)
                return taken
        raise Failed("no snapshot could begin: definitions were changed on the original each time")

    def pause(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise Failed("stopped")

    # -- work ------------------------------------------------------------------------------------------------------------------
    def stream(self, number: int, pool: Pool[Reader]) -> None:
        reading: Optional[Reading[Reader]] = None
        try:
            writer = self.opening.target()
            while not self.stopped.is_set():
                task = self.tasks.next()
                if task is None:
                    break
                if isinstance(task, str):
                    self.finish(writer, task)
                    continue
                reading = pool.before(reading, task["table"])
                if reading is None:
                    self.tasks.leave_all(task)
                else:
                    writer = self.copy_part(number, pool, reading, writer, task)
            writer.close()
        except Exception as problem:  # any failure of one stream ends them all, with its words
            self.fail(str(problem) if isinstance(problem, Failed) else "%s: %s" % (type(problem).__name__, problem))
        finally:
            if reading is not None:
                pool.leave(reading)

    def finish(self, writer: Client, table: str) -> None:
        with self.lock:
            self.status["building"].append(table)
        started = time.monotonic()
        for statement in self.job["finish"][table]:
            writer.ask(statement)
        with self.lock:
            self.status["building"].remove(table)
            entry = self.status["tables"].setdefault(table, {"rows": 0, "bytes": 0, "seconds": 0.0})
            entry["keys_seconds"] = round(time.monotonic() - started, 3)
        self.whole(table)
        self.tasks.finished()

    def whole(self, table: str) -> None:
        """Rows and keys of a table are there."""
        with self.lock:
            self.status["tables_done"] += 1
            with open(os.path.join(self.folder, "whole"), "a") as file:
                file.write(table + "\n")

    def copy_part(self, number: int, pool: Pool[Reader], reading: Reading[Reader], writer: Client, part: Part) -> Client:
        """Copy a part, or put it off; whatever goes wrong with it is reported with its table. Returns the session to write the next part with."""
        started = time.monotonic()
        load = Load(writer, self.job, part, number, self.stopped, undoable=pool.watched)
        try:
            found = self.read(reading, part, load)
            taken = load.end(found)
        except Unread as problem:
            put_off = self.put_off(pool, reading, part, problem)
            if put_off is None:
                raise Failed("table %s: %s" % (part["table"], problem)) from None
            writer = writer if load.drop() else self.opening.target()
            with self.lock:
                self.status["bytes"] -= load.moved
            put_off(part)
            return writer
        except TooLong as problem:
            raise Failed("table %s%s: %s" % (part["table"], self.longest(part), problem)) from None
        except Failed as problem:
            raise Failed("table %s: %s" % (part["table"], problem)) from None
        finally:
            load.release()
        pool.after(reading)
        self.count(part, taken, load.moved, time.monotonic() - started)
        last = self.tasks.part_read(part)
        if last and self.definitions and not self.definitions.same(part["table"]):
            self.tasks.leave(part)
        elif self.tasks.part_done(part, last=last):
            self.whole(part["table"])
        return writer

    def longest(self, part: Part) -> str:
        """Which columns of a part hold a value that is too long by itself, where that can be asked."""
        try:
            found = self.asking(part["longest"]).strip()
        except Failed:
            return ""
        return ", column %s" % found if found else ""

    def read(self, reading: Reading[Reader], part: Part, load: Load) -> int:
        """Hand a part's rows over; how many the original found."""

        def sink(data: memoryview) -> None:
            if self.stopped.is_set():
                raise Unwritten("stopped")
            if reading.ended:
                raise Unread("somebody waited for it")
            load.take(data)
            with self.lock:
                self.status["bytes"] += len(data)
            ahead = self.pace.after(len(data))
            if ahead > 0:
                self.pause(ahead)

        try:
            return reading.reader.rows(part["select"], sink, unique=part["unique"])
        except (TooLong, Unread, Unwritten):
            raise
        except Failed as problem:
            raise Unread(str(problem)) from None

    def put_off(self, pool: Pool[Reader], reading: Reading[Reader], part: Part, problem: Failed) -> Optional[Callable[[Part], None]]:
        """What becomes of a part that the original did not give: read again, or left for another snapshot; None where it is an error."""
        if not pool.watched or self.stopped.is_set():
            return None
        if reading.ended:
            return self.tasks.again
        found = numbers(problem)
        if not (CHANGED | {LOCKED}) & found:
            return None
        pool.still(reading)
        return self.tasks.again if LOCKED in found else self.tasks.leave

    def count(self, part: Part, rows: int, moved: int, seconds: float) -> None:
        with self.lock:
            self.status["rows"] += rows
            self.status["finished_bytes"] += moved
            self.status["done"] += part["weight"]
            entry = self.status["tables"].setdefault(part["table"], {"rows": 0, "bytes": 0, "seconds": 0.0})
            entry["rows"] += rows
            entry["bytes"] += moved
            entry["seconds"] = round(entry["seconds"] + seconds, 3)

    def fail(self, text: str) -> None:
        with self.lock:
            self.error = self.error or text
        self.stopped.set()
        self.opening.end()
        self.tasks.wake()

    # -- consideration ---------------------------------------------------------------------------------------------------------
    def mean_running(self) -> float:
        """How many statements of others run on the original: the mean of some seconds. Who waits for them gets their locks meanwhile."""
        found: List[int] = []
        end = time.monotonic() + self.job["look"]
        while not found or time.monotonic() < end:
            statements = waiting.parse(self.looking(self.job["statements"]))
            found.append(sum(statement.runs for statement in statements))
            self.give_way(statements)
            self.pause(waiting.EVERY)
        return sum(found) / len(found)

    def give_way(self, statements: List[waiting.Statement]) -> None:
        """End the sessions for which somebody waits."""
        if self.waits is None or self.pool is None:
            return
        ending = self.waits.look(statements, self.pool.held(), time.monotonic())
        self.pool.give_way(ending)
        for number in ending:
            with contextlib.suppress(Failed):  # ended by itself since
                self.looking("KILL %d" % number)
        self.status["waited_seconds"] = round(max(self.waits.longest, self.status["locked_seconds"]), 3)
        self.status["gave_way"] = self.waits.times

    def consider(self) -> None:
        """Read more slowly while more statements run on the original than before the copy began; give way to whoever waits."""
        try:
            while not self.stopped.is_set():
                running = self.mean_running()
                if self.pace.asked:
                    self.pace.heed(running, self.usual)
                    self.status["share"] = self.pace.share
        except Failed as problem:
            if not self.stopped.is_set():
                self.fail(str(problem))

    # -- watching --------------------------------------------------------------------------------------------------------------
    def watch(self) -> None:
        """Write the status; end the copy when nobody watches it any more, or when the original is gone without a word."""
        alive = os.path.join(self.folder, "alive")
        moved, since = -1, time.monotonic()  # the machine's own clock may be set meanwhile
        touched, seen = 0.0, since
        while not self.stopped.wait(0.25):
            self.write_status()
            self.read_limit()
            with self.lock:
                reading = self.tasks.busy > len(self.status["building"])
                if self.status["bytes"] != moved or not reading:
                    moved, since = self.status["bytes"], time.monotonic()
            if time.monotonic() - since > self.job["stalled"]:
                self.check_original()
                since = time.monotonic()
            for folder in self.job["folders"]:
                room = os.statvfs(folder)
                if room.f_bavail * room.f_frsize < self.job["low_space"]:
                    # A server that can't write its binary log waits without a word, and a session of its can't be ended then.
                    self.fail("only %d MiB are left on the disk of %s" % (room.f_bavail * room.f_frsize >> 20, folder))
            if os.stat(alive).st_mtime != touched:
                touched, seen = os.stat(alive).st_mtime, time.monotonic()
            if time.monotonic() - seen > self.job["abandoned"]:
                self.fail("nobody watched the copy for %d s" % self.job["abandoned"])

    def check_original(self) -> None:
        """A session whose other end has lost its power or its cable waits for ever: look whether the original still knows ours."""
        living = self.pool.lives() if self.pool else 0
        living += sum(control.open for control in (self.looking, self.asking)) if living else 0
        try:
            done = subprocess.run(self.job["probe"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        except subprocess.TimeoutExpired:
            self.fail("the original does not answer")
            return
        if done.returncode:
            self.fail("the original can't be reached any more: %s" % done.stderr.decode(errors="replace").strip())
        elif int(done.stdout) < living:
            self.fail("the original has ended %d of the %d sessions that read it" % (living - int(done.stdout), living))

    def read_limit(self) -> None:
        """Whoever watches now may have changed the limit."""
        try:
            with open(os.path.join(self.folder, "limit")) as file:
                self.pace.asked = float(file.read())
        except FileNotFoundError:
            return

    def write_status(self) -> None:
        with self.lock:
            # What there is to say of each table is long, and wanted once.
            brief = self.status["state"] == "running"
            text = json.dumps({key: value for key, value in self.status.items() if not brief or key != "tables"}) + "\n"
        path = os.path.join(self.folder, "status.json")
        with open(path + ".new", "w") as file:
            file.write(text)
        os.replace(path + ".new", path)

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda number, frame: self.fail("stopped"))
        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        try:
            if not self.readers:
                self.connect()
            self.pool = pool = self.begin()
            self.status["phase"] = "copying"
            if self.job["statements"]:
                threading.Thread(target=self.consider, daemon=True).start()
            threads = [threading.Thread(target=self.stream, args=(number, pool)) for number in range(self.job["streams"])]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            pool.close()
        except Failed as problem:
            self.fail(str(problem))
        with self.lock:
            self.status["left"] = sorted(self.tasks.left)
            self.status["state"] = "failed" if self.error else "partial" if self.tasks.left else "done"
            self.status["error"] = self.error
            self.status["ended"] = time.time()
        self.stopped.set()
        watcher.join()
        # Nobody may be watching for hours yet, and nothing here needs the original any more.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, "source.cnf"))
        self.write_status()
        return 1 if self.error else 0


def awaited(path: str) -> bool:
    """Wait for a file, which is there at once and whole; whether it came."""
    deadline = time.monotonic() + JOBLESS
    while not os.path.exists(path):
        if time.monotonic() > deadline or not os.path.isdir(os.path.dirname(path)):
            return False
        time.sleep(LISTEN)
    return True


def main() -> int:
    """Run the job of the folder that the first argument names."""
    os.umask(0o077)
    with contextlib.suppress(ImportError, SyntaxError):  # whoever opens such a session says why it can't
        importlib.import_module("parallel_build.database.copy.wire")
    folder = sys.argv[1]
    if not awaited(os.path.join(folder, "job.json")):
        return 1
    copy = Copy(folder)
    with contextlib.suppress(Failed):  # what can't be opened now is opened, or reported, when the copy runs
        copy.connect()
    return copy.run() if awaited(os.path.join(folder, "order.json")) else 1


if __name__ == "__main__":
    sys.exit(main())

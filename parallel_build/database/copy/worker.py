"""The program that runs on the new database server during a copy: it pipes rows from the original into the server beside it.

Pushed with the modules it needs, and PyMySQL, as one archive (`run_worker.archive`), and run by the server's own Python 3 as the transient systemd
unit `cutover-copy`. It understands neither SQL nor rows: every statement is in its job file. Its folder holds

* `job.json` (mode 600): statements, client command lines, what to limit;
* `source.cnf` (mode 600): how to reach the original, with the password;
* `status.json`: replaced four times a second with bytes, rows and the number of finished tables;
* `whole`: the names of finished tables, one a line;
* `limit`: bytes a second, where whoever watches has changed what the job says;
* `alive`: touched by whoever watches; older than `abandoned` seconds, nobody does, and the copy ends itself.

Each stream has one session on the original, all in one consistent snapshot, and one on the new server. The original's rows are taken as they
come over the wire (`wire`), or printed by the client program (`clients`) where that compresses, or where the former can't open a session.
"""

# ruff: noqa: UP006, UP007, UP035, UP045 - the Python of a database server may be older than the project's own
from __future__ import annotations

import collections
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Set, TypeVar, Union

from parallel_build.database.copy.clients import TOO_LONG, Client, Failed, TooLong, Unfit, widen

if TYPE_CHECKING:
    from parallel_build.database.copy.wire import Wire

    Reader = Union[Client, Wire]

Opened = TypeVar("Opened", bound="Reader")
CREDIT = 0.25  # seconds of the limit that may be made up for after a moment of reading less
LEAST = 1 / 8  # of the limit; an original that is always busy must be copied too
READING = "reading from the original"
LOOKS = 0.25  # seconds between two looks at what the original does


class Pace:
    """Holds all streams together to one limit, and to less of it while the original has more to do than usual.

    Attributes:
        asked: bytes a second, 0 for none; may be changed at any time.
        share: the part of it that is used.
    """

    def __init__(self, asked: float) -> None:
        self.asked, self.share = asked, 1.0
        self.due = time.monotonic()
        self.lock = threading.Lock()

    def after(self, count: int) -> float:
        """Seconds to wait now that `count` more bytes have been read; 0 or less for none."""
        with self.lock:
            if not self.asked:
                return 0.0
            now = time.monotonic()
            self.due = max(self.due, now - CREDIT) + count / (self.asked * self.share)
            return self.due - now

    def heed(self, running: float, usual: float) -> None:
        """Half as fast when more than twice as many statements as usual, and two, run; else a quarter faster."""
        self.share = max(LEAST, self.share / 2) if running > 2 * usual + 2 else min(1.0, self.share * 1.25)


class Copy:
    """One run of the job."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "job.json")) as file:
            self.job: Dict[str, Any] = json.load(file)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.stopped = threading.Event()
        self.pace = Pace(self.job["bytes_per_second"])
        self.error = ""
        self.status: Dict[str, Any] = {
            "state": "running", "phase": "connecting", "error": "", "bytes": 0, "rows": 0, "done": 0, "tables_done": 0,
            "started": time.time(), "position": [], "tables": {}, "warnings": [], "building": [], "compressed": False,
            "locked_seconds": 0.0, "finished_bytes": 0, "share": 1.0, "read_by": "client program",
        }  # fmt: skip
        # Every part is a task; the statements that finish a table become tasks once its last part is in.
        self.parts: collections.deque[Dict[str, Any]] = collections.deque(self.job["parts"])
        self.finishing: collections.deque[str] = collections.deque()
        self.open_parts: Dict[str, int] = collections.Counter(part["table"] for part in self.job["parts"])
        self.busy = 0
        self.loading: Set[str] = set()
        self.clients: List[Reader] = []
        self.sessions: List[Reader] = []
        self.usual = 0.0

    # -- sessions --------------------------------------------------------------------------------------------------------------
    def source(self, compress: bool) -> Client:
        argv = self.job["source"] + (self.job["compress_options"] if compress else [])
        return self.opened(lambda: Client(argv, self.job["marker"], READING), self.job["source_settings"])

    def target(self) -> Client:
        return self.opened(lambda: Client(self.job["target"], self.job["marker"], "writing to the new server"), self.job["target_settings"])

    def opened(self, opening: Callable[[], Opened], settings: List[str]) -> Opened:
        """A session with its settings. A busy server gives up on those who are slow to greet it: nothing is lost by asking again."""
        attempt = 1
        while True:
            try:
                return self.prepared(opening(), settings)
            except Unfit:
                raise
            except Failed:
                if attempt >= self.job["session_attempts"] or self.stopped.is_set():
                    raise
            self.pause(attempt)
            attempt += 1

    def prepared(self, session: Opened, settings: List[str]) -> Opened:
        """The session, ended with all others, and its settings made."""
        with self.lock:
            self.clients.append(session)
        try:
            for statement in settings:
                session.ask(statement)
        except Failed:
            with self.lock:
                self.clients.remove(session)
            session.close()
            raise
        return session

    def readers(self, compress: bool) -> List[Reader]:
        """The sessions that read: rows as they come over the wire, or through the client program, which alone can compress."""
        count = self.job["streams"]
        if self.job["wire"] and not compress:
            try:
                first = self.wire()
            except Failed as problem:
                self.status["read_by"] = "client program: %s" % problem
            else:
                self.status["read_by"] = "wire"
                return [first, *(self.wire() for _ in range(count - 1))]
        return [self.source(compress) for _ in range(count)]

    def wire(self) -> Wire:
        """A session that takes rows as they come over the wire."""
        try:
            from parallel_build.database.copy import wire  # the Python of this server may be too old for it
        except (ImportError, SyntaxError) as problem:
            raise Unfit("%s: %s" % (type(problem).__name__, problem)) from None
        options, job = os.path.join(self.folder, "source.cnf"), self.job["wire"]
        return self.opened(lambda: wire.Wire(options, job["tls"], bytes.fromhex(job["start"]), READING), self.job["source_settings"])

    def slow_network(self, client: Client) -> bool:
        """Whether compressing pays: the network carries less than the servers could feed it."""
        best = 0.0
        for _ in range(4):
            started = time.time()
            size = len(client.ask("SELECT REPEAT('x', 4194304)"))
            best = max(best, size / max(time.time() - started, 1e-6))
            if best > self.job["compress_below"]:
                return False
        return True

    def connect(self) -> List[Reader]:
        """Open the reading sessions, all in one snapshot."""
        first = self.source(compress=False)
        if self.job["busy"]:
            self.usual = self.running(first)
        compress = self.job["compress"]
        if compress is None:
            compress = self.slow_network(first)
        self.status["compressed"] = compress
        readers = self.readers(compress)
        if not self.job["snapshot"]:
            first.close()
            return readers
        begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        for attempt in range(self.job["lock_attempts"]):
            try:
                # Held for as long as the sessions need to begin, some milliseconds. A statement that runs on the original for longer than
                # lock_wait_timeout makes the lock give up, so that nobody queues behind it.
                first.ask("FLUSH TABLES WITH READ LOCK")
                break
            except Failed as problem:
                if "Lock wait timeout" not in str(problem) or attempt + 1 == self.job["lock_attempts"]:
                    raise
                first = self.source(compress=False)
                self.pause(2 + attempt)
        locked = time.time()
        for reader in readers:
            reader.ask(begin)
        position = first.ask(self.job["position"]).split()
        first.ask("UNLOCK TABLES")
        self.status["position"] = position
        self.status["locked_seconds"] = round(time.time() - locked, 3)
        first.close()
        return readers

    def pause(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise Failed("stopped")

    # -- work ------------------------------------------------------------------------------------------------------------------
    def next_task(self) -> Optional[Any]:
        """A table to finish first, else the largest part that is left; None when nothing will come any more."""
        with self.changed:
            while not self.stopped.is_set():
                if self.finishing:
                    self.busy += 1
                    return self.finishing.popleft()
                part = self.take_part()
                if part is not None:
                    self.busy += 1
                    return part
                if not self.busy:
                    return None
                self.changed.wait(0.5)
        return None

    def take_part(self) -> Optional[Dict[str, Any]]:
        """The first part that may begin: where the server lets only one statement load a table, a table's parts go one after another."""
        for number, part in enumerate(self.parts):
            if not (self.job["one_by_one"] and part["table"] in self.loading):
                del self.parts[number]
                self.loading.add(part["table"])
                return part
        return None

    def task_done(self, part: Optional[Dict[str, Any]], table: str) -> None:
        with self.changed:
            self.busy -= 1
            if part is not None:
                self.open_parts[table] -= 1
                self.loading.discard(table)
                self.status["done"] += part["weight"]
                if self.open_parts[table] == 0:
                    if self.job["finish"].get(table):
                        self.finishing.append(table)
                    else:
                        self.whole(table)
            else:
                self.whole(table)
            self.changed.notify_all()

    def whole(self, table: str) -> None:
        """Rows and keys of a table are there."""
        self.status["tables_done"] += 1
        with open(os.path.join(self.folder, "whole"), "a") as file:
            file.write(table + "\n")

    def stream(self, number: int, reader: Reader) -> None:
        try:
            writer = self.target()
            while not self.stopped.is_set():
                task = self.next_task()
                if task is None:
                    break
                if isinstance(task, str):
                    self.finish(writer, task)
                else:
                    self.copy_named(number, reader, writer, task)
            writer.close()
        except Exception as problem:  # any failure of one stream ends them all, with its words
            self.fail(str(problem) if isinstance(problem, Failed) else "%s: %s" % (type(problem).__name__, problem))
        finally:
            reader.close()

    def finish(self, writer: Client, table: str) -> None:
        with self.lock:
            self.status["building"].append(table)
        started = time.time()
        for statement in self.job["finish"][table]:
            writer.ask(statement)
        with self.lock:
            self.status["building"].remove(table)
            entry = self.status["tables"].setdefault(table, {"rows": 0, "bytes": 0, "seconds": 0.0})
            entry["keys_seconds"] = round(time.time() - started, 3)
        self.task_done(None, table)

    def copy_named(self, number: int, reader: Reader, writer: Client, part: Dict[str, Any]) -> None:
        """Copy a part; whatever goes wrong with it is told with its table."""
        try:
            self.copy_part(number, reader, writer, part)
        except TooLong as problem:
            raise Failed("table %s%s: %s" % (part["table"], self.longest(part), problem)) from None
        except Failed as problem:
            raise Failed("table %s: %s" % (part["table"], problem)) from None

    def longest(self, part: Dict[str, Any]) -> str:
        """Which columns of a part hold a value that is too long by itself, where that can be asked."""
        try:
            asking = self.source(compress=False)
            found = asking.ask(part["longest"]).strip()
            asking.close()
        except Failed:
            return ""
        return ", column %s" % found if found else ""

    def copy_part(self, number: int, reader: Reader, writer: Client, part: Dict[str, Any]) -> None:
        started = time.time()
        pipe: Optional[int] = None
        moved = 0

        def sink(data: memoryview) -> None:
            nonlocal pipe, moved
            if self.stopped.is_set():
                raise Failed("stopped")
            if not data:
                return
            if pipe is None:
                # Only now: most tables are empty, and the new server has nothing to do for them.
                pipe = self.begin_load(number, writer, part)
            left = data
            while left:
                try:
                    left = left[os.write(pipe, left) :]
                except BrokenPipeError:
                    raise self.broken(writer) from None
            moved += len(data)
            with self.lock:
                self.status["bytes"] += len(data)
            ahead = self.pace.after(len(data))
            if ahead > 0:
                self.pause(ahead)

        try:
            found = reader.rows(part["select"], sink, unique=part["unique"])
        finally:
            if pipe is not None:
                os.close(pipe)
        taken = 0 if pipe is None else int(writer.receive(lambda data: None)[1])
        if taken != found:
            raise TooLong("%d rows were read and %d written; where some are missing, %s" % (found, taken, TOO_LONG))
        with self.lock:
            self.status["rows"] += taken
            entry = self.status["tables"].setdefault(part["table"], {"rows": 0, "bytes": 0, "seconds": 0.0})
            self.status["finished_bytes"] += moved
            entry["rows"] += taken
            entry["bytes"] += moved
            entry["seconds"] = round(entry["seconds"] + time.time() - started, 3)
        self.task_done(part, part["table"])

    def begin_load(self, number: int, writer: Client, part: Dict[str, Any]) -> int:
        """Have the new server begin to take a part in; the writing end of the pipe that it reads."""
        fifo = os.path.join(self.job["fifo_folder"], "stream%d" % number)
        if not os.path.exists(fifo):
            os.mkfifo(fifo)
            os.chmod(fifo, 0o666)  # the folder is the database server's own, mode 700
        writer.send(part["load"].replace(self.job["fifo_mark"], fifo))
        pipe = self.open_pipe(fifo, writer)
        widen(pipe)
        return pipe

    def open_pipe(self, fifo: str, writer: Client) -> int:
        """The writing end, once the server has opened the reading end; a server that refuses the statement never does."""
        deadline = time.time() + 120
        wait = 0.0002
        while True:
            try:
                descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as problem:
                if problem.errno != errno.ENXIO:
                    raise
                if writer.process.poll() is not None or writer.errors:
                    raise writer.failure() from None
                if time.time() > deadline or self.stopped.is_set():
                    raise Failed("the new server did not open its end of the pipe %s" % fifo) from None
                time.sleep(wait)
                wait = min(wait * 2, 0.02)
                continue
            os.set_blocking(descriptor, True)
            return descriptor

    def broken(self, writer: Client) -> Failed:
        """The server closed its end: its client says why."""
        try:
            writer.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return Failed("the new server stopped reading")
        return writer.failure()

    def fail(self, text: str) -> None:
        with self.changed:
            if not self.error:
                self.error = text
            self.stopped.set()
            # Streams wait inside reads that only the end of their sessions ends.
            for client in self.clients:
                client.end()
            self.changed.notify_all()

    # -- consideration ---------------------------------------------------------------------------------------------------------
    def running(self, client: Client) -> float:
        """How many statements of others run on the original: the mean of some seconds."""
        found: List[int] = []
        end = time.monotonic() + self.job["look"]
        while not found or time.monotonic() < end:
            found.append(int(client.ask(self.job["busy"])))
            self.pause(LOOKS)
        return sum(found) / len(found)

    def heed(self, client: Client) -> None:
        """Read more slowly while more statements run on the original than before the copy began."""
        try:
            while not self.stopped.is_set():
                self.pace.heed(self.running(client), self.usual)
                self.status["share"] = self.pace.share
        except Failed as problem:
            if not self.stopped.is_set():
                self.fail(str(problem))

    # -- watching --------------------------------------------------------------------------------------------------------------
    def watch(self) -> None:
        """Write the status; end the copy when nobody watches it any more, or when the original is gone without a word."""
        alive = os.path.join(self.folder, "alive")
        moved, since = -1, time.time()
        while not self.stopped.wait(0.25):
            self.write_status()
            self.read_limit()
            with self.lock:
                reading = self.busy > len(self.status["building"])
                if self.status["bytes"] != moved or not reading:
                    moved, since = self.status["bytes"], time.time()
            if time.time() - since > self.job["stalled"]:
                self.check_original()
                since = time.time()
            for folder in self.job["folders"]:
                room = os.statvfs(folder)
                if room.f_bavail * room.f_frsize < self.job["low_space"]:
                    # A server that can't write its binary log waits without a word, and a session of its can't be ended then.
                    self.fail("only %d MiB are left on the disk of %s" % (room.f_bavail * room.f_frsize >> 20, folder))
            if time.time() - os.stat(alive).st_mtime > self.job["abandoned"]:
                self.fail("nobody watched the copy for %d s" % self.job["abandoned"])

    def check_original(self) -> None:
        """A session whose other end has lost its power or its cable waits for ever: look whether the original still knows ours."""
        living = sum(1 for reader in self.sessions if reader.lives())
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
            self.sessions = readers = self.connect()
            self.status["phase"] = "copying"
            if self.job["busy"]:
                heeding = self.source(compress=False)
                self.sessions = [*readers, heeding]
                threading.Thread(target=self.heed, args=(heeding,), daemon=True).start()
            threads = [threading.Thread(target=self.stream, args=(number, reader)) for number, reader in enumerate(readers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except Failed as problem:
            self.fail(str(problem))
        with self.lock:
            self.status["state"] = "failed" if self.error else "done"
            self.status["error"] = self.error
            self.status["ended"] = time.time()
        self.stopped.set()
        watcher.join()
        # Nobody may be watching for hours yet, and nothing here needs the original any more.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, "source.cnf"))
        self.write_status()
        return 1 if self.error else 0


def main() -> int:
    """Run the job of the folder that the first argument names."""
    os.umask(0o077)
    return Copy(sys.argv[1]).run()


if __name__ == "__main__":
    sys.exit(main())

"""Reading management-server.log: from a mark on, across rotation, and what its lines mean.

The texts are CloudStack's own [DatabaseUpgradeChecker.java, ScriptRunner.java; observed on 4.20.3.0 and 4.22.1.0]; those used
here are the same back to 4.9 except for the procedure and view scripts, which came with 4.19.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from parallel_build.remote.access import Access
from parallel_build.remote.full_disks import says_so

MANAGEMENT_LOG = "/var/log/cloudstack/management/management-server.log"
LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (\w+)\s+\[([^\]]*)\] \(([^:)]*).*?\(logid:[^)]*\) (.*)$")
EXCEPTION = re.compile(r"^(?:Caused by: )?((?:[\w$]+\.)+[\w$]*(?:Exception|Error)\b.*)$")
LEVELS = ("WARN", "ERROR", "FATAL")
KEPT = 200  # complaints of one start: the storm behind a failed module is not among them
RUNNING = re.compile(r"Running upgrade (\S+) to upgrade from (\S+) to (\S+)")
COMPLETED = re.compile(r"Upgrade completed for version (\S+)")
PERFORMED = re.compile(r"Database upgrade must be performed from (\S+) to (\S+)")
MODULE = re.compile(r"Failed to start module \[([^\]]+)\]")
REFUSED = re.compile(r"java\.sql\.SQL\w*Exception: (.*)")
LOCKED = "Grabbing lock to check for database upgrade"
NO_CONTEXT = "Application context not found"  # the storm behind a module that failed
UNCHANGED = "DB version and code version matches so no upgrade needed"
PROCEDURES = "Executing Stored Procedure scripts"
VIEWS_BEGUN, VIEWS_DONE = "Executing VIEW scripts", "Finished execution of VIEW scripts"


@dataclass(frozen=True)
class Mark:
    """A place in the log: the file's inode and the bytes passed over; both 0 where there was no file yet."""

    inode: int
    offset: int


class LogFollower:
    """Gives the lines written since a mark, each once.

    Args:
        host: the server.
        mark: where to begin; `LogFollower.now` takes the end of the log.
    """

    def __init__(self, host: Access, mark: Mark, path: str = MANAGEMENT_LOG) -> None:
        self.host, self.mark, self.path = host, mark, path
        self._rest = b""

    @classmethod
    def now(cls, host: Access, path: str = MANAGEMENT_LOG) -> LogFollower:
        """Begin at the log's end."""
        text = host.run(["sh", "-c", 'stat -c "%i %s" "$1" 2>/dev/null || echo 0 0', "sh", path]).stdout
        inode, size = (int(part) for part in text.split())
        return cls(host, Mark(inode, size), path)

    def lines(self) -> list[str]:
        """The whole lines that have come since the last call; after a rotation the new file is read from its beginning."""
        script = (
            'p=$1; set -- $(stat -c "%i %s" "$p" 2>/dev/null || echo 0 0) "$2" "$3"; '
            'o=$4; [ "$1" = "$3" ] && [ "$2" -ge "$o" ] || o=0; echo "$1 $o"; [ "$1" = 0 ] || tail -c +$((o + 1)) "$p" | base64'
        )
        answer = self.host.run(["sh", "-c", script, "sh", self.path, str(self.mark.inode), str(self.mark.offset)]).stdout
        head, _, body = answer.partition("\n")
        inode, offset = (int(part) for part in head.split())
        if (inode, offset) != (self.mark.inode, self.mark.offset):
            self._rest = b""
        data = base64.b64decode(body)
        self.mark = Mark(inode, offset + len(data))
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return whole.decode(errors="replace").splitlines() if newline else []


@dataclass
class Complaint:
    """A line of level WARN, ERROR or FATAL.

    Attributes:
        level, logger, thread, text: of the line.
        chain: the exceptions printed below it, the outermost first.
    """

    level: str
    logger: str
    thread: str
    text: str
    chain: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        """The line and its exceptions, for a pattern."""
        return " | ".join([self.text, *self.chain])


@dataclass
class UpgradeStep:
    """One version step of the schema upgrade; seconds is None while it runs."""

    name: str
    version: str
    began: datetime
    seconds: float | None = None


@dataclass
class StartReading:
    """What the log of one start has shown so far.

    Attributes:
        locked: the database lock was taken; before that nothing can have been changed.
        touched: the schema may have been changed: a failure from here on needs the copy imported again.
        planned: the upgrade's versions (from, to), or None.
        unneeded: CloudStack found code and database of one version.
        steps: the version steps in order.
        views_begun, views_done: the last part of the upgrade, which a later start never repeats.
        failed_modules: in order of appearance.
        views_seconds: how long that part took; None until it is done.
        complaints: the lines of level WARN and worse, in order, each with its exceptions; of failed modules the first alone, the others follow from it.
        reason: the database's own words where a statement of the upgrade was refused: the line after it.
        last: the text of the last line.
        no_space: the first line about a full disk, whatever its level: what comes after it is noise.
    """

    locked: bool = False
    touched: bool = False
    planned: tuple[str, str] | None = None
    unneeded: bool = False
    steps: list[UpgradeStep] = field(default_factory=list)
    views_begun: bool = False
    views_done: bool = False
    views_began: datetime | None = None
    views_seconds: float | None = None
    failed_modules: list[str] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    reason: str | None = None
    last: str = ""
    no_space: str | None = None
    count: int = 0
    _open: Complaint | None = None

    def take(self, line: str) -> str | None:
        """Take in one line; return what to tell the operator about it, if anything."""
        match = LINE.match(line)
        if self.no_space is None and says_so(line):
            self.no_space = match[5] if match else line.strip()
        if not match:
            if self._open is not None and (found := EXCEPTION.match(line)):
                self._open.chain.append(found[1])
            return None
        self.count += 1
        when, level, logger, thread, text = match.groups()
        self.last = text
        if level == "ERROR" and self.reason is None and self.complaints and (refused := REFUSED.match(text)):
            self.reason = refused[1]
        self._open = self._complaint(level, logger, thread, text)
        if LOCKED in text:
            self.locked = True
        elif UNCHANGED in text:
            self.unneeded = True
        elif PROCEDURES in text:
            self.touched = True
        elif VIEWS_BEGUN in text:
            self.views_begun = self.touched = True
            self.views_began = self._time(when)
        elif VIEWS_DONE in text:
            self.views_done = True
            if self.views_began:
                self.views_seconds = (self._time(when) - self.views_began).total_seconds()
        elif module := MODULE.search(text):
            self.failed_modules.append(module[1])
        elif planned := PERFORMED.search(text):
            self.touched = True
            self.planned = (planned[1], planned[2])
            return f"schema upgrade from {planned[1]} to {planned[2]}"
        elif running := RUNNING.search(text):
            self.touched = True
            self.steps.append(UpgradeStep(running[1], running[3], self._time(when)))
            return f"schema upgrade to {running[3]}"
        elif completed := COMPLETED.search(text):
            return self._complete(completed[1], self._time(when))
        return None

    def _complaint(self, level: str, logger: str, thread: str, text: str) -> Complaint | None:
        """Keep a line of that level; None where it is none, or only follows from one before."""
        if level not in LEVELS or NO_CONTEXT in text or (self.failed_modules and MODULE.search(text)) or len(self.complaints) >= KEPT:
            return None
        self.complaints.append(Complaint(level, logger, thread, text))
        return self.complaints[-1]

    def _complete(self, version: str, when: datetime) -> str | None:
        for step in self.steps:
            if step.version == version and step.seconds is None:
                step.seconds = (when - step.began).total_seconds()
                return f"schema is at {version} after {step.seconds:.1f} s"
        return None

    @staticmethod
    def _time(text: str) -> datetime:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)

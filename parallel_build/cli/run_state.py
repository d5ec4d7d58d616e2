"""Where a run stands: what the window's record, the stack's state, the journal and the servers themselves say; changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.endpoint import ApiNotTrusted, Endpoint
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services, UnitState
from parallel_build.configuration import Server
from parallel_build.errors import CommandFailed, ConnectionFailed, ParallelBuildError
from parallel_build.operations import deadline, known_servers, original_replica, record_hosts
from parallel_build.operations.packet_filter import CLOSED
from parallel_build.records.host_copy import Both, Copy
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.window import WindowRecord
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site
from parallel_build.stack.state import StackState

S = TypeVar("S")
T = TypeVar("T")

ANSWERS = (200, 401)  # of an unsigned call; 503 is a web application that has failed for good
AT_ONCE = 12


@dataclass(frozen=True)
class Management:
    """One management server.

    Attributes:
        problem: why it could not be asked, "" when it could.
        unit, usage: states of its units, None when not asked.
        answers: its API answers, asked from here.
        users_out: the barrier against users is up.
        proved_down: what proves it down although it can't be asked, "" where nothing does.
        not_trusted: why what answers can't be proved to be its API, "" where it can.
    """

    name: str
    problem: str = ""
    unit: UnitState | None = None
    usage: UnitState | None = None
    answers: bool = False
    users_out: bool = False
    proved_down: str = ""
    not_trusted: str = ""

    @property
    def runs(self) -> bool:
        """The service runs or its API answers."""
        return self.answers or (self.unit is not None and self.unit.active)

    @property
    def silent(self) -> bool:
        """It can't be asked, does not answer, and nothing proves it down: it may be cut off from here alone, and serve."""
        return bool(self.problem) and not self.answers and not self.proved_down

    @property
    def fenced(self) -> bool:
        """Down, and nothing but an operator brings it back."""
        return self.unit is not None and self.unit.fenced and not self.answers


@dataclass(frozen=True)
class Usage:
    """A host that runs the original's usage server alone.

    Attributes:
        problem: why it could not be asked, "" where it could.
        unit: its usage unit.
    """

    name: str
    problem: str = ""
    unit: UnitState | None = None


@dataclass(frozen=True)
class Database:
    """One database server: its unit, whether it answers SQL, and the version rows of `cloud`, newest last."""

    name: str
    problem: str = ""
    unit: UnitState | None = None
    answers: bool = False
    versions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Situation:
    """Everything that is known.

    Attributes:
        record: the window's record; `record_problem` says why it could not be read.
        copies: what each host of the record has of it, which is right and why: a line each, where more than one has to have it.
        alone: the host whose copy can't be asked for, while nothing says that it is down: nothing may be changed until it is.
        replica_lacks: what the original's replica lacks of what its source had at its stop; empty where it is proved to have everything, None where
            the source was not stopped.
        mine: the record is this stack's.
        seconds_left: until the deadline, None without an open window.
        host_journal: last lines of the journal on the original's database host.
        state: the stack's state.
        confirmed_down: what `window.confirmedDown` names.
        running: the step of the local journal that began and never ended, with operation, operator and time.
        original, new: the management servers.
        original_database, new_database: the sources.
    """

    stack: str
    phase: str
    state: StackState
    record: WindowRecord | None = None
    record_problem: str = ""
    copies: list[str] = field(default_factory=list)
    alone: str = ""
    replica_lacks: str | None = None
    mine: bool = False
    seconds_left: float | None = None
    host_journal: list[str] = field(default_factory=list)
    confirmed_down: list[str] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)
    original: list[Management] = field(default_factory=list)
    new: list[Management] = field(default_factory=list)
    original_usage: list[Usage] = field(default_factory=list)
    original_database: Database = field(default_factory=lambda: Database(""))
    new_database: Database = field(default_factory=lambda: Database(""))


def gather(site: Site, connections: Connections, state: StackState) -> Situation:
    """Ask everything at once; what can't be asked is shown where it belongs."""
    configuration = site.configuration
    record, problem, left, lines, both = _record(site, connections)
    old, new = configuration.original, configuration.new
    asked = record if record is not None and record.identity in site.identities else None
    confirmed = dict.fromkeys(configuration.confirmed_down, "window.confirmedDown says that the operator has switched it off")
    unused = confirmed | ({} if problem else never_started(site, record))
    original = _parallel(
        lambda server: _management(connections, server, endpoint.of_original(configuration, server), confirmed),
        known_servers.original_management(configuration, asked),
    )
    fresh = _parallel(
        lambda server: _management(connections, server, endpoint.of_new(configuration, server), unused),
        known_servers.new_management(configuration, asked),
    )
    databases = _parallel(lambda server: _database(connections, server), [old.database.source, new.database.source])
    return Situation(
        stack=site.stack,
        phase=configuration.phase.value,
        state=state,
        record=record,
        record_problem=problem,
        copies=copies_in_words(both) if both else [],
        alone=_alone(site, both) if both else "",
        replica_lacks=original_replica.lacking(record) if record and record.facts.get(original_replica.STEP, {}).get("units") else None,
        mine=record is not None and record.identity in site.identities,
        seconds_left=left,
        host_journal=lines,
        confirmed_down=configuration.window.confirmed_down,
        running=unfinished(RunFolder(configuration.runs, site.stack, site.hidden())),
        original=original,
        new=fresh,
        original_usage=_parallel(lambda server: _usage(connections, server), known_servers.original_usage(configuration, asked)),
        original_database=databases[0],
        new_database=databases[1],
    )


def unfinished(run: RunFolder) -> dict[str, str]:
    """The journal's last `begin` that no `end` followed; empty when every step ended."""
    begun: dict[str, dict[str, str]] = {}
    for entry in run.journal():
        step = str(entry.get("step", ""))
        if entry.get("kind") == "begin":
            begun[step] = {name: str(entry.get(name, "")) for name in ("step", "operation", "operator", "time")}
        elif entry.get("kind") == "end":
            begun.pop(step, None)
        elif entry.get("kind") == "intent" and step in begun:
            begun[step]["intent"] = str(entry.get("action", ""))
    return max(begun.values(), key=lambda entry: entry["time"], default={})


def _record(site: Site, connections: Connections) -> tuple[WindowRecord | None, str, float | None, list[str], Both | None]:
    records, both = record_hosts.looked_at(site, connections), None
    try:
        both = records.copies.look() if records.copies else None
        record = records.look()
        left = None
        if record is not None and not record.closed and record.clock:
            left = deadline.left(record, site.configuration.window.deadline, records.clock())
        raw = records.hosts()[0].run(["tail", "-n", "5", f"{FOLDER}/journal.jsonl"], ok=None).stdout
    except (ParallelBuildError, ValueError, TypeError) as error:
        return None, str(error), None, [], both
    return record, "", left, [_line(text) for text in raw.splitlines()], both


def copies_in_words(both: Both) -> list[str]:
    """What each host has of the record, and which copy is right; nothing where one host alone has to have it."""
    right = both.right
    if right is None or len(both.copies) < 2 or not right.open:
        return []
    lines = []
    for copy in both.copies:
        if copy.problem is not None:
            words = f"can't be read: {copy.problem.reason}"
        elif not copy.there:
            words = "is missing"
        else:
            number, token, revision = copy.rank
            words = f"window {number}, run {token}, revision {revision}: " + _standing(copy, right, both)
        lines.append(f"{copy.name}, {copy.file.path}: {words}")
    return lines


def _standing(copy: Copy, right: Copy, both: Both) -> str:
    others = [other for other in both.copies if other.there and other is not copy]
    if copy is not right and copy.rank < right.rank:
        return "behind; it is brought up to date by the next command that changes anything"
    if not others:
        return "the only one that can be read"
    return "right, both say the same" if others[0].rank == copy.rank else "right, the higher of the two"


def _alone(site: Site, both: Both) -> str:
    right = both.right
    for copy in both.copies:
        needed = right is not None and right.open and not right.document.get("retired") and copy.known_by(right.document)
        if needed and isinstance(copy.problem, (ConnectionFailed, CommandFailed)) and copy.name not in site.configuration.confirmed_down:
            return copy.name
    return ""


def _line(text: str) -> str:
    try:
        entry = json.loads(text)
    except ValueError:
        return text
    return f"{entry.get('time')} {entry.get('operator')}: {entry.get('what')}"


def never_started(site: Site, record: WindowRecord | None) -> dict[str, str]:
    """The new management servers that are down whether they can be asked or not, and why: fenced while they are built, and when a window closes.

    Args:
        record: the window's record as it was read; of another stack's it says nothing of these servers.
    """
    machines = site.configuration.new.management
    if record is None or record.closed:
        return {machine.name: "no window is open, and none of this stack's servers was left running" for machine in machines}
    if record.identity not in site.identities:
        return {}
    return {
        machine.name: "this window has never started it, and found it masked"
        for machine in known_servers.new_management(site.configuration, record)
        if not known_servers.ever_started(site.configuration, record, machine)
    }


def _answers(where: Endpoint) -> tuple[bool, str]:
    """Whether an API answers. One that can't be trusted counts: something serves there, and nobody may take that for silence."""
    try:
        return api.status(where) in ANSWERS, ""
    except ApiNotTrusted as error:
        return True, error.fact


def _management(connections: Connections, server: Server, where: Endpoint, down: Mapping[str, str]) -> Management:
    answers, not_trusted = _answers(where)
    try:
        host = connections.host(server)
        services = Services(host)
        users_out = host.script(CLOSED, ok=None).stdout.strip() == "closed"
        return Management(server.name, "", services.state(MANAGEMENT), services.state(USAGE), answers, users_out, not_trusted=not_trusted)
    except ParallelBuildError as error:
        problem = error.fact + (f" ({error.cause})" if error.cause else "")
        return Management(server.name, problem, answers=answers, proved_down=down.get(server.name, ""), not_trusted=not_trusted)


def _usage(connections: Connections, server: Server) -> Usage:
    try:
        return Usage(server.name, "", Services(connections.host(server)).state(USAGE))
    except ParallelBuildError as error:
        return Usage(server.name, error.fact + (f" ({error.cause})" if error.cause else ""))


def _database(connections: Connections, server: Server) -> Database:
    try:
        host = connections.host(server)
        services = Services(host)
        unit = services.state(services.database_unit())
    except ParallelBuildError as error:
        return Database(server.name, error.fact + (f" ({error.cause})" if error.cause else ""))
    if not unit.active:
        return Database(server.name, unit=unit)
    return Database(server.name, unit=unit, answers=True, versions=_versions(host))


def _versions(host: Access) -> list[str]:
    try:
        with session(host) as database:
            if not database.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'version'"):
                return []
            return [f"{row['version']} {row['step']}" for row in database.rows("SELECT version, step FROM cloud.version ORDER BY id")]
    except ParallelBuildError:
        return []


def _parallel(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    with Workers(AT_ONCE) as pool:
        return list(pool.map(function, items))

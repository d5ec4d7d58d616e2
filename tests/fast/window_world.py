"""A cloud in its window, as a few flags: what a step does to it is really what the step decides, and it can be cut off before every single action."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import api, setup, work
from parallel_build.cloudstack.log import LogFollower, Mark
from parallel_build.cloudstack.services import MANAGEMENT, USAGE, UnitState
from parallel_build.cloudstack.startup import StartFailed
from parallel_build.configuration import Server
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy as copying
from parallel_build.database.copy import create
from parallel_build.database.replicate import log_end, pair
from parallel_build.database.schema import definitions
from parallel_build.database.server import account_locks
from parallel_build.database.server.account_locks import AccountLock
from parallel_build.database.server.state import Account
from parallel_build.errors import ConnectionFailed
from parallel_build.facts import management_node
from parallel_build.facts.management_node import ManagementNode
from parallel_build.operations import (
    bring_files,
    deadline,
    ensure_serving,
    fence_new_database,
    fence_new_side,
    fixes,
    host_setting,
    move,
    new_strangers,
    original_database,
    original_locks,
    original_management,
    original_replica,
    prove_original_down,
    reimport,
    served,
    start_gate,
    start_management,
    start_usage,
    transfer,
    users_in,
)
from parallel_build.operations.context import Context
from parallel_build.operations.start_management import ManagementStart
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.clock import HostClock
from parallel_build.remote.openssh import Result
from parallel_build.steps import database_transfer, first_management
from parallel_build.steps import host_setting as host_setting_step
from parallel_build.steps import original_database as original_database_step
from parallel_build.steps import original_management as original_management_step
from tests.fast.asked_host import AskedHost
from tests.fast.quick_time import hurry
from tests.fast.sites import site

T = TypeVar("T")
DATABASE = "mariadb"
HANGS = 600.0  # seconds; longer than anything waits for it
OLD = {"oldms1": (MANAGEMENT, USAGE), "oldms2": (MANAGEMENT,), "olddb1": (DATABASE,), "olddb2": (DATABASE,)}
NEW = {"newms1": (MANAGEMENT, USAGE), "newms2": (MANAGEMENT,)}
ADDRESSES = {"10.91.0.11": "oldms1", "10.91.0.12": "oldms2", "10.91.0.41": "newms1", "10.91.0.42": "newms2"}


class Cut(BaseException):
    """The operator's machine died here."""


@dataclasses.dataclass
class Copy:
    """The databases on the new source.

    Attributes:
        whole: every row is there.
        upgraded: a start has changed its schema, wholly or in part.
        row: it says so itself: the row of the last version step is there.
        host: `host` names the new servers, and no management server's row is Up.
    """

    whole: bool = True
    upgraded: bool = False
    row: bool = False
    host: bool = True


@dataclasses.dataclass
class Closing:
    """How the new database behaves when a rollback closes it.

    Attributes:
        accounts: whether each is locked.
        sessions: of management servers that work on it.
        hangs: SQL does not answer.
        stops, dies: what systemctl and SIGKILL do.
    """

    accounts: dict[str, bool] = dataclasses.field(
        default_factory=lambda: {"cloud@10.91.0.41": False, "cloud@10.91.0.42": False, "left@%": True}
    )
    sessions: list[str] = dataclasses.field(default_factory=lambda: ["newms1", "newms2"])
    hangs: bool = False
    stops: bool = True
    dies: bool = True


class World:
    """Everything behind HostSetting: the original down, the copy ready; the first start is next.

    Attributes:
        cut: before this action (counted from 0) everything ends.
        failing: the next start fails after it has changed the schema.
        written: how often the original's database has been started: it writes to its files then.
        wrong: what must never be, and was.
    """

    def __init__(self, **changes: Any) -> None:
        self.site = site(**changes)
        configuration = self.site.configuration
        databases = configuration.original.database.servers
        self.old_source, self.source = databases[0].name, configuration.new.database.source.name
        self.managers = [server.name for server in configuration.original.management]
        self.first = configuration.new.management[0].name
        self.old = {name: OLD.get(name, (MANAGEMENT, USAGE)) for name in self.managers} | {server.name: (DATABASE,) for server in databases}
        self.old |= {server.name: (USAGE,) for server in configuration.original.usage}
        self.new = {machine.name: NEW.get(machine.name, (MANAGEMENT, USAGE)) for machine in configuration.new.management}
        self.units: dict[tuple[str, str], dict[str, bool]] = {
            (server, unit): {"active": False, "masked": True} for server, units in {**self.old, **self.new}.items() for unit in units
        }
        self.units[self.source, DATABASE] = {"active": True, "masked": False}
        self.closings = {name: Closing() for name in (self.source, *(server.name for server in databases))}
        self.closing.sessions = list(self.new)
        self.copy = Copy()
        self.lost: set[str] = set()
        self.ready: dict[str, Any] = {}
        self.powered_off: set[str] = set()
        self.others: set[str] = set()  # accounts that others are named with
        self.done, self.cut, self.failing = 0, -1, False
        self.actions: list[str] = []
        self.wrong: list[str] = []
        self.serving = False
        self.written = 0
        self.record = WindowRecord("test", self.site.identity, opened="then", facts={})
        self.record.facts = {
            "DatabaseTransfer": {"copied": {"tables": 336}},
            "OriginalDatabase": {"folder": "/var/lib/mysql", "rest": "files 0", "units": {server.name: DATABASE for server in databases}},
        }
        self.reported: list[str] = []
        self.context = Context(self.site, self, Journal(), CancelToken(), self.reported.append, "Test")  # type: ignore[arg-type]

    def host(self, server: Server) -> Machine:
        return Machine(self, server.name)

    def act(self, what: str, server: str = "") -> None:
        """One action; nothing of it is done where everything ends here.

        Args:
            server: where it is done.
        """
        if self.done == self.cut:
            self.cut = -1
            raise Cut(what)
        self.done += 1
        self.actions.append(what)
        if server:
            self.reach(server)

    def reach(self, server: str) -> None:
        """A command is given on a server: whether it is taken there. Here it always is."""

    def hang(self) -> None:
        """What asks a server that hangs waits."""
        threading.Event().wait(3)

    def down(self, server: str) -> bool:
        return self._masked(server, {**self.old, **self.new}[server])

    def _masked(self, server: str, units: tuple[str, ...]) -> bool:
        return all(not self.units[server, unit]["active"] and self.units[server, unit]["masked"] for unit in units)

    @property
    def closing(self) -> Closing:
        """How the new database behaves."""
        return self.closings[self.source]

    def kept_out(self, server: str) -> bool:
        """Whether no account that may write is let in by a database server, and none has a session."""
        closing = self.closings.get(server)
        return (
            closing is not None
            and all(locked for name, locked in closing.accounts.items() if name not in self.others)
            and not closing.sessions
        )

    @property
    def closed(self) -> bool:
        """Whether nobody can write to the new database."""
        return self.off(self.source) or self._masked(self.source, (DATABASE,)) or self.kept_out(self.source)

    def off(self, server: str) -> bool:
        """Whether its power was cut, or the operator says so of it."""
        return server in self.powered_off or server in self.site.configuration.confirmed_down

    def starts(self, server: str, unit: str) -> None:
        """What has to be true at this moment."""
        if server in self.new and unit != DATABASE:
            up = [name for name in self.old if name not in self.lost and not self.down(name) and not self.kept_out(name)]
            if up:
                self.wrong.append(f"{unit} on {server} starts while {', '.join(up)} are not down")
            if self.record.returning:
                self.wrong.append(f"{unit} on {server} starts during a rollback")
            if server == self.first and unit == MANAGEMENT and not self.serving and self.copy != Copy():
                self.wrong.append(f"{server} starts on {self.copy}")
        if server in self.old and unit == MANAGEMENT and not self.closed:
            up = [name for name in self.new if self.units[name, MANAGEMENT]["active"] and not self.off(name)]
            if up:
                self.wrong.append(f"{server} starts while {', '.join(up)} may write to the new database")
        if server == self.old_source and not all(self.down(name) for name in self.managers):
            self.wrong.append("the original's database starts next to its management")
        self.units[server, unit]["active"] = True
        self.written += server == self.old_source


class Journal:
    """The run's folder: nothing rests on it here, it went with the operator's machine."""

    def record(self, kind: str, **details: Any) -> None:
        """Written nowhere."""

    def log(self, step: str, message: str) -> None:
        """Written nowhere."""


class Machine(AskedHost):
    """One server; only its name counts, what is asked of it goes through `Units`."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world

    def read(self, path: str, **_: Any) -> bytes | None:
        """It has none of the files that are asked for."""
        if self.name in self.world.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        return None

    def script(self, text: str, args: Any = (), **_: Any) -> Result:
        """The original's source is asked whether its files have been written to; the new one is stopped and killed."""
        if text in (fence_new_database.STOP_UNIT, fence_new_database.KILL_UNIT):
            return self._end(text == fence_new_database.KILL_UNIT)
        assert text == original_database.FILES
        if self.name in self.world.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        return Result(0, f"files {self.world.written}\n", "")

    def _end(self, killed: bool) -> Result:
        if self.name in self.world.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        unit, closing = self.world.units[self.name, DATABASE], self.world.closing
        self.world.act(f"mask {DATABASE} on {self.name}", self.name)
        unit.update(masked=True, enabled=False)
        self.world.act(f"{'kill' if killed else 'stop'} {DATABASE} on {self.name}", self.name)
        if closing.dies if killed else closing.stops:
            unit["active"] = False
            closing.sessions.clear()
        return Result(0, "", "")

    def reachable(self, timeout: float = 1) -> bool:
        """Whether a command can be run there."""
        return self.name not in self.world.lost


class Units:
    """Services of a machine."""

    def __init__(self, host: Machine) -> None:
        self.host, self.world = host, host.world

    def _of(self, unit: str) -> dict[str, bool]:
        if self.host.name in self.world.lost:
            raise ConnectionFailed(f"{self.host.name} can't be reached over SSH", "", "")
        self.world.reach(self.host.name)
        return self.world.units[self.host.name, unit]

    def state(self, unit: str) -> UnitState:
        found = self.world.units.get((self.host.name, unit))
        if found is None:
            return UnitState(unit, False, False, False, False)
        known = self._of(unit)
        enabled = known.get("enabled", not known["masked"])
        return UnitState(unit, True, known["active"], enabled, known["masked"], 7 if known["active"] else 0)

    def stop_and_fence(self, unit: str, timeout: float = 1, *, patience: float | None = None) -> bool:
        if (self.host.name, unit) not in self.world.units or self.state(unit).fenced:
            return False
        self.world.act(f"mask {unit} on {self.host.name}", self.host.name)
        self._of(unit).update(masked=True, enabled=False)
        self.world.act(f"stop {unit} on {self.host.name}", self.host.name)
        self._of(unit)["active"] = False
        return True

    def start(self, unit: str, timeout: float = 1) -> bool:
        if self.state(unit).active or self.state(unit).masked:
            return False
        self.world.act(f"start {unit} on {self.host.name}", self.host.name)
        self.world.starts(self.host.name, unit)
        return True

    def bring_up(self, unit: str, *, enable: bool = True, timeout: float = 1) -> bool:
        self.world.act(f"unmask {unit} on {self.host.name}", self.host.name)
        self._of(unit)["masked"] = False
        if enable:
            self._of(unit)["enabled"] = True
        return self.start(unit)

    def release(self, unit: str, *, enable: bool = True) -> bool:
        self.world.act(f"unmask {unit} on {self.host.name}", self.host.name)
        self._of(unit).update(masked=False, **({"enabled": True} if enable else {}))
        return True

    def invocation(self, unit: str) -> str:
        return "this start"

    def database_unit(self) -> str:
        return DATABASE

    def listening(self, ports: list[int]) -> set[int]:
        return set()


def own_copy(record: T) -> T:
    """One of its own for whoever reads it; several times as fast as a deep copy, and thousands are made."""
    return cast(T, pickle.loads(pickle.dumps(record, pickle.HIGHEST_PROTOCOL)))  # noqa: S301 - written here


class Records(WindowStore):
    """The record, lasting: a write is an action, and done or not done as a whole."""

    def __init__(self, world: World) -> None:
        self.world, self.site = world, world.site
        self.host: Any = Machine(world, world.old_source)

    def read(self) -> WindowRecord | None:
        return own_copy(self.world.record)

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        record = own_copy(self._mine(self.world.record))
        change(record)
        if record != self.world.record:
            self.world.act(f"write down {what or 'facts'}")
            self.world.record = record
        return record


class Table:
    """A session to either database, for the few questions that are asked here."""

    def __init__(self, host: Machine) -> None:
        self.host, self.world = host, host.world

    def value(self, statement: str, arguments: Any = None) -> Any:
        if "SELECT 1" in statement:
            if not self.world.units[self.world.old_source, DATABASE]["active"]:
                raise ConnectionFailed("olddb1: no database", "", "")
            return 1
        if "@@datadir" in statement:
            return "/var/lib/mysql"
        if "COUNT(*) FROM cloud.mshost" in statement or "op_ha_work" in statement:
            return 0
        return ("10.91.0.41,10.91.0.42," if self.world.copy.host else "") + "10.91.0.11" if self.world.copy.whole else None

    def execute(self, statement: str, arguments: Any = None) -> int:
        self.world.act(statement.split("SET", 1)[0])
        if "mshost" in statement:
            self.world.copy.host = True
        return 1

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return [{"version": version, "step": "Complete"} for version in ("4.20.3.0", *(["4.22.1.0"] if self.world.copy.row else []))]


class Watch:
    """A start under way: the schema is upgraded, and then it is good, or has failed."""

    def __init__(self, start: ManagementStart) -> None:
        self.world: World = start.context.connections  # type: ignore[assignment]
        self.upgrades = start.upgrade
        self.reading = self
        self.touched = self.world.copy.upgraded

    def read(self, progress: Any) -> None:
        self.touched = self.world.copy.upgraded

    def signs(self) -> dict[str, bool]:
        return {"everything": self.world.serving}

    def follow(self, **_: Any) -> dict[str, Any]:
        if not self.upgrades:
            return self._no_upgrade()
        self.world.act("the schema upgrade begins")
        self.world.copy.upgraded = True
        self.world.act("the schema upgrade ends")
        if self.world.failing:
            self.world.units[self.world.first, MANAGEMENT]["active"] = False
            raise StartFailed("newms1 ended", "", "", touched=True)
        self.world.copy.row = True
        self.world.serving = True
        return {"seconds": 1.0}

    def _no_upgrade(self) -> dict[str, Any]:
        """Of a further server, or in a move: it only comes up, unless its packages are later than the databases."""
        self.world.act("the start ends")
        if self.world.failing:
            self.world.units["newms1", MANAGEMENT]["active"] = False
            raise StartFailed("newms1 ended", "", "", touched=False)
        self.world.serving = True
        return {"seconds": 1.0}


def arrange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the steps work on a World: everything they touch, nothing of what they decide."""

    def of(context: Context) -> World:
        world: World = context.connections  # type: ignore[assignment]
        return world

    modules = (
        reimport, database_transfer, transfer, deadline, first_management, start_gate, host_setting, host_setting_step, start_management,
        original_database, original_database_step, prove_original_down, original_management, original_management_step, ensure_serving, start_usage, users_in,
        fence_new_database, fence_new_side, original_locks, move,
    )  # fmt: skip
    for module in modules:
        if hasattr(module, "store"):
            monkeypatch.setattr(module, "store", lambda context: Records(of(context)))
        if hasattr(module, "Services"):
            monkeypatch.setattr(module, "Services", Units)
        if hasattr(module, "session"):
            monkeypatch.setattr(module, "session", lambda host, **_: contextlib.nullcontext(Table(host)))
        if hasattr(module, "read_host_clock"):
            monkeypatch.setattr(module, "read_host_clock", lambda host: HostClock("boot", 1.0, 1.0))
    monkeypatch.setattr("parallel_build.records.window.read_host_clock", lambda host: HostClock("boot", 1.0, 1.0))

    def release(context: Context, host: Machine, unit: str, *, enable: bool) -> None:
        Records(of(context)).note({}, forward=True)
        of(context).act(f"unmask {unit} on {host.name}")
        of(context).units[host.name, unit].update(masked=False, **({"enabled": True} if enable else {}))

    monkeypatch.setattr(start_gate, "release", release)

    def prepare(start: ManagementStart) -> None:
        start.services.stop_and_fence(MANAGEMENT)
        of(start.context).act("set up")

    monkeypatch.setattr(ManagementStart, "_prepare", prepare)
    monkeypatch.setattr(ManagementStart, "_watch", lambda self, database, follower, **_: Watch(self))
    monkeypatch.setattr(start_management, "as_evidence", lambda proof: proof)
    monkeypatch.setattr(LogFollower, "now", classmethod(lambda cls, host, path="": cls(host, Mark(1, 2))))
    monkeypatch.setattr(setup, "undo_setup", lambda host: host.world.act("files as shipped"))
    monkeypatch.setattr(setup, "link_usage", lambda host: None)
    monkeypatch.setattr(start_usage, "_await_ready", lambda context, services, log: None)
    monkeypatch.setattr(ensure_serving, "_await_answer", lambda context, machine, services: None)
    monkeypatch.setattr(first_management, "_with_rehearsed", lambda context, evidence: {})
    monkeypatch.setattr(
        original_replica, "find_socket", lambda host: None
    )  # what it has is tests/fast/operations/test_original_replica.py's
    monkeypatch.setattr(api, "answers", lambda where: False)
    monkeypatch.setattr(prove_original_down, "answers", lambda context, server, ports: False)
    monkeypatch.setattr(work, "read", lambda database: [])
    _copying(monkeypatch, of)
    _closing(monkeypatch)


def _closing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = hurry(monkeypatch, fence_new_database, new_strangers)

    def reach(host: Machine) -> Closing:
        closing = host.world.closings[host.name]
        if closing.hangs:
            clock.sleep(HANGS)
            if threading.current_thread() is not threading.main_thread():  # somebody waits for this thread, and should not for long
                threading.Event().wait(3)
        if host.name in host.world.lost or not host.world.units[host.name, DATABASE]["active"]:
            raise ConnectionFailed(f"{host.name}: no database server listens there", "", "")
        return closing

    def look(host: Machine, schemas: Any, also: Any = (), *, timeout: float) -> list[AccountLock]:
        return [AccountLock(Account(*name.split("@")), locked) for name, locked in reach(host).accounts.items()]

    def close(host: Machine, locks: list[AccountLock], *, timeout: float, cancel: CancelToken) -> int:
        closing = reach(host)
        for each in locks:
            if not closing.accounts[f"{each.name.user}@{each.name.host}"]:
                host.world.act(f"lock {each.name}", host.name)
                closing.accounts[f"{each.name.user}@{each.name.host}"] = True
        ended = len(closing.sessions)
        if closing.sessions:
            host.world.act("end sessions", host.name)
            closing.sessions.clear()
        return ended

    def put_back(host: Machine, locks: list[AccountLock], *, timeout: float) -> list[Account]:
        closing, changed = reach(host), []
        for each in locks:
            if not each.locked and closing.accounts[f"{each.name.user}@{each.name.host}"]:
                host.world.act(f"unlock {each.name}", host.name)
                closing.accounts[f"{each.name.user}@{each.name.host}"] = False
                changed.append(each.name)
        return changed

    def closed(host: Machine, locks: list[AccountLock], *, timeout: float) -> list[str]:
        closing = reach(host)
        found = [f"{each.name} is not locked" for each in locks if not closing.accounts[f"{each.name.user}@{each.name.host}"]]
        return [*found, *(f"a session of cloud from {place}" for place in closing.sessions)]

    monkeypatch.setattr(account_locks, "closed", closed)
    monkeypatch.setattr(account_locks, "receivers", lambda host: [])
    monkeypatch.setattr(pair, "writable", lambda opened: contextlib.nullcontext())
    monkeypatch.setattr(management_node, "read", lambda host: ManagementNode(users=frozenset({"cloud"})))
    monkeypatch.setattr(account_locks, "look", look)
    monkeypatch.setattr(account_locks, "close", close)
    monkeypatch.setattr(account_locks, "put_back", put_back)
    monkeypatch.setattr(served, "mark", lambda context: None)
    monkeypatch.setattr(fence_new_database, "LOOK", 0.01)


def _copying(monkeypatch: pytest.MonkeyPatch, of: Callable[[Context], World]) -> None:
    module = transfer

    def never_serving(context: Context) -> None:
        if of(context).units[of(context).first, MANAGEMENT]["active"]:
            of(context).wrong.append("newms1 runs while the copy is emptied")

    def empty(target: Machine, names: list[str]) -> None:
        target.world.act("empty")
        target.world.copy = Copy(whole=False, host=False)

    def copied(source: Machine, target: Machine, names: list[str], **_: Any) -> Any:
        if not target.world.units[target.world.old_source, DATABASE]["active"]:
            raise ConnectionFailed("olddb1: no database server listens there", "", "")
        target.world.act("half of the rows")
        target.world.act("the other half of the rows")
        target.world.copy = Copy(host=False)
        return _Report()

    def compared(source: Machine, target: Machine, names: list[str], **_: Any) -> Any:
        target.world.act("compare")
        return _Report()

    def meant(context: Context, old: Table, new: Table, *, states: bool) -> dict[str, Any]:
        of(context).act("ask both what they mean")
        return {}

    monkeypatch.setattr(module, "prove_same_meaning", meant)
    monkeypatch.setattr(module, "never_serving", never_serving)
    monkeypatch.setattr(copying, "empty", empty)
    monkeypatch.setattr(copying, "copy", copied)
    # Rows are copied here; files are brought in tests of their own.
    monkeypatch.setattr(bring_files, "bring", lambda context, names: None)
    monkeypatch.setattr(compare, "compare", compared)
    monkeypatch.setattr(module, "SeedRecord", lambda host, where: type("None_", (), {"facts": lambda self: {}})())
    monkeypatch.setattr(definitions, "existing", lambda opened, names: list(names))
    monkeypatch.setattr(log_end, "read", lambda opened, names: log_end.End(None, {}))
    monkeypatch.setattr(create, "settle_events", lambda old, new, names: [])
    monkeypatch.setattr(fixes, "replay", lambda context: {})


class _Report:
    """What copying and comparing tell."""

    tables = rows = bytes = 1
    seconds = 1.0
    tls = True
    read_by = "wire"
    definers: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    not_comparable: tuple[str, ...] = ()
    objects = 1

    def raise_if_different(self) -> None:
        """They are the same."""


@contextlib.contextmanager
def ending_at(world: World, action: int) -> Iterator[None]:
    """Everything ends before this action, counted from now on; nothing else does where there are fewer."""
    world.done, world.cut = 0, action
    try:
        yield
    except Cut:
        pass
    finally:
        world.cut = -1

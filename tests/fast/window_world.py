"""A cloud in its window, as a few flags: what a step does to it is really what the step decides, and it can be cut off before every single action."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

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
from parallel_build.database.replicate import log_end
from parallel_build.database.schema import definitions
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import (
    deadline,
    ensure_serving,
    fixes,
    host_setting,
    original_database,
    original_management,
    prove_original_down,
    reimport,
    start_gate,
    start_management,
    start_usage,
    transfer,
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
from tests.fast.sites import site

DATABASE = "mariadb"
OLD = {"oldms1": (MANAGEMENT, USAGE), "oldms2": (MANAGEMENT,), "olddb1": (DATABASE,), "olddb2": (DATABASE,)}
NEW = {"newms1": (MANAGEMENT, USAGE), "newms2": (MANAGEMENT,)}


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


class World:
    """Everything behind HostSetting: the original down, the copy ready; the first start is next.

    Attributes:
        cut: before this action (counted from 0) everything ends.
        failing: the next start fails after it has changed the schema.
        written: how often the original's database has been started: it writes to its files then.
        wrong: what must never be, and was.
    """

    def __init__(self, **changes: Any) -> None:
        self.units: dict[tuple[str, str], dict[str, bool]] = {
            (server, unit): {"active": False, "masked": True} for server, units in {**OLD, **NEW}.items() for unit in units
        }
        self.copy = Copy()
        self.lost: set[str] = set()
        self.ready: dict[str, Any] = {}
        self.done, self.cut, self.failing = 0, -1, False
        self.actions: list[str] = []
        self.wrong: list[str] = []
        self.serving = False
        self.written = 0
        self.site = site(**changes)
        self.record = WindowRecord("test", self.site.identity, opened="then", facts={})
        self.record.facts = {
            "DatabaseTransfer": {"copied": {"tables": 336}},
            "OriginalDatabase": {"folder": "/var/lib/mysql", "rest": "files 0", "units": {"olddb1": DATABASE, "olddb2": DATABASE}},
        }
        self.told: list[str] = []
        self.context = Context(self.site, self, Journal(), CancelToken(), self.told.append, "Test")  # type: ignore[arg-type]

    def host(self, server: Server) -> Machine:
        return Machine(self, server.name)

    def act(self, what: str) -> None:
        """One action; nothing of it is done where everything ends here."""
        if self.done == self.cut:
            self.cut = -1
            raise Cut(what)
        self.done += 1
        self.actions.append(what)

    def down(self, server: str) -> bool:
        return all(not self.units[server, unit]["active"] and self.units[server, unit]["masked"] for unit in {**OLD, **NEW}[server])

    def starts(self, server: str, unit: str) -> None:
        """What has to be true at this moment."""
        if server in NEW:
            up = [name for name in OLD if name not in self.lost and not self.down(name)]
            if up:
                self.wrong.append(f"{unit} on {server} starts while {', '.join(up)} are not down")
            if self.record.returning:
                self.wrong.append(f"{unit} on {server} starts beside a way back")
            if server == "newms1" and unit == MANAGEMENT and not self.serving and self.copy != Copy():
                self.wrong.append(f"{server} starts on {self.copy}")
        if server == "olddb1" and not all(self.down(name) for name in ("oldms1", "oldms2")):
            self.wrong.append("the original's database starts beside its management")
        self.units[server, unit]["active"] = True
        self.written += server == "olddb1"


class Journal:
    """The run's folder: nothing rests on it here, it went with the operator's machine."""

    def record(self, kind: str, **details: Any) -> None:
        """Written nowhere."""

    def log(self, step: str, message: str) -> None:
        """Written nowhere."""


@dataclasses.dataclass
class Machine:
    """One server; only its name counts, what is asked of it goes through `Units`."""

    world: World
    name: str
    token: int | None = None

    def read(self, path: str, **_: Any) -> bytes | None:
        """It has none of the files that are asked for."""
        if self.name in self.world.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        return None

    def script(self, text: str, args: Any = ()) -> Result:
        """Only the original's source is asked for anything in words: whether its files have been written to."""
        assert text == original_database.FILES
        return Result(0, f"files {self.world.written}\n", "")


class Units:
    """Services of a machine."""

    def __init__(self, host: Machine) -> None:
        self.host, self.world = host, host.world

    def _of(self, unit: str) -> dict[str, bool]:
        if self.host.name in self.world.lost:
            raise ConnectionFailed(f"{self.host.name} can't be reached over SSH", "", "")
        return self.world.units[self.host.name, unit]

    def state(self, unit: str) -> UnitState:
        found = self.world.units.get((self.host.name, unit))
        if found is None:
            return UnitState(unit, False, False, False, False)
        known = self._of(unit)
        enabled = known.get("enabled", not known["masked"])
        return UnitState(unit, True, known["active"], enabled, known["masked"], 7 if known["active"] else 0)

    def stop_and_fence(self, unit: str, timeout: float = 1) -> bool:
        if (self.host.name, unit) not in self.world.units or self.state(unit).fenced:
            return False
        self.world.act(f"mask {unit} on {self.host.name}")
        self._of(unit).update(masked=True, enabled=False)
        self.world.act(f"stop {unit} on {self.host.name}")
        self._of(unit)["active"] = False
        return True

    def start(self, unit: str, timeout: float = 1) -> bool:
        if self.state(unit).active or self.state(unit).masked:
            return False
        self.world.act(f"start {unit} on {self.host.name}")
        self.world.starts(self.host.name, unit)
        return True

    def bring_up(self, unit: str, *, enable: bool = True, timeout: float = 1) -> bool:
        self.world.act(f"unmask {unit} on {self.host.name}")
        self._of(unit)["masked"] = False
        if enable:
            self._of(unit)["enabled"] = True
        return self.start(unit)

    def release(self, unit: str, *, enable: bool = True) -> bool:
        self.world.act(f"unmask {unit} on {self.host.name}")
        self._of(unit).update(masked=False, **({"enabled": True} if enable else {}))
        return True

    def invocation(self, unit: str) -> str:
        return "this start"

    def database_unit(self) -> str:
        return DATABASE

    def listening(self, ports: list[int]) -> set[int]:
        return set()


class Records(WindowStore):
    """The record, lasting: a write is an action, and done or not done as a whole."""

    def __init__(self, world: World) -> None:
        self.world, self.site = world, world.site
        self.host: Any = Machine(world, "olddb1")

    def read(self) -> WindowRecord | None:
        return copy.deepcopy(self.world.record)

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        record = copy.deepcopy(self._mine(self.world.record))
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
            if not self.world.units["olddb1", DATABASE]["active"]:
                raise ConnectionFailed("olddb1: no database", "", "")
            return 1
        if "@@datadir" in statement:
            return "/var/lib/mysql"
        if "COUNT(*) FROM cloud.mshost" in statement:
            return 0
        return ("10.91.0.41,10.91.0.42," if self.world.copy.host else "") + "10.91.0.11" if self.world.copy.whole else None

    def execute(self, statement: str, arguments: Any = None) -> int:
        self.world.act(statement.split("SET", 1)[0])
        if "mshost" in statement:
            self.world.copy.host = True
        return 1

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return [{"version": "4.20.3.0"}, *([{"version": "4.22.1.0"}] if self.world.copy.row else [])]


class Watch:
    """A start under way: the schema is upgraded, and then it is good, or has failed."""

    def __init__(self, start: ManagementStart) -> None:
        self.world: World = start.context.connections  # type: ignore[assignment]
        self.reading = self
        self.touched = self.world.copy.upgraded

    def read(self, progress: Any) -> None:
        self.touched = self.world.copy.upgraded

    def signs(self) -> dict[str, bool]:
        return {"everything": self.world.serving}

    def follow(self, **_: Any) -> dict[str, Any]:
        self.world.act("the schema upgrade begins")
        self.world.copy.upgraded = True
        self.world.act("the schema upgrade ends")
        if self.world.failing:
            self.world.units["newms1", MANAGEMENT]["active"] = False
            raise StartFailed("newms1 ended", "", "", touched=True)
        self.world.copy.row = True
        self.world.serving = True
        return {"seconds": 1.0}


def arrange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the steps work on a World: everything they touch, nothing of what they decide."""

    def of(context: Context) -> World:
        world: World = context.connections  # type: ignore[assignment]
        return world

    modules = (
        reimport, database_transfer, transfer, deadline, first_management, start_gate, host_setting, host_setting_step, start_management,
        original_database, original_database_step, prove_original_down, original_management, original_management_step, ensure_serving, start_usage,
    )  # fmt: skip
    for module in modules:
        if hasattr(module, "store"):
            monkeypatch.setattr(module, "store", lambda context: Records(of(context)))
        if hasattr(module, "Services"):
            monkeypatch.setattr(module, "Services", Units)
        if hasattr(module, "session"):
            monkeypatch.setattr(module, "session", lambda host: contextlib.nullcontext(Table(host)))
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
    monkeypatch.setattr(first_management, "_beside_rehearsal", lambda context, evidence: {})
    monkeypatch.setattr(api, "answers", lambda where: False)
    monkeypatch.setattr(prove_original_down, "answers", lambda context, server, ports: False)
    monkeypatch.setattr(work, "read", lambda database: [])
    _copying(monkeypatch, of)


def _copying(monkeypatch: pytest.MonkeyPatch, of: Callable[[Context], World]) -> None:
    module = transfer

    def never_serving(context: Context) -> None:
        if of(context).units["newms1", MANAGEMENT]["active"]:
            of(context).wrong.append("newms1 runs while the copy is emptied")

    def empty(target: Machine, names: list[str]) -> None:
        target.world.act("empty")
        target.world.copy = Copy(whole=False, host=False)

    def copied(source: Machine, target: Machine, names: list[str], **_: Any) -> Any:
        if not target.world.units["olddb1", DATABASE]["active"]:
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

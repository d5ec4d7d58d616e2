"""The world of `window_world` with more than one process in it: each has its run's number, may sleep before any action, and the record is on two disks.

One process runs at a time, in the test's own thread: what would wait comes at once, what hangs fails at once, and a sleep is a call of another
process's command from within an action. So a sequence takes milliseconds and is the same each time.
"""

from __future__ import annotations

import functools
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.services import AGENT, MANAGEMENT
from parallel_build.errors import ConnectionFailed, Fenced, GuardFailed, ParallelBuildError, TimedOut
from parallel_build.operations import fence_new_database, new_strangers, open_ports, record_hosts, start_gate
from parallel_build.operations.context import Context
from parallel_build.records.copies import SECOND, RecordCopies
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.record_file import RecordFile, Text
from parallel_build.records.window import WindowRecord, WindowStore, going_back
from parallel_build.remote.clock import HostClock
from tests.fast import agents_world
from tests.fast.agents_world import KVM, AgentHost, Agents
from tests.fast.window_world import Cut, Machine, Units, World

PACKAGES = ("parallel_build.operations", "parallel_build.steps", "parallel_build.records")


class Process:
    """One command of an operator's.

    Attributes:
        token: its run's number; None before it has taken one.
        has_waited: for hosts.
        has_taken: agents, for a mutant that does it once.
    """

    def __init__(self) -> None:
        self.token: int | None = None
        self.has_waited = self.has_taken = False
        self.notes = HostNotes()


class Shared(World):
    """A world that several processes work on.

    Attributes:
        returned: numbers of windows whose rollback has begun.
        gates: servers whose gate is shut, with the window that it is shut for.
        files, before: the record on each of its hosts, and the text before it.
        seen: highest run's number by server.
        taken, claims: the last number that was taken, and how often one was.
        acting: the process whose turn it is.
        sleeps: before this action, counted as `cut` is, it sleeps while `other` runs.
        numbered: whether runs take numbers.
        whole: whether a write of the record that is cut off leaves the former text.
        agents: those of its KVM hosts.
    """

    numbered = True
    whole = True

    def __init__(self, **changes: Any) -> None:
        self.seen: dict[str, int] = {}
        self.taken = self.claims = 0
        self.acting = Process()
        self.sleeps, self.other = -1, lambda: None
        self.files: dict[str, bytes] = {}
        self.before: dict[str, bytes] = {}
        self.gates: set[tuple[str, str]] = set()
        self.returned: set[int] = set()
        super().__init__(**changes)
        self.agents = Agents(self)
        self.units |= {(host, AGENT): {"active": True, "masked": False} for host in KVM}

    other: Callable[[], Any]

    def host(self, server: Any) -> Machine:
        return machine(self, server.name)

    def keep(self) -> None:
        """Put the record on both hosts as it is, from the beginning."""
        self.record.number, self.record.revision = self.record.number or 1, 1
        self.record.holders = {name: {"machine": ""} for name in (self.old_source, self.source)}
        text = (self.record.to_json() + "\n").encode()
        self.files = dict.fromkeys(self.record.holders, text)
        self.before = dict.fromkeys(self.record.holders, b"\n")

    def act(self, what: str, server: str = "") -> None:
        if self.done == self.sleeps:
            self.sleeps = -1
            sleeper, cut = self.acting, self.cut
            self.cut = -1
            self.other()
            self.acting, self.cut = sleeper, cut
        super().act(what, server)

    def reach(self, server: str) -> None:
        """A server on which a later run has given a command takes none of an earlier one."""
        token, known = self.acting.token, self.seen.get(server, 0)
        if token is None or server in self.lost:
            return
        if token < known:
            raise Fenced(f"{server}: run {known} has taken over", "this run must not change anything any more", "")
        self.seen[server] = token

    def hang(self) -> None:
        raise ConnectionFailed("the session with the database server was lost: timed out", "", "")

    def starts(self, server: str, unit: str) -> None:
        super().starts(server, unit)
        if server in self.new and unit == MANAGEMENT and server not in self.closing.sessions and not all(self.closing.accounts.values()):
            self.closing.sessions.append(server)

    def tear(self, host: str) -> None:
        """Half of a host's copy is lost."""
        self.files[host] = self.files[host][: len(self.files[host]) // 2]

    def snapshot(self) -> str:
        """Everything that a command may change."""
        return json.dumps(
            [
                sorted((*key, *value.items()) for key, value in self.units.items()),
                *(vars(each) for each in self.closings.values()),
                self.agents.written,
            ]
        )

    def runs(self, command: Callable[[], Any], *, cut: int = -1, sleeps: int = -1, other: Callable[[], Any] = lambda: None) -> bool:
        """Run a command as a process of its own; whether it came to its end.

        Args:
            cut, sleeps: before so many actions of it it dies, or sleeps while `other` runs.
        """
        before, self.acting, self.other = self.acting, Process(), other
        self.cut, self.sleeps = (self.done + at if at >= 0 else -1 for at in (cut, sleeps))
        try:
            command()
        except (ParallelBuildError, Cut):
            return False
        finally:
            self.acting, self.cut, self.sleeps = before, -1, -1
        return True


def machine(world: Shared, name: str) -> Machine:
    """A server, as the process whose turn it is has it."""
    found = (AgentHost if name in KVM else Machine)(world, name)
    found.token = world.acting.token
    return found


class MemoryFile:
    """The record's file on a machine of the world: compared and written under that host's lock, as one action."""

    limit = None

    def __init__(self, world: Shared, host: str, name: str) -> None:
        self.world, self.host, self.name = world, machine(world, host), name
        self.folder, self.path = "/var/lib", f"/var/lib/{name}"

    def raw(self) -> Text:
        if self.host.name in self.world.lost:
            raise ConnectionFailed(f"{self.host.name} can't be reached over SSH", "", "")
        return Text(self.world.files.get(self.host.name))

    def read(self) -> Text:
        text = self.raw()
        if text.raw is not None and not text.raw.strip():
            raise self.unusable("it is empty")
        return text

    def before(self) -> Text:
        self.raw()
        return Text(self.world.before.get(self.host.name))

    def write(self, seen: Text, text: str, *, keep: bool = False) -> bool:
        try:
            self.world.act(f"write the record on {self.host.name}", self.host.name)
        except Cut:
            if not self.world.whole:
                self.world.files[self.host.name] = text.encode()[: len(text) // 2]
                self.world.before.pop(self.host.name, None)
            raise
        if self.raw().digest != seen.digest:
            return False
        number, returning = (json.loads(text).get(name) for name in ("number", "returning"))
        if number in self.world.returned and not returning:
            self.world.wrong.append("what is written of the window does not know any more that a rollback has begun")
        if returning and (
            self.host.name == self.world.source or self.world.source in self.world.lost
        ):  # on one of two alone it does not count
            self.world.returned.add(number)
        if seen.raw is not None:
            self.world.before[self.host.name] = seen.raw
        self.world.files[self.host.name] = text.encode() + b"\n"
        self.world.record = WindowRecord.from_json(text)
        return True

    def unusable(self, why: str) -> GuardFailed:
        """As the file on a server has it, with its remedy."""
        return RecordFile.unusable(cast(RecordFile, self), why)


class Store(WindowStore):
    """The real one, without a journal."""

    def journal(self, what: str) -> None:
        """Kept nowhere."""


def store(context: Context) -> WindowStore:
    """As `record_hosts.both` has it, over the world's disks."""
    world: Any = context.connections
    first, second = MemoryFile(world, world.old_source, "window.json"), MemoryFile(world, world.source, SECOND)
    copies = RecordCopies(first, second, partial(record_hosts.proved_down, context), world.acting.notes)  # type: ignore[arg-type]
    copies.tell = context.progress
    return Store(first.host, context.site, copies)


def claim(context: Context) -> None:
    """A process takes the next number at its first write, as `operations.claim` does."""
    world: Any = context.connections
    if world.acting.token is None:
        record = store(context).look()
        world.claims += 1
        world.taken = max(world.taken, record.token if record else 0) + (1 if world.numbered else 0)
        world.acting.token = world.taken
        store(context).level()


class Inline:
    """Workers that do each call when it is given."""

    def __init__(self, count: int = 1, cancel: Any = None, name: str = "") -> None:
        """One is enough."""

    def submit(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*arguments, **named))
        except Exception as error:
            done.set_exception(error)
        return done

    def map(self, call: Callable[..., Any], *several: Any) -> Iterator[Any]:
        return iter([call(*arguments) for arguments in zip(*several, strict=False)])

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Nothing is under way."""

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is under way."""


class Thread:
    """One that runs when it is started."""

    def __init__(self, target: Callable[[], Any], daemon: bool = False) -> None:
        self.start = target

    def join(self, timeout: float = 0) -> None:
        """It has ended."""

    def is_alive(self) -> bool:
        return False


def soon(what: str, probe: Callable[[], Any], **_: Any) -> Any:
    """What is waited for is there at once, or at the second look, or never."""
    for _turn in range(2):
        found = probe()
        if found is not None and found is not False:
            return found
    raise TimedOut(f"timed out waiting for {what}", "", "")


def clock(host: Machine) -> HostClock:
    """No time passes."""
    return HostClock("boot", 2.0, 2.0)


def within(context: Context, what: str, limit: float, act: Callable[[CancelToken], Any]) -> Any:
    """What hangs fails at once."""
    return act(context.cancel)


def shut(host: Machine, record: WindowRecord) -> None:
    """A server's gate is shut for a window."""
    world: Any = host.world
    Units(host).state(MANAGEMENT)
    world.gates.add((host.name, start_gate._window(record)))


def release(context: Context, host: Machine, unit: str, *, enable: bool) -> None:
    """A unit is unmasked, unless a rollback was there before."""
    world: Any = context.connections
    record = store(context).mine()
    if record.returning:
        raise going_back(record)
    world.act(f"unmask {unit} on {host.name}", host.name)
    if (host.name, start_gate._window(record)) in world.gates:
        raise going_back(record)
    world.units[host.name, unit].update(masked=False, **({"enabled": True} if enable else {}))


@functools.lru_cache(maxsize=64)
def _pickled(raw: bytes | str) -> bytes:
    return pickle.dumps(READ(raw))


def _from_json(raw: bytes | str) -> WindowRecord:
    """The record of a text, a new one each time: most texts are read often."""
    found: WindowRecord = pickle.loads(_pickled(raw))  # noqa: S301  # made a line above
    return found


READ = WindowRecord.from_json


class Json:
    """`json` for those who only look at what a text says."""

    dumps = staticmethod(json.dumps)
    loads = staticmethod(functools.lru_cache(maxsize=64)(json.loads))


def arrange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the steps work on a Shared world, behind `window_world.arrange` and what a test arranges besides."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(PACKAGES):
            continue
        for found, instead in (("Workers", Inline), ("wait_for", soon), ("claim", claim), ("read_host_clock", clock)):
            if callable(getattr(module, found, None)):
                monkeypatch.setattr(module, found, instead)
        if hasattr(module, "store") and not name.startswith("parallel_build.records"):
            monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(record_hosts, "both", store)
    monkeypatch.setattr(WindowRecord, "from_json", staticmethod(_from_json))
    monkeypatch.setattr("parallel_build.records.copies.json", Json)
    monkeypatch.setattr(open_ports, "answers", lambda context, server, ports: False)
    monkeypatch.setattr(fence_new_database, "within", within)
    monkeypatch.setattr(new_strangers, "threading", type("Threading", (), {"Thread": Thread}))
    monkeypatch.setattr(start_gate, "shut", shut)
    monkeypatch.setattr(start_gate, "release", release)
    agents_world.arrange(monkeypatch)

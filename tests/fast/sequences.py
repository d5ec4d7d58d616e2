"""Everything that may happen to a cloud that was switched, drawn at random, and what must be true after each of it.

`python -m tests.fast.sequences --from 0 --number 100000 --shard 1/2 --file FILE` runs many and can be resumed: FILE has how far it came.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_build.cloudstack.services import AGENT, MANAGEMENT, USAGE
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import GuardFailed, ParallelBuildError, RollbackIncomplete
from parallel_build.operations import rollback_window, serve_original, transfer
from parallel_build.operations.context import Context
from parallel_build.operations.known_servers import touch
from parallel_build.records.touched import STOP, Found
from parallel_build.records.window import WindowRecord
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from tests.fast import several_operators
from tests.fast.agents_world import KVM, NEW_LIST, OLD_LIST
from tests.fast.drawn_moves import AGENT_MOVES, COMMANDS, HOLDERS, OLD_SIDE, Move, moves
from tests.fast.operations import test_touched_servers
from tests.fast.operations.test_touched_servers import Cloud, switched_cloud, undo
from tests.fast.several_operators import Shared, claim, store
from tests.fast.sites import values
from tests.fast.window_world import DATABASE, NEW, OLD, Closing, Copy

HOSTS_UP = {f"id-{host}": host for host in KVM}
FORWARD = (HostSetting, FirstManagement, AdditionalManagement)
CONFIGURED: dict[tuple[str, ...], StackConfiguration] = {}  # by who was taken out and who is confirmed down


class Operator:
    """One cloud and what happens to it.

    Args:
        dice: decide how the original was found.
    """

    def __init__(self, cloud: Cloud, dice: random.Random) -> None:
        assert isinstance(cloud.world, Shared)
        self.cloud, self.world = cloud, cloud.world
        self.closed, self.named = False, set[str]()
        self.find_nothing: set[str] = set()  # servers that were off when their database was emptied
        self.dropped: set[str] = set()
        self.confirmed: list[str] = []
        self.windows, self.tore = 1, set[str]()
        self.world.serving = True
        self.world.site = self.world.context.site = dataclasses.replace(self.world.site, known_as=(self.world.record.identity,))
        self.found = {(server, unit): Found() for server, units in OLD.items() for unit in units}
        if dice.random() < 0.3:
            self.found["oldms1", USAGE] = Found(active=False, enabled=False)
        if dice.random() < 0.3:
            self.found["olddb2", DATABASE] = Found(enabled=False)
        for server, units in OLD.items():
            for unit in units:
                self.world.units[server, unit]["enabled"] = False
        self._agents(dice)
        self.world.record.facts["Window"] = {"hosts_up": HOSTS_UP}
        self._touched(self.world.record)
        self.world.keep()

    def _agents(self, dice: random.Random) -> None:
        """How the hosts are: most have come over; one may never have, or know the new servers alone."""
        agents = self.world.agents
        if dice.random() < 0.2:
            agents.lists["new"] = list(NEW_LIST)  # an operator has changed `host` there
        for agent in agents.by_host.values():
            agent.last, agent.restless = dice.choice(NEW_LIST), dice.random() < 0.5
            if dice.random() < 0.15:
                agent.learns, agent.listed = False, list(OLD_LIST)
        agents.on(NEW)

    def _touched(self, record: WindowRecord) -> None:
        original = self.world.site.configuration.original
        for server in (*original.management, original.database.source, original.database.replica):
            assert server is not None
            units = {unit: self.found[server.name, unit] for unit in OLD[server.name]}
            record.servers[server.name] = touch(self.world.context, server, STOP, units=units)

    def make(self, move: Move) -> None:
        """Make one of them."""
        kind, what = move
        world = self.world
        if kind == "cut off":
            world.lost.add(what)
        elif kind == "mend" and what not in world.powered_off:
            world.lost.discard(what)
        elif kind == "power off":
            self.switch_off(what)
        elif kind == "power on" and what in world.powered_off and what not in self.confirmed and not self._must_stay_off(what):
            self._power_on(what)
        elif kind in ("take out", "put in"):
            (self.dropped.add if kind == "take out" else self.dropped.discard)(what)
        elif kind == "confirm" and what in world.powered_off and what not in self.confirmed:
            self.confirmed.append(what)  # an operator says so only of what is off
        elif kind == "take back":
            self.confirmed.clear()
        elif kind in ("start fails", "start works"):
            (self.cloud.does_not_start.add if kind == "start fails" else self.cloud.does_not_start.discard)((what, MANAGEMENT))
        elif kind in ("SQL hangs", "SQL answers"):
            world.closing.hangs = kind == "SQL hangs"
        elif kind == "tear" and not any(self.torn(host) for host in HOLDERS):
            self.tore.add(what)
            world.tear(what)
        elif kind == "the other holder answers" and "newdb1" not in world.powered_off:
            silent = "newdb1" if "newdb1" not in world.lost else "olddb1"
            world.lost = world.lost - {*HOLDERS} | {silent}
        elif kind in AGENT_MOVES:
            self._agent(kind, what)
        self._configure()
        if kind in COMMANDS:
            self._run(kind, *what)
        elif kind == "another state":
            self._of_another_state(what)
        self.check(move)

    def _agent(self, kind: str, host: str) -> None:
        agents = self.world.agents
        if kind == "agent loses its server":
            agents.lose(host)
        elif kind in ("agent stops", "agent starts"):
            self.world.units[host, AGENT]["active"] = kind == "agent starts"
        else:
            agents.by_host[host].aside = kind == "host put aside"
        agents.look(host)

    def torn(self, host: str) -> bool:
        """Whether a host's copy of the record is no text that can be read."""
        try:
            return not json.loads(self.world.files[host])
        except ValueError:
            return True

    def _must_stay_off(self, server: str) -> bool:
        """The new database, while the rollback has named a server that is fenced there alone."""
        return server == "newdb1" and bool(self.world.record.facts.get("CutOff", {}).get("servers"))

    def stays_off(self, server: str) -> bool:
        """Whether whoever reads the messages leaves it off."""
        return self._must_stay_off(server) or (self._over() and server in self.named)

    def switch_off(self, server: str) -> None:
        """Its power is cut."""
        self.world.powered_off.add(server)
        self.world.lost.add(server)
        for (name, _), unit in self.world.units.items():
            if name == server:
                unit["active"] = False
        if server == "newdb1":
            self.world.closing.sessions.clear()

    def _power_on(self, server: str) -> None:
        """It boots: what is not masked there starts."""
        self.world.powered_off.discard(server)
        self.world.lost.discard(server)
        for (name, _), state in self.world.units.items():
            if name == server and not state["masked"]:
                state["active"] = True

    def _configure(self) -> None:
        key = (*sorted(self.dropped), "/", *self.confirmed)
        if key not in CONFIGURED:
            self._load()
            CONFIGURED[key] = self.world.site.configuration
        self.world.site = self.world.context.site = dataclasses.replace(self.world.site, configuration=CONFIGURED[key])

    def _load(self) -> None:
        known = values()
        management = [each for each in known["new"]["management"] if each["name"] not in self.dropped]
        original = [each for each in known["original"]["management"] if each["name"] not in self.dropped]
        self.cloud.configure(
            new={"management": management},
            original={"management": original},
            window={"userAccess": known["window"]["userAccess"], "confirmedDown": list(self.confirmed)},
        )

    def command(self, kind: str) -> Callable[[], None]:
        """What an operator runs."""
        return {"back": self._back, "undo": self._undo, "forward": self._forward, "reopen": self._reopen}[kind]

    def _back(self) -> None:
        """`back`, ahead of the state."""
        context = self.world.context
        claim(context)
        rollback_window.check_allowed(context)
        serve_original.serve_at_once(context)
        self.world.agents.check_taken()

    def _undo(self) -> None:
        """The undos, and what the last of them reports about the hosts."""
        over = self._over()
        try:
            undo(self.cloud)
        except RollbackIncomplete as error:
            if error.fact.startswith("rolled back"):
                self.world.agents.check_rolled_back(str(error))
            raise
        if not over:
            self.world.agents.check_rolled_back("")

    def _forward(self) -> None:
        for step in FORWARD:
            done = step()
            done.before_apply(self.world.context)
            done.apply(self.world.context)

    def _reopen(self) -> None:
        """The next window, up to its first start: what is before that is not this world's. Only where everything is as its guards ask for."""
        world = self.world
        if not world.record.closed or world.lost or world.powered_off or self.dropped or self.cloud.does_not_start or world.closing.hangs:
            return
        if self.cloud.serving != (["oldms1", "oldms2"], []) or not all(world.down(name) for name in world.new):
            return
        if world.agents.on(OLD) != [*KVM] or any(agent.aside for agent in world.agents.by_host.values()):
            return
        claim(world.context)
        for server in (*world.old, *world.new, world.source, *KVM):
            world.reach(server)
        for (server, _), state in world.units.items():
            if server in world.old:
                state.update(active=False, masked=True, enabled=False)
        self.windows += 1
        former = world.record
        world.record = WindowRecord(
            "test", former.identity, opened=f"then-{self.windows}", number=former.number + 1, token=world.acting.token or 0
        )
        world.record.steps = former.steps
        world.record.facts = {
            "Window": {"hosts_up": HOSTS_UP},
            "DatabaseTransfer": {"copied": {"tables": 336}},
            "OriginalDatabase": {
                "folder": "/var/lib/mysql",
                "rest": f"files {world.written}",
                "units": dict.fromkeys(("olddb1", "olddb2"), DATABASE),
            },
        }
        self._touched(world.record)
        world.keep()
        world.units["newdb1", DATABASE].update(active=True, masked=False)
        world.closings["newdb1"] = Closing(sessions=[])
        world.copy, world.serving, self.closed, self.find_nothing = Copy(), False, False, set()
        self.named.clear()
        self._forward()

    def _run(self, kind: str, how: str, at: int, other: str) -> None:
        world, slept = self.world, list[str]()
        if kind in ("back", "undo") and world.record.closed and how == "ends":
            return
        numbered: list[int | None] = []

        def meanwhile() -> None:
            numbered.append(world.acting.token)
            claims = world.claims
            ended = world.runs(self.command(other))
            # What it could not reach, and what it refused, is left to whoever wakes up.
            # Of two rollbacks both go the same way, and `back` does not do all of it.
            same_way = kind in ("back", "undo") and other == "back"
            if ended and world.claims > claims and not world.lost and not same_way:
                slept.append(world.snapshot())

        cut, sleeps = (at if how == name else -1 for name in ("dies", "sleeps"))
        world.runs(self.command(kind), cut=cut, sleeps=sleeps, other=meanwhile)
        if slept and numbered[0] is not None:
            assert world.snapshot() == slept[0], f"{kind} has woken up after another operator's {other}, and changed something"
        if how == "ends" and kind in ("back", "undo"):
            self._one_is_enough(kind)

    def _one_is_enough(self, kind: str) -> None:
        """A rollback needs one database source and one management server of the original, and the fence."""
        world = self.world
        able = [name for name in OLD_SIDE if name not in world.lost and (name, MANAGEMENT) not in self.cloud.does_not_start]
        well = not ({"olddb1", "newdb1"} & world.lost) and not any(self.torn(host) for host in HOLDERS)
        if well and able and not self._over():
            users = self.windows > 1 or set(self.cloud.users) & {*OLD_SIDE}
            assert self.cloud.serving[0] and users, f"after {kind} nobody is served by the original, and {able} could"

    def _of_another_state(self, kind: str) -> None:
        """A command with a state that did not open the window: refused before anything is changed."""
        world, before = self.world, self.world.snapshot()
        if world.record.closed:
            return
        site = world.site
        world.site = world.context.site = dataclasses.replace(site, known_as=("another",))
        try:
            ended = world.runs(self.command(kind))
        finally:
            world.site = world.context.site = site
        assert not ended and world.snapshot() == before, f"{kind} with another state was not refused"

    def empty(self, context: Context) -> None:
        """The new databases, where their server can be reached: a server that starts later finds nothing to serve."""
        if "newdb1" not in self.world.lost and self.world.units["newdb1", DATABASE]["active"]:
            self.world.act("empty the new databases", "newdb1")
            if not self.cloud.serving[0]:
                self.world.wrong.append("the databases that users work on are emptied before the original serves")
            self.find_nothing = self.world.powered_off & {"newms1", "newms2"}

    def check(self, move: Move) -> None:
        """Never two sides that can write."""
        old, new = self.cloud.serving
        writing = [name for name in new if name not in self.world.powered_off and name not in self.find_nothing]
        if self._over():
            if not self.closed:
                self.closed, self.named = True, {name for name in self.world.powered_off if self._named_to_stay_off(name)}
                assert old == ["oldms1", "oldms2"], f"after {move}: the window is closed, and of the original {old} serve"
            writing = [name for name in writing if name not in self.named]
        assert not (old and writing and not self.world.closed), f"after {move}: {old} and {writing} may both write"
        assert self.world.wrong == [], f"after {move}: {self.world.wrong}"
        torn = [host for host in HOLDERS if self.torn(host) and host not in self.tore]
        assert torn == [], f"after {move}: half of a write of the record is on {torn}"

    def _named_to_stay_off(self, name: str) -> bool:
        return any(line.startswith(f"KEEP {name} ") for line in self.world.reported)

    def _over(self) -> bool:
        return self.world.record.closed is not None

    def way_out(self) -> None:
        """Everything is repaired: then one rollback ends with the original serving, the new side down, and the window closed."""
        world = self.world
        off = {server for server in world.powered_off if self.stays_off(server)}
        for server in world.powered_off - off:
            self._power_on(server)
        world.lost = set(off)
        self.dropped.clear()
        self.confirmed = sorted(off)
        self.cloud.does_not_start.clear()
        world.closing.hangs = False
        for host, agent in world.agents.by_host.items():
            if not (self._over() and agent.aside):
                world.units[host, AGENT]["active"], agent.aside = True, False
        self._configure()
        self.check(("mended", None))
        if not self._over():
            self._to_the_end()
            self.check(("the way out", None))
            assert self.cloud.serving == (["oldms1", "oldms2"], [])
            assert world.record.closed
            assert world.units["olddb1", DATABASE]["active"]
        away = [host for host, agent in world.agents.by_host.items() if host not in world.agents.on(OLD) and not agent.aside]
        assert away == [], f"the agents of {away} are not connected to the original"
        for (server, unit), found in self.found.items():
            state = world.units[server, unit]
            now = Found(state["active"], state.get("enabled", not state["masked"]), state["masked"])
            assert now == found, f"{unit} on {server} is {now}, and was found {found}"

    def _to_the_end(self) -> None:
        """The rollback, with what its messages ask for: a copy of the record that nobody can use is put back from the other, or from the text before."""
        for _ in range(3):
            self.world.acting = several_operators.Process()
            try:
                self._undo()
            except GuardFailed as error:
                host = error.remedy.partition("--restore-record ")[2]
                if "cp -p /var/lib/window.json.1" in error.remedy and "newdb1" in self.world.lost:
                    self.world.files["olddb1"] = self.world.before["olddb1"]
                    continue
                if host not in HOLDERS:
                    raise
                copies = store(self.world.context).copies
                assert copies is not None
                copies.restore(host)
            else:
                return
        raise AssertionError("no way out")


def arranged(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The world, for one test or run."""
    monkeypatch.setattr(test_touched_servers, "World", Shared)
    cloud = switched_cloud(monkeypatch)
    several_operators.arrange(monkeypatch)
    return cloud


def sequence(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Draw and make one.

    Raises:
        AssertionError: what must never be, was; with the seed and the sequence.
    """
    dice = random.Random(seed)
    cloud.__init__()  # type: ignore[misc]
    operator = Operator(cloud, dice)
    monkeypatch.setattr(transfer, "empty", operator.empty)
    drawn = list(moves(dice))
    made: list[Move] = []
    try:
        for move in drawn:
            made.append(move)
            operator.make(move)
        operator.way_out()
    except (AssertionError, ParallelBuildError, KeyError) as error:
        raise AssertionError(f"seed {seed}: {made}: {error}") from error


def main() -> None:
    """Run a share of them, and continue where an earlier run of this share ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--file", type=Path, required=True, help="how far it came, and what it found")
    parser.add_argument("--until", default="", help="HH:MM, when it ends by itself")
    given = parser.parse_args()
    part, of = map(int, given.shard.split("/"))
    state = (
        json.loads(given.file.read_text())
        if given.file.exists()
        else {"next": given.first + part - 1, "done": 0, "seconds": 0.0, "failed": []}
    )
    patch = pytest.MonkeyPatch()
    cloud = arranged(patch)
    began = time.monotonic()
    before = state["seconds"]
    for seed in range(state["next"], given.first + given.number, of):
        if given.until and time.strftime("%H:%M") >= given.until:
            break
        try:
            sequence(cloud, patch, seed)
        except AssertionError as error:
            state["failed"].append([seed, str(error)[:2000]])
        state |= {"next": seed + of, "done": state["done"] + 1, "seconds": round(before + time.monotonic() - began, 1)}
        if state["done"] % 200 == 0 or len(state["failed"]) > 20:
            given.file.write_text(json.dumps(state))
        if len(state["failed"]) > 20:
            break
    given.file.write_text(json.dumps(state))
    patch.undo()
    print({**state, "failed": len(state["failed"])})


if __name__ == "__main__":
    main()

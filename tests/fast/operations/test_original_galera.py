"""An original that is a Galera cluster: stopped in order with everything on record, and started again by one node that has everything, never by two."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from parallel_build.database.replicate import log_end
from parallel_build.database.replicate.channel import Position
from parallel_build.database.replicate.log_end import End
from parallel_build.database.server import galera
from parallel_build.database.server.galera import GaleraStatus, SavedState
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import (
    galera_stop,
    known_servers,
    original_database,
    original_galera,
    original_replica,
    original_stop,
    prove_original_down,
)
from parallel_build.operations.galera_choice import Node, first, prove_alone
from parallel_build.steps.original_database import OriginalDatabase
from tests.fast import window_world
from tests.fast.local_host import LocalHost
from tests.fast.quick_time import hurry
from tests.fast.sites import site, values
from tests.fast.window_world import DATABASE, Machine, Records, World, ending_at

UUID = "8f3c2d1a-0000-11ef-9a6e-000000000001"
NODES = ("olddb1", "olddb2", "olddb3")
SERVERS = {name: {"name": name, "address": f"10.91.0.{13 + number}"} for number, name in enumerate(NODES)}


def original(**changes: Any) -> dict[str, Any]:
    """The original with a cluster of three nodes as its database."""
    return {**values()["original"], "database": {"source": SERVERS["olddb1"], "nodes": [SERVERS["olddb2"], SERVERS["olddb3"]]}, **changes}


@dataclass
class Member:
    """One node: its number of write sets, and what it is.

    Attributes:
        primary: it runs in the part of the cluster that serves.
        died: it was not shut down in order.
        hangs: it runs and waits for a cluster.
    """

    seqno: int = 100
    primary: bool = True
    died: bool = False
    safe: bool = False
    hangs: bool = False


class Cluster(World):
    """A world whose original is a cluster; its nodes run until the window stops them."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(original=original(), **changes)
        self.members = {name: Member() for name in NODES}
        for name in NODES:
            self.units[name, DATABASE] = {"active": True, "masked": False, "enabled": True}
        self.record.facts = {"DatabaseTransfer": {"copied": {"tables": 336}}}
        self.bootstrapped: list[str] = []

    def running(self) -> list[str]:
        """Nodes that serve."""
        return [name for name in NODES if self.units[name, DATABASE]["active"] and self.members[name].primary and name not in self.lost]

    def left(self, name: str) -> None:
        """A node was stopped: all others see another cluster, which is a write set of its own."""
        member = self.members[name]
        if not member.primary:
            return
        member.primary, member.safe = False, not self.running()
        self.step()

    def step(self) -> None:
        """One more write set for every node that serves."""
        top = max([self.members[name].seqno for name in self.running()], default=0) + 1
        for name in self.running():
            self.members[name].seqno = top

    def starts(self, server: str, unit: str) -> None:
        super().starts(server, unit)
        if server not in self.members or unit != DATABASE:
            return
        member, others = self.members[server], [name for name in self.running() if name != server]
        if not others:  # a plain start finds nobody
            member.hangs = True
            return
        member.primary, member.died, member.safe, member.hangs = True, False, False, False
        self.step()

    def bootstrap(self, name: str) -> None:
        """galera_new_cluster."""
        self.act(f"bootstrap {name}", name)
        if self.running():
            self.wrong.append(f"{name} starts a second cluster next to {', '.join(self.running())}")
        more = [other for other in NODES if self.members[other].seqno > self.members[name].seqno]
        if more:
            self.wrong.append(f"{name} starts the cluster without what {', '.join(more)} has")
        if self.units[name, DATABASE]["masked"]:
            raise CommandFailed(f"{name}: the unit is masked", "", "")
        self.bootstrapped.append(name)
        self.units[name, DATABASE]["active"] = True
        self.members[name] = Member(self.members[name].seqno + 1)

    def kill(self, name: str, *, machine: bool = False) -> None:
        """A node's server dies, or its machine does."""
        self.units[name, DATABASE]["active"] = False
        self.members[name].primary, self.members[name].died = False, True
        self.step()
        if machine:
            self.lost.add(name)


class Units(window_world.Units):
    """Services whose stop has a node leave its cluster."""

    def stop_and_fence(self, unit: str, timeout: float = 1, *, patience: float | None = None) -> bool:
        if self.host.name in NODES and self.state(unit).active:
            member = self.world.members[self.host.name]  # type: ignore[attr-defined]
            assert (patience is None) == member.primary, (
                "one that waits for others does not end by itself, and one that serves has its time"
            )
        done = super().stop_and_fence(unit, timeout, patience=patience)
        if done and self.host.name in NODES:
            self.world.left(self.host.name)  # type: ignore[attr-defined]
            self.world.members[self.host.name].hangs = False  # type: ignore[attr-defined]
        return done


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The original's management stopped and a copy compared; three nodes run."""
    window_world.arrange(monkeypatch)
    modules = (galera_stop, original_galera, original_stop, original_replica, original_database)
    for module in modules:
        monkeypatch.setattr(module, "store", lambda context: Records(context.connections))
    for module in (original_galera, original_database, prove_original_down):
        monkeypatch.setattr(module, "Services", Units)
    hurry(monkeypatch, original_galera)
    made = Cluster()

    def reach(host: Machine) -> Member:
        if host.name in made.lost:
            raise ConnectionFailed(f"{host.name} can't be reached over SSH", "no route", "")
        return made.members[host.name]

    def status(context: Any, server: Any) -> GaleraStatus:
        member = reach(Machine(made, server.name))
        if not made.units[server.name, DATABASE]["active"]:
            raise ConnectionFailed(f"{server.name}: no database server listens there", "", "")
        if member.hangs:
            raise ConnectionFailed(f"{server.name}: no socket", "", "")
        part = "Primary" if member.primary else "non-Primary"
        state = "Synced" if member.primary else "Initialized"
        return GaleraStatus(True, UUID, part, state, member.primary, len(made.running()), (), member.seqno)

    def saved(host: Machine, folder: str) -> SavedState:
        member = reach(host)
        return SavedState(UUID, -1 if member.died else member.seqno, member.safe)

    def recovered(host: Machine, folder: str) -> SavedState:
        return SavedState(UUID, reach(host).seqno)

    def find_socket(host: Machine) -> str | None:
        reach(host)
        return "/run/mysqld/mysqld.sock" if made.units[host.name, DATABASE]["active"] else None

    def run(self: Machine, argv: Any, **_: Any) -> Any:
        reach(self)

    for module in (galera_stop, original_galera):
        monkeypatch.setattr(module, "status", status)
    monkeypatch.setattr(galera_stop, "find_socket", find_socket)
    monkeypatch.setattr(original_galera, "answers", lambda context, server, ports: False)
    monkeypatch.setattr(galera, "saved", saved)
    monkeypatch.setattr(galera, "recovered", recovered)
    monkeypatch.setattr(galera, "bootstrap", lambda host, folder, unit: made.bootstrap(host.name))
    monkeypatch.setattr(galera, "forget_bootstrap", lambda host, unit: None)
    monkeypatch.setattr(Machine, "run", run)
    monkeypatch.setattr(original_stop, "stop_unmoved", lambda context, stop, start: stop())
    monkeypatch.setattr(original_database, "_note_folder", lambda context: None)
    return made


def stop(world: Cluster) -> None:
    """Step 6."""
    OriginalDatabase().apply(world.context)


def back(world: Cluster) -> list[str]:
    """What a rollback does with the databases."""
    world.record.returning = "now"
    original_database.start(world.context)
    return original_database.start_replica(world.context)


def stops(world: Cluster) -> list[str]:
    return [act.rpartition(" ")[2] for act in world.actions if act.startswith(f"stop {DATABASE}")]


def test_the_stand_by_nodes_are_stopped_first_and_each_position_is_on_record_before_the_next(world: Cluster) -> None:
    stop(world)
    assert stops(world) == ["olddb2", "olddb3", "olddb1"]
    facts = world.record.facts["OriginalGalera"]
    assert {name: each["stopped"]["seqno"] for name, each in facts.items()} == {"olddb2": 100, "olddb3": 101, "olddb1": 102}
    assert [name for name, each in facts.items() if each["stopped"]["safe"]] == ["olddb1"]
    assert all(world.down(name) for name in NODES)
    order = [act for act in world.actions if act.startswith(("write down", f"stop {DATABASE}"))]
    for earlier, later in (("olddb2", "olddb3"), ("olddb3", "olddb1")):
        between = order[order.index(f"stop {DATABASE} on {earlier}") + 1 : order.index(f"stop {DATABASE} on {later}")]
        assert between, "where it stopped is written down before the next is stopped"
    prove_original_down.prove(world.context)
    done = len(world.actions)
    stop(world)
    assert world.actions[done:] == [], "done is done"


def test_the_source_starts_the_cluster_and_the_others_join_it_when_the_original_serves(world: Cluster) -> None:
    stop(world)
    world.record.returning = "now"
    original_database.start(world.context)
    assert world.bootstrapped == ["olddb1"] and world.running() == ["olddb1"], "users wait for no other node"
    assert original_database.start_replica(world.context) == []
    assert sorted(world.running()) == sorted(NODES) and world.bootstrapped == ["olddb1"] and world.wrong == []
    assert all(world.units[name, DATABASE] == {"active": True, "masked": False, "enabled": True} for name in NODES)
    done = [act for act in world.actions if act.startswith(("bootstrap", "start", "stop"))]
    assert back(world) == []
    assert [act for act in world.actions if act.startswith(("bootstrap", "start", "stop"))] == done, "what serves is left alone"


def test_a_cut_at_any_action_of_the_stop_or_of_the_start_leaves_one_cluster_with_everything(world: Cluster) -> None:
    for action in range(30):
        with ending_at(world, action):
            stop(world)
        world.cut = -1
        with ending_at(world, action):
            back(world)
        assert back(world) == [], f"cut before action {action}"
        assert sorted(world.running()) == sorted(NODES) and world.wrong == [], f"cut before action {action}"
        world.record.returning = None
        world.record.facts = {"DatabaseTransfer": {"copied": {"tables": 336}}}
        world.record.servers = {}


def test_a_node_that_is_gone_for_good_keeps_nobody_and_is_listed(world: Cluster) -> None:
    stop(world)
    world.lost.add("olddb3")
    (missing,) = back(world)
    assert missing.startswith("node olddb3: olddb3 can't be reached over SSH")
    assert sorted(world.running()) == ["olddb1", "olddb2"] and world.wrong == []


@pytest.mark.parametrize("machine", [False, True], ids=["its server", "its machine"])
def test_a_node_that_dies_on_its_way_into_the_cluster_is_listed_and_not_waited_for(
    world: Cluster, monkeypatch: pytest.MonkeyPatch, machine: bool
) -> None:
    stop(world)
    starts = Cluster.starts

    def dying(self: Cluster, server: str, unit: str) -> None:
        starts(self, server, unit)
        if server == "olddb2":
            self.kill(server, machine=machine)

    monkeypatch.setattr(Cluster, "starts", dying)
    (missing,) = back(world)
    assert missing.startswith("node olddb2: ")
    assert ("can't be reached over SSH" if machine else "mariadb on olddb2 has ended before it was Synced") in missing, missing
    assert "olddb2 joins the original's cluster" in world.reported
    assert sorted(world.running()) == ["olddb1", "olddb3"] and world.wrong == []
    monkeypatch.setattr(Cluster, "starts", starts)
    world.lost.clear()
    assert back(world) == [] and sorted(world.running()) == sorted(NODES)


def test_one_that_the_operator_has_switched_off_is_not_missing(world: Cluster) -> None:
    stop(world)
    world.lost.add("olddb3")
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb3"]})
    assert back(world) == []
    assert sorted(world.running()) == ["olddb1", "olddb2"]


def test_a_stand_by_node_that_died_before_the_stop_holds_nothing_up_once_it_is_confirmed(world: Cluster) -> None:
    world.kill("olddb2", machine=True)
    with pytest.raises(StepFailed, match=r"olddb2 .* can't be reached, and it may still be running"):
        stop(world)
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb2"]})
    stop(world)
    assert stops(world) == ["olddb3", "olddb1"]
    assert back(world) == [] and world.bootstrapped == ["olddb1"] and world.wrong == []


def test_the_source_that_died_joins_the_nodes_that_went_on(world: Cluster) -> None:
    world.kill("olddb1")
    assert back(world) == []
    assert world.bootstrapped == [] and sorted(world.running()) == sorted(NODES) and world.wrong == []


def test_where_all_died_the_one_with_most_starts_it_and_the_source_joins(world: Cluster) -> None:
    world.kill("olddb1")
    world.kill("olddb2")
    world.kill("olddb3")
    assert back(world) == []
    assert world.bootstrapped == ["olddb3"] and sorted(world.running()) == sorted(NODES) and world.wrong == []


def test_a_source_that_lost_the_others_starts_again_only_while_they_are_proved_down(world: Cluster) -> None:
    for name in ("olddb2", "olddb3"):
        world.kill(name, machine=True)
    world.members["olddb1"].primary = False
    with pytest.raises(StepFailed, match="olddb2 can't be asked, and may run as a part of it"):
        back(world)
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb2", "olddb3"]})
    assert back(world) == []
    assert world.running() == ["olddb1"] and world.bootstrapped == ["olddb1"]


def test_a_node_that_was_started_by_itself_since_is_neither_the_first_nor_joined(world: Cluster) -> None:
    stop(world)
    world.members["olddb2"].seqno = 150
    with pytest.raises(StepFailed, match=r"the node olddb2 has run since this window stopped it at write set 100 .now 150"):
        prove_original_down.prove(world.context)
    world.members["olddb2"].seqno = 150
    (missing,) = back(world)
    assert "olddb2 has run since this window stopped it" in missing and "grastate.dat" in missing
    assert world.bootstrapped == ["olddb1"] and sorted(world.running()) == ["olddb1", "olddb3"]


def test_nobody_joins_a_node_that_somebody_else_has_started_as_the_first(world: Cluster) -> None:
    stop(world)
    world.units["olddb2", DATABASE].update(active=True, masked=False)
    world.members["olddb2"] = Member(107)
    with pytest.raises(StepFailed, match="olddb2 runs as a cluster of its own, and this window had stopped it at write set 100"):
        back(world)
    assert world.bootstrapped == [] and world.running() == ["olddb2"] and world.down("olddb1")
    world.units["olddb2", DATABASE].update(active=False, masked=True)
    world.members["olddb2"].primary = False
    (missing,) = back(world)
    assert "olddb2" in missing and world.bootstrapped == ["olddb1"]


def test_a_node_that_was_dead_at_the_stop_and_was_started_since_is_joined_by_nobody(
    world: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source would take a copy of what that node has, and lose its own."""
    world.kill("olddb3", machine=True)
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb3"]})
    stop(world)
    world.lost.clear()
    world.units["olddb3", DATABASE].update(active=True)
    world.members["olddb3"] = Member(60)
    with pytest.raises(StepFailed, match="olddb3 runs as a cluster of its own, and this window had stopped the source as the last"):
        back(world)
    assert world.running() == ["olddb3"] and world.down("olddb1")
    world.units["olddb3", DATABASE].update(active=False, masked=True)
    world.members["olddb3"].primary = False
    assert galera_stop.lacking(world.record)["olddb3"] == "it has run as a cluster of its own"
    (missing,) = back(world)
    assert "olddb3 has run since this window stopped the source (now 60)" in missing and "grastate.dat" in missing
    assert world.bootstrapped == ["olddb1"] and sorted(world.running()) == ["olddb1", "olddb2"] and world.wrong == []
    with monkeypatch.context() as patch:
        saved = galera.saved
        patch.setattr(galera, "saved", lambda host, folder: SavedState() if host.name == "olddb3" else saved(host, folder))
        for _ in range(2):
            assert back(world) == [] and sorted(world.running()) == sorted(NODES)


def test_a_node_that_was_dead_at_the_stop_may_have_joined_by_itself_what_a_rollback_has_started(world: Cluster) -> None:
    world.kill("olddb3", machine=True)
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb3"]})
    stop(world)
    world.record.returning = "now"
    original_database.start(world.context)
    world.lost.clear()
    world.units["olddb3", DATABASE].update(active=True)
    world.starts("olddb3", DATABASE)
    world.kill("olddb1")
    assert back(world) == [] and world.bootstrapped == ["olddb1"] and sorted(world.running()) == sorted(NODES)


def test_a_start_that_was_begun_with_another_node_is_no_excuse_for_it(world: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(world)

    def full(host: Machine, folder: str, unit: str) -> None:
        raise CommandFailed(f"{host.name}: no space left on device", "", "")

    with monkeypatch.context() as patch:
        patch.setattr(galera, "bootstrap", full)
        with pytest.raises(CommandFailed):
            back(world)
    assert world.record.facts["OriginalGaleraStart"]["node"] == "olddb1"
    world.units["olddb2", DATABASE].update(active=True, masked=False)
    world.members["olddb2"] = Member(120)
    with pytest.raises(StepFailed, match="olddb2 runs as a cluster of its own, and this window had stopped it at write set 100"):
        back(world)
    assert world.running() == ["olddb2"] and world.members["olddb1"].seqno == 102, "its own write sets are not mixed with others"


def test_a_node_that_serves_alone_next_to_the_source_is_listed(world: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(world)
    world.record.returning = "now"
    original_database.start(world.context)
    world.units["olddb2", DATABASE].update(active=True, masked=False)
    world.members["olddb2"] = Member(120)
    asked = vars(original_galera)["status"]

    def alone(context: Any, server: Any) -> GaleraStatus:
        found: GaleraStatus = asked(context, server)
        return replace(found, size=1, incoming=(server.address,)) if server.name != "olddb3" else found

    monkeypatch.setattr(original_galera, "status", alone)
    (missing, *_) = original_database.start_replica(world.context)
    assert missing.startswith("node olddb2: olddb2 runs as a cluster of its own next to olddb1"), missing
    assert not world.record.facts["OriginalGalera"]["olddb2"].get("joined")


@pytest.mark.parametrize("cut_short", [False, True])
def test_nodes_that_the_rollback_has_started_are_joined_by_a_source_that_died_after_that(world: Cluster, cut_short: bool) -> None:
    if cut_short:  # only the stand-by nodes were stopped, and the source served all the while
        world.lost.add("olddb1")
        with pytest.raises(ConnectionFailed):
            stop(world)
        world.lost.clear()
    else:
        stop(world)
    assert back(world) == []
    began = list(world.bootstrapped)
    world.kill("olddb1")
    assert back(world) == []
    assert sorted(world.running()) == sorted(NODES) and world.bootstrapped == began and world.wrong == []
    assert original_replica.lacking(world.record), "the source has run since: nobody takes its place"


def test_one_that_waits_for_a_cluster_is_stopped_and_the_cluster_started(world: Cluster) -> None:
    stop(world)
    world.units["olddb1", DATABASE].update(active=True, masked=False)
    world.members["olddb1"].hangs = True
    assert back(world) == []
    assert world.bootstrapped == ["olddb1"] and sorted(world.running()) == sorted(NODES) and world.wrong == []


def test_a_stand_by_node_that_waits_for_the_others_is_not_waited_for(world: Cluster) -> None:
    world.members["olddb2"].primary = False
    stop(world)
    assert all(world.down(name) for name in NODES)


def test_a_node_with_which_a_start_was_begun_must_be_asked_before_another_starts_one(world: Cluster) -> None:
    stop(world)
    world.record.returning = "now"
    original_database.start(world.context)
    world.lost.add("olddb1")
    world.site = world.context.site = site(original=original(), window={"confirmedDown": []})
    with pytest.raises(ParallelBuildError, match="olddb1"):
        back(world)
    assert world.bootstrapped == ["olddb1"] and world.wrong == []


def test_a_stand_by_node_takes_the_place_of_a_source_that_is_gone(world: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(world)
    assert original_replica.lacking(world.record) == ""
    world.lost.add("olddb1")
    stand_by = world.site.configuration.original.database.nodes
    assert original_galera.stand_in(world.context, world.record, stand_by) == stand_by[1], "the one that left last"
    world.lost.add("olddb2")
    monkeypatch.setattr(Records, "original_problem", lambda self: ConnectionFailed("olddb1 can't be reached", "", ""))
    chosen = original_replica.choose(world.context)
    assert chosen.name == "olddb3", "the one that can be reached"
    for module in (original_database, original_galera):
        monkeypatch.setattr(module, "promoted", lambda context, record=None: chosen)
    with pytest.raises(GuardFailed, match="confirm that olddb1 is down"):
        original_database.start(world.context)
    world.site = world.context.site = site(original=original(), window={"confirmedDown": ["olddb1"]})
    monkeypatch.setattr(original_galera, "original_source", lambda context: chosen)
    original_database.start(world.context)
    assert world.bootstrapped == ["olddb3"] and world.running() == ["olddb3"]
    world.lost.remove("olddb2")
    assert original_database.start_replica(world.context) == []
    assert sorted(world.running()) == ["olddb2", "olddb3"] and world.down("olddb1")
    assert any("olddb1 joins again only with a copy of everything" in line for line in world.reported)


@pytest.mark.parametrize("lacks", ["a node that was behind", "a source that this window did not stop"])
def test_nobody_takes_the_place_without_proof(world: Cluster, monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    stop(world)
    facts = world.record.facts["OriginalGalera"]
    if lacks == "a node that was behind":
        for name in ("olddb2", "olddb3"):
            facts[name] = {**facts[name], "lacks": "it has write sets up to 99 (Primary, Joined), the source up to 100"}
    else:
        facts["olddb1"].pop("stopped")
    world.lost.add("olddb1")
    assert original_replica.lacking(world.record)
    monkeypatch.setattr(Records, "original_problem", lambda self: ConnectionFailed("olddb1 can't be reached", "", ""))
    with pytest.raises(GuardFailed, match="no node that is proved to have everything"):
        original_replica.choose(world.context)


def test_the_record_says_who_starts_it_by_hand(world: Cluster) -> None:
    assert galera_stop.in_words(world.record) == []
    stop(world)
    (words,) = galera_stop.in_words(world.record)
    assert "olddb2 at write set 100" in words and "olddb1 alone starts the cluster again" in words


def test_without_nodes_nothing_of_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not galera_stop.clustered(site().configuration, None)
    assert galera_stop.clustered(site(original=original()).configuration, None)
    assert known_servers.original_databases(site(original=original()).configuration, None)[0].name == "olddb1"


def nodes(*changes: dict[str, Any]) -> list[Node]:
    servers = site(original=original()).configuration.original.database.servers
    return [Node(server, DATABASE, **change) for server, change in zip(servers, changes, strict=True)]


def down(seqno: int, uuid: str = UUID, **more: Any) -> dict[str, Any]:
    return {"saved": SavedState(uuid, seqno), **more}


GONE = {"silent": "no route", "gone": True}


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ((down(102), down(100), down(101)), "olddb1"),
        ((down(100), down(102), down(101)), "olddb2"),
        ((down(100), down(100), down(100)), "olddb1"),
        ((down(100), down(500, uuid="another"), down(101)), "olddb3"),
        ((down(100), GONE, down(101)), "olddb3"),
        ((down(-1, uuid=galera.NOBODY), down(7), down(8)), "olddb3"),
        ((down(100), down(105, noted={"stopped": {"uuid": UUID, "seqno": 101}}), down(99)), "olddb1"),
    ],
)
def test_who_starts_it(found: tuple[dict[str, Any], ...], chosen: str) -> None:
    assert first(nodes(*found), "olddb1", proved=False).name == chosen


def test_nobody_starts_it_without_what_a_silent_node_has() -> None:
    more = {**GONE, "noted": {"stopped": {"uuid": UUID, "seqno": 104}}}
    with pytest.raises(StepFailed, match="olddb1 has write sets up to 104, olddb3 only to 102"):
        first(nodes(more, down(101), down(102)), "olddb1", proved=False)
    assert first(nodes(more, down(101), down(102)), "olddb3", proved=True).name == "olddb3"
    assert first(nodes(more, down(101), down(102)), "olddb2", proved=True).name == "olddb3", "it has what olddb2 has, and more"
    unknown = down(-1, noted=more["noted"])
    with pytest.raises(StepFailed, match="olddb1 has write sets up to 104, olddb3 only to 102"):
        first(nodes(unknown, down(101), down(102)), "olddb2", proved=False)
    with pytest.raises(StepFailed, match="no node that can be reached has a position"):
        first(nodes(GONE, down(-1), down(-1)), "olddb1", proved=False)


@pytest.mark.parametrize("proved", [False, True])
def test_files_that_are_older_than_the_stop_start_nothing(proved: bool) -> None:
    noted: dict[str, Any] = {"noted": {"stopped": {"uuid": UUID, "seqno": 104}}}
    for others in ((101, 102), (80, 70)):
        with pytest.raises(StepFailed, match="olddb1 was stopped at write set 104, and its files show 90"):
            first(nodes(down(90, **noted), *(down(each) for each in others)), "olddb1", proved=proved)
    assert first(nodes(down(90, **noted), down(104), down(102)), "olddb1", proved=proved).name == "olddb2", "nothing is missing there"
    joined: dict[str, Any] = {"noted": {**noted["noted"], "joined": "since"}}
    assert first(nodes(down(90, **joined), down(101), down(102)), "olddb1", proved=proved).name == "olddb3", (
        "it died since, and has lost it"
    )


def test_a_silent_node_may_run() -> None:
    prove_alone(nodes(down(1), GONE, down(1)))
    with pytest.raises(StepFailed, match="olddb2 can't be asked, and may run as a part of it"):
        prove_alone(nodes(down(1), {"silent": "no route"}, down(1)))


GRASTATE = "# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: {safe}\n"


def test_what_files_say_is_read_as_it_stands(tmp_path: Path) -> None:
    host: Any = LocalHost()
    assert galera.saved(host, str(tmp_path)) == SavedState()
    (tmp_path / "grastate.dat").write_text(GRASTATE.format(uuid=UUID, seqno=-1, safe=0))
    assert galera.saved(host, str(tmp_path)) == SavedState(UUID, -1, False)
    (tmp_path / "grastate.dat").write_text(GRASTATE.format(uuid=UUID, seqno=4711, safe=1))
    assert galera.saved(host, str(tmp_path)) == SavedState(UUID, 4711, True)
    assert SavedState.of(galera.saved(host, str(tmp_path)).kept()) == SavedState(UUID, 4711, True)


AT = End(Position("bin.1", 4), {}, "/b")


@pytest.mark.parametrize(("stops_at", "written"), [(102, ""), (104, "write sets up to 104, and it had 102")])
def test_the_lock_ends_before_the_stop_of_the_source_and_its_write_set_shows_what_came_in_between(
    world: Cluster, monkeypatch: pytest.MonkeyPatch, stops_at: int, written: str
) -> None:
    order: list[str] = []

    class Opened:
        host = Machine(world, "olddb1")

        def execute(self, statement: str) -> None:
            order.append(statement)

    def stopping() -> None:
        order.append("stop")
        world.members["olddb1"].seqno = stops_at

    monkeypatch.setattr(original_stop, "session", lambda host: contextlib.nullcontext(Opened()))
    monkeypatch.setattr(original_stop, "original_database", lambda context: Machine(world, "olddb1"))
    monkeypatch.setattr(original_stop, "find_socket", lambda host: "/run/mysqld/mysqld.sock")
    monkeypatch.setattr(log_end, "read", lambda opened, names: AT)
    monkeypatch.setattr(log_end, "hold", lambda opened, seconds: True)
    monkeypatch.setattr(log_end, "folds", lambda opened: False)
    monkeypatch.setattr(log_end, "after_stop", lambda host, end, names, fold: "")
    monkeypatch.setattr(galera, "read", lambda opened: GaleraStatus(True, UUID, committed=102))
    moved, _ = original_stop._look_and_stop(world.context, AT, stopping)
    assert moved == written
    assert order[:2] == ["UNLOCK TABLES", "stop"], "a node that stops under the lock never ends"
    facts = world.record.facts["OriginalDatabase"]
    assert (facts["end"], facts["writeSet"]) == ((None, None) if written else ({**AT.kept(), "fold": False}, 102))


def test_without_a_cluster_the_lock_ends_with_the_server(world: Cluster) -> None:
    where = site()
    world.site = world.context.site = where
    assert galera_stop.held_at(world.context, None, None) == {}  # type: ignore[arg-type]
    assert galera_stop.written_since(world.context, None, None) == ""


def programs(folder: Path, **texts: str) -> Path:
    """Stand-ins for programs of a server."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_first_node_may_start_the_cluster_by_its_own_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "grastate.dat").write_text(GRASTATE.format(uuid=UUID, seqno=7, safe=0))
    host: Any = LocalHost(programs=programs(tmp_path / "bin", galera_new_cluster=f"echo $* >{tmp_path}/started", systemctl="exit 1"))
    for _ in range(2):  # done already is done again in the same way
        galera.bootstrap(host, str(data), "mariadb")
        assert (data / "grastate.dat").read_text() == GRASTATE.format(uuid=UUID, seqno=7, safe=1)
        assert [path.name for path in data.iterdir()] == ["grastate.dat"]
        assert (tmp_path / "started").read_text() == "mariadb.service\n"


# What an old galera_new_cluster sets, and a newer one writes; each takes it back at its end, if it comes to that.
LEAVES = """
touch FOLDER/variable FOLDER/mariadb-wsrep-new-cluster FOLDER/other
kill -TERM $PPID; sleep 1
"""
SYSTEMD = """
case $1 in
  unset-environment) [ "$2" != _WSREP_NEW_CLUSTER ] || rm -f FOLDER/variable ;;
  show) echo "EnvironmentFiles=FOLDER/other (ignore_errors=yes)"; echo "EnvironmentFiles=FOLDER/mariadb-wsrep-new-cluster (ignore_errors=yes)" ;;
esac
"""


@pytest.mark.processes
@pytest.mark.parametrize("by", ["the start itself", "the next start"])
def test_a_start_as_the_first_node_that_was_cut_off_leaves_no_start_of_that_kind_behind(tmp_path: Path, by: str) -> None:
    texts = {"galera_new_cluster": LEAVES, "systemctl": SYSTEMD}
    bin_ = programs(tmp_path / "bin", **{name: text.replace("FOLDER", str(tmp_path)) for name, text in texts.items()})
    host: Any = LocalHost(programs=bin_)
    if by == "the start itself":
        with pytest.raises(CommandFailed):
            galera.bootstrap(host, str(tmp_path), "mariadb")
    else:  # its shell was killed
        for name in ("variable", "mariadb-wsrep-new-cluster", "other"):
            (tmp_path / name).touch()
        for _ in range(2):
            galera.forget_bootstrap(host, "mariadb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "other"]


def test_a_node_that_starts_as_a_cluster_of_its_own_is_stopped_again(world: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its wsrep_cluster_address names no other: a plain start of it is one of a first node."""
    stop(world)
    world.record.returning = "now"
    original_database.start(world.context)
    plain, asked = world.starts, vars(original_galera)["status"]

    def alone(server: str, unit: str) -> None:
        plain(server, unit)
        if server == "olddb3":
            world.members[server] = Member(103)

    def apart(context: Any, server: Any) -> GaleraStatus:
        found: GaleraStatus = asked(context, server)
        return replace(found, size=1, incoming=(server.address,)) if server.name == "olddb3" else replace(found, size=2, incoming=("both",))

    monkeypatch.setattr(world, "starts", alone)
    monkeypatch.setattr(original_galera, "status", apart)
    (missing,) = original_database.start_replica(world.context)
    assert "olddb3 runs as a cluster of its own next to olddb1" in missing and "wsrep_cluster_address" in missing
    assert world.down("olddb3") and sorted(world.running()) == ["olddb1", "olddb2"]


def test_a_source_that_starts_as_a_cluster_of_its_own_serves_nobody(world: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kill("olddb1")
    asked = vars(original_galera)["status"]

    def apart(context: Any, server: Any) -> GaleraStatus:
        found: GaleraStatus = asked(context, server)
        return replace(found, size=1, incoming=(server.address,)) if server.name == "olddb1" else replace(found, size=2, incoming=("both",))

    monkeypatch.setattr(original_galera, "status", apart)
    with pytest.raises(StepFailed, match="olddb1 runs as a cluster of its own next to olddb2, olddb3"):
        back(world)
    assert not world.units["olddb1", DATABASE]["active"] and sorted(world.running()) == ["olddb2", "olddb3"]


@pytest.mark.parametrize(("printed", "found"), [(f"WSREP: Recovered position: {UUID}:4711,0-1-9", 4711), ("InnoDB: gone", None)])
def test_a_node_that_died_is_asked_by_its_tables(tmp_path: Path, printed: str, found: int | None) -> None:
    asked = f'for word; do case $word in --log-error=*) echo "2026 0 [Note] {printed}" >"${{word#*=}}";; esac; done'
    host: Any = LocalHost(programs=programs(tmp_path / "bin", mariadbd=asked, chown="exit 0"))
    (tmp_path / "grastate.dat").write_text(GRASTATE.format(uuid=UUID, seqno=-1, safe=0))
    if found is None:
        with pytest.raises(StepFailed, match="its last write set is not known"):
            galera.recovered(host, str(tmp_path))
        return
    assert galera.recovered(host, str(tmp_path)) == SavedState(UUID, found, False)
    (tmp_path / "grastate.dat").write_text(GRASTATE.format(uuid=UUID, seqno=12, safe=1))
    assert galera.recovered(host, str(tmp_path)) == SavedState(UUID, 12, True), "one that ended in order says so itself"

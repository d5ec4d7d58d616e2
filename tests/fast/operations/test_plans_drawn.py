"""Each step's plan against what it does, on drawn clouds: nothing is done that the plan lacks, and nothing is planned that is not done."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.operations import (
    carried_settings,
    close_cut_work,
    frontends,
    ha_hold,
    let_users_out,
    original_locks,
    original_management,
    packet_filter,
    prove_user_access,
    router_minimum,
    served,
    user_access_setting,
)
from parallel_build.operations.actions import Action, carried_out, planned
from parallel_build.operations.start_management import ManagementStart
from parallel_build.steps import additional_management
from parallel_build.steps import original_management as original_management_step
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.base import Step
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.user_access import UserAccess
from tests.fast.operations.test_touched_servers import switched_cloud
from tests.fast.sites import VALUES
from tests.fast.window_world import DATABASE, Table, World

FORWARD: tuple[type[Step], ...] = (OriginalManagement, OriginalDatabase, HostSetting, FirstManagement, AdditionalManagement)
CALLED = {DATABASE: ("the database server",), USAGE: (USAGE, "usage and management"), MANAGEMENT: (MANAGEMENT, "usage and management")}
FORMER = "10.91.0.11"  # what `host` was
UNIT = re.compile(r"(mask|stop|unmask|start) (\S+) on (\S+)")
SET_UP, STARTED = "set up ", "the start ends"
# Actions of the world by their beginning, and what a line has to say that shows them.
SHOWN = {
    "lock ": "ACCOUNT LOCK", "end sessions": "KILL their sessions",
    "the schema upgrade ": "follow the", STARTED: "follow the start|prove cloudstack-management",
    "mark": "as worked on by users", "close cut work": "jobs that were cut off", "hold HA": "vm.ha.enabled",
    "carry settings": r"\(new.carry.settings\)", "lower the minimum": router_minimum.SETTING,
}  # fmt: skip
RECORD = "write down "  # what the window's record gets is in no plan but for its second copy
# Lines that announce no change: what is proved, waited for, read or noted, and what is left out or comes another time.
NO_CHANGE = re.compile(
    r"prove|wait|good only if|no usage server|a start that failed|on \S+: (note|look|log in to)|on \S+: a second copy of the window's record"
)
END = {"mask": "disable, stop and mask", "stop": "disable, stop and mask", "unmask": "unmask", "start": "start"}


def shows(line: str, action: str) -> bool:
    """Whether a line of a plan shows an action."""
    if found := UNIT.fullmatch(action):
        verb, unit, server = found.groups()
        where, _, what = line.partition(": ")
        return bool(re.search(rf"\b{server}\b", where)) and END[verb] in what and any(each in what for each in CALLED[unit])
    if action.startswith(SET_UP):
        return "cloudstack-setup-" in line and bool(re.search(rf"\b{action.removeprefix(SET_UP)}\b", line.partition(": ")[0]))
    words = [SHOWN[start] for start in SHOWN if action.startswith(start)]
    return any(re.search(each, line) for each in words) if words else action in line


def held_against(plan: Iterable[str], actions: list[str]) -> tuple[list[str], list[str]]:
    """What was done and is in no line, and the lines of which nothing was done."""
    lines = list(plan)
    done = [action for action in actions if not action.startswith(RECORD)]
    idle = [line for line in lines if not NO_CHANGE.match(line) and not any(shows(line, action) for action in done if action != STARTED)]
    return [action for action in done if not any(shows(line, action) for line in lines)], idle


def drawn(dice: random.Random) -> dict[str, Any]:
    """Sections of a configuration: how many servers, where usage runs, what else has to be written."""
    old = [{"name": f"oldms{n}", "address": f"10.91.0.1{n}", "usage": dice.random() < 0.5} for n in range(1, dice.randint(2, 4))]
    database: dict[str, Any] = {**VALUES["original"]["database"]}
    if dice.random() < 0.3:
        del database["replica"]
    if dice.random() < 0.3:
        database["others"] = ["billing"]
    original: dict[str, Any] = {"management": old, "database": database}
    if dice.random() < 0.3:
        original["usage"] = [{"name": "oldusage", "address": "10.91.0.19"}]
    new: dict[str, Any] = {"management": [{"name": f"newms{n}", "address": f"10.91.0.4{n}"} for n in range(1, dice.randint(2, 4))]}
    new |= {"loadBalancer": "10.91.0.49"} if dice.random() < 0.3 else {}
    new |= {"usage": False} if dice.random() < 0.2 else {}
    new |= {"carry": {"settings": [{"name": "a.setting", "value": "b"}]}} if dice.random() < 0.4 else {}
    found: dict[str, Any] = {"original": original, "new": new}
    if dice.random() < 0.4:
        found["agents"] = {"upgrade": {}} if dice.random() < 0.6 else {"method": "file"}
    return found | ({"routers": {"untilRenewed": dice.choice(["allow", "wait"])}} if dice.random() < 0.4 else {})


def cloud_of(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> World:
    """The original in service, and a window that has just opened."""
    world = switched_cloud(monkeypatch, **changes).world
    for server in world.site.configuration.original.management:
        world.old[server.name] = (MANAGEMENT, USAGE) if server.usage else (MANAGEMENT,)
        world.units.pop((server.name, USAGE), None)
    for machine in world.site.configuration.new.management:
        world.new[machine.name] = (MANAGEMENT, USAGE) if machine == world.site.configuration.usage_server else (MANAGEMENT,)
    for servers, active in ((world.old, True), (world.new, False)):
        for name, units in servers.items():
            for unit in units:
                world.units[name, unit] = {"active": active, "masked": not active, "enabled": active}
    world.others = {f"{each}@%" for each in world.site.configuration.original.database.others}
    world.record.facts, world.record.servers, world.record.switched = {"OriginalDatabase": {"folder": "/var/lib/mysql"}}, {}, None
    world.record.facts["DatabaseTransfer"] = {"copied": {"tables": 336}}
    world.record.steps += ["Agents"]
    return world


def watched(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Have everything that these steps do besides units be an action of the world, and what they prove hold."""

    def acts(what: str, given: Any = None) -> Callable[..., Any]:
        def act(*_: Any, **__: Any) -> Any:
            world.act(what)
            return given

        return act

    def execute(self: Table, statement: str, arguments: Any = None) -> int:
        value = [each for each in arguments or () if each]
        world.act(statement.replace("%s", f"'{value[0]}'") if value else statement)
        world.copy.host = True
        return 1

    def value(self: Table, statement: str, arguments: Any = None) -> Any:
        if "name = 'host'" in statement:
            written = [action for action in world.actions if "cloud.configuration" in action and " host" not in action]
            return written[-1].split("'")[1] if written else FORMER
        return {"@@datadir": "/var/lib/mysql", "SELECT 1": 1}.get(
            next((each for each in ("@@datadir", "SELECT 1") if each in statement), ""), 0
        )

    monkeypatch.setattr(Table, "execute", execute)
    monkeypatch.setattr(Table, "value", value)
    for module, name, what, given in (
        (close_cut_work, "close", "close cut work", {}), (ha_hold, "hold", "hold HA", None), (carried_settings, "write", "carry settings", ["a"]),
        (router_minimum, "lower", "lower the minimum", {"1": "4.20"}), (served, "mark", "mark", None),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, acts(what, given))
    monkeypatch.setattr(ManagementStart, "_prepare", lambda self: world.act(f"{SET_UP}{self.machine.name}"))
    monkeypatch.setattr(original_locks, "_users", lambda context: {"cloud"})
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    monkeypatch.setattr(original_management_step, "prove_at_rest", lambda context, lost: {})
    monkeypatch.setattr(original_management_step, "keep_users_out", lambda context: None)
    monkeypatch.setattr(additional_management, "ensure_running", lambda context: None)
    monkeypatch.setattr(additional_management, "present_fingerprint", lambda context: "f")


@pytest.mark.parametrize("seed", range(24))
def test_on_drawn_clouds_steps_do_what_their_plans_show_and_all_of_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = drawn(random.Random(seed))
    world = cloud_of(monkeypatch, changes)
    watched(monkeypatch, world)
    for kind in FORWARD:
        step, plan = kind(), kind().plan(world.site.configuration)
        world.actions.clear()
        step.apply(world.context)
        actions = [action.replace(f"{FORMER}'", "[the original's addresses]'") for action in world.actions]
        assert held_against(plan, actions) == ([], []), (kind.type, changes, plan, actions)
    assert world.wrong == [] and world.serving
    for kind in (AdditionalManagement, FirstManagement):
        world.actions.clear()
        kind().revert(world.context)
        stopped = [action for action in world.actions if UNIT.fullmatch(action)]
        assert held_against(kind().undo(world.site.configuration), stopped)[0] == [], (kind.type, changes)


def test_a_line_too_many_and_an_action_too_many_are_seen() -> None:
    plan = [f"on newms1: unmask, start and prove {MANAGEMENT}", "prove: all of it", "on newms1: remove everything"]
    assert held_against(plan[:2], [f"start {MANAGEMENT} on newms1", "write down facts"]) == ([], [])
    assert held_against(plan, [f"unmask {MANAGEMENT} on newms1"]) == ([], [plan[2]])
    assert held_against(plan[:2], [f"start {MANAGEMENT} on newms1", f"start {MANAGEMENT} on newms2"])[0] == [
        f"start {MANAGEMENT} on newms2"
    ]


DOOR = {"kind": "haproxy", "address": "10.91.0.5", "close": ["shut", "it"], "toNew": ["lead", "on"], "toOriginal": ["lead", "back"]}
METHODS: dict[str, dict[str, Any]] = {
    "firewall": {}, "cidr": {}, "command": {"close": ["balancer", "close"], "open": ["balancer", "open"]}, "frontend": {},
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("door", [False, True])
def test_users_are_let_out_as_planned(method: str, door: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    access = {"method": method, "administrators": ["10.91.0.1/32"], **METHODS[method]}
    doors = {"original": {"frontend": [DOOR]}} if door or method == "frontend" else {}
    world = switched_cloud(monkeypatch, window={"userAccess": access}, **doors).world
    plan, did = UserAccess().plan(world.site.configuration), list[str]()

    def did_so(words: Callable[..., str], given: Any = None) -> Callable[..., Any]:
        def act(*arguments: Any, **_: Any) -> Any:
            did.append(words(*arguments))
            return given

        return act

    monkeypatch.setattr(let_users_out, "store", lambda context: _Facts())
    monkeypatch.setattr(let_users_out, "asked", lambda context, cloud: cloud)
    monkeypatch.setattr(frontends, "close", did_so(lambda context, records, before: "shut it" if doors else "nothing"))
    monkeypatch.setattr(let_users_out, "run_local", did_so(lambda context, words, timeout: " ".join(words)))
    monkeypatch.setattr(user_access_setting, "close", did_so(lambda context, cloud, allowed: f"value={','.join(allowed)} on the original"))
    monkeypatch.setattr(
        packet_filter, "close", did_so(lambda host, barrier: f"refuse TCP {', '.join(map(str, barrier.ports))}|{host.name}")
    )
    for name in ("users_are_in_before", "users_are_out", "administrators_would_stay"):
        monkeypatch.setattr(prove_user_access, name, did_so(lambda *_: "nothing", []))
    UserAccess().apply(world.context)
    done = [each for each in did if each != "nothing"]
    changing = [line for line in plan if not re.match(r"prove|who comes past|users' calls|those to TCP", line)]
    assert [each for each in done if not any(all(word in line for word in each.split("|")) for line in changing)] == []
    assert [line for line in changing if not any(all(word in line for word in each.split("|")) for each in done)] == []
    assert bool(done) == bool(changing)


class _Facts:
    """A window's record with nothing in it yet."""

    def facts(self, step: str) -> dict[str, Any]:
        return {}

    def note(self, facts: Any, *, forward: bool = False, servers: Any = ()) -> None:
        """Kept nowhere."""


def test_an_action_without_lines_is_not_done() -> None:
    done: list[tuple[str, int]] = []

    def do(name: str) -> Callable[[int], str]:
        def act(given: int) -> str:
            done.append((name, given))
            return name

        return act

    actions = [Action(["first", "and more"], do("a")), Action([], do("b")), Action(["last"], do("c"))]
    assert planned(actions) == ["first", "and more", "last"]
    assert carried_out(actions, 7) == ["a", "c"] and done == [("a", 7), ("c", 7)]

"""What a plan says is what is done: steps run on the world in memory, and each of their actions on a unit or a row is held against the plan's lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from parallel_build.cloudstack import services, templates
from parallel_build.cloudstack.services import FENCE, MANAGEMENT, USAGE
from parallel_build.configuration import Template
from parallel_build.operations import original_management, original_numbers, users_in
from parallel_build.project import PROJECT
from parallel_build.steps import acceptance as acceptance_step
from parallel_build.steps import load_all
from parallel_build.steps import original_management as original_management_step
from parallel_build.steps.acceptance import Acceptance
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.base import REGISTRY, Step
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.system_vm_template import SystemVmTemplate
from tests.change_review import configuration
from tests.fast.operations.test_touched_servers import Cloud, cloud, running
from tests.fast.sites import VALUES, site
from tests.fast.window_world import DATABASE, Table, World, arrange

__all__ = ["cloud"]
UNITS = {"the database server": (DATABASE,), "usage and management": (USAGE, MANAGEMENT), USAGE: (USAGE,), MANAGEMENT: (MANAGEMENT,)}
LINE = re.compile(
    rf"^on (?P<servers>[\w, ]+?)(?: \([\d.]+\))?(?:, at the same time)?: (?:systemctl )?(?P<verbs>disable, stop and mask|unmask(?:, enable)? and start) "
    rf"(?P<unit>{'|'.join(UNITS)})"
)


def named(lines: Iterable[str], verb: str) -> list[tuple[str, str]]:
    """Server and unit of each line that says so, in order."""
    found = [match for line in lines if (match := LINE.match(line)) and verb in match["verbs"]]
    return [(server, unit) for match in found for server in match["servers"].split(", ") for unit in UNITS[match["unit"]]]


def done(world: World, verb: str) -> list[tuple[str, str]]:
    """The same of what was done."""
    actions = [re.fullmatch(rf"{verb} (\S+) on (\S+)", action) for action in world.actions]
    return [(action[2], action[1]) for action in actions if action]


@pytest.fixture
def stopping(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> World:
    """The original in service, and a window that has just opened."""
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    monkeypatch.setattr(original_management_step, "prove_at_rest", lambda context, lost: {})
    return running(cloud)


@pytest.mark.parametrize("step", [OriginalManagement(), OriginalDatabase()], ids=lambda step: step.type)
def test_the_originals_units_are_stopped_as_planned_and_in_that_order(stopping: World, step: Step) -> None:
    planned = named(step.plan(stopping.site.configuration), "stop")
    assert planned
    stopping.actions.clear()
    step.apply(stopping.context)
    assert done(stopping, "stop") == done(stopping, "mask") == planned
    assert done(stopping, "start") == done(stopping, "unmask") == []
    stopping.actions.clear()
    step.apply(stopping.context)
    assert done(stopping, "stop") == done(stopping, "mask") == [], "what is done already is not done again"


def test_the_originals_units_are_started_as_the_undos_say(stopping: World) -> None:
    OriginalManagement().apply(stopping.context)
    OriginalDatabase().apply(stopping.context)
    for step in (OriginalDatabase(), OriginalManagement()):
        planned = named(step.undo(stopping.site.configuration), "start")
        assert planned
        stopping.actions.clear()
        step.revert(stopping.context)
        started = done(stopping, "start")
        # Management servers are started side by side, and usage by Window's undo: no unit beyond those that the plan names.
        assert started and set(started) <= set(planned) and len(started) == len(set(started))
        assert {unit for _, unit in planned} - {unit for _, unit in started} <= {USAGE}


@pytest.mark.parametrize("step", [FirstManagement(), AdditionalManagement(), Acceptance()], ids=lambda step: step.type)
def test_the_new_sides_units_are_fenced_as_the_undos_say(cloud: Cloud, step: Step) -> None:
    world = cloud.world
    planned = named(step.undo(world.site.configuration), "stop")
    assert planned
    world.actions.clear()
    step.revert(world.context)
    assert set(done(world, "stop")) == {each for each in planned if each in world.units} and done(world, "start") == []


def test_rows_are_written_as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[str] = []

    def execute(self: Table, statement: str, arguments: Any = None) -> int:
        executed.append(statement.replace("%s", repr(arguments[0])) if arguments else statement)
        self.world.copy.host = True
        return 1

    arrange(monkeypatch)
    world = World()
    monkeypatch.setattr(Table, "execute", execute)
    monkeypatch.setattr(Table, "value", lambda self, statement, arguments=None: 0 if "COUNT" in statement else _host(executed))
    step = HostSetting()
    plan = step.plan(world.site.configuration)
    step.apply(world.context)
    shown = [line.replace("[the original's addresses]", "10.91.0.11") for line in plan]
    writes = [each for each in executed if each.startswith("UPDATE")]
    assert len(writes) >= 2
    assert [each for each in writes if not any(each in line for line in shown)] == []


def _host(executed: list[str]) -> str:
    written = [found for each in executed if (found := re.search(r"SET value = '([^']*)' WHERE name = 'host'", each))]
    return written[-1][1] if written else "10.91.0.11"


def test_commands_of_the_acceptance_are_run_as_planned(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(acceptance_step, "run_local", lambda context, words, timeout: ran.append(" ".join(words)))
    monkeypatch.setattr(acceptance_step, "ensure_running", lambda context: None)
    monkeypatch.setattr(users_in, "admit", lambda context, point: None)
    monkeypatch.setattr(users_in, "are_in", lambda context: False)
    monkeypatch.setattr(users_in, "settle", lambda context: "accepted")
    monkeypatch.setattr(original_numbers, "note", lambda context: None)
    cloud.configure(acceptance={"commands": [["check", "--all"], ["deploy", "vm"]]})
    step = Acceptance()
    plan = step.plan(cloud.world.site.configuration)
    step.apply(cloud.world.context)
    assert [f"run here: {words}" for words in ran] == [line for line in plan if line.startswith("run here: ")] != []


def test_a_template_is_registered_with_what_the_plan_shows() -> None:
    configuration, template = site().configuration, Template.model_validate(VALUES["templates"][0])
    asked: dict[str, str] = {}

    class Api:
        url = configuration.original.api.url

        def list(self, command: str, **_: Any) -> list[dict[str, str]]:
            return [{"id": "7", "description": template.os_type, "name": template.os_type}]

        def call(self, command: str, **parameters: str) -> dict[str, Any]:
            assert command == "registerTemplate"
            asked.update(parameters)
            return {"template": [{"id": "t"}]}

    templates.register(Api(), template, {"z": "zone"}, everywhere=False, version=configuration.original.version)  # type: ignore[arg-type]
    line = SystemVmTemplate(VALUES["templates"][0]).plan(configuration)[0]
    assert asked.keys() > {"ispublic", "isrouting", "url"}
    for key, value in asked.items():
        assert f" {key}={value}" in line or (key in ("zoneid", "ostypeid") and f" {key}=[" in line), key


def test_the_words_of_a_plan_are_the_actions_of_the_services() -> None:
    assert services.in_words(FENCE) == "disable, stop and mask"
    assert services.in_words(("unmask", "start")) == "unmask and start" and services.in_words(("start",)) == "start"
    assert all(f"systemctl {action} " in services.COMMANDS[action] for action in FENCE)


RUN = json.loads((PROJECT / "tests/browser/lab_run.json").read_text())["journal"]
INTENTS = {(str(each["step"]), str(each["action"])) for each in RUN if each["kind"] == "intent"}
SHOWN_AS = {
    "extend host": "updateConfiguration name=host", "register template": "registerTemplate ", "open the window": "lock the cloud for this stack",
    "users out": "refuse TCP", "drain the original": "wait until no job runs", "stop the original's management": "stop and mask cloudstack-management",
    "import into the new source": "copy cloud, cloud_usage", "stop the original's databases": "stop and mask the database server",
    "write host": "WHERE name = 'host'", "hypervisor step": "cloudstack-agent=4.22.1.0",
    "cloudstack-setup-databases, cloudstack-setup-management": "cloudstack-setup-databases", "start": "unmask, start",
    "mark the new databases as switched to": "worked on by users",
    "renew system VMs": "destroySystemVm", "users in on the new side": "users in on the new side",
}  # fmt: skip
"""What the journal calls an action, and the plan."""
SHOWN_BY = {
    "apt-get install": "install",
    "systemctl restart": "restart",
    "write /etc/apt/preferences.d": "keep cloudstack packages",
    "write /etc/apt": "take packages",
}


NAMES = re.compile(r"/[a-z][\w./-]+|CREATE DATABASE \w+|CREATE USER|GRANT [A-Z]+|REPLICATION SLAVE|'\w+'@'[\w.]+'")
"""What a journal's line and a plan's have in common: paths, statements, accounts."""


@pytest.mark.parametrize(("name", "action"), sorted(INTENTS))
def test_what_the_lab_did_is_in_its_plans(name: str, action: str) -> None:
    """The journal of a whole switch of the lab, action by action."""
    load_all()
    kind, _, parameter = name.partition("-")
    given = VALUES["templates"][0] if kind == "SystemVmTemplate" else {"name": parameter}
    plan = REGISTRY[kind](given).plan(configuration())
    server, _, what = action.rpartition(": ")
    lines = [line for line in plan if re.search(rf"\b{server}\b", line)] if server else plan
    words = [shown for start, shown in SHOWN_BY.items() if what.startswith(start)]
    words += [] if what.startswith("write /etc/apt") else NAMES.findall(what)
    words += [] if server else [SHOWN_AS[what]]
    for word in words:
        assert any(word in line for line in lines), (word, lines)
    assert words or server

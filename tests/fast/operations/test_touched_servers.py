"""What a window has touched comes from its record: a server that was taken out of the stack file is still fenced, proved down and put back as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import api, last_start
from parallel_build.cloudstack.api import ApiRefused
from parallel_build.cloudstack.endpoint import ApiUnavailable, Endpoint
from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import NewMachine, load
from parallel_build.errors import (
    Cancelled,
    CommandFailed,
    ConnectionFailed,
    Fenced,
    GuardFailed,
    ParallelBuildError,
    RollbackIncomplete,
    StepFailed,
)
from parallel_build.machines import power
from parallel_build.operations import (
    confirmed_down,
    context_helpers,
    created_objects,
    fence_new_side,
    forensics,
    hosts_back,
    hypervisor_commands,
    left_guests,
    new_strangers,
    original_management,
    original_numbers,
    packet_filter,
    prove_original_down,
    rollback_window,
    serve_original,
    served,
    start_gate,
    transfer,
    user_access_setting,
    user_firewall,
)
from parallel_build.operations.known_servers import touch
from parallel_build.operations.new_objects import Created
from parallel_build.operations.original_management import remember_units
from parallel_build.operations.start_management import ManagementStart
from parallel_build.records.touched import MANAGEMENT as MANAGEMENT_ROLE
from parallel_build.records.touched import NEW as NEW_SIDE
from parallel_build.records.touched import START, STOP, Found, TouchedServer
from parallel_build.records.window import WindowRecord
from parallel_build.remote.clock import HostClock
from parallel_build.remote.openssh import Result
from parallel_build.remote.sql import Refused
from parallel_build.resolved_stack import Site
from parallel_build.steps import acceptance, additional_management, switched, window
from parallel_build.steps import original_management as original_management_step
from parallel_build.steps.acceptance import Acceptance
from parallel_build.steps.additional_management import AdditionalManagement
from parallel_build.steps.first_management import FirstManagement
from parallel_build.steps.host_setting import HostSetting
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.original_management import OriginalManagement
from parallel_build.steps.user_access import UserAccess
from parallel_build.steps.window import Window
from tests.fast import window_world
from tests.fast.sites import site, values
from tests.fast.window_world import ADDRESSES, DATABASE, OLD, Machine, Records, Units, World

REALLY_ANSWERS = prove_original_down.answers


class Rows:
    """The new database's rows of management servers.

    Attributes:
        beating, still: addresses of servers whose row is written, or left by a crash.
        error: what the database says instead.
    """

    def __init__(self) -> None:
        self.beating: list[str] = []
        self.still: list[str] = []
        self.error: ParallelBuildError | None = None
        self.reads = 0

    def rows(self, statement: str) -> list[dict[str, Any]]:
        assert "mshost" in statement
        if self.error:
            raise self.error
        self.reads += 1
        beating = [{"id": number, "name": f"ms-{ip}", "service_ip": ip, "beat": str(self.reads)} for number, ip in enumerate(self.beating)]
        still = [{"id": -1 - number, "name": f"ms-{ip}", "service_ip": ip, "beat": f"0 {number}"} for number, ip in enumerate(self.still)]
        return [*beating, *still]


class Cloud:
    """A world whose new side serves, and everything that its rollback touches.

    Attributes:
        does_not_start: (server, unit) whose start fails.
        fails_for_good: servers of the original whose web application fails.
        answers_as: version by server, where it is not the original's.
        users: servers whose barrier was taken away.
    """

    def __init__(self, **changes: Any) -> None:
        self.world = World(**changes)
        self.does_not_start: set[tuple[str, str]] = set()
        self.fails_for_good: set[str] = set()
        self.answers_as: dict[str, str] = {}
        self.does_not_open: set[str] = set()
        self.users: list[str] = []
        self.rows = Rows()
        world, record = self.world, self.world.record
        for server, units in world.new.items():
            for unit in units:
                world.units[server, unit] = {"active": True, "masked": False}
        record.switched, record.switched_clock = "then", HostClock("boot", 1.0, 1.0).__dict__
        record.facts["FirstManagement"] = {"began": 1.0, "mark": [1, 2], "good": {"seconds": 1}}
        for name in [*world.new][1:]:
            record.facts[f"AdditionalManagement/{name}"] = {"began": 1.0, "mark": [1, 2], "good": {"seconds": 1}}
        started = [touch(world.context, machine, START) for machine in world.site.configuration.new.management]
        record.servers = {server.name: server for server in started}

    def configure(self, **changes: Any) -> None:
        """What the operator has made of the stack file since."""
        self.world.site = dataclasses.replace(self.world.site, configuration=load(values(**changes), "test"))
        self.world.context.site = self.world.site

    @property
    def serving(self) -> tuple[list[str], list[str]]:
        """Names of the management servers that run: the original's, the new ones."""
        runs = [name for (name, unit), state in self.world.units.items() if unit == MANAGEMENT and state["active"]]
        return [name for name in runs if name in self.world.old], [name for name in runs if name not in self.world.old]

    def name_at(self, address: str) -> str:
        """The management server at an address."""
        configuration = self.world.site.configuration
        servers = (*configuration.original.management, *configuration.new.management)
        return next((server.name for server in servers if server.address == address), ADDRESSES.get(address, address))

    def status(self, where: Endpoint) -> int | None:
        name = self.name_at(where.host)
        if name in self.fails_for_good:
            return 503
        runs = self.world.units.get((name, MANAGEMENT), {}).get("active") and name not in self.world.lost
        return 401 if runs else None


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    return switched_cloud(monkeypatch)


def switched_cloud(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Cloud:
    """A cloud that was switched, with sections of its configuration changed."""
    window_world.arrange(monkeypatch)
    made = Cloud(**changes)

    def of(context: Any) -> World:
        found: World = context.connections
        return found

    for module in (
        acceptance, additional_management, context_helpers, fence_new_side, forensics, hypervisor_commands, left_guests, original_management_step,
        original_numbers, rollback_window, serve_original, switched, transfer, user_access_setting, user_firewall, window,
    ):  # fmt: skip
        if hasattr(module, "store"):
            monkeypatch.setattr(module, "store", lambda context: Records(of(context)))
        if hasattr(module, "Services"):
            monkeypatch.setattr(module, "Services", Units)
        if hasattr(module, "read_host_clock"):
            monkeypatch.setattr(module, "read_host_clock", lambda host: HostClock("boot", 2.0, 2.0))
    monkeypatch.setattr(World, "ready", {}, raising=False)
    monkeypatch.setattr(start_gate, "shut", lambda host, record: Units(host).state(MANAGEMENT) and None)
    monkeypatch.setattr(switched, "claim", lambda context: None)
    monkeypatch.setattr(new_strangers, "session", lambda host, **_: contextlib.nullcontext(made.rows))
    monkeypatch.setattr(original_numbers, "move_past", lambda context: None)
    for module, names in (
        (hypervisor_commands, ("undo",)),
        (left_guests, ("look",)),
        (created_objects, ("keep",)),
        (serve_original, ("redirect_agents",)),
        (served, ("give_up",)),
        (forensics, ("collect_once",)),
        (transfer, ("empty",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda context: None)
    for name in ("noted", "report"):
        monkeypatch.setattr(left_guests, name, lambda context: [])
    monkeypatch.setattr(hypervisor_commands, "left", lambda context: [])
    for name in ("take_agents", "missing"):
        monkeypatch.setattr(hosts_back, name, lambda context: [])
    created = type("Created", (), {"items": {}, "unknown": "", "in_words": lambda self: "nothing"})()
    monkeypatch.setattr(window, "since_window", lambda context, host: created)
    monkeypatch.setattr(rollback_window, "since_window", lambda context, host: created)
    monkeypatch.setattr(api, "status", made.status)
    monkeypatch.setattr(api, "answers", lambda where: made.status(where) == 401)
    monkeypatch.setattr(last_start, "why", lambda host: ("failed", type("Cause", (), {"cause": "a table is missing"})()))
    monkeypatch.setattr(
        original_management, "_version", lambda cloud: made.answers_as.get(made.name_at(cloud.url.split("/")[2].split(":")[0]), "4.20.3.0")
    )

    def opened(host: Machine) -> None:
        if host.name in made.does_not_open:
            raise StepFailed(f"{host.name}: users are still held out", "", "")
        Units(host).state(MANAGEMENT)
        made.users.append(host.name)

    monkeypatch.setattr(packet_filter, "open_again", opened)
    monkeypatch.setattr(packet_filter, "close", lambda host, barrier: "")
    plain = Units.start

    def start(self: Units, unit: str, timeout: float = 1) -> bool:
        if (self.host.name, unit) in made.does_not_start:
            raise CommandFailed(f"{self.host.name}: systemctl start {unit} ended with exit code 1", "No space left on device", "")
        return plain(self, unit)

    monkeypatch.setattr(Units, "start", start)
    monkeypatch.setattr(window_world.Journal, "keep", lambda self, name, evidence: None, raising=False)
    monkeypatch.setattr(window_world.Journal, "evidence", lambda self, name: None, raising=False)
    return made


UNDONE = (Acceptance, AdditionalManagement, FirstManagement, HostSetting, OriginalDatabase, OriginalManagement, UserAccess, Window)


def back(cloud: Cloud) -> None:
    """`back`, ahead of the state."""
    rollback_window.check_allowed(cloud.world.context)
    serve_original.serve_at_once(cloud.world.context)


def undo(cloud: Cloud) -> None:
    """The undos as the engine asks for them."""
    for step in UNDONE:
        undone = step()
        undone.before_revert(cloud.world.context)
        undone.revert(cloud.world.context)


WAYS = pytest.mark.parametrize("way", [back, undo], ids=["back", "pulumi"])


@WAYS
def test_a_server_that_was_taken_out_of_the_configuration_is_fenced(cloud: Cloud, way: Any) -> None:
    cloud.configure(new={"management": [{"name": "newms1", "address": "10.91.0.41"}]})
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])
    assert cloud.world.units["newms2", MANAGEMENT]["masked"]


@WAYS
def test_one_that_can_not_be_reached_is_fenced_at_its_database_and_named_until_it_is_down(cloud: Cloud, way: Any) -> None:
    cloud.configure(new={"management": [{"name": "newms1", "address": "10.91.0.41"}]})
    cloud.world.lost.add("newms2")
    if way is back:
        way(cloud)
    else:
        with pytest.raises(
            RollbackIncomplete, match="newms2 of the new side could not be proved down, and is fenced at its database alone"
        ):
            way(cloud)
    assert cloud.serving[0] == ["oldms1", "oldms2"]
    assert (cloud.world.closed, cloud.world.wrong, cloud.world.record.closed) == (True, [], None)
    assert cloud.world.record.facts["CutOff"] == {"servers": {"newms2": "10.91.0.42"}}
    cloud.configure(
        new={"management": [{"name": "newms1", "address": "10.91.0.41"}]},
        window={"userAccess": values()["window"]["userAccess"], "confirmedDown": ["newms2"]},
    )
    undo(cloud)
    assert cloud.serving[0] == ["oldms1", "oldms2"]
    assert cloud.world.record.closed
    assert cloud.world.closing.accounts == {"cloud@10.91.0.41": False, "cloud@10.91.0.42": False, "left@%": True}, "as they were found"


@WAYS
def test_a_new_side_that_can_not_be_reached_at_all_is_named_and_its_own_command_lets_the_rollback_continue(cloud: Cloud, way: Any) -> None:
    cloud.world.lost |= {"newms2", "newdb1"}
    with pytest.raises(RollbackIncomplete, match=r"newdb1 \(10\.91\.0\.31\) can't be fenced: the new side may still write") as caught:
        way(cloud)
    assert cloud.serving[0] == []
    command = caught.value.remedy.split("confirm it: ")[1].split("; then")[0]
    assert command == "pulumi config set --path 'window.confirmedDown[0]' newdb1 --stack test"
    cloud.configure(window={"userAccess": values()["window"]["userAccess"], "confirmedDown": ["newdb1", "newms2"]})
    way(cloud)
    assert cloud.serving[0] == ["oldms1", "oldms2"]


@WAYS
def test_a_recorded_server_with_another_address_is_refused_before_anything_is_changed(cloud: Cloud, way: Any) -> None:
    cloud.configure(new={"management": [{"name": "newms1", "address": "10.91.0.41"}, {"name": "newms2", "address": "10.91.0.49"}]})
    with pytest.raises(GuardFailed, match=r"newms2 has the address 10\.91\.0\.49.*had 10\.91\.0\.42"):
        way(cloud)
    assert cloud.world.actions == [] and cloud.serving == ([], ["newms1", "newms2"])


@WAYS
def test_a_record_of_an_earlier_version_that_has_no_address_is_refused_by_name(cloud: Cloud, way: Any) -> None:
    cloud.world.record.servers, cloud.world.record.version = {}, 2
    cloud.configure(new={"management": [{"name": "newms1", "address": "10.91.0.41"}]})
    with pytest.raises(GuardFailed, match="newms2 was started in this window as new management server; and not configured any more"):
        way(cloud)
    assert cloud.world.actions == [] and cloud.serving == ([], ["newms1", "newms2"])


@WAYS
@pytest.mark.parametrize("gone", ["oldms2", "olddb2"])
def test_nor_is_an_original_server_that_it_has_stopped_passed_over(cloud: Cloud, way: Any, gone: str) -> None:
    cloud.world.record.servers, cloud.world.record.version = {}, 2
    cloud.world.record.facts["OriginalManagement"] = {"enabled": {f"oldms1/{MANAGEMENT}": True, f"oldms2/{MANAGEMENT}": True}}
    original = values()["original"]
    if gone == "oldms2":
        cloud.configure(original={"management": original["management"][:1]})
    else:
        cloud.configure(original={"database": {"source": original["database"]["source"]}})
    with pytest.raises(GuardFailed, match=f"{gone} of the original was stopped in this window; and not configured any more"):
        way(cloud)
    assert cloud.world.actions == [] and cloud.serving == ([], ["newms1", "newms2"])
    with pytest.raises(StepFailed, match=f"{gone} of the original was stopped"):
        prove_original_down.prove(cloud.world.context)


@WAYS
def test_a_record_of_an_earlier_version_is_rolled_back(cloud: Cloud, way: Any) -> None:
    cloud.world.record.servers, cloud.world.record.version = {}, 2
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


@WAYS
def test_a_new_server_that_nobody_knows_is_refused_by_name_before_anything_is_changed(cloud: Cloud, way: Any) -> None:
    cloud.rows.beating = ["10.91.0.41", "10.91.0.99"]
    with pytest.raises(GuardFailed, match=r"does not know work on newdb1: ms-10\.91\.0\.99 \(10\.91\.0\.99\)\."):
        way(cloud)
    assert cloud.world.actions == [] and cloud.serving == ([], ["newms1", "newms2"])
    cloud.rows.beating, cloud.rows.still = ["10.91.0.41"], ["10.91.0.99"]
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], []), "a row that a crash has left stands still"


@WAYS
def test_the_originals_own_rows_that_replication_brings_are_nobodys_work(cloud: Cloud, way: Any) -> None:
    cloud.configure(transfer={"method": "replicate"})
    cloud.rows.beating = ["10.91.0.11", "10.91.0.41"]
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


@WAYS
@pytest.mark.parametrize("address", ["127.0.0.1", "198.51.100.11"])
def test_nobody_works_on_a_database_that_still_follows_the_original(cloud: Cloud, way: Any, address: str) -> None:
    """The original's rows move there, at whatever address its servers give: 127.0.0.1 of a set-up by a guide, or that of another network card."""
    cloud.configure(transfer={"method": "replicate"})
    cloud.world.record.facts["DatabaseTransfer"] = {}
    cloud.rows.beating = [address]
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


@WAYS
def test_rows_of_one_address_that_crashes_have_left_stand_still(cloud: Cloud, way: Any) -> None:
    cloud.rows.still = ["127.0.0.1", "127.0.0.1"]
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


@WAYS
def test_one_that_nobody_knows_and_that_comes_during_the_rollback_keeps_the_original_down(cloud: Cloud, way: Any) -> None:
    cloud.world.record.returning = "now"
    cloud.rows.beating = ["10.91.0.99"]
    with pytest.raises(RollbackIncomplete, match=r"10\.91\.0\.99"):
        way(cloud)
    assert cloud.serving == ([], [])


@WAYS
def test_a_new_database_that_can_not_be_asked_keeps_nobody_from_going_back(cloud: Cloud, way: Any) -> None:
    cloud.rows.error = Refused("newdb1: the database server refused: SELECT", "(1932, engine)", "", 1932)
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


def test_the_original_is_down_only_with_the_servers_that_were_stopped_and_are_not_configured_any_more(cloud: Cloud) -> None:
    context, oldms2 = cloud.world.context, cloud.world.site.configuration.original.management[1]
    olddb2 = cloud.world.site.configuration.original.database.replica
    assert olddb2 is not None
    cloud.world.record.servers |= {
        "oldms2": touch(context, oldms2, STOP, units={MANAGEMENT: Found()}),
        "olddb2": touch(context, olddb2, STOP, units={DATABASE: Found()}),
    }
    original = {**values()["original"], "management": values()["original"]["management"][:1]}
    original["database"] = {"source": original["database"]["source"]}
    cloud.configure(original={"management": original["management"], "database": original["database"]})
    prove_original_down.prove(cloud.world.context)
    for server, unit in (("oldms2", MANAGEMENT), ("olddb2", DATABASE)):
        cloud.world.units[server, unit]["active"] = True
        with pytest.raises(StepFailed, match=f"{unit} on {server} runs"):
            prove_original_down.prove(cloud.world.context)
        cloud.world.units[server, unit]["active"] = False


@WAYS
def test_an_original_server_that_is_not_configured_any_more_comes_back(cloud: Cloud, way: Any) -> None:
    context, oldms2 = cloud.world.context, cloud.world.site.configuration.original.management[1]
    cloud.world.record.servers["oldms2"] = touch(context, oldms2, STOP, units={MANAGEMENT: Found()})
    cloud.configure(original={"management": values()["original"]["management"][:1]})
    way(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])
    assert "oldms2" in cloud.users


# never started


@WAYS
@pytest.mark.parametrize("asked", ["its API", "its ports"])
def test_never_started_counts_only_while_nothing_answers(cloud: Cloud, way: Any, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """newms1 was started by hand at a hold point, and its SSH is lost."""
    cloud.world.record.facts = {}
    cloud.world.record.servers = {}
    cloud.world.lost |= {"newms1", "newdb1"}
    if asked == "its API":
        monkeypatch.setattr(api, "answers", lambda where: where.host == "10.91.0.41")
    else:
        monkeypatch.setattr(prove_original_down, "answers", lambda context, server, ports: server.name == "newms1")
    with pytest.raises(RollbackIncomplete, match=r"newms1 \(10\.91\.0\.41\) can't be fenced, and still answers"):
        way(cloud)
    assert cloud.serving[0] == []


def test_one_that_answers_and_was_never_started_loses_its_power(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.world.record.facts, cloud.world.record.servers = {}, {}
    cloud.world.lost.add("newms1")
    cut: list[str] = []

    def off(site: Site, machine: NewMachine) -> str:
        cut.append(machine.name)
        return "virsh destroy"

    monkeypatch.setattr(power, "cut", off)
    monkeypatch.setattr(api, "answers", lambda where: where.host == "10.91.0.41")
    back(cloud)
    assert cut == ["newms1"] and cloud.serving[0] == ["oldms1", "oldms2"]


def test_a_unit_that_does_not_stop_is_not_taken_for_one_that_was_never_started_or_confirmed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.world.record.facts, cloud.world.record.servers = {}, {}
    cloud.configure(window={"userAccess": values()["window"]["userAccess"], "confirmedDown": ["newms2"]})
    plain = Units.stop_and_fence

    def fence(self: Units, unit: str, timeout: float = 1, *, patience: float | None = None) -> bool:
        if (self.host.name, unit) == ("newms2", MANAGEMENT):
            raise StepFailed("newms2: cloudstack-management still runs after 180 s of stopping", "", "")
        return plain(self, unit)

    monkeypatch.setattr(Units, "stop_and_fence", fence)
    cloud.world.lost.add("newdb1")
    with pytest.raises(RollbackIncomplete, match=r"newms2 \(10\.91\.0\.42\) can't be fenced, and still runs"):
        back(cloud)
    assert cloud.serving[0] == []


@pytest.mark.parametrize(("codes", "found"), [([1, 1, 124], False), ([1, 0, 1], True), ([127, 127, 127], None), ([], None)])
def test_silence_is_only_what_somebody_could_ask_for(codes: list[int], found: bool | None) -> None:
    """127: a server without bash; no codes: no other server can be reached."""

    class Asker:
        def __init__(self) -> None:
            self.left = list(codes)

        def run(self, words: list[str], **_: Any) -> Result:
            if not codes:
                raise ConnectionFailed("can't be reached", "", "")
            return Result(self.left.pop(0), "", "")

    here = World().context
    where = dataclasses.replace(here, connections=type("Connections", (), {"host": lambda self, server: Asker()})())
    server = where.configuration.new.management[0]
    if found is None:
        with pytest.raises(StepFailed, match=r"whether newms1 \(10\.91\.0\.41\) answers can't be asked"):
            REALLY_ANSWERS(where, server, [1, 2, 3])
    else:
        assert REALLY_ANSWERS(where, server, [1, 2, 3]) is found


def test_a_refusal_has_one_remedy_and_its_commands(cloud: Cloud) -> None:
    cloud.world.lost |= {"newms2", "newdb1"}
    cloud.world.record.returning = "now"
    with pytest.raises(RollbackIncomplete) as caught:
        fence_new_side.fence_new_side(cloud.world.context)
    assert str(caught.value).count("Remedy:") == 1 and "Cause:" not in caught.value.cause
    assert caught.value.remedy.endswith("--stack test; then parallel-build back test")


# one server of the original is enough


@WAYS
@pytest.mark.parametrize("bad", ["oldms1", "oldms2"])
@pytest.mark.parametrize("ill", ["does not start", "fails for good", "answers as another", "is lost"])
def test_the_first_server_of_the_original_that_answers_lets_users_in_and_the_other_is_missing(
    cloud: Cloud, way: Any, bad: str, ill: str
) -> None:
    if ill == "does not start":
        cloud.does_not_start.add((bad, MANAGEMENT))
    elif ill == "fails for good":
        cloud.fails_for_good.add(bad)
    elif ill == "answers as another":
        cloud.answers_as[bad] = "4.22.1.0"
    else:
        cloud.world.lost.add(bad)
    if way is back:
        back(cloud)
        cloud.users.append(bad)
    else:
        with pytest.raises(
            RollbackIncomplete, match=rf"rolled back: the original is in service and users are in, except: .*management server {bad}: "
        ):
            undo(cloud)
        assert cloud.world.record.closed is None
    good = "oldms2" if bad == "oldms1" else "oldms1"
    assert good in cloud.serving[0] and good in cloud.users


@pytest.mark.parametrize("lost", ["oldms1", "oldms2", "olddb2"])
def test_a_server_of_the_original_that_is_gone_for_good_keeps_no_window_open(cloud: Cloud, lost: str) -> None:
    cloud.world.lost.add(lost)
    with pytest.raises(RollbackIncomplete, match=f"except: .*{lost}") as caught:
        undo(cloud)
    assert "window.confirmedDown" in caught.value.remedy
    cloud.configure(window={**values()["window"], "confirmedDown": [lost]})
    undo(cloud)
    assert cloud.world.record.closed and lost not in cloud.serving[0] and cloud.serving[0] and not cloud.serving[1]


@pytest.mark.parametrize("name", ["oldms2", "olddb2"])
def test_one_that_is_confirmed_and_can_be_reached_is_brought_back_all_the_same(cloud: Cloud, name: str) -> None:
    unit = MANAGEMENT if name == "oldms2" else window_world.DATABASE
    cloud.configure(window={**values()["window"], "confirmedDown": [name]})
    cloud.does_not_start.add((name, unit))
    with pytest.raises(RollbackIncomplete, match=f"except: .*{name}"):
        undo(cloud)
    cloud.does_not_start.clear()
    undo(cloud)
    assert cloud.world.record.closed and cloud.world.units[name, unit]["active"]


@WAYS
def test_usage_that_does_not_start_keeps_nobody_out(cloud: Cloud, way: Any) -> None:
    cloud.does_not_start.add(("oldms1", USAGE))
    if way is back:
        back(cloud)
    else:
        with pytest.raises(RollbackIncomplete, match="users are in, except: usage server on oldms1: "):
            undo(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])
    assert {"oldms1", "oldms2"} <= set(cloud.users)


@WAYS
def test_without_one_that_answers_users_stay_out(cloud: Cloud, way: Any) -> None:
    cloud.does_not_start |= {("oldms1", MANAGEMENT)}
    cloud.world.lost.add("oldms2")
    with pytest.raises(RollbackIncomplete, match=r"no management server of the original serves.*No space left.*oldms2: "):
        way(cloud)
    assert cloud.users == []


@WAYS
def test_a_barrier_that_stays_on_one_server_keeps_nobody_out_of_the_other(cloud: Cloud, way: Any) -> None:
    cloud.does_not_open.add("oldms1")
    if way is back:
        back(cloud)
    else:
        with pytest.raises(RollbackIncomplete, match="users are in, except: users on oldms1: "):
            undo(cloud)
    assert "oldms2" in cloud.users
    cloud.does_not_open.add("oldms2")
    with pytest.raises(StepFailed, match="users are still held out"):
        user_firewall.let_users_in(cloud.world.context)


def test_only_servers_on_which_users_are_in_are_named(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.does_not_open.add("oldms2")
    reported: list[str] = []
    monkeypatch.setattr(cloud.world.context, "progress", reported.append)
    user_firewall.let_users_in(cloud.world.context)
    assert "users in on oldms1" in reported
    assert any(line.startswith("users are not let in on oldms2 yet: ") for line in reported)


@WAYS
def test_a_replica_that_does_not_start_keeps_nobody_out(cloud: Cloud, way: Any) -> None:
    cloud.does_not_start.add(("olddb2", DATABASE))
    if way is back:
        back(cloud)
    else:
        with pytest.raises(RollbackIncomplete, match="users are in, except: replica olddb2: "):
            undo(cloud)
    assert "oldms1" in cloud.users


# the new side's illnesses


@pytest.mark.parametrize(
    "error", [ApiRefused("refused", "530", "", 530), ApiUnavailable("silent", "", "", None), StepFailed("no such setting", "", "")]
)
def test_an_api_of_the_new_side_that_is_ill_keeps_nobody_from_going_back(
    cloud: Cloud, error: ParallelBuildError, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.configure(window={"userAccess": {"method": "cidr", "administrators": ["10.91.0.1/32"]}})

    def close(*_: Any) -> None:
        raise error

    monkeypatch.setattr(user_access_setting, "close", close)
    monkeypatch.setattr(user_access_setting, "open_again", lambda context, cloud: None)
    undo(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


def test_a_balancer_command_that_fails_keeps_nobody_from_going_back(cloud: Cloud) -> None:
    cloud.configure(window={"userAccess": {"method": "command", "close": ["false"], "open": ["true"]}})
    undo(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])
    assert any("users out of the new side" in line for line in cloud.world.reported)


def test_a_sick_new_database_keeps_nobody_from_going_back(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.world.record.facts["HostSetting"] = {"previous": "10.91.0.11"}

    def refused(self: window_world.Table, statement: str, arguments: Any = None) -> int:
        raise Refused("newdb1: the database server refused: UPDATE", "(1114, The table 'configuration' is full)", "", 1114)

    monkeypatch.setattr(window_world.Table, "execute", refused)
    undo(cloud)
    assert cloud.serving == (["oldms1", "oldms2"], [])


@pytest.mark.parametrize("error", [Fenced("a later run", "", ""), Cancelled("stopped", "", "")])
def test_a_later_run_or_a_cancel_is_never_tolerated(cloud: Cloud, error: ParallelBuildError) -> None:
    with pytest.raises(type(error)), context_helpers.only_new_side(cloud.world.context, "x"):
        raise error


# as it was found


def running(cloud: Cloud) -> World:
    """The original runs, and nothing was written down yet."""
    world = cloud.world
    for server, units in OLD.items():
        for unit in units:
            world.units[server, unit] = {"active": True, "masked": False, "enabled": True}
    for fresh in (("newms1", MANAGEMENT), ("newms1", USAGE), ("newms2", MANAGEMENT)):
        world.units[fresh] = {"active": False, "masked": True}
    world.record.facts, world.record.servers, world.record.switched = {"OriginalDatabase": {"folder": "/var/lib/mysql"}}, {}, None
    return world


@pytest.mark.parametrize(
    ("server", "unit", "was"),
    [
        ("olddb1", DATABASE, {"active": True, "masked": False, "enabled": False}),
        ("olddb2", DATABASE, {"active": False, "masked": False, "enabled": False}),
        ("olddb2", DATABASE, {"active": True, "masked": False, "enabled": False}),
        ("olddb2", DATABASE, {"active": False, "masked": True, "enabled": False}),
        ("oldms1", USAGE, {"active": False, "masked": False, "enabled": False}),
        ("oldms1", USAGE, {"active": False, "masked": False, "enabled": True}),
        ("oldms1", USAGE, {"active": False, "masked": True, "enabled": False}),
        ("oldms1", USAGE, {"active": True, "masked": False, "enabled": False}),
        ("oldms2", MANAGEMENT, {"active": False, "masked": False, "enabled": False}),
        ("oldms2", MANAGEMENT, {"active": True, "masked": False, "enabled": False}),
    ],
)
def test_a_unit_comes_back_as_it_was_found(
    cloud: Cloud, server: str, unit: str, was: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running(cloud)
    world.units[server, unit] = dict(was)
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    monkeypatch.setattr(original_management_step, "prove_at_rest", lambda context, lost: {})
    before = {key: dict(state) for key, state in world.units.items() if key[0] in OLD}
    OriginalManagement().apply(world.context)
    OriginalDatabase().apply(world.context)
    OriginalManagement().apply(world.context)  # again: what is down by now is not what was found
    OriginalDatabase().apply(world.context)
    assert all(world.down(name) for name in OLD)
    undo(cloud)
    assert {key: state for key, state in world.units.items() if key[0] in OLD} == before


def test_a_server_that_could_not_be_asked_at_first_is_noted_right_before_it_is_stopped(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = running(cloud)
    world.units["oldms2", MANAGEMENT]["enabled"] = False
    monkeypatch.setattr(original_management, "_closed", lambda services, ports: True)
    world.lost.add("oldms2")
    remember_units(world.context, world.site.configuration.original.management)
    assert set(world.record.servers) == {"oldms1"}
    world.lost.clear()
    original_management.stop(world.context, world.site.configuration.original.management[1])
    assert world.record.servers["oldms2"].units == {MANAGEMENT: Found(active=True, enabled=False)}
    assert world.record.servers["oldms2"].done == (STOP,)


def test_of_a_window_of_an_earlier_version_nothing_is_taken_for_found_that_it_may_have_stopped(cloud: Cloud) -> None:
    world = running(cloud)
    world.record.version, world.record.facts["OriginalManagement"] = 2, {"enabled": {f"oldms1/{USAGE}": False}}
    world.units["oldms2", MANAGEMENT] = {"active": False, "masked": True, "enabled": False}
    remember_units(world.context, world.site.configuration.original.management)
    assert world.record.servers == {}
    undo(cloud)
    assert cloud.serving[0] == ["oldms1", "oldms2"]


def test_if_everything_was_down_something_must_serve(cloud: Cloud) -> None:
    world = running(cloud)
    for server in world.site.configuration.original.management:
        world.units[server.name, MANAGEMENT] = {"active": False, "masked": False, "enabled": True}
    remember_units(world.context, world.site.configuration.original.management)
    back(cloud)
    assert cloud.serving[0] == ["oldms1", "oldms2"]


# the record


def test_a_start_is_on_record_before_it_begins_with_all_that_fencing_needs(cloud: Cloud) -> None:
    world = World()
    ManagementStart(world.context, world.context.configuration.new.management[0], "FirstManagement", upgrade=True).run()
    touched = world.record.servers["newms1"]
    assert (touched.address, touched.side, touched.role, touched.done) == ("10.91.0.41", NEW_SIDE, MANAGEMENT_ROLE, (START,))
    server = touched.server()
    assert isinstance(server, NewMachine)
    assert (server.host_key, server.platform) == ("ssh-ed25519 AAAA", "existing")


def test_the_record_is_read_by_earlier_and_later_versions() -> None:
    here = site()
    machine = here.configuration.new.management[0]
    touched = TouchedServer.of(machine, NEW_SIDE, MANAGEMENT_ROLE, START, units={USAGE: Found(False, True)}, host_key="ssh-ed25519 AAAA")
    record = WindowRecord("test", here.identity, opened="then", servers={"newms1": touched})
    assert WindowRecord.from_json(record.to_json()).servers == {"newms1": touched}
    document = json.loads(record.to_json())
    document["servers"]["newms1"] |= {"later": 1, "declared": {**touched.declared, "unheardOf": 1, "platform": "cloud9"}}
    kept = WindowRecord.from_json(json.dumps(document))
    assert kept.servers["newms1"].server().address == "10.91.0.41", "a value that this version does not take keeps it from nothing"
    assert kept.servers["newms1"].server().host_key == "ssh-ed25519 AAAA"
    assert json.loads(kept.to_json())["servers"]["newms1"]["later"] == 1
    del document["servers"]
    assert WindowRecord.from_json(json.dumps(document)).servers == {}
    unreadable: list[Any] = [[], {"newms1": {"side": "new"}}, {"newms1": None}]
    for broken in unreadable:
        with pytest.raises(ValueError, match=r"servers|server newms1"):
            WindowRecord.from_json(json.dumps({**document, "servers": broken}))


# every command that a message gives, as it stands


@pytest.mark.skipif(shutil.which("pulumi") is None, reason="needs the Pulumi CLI")
@pytest.mark.engine
def test_the_commands_for_several_dead_servers_keep_each_others_names(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: cutover\nruntime: python\n")
    environment = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }

    def run(command: str) -> str:
        done = subprocess.run(shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def confirmed() -> list[str]:
        section = json.loads(run("pulumi config get window --stack test"))
        return load(values(window={**values()["window"], **section}), "test").window.confirmed_down

    run("pulumi stack init test --non-interactive")
    first, second = load(values(), "test"), ["newms1"]
    run(confirmed_down.command(first, "test", "newms2", before=second))
    assert confirmed() == ["newms2"], "the first one was not switched off"
    run(confirmed_down.command(first, "test", "newms1"))
    assert confirmed() == ["newms1", "newms2"]
    later = load(values(window={**values()["window"], "confirmedDown": confirmed()}), "test")
    run(confirmed_down.command(later, "test", "oldms2"))
    assert confirmed() == ["newms1", "newms2", "oldms2"]


def test_what_users_created_is_asked_again_once_a_database_that_hung_runs_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.world.closing.hangs = True
    answers = [Created(unknown="newdb1 hangs"), Created(items={"volumes": [{"id": 7, "name": "data"}]})]
    kept: dict[str, Any] = {}
    emptied: list[dict[str, Any]] = []
    monkeypatch.setattr(window, "since_window", lambda context, host: answers.pop(0))
    monkeypatch.setattr(window_world.Journal, "keep", lambda self, name, evidence: kept.update({name: evidence}))
    monkeypatch.setattr(window_world.Journal, "evidence", lambda self, name: kept.get(name))
    monkeypatch.setattr(transfer, "empty", lambda context: emptied.append(dict(kept["tidying"])))

    def starts(self: Units, unit: str, **_: Any) -> bool:
        self.world.closing.hangs = False
        return plain(self, unit, **_)

    plain = Units.bring_up
    monkeypatch.setattr(Units, "bring_up", starts)
    undo(cloud)
    assert cloud.world.record.closed and answers == []
    assert emptied[0]["created"] == {"volumes": [{"id": 7, "name": "data"}]} and emptied[0]["unknown"] == ""

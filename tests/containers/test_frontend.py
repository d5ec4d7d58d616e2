"""HAProxy with keepalived before two management servers, real programs with the files of `examples/frontend/`: a window and a rollback under users' calls.

One lab of its own, and one story: each test begins where the one before it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from parallel_build.machines.container import machine as container
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.let_users_out import keep_users_out
from parallel_build.operations.user_firewall import let_users_in
from parallel_build.records.front_place import CLOSED, places_of
from parallel_build.records.run_folder import RunFolder
from parallel_build.steps.user_access import UserAccess
from tests.containers import front_stand
from tests.containers.conftest import LabRunner, tell
from tests.containers.front_stand import FRONTS, PROGRAM, Fronts, Users, users
from tests.containers.health_stand import Stand
from tests.containers.original_proof import assert_original_serves
from tests.containers.whole_stack import own_lab
from tools.errors import ToolError

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
ORIGINAL, NEW = {"original-oldms1", "original-oldms2"}, {"new-newms1", "new-newms2"}
OLD_VERSION, NEW_VERSION = "serves 4.20.3.0", "serves 4.22.1.0"
MOVING = 6.0  # seconds in which a moving address may cut a connection that is open


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab in phase `prepared`, with two machines before its management servers."""
    with own_lab("vip", "--management", "2", "--rows", "200") as runner:
        fronts = Fronts(runner)
        try:
            front_stand.make(fronts.lab)
        except ToolError as error:
            pytest.skip(f"no image with HAProxy and keepalived: {error}")
        front_stand.declare(fronts.lab)
        fronts.await_holder()
        yield runner


@pytest.fixture(scope="module")
def fronts(lab: LabRunner) -> Fronts:
    return Fronts(lab)


def assert_only_503s(found: Users, moves: list[float]) -> None:
    """Every call was served or answered with 503; one that was open when the address moved may have been cut, one a user."""
    counted: dict[str, int] = {}
    for _, _, words in found.calls:
        counted[words] = counted.get(words, 0) + 1
    tell(f"{len(found.calls)} calls: {counted}")
    cut = [call for call in found.broken() if any(call[0] < moved + MOVING and call[1] > moved for moved in moves)]
    assert found.broken() == cut, [call for call in found.broken() if call not in cut]
    assert len(cut) <= 4 * len(moves), cut


def test_users_come_in_by_the_moving_address_and_the_example_does_what_it_says(lab: LabRunner, fronts: Fronts) -> None:
    with users(fronts.lab) as asking:
        asking.await_word(OLD_VERSION)
        assert [fronts.leads(machine) for machine in FRONTS] == [ORIGINAL, ORIGINAL]
        holder = fronts.await_holder()
        standby = next(each for each in FRONTS if each != holder)
        fronts.shell(standby, f"{PROGRAM} closed && {PROGRAM} closed && systemctl restart haproxy")
        fronts.await_answer(standby)
        assert fronts.leads(standby) == set(), "what was turned holds over a restart"
        fronts.shell(standby, f"{PROGRAM} original")
        assert fronts.leads(standby) == ORIGINAL
        fronts.shell(standby, "systemctl reload haproxy")
        fronts.await_answer(standby)
        assert fronts.leads(standby) == ORIGINAL
        assert "no server of the new side answers" in fronts.shell(standby, f"{PROGRAM} new 2>&1; true")
        fronts.shell(standby, f"{PROGRAM} original")
    assert_only_503s(asking, [])
    assert asking.outcomes() == [OLD_VERSION], "whoever came by the other machine has seen nothing of it"


def test_guards_and_the_change_review_know_it(lab: LabRunner, fronts: Fronts) -> None:
    lab.run("tool", "check", "lab")
    fronts.shell(FRONTS[1], f"chmod -x {PROGRAM}")
    try:
        done = lab.run("tool", "check", "lab", check=False)
        shown = " ".join((done.stdout + done.stderr).split())
        assert f"front2 (haproxy at 10.91.0.60) has no {PROGRAM}" in shown, shown[-3000:]
    finally:
        fronts.shell(FRONTS[1], f"chmod +x {PROGRAM}")
    lab.run("pulumi", "config", "set", "phase", "switched")
    try:
        review = lab.run("pulumi", "preview", "--diff").stdout
    finally:
        lab.run("pulumi", "config", "set", "phase", "prepared")
    for word in ("closed", "new", "original"):
        assert f"on front1, front2, at the same time: {PROGRAM} {word}" in review


def test_a_machine_of_it_that_is_lost_while_users_are_out(lab: LabRunner, fronts: Fronts) -> None:
    stand, lost = Stand(lab), fronts.await_holder()

    def run() -> None:
        with stand.connections() as opened:
            context = Context(stand.site, opened, RunFolder(fronts.lab.folder / "front-test", "lab", []), opened.cancel, tell, "UserAccess")
            store(context).open()
            try:
                UserAccess().apply(context)
                kept = places_of(store(context).facts("Frontend"))
                assert {each.name: (each.leads, each.done) for each in kept.values()} == {
                    "front1": (CLOSED, True),
                    "front2": (CLOSED, True),
                }
                tell(f"{lost.name} loses its power")
                moves.append(time.monotonic())
                container.kill(fronts.lab.original, lost.name)
                left = let_users_in(context)
                assert len(left) == 1 and f"haproxy at 10.91.0.60 on {lost.name}" in left[0], left
                tell(f"{lost.name} is back, and as it was turned")
                container.power_on(fronts.lab.original, lost.name)
                fronts.await_answer(lost)
                assert fronts.leads(lost) == set()
                assert let_users_in(context) == [] and fronts.leads(lost) == ORIGINAL
                assert places_of(store(context).facts("Frontend")) == {}
            finally:
                UserAccess().revert(context)
                store(context).close()

    moves: list[float] = []
    with users(fronts.lab) as asking:
        stand.inside(run)
        asking.await_word(OLD_VERSION)
    tell(" | ".join(asking.outcomes()))
    assert_only_503s(asking, moves)
    assert "503" in asking.outcomes() and fronts.await_holder() != lost, "the address stays where it went"


def test_a_reload_that_forgets_what_was_turned_is_noticed_before_the_original_stops(lab: LabRunner, fronts: Fronts) -> None:
    with front_stand.method(fronts.lab, "frontend"):
        stand = Stand(lab)

    def run() -> None:
        with stand.connections() as opened:
            context = Context(
                stand.site, opened, RunFolder(fronts.lab.folder / "front-reload", "lab", []), opened.cancel, tell, "UserAccess"
            )
            store(context).open()
            try:
                UserAccess().apply(context)
                asking.await_word("503")
                keep_users_out(context)
                for machine in FRONTS:
                    fronts.shell(machine, "rm /var/lib/haproxy/servers.state && systemctl reload haproxy")
                    fronts.await_answer(machine)
                asking.await_word(OLD_VERSION)
                keep_users_out(context)
                asking.await_word("503")
                assert [fronts.leads(machine) for machine in FRONTS] == [set(), set()]
            finally:
                UserAccess().revert(context)
                store(context).close()

    with users(fronts.lab) as asking:
        stand.inside(run)
        asking.await_word(OLD_VERSION)
    tell(" | ".join(asking.outcomes()))
    assert_only_503s(asking, [])
    assert {each for each in asking.outcomes() if each != "503"} == {OLD_VERSION}


@contextmanager
def moved(fronts: Fronts, asking: Users, moves: list[float]) -> Iterator[None]:
    """Have the address move to the other machine two seconds after users have first been answered with 503 in the block."""
    since, over = time.monotonic(), threading.Event()

    def work() -> None:
        while "503" not in asking.outcomes(since):
            if over.wait(0.2):
                raise AssertionError("users were never answered with 503")
        time.sleep(2)
        holder = fronts.await_holder()
        moves.append(time.monotonic())
        fronts.shell(holder, "systemctl stop keepalived")
        fronts.await_holder(other_than=holder)
        tell(f"{front_stand.ADDRESS} has moved away from {holder.name}")
        fronts.shell(holder, "systemctl start keepalived")

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(work)
        try:
            yield
        finally:
            over.set()
        moving.result()


def test_a_window_and_a_rollback_with_the_address_moving_in_the_middle_of_both(lab: LabRunner, fronts: Fronts) -> None:
    moves: list[float] = []
    with users(fronts.lab) as asking:
        asking.await_word(OLD_VERSION)
        before = fronts.await_holder()
        tell("switch")
        with moved(fronts, asking, moves):
            lab.run("switch")
        asking.await_word(NEW_VERSION)
        assert [fronts.leads(machine) for machine in FRONTS] == [NEW, NEW]
        assert fronts.await_holder() != before
        tell("back")
        with moved(fronts, asking, moves):
            lab.run("back")
        asking.await_word(OLD_VERSION)
        assert [fronts.leads(machine) for machine in FRONTS] == [ORIGINAL, ORIGINAL]
        assert fronts.await_holder() == before
    words = [each for each in asking.outcomes() if each.startswith("serves") or each == "503"]
    tell(" | ".join(asking.outcomes()))
    assert_only_503s(asking, moves)
    served = [each for each in words if each != "503"]
    assert [each for number, each in enumerate(served) if served[number - 1 : number] != [each]] == [OLD_VERSION, NEW_VERSION, OLD_VERSION]
    assert words[0] == words[-1] == OLD_VERSION and "503" in words
    assert_original_serves(lab)

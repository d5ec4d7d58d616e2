"""What stands before the original is turned on every one of its machines, once, and led back by the record whatever the stack file says by then."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration import load
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations import frontends, run_here
from parallel_build.operations.frontends import DATABASE, USERS
from parallel_build.records.front_place import CLOSED, NEW_SIDE, places_of
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from parallel_build.steps.acceptance import Acceptance
from parallel_build.steps.original_database import OriginalDatabase
from parallel_build.steps.user_access import UserAccess
from tests.fast.memory_records import Records
from tests.fast.sites import values
from tests.fast.window_world import World

HOSTS = [{"name": "front1", "address": "10.91.0.61"}, {"name": "front2", "address": "10.91.0.62"}]
BALANCER: dict[str, Any] = {
    "kind": "haproxy", "address": "10.91.0.60", "movedBy": "keepalived", "hosts": HOSTS,
    "close": ["turn", "closed"], "toNew": ["turn", "new"], "toOriginal": ["turn", "original"],
}  # fmt: skip
PROXY: dict[str, Any] = {
    "kind": "proxysql", "address": "10.91.0.70", "hosts": [{"name": "sql1", "address": "10.91.0.71"}],
    "close": ["hostgroup", "closed"], "toOriginal": ["hostgroup", "original"],
}  # fmt: skip


class Stand:
    """Machines that note what they are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.failing, self.lost = World(), set[str](), set[str]()
        self.ran: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.context = self.world.context
        self.context.intend = lambda *_, **__: None  # type: ignore[method-assign]
        self.records = Records(WindowRecord("test", self.world.site.identity, opened="then"), self.world.site)
        monkeypatch.setattr(frontends, "may_write", lambda _: None)
        monkeypatch.setattr("tests.fast.window_world.Machine.run", lambda machine, argv, **_: self.run(machine.name, argv), raising=False)
        self.configure(BALANCER)

    def run(self, name: str, argv: Any) -> Result:
        if name in self.lost:
            raise ConnectionFailed(f"{name} can't be reached over SSH", "", "")
        self.ran.append(f"{name}: {' '.join(argv)}")
        if name in self.failing:
            raise CommandFailed(f"{name}: failed", "", "")
        return Result(0, "", "")

    def configure(self, *doors: dict[str, Any], **window: Any) -> None:
        given = values(window=window) if window else values()
        given["original"]["frontend"] = list(doors)
        self.world.site = dataclasses.replace(self.world.site, configuration=load(given, "test"))
        self.context.site = self.world.site

    def after(self, act: Any, *words: Any) -> list[str]:
        self.ran.clear()
        act(self.context, self.records, *words)
        return sorted(self.ran)

    def on_record(self) -> dict[str, tuple[str, bool]]:
        assert self.records.record is not None
        return {each.name: (each.leads, each.done) for each in places_of(self.records.record.facts.get("Frontend", {})).values()}


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(monkeypatch)


def test_a_window_turns_it_on_every_machine_and_each_word_once(stand: Stand) -> None:
    assert stand.after(frontends.close, USERS) == ["front1: turn closed", "front2: turn closed"]
    assert stand.on_record() == {"front1": (CLOSED, True), "front2": (CLOSED, True)}
    assert stand.after(frontends.close, USERS) == []
    assert stand.after(frontends.close_on_new) == [], "it leads nowhere, so there is nothing to leave"
    assert stand.after(frontends.to_new) == ["front1: turn new", "front2: turn new"]
    assert stand.on_record() == {"front1": (NEW_SIDE, True), "front2": (NEW_SIDE, True)}
    assert stand.after(frontends.to_new) == []
    assert stand.after(frontends.close_on_new) == ["front1: turn closed", "front2: turn closed"]
    assert stand.after(frontends.to_original, USERS) == ["front1: turn original", "front2: turn original"]
    assert stand.on_record() == {} and stand.after(frontends.to_original, USERS) == []
    assert stand.after(frontends.close, USERS) == ["front1: turn closed", "front2: turn closed"], "a window that is begun again"


def test_nothing_is_run_or_written_where_nothing_is_declared(stand: Stand) -> None:
    stand.configure({"kind": "haproxy", "address": "10.91.0.60"})
    for act, words in (
        (frontends.close, (USERS,)),
        (frontends.to_new, ()),
        (frontends.close_on_new, ()),
        (frontends.to_original, (USERS,)),
    ):
        assert stand.after(act, *words) == []
    assert stand.records.written == 0


def test_what_was_turned_is_led_back_by_the_record_on_a_machine_that_is_not_configured_any_more(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.configure()
    assert stand.after(frontends.to_original, USERS) == ["front1: turn original", "front2: turn original"]
    assert stand.on_record() == {}


def test_a_machine_that_was_taken_out_follows_to_the_new_side(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.configure({**BALANCER, "hosts": HOSTS[:1], "movedBy": None})
    assert stand.after(frontends.to_new) == ["front1: turn new", "front2: turn new"]


def test_a_command_that_was_corrected_counts(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.configure({**BALANCER, "toOriginal": ["turn", "--right", "original"]})
    assert stand.after(frontends.to_original, USERS) == ["front1: turn --right original", "front2: turn --right original"]


def test_users_are_not_let_out_by_one_machine_of_two(stand: Stand) -> None:
    stand.lost = {"front2"}
    with pytest.raises(StepFailed, match=r"haproxy at 10\.91\.0\.60 on front2: front2 can't be reached") as caught:
        frontends.close(stand.context, stand.records, USERS)
    assert "window.confirmedDown[0]' front2" in caught.value.remedy
    assert stand.on_record() == {"front1": (CLOSED, True), "front2": (CLOSED, False)}
    stand.lost = set()
    assert stand.after(frontends.close, USERS) == ["front2: turn closed"]


def test_one_machine_is_enough_to_let_users_in_and_the_other_follows(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.failing = {"front1", "front2"}
    with pytest.raises(StepFailed, match=r"users can't come to the new side by haproxy at 10\.91\.0\.60"):
        frontends.to_new(stand.context, stand.records)
    stand.failing = {"front2"}
    assert frontends.to_new(stand.context, stand.records) == ["haproxy at 10.91.0.60 on front2: front2: failed."]
    assert stand.after(frontends.to_new) == ["front2: turn new"], "it is tried again alone, and is no error while the first leads there"
    stand.failing = set()
    assert stand.after(frontends.to_new) == ["front2: turn new"] and stand.after(frontends.to_new) == []


def test_a_machine_that_is_lost_in_a_rollback_is_listed_and_stays_on_record(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.lost = {"front2"}
    left = frontends.to_original(stand.context, stand.records, USERS)
    assert left == ["haproxy at 10.91.0.60 on front2: front2 can't be reached over SSH."]
    assert stand.on_record() == {"front2": (CLOSED, False)}
    assert any("does not lead to the original yet" in line for line in stand.world.reported)
    stand.lost = set()
    assert stand.after(frontends.to_original, USERS) == ["front2: turn original"] and stand.on_record() == {}


def test_a_machine_that_is_confirmed_to_be_down_keeps_nobody_waiting(stand: Stand) -> None:
    stand.lost = {"front2"}
    stand.configure(BALANCER, confirmedDown=["front2"])
    assert stand.after(frontends.close, USERS) == ["front1: turn closed"]
    assert stand.after(frontends.to_new) == ["front1: turn new"]
    assert stand.after(frontends.to_original, USERS) == ["front1: turn original"] and stand.on_record() == {}


def test_no_step_closes_anything_once_a_rollback_has_begun(stand: Stand) -> None:
    stand.records.mark_returning()
    with pytest.raises(GuardFailed, match="roll"):
        frontends.close(stand.context, stand.records, USERS)
    assert stand.ran == [] and stand.on_record() == {}


def test_half_a_command_is_led_back_as_a_whole_one_is(stand: Stand) -> None:
    stand.failing = {"front1", "front2"}
    with pytest.raises(StepFailed):
        frontends.close(stand.context, stand.records, USERS)
    stand.failing = set()
    assert stand.after(frontends.to_original, USERS) == ["front1: turn original", "front2: turn original"]


def test_what_was_half_led_back_is_not_taken_for_closed(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    stand.failing = {"front1", "front2"}
    frontends.to_original(stand.context, stand.records, USERS)
    stand.failing = set()
    assert stand.after(frontends.close, USERS) == ["front1: turn closed", "front2: turn closed"]


def test_a_proxy_before_the_database_is_turned_at_its_own_moments(stand: Stand) -> None:
    stand.configure(BALANCER, PROXY)
    assert stand.after(frontends.close, USERS) == ["front1: turn closed", "front2: turn closed"]
    assert stand.after(frontends.close, DATABASE) == ["sql1: hostgroup closed"]
    assert stand.after(frontends.to_new) == ["front1: turn new", "front2: turn new"], "it has no command for the new side, and stays closed"
    assert stand.after(frontends.to_original, DATABASE) == ["sql1: hostgroup original"]
    assert stand.after(frontends.to_original, USERS) == ["front1: turn original", "front2: turn original"]


def test_a_sealed_value_is_not_on_record_and_its_command_is_taken_from_the_stack_file(stand: Stand) -> None:
    sealed = {**BALANCER, "toOriginal": ["turn", "--key", "s3cret-of-the-front", "original"]}
    stand.configure(sealed)
    stand.world.site = dataclasses.replace(stand.world.site, sealed=(Secret("s3cret-of-the-front"),))
    stand.context.site = stand.world.site
    stand.after(frontends.close, USERS)
    assert stand.records.record is not None and "s3cret-of-the-front" not in stand.records.record.to_json()
    stand.configure()
    assert stand.after(frontends.to_original, USERS) == []
    assert any("put haproxy at 10.91.0.60 back into original.frontend" in line for line in stand.world.reported)
    stand.configure(sealed)
    assert len(stand.after(frontends.to_original, USERS)) == 2 and stand.on_record() == {}


def test_without_a_machine_of_its_own_the_commands_run_here(stand: Stand, tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {
        key: ["sh", "-c", f"echo {word} >>{log}"] for key, word in (("close", "closed"), ("toNew", "new"), ("toOriginal", "original"))
    }
    stand.configure({"kind": "f5", "address": "10.91.0.60", **commands})
    frontends.close(stand.context, stand.records, USERS)
    frontends.to_new(stand.context, stand.records)
    frontends.to_original(stand.context, stand.records, USERS)
    assert log.read_text().split() == ["closed", "new", "original"]
    stand.configure({"kind": "f5", "address": "10.91.0.60", **commands, "close": ["sh", "-c", "echo no >&2; exit 3"]})
    with pytest.raises(StepFailed, match=r"f5 at 10\.91\.0\.60 on this machine: sh -c .* ended with exit code 3"):
        frontends.close(stand.context, stand.records, USERS)


def test_two_doors_on_one_machine_are_turned_one_after_the_other(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    consoles = {**BALANCER, "address": "10.91.0.69", "close": ["turn-consoles", "closed"]}
    stand.configure(BALANCER, consoles)
    busy, met, both = set[str](), list[str](), threading.Barrier(2)
    ran = stand.run

    def run(name: str, argv: Any) -> Result:
        if name in busy:
            met.append(name)
        busy.add(name)
        both.wait(20)  # one of each machine
        busy.discard(name)
        return ran(name, argv)

    monkeypatch.setattr(stand, "run", run)
    turned = stand.after(frontends.close, USERS)
    assert turned == [f"{name}: {program} closed" for name in ("front1", "front2") for program in ("turn", "turn-consoles")]
    assert met == [], "their programs may write the same files"


def test_a_door_that_fails_leaves_the_others_of_its_machine_to_be_turned(stand: Stand) -> None:
    stand.configure(BALANCER, {**BALANCER, "address": "10.91.0.69"})
    stand.failing = {"front1"}
    with pytest.raises(StepFailed, match=r"haproxy at 10\.91\.0\.60 on front1.*haproxy at 10\.91\.0\.69 on front1"):
        frontends.close(stand.context, stand.records, USERS)
    assert stand.ran.count("front1: turn closed") == 2 == stand.ran.count("front2: turn closed")


def test_a_command_of_this_machine_that_is_not_there_names_its_key() -> None:
    with pytest.raises(StepFailed, match=r"no-such-program closed could not be run") as caught:
        run_here.run_here(["no-such-program", "closed"], 5, "original.frontend", CancelToken())
    assert caught.value.remedy == "correct original.frontend"


def test_the_record_is_read_back_with_fields_of_a_later_version(stand: Stand) -> None:
    stand.after(frontends.close, USERS)
    assert stand.records.record is not None
    documents = stand.records.record.facts["Frontend"]
    next(iter(documents.values()))["later"] = 1
    stand.after(frontends.to_new)
    assert [document.get("later") for document in stand.records.record.facts["Frontend"].values()] == [1, None]
    assert frontends.in_words(stand.records.record) == [
        "haproxy at 10.91.0.60 on front1 leads to the new side", "haproxy at 10.91.0.60 on front2 leads to the new side",
    ]  # fmt: skip


def test_the_change_review_shows_every_command_where_it_is_run(stand: Stand) -> None:
    stand.configure(BALANCER, PROXY)
    configuration = stand.context.configuration
    where = "on front1, front2, at the same time"
    door = "haproxy at 10.91.0.60, which keepalived moves; original.frontend"
    assert UserAccess().plan(configuration)[0] == f"{where}: turn closed ({door}, close)"
    assert UserAccess().undo(configuration)[-1] == f"{where}: turn original ({door}, toOriginal)"
    assert f"{where}: turn new ({door}, toNew)" in Acceptance().plan(configuration)
    assert Acceptance().undo(configuration)[0] == f"{where}: turn closed ({door}, close)"
    proxy = "on sql1, at the same time: hostgroup"
    assert OriginalDatabase().plan(configuration)[0] == f"{proxy} closed (proxysql at 10.91.0.70; original.frontend, close)"
    assert OriginalDatabase().undo(configuration)[-1] == f"{proxy} original (proxysql at 10.91.0.70; original.frontend, toOriginal)"

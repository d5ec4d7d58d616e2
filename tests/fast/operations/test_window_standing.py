"""The record of a window whose steps the state has as done: a rollback that left Pulumi out is refused by name, and silence is never a no."""

from __future__ import annotations

import copy
import socket
import threading
import time
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import Cancelled, ConnectionFailed, GuardFailed
from parallel_build.operations import record_hosts, window_standing
from parallel_build.records.copies import RecordCopies
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.record_file import RecordFile, Text
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.host import Connections
from tests.fast.sites import VALUES, site

HERE = site()
BOTH = {"olddb1": {"machine": "machine of olddb1"}, "newdb1": {"machine": "machine of newdb1"}}


class Server:
    """A host of the record."""

    def __init__(self, name: str) -> None:
        self.name, self.server = name, HERE.configuration.original.database.source.model_copy(update={"name": name})

    def read(self, path: str, **given: Any) -> bytes:
        return f"machine of {self.name}\n".encode()


class File:
    """What one of them has of it; `text` may be an error, which asking raises, or an event, for which it waits."""

    limit, folder = 1.0, "/var/lib/x"

    def __init__(self, name: str, text: Any) -> None:
        self.host, self.text, self.path = Server(name), text, f"/var/lib/x/{name}.json"

    def read(self) -> Text:
        if isinstance(self.text, Exception):
            raise self.text
        if isinstance(self.text, threading.Event):
            self.text.wait(30)
        if self.text == b"":
            raise self.unusable("it is empty")
        return Text(self.text.to_json().encode() + b"\n" if isinstance(self.text, WindowRecord) else None)

    def unusable(self, why: str) -> GuardFailed:
        return RecordFile.unusable(cast(RecordFile, self), why)


def opened(**changes: Any) -> WindowRecord:
    """A window that was switched, on both hosts."""
    known: dict[str, Any] = {"opened": "then", "switched": "a little later", "holder": "ann", "number": 1, "revision": 9, "holders": BOTH}
    return WindowRecord("test", HERE.identity, **{**known, **changes})


def silent(name: str) -> ConnectionFailed:
    """It can't be asked."""
    return ConnectionFailed(f"{name} can't be reached over SSH", "no route", "")


def seen(monkeypatch: pytest.MonkeyPatch, old: Any, new: Any, here: Any = HERE, limit: float = 20.0) -> window_standing.Seen:
    """What is seen of what the two hosts have."""
    files = [cast(RecordFile, File("olddb1", old)), cast(RecordFile, File("newdb1", new))]
    store = WindowStore(files[0].host, here, RecordCopies(files[0], files[1], None, HostNotes(two=True)))
    monkeypatch.setattr(record_hosts, "looked_at", lambda *_, **__: store)
    return window_standing.look(here, Connections(here, CancelToken()), limit)


def asked(found: window_standing.Seen, step: str = "Window", here: Any = HERE, result: Any = None) -> str:
    """The answer for a step that the state has as done: a refusal's words, or what could not be asked."""
    try:
        return window_standing.check(found, here, step, {"opened": "then"} if result is None and step == "Window" else result or {})
    except GuardFailed as error:
        return f"refused: {error}"


@pytest.mark.parametrize("step", ["Window", "UserAccess", "FirstManagement", "Routers"])
def test_a_window_that_stands_is_no_news(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    assert asked(seen(monkeypatch, opened(), opened()), step) == ""


def test_before_the_first_start_only_what_comes_before_it_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen(monkeypatch, opened(switched=None, holders={}), None)
    assert asked(found, "DatabaseTransfer") == asked(found, "Agents") == asked(found) == ""
    for step in ("FirstManagement", "Acceptance", "Retirement"):
        assert "has not been started in it" in asked(found, step)


@pytest.mark.parametrize("step", ["Window", "UserAccess", "Routers", "Retirement"])
def test_a_window_that_was_rolled_back_without_pulumi_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    words = asked(seen(monkeypatch, opened(closed="at last"), opened(closed="at last")), step)
    assert f"the state has {step} as done, and by the record on olddb1 no window is open" in words
    assert "opened then and closed at last" in words
    assert "pulumi config set phase prepared --stack test && pulumi up --stack test" in words


def test_so_is_one_after_which_another_stack_has_opened_and_closed_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = WindowRecord("other", "f" * 24, opened="since", closed="too", number=2)
    assert "the last one, of stack other" in asked(seen(monkeypatch, theirs, None), "UserAccess")


def test_a_rollback_that_has_begun_is_to_be_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    words = asked(seen(monkeypatch, opened(returning="now"), opened(returning="now")))
    assert "a rollback has begun now" in words and "parallel-build back test" in words


def test_another_stacks_open_window_is_refused_with_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = WindowRecord("other", "f" * 24, opened="since", number=2, holder="bob")
    words = asked(seen(monkeypatch, theirs, None), "UserAccess")
    assert "held by stack other" in words and f"--window {'f' * 24}" in words


def test_so_is_the_next_window_of_this_stack_that_another_copy_of_the_state_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    later = opened(opened="since", number=2, holders={}, switched=None)
    assert "the state has Window as done in an earlier window" in asked(seen(monkeypatch, later, opened(closed="once")))
    assert asked(seen(monkeypatch, later, None), result={"highest_ids": {}}) == "", (
        "a state of an earlier version does not say when it was opened"
    )


def test_no_record_at_all_is_no_open_window(monkeypatch: pytest.MonkeyPatch) -> None:
    words = asked(seen(monkeypatch, None, None))
    assert words.startswith("refused: the state has Window as done, and there is no record of a window on olddb1 or newdb1")
    retired = site(phase="retired")
    assert asked(seen(monkeypatch, None, None, retired), here=retired).startswith("the state has Window as done, and there is no record")


@pytest.mark.parametrize("text", [b""])
def test_a_record_that_can_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    assert "it is empty" in asked(seen(monkeypatch, text, None))
    words = asked(seen(monkeypatch, text, opened()))
    assert "it is empty" in words and "--restore-record olddb1" in words
    assert "a rollback has begun" in asked(seen(monkeypatch, opened(returning="now"), opened(returning="now")))


def test_a_copy_that_was_lost_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "newdb1 has no copy of the window's record" in asked(seen(monkeypatch, opened(), None))


def test_a_silent_host_is_never_taken_for_a_window_that_stands_or_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    for old, new in (
        (silent("olddb1"), opened()),
        (opened(), silent("newdb1")),
        (silent("olddb1"), silent("newdb1")),
        (silent("olddb1"), None),
    ):
        words = asked(seen(monkeypatch, old, new))
        assert words.startswith("whether the window is still open can't be asked: ") and "can't be reached over SSH" in words
    # What the new source has may be of an earlier window: the original alone has the beginning of the next one.
    assert asked(seen(monkeypatch, silent("olddb1"), opened(closed="at last")), "UserAccess").startswith("whether the window")


def test_what_one_copy_has_of_this_very_window_is_never_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "closed at last" in asked(seen(monkeypatch, silent("olddb1"), opened(closed="at last")))
    assert "a rollback has begun" in asked(seen(monkeypatch, silent("olddb1"), opened(returning="now")))


def test_a_source_that_is_gone_for_good_and_confirmed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(window={"confirmedDown": ["olddb1"]})
    gone = silent("olddb1")
    assert asked(seen(monkeypatch, gone, opened(), here), "Routers", here) == ""
    assert "closed at last" in asked(seen(monkeypatch, gone, opened(closed="at last"), here), "UserAccess", here)
    assert asked(seen(monkeypatch, gone, None, here), "Routers", here).startswith("whether the window")


def test_a_retired_window_needs_no_original(monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(phase="retired")
    for old in (silent("olddb1"), None):
        assert asked(seen(monkeypatch, old, opened(retired="for good"), here), "Retirement", here) == ""


def test_a_host_that_hangs_is_waited_for_as_long_as_a_preview_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    try:
        words = asked(seen(monkeypatch, never, opened(), limit=0.2))
    finally:
        never.set()
    assert words.startswith("whether the window is still open can't be asked: timed out")


def test_a_cancel_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    never, cancel = threading.Event(), CancelToken()
    store = WindowStore(
        cast(Any, Server("olddb1")),
        HERE,
        RecordCopies(cast(Any, File("olddb1", never)), cast(Any, File("newdb1", None)), None, HostNotes()),
    )
    monkeypatch.setattr(record_hosts, "looked_at", lambda *_, **__: store)
    cancel.set("the operator cancelled")
    began = time.monotonic()
    with pytest.raises(Cancelled):
        window_standing.look(HERE, Connections(HERE, cancel))
    never.set()
    assert time.monotonic() - began < window_standing.LIMIT


def test_what_fails_while_it_is_asked_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        seen(monkeypatch, ZeroDivisionError("a fault of this program"), opened())


def test_both_hosts_are_asked_at_once_and_with_a_limit_of_their_own() -> None:
    copies = record_hosts.looked_at(HERE, Connections(HERE, CancelToken()), limit=3.0).copies
    assert copies is not None and copies.notes.two
    assert (copies.first.limit, copies.second.limit) == (3.0, 3.0)
    usual = record_hosts.looked_at(HERE, Connections(HERE, CancelToken())).copies
    assert usual is not None and not usual.notes.two and usual.first.limit is None


@pytest.mark.processes
def test_servers_that_take_connections_and_say_nothing_are_asked_side_by_side_and_given_up() -> None:
    """By the real client, on this machine alone."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        found = copy.deepcopy(VALUES)
        for side, silent_one in (("original", one), ("new", other)):
            found[side]["database"]["source"] |= {"sshHost": "127.0.0.1", "sshPort": silent_one.getsockname()[1]}
        here = site(original=found["original"], new=found["new"], ssh={"connectTimeout": "2s"})
        connections, began = Connections(here, CancelToken()), time.monotonic()
        looked = window_standing.look(here, connections)
        took = time.monotonic() - began
        connections.close()
    assert "can't be reached over SSH" in looked.unknown or looked.unknown.startswith("timed out")
    assert took < window_standing.LIMIT + 5 and looked.record is None and looked.unusable is None

"""The window's record on two hosts: which copy is right, when one alone may be acted on, and what is never taken for "there is none"."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import CommandFailed, ConnectionFailed, Fenced, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.records import run_number
from parallel_build.records.copies import SECOND, RecordCopies
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.record_file import Held, RecordFile
from parallel_build.records.run_number import Claims
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.openssh import Result
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

HERE = site()
pytestmark = pytest.mark.processes


class Machine(LocalHost):
    """A host with a machine-id of its own, which may be lost, or lost in the middle of a write."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.folder, self.machine, self.lost = folder, f"machine of {name}", False
        self.server = HERE.configuration.original.database.source.model_copy(update={"name": name})
        self.before_write: Callable[[], Any] | None = None

    def _reached(self) -> None:
        if self.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "no route", "")

    def run(self, argv: Any, **options: Any) -> Result:
        if options.get("input") and self.before_write is not None:
            before, self.before_write = self.before_write, None
            before()
        self._reached()
        return super().run(argv, **options)

    def read(self, path: str, **given: Any) -> bytes | None:
        self._reached()
        return self.machine.encode() + b"\n" if path == "/etc/machine-id" else super().read(path, **given)


class Cloud:
    """An original's source and a new one, with what the operator and the platform say of them."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = (Machine(name, folder / name) for name in ("olddb1", "newdb1"))
        self.down: set[str] = set()
        self.asked: list[tuple[str, bool]] = []

    def prove(self, host: Any, error: ParallelBuildError, returning: bool) -> None:
        self.asked.append((host.name, returning))
        if host.name not in self.down:
            raise ConnectionFailed(f"{host.name}: it may still be running", "", "")

    def store(self, token: int | None = None, looking: bool = False) -> WindowStore:
        """As a process of its own would have it."""
        for host in (self.old, self.new):
            host.token = token
        files = [RecordFile(host, str(host.folder), name) for host, name in ((self.old, "window.json"), (self.new, SECOND))]
        return WindowStore(self.old, HERE, RecordCopies(files[0], files[1], None if looking else self.prove, HostNotes()))

    def path(self, host: Machine) -> Path:
        return host.folder / ("window.json" if host is self.old else SECOND)

    def text(self, host: Machine) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path(host).read_bytes().partition(b"\n")[0])
        return found


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """An open window, from its opening on one host."""
    found = Cloud(tmp_path)
    found.old.folder.mkdir()
    record = WindowRecord("test", HERE.identity, opened="then", number=1, revision=1, holders={"olddb1": {"machine": found.old.machine}})
    found.path(found.old).write_text(record.to_json() + "\n")
    return found


@pytest.fixture
def kept(cloud: Cloud) -> Cloud:
    """The same, with a copy on the new source."""
    cloud.store().keep_copy()
    return cloud


def test_before_the_new_source_has_the_data_it_is_not_asked(cloud: Cloud) -> None:
    cloud.new.lost = True
    cloud.store().remember("HostSetting", previous="10.91.0.11")
    assert cloud.store().facts("HostSetting") == {"previous": "10.91.0.11"}
    assert cloud.asked == []


def test_from_then_on_every_write_is_on_both(kept: Cloud) -> None:
    kept.store(token=4).remember("FirstManagement", began=1.0)
    assert kept.text(kept.old) == kept.text(kept.new)
    assert kept.text(kept.old)["holders"] == {"olddb1": {"machine": "machine of olddb1"}, "newdb1": {"machine": "machine of newdb1"}}
    revision = kept.text(kept.old)["revision"]
    kept.store().keep_copy()
    assert kept.text(kept.old)["revision"] == revision, "nothing happens the second time"
    kept.store().close()
    assert kept.text(kept.old)["closed"] and kept.text(kept.old) == kept.text(kept.new)


def test_steps_that_run_side_by_side_never_leave_the_two_copies_apart(cloud: Cloud) -> None:
    """One is about to write on the original's host; before it has, another gives the new source its copy, and comes to the original's host after it."""
    noted = threading.Event()
    keeping = threading.Thread(target=lambda: cloud.store().keep_copy())

    def before_the_note() -> None:
        cloud.old.before_write = lambda: noted.wait(5)
        keeping.start()
        end = time.monotonic() + 1  # long enough for a step that does not wait for its turn
        while not cloud.path(cloud.new).exists() and time.monotonic() < end:
            time.sleep(0.02)

    cloud.old.before_write = before_the_note
    cloud.store().remember("Agents", done=["kvm1"])
    noted.set()
    keeping.join()
    found = cloud.store().read()
    assert found is not None and found.facts["Agents"] == {"done": ["kvm1"]} and set(found.holders) == {"olddb1", "newdb1"}
    assert cloud.text(cloud.old) == cloud.text(cloud.new)


@pytest.mark.parametrize("lost", ["olddb1", "newdb1"])
def test_one_copy_alone_is_looked_at_and_not_acted_on(kept: Cloud, lost: str) -> None:
    kept.store().remember("FirstManagement", began=1.0)
    host, other = (kept.old, kept.new) if lost == "olddb1" else (kept.new, kept.old)
    host.lost, before = True, kept.text(other)
    assert kept.store().look().facts["FirstManagement"] == {"began": 1.0}  # type: ignore[union-attr]
    for act in (
        lambda: kept.store().read(),
        lambda: kept.store().facts("FirstManagement"),
        lambda: kept.store().remember("FirstManagement", began=1.0),
        lambda: kept.store().remember("FirstManagement", began=2.0),
        lambda: kept.store().mark_returning(),
    ):
        with pytest.raises(ConnectionFailed, match=f"{lost}: it may still be running"):
            act()
    assert kept.text(other) == before, "nothing was written"
    assert kept.asked[-1] == (lost, True), "in a rollback the platform may cut its power"
    assert (lost, False) in kept.asked and (lost, True) not in kept.asked[:-1]


@pytest.mark.parametrize("lost", ["olddb1", "newdb1"])
def test_with_the_other_proved_down_one_copy_is_enough_and_a_host_that_comes_back_is_brought_up_to_date(kept: Cloud, lost: str) -> None:
    host, other = (kept.old, kept.new) if lost == "olddb1" else (kept.new, kept.old)
    host.lost = True
    kept.down.add(lost)
    store = kept.store()
    store.mark_retired()
    store.unmark_retired()
    assert store.mark_returning().returning
    assert kept.asked == [(lost, False)], "proved once in a moment, not at every look"
    host.lost = False
    kept.down.clear()
    assert kept.text(host)["returning"] is None
    assert kept.store().read().returning, "the higher of the two is right"  # type: ignore[union-attr]
    kept.store().level()
    assert kept.text(host) == kept.text(other)


def test_a_write_that_ended_between_the_two_hosts_is_found(kept: Cloud) -> None:
    kept.new.before_write = lambda: setattr(kept.new, "lost", True)
    with pytest.raises(ParallelBuildError):
        kept.store().remember("FirstManagement", began=1.0)
    kept.new.lost = False
    assert "FirstManagement" not in kept.text(kept.new)["facts"]
    assert kept.store().facts("FirstManagement") == {"began": 1.0}
    kept.store().remember("HostSetting", previous="x")
    assert kept.text(kept.old) == kept.text(kept.new)


def test_a_new_source_that_dies_in_the_middle_of_a_write_is_proved_down_or_the_write_does_not_count(kept: Cloud) -> None:
    kept.new.before_write = lambda: setattr(kept.new, "lost", True)
    with pytest.raises(ConnectionFailed, match="newdb1: it may still be running"):
        kept.store().remember("FirstManagement", began=1.0)
    kept.new.lost = False
    kept.down.add("newdb1")
    kept.new.before_write = lambda: setattr(kept.new, "lost", True)
    assert kept.store().mark_returning().returning
    assert kept.asked == [("newdb1", False), ("newdb1", True)]


def test_the_copy_is_on_the_new_source_before_the_original_says_so(cloud: Cloud) -> None:
    cloud.old.before_write = lambda: setattr(cloud.old, "lost", True)
    with pytest.raises(ConnectionFailed):
        cloud.store().keep_copy()
    cloud.old.lost = False
    assert cloud.text(cloud.new)["holders"].keys() == {"olddb1", "newdb1"}
    assert cloud.text(cloud.old)["holders"].keys() == {"olddb1"}
    cloud.store().remember("HostSetting", previous="x")
    cloud.store().keep_copy()
    assert cloud.text(cloud.old) == cloud.text(cloud.new)


def test_what_two_threads_of_a_run_write_is_on_both(kept: Cloud) -> None:
    kept.new.before_write = lambda: kept.store(token=3).remember("Hypervisors", up=1)
    kept.store(token=3).remember("FirstManagement", began=1.0)
    assert kept.text(kept.old) == kept.text(kept.new)
    assert kept.store().facts("Hypervisors") == {"up": 1} and kept.store().facts("FirstManagement") == {"began": 1.0}


def test_a_later_run_that_could_not_reach_the_original_has_taken_over(kept: Cloud) -> None:
    earlier = kept.store(token=3)

    def later() -> None:
        kept.old.lost = True
        kept.down.add("olddb1")
        kept.store(token=9).mark_returning()
        kept.old.lost = False
        kept.old.token = kept.new.token = 3

    kept.new.before_write = later
    with pytest.raises(Fenced):
        earlier.remember("FirstManagement", began=1.0)
    assert kept.store().read().returning  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [CommandFailed("Read-only file system", "", ""), Held("window.lock is held", "", "")])
def test_a_new_source_that_is_read_and_can_not_be_written_holds_no_rollback_up(kept: Cloud, error: ParallelBuildError) -> None:
    def refuse() -> None:
        kept.new.before_write = refuse
        raise error

    kept.new.before_write = refuse
    with pytest.raises(ConnectionFailed, match="newdb1: it may still be running"):
        kept.store().remember("FirstManagement", began=1.0)
    kept.store().level()
    kept.down.add("newdb1")
    assert kept.store().mark_returning().facts["FirstManagement"] == {"began": 1.0}
    assert kept.asked == [("newdb1", False), ("newdb1", True)], "its power may be cut for it"


def test_an_original_that_can_not_be_brought_up_to_date_is_reported(kept: Cloud) -> None:
    kept.old.lost = True
    kept.down.add("olddb1")
    kept.store().mark_returning()
    kept.old.lost = False

    def refuse() -> None:
        raise CommandFailed("Read-only file system", "", "")

    kept.old.before_write = refuse
    with pytest.raises(CommandFailed):
        kept.store().level()


@pytest.mark.parametrize("raw", [b'{"identity": "x", "fac', b"", b"\n" * 100, b"[]\n"])
@pytest.mark.parametrize("torn", ["olddb1", "newdb1"])
def test_a_copy_that_says_nothing_is_an_error_and_restored_from_the_other(kept: Cloud, torn: str, raw: bytes) -> None:
    kept.store().remember("FirstManagement", began=1.0)
    host = kept.old if torn == "olddb1" else kept.new
    kept.path(host).write_bytes(raw)
    acts: tuple[Callable[[], Any], ...] = (lambda: kept.store().read(), lambda: kept.store().remember("FirstManagement", good=True))
    for act in acts:
        with pytest.raises(GuardFailed, match=rf"can't be used.*parallel-build recover test --restore-record {torn}"):
            act()
    assert kept.path(host).read_bytes() == raw
    assert kept.store(looking=True).look().facts["FirstManagement"] == {"began": 1.0}  # type: ignore[union-attr]
    kept.store(looking=True).copies.restore(torn)  # type: ignore[union-attr]
    assert kept.text(kept.old) == kept.text(kept.new)
    assert kept.store().facts("FirstManagement") == {"began": 1.0}
    kept.store().remember("FirstManagement", good=True)


def told(store: WindowStore) -> list[str]:
    """What it reports of copies that it passes over."""
    lines: list[str] = []
    assert store.copies is not None
    store.copies.tell = lines.append
    return lines


@pytest.mark.parametrize("raw", [b"", b'{"identity": "x", "fac', None])
@pytest.mark.parametrize("torn", ["olddb1", "newdb1"])
def test_a_rollback_continues_with_the_copy_that_is_whole(kept: Cloud, torn: str, raw: bytes | None) -> None:
    kept.store().remember("FirstManagement", began=1.0)
    host, other = (kept.old, kept.new) if torn == "olddb1" else (kept.new, kept.old)
    if raw is None:
        kept.path(host).unlink()
    else:
        kept.path(host).write_bytes(raw)
    store = kept.store()
    lines = told(store)
    record = store.mark_returning()
    assert record.facts["FirstManagement"] == {"began": 1.0} and record.holders.keys() == {"olddb1", "newdb1"}
    assert len(lines) == 1 and f"{other.name} has the higher copy" in lines[0] and torn in lines[0]
    assert kept.text(kept.old) == kept.text(kept.new), "and the torn one is good again"
    kept_files = [path for path in host.folder.glob("window*-1*.json") if raw and path.read_bytes() == raw]
    assert len(kept_files) == (1 if raw else 0) or raw == b"", "what was found is kept"
    store.remember("Window", more=True)
    assert len(lines) == 1
    assert kept.asked == [], "nothing was powered off for it"


@pytest.mark.parametrize("torn", ["olddb1", "newdb1"])
def test_a_rollback_does_not_rest_on_a_copy_that_may_know_less_than_the_torn_one(kept: Cloud, torn: str) -> None:
    lost, alone = (kept.new, kept.old) if torn == "olddb1" else (kept.old, kept.new)
    lost.lost = True
    kept.down.add(lost.name)
    kept.store().remember("FirstManagement", began=1.0)
    lost.lost = False
    kept.path(alone).write_bytes(b'{"facts": {"First')
    with pytest.raises(GuardFailed, match=f"--restore-record {torn}"):
        kept.store().mark_returning()


@pytest.mark.parametrize("before", [b"", b'{"facts": ', None])
def test_without_the_text_before_nobody_can_tell(kept: Cloud, before: bytes | None) -> None:
    kept.store().remember("FirstManagement", began=1.0)
    kept.path(kept.new).write_bytes(b"{")
    earlier = kept.path(kept.new).with_name(SECOND + ".1")
    if before is None:
        earlier.unlink()
    else:
        earlier.write_bytes(before)
    if before == b"":
        kept.store().mark_returning()  # room that was set aside: the torn one was the first
    else:
        with pytest.raises(GuardFailed, match="--restore-record newdb1"):
            kept.store().mark_returning()


@pytest.mark.parametrize("stale", ["olddb1", "newdb1"])
def test_the_higher_of_two_sound_copies_is_not_written_over(kept: Cloud, stale: str) -> None:
    old, right = (kept.old, kept.new) if stale == "olddb1" else (kept.new, kept.old)
    old.lost = True
    kept.down.add(stale)
    kept.store().remember("FirstManagement", began=1.0)
    old.lost = False
    before = kept.text(right)
    with pytest.raises(GuardFailed, match=rf"{right.name} has a sound copy .*--restore-record {stale}"):
        kept.store(looking=True).copies.restore(right.name)  # type: ignore[union-attr]
    assert kept.text(right) == before and "FirstManagement" not in kept.text(old)["facts"]
    kept.store(looking=True).copies.restore(stale)  # type: ignore[union-attr]
    assert kept.text(old) == kept.text(right) and kept.store().facts("FirstManagement") == {"began": 1.0}


def test_the_copy_of_another_clouds_open_window_is_not_restored_over(cloud: Cloud) -> None:
    other = WindowRecord("theirs", "another", opened="then", holders={"olddb9": {"machine": "m"}, "newdb1": {"machine": cloud.new.machine}})
    cloud.new.folder.mkdir()
    cloud.path(cloud.new).write_text(other.to_json() + "\n")
    cloud.path(cloud.old).write_text(cloud.path(cloud.old).read_text().replace('"closed": null', '"closed": "now"'))
    with pytest.raises(GuardFailed, match="open window of stack theirs with another original: olddb9"):
        cloud.store(looking=True).copies.restore("newdb1")  # type: ignore[union-attr]
    assert cloud.text(cloud.new)["identity"] == "another"


@pytest.mark.parametrize("gone", ["olddb1", "newdb1"])
def test_a_copy_that_was_removed_is_not_taken_for_none(kept: Cloud, gone: str) -> None:
    host = kept.old if gone == "olddb1" else kept.new
    kept.path(host).unlink()
    with pytest.raises(GuardFailed, match=rf"{gone} has no copy of the window's record.*--restore-record {gone}"):
        kept.store().read()
    kept.store(looking=True).copies.restore(gone)  # type: ignore[union-attr]
    assert kept.store().read() is not None
    assert kept.text(kept.old) == kept.text(kept.new)


@pytest.mark.parametrize("cloned", ["olddb1", "newdb1"])
def test_a_host_that_was_created_again_is_told_apart(kept: Cloud, cloned: str) -> None:
    host = kept.old if cloned == "olddb1" else kept.new
    host.machine = "a clone"
    acts: tuple[Callable[[], Any], ...] = (lambda: kept.store().read(), lambda: kept.store().mark_returning())
    for act in acts:
        with pytest.raises(GuardFailed, match=rf"{cloned} is another machine than the one .*--restore-record {cloned}"):
            act()
    kept.store(looking=True).copies.restore(cloned)  # type: ignore[union-attr]
    assert kept.store().mark_returning().holders[cloned] == {"machine": "a clone"}


def test_a_clone_of_the_only_host_is_told_apart_too(cloud: Cloud) -> None:
    cloud.old.machine = "a clone"
    with pytest.raises(GuardFailed, match=r"olddb1 is another machine .* machine-id a clone, was machine of olddb1"):
        cloud.store().read()
    cloud.store(looking=True).copies.restore("olddb1")  # type: ignore[union-attr]
    assert cloud.store().read() is not None


def test_an_original_put_back_from_a_backup_does_not_hide_the_window(kept: Cloud) -> None:
    kept.store().remember("FirstManagement", began=1.0)
    earlier = WindowRecord("test", HERE.identity, opened="long ago", closed="long ago", number=0, token=0, revision=9)
    kept.path(kept.old).write_text(earlier.to_json() + "\n")
    assert kept.store().facts("FirstManagement") == {"began": 1.0}
    kept.store().level()
    assert kept.text(kept.old) == kept.text(kept.new)


def test_two_copies_of_one_revision_that_differ_are_an_error(kept: Cloud) -> None:
    kept.path(kept.new).write_text(json.dumps({**kept.text(kept.new), "switched": "by hand"}) + "\n")
    with pytest.raises(GuardFailed, match="have the same revision, and are not the same"):
        kept.store().read()


def test_the_copy_of_another_originals_open_window_is_not_written_over(cloud: Cloud) -> None:
    cloud.new.folder.mkdir()
    other = WindowRecord(
        "other", "another's", opened="then", holders={"olddb9": {"machine": "9"}, "newdb1": {"machine": cloud.new.machine}}
    )
    cloud.path(cloud.new).write_text(other.to_json() + "\n")
    assert cloud.store().read() is not None
    with pytest.raises(GuardFailed, match="of an open window of stack other with another original: olddb9"):
        cloud.store().keep_copy()
    assert cloud.text(cloud.new)["stack"] == "other"
    other.retired = "then"
    cloud.path(cloud.new).write_text(other.to_json() + "\n")
    cloud.store().keep_copy()
    assert cloud.text(cloud.new)["stack"] == "test"


def test_no_window_opens_while_the_new_source_has_one_of_another_original(cloud: Cloud) -> None:
    cloud.path(cloud.old).unlink()
    cloud.new.folder.mkdir()
    other = WindowRecord("other", "another's", opened="then", number=3, holders={"olddb9": {"machine": "9"}})
    cloud.path(cloud.new).write_text(other.to_json() + "\n")
    with pytest.raises(GuardFailed, match="another original: olddb9"):
        cloud.store().open()
    assert not cloud.path(cloud.old).exists()


def test_a_new_window_has_one_copy_again_and_an_old_one_counts_for_nothing(kept: Cloud) -> None:
    kept.store(token=2).close()
    opened = kept.store(token=3).open()
    assert (opened.number, opened.holders) == (2, {"olddb1": {"machine": "machine of olddb1"}})
    assert kept.text(kept.new)["closed"]
    kept.new.lost = True
    kept.store(token=3).remember("Window", guards=[])
    kept.new.lost = False
    kept.store(token=3).keep_copy()
    assert kept.text(kept.old) == kept.text(kept.new)


def test_the_end_of_a_window_that_the_new_source_has_missed_is_brought_to_it(kept: Cloud) -> None:
    kept.new.lost = True
    kept.down.add("newdb1")
    kept.store().close()
    kept.new.lost = False
    assert not kept.text(kept.new)["closed"]
    assert kept.store().read().closed  # type: ignore[union-attr]
    kept.store().level()
    assert kept.text(kept.new)["closed"]


def test_a_retired_windows_original_may_have_been_taken_away(kept: Cloud) -> None:
    kept.store().mark_retired()
    kept.old.lost = True
    assert kept.store().read().retired  # type: ignore[union-attr]
    with pytest.raises(ConnectionFailed):
        kept.store().unmark_retired()


def test_a_record_of_an_earlier_version_gets_its_second_copy(cloud: Cloud) -> None:
    old = {"stack": "test", "identity": HERE.identity, "opened": "then", "facts": {"FirstManagement": {"good": {"seconds": 1.0}}}}
    cloud.path(cloud.old).write_text(json.dumps(old))
    cloud.store(token=1).remember("HostSetting", previous="x")
    assert cloud.text(cloud.old)["holders"] == {}
    cloud.store(token=1).keep_copy()
    assert cloud.text(cloud.old) == cloud.text(cloud.new)
    assert cloud.text(cloud.new)["facts"]["FirstManagement"] == {"good": {"seconds": 1.0}}


def test_a_host_that_nobody_needed_a_moment_ago_is_not_taken_for_one_that_is_down(cloud: Cloud) -> None:
    cloud.store().close()
    cloud.new.lost = True
    early = cloud.store()
    assert early.read().closed and cloud.asked == []  # type: ignore[union-attr]
    cloud.new.lost = False
    other = cloud.store()
    other.open()
    other.keep_copy()
    cloud.new.lost = True
    with pytest.raises(ConnectionFailed, match="newdb1: it may still be running"):
        early.read()
    cloud.down.add("newdb1")
    assert early.read() is not None and early.read() is not None
    assert cloud.asked == [("newdb1", False), ("newdb1", False)], "proved once"


def test_numbers_of_runs_are_agreed_on_by_both_hosts(kept: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken: dict[str, int] = {"olddb1": 4, "newdb1": 11}

    def following(host: Any, known: int, limit: float = 0) -> int:
        taken[host.name] = max(taken[host.name], known) + 1
        return taken[host.name]

    monkeypatch.setattr(run_number, "_next", following)

    def take() -> int:
        return Claims().take(kept.old, HERE, kept.store())

    assert [take(), take()] == [12, 13]
    kept.old.lost = True
    assert take() == 14, "the host that is left knows all that were taken"
    kept.old.lost = False
    assert take() == 15
    kept.new.lost = True
    assert take() == 16


@pytest.mark.parametrize(
    "error",
    [ConnectionFailed("newdb1 did not answer", "", ""), GuardFailed("number.lock is held", "", ""), StepFailed("no number", "", "")],
)
def test_a_new_source_that_answers_and_gives_no_number_holds_no_run_up(
    kept: Cloud, monkeypatch: pytest.MonkeyPatch, error: ParallelBuildError
) -> None:
    ill = "newdb1"

    def following(host: Any, known: int, limit: float = 0) -> int:
        if host.name == ill:
            raise error
        return known + 5

    monkeypatch.setattr(run_number, "_next", following)
    assert Claims().take(kept.old, HERE, kept.store()) == 5
    ill = "olddb1"
    with pytest.raises(type(error)):
        Claims().take(kept.old, HERE, kept.store())

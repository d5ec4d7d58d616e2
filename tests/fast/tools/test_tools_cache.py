"""The shared cache: built once, by one run at a time, whole or not at all."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from tools import cache


def write(text: str, path: Path) -> None:
    path.mkdir()
    (path / "content").write_text(text)


def build_slowly(target: Path, log: Path) -> None:
    def build(temporary: Path) -> None:
        with log.open("a") as stream:
            stream.write("built\n")
        time.sleep(0.3)
        write("whole", temporary)

    cache.build_once(target, "thing", build)


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    target = tmp_path / "thing"
    assert cache.build_once(target, "thing", lambda path: write("first", path))
    assert not cache.build_once(target, "thing", lambda path: write("second", path))
    assert (target / "content").read_text() == "first"


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        write("half", path)
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError):
        cache.build_once(tmp_path / "thing", "thing", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    write("half", tmp_path / ".thing.tmp-1")
    (tmp_path / ".thing.tmp-2").write_text("half")
    cache.build_once(tmp_path / "thing", "thing", lambda path: write("whole", path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".thing.lock", "thing"]


def test_two_runs_build_once(tmp_path: Path) -> None:
    target, log = tmp_path / "thing", tmp_path / "log"
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=build_slowly, args=(target, log)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(20)
    assert [run.exitcode for run in runs] == [0, 0, 0]
    assert log.read_text() == "built\n"
    assert (target / "content").read_text() == "whole"


def test_checksum_tells_parts_apart() -> None:
    assert cache.checksum("ab", "c") != cache.checksum("a", "bc")
    assert cache.checksum("a", "b") != cache.checksum("b", "a")
    assert cache.checksum("a", b"b") == cache.checksum(b"a", "b")


def test_checksum_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    seen = set()
    for name, text in (("a", "1"), ("a", "2"), ("b", "2")):
        (tmp_path / name).write_text(text)
        seen.add(cache.checksum_of_folder(tmp_path))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("configured", "expected"),
    [("/elsewhere", "/elsewhere/cloudstack-parallel-build"), ("relative", "/home/x/.cache/cloudstack-parallel-build"),
     ("", "/home/x/.cache/cloudstack-parallel-build")],
)  # fmt: skip
def test_cache_directory(monkeypatch: pytest.MonkeyPatch, configured: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("XDG_CACHE_HOME", configured)
    assert cache.cache_directory() == Path(expected)


def test_write_atomically_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file"
    cache.write_atomically(file, "old")
    cache.write_atomically(file, "new", mode=0o600)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o600)
    assert [path.name for path in file.parent.iterdir()] == ["file"]

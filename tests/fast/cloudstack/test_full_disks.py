"""A start that failed on a full disk is reported so, whatever else its log says, and whether or not it could still write a log."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import startup
from parallel_build.cloudstack.log import LogFollower, Mark, StartReading
from parallel_build.cloudstack.startup import Expectation, StartFailed, StartWatch
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote import full_disks
from parallel_build.remote.openssh import Result
from tests.fast.asked_host import AskedHost
from tests.fast.sites import site

DF = """#!/bin/sh
# df -P -k|-i PATH: the rows that the test has written for the path
echo header
grep "^$2 $3 " {folder}/rows | cut -d' ' -f3-
"""


class Here(AskedHost):
    """A server that is this machine, whose df says what a test wants."""

    def __init__(self, folder: Path, rows: Sequence[str]) -> None:
        super().__init__("newms1")
        self.folder = folder
        (folder / "rows").write_text("".join(f"{row}\n" for row in rows))
        (folder / "df").write_text(DF.format(folder=folder))
        (folder / "df").chmod(0o755)

    def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
        environment = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-s", "--", *args], input=text, text=True, capture_output=True, env=environment, check=True)
        return Result(0, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["-k / /dev/a 100 50 50000 50% /", "-i / /dev/a 900 1 899 1% /"], []),
        (["-k / /dev/a 100 100 0 100% /", "-i / /dev/a 900 1 899 1% /"], ["/ of newms1 is full (0 KiB free)"]),
        (["-k / /dev/a 100 50 50000 50% /", "-i / /dev/a 900 900 0 100% /"], ["/ of newms1 is full (0 inodes free)"]),
        # A file system that makes inodes as it needs them says that it has none.
        (["-k / /dev/a 100 50 50000 50% /", "-i / /dev/a 0 0 0 - /"], []),
    ],
    ids=["room", "no room", "no inodes", "no inodes by design"],
)
def test_room_and_inodes_both_count(tmp_path: Path, rows: list[str], found: list[str]) -> None:
    assert full_disks.full(Here(tmp_path, rows), ("/", "/surely/not/there")) == found


@pytest.mark.parametrize("error", [ConnectionFailed("gone", "", ""), CommandFailed("no", "", "")])
def test_a_server_that_can_not_be_asked_is_not_accused(error: Exception) -> None:
    class Gone(AskedHost):
        def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
            raise error

    assert full_disks.full(Gone()) == []


def watch(monkeypatch: pytest.MonkeyPatch, full: list[str], journal: str = "") -> StartWatch:
    """A watch over a start that has ended; these disks are full, and its unit's journal has these lines."""

    class Machine(AskedHost):
        def run(self, argv: Sequence[str], **_: Any) -> Result:
            return Result(0, journal, "")

    def lost() -> Any:
        raise ConnectionFailed("newdb1 went away", "", "")

    monkeypatch.setattr(startup, "full", lambda host, paths=(): list(full))
    here = site()
    host = Machine("newms1")
    found = StartWatch(
        here.configuration.new.management[0],
        host,
        lost,
        object(),  # type: ignore[arg-type]
        Expectation(here.configuration.new.version, True),
        LogFollower(host, Mark(0, 0)),
    )
    found.reading = StartReading()
    return found


LATER = "2026-11-22 16:50:01,000 ERROR [c.c.u.DatabaseUpgradeChecker] (main:[]) (logid:) Error decrypting value: HAqPw*****"


def test_a_full_disk_is_the_cause_although_the_log_simply_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    error = watch(monkeypatch, ["/ of newms1 is full (0 KiB free)"])._failed("it ended")
    assert isinstance(error, StartFailed)
    assert "/ of newms1 is full" in str(error) and "make room there" in str(error)
    assert "key file" not in str(error)


def test_a_full_disk_is_the_cause_although_the_log_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = watch(monkeypatch, ["/var of newms1 is full (0 KiB free)"])
    watched.reading.take(LATER)
    assert "database key" not in str(watched._failed("it ended"))


@pytest.mark.parametrize(
    "line",
    [
        "java.io.IOException: No space left on device",
        LATER.replace("Error decrypting", "Got error 28"),
    ],
)
def test_a_disk_that_has_room_again_is_known_by_the_log(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    watched = watch(monkeypatch, [])
    watched.reading.take(line)
    watched.reading.take(LATER)
    printed = str(watched._failed("it ended"))
    assert "it says: " in printed and "make room" in printed


def test_or_by_the_units_journal_where_no_log_could_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "write error: No space left" in str(
        watch(monkeypatch, [], "starting\nsh: write error: No space left on device\n")._failed("it ended")
    )


def test_without_any_of_it_the_key_file_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no disk is full" in str(watch(monkeypatch, [], "starting\n")._failed("it ended"))

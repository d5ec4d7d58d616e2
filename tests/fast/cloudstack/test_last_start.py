"""Why a server that ran does not serve: by the log of its last start alone, or by how its process ended."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import last_start
from parallel_build.errors import ConnectionFailed
from parallel_build.remote.openssh import Result
from tests.fast.asked_host import AskedHost
from tests.fast.cloudstack.test_startup_causes import COMMANDS, LINE, MODULE

DAEMON = LINE.format("INFO ", "o.a.c.ServerDaemon", "main", "Initializing server daemon on null, with http.enable=true")
KEY = LINE.format("ERROR", "c.c.u.DatabaseUpgradeChecker", "main", "Error decrypting value: HAqPw*****")
FIRE = "Caused by: java.io.IOException: the mill is on fire"


class Server(AskedHost):
    """A server that is this machine, with this log and this answer of systemctl."""

    def __init__(self, folder: Path, lines: Sequence[str], unit: str) -> None:
        super().__init__("oldms1")
        self.log, self.unit = folder / "log", unit
        self.log.write_text("".join(f"{line}\n" for line in lines))

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        return Result(0, self.unit, "")

    def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
        done = subprocess.run(["sh", "-s", "--", *args], input="set -eu\n" + text, text=True, capture_output=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)


RUNS = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=7\n"
KILLED = "LoadState=loaded\nActiveState=failed\nUnitFileState=enabled\nMainPID=0\nResult=signal\nExecMainCode=2\nExecMainStatus=9\nExecMainPID=7\n"
EXITED = KILLED.replace("Result=signal\nExecMainCode=2\nExecMainStatus=9", "Result=exit-code\nExecMainCode=1\nExecMainStatus=5")


@pytest.mark.parametrize(
    ("lines", "unit", "words", "cause"),
    [
        ([DAEMON, KEY, DAEMON, COMMANDS, MODULE, FIRE], RUNS, "runs and does not serve", "the mill is on fire"),
        ([DAEMON, KEY], RUNS, "runs and does not serve", "the database key or the encryptor version is wrong"),
        ([DAEMON, KEY, DAEMON], RUNS, "runs and does not serve", "user cloud may not read the key file"),
        ([DAEMON, KEY], KILLED, "was killed by SIGKILL", "something killed it"),
        ([DAEMON, KEY], EXITED, "ended with exit code 5", "the database key"),
        ([], RUNS, "runs and does not serve", "has written nothing to its log"),
    ],
)
def test_the_last_start_counts(tmp_path: Path, lines: list[str], unit: str, words: str, cause: str) -> None:
    server = Server(tmp_path, lines, unit)
    printed, found = last_start.why(server, str(server.log))
    assert printed == words and cause in found.cause and found.remedy
    assert "commands.properties" not in found.cause


def test_a_server_that_is_gone_is_not_accused(tmp_path: Path) -> None:
    class Gone(Server):
        def run(self, argv: Sequence[str], **_: Any) -> Result:
            raise ConnectionFailed("oldms1 can't be reached", "", "")

    printed, found = last_start.why(Gone(tmp_path, [], RUNS))
    assert printed == "does not serve" and "oldms1 can't be reached" in found.cause

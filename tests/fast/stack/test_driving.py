"""Driving Pulumi: progress as it comes, a signal handed on exactly once, and failures in words.

The CLI is played by a script of a version that writes its events to a file.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from pathlib import Path

import pytest

from parallel_build.configuration import Phase
from parallel_build.stack.automation import Driver, StoppedByOperator, UpFailed

# What the script does on `up` is in the file `plan` next to it; what it was asked for goes to `asked`.
SCRIPT = """#!/bin/bash
here=$(dirname "$0")
echo "$*" >>"$here/asked"
log=""
words=("$@")
for i in "${!words[@]}"; do [ "${words[$i]}" = --event-log ] && log=${words[$((i + 1))]}; done
format='{"sequence":1,"timestamp":1,"diagnosticEvent":{"message":"%s","color":"never","severity":"%s","urn":"urn:x::%s","ephemeral":%s}}\\n'
event() { printf "$format" "$@" >>"$log"; }
case " $* " in
*" version "*) echo v3.205.0 ;;
*" up "*) . "$here/plan" ;;
*" stack history "*) printf '[{"kind":"update","startTime":"2026-01-01T00:00:00.000Z","endTime":"2026-01-01T00:00:01.000Z",'
    echo '"message":"","environment":{},"config":{},"result":"succeeded","version":1}]' ;;
*" stack output "*) echo '{}' ;;
esac
"""
END = """printf '{"sequence":9,"timestamp":1,"cancelEvent":{}}\\n' >>"$log"\n"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the script in it, first on PATH."""
    script = tmp_path / "pulumi"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


STEP = """printf '{"sequence":1,"timestamp":1,"%s":{"metadata":{"op":"%s","urn":"urn:x::%s","type":"%s","provider":""}%s}}\\n' """


def test_what_the_engine_does_to_steps_is_seen(cli: Path) -> None:
    events = [
        ("resourcePreEvent", "create", "cutover-window", "cutover:index:Window", ',"planning":false'),
        ("resOutputsEvent", "create", "cutover-window", "cutover:index:Window", ',"planning":false'),
        ("resourcePreEvent", "delete", "cutover-user-access", "cutover:index:UserAccess", ',"planning":false'),
        ("resOpFailedEvent", "delete", "cutover-user-access", "cutover:index:UserAccess", ',"status":1,"steps":1'),
        ("resourcePreEvent", "create", "newdb1", "libvirt:index/domain:Domain", ',"planning":false'),
    ]
    lines = [STEP + " ".join(shlex.quote(word) for word in event) + ' >>"$log"' for event in events]
    (cli / "plan").write_text("\n".join([*lines, END]))
    seen: list[tuple[str, str, bool]] = []
    Driver("prod", Path("/x.yaml"), lambda _: None, lambda *event: seen.append(event)).up()
    assert seen == [("begin", "Window", False), ("end", "Window", False), ("begin", "UserAccess", True), ("failed", "UserAccess", True)]


def test_progress_is_reported_once_and_configuration_is_written(cli: Path) -> None:
    (cli / "plan").write_text(
        'event "reading both sides" info window true; event "reading both sides" info window true; event done info window true\n' + END
    )
    reported: list[str] = []
    driver = Driver("prod", Path("/x.yaml"), reported.append)
    driver.configure(Phase.SWITCHED, "HostSetting")
    driver.up()
    assert [line.partition(" ")[2] for line in reported] == ["window: reading both sides", "window: done"]
    asked = (cli / "asked").read_text()
    assert "config set phase switched --stack prod --config-file /x.yaml" in asked
    assert "config set --path window.stopBefore HostSetting" in asked
    assert "stack select" not in asked, "the operator's next command goes where he has selected it to go"
    assert "--config-file /x.yaml" in next(line for line in asked.splitlines() if " up " in f" {line} ")


def test_a_failure_has_the_engines_errors(cli: Path) -> None:
    (cli / "plan").write_text('event "2 of 29 guards do not hold" error window false\n' + END + "echo failed >&2; exit 255\n")
    with pytest.raises(UpFailed) as caught:
        Driver("prod", None, lambda _: None).up()
    assert "2 of 29 guards do not hold" in str(caught.value)
    assert "recover prod" in str(caught.value)
    assert not isinstance(caught.value, StoppedByOperator)


def test_a_locked_state_names_the_remedy(cli: Path) -> None:
    words = "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file"
    (cli / "plan").write_text(END + f"echo '{words}' >&2; echo '  file:///s/locks/x.json: created by ann@here (pid 7)' >&2; exit 255\n")
    with pytest.raises(UpFailed) as caught:
        Driver("prod", None, lambda _: None).up()
    assert "the state of stack prod is locked" in str(caught.value)
    assert "ann@here (pid 7)" in str(caught.value)
    assert "pulumi cancel --stack prod" in str(caught.value)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.engine
def test_a_signal_is_handed_on_once_for_each(cli: Path, times: int) -> None:
    (cli / "plan").write_text(
        "n=0; trap 'n=$((n + 1)); echo got >>\"$here/signals\"' INT; event begun info window true\n"
        f"while [ $n -lt {times} ]; do sleep 0.05; done\n" + END + "exit 1\n"
    )

    def interrupt() -> None:
        for number in range(times):
            deadline = time.monotonic() + 20
            while not (cli / "asked").exists() or " up " not in (cli / "asked").read_text() or count() < number:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

    def count() -> int:
        return (cli / "signals").read_text().count("got") if (cli / "signals").exists() else 0

    thread = threading.Thread(target=interrupt)
    before = signal.getsignal(signal.SIGINT)
    driver = Driver("prod", None, lambda _: None)
    thread.start()
    with pytest.raises(StoppedByOperator):
        driver.up()
    thread.join()
    assert count() == times
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stack_that_is_not_there_is_reported(cli: Path) -> None:
    (cli / "pulumi").write_text(
        SCRIPT.replace('*" up "*)', '*" stack --stack prod "*) echo "error: no stack named prod found" >&2; exit 255 ;;\n*" up "*)')
    )
    with pytest.raises(UpFailed, match="can't be driven"):
        Driver("prod", None)

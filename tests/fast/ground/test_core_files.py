"""No process that holds secrets leaves a core file, whatever its parent allows; nor does a program that it starts, here or on a server."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.copy import run_worker
from parallel_build.remote.host import Host
from tests.fast.provider.test_provider_process import ROOT, environment, start_step
from tests.fast.sites import site
from tests.fast.stack.test_stack_file import PASSPHRASE, write

# A process that waits, once it can be killed; with the word `refuse` it has refused core files before.
HOLDER = """
import sys, time
from parallel_build import core_files
if "refuse" in sys.argv:
    core_files.refuse()
print(flush=True)
time.sleep(60)
"""
# Stands for ssh: a file is named after its process, which waits.
SSH = '#!/bin/sh\n: >"$0.$$"; exec sleep 60\n'


def unlimited() -> None:
    """In the child, before its program: a parent that allows core files of any size."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY, reason="no core file is allowed here"
)


def limits(pid: int) -> list[str]:
    """Soft and hard limit of core files, in bytes, as the kernel reports them."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def aborted(process: subprocess.Popen[str]) -> bool:
    """Kill a process as a crash does; whether the kernel dumped its core."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGABRT  # it was waited for here, where the kernel's whole answer is seen
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.engine
def test_a_process_leaves_none_once_it_has_refused(refused: bool, tmp_path: Path) -> None:
    """Without it the same process leaves one: else this would prove nothing."""
    words = [sys.executable, "-c", HOLDER, *(["refuse"] if refused else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment(), preexec_fn=unlimited) as process:
        assert process.stdout is not None and process.stdout.readline() == "\n"
        assert limits(process.pid) == (["1", "1"] if refused else ["unlimited", "unlimited"])
        assert aborted(process) is not refused
    if refused:
        assert list(tmp_path.iterdir()) == []


@pytest.mark.engine
def test_the_provider_leaves_none(tmp_path: Path) -> None:
    """Killed in the middle of a step, with the stack's secrets in its memory."""
    with socket.create_server(("127.0.0.1", 0)) as engine:
        words = [sys.executable, "-m", "tests.fast.provider_toy_process", str(tmp_path / "pid"), f"127.0.0.1:{engine.getsockname()[1]}"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(), preexec_fn=unlimited) as process:
            assert process.stdout is not None
            start_step(int(process.stdout.readline()), tmp_path)
            assert limits(process.pid) == ["1", "1"]
            assert not aborted(process)


@pytest.mark.engine
def test_the_command_line_and_its_ssh_leave_none(tmp_path: Path) -> None:
    """Killed while it waits for a server, its stack's secrets opened."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    stack = write(tmp_path / "Pulumi.test.yaml")
    more = {
        "PATH": f"{ssh.parent}:{os.environ['PATH']}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
    }
    words = [sys.executable, "-m", "parallel_build", "facts", "test", "--config-file", str(stack)]
    process = subprocess.Popen(words, text=True, cwd=ROOT, env={**environment(), **more}, preexec_fn=unlimited, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while not (started := [int(path.suffix[1:]) for path in ssh.parent.glob("ssh.*")]):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert limits(process.pid) == limits(started[0]) == ["1", "1"]
        assert not aborted(process)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        for path in ssh.parent.glob("ssh.*"):
            os.kill(int(path.suffix[1:]), signal.SIGKILL)


def test_a_command_on_a_server_leaves_none(tmp_path: Path) -> None:
    own = site()
    host = Host(own.configuration.original.management[0], own.configuration.ssh, tmp_path, None, CancelToken())
    *_, line = host.piped(["sh", "-c", 'ulimit -c; ulimit -Hc; echo "$1"', "sh", "two  words"], 10)
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, preexec_fn=unlimited)
    assert done.stdout.splitlines() == ["0", "0", "two  words"]
    assert "--property=LimitCORE=0" in run_worker.LAUNCH, "systemd starts the copy's program, not the session"

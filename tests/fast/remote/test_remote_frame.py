"""Commands over a real sshd: nothing but the command's own answer is taken for it, and nothing begins on half of its input."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced
from parallel_build.remote import frame as frame_module
from parallel_build.remote.frame import Frame
from parallel_build.remote.host import Host
from parallel_build.remote.openssh import Result
from tests.fast.ssh_server import SshServer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with contextlib.closing(SshServer(tmp_path)) as found:
        yield found


@pytest.fixture
def host(server: SshServer) -> Iterator[Host]:
    with contextlib.closing(server.host()) as opened:
        yield opened


def test_answers_exit_codes_and_input_come_through(host: Host) -> None:
    assert host.run(["printf", "a b\\n"]).stdout == "a b\n"
    odd = host.run(["sh", "-c", "printf out; printf err >&2; exit 7"], ok=(7,))
    assert (odd.stdout, odd.stderr, odd.code) == ("out", "err", 7)
    data = bytes(range(256)) * 300
    assert host.run(["sha256sum"], input=data).stdout == host.run(["sha256sum"], input=data).stdout
    assert host.run(["wc", "-c"], input=data).stdout.strip() == str(len(data))
    assert host.run(["cat"]).stdout == ""


@pytest.mark.parametrize("code", [255, 124, 137, 46, 1])
def test_a_commands_own_exit_code_is_not_taken_for_one_of_ssh(host: Host, code: int) -> None:
    assert host.run(["sh", "-c", f"exit {code}"], ok=(code,)).code == code
    with pytest.raises(CommandFailed, match=f"exit code {code}"):
        host.run(["sh", "-c", f"exit {code}"])


@pytest.mark.parametrize(("limit", "words"), [(1.0, "1 s"), (0.3, "0 s")])
def test_a_command_that_hangs_is_ended_and_called_so(host: Host, limit: float, words: str) -> None:
    with pytest.raises(CommandFailed, match=f"did not end within {words}"):
        host.run(["sleep", "20"], timeout=limit)


@pytest.mark.parametrize("lines", [0, 50_000])
def test_a_program_that_a_command_leaves_running_keeps_nobody_waiting(host: Host, lines: int) -> None:
    began = time.monotonic()
    command = f"sleep 600 & echo $!; echo turned >&2; seq {lines}; exit 3"
    done = host.run(["sh", "-c", command], timeout=300, ok=(3,))
    assert time.monotonic() - began < 200
    pid, *rest = done.stdout.split()
    assert rest == [str(number) for number in range(1, lines + 1)] and done.stderr == "turned\n"
    os.kill(int(pid), signal.SIGKILL)  # it is there: whoever ran it wanted it to stay


@pytest.mark.parametrize("banner", ["Welcome to olddb1", "", "aGVsbG8K", "/run/mysqld/mysqld.sock"])
def test_what_a_login_shell_prints_is_no_answer(tmp_path: Path, banner: str) -> None:
    made = SshServer(tmp_path, f'sh -c \'echo "{banner}"; echo "{banner}" >&2; eval "$SSH_ORIGINAL_COMMAND"; echo bye\'')
    (tmp_path / "file").write_text("guid=1\n")
    with contextlib.closing(made) as server, contextlib.closing(server.host()) as host:
        assert host.read(str(tmp_path / "file")) == b"guid=1\n"
        assert host.script("echo one; echo two >&2") == Result(0, "one\n", "two\n")
        with pytest.raises(CommandFailed, match="ended with exit code 3"):
            host.run(["sh", "-c", "exit 3"])


def test_an_account_that_may_run_nothing_is_named(tmp_path: Path) -> None:
    made = SshServer(tmp_path, "sh -c 'echo This account is not available.; exit 1'")
    with (
        contextlib.closing(made) as server,
        contextlib.closing(server.host()) as host,
        pytest.raises(ConnectionFailed, match=r"can't run commands there.*not available"),
    ):
        host.run(["true"])


def test_a_connection_that_ends_anywhere_leaves_a_file_whole(server: SshServer, tmp_path: Path) -> None:
    target, old, new = (
        tmp_path / "agent.properties",
        "guid=abc\nzone=1\nhost=10.0.0.1\n",
        "guid=abc\nzone=1\n" + "x" * 9000 + "\nhost=10.0.0.9\n",
    )
    target.write_text(old)
    with contextlib.closing(server.host()) as host:
        host.run(["true"])
        before = server.sent
        host.write(str(target), new, owner=f"{os.getuid()}:{os.getgid()}")
        whole = server.sent - before
    found = set()
    for step in range(10):
        target.write_text(old)
        with contextlib.closing(server.host()) as host:
            host.run(["true"])
            server.cut_after(server.sent + whole * step // 10)
            with contextlib.suppress(ConnectionFailed, CommandFailed):
                host.write(str(target), new, owner=f"{os.getuid()}:{os.getgid()}", timeout=10)
            server.cut_after(None)
        text = target.read_text()
        assert text in (old, new), f"torn when cut at {step}/10"
        found.add(text == new)
    assert found >= {False}


@pytest.mark.parametrize("kept", [0, 1, 40, 200])
def test_half_of_a_script_or_statement_is_never_run(host: Host, tmp_path: Path, kept: int) -> None:
    marker = tmp_path / "deleted"
    statement = f"set -eu\nrm -rf {tmp_path}/none\ntouch {marker} # WHERE id = 1\n".encode() + b"#" * 200
    frame = Frame(statement)
    header = frame.input.index(b"\n") + 1
    raw = host._client.attempt(host._login_line(frame.words(["sh", "-s"])), frame.input[: header + kept], 10, False)
    answer = frame.read(raw)
    assert (answer.end, answer.process, marker.exists()) == ("torn", None, False)


def test_a_lost_connection_is_no_exit_code(host: Host) -> None:
    frame = Frame(b"")
    lost = Result(255, f"{frame.mark}\nhalf", f"motd\n{frame.mark}\n{frame.mark} 77\nsome words")
    answer = frame.read(lost)
    assert (answer.began, answer.process, answer.code, answer.stdout) == (True, 77, None, "half")
    with pytest.raises(ConnectionFailed, match="was lost while true ran"):
        raise host._unanswered(answer, lost, ["true"])


def test_a_cancelled_command_is_ended_on_the_server(server: SshServer, tmp_path: Path) -> None:
    cancel, release = CancelToken(), tmp_path / "release"
    with contextlib.closing(server.host(cancel)) as host, contextlib.closing(server.host()) as other:
        started = tmp_path / "started"

        def interrupt() -> None:
            wait_for("the command to begin", started.exists, timeout=20, cancel=CancelToken())
            cancel.set("^C")

        threading.Thread(target=interrupt).start()
        with pytest.raises(Cancelled):
            host.run(["sh", "-c", f"touch {started}; sleep 3; echo forward >{release}"], timeout=60)
        other.run(["sh", "-c", f"echo reverse >{release}"])
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            assert release.read_text() == "reverse\n"
            time.sleep(0.1)


def test_the_operators_keys_and_display_stay_here(server: SshServer) -> None:
    server.configure(
        "  ForwardAgent yes\n  ForwardX11 yes\n  ForwardX11Trusted yes\n  PermitLocalCommand yes\n  LocalCommand touch /nowhere/x\n"
    )
    with contextlib.closing(server.host()) as host:
        assert host.run(["sh", "-c", "echo agent ${SSH_AUTH_SOCK:-none} display ${DISPLAY:-none}"]).stdout == "agent none display none\n"


def test_a_secret_shows_in_no_argument(host: Host) -> None:
    words = Frame(b"P@ss").words(["cat"])
    assert not any("P@ss" in word or hashlib.sha256(b"P@ss").hexdigest() in word for word in words)


def tokens(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Servers of a test keep their tokens in its own folder."""
    text = frame_module.FRAME.replace(frame_module.FOLDER, str(folder / "lib")).replace(frame_module.VOLATILE, str(folder / "run"))
    monkeypatch.setattr(frame_module, "FRAME", text)


def carrying(server: SshServer, token: int | None) -> Host:
    host = server.host()
    host.token = token
    return host


def test_a_run_that_was_overtaken_changes_nothing(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens(monkeypatch, tmp_path)
    changed = tmp_path / "changed"
    with (
        contextlib.closing(carrying(server, 7)) as old,
        contextlib.closing(carrying(server, 8)) as new,
        contextlib.closing(carrying(server, None)) as looking,
    ):
        old.run(["touch", str(changed)])
        assert new.run(["rm", str(changed)]).ok
        for late in (
            lambda: old.run(["touch", str(changed)]),
            lambda: old.script('touch "$1"', [str(changed)]),
            lambda: old.write(str(changed), "x"),
        ):
            with pytest.raises(Fenced, match="run 8 has taken over, this is run 7"):
                late()
        assert not changed.exists()
        assert looking.run(["true"]).ok and new.run(["true"]).ok
        # A reboot takes what is in memory only.
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(Fenced):
            old.run(["true"])


def test_a_command_of_an_earlier_run_is_ended_before_the_next_one_begins(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens(monkeypatch, tmp_path)
    begun, late = tmp_path / "begun", tmp_path / "late"
    with contextlib.closing(carrying(server, 7)) as old, contextlib.closing(carrying(server, 8)) as new, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(old.run, ["sh", "-c", f"touch {begun}; sleep 30; touch {late}"], timeout=60, ok=None)
        wait_for("the slow command", begun.exists, timeout=20, cancel=CancelToken())
        started = time.monotonic()
        new.run(["true"])
        assert time.monotonic() - started < 15
        assert slow.result().code != 0
    assert not late.exists() and not list((tmp_path / "run/running").iterdir())


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_command_starts_few_programs_besides_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """Thousands are given in a run, and most are done sooner than a program starts."""
    tokens(monkeypatch, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "flock", "mktemp", "rm", "cat", "sha256sum", "echo", "touch"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} >>{tmp_path}/started\nexec {shutil.which(name)} "$@"\n')
        (programs / name).chmod(0o755)
    for again in range(2):
        frame = Frame(b"some words", 7)
        words = frame.words(["cat"])
        if not again:  # makes the folders and keeps the number
            subprocess.run([shell, *words[1:]], input=frame.input, capture_output=True, check=True)
            continue
        done = subprocess.run(
            [str(shutil.which(shell)), *words[1:]], input=frame.input, capture_output=True, check=True, env={"PATH": str(programs)}
        )
        answer = frame.read(Result(done.returncode, done.stdout.decode(), done.stderr.decode()))
        assert (answer.code, answer.stdout, answer.other) == (0, "some words", ""), answer
    assert sorted((tmp_path / "started").read_text().split()) == ["cat", "cat", "flock", "mktemp", "rm", "rm", "sh", "sha256sum"]
    assert not list((tmp_path / "run/running").iterdir())


@pytest.mark.parametrize(
    ("kept", "end"),
    [
        (("7", "8"), "fenced 8"), (("8", "7"), "fenced 8"), (("", "8"), "fenced 8"), (("8", None), "fenced 8"), (("torn", "8"), "fenced 8"),
        (("8", "torn"), "fenced 8"), (("10", "9"), "fenced 10"), ((None, None), "0"), (("", ""), "0"), (("6", "7"), "0"), (("7", "torn"), "0"),
        (("torn", None), ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_highest_number_that_a_server_keeps_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, kept: tuple[str | None, ...], end: str
) -> None:
    tokens(monkeypatch, tmp_path)
    for folder, number in zip(("lib", "run"), kept, strict=True):
        (tmp_path / folder).mkdir()
        if number is not None:
            (tmp_path / folder / "token").write_text(f"{number:<127}\n")
    frame = Frame(b"", 7)
    done = subprocess.run([shell, *frame.words(["true"])[1:]], capture_output=True, check=True)
    assert frame.read(Result(done.returncode, done.stdout.decode(), done.stderr.decode())).end == end


def test_tokens_are_kept_where_the_disk_is_full(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens(monkeypatch, tmp_path)
    (tmp_path / "lib").write_text("a file where the folder should be: nothing can be written there")
    with contextlib.closing(carrying(server, 7)) as old, contextlib.closing(carrying(server, 8)) as new:
        assert old.run(["true"]).ok and new.run(["true"]).ok
        with pytest.raises(Fenced):
            old.run(["true"])


def test_many_commands_at_once_raise_the_token_once(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens(monkeypatch, tmp_path)
    with contextlib.closing(carrying(server, 1)) as old, contextlib.closing(carrying(server, 2)) as new, ThreadPoolExecutor(6) as pool:
        old.run(["true"])
        assert all(done.ok for done in pool.map(lambda _: new.run(["sleep", "0.1"]), range(6)))
        assert (tmp_path / "lib/token").read_text().split() == ["2"]


def test_a_server_that_is_left_keeps_no_number_on_its_disk(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens(monkeypatch, tmp_path)
    folder, memory = tmp_path / "lib", tmp_path / "run"
    names = [str(folder / Path(name).name) for name in frame_module.NUMBERS]
    with contextlib.closing(carrying(server, 7)) as old, contextlib.closing(carrying(server, 8)) as new:
        new.run(["true"])
        (folder / "somebodys").touch()
        for left in (["somebodys"], None):  # a folder with somebody's file in it stays
            new.script(frame_module.FORGET_NUMBERS, [str(folder), str(memory), *names])
            assert (sorted(path.name for path in folder.iterdir()) if folder.exists() else None) == left
            (folder / "somebodys").unlink(missing_ok=True)
        with pytest.raises(Fenced, match="run 8 has taken over"):
            old.run(["true"])

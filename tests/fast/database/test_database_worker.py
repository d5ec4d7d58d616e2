"""The program that runs on the new server, with stand-ins for the client programs: what it sends, counts, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_build.database.copy import pace, progress, run_worker
from parallel_build.durations import roughly

pytestmark = pytest.mark.engine

# Answers as a client program does: a marker line for each statement; SELECT ... FROM rows prints rows, LOAD reads its pipe to the end.
CLIENT = r"""
import re, sys, time
if "--sessions" in sys.argv:
    print(sys.argv[-1])
    sys.exit(0)
rows = 0
for line in sys.stdin:
    line = line.strip().rstrip(";")
    marker = re.match(r"SELECT CONCAT\('(--\w+--) '", line)
    if marker:
        print(marker[1], rows, rows, flush=True)
    elif line.startswith("ROWS"):
        rows = int(line.split()[1])
        sys.stdout.write("".join("%d\tvalue\n" % n for n in range(rows)))
        sys.stdout.flush()
    elif line.startswith("LOAD"):
        with open(line.split()[1]) as pipe:
            rows = sum(1 for _ in pipe)
    elif line.startswith("BUSY"):
        print(open(line.split()[1]).read(), end="")
    elif line.startswith("HANG"):
        time.sleep(600)
    elif line.startswith("ONCE"):
        try:
            open(line.split()[1], "x").close()
        except FileExistsError:
            continue
        sys.stderr.write("ERROR 2026 (HY000): TLS/SSL error: Broken pipe (32)\n")
        sys.exit(1)
    elif line.startswith("FAIL"):
        sys.stderr.write("ERROR 1062 (23000) at line 1: Duplicate entry\n")
        sys.exit(1)
"""


def job(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    client = folder / "client.py"
    client.write_text(CLIENT)
    fifos = folder / "fifos"
    fifos.mkdir()
    document: dict[str, Any] = {
        "marker": "--0123456789abcdef--", "source": [sys.executable, str(client)], "target": [sys.executable, str(client)],
        "source_settings": ["SET a"], "target_settings": ["SET b"], "streams": 2, "snapshot": None,
        "savepoints": False, "spare": 0, "watch": None,
        "session_attempts": 1,
        "compress": False, "compress_options": [], "compress_below": 0, "bytes_per_second": 0, "abandoned": 60, "statements": "", "look": 0.1, "usual": None,
        "wire": None,
        "stalled": 30, "probe": [sys.executable, str(client), "--sessions", "9"],
        "folders": [str(folder)], "low_space": 0, "fifo_folder": str(fifos), "fifo_mark": "@pipe@", "one_by_one": True,
        "parts": [{"table": f"cloud.t{n % 3}", "select": f"ROWS {1000 * n}", "load": "LOAD @pipe@", "weight": n + 1, "unique": True} for n in range(6)],
        "finish": {"cloud.t1": ["ALTER"]},
        **changes,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(document))
    (folder / "order.json").write_text("{}")
    (folder / "alive").touch()
    return folder


def program(folder: Path) -> list[str]:
    """The words that run the worker as the new server does: the archive that is pushed there, and a Python with nothing of this project's."""
    pushed = folder / "worker.pyz"
    pushed.write_bytes(run_worker.archive())
    return [sys.executable, "-I", "-S", str(pushed), str(folder)]


def run(folder: Path) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(program(folder), timeout=60, check=False, capture_output=True)
    return done.returncode, json.loads((folder / "status.json").read_text())


def test_every_row_arrives_and_is_counted(tmp_path: Path) -> None:
    code, status = run(job(tmp_path))
    assert (code, status["state"], status["error"]) == (0, "done", "")
    assert status["rows"] == 15000
    assert status["tables_done"] == 3
    assert status["tables"]["cloud.t1"]["rows"] == 5000
    assert status["bytes"] == sum(len(f"{row}\tvalue\n") for n in range(6) for row in range(1000 * n))


def test_the_new_server_is_not_asked_to_take_in_an_empty_table(tmp_path: Path) -> None:
    parts = [
        {"table": f"cloud.t{n}", "select": f"ROWS {n}", "load": "LOAD @pipe@" if n else "FAIL", "weight": 1, "unique": True}
        for n in range(2)
    ]
    code, status = run(job(tmp_path, parts=parts))
    assert (code, status["error"]) == (0, "")
    assert {name: entry["rows"] for name, entry in status["tables"].items()} == {"cloud.t0": 0, "cloud.t1": 1}
    assert status["tables_done"] == 2


def test_a_server_that_refuses_ends_the_copy_with_its_words(tmp_path: Path) -> None:
    code, status = run(job(tmp_path, finish={"cloud.t1": ["FAIL"]}))
    assert code == 1
    assert status["state"] == "failed"
    assert "Duplicate entry" in status["error"]


def test_a_session_that_a_busy_server_closed_is_opened_again(tmp_path: Path) -> None:
    settings = [f"ONCE {tmp_path}/greeted"]
    code, status = run(job(tmp_path, target_settings=settings, session_attempts=2))
    assert (code, status["rows"]) == (0, 15000)
    (tmp_path / "greeted").unlink()
    code, status = run(job(tmp_path / "again", target_settings=settings))
    assert code == 1
    assert "Broken pipe" in status["error"], "the last attempt's words are shown"


def test_streams_together_keep_to_the_limit(tmp_path: Path) -> None:
    """Also when one of them has all the work: the limit is that of the copy, not a stream's share of it."""
    work = [{"table": "cloud.t", "select": "ROWS 180000", "load": "LOAD @pipe@", "weight": 1, "unique": True}]
    code, status = run(job(tmp_path / "one", parts=work, streams=3, finish={}, bytes_per_second=1_000_000))
    rate = status["bytes"] / status["tables"]["cloud.t"]["seconds"]
    assert code == 0
    assert 0.8e6 < rate < 1.2e6
    work = [{"table": f"cloud.t{n}", "select": "ROWS 30000", "load": "LOAD @pipe@", "weight": 1, "unique": True} for n in range(6)]
    code, status = run(job(tmp_path / "six", parts=work, streams=3, finish={}, bytes_per_second=1_000_000))
    rate = status["bytes"] / (status["ended"] - status["started"])  # the opening of six sessions is in it
    assert code == 0
    assert 0.4e6 < rate < 1.2e6


def test_a_copy_reads_more_slowly_while_the_original_is_busy() -> None:
    held = pace.Pace(1_000_000)
    shares = []
    for running in (1, 1, 7, 7, 7, 7, 1, 1, 5, 1):
        held.heed(running, usual=1.5)
        shares.append(round(held.share, 3))
    assert shares == [1, 1, 0.5, 0.25, 0.125, 0.125, 0.156, 0.195, 0.244, 0.305]


def statements(count: int, state: str = "executing") -> str:
    """What a server answers that so many statements of users run."""
    return "".join(f"{number}\t3\tcloud\t{state.encode().hex()}\t{b'SELECT 1'.hex()}\n" for number in range(count))


def test_what_runs_on_the_original_is_asked_for_before_the_first_row_and_while_rows_are_read(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    busy.write_text(statements(1))
    folder = job(tmp_path / "job", bytes_per_second=20_000, statements=f"BUSY {busy}")
    process = subprocess.Popen(program(folder))
    try:
        _until(folder, lambda status: status["rows"] > 0)
        busy.write_text(statements(9))
        _until(folder, lambda status: status["share"] == pace.LEAST)
        busy.write_text(statements(3) + statements(50, "Waiting for table metadata lock"))
        _until(folder, lambda status: status["share"] > pace.LEAST)
    finally:
        process.kill()
        process.wait()


def test_a_limit_is_changed_while_the_copy_runs(tmp_path: Path) -> None:
    folder = job(tmp_path, bytes_per_second=20_000)
    process = subprocess.Popen(program(folder))
    try:
        _until(folder, lambda status: status["bytes"] > 0)
        (folder / "limit").write_text("0")
        status = _until(folder, lambda status: status["state"] == "done")
        assert status["rows"] == 15000
        assert status["ended"] - status["started"] < 8, "165,000 bytes at the first limit"
    finally:
        process.kill()
        process.wait()


def _until(folder: Path, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The worker's status once something holds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (folder / "status.json").exists():
            status: dict[str, Any] = json.loads((folder / "status.json").read_text())
            if holds(status):
                return status
        time.sleep(0.05)
    raise AssertionError(f"not within 20 s: {(folder / 'status.json').read_text()}")


def test_what_is_whole_is_named_and_the_password_goes_with_the_end(tmp_path: Path) -> None:
    folder = job(tmp_path)
    (folder / "source.cnf").write_text("password")
    run(folder)
    assert sorted((folder / "whole").read_text().split()) == ["cloud.t0", "cloud.t1", "cloud.t2"]
    assert not (folder / "source.cnf").exists()


def test_nobody_watching_ends_the_copy(tmp_path: Path) -> None:
    folder = job(tmp_path, bytes_per_second=100, abandoned=1)
    os.utime(folder / "alive", (time.time() - 100, time.time() - 100))
    code, status = run(folder)
    assert code == 1
    assert "nobody watched" in status["error"]


def test_a_clock_that_is_set_meanwhile_ends_no_copy_that_is_watched(tmp_path: Path) -> None:
    """Whoever watches touches the file; what its time says depends on the machine's clock, which an operator or NTP may set."""
    _, whole = run(job(tmp_path / "whole"))
    folder, ended = job(tmp_path / "slow", bytes_per_second=max(1, whole["bytes"] // 2), abandoned=1), threading.Event()

    def watch() -> None:
        past = time.time() - 5000
        while not ended.wait(0.1):
            past += 1
            os.utime(folder / "alive", (past, past))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        code, status = run(folder)
    finally:
        ended.set()
        watching.join()
    assert (code, status["state"]) == (0, "done"), status


def test_a_disk_that_fills_up_ends_the_copy(tmp_path: Path) -> None:
    code, status = run(job(tmp_path, bytes_per_second=100, low_space=1 << 62))
    assert code == 1
    assert "MiB are left on the disk" in status["error"]


def test_progress_in_words() -> None:
    lines: list[str] = []
    meter = progress.Meter(lines.append, 1000, 4)
    status = {"phase": "copying", "state": "running", "done": 500, "bytes": 3 << 20, "finished_bytes": 3 << 20, "rows": 1234,
              "tables_done": 1, "building": ["cloud.event"]}  # fmt: skip
    assert meter.line(status, 10) == "3.0 MiB, 1,234 rows, 1 of 4 tables, 50%; about 10 s left; building the keys of cloud.event"
    meter.tell(status)
    meter.tell(status)
    assert len(lines) == 1
    assert "at 25% of the limit" in meter.line({**status, "share": 0.25}, 10)
    adopted = progress.Meter(lines.append, 1000, 4)
    adopted.tell(status)
    later = {**status, "done": 750, "bytes": 9 << 19, "finished_bytes": 9 << 19}
    assert "75%; about 10 s left" in adopted.line(later, 10), "a quarter in ten seconds, whatever was there before"
    assert roughly(200) == "3 min 20 s"
    assert roughly(7500) == "2 h 5 min"


def test_an_original_that_forgot_the_sessions_ends_the_copy(tmp_path: Path) -> None:
    parts = [{"table": "cloud.t", "select": "HANG", "load": "LOAD @pipe@", "weight": 1, "unique": True}]
    probe = [sys.executable, str(tmp_path / "client.py"), "--sessions", "0"]
    code, status = run(job(tmp_path, parts=parts, streams=1, stalled=0.5, probe=probe))
    assert code == 1
    assert status["error"] == "the original has ended 1 of the 1 sessions that read it"


def test_an_original_out_of_reach_ends_the_copy(tmp_path: Path) -> None:
    parts = [{"table": "cloud.t", "select": "HANG", "load": "LOAD @pipe@", "weight": 1, "unique": True}]
    probe = [sys.executable, "-c", "import sys; sys.exit('ERROR 2002: no route to host')"]
    code, status = run(job(tmp_path, parts=parts, streams=1, stalled=0.5, probe=probe))
    assert code == 1
    assert "can't be reached any more: ERROR 2002: no route to host" in status["error"]


def test_a_slow_statement_of_a_living_original_is_waited_for(tmp_path: Path) -> None:
    parts = [{"table": "cloud.t", "select": "HANG", "load": "LOAD @pipe@", "weight": 1, "unique": True}]
    code, status = run(job(tmp_path, parts=parts, streams=1, stalled=0.3, abandoned=2))
    assert code == 1
    assert status["error"] == "nobody watched the copy for 2 s"


@pytest.mark.parametrize("late", ["job", "order"])
def test_a_worker_that_was_launched_before_waits_for_its_job_and_its_order(tmp_path: Path, late: str) -> None:
    folder = job(tmp_path / "run")
    (folder / f"{late}.json").rename(folder / f"{late}.new")
    with subprocess.Popen(program(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert not (folder / "status.json").exists()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == {"job": 0, "order": 2}[late], "its sessions on the original are open as soon as it knows how"
        (folder / f"{late}.new").rename(folder / f"{late}.json")
        assert process.wait(timeout=60) == 0
    assert json.loads((folder / "status.json").read_text())["state"] == "done"


def test_a_worker_whose_folder_was_cleared_ends(tmp_path: Path) -> None:
    folder = job(tmp_path / "run")
    (folder / "job.json").unlink()
    pushed = tmp_path / "worker.pyz"
    pushed.write_bytes(run_worker.archive())
    words = [sys.executable, "-I", "-S", str(pushed), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        shutil.rmtree(folder)
        assert process.wait(timeout=60) == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_worker_that_waits_is_given_its_order_and_one_that_has_ended_is_launched_again(tmp_path: Path, waits: bool) -> None:
    folder, programs = tmp_path / "run", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "job.json").write_text("job")
    (folder / "order.new").write_text("order")
    asked = tmp_path / "asked"
    answers = {"systemctl": f'[ "$1" != is-active ] || exit {0 if waits else 3}', "systemd-run": ""}
    for name, answer in answers.items():
        program = programs / name
        # What is there when it is asked: a job that is there already may have ended.
        program.write_text(f'#!/bin/sh\necho "{name} $1 $(ls {folder} | tr "\\n" " ")" >>{asked}\n{answer}\n')
        program.chmod(0o755)
    text = "set -eu\n" + run_worker.START + run_worker.LAUNCH
    words = ["sh", "-s", "--", str(folder), "unit", "python3"]
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(words, input=text, text=True, check=True, timeout=60, env=environment)
    lines = asked.read_text().splitlines()
    assert lines[0] == "systemctl is-active alive job.json order.new "
    assert [line.split()[0] for line in lines[1:]] == ([] if waits else ["systemctl", "systemd-run"])
    assert {path.name for path in folder.iterdir()} == {"alive", "job.json", "order.json"}

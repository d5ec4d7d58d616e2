"""Where table files arrive, what is on record of them, and which backup is ended: asked of a real shell, in a test's own folder."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.database.physical import copy, staging
from parallel_build.errors import StepFailed
from tests.fast.files_host import Files
from tests.fast.local_host import LocalHost


def test_files_arrive_on_the_disk_that_a_linked_data_folder_is_on(tmp_path: Path) -> None:
    real, linked = tmp_path / "disk" / "mysql", tmp_path / "lib" / "mysql"
    real.mkdir(parents=True)
    linked.parent.mkdir()
    linked.symlink_to(real)
    for data in (real, linked):
        assert LocalHost().script(staging.WHERE, [str(data)]).stdout.strip() == f"{real.parent}/cutover-files"


@pytest.mark.parametrize("content", [b"", b'{"schemas": ["cloud"], "fold', b"null", b'{"folder": "/x"}', b"\xff\xfe"])
def test_a_record_that_nobody_can_read_is_no_record_that_is_not_there(content: bytes) -> None:
    host = Files("newdb1")
    assert staging.read(host) is None
    host.files[staging.RECORD] = content
    with pytest.raises(StepFailed, match=f"newdb1: {staging.RECORD} can't be read"):
        staging.read(host)


@pytest.fixture
def backups(tmp_path: Path) -> Iterator[Any]:
    """Starts programs that are called as the tool is, in a folder, with their process id noted there; what is ended is gone at once, as a server's own is."""
    tool = tmp_path / "mariadb-backup"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tool)
    started = []

    def start(works_in: Path, noted_in: Path) -> subprocess.Popen[bytes]:
        for folder in (works_in, noted_in):
            folder.mkdir(exist_ok=True)
        started.append(subprocess.Popen([tool, "300"], cwd=works_in))
        (noted_in / "pid").write_text(f"{started[-1].pid}\n")
        comm = Path(f"/proc/{started[-1].pid}/comm")
        threading.Thread(target=started[-1].wait, daemon=True).start()
        wait_for("the program", lambda: comm.read_text() == "mariadb-backup\n", timeout=30, cancel=CancelToken(), interval=0.01)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_our_backup_is_ended_and_nobody_elses(backups: Any, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    other = backups(tmp_path / "nightly", ours)  # the process id came to be an operator's own backup
    LocalHost().script(staging.END_BACKUP, [str(ours)])
    assert other.poll() is None and not ours.exists()
    mine = backups(ours, ours)
    LocalHost().script(staging.END_BACKUP, [str(ours)])
    assert mine.wait(30) != 0 and not ours.exists()
    LocalHost().script(staging.END_BACKUP, [str(ours)])
    assert other.poll() is None


def test_a_stream_that_breaks_off_leaves_no_backup_on_the_original(backups: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process id is in the folder of the option file, which is removed as well: it must still be there when the backup is ended."""
    ours = tmp_path / "ours"
    source: Any = LocalHost()

    @contextlib.contextmanager
    def logged_in(host: Any, purpose: str) -> Iterator[str]:
        try:
            yield f"{ours}/client.cnf"
        finally:
            shutil.rmtree(ours, ignore_errors=True)

    monkeypatch.setattr(copy, "logged_in", logged_in)
    monkeypatch.setattr(staging, "FOLDER", str(ours))
    with pytest.raises(StepFailed, match="broke off"), copy.backing_up(source) as login:
        assert login == f"{ours}/client.cnf"
        process = backups(ours, ours)
        raise StepFailed("the stream broke off", "", "")
    assert process.wait(30) != 0

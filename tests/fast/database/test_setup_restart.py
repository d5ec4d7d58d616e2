"""Whether a database server has read its option file, by times of whole seconds, and by its values where these say nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.database import setup
from parallel_build.database.server.settings import OptionFile
from tests.fast.local_host import LocalHost

STARTED = 1_790_000_000  # 2026-09-21 14:13:20 UTC


class Server(setup.NewServer):
    """One with a single option file, in a test's folder."""

    option_file: OptionFile

    @property
    def files(self) -> tuple[OptionFile, ...]:
        return (self.option_file,)


@pytest.mark.parametrize(
    ("written", "differs", "why"),
    [
        (STARTED - 1, {"log_bin": ("1", "0")}, None),
        (STARTED, {}, None),
        (STARTED, {"log_bin": ("1", "0")}, "changed as it was started"),
        (STARTED + 1, {}, "changed since it was started"),
    ],
)
def test_a_file_of_the_second_of_the_start_counts_where_the_values_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int, differs: dict[str, Any], why: str | None
) -> None:
    programs, path = tmp_path / "programs", tmp_path / "50-ours.cnf"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\necho 'ActiveEnterTimestamp=Mon 2026-09-21 14:13:20 UTC'\n")
    (programs / "systemctl").chmod(0o755)
    path.touch()
    os.utime(path, (written, written))

    @contextlib.contextmanager
    def session(host: object) -> Iterator[object]:
        yield host

    monkeypatch.setattr(setup, "session", session)
    monkeypatch.setattr(setup, "identify", lambda database: None)
    monkeypatch.setattr(setup, "find_socket", lambda host: "/run/mysqld/mysqld.sock")
    monkeypatch.setattr(setup, "differing", lambda database, values: differs)
    monkeypatch.setattr("parallel_build.database.setup.channel.read_status", lambda database, server: None)
    monkeypatch.setattr("parallel_build.database.setup.cleanup.read_record", lambda host: None)
    monkeypatch.setattr(Services, "state", lambda self, unit: SimpleNamespace(active=True))
    host = LocalHost("newdb1", programs)
    server = Server(cast(NewMachine, None), host, cast(StackConfiguration, None), lambda *_, **__: None, CancelToken(), paired=False)
    server.option_file = OptionFile(str(path), "", {})
    found = server._why_restart(Services(host), "mariadb")
    assert found == (f"{path} {why}" if why else None)


@pytest.mark.parametrize(
    ("journal", "log", "words"),
    [
        ("", "[Note] starting\n[ERROR] unknown variable 'x=1'\n", "[ERROR] unknown variable 'x=1'"),
        ("[ERROR] from the journal", "", "[ERROR] from the journal"),
        ("", None, "neither its journal nor its log has an error line"),
    ],
)
def test_a_server_that_does_not_start_is_heard_in_its_journal_and_in_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str, log: str | None, words: str
) -> None:
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\necho {journal!r}\n")
    (tmp_path / "journalctl").chmod(0o755)
    if log is not None:
        (tmp_path / "mariadb.log").write_text(log)
    monkeypatch.setattr(setup, "LOGS", (f"{tmp_path}/mariadb.log", f"{tmp_path}/mysqld.log"))
    host = LocalHost("newdb1", tmp_path)
    server = Server(cast(NewMachine, None), host, cast(StackConfiguration, None), lambda *_, **__: None, CancelToken(), paired=False)
    assert server._last_words("mariadb") == words

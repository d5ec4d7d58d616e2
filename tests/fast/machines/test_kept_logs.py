"""Logs of a server that was there already stay when the packages that own them go."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_build.machines.existing import kept_logs
from tests.fast.local_host import LocalHost


def test_folders_and_the_file_of_mysqls_own_packages_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "log"
    monkeypatch.setattr(kept_logs, "LOGS", tuple(f"{tmp_path}{path.removeprefix('/var')}" for path in kept_logs.LOGS))
    monkeypatch.setattr(kept_logs, "ROOT", str(logs / "kept"))
    (logs / "mysql").mkdir(parents=True)
    (logs / "cloudstack" / "management").mkdir(parents=True)
    (logs / "cloudstack" / "management" / "management-server.log").write_text("started\n")
    (logs / "mysqld.log").write_text("ready for connections\n")
    told: list[str] = []
    kept_logs.keep(LocalHost("newdb1"), "prod", source=False, intend=lambda *words, **more: None, progress=told.append)
    (logs / "mysqld.log").unlink()
    kept = {str(path.relative_to(logs / "kept")).partition("/")[2] for path in (logs / "kept").rglob("*") if path.is_file()}
    assert kept == {"cloudstack/management/management-server.log", "mysqld.log"}, "an empty folder is nothing to keep"
    assert len(told) == 1 and "mysqld.log kept in" in told[0]


def test_a_server_without_any_log_gets_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_logs, "LOGS", (str(tmp_path / "nowhere"),))
    monkeypatch.setattr(kept_logs, "ROOT", str(tmp_path / "kept"))
    told: list[str] = []
    kept_logs.keep(LocalHost("newdb1"), "prod", source=False, intend=lambda *words, **more: None, progress=told.append)
    assert not told and not (tmp_path / "kept").exists()

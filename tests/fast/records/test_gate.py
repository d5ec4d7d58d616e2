"""Once a rollback has shut a new server's gate, no command of that window that comes late unmasks anything there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.operations import start_gate
from parallel_build.records.window import WindowRecord
from tests.fast.local_host import LocalHost
from tests.fast.sites import site

OPEN = WindowRecord("test", site().identity, opened="2026-01-01T00:00:00+00:00")
LEFT = WindowRecord("test", site().identity, opened="2026-01-01T00:00:00+00:00", returning="now")
LATER = WindowRecord("test", site().identity, opened="2026-01-02T00:00:00+00:00")


class Server(LocalHost):
    """A new management server whose systemctl notes what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        programs = folder / "bin"
        programs.mkdir()
        (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n')
        (programs / "systemctl").chmod(0o755)
        super().__init__("newms1", programs)
        self.folder = folder
        self.volatile, self.lasting = folder / "run", folder / "lib"
        monkeypatch.setattr(start_gate, "VOLATILE", str(self.volatile))
        monkeypatch.setattr(start_gate, "FOLDER", str(self.lasting))

    def asked(self) -> list[str]:
        asked = self.folder / "asked"
        return asked.read_text().splitlines() if asked.exists() else []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


def release(
    monkeypatch: pytest.MonkeyPatch, server: Server, record: WindowRecord, *, enable: bool = False, known: WindowRecord | None = None
) -> None:
    """As a step would that read `record`; `known` is what the record says when it is read once more."""
    answers = iter([record, known or record])
    monkeypatch.setattr(start_gate, "store", lambda context: type("Records", (), {"mine": lambda self: next(answers)})())
    context: Any = None
    start_gate.release(context, server, "cloudstack-management", enable=enable)


def test_an_open_gate_lets_a_start_through(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    release(monkeypatch, server, OPEN)
    assert server.asked() == ["unmask cloudstack-management"]
    release(monkeypatch, server, OPEN, enable=True)
    assert server.asked()[1:] == ["unmask cloudstack-management", "enable cloudstack-management"]


def test_a_step_that_sees_the_rollback_asks_nothing_of_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GuardFailed, match="a rollback has begun now"):
        release(monkeypatch, server, LEFT)
    assert server.asked() == []


@pytest.mark.parametrize("damage", ["none", "rebooted", "disk full"])
def test_a_step_that_looked_before_the_rollback_and_comes_after_it_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    if damage == "disk full":
        server.lasting.write_text("a file where the folder should be: nothing can be written there")
    start_gate.shut(server, LEFT)
    if damage == "rebooted":
        (server.volatile / "gate").unlink()
    with pytest.raises(GuardFailed, match="a rollback has begun now"):
        release(monkeypatch, server, OPEN, enable=True, known=LEFT)
    assert server.asked() == []


def test_the_next_window_finds_the_gate_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    start_gate.shut(server, LEFT)
    release(monkeypatch, server, LATER)
    assert server.asked() == ["unmask cloudstack-management"]

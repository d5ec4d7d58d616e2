"""The end of a shared connection: whoever closes it may remove its folder next."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, Ssh
from parallel_build.remote import openssh
from parallel_build.remote.openssh import Client, Result


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """One with a shared connection."""
    made = Client(Server(name="olddb1", address="192.0.2.1"), Ssh(), tmp_path, None, CancelToken())
    made._control.touch()
    return made


def test_a_connection_is_over_when_closing_it_returns(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def control(word: str) -> Result:
        """As ssh does: it says yes, and ends a moment later."""
        asked.append(word)
        threading.Timer(0.1, client._control.unlink).start()
        return Result(0, "", "Exit request sent.")

    monkeypatch.setattr(client, "control", control)
    client.close()
    assert not client._control.exists()
    client.close()
    assert asked == ["exit"], "nothing is left to end"


def test_one_that_does_not_end_holds_nobody_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssh, "ENDS", 0.05)
    for code in (0, 255):
        monkeypatch.setattr(client, "control", lambda word, code=code: Result(code, "", ""))
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 5

"""Which connections wait for an answer, by what ss prints of them, and how long anybody waits for that."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import open_calls

WHICH = "( sport = :8080 ) and not ( dst 192.0.2.0/24 )"


def asked(folder: Path, queues: str, info: str, lately: int = 0) -> list[str]:
    """What the shell makes of one connection.

    Args:
        queues: what was received and not read, and what was sent and not confirmed.
    """
    # As an old one, which prints a heading and can't be asked to leave it out.
    lines = [
        "Recv-Q Send-Q Local Address:Port Peer Address:Port",
        f"{queues} [::ffff:10.9.0.1]:8080 [::ffff:10.9.0.2]:40612",
        f"\t cubic wscale:7,7 rto:204 {info} rcv_space:14600",
    ]
    text = "\n".join(lines)
    (folder / "ss").write_text(f"#!/bin/sh\ncase $1 in *H*) exit 1;; esac\ncat <<'END'\n{text}\nEND\n")
    (folder / "ss").chmod(0o755)
    text = f"{open_calls.CALLS}calls '{WHICH}' {lately}"
    done = subprocess.run(
        ["sh", "-eus"], input=text, capture_output=True, text=True, check=True, env={"PATH": f"{folder}:{os.environ['PATH']}"}
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("queues", "info", "waits"),
    [
        (
            "0 0",
            "bytes_received:120 data_segs_in:1 lastsnd:2000 lastrcv:2000 lastack:2000",
            True,
        ),  # its first call came with the connection
        ("0 0", "bytes_received:120 bytes_sent:300 data_segs_out:1 data_segs_in:1 lastsnd:900 lastrcv:904", False),
        ("0 0", "bytes_received:240 bytes_sent:300 data_segs_out:1 data_segs_in:2 lastsnd:9000 lastrcv:40", True),  # its second call
        ("0 0", "bytes_received:240 bytes_sent:300 data_segs_out:1 data_segs_in:2 lastsnd:3", True),
        ("0 0", "lastsnd:5004 lastrcv:5000 lastack:5000 segs_in:2 data_segs_in:0", False),  # opened and not used
        (
            "0 1460",
            "bytes_received:120 bytes_sent:9000 data_segs_out:7 data_segs_in:1 lastsnd:4 lastrcv:900",
            True,
        ),  # its answer is on the way
        ("77 0", "bytes_received:120 bytes_sent:300 data_segs_out:1 data_segs_in:1 lastsnd:900 lastrcv:904", True),
        ("0 0", "lastsnd:900 lastrcv:904", False),  # a kernel that counts no segments
        ("0 0", "lastsnd:900 lastrcv:100", True),
    ],
)
def test_who_has_sent_something_since_the_server_did_waits(tmp_path: Path, queues: str, info: str, waits: bool) -> None:
    assert asked(tmp_path, queues, info) == (["[::ffff:10.9.0.2]:40612"] if waits else [])


@pytest.mark.parametrize(("lately", "counts"), [(1000, True), (500, False)])
def test_one_that_was_used_lately_may_bring_its_next_call(tmp_path: Path, lately: int, counts: bool) -> None:
    info = "bytes_sent:300 data_segs_out:1 data_segs_in:1 lastsnd:900 lastrcv:904"
    assert bool(asked(tmp_path, "0 0", info, lately)) == counts


class Server:
    """One whose open calls are these, look after look; None where it can't be reached."""

    def __init__(self, *looks: str | None) -> None:
        self.name, self.looks, self.asked = "oldms1", list(looks), 0

    def script(self, text: str, **_: Any) -> Any:
        self.asked += 1
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if found is None:
            raise ConnectionFailed("oldms1 can't be reached", "", "")
        return SimpleNamespace(stdout=found)


def await_answered(monkeypatch: pytest.MonkeyPatch, *servers: Server, within: float = 60) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(open_calls, "BETWEEN", 0.0)
    open_calls.await_answered(servers, WHICH, within, CancelToken(), shown.append)  # type: ignore[arg-type]
    return shown


def test_calls_that_were_there_are_awaited_and_later_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Server("a b", "b c", "c d"), Server("")
    assert await_answered(monkeypatch, first, second) == [] and first.asked == 3


def test_a_server_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("a", None)
    assert await_answered(monkeypatch, server) == [] and server.asked == 2


def test_a_call_that_hangs_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    (words,) = await_answered(monkeypatch, Server("a"), within=0.05)
    assert "not answered" in words and "1 on oldms1" in words

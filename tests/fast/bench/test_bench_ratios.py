"""The benchmarks' own arithmetic: ratios within one run, and which targets it has missed."""

from __future__ import annotations

import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from bench import client_calls, outage, transfer, window
from bench.transfer import ARTICLE, DUMP, MYDUMPER, REPLICATE, missed
from parallel_build.secret import Secret


def run(gigabytes: float, **seconds: float) -> dict[str, Any]:
    names = {"article": ARTICLE, "mydumper": MYDUMPER, "dump": DUMP, "replicate": REPLICATE}
    found: dict[str, Any] = {"bytes": int(gigabytes * 1e9)}
    for name, value in seconds.items():
        found[names[name]] = {
            "seconds": value,
            "equal": True,
            "ratio": round(value / seconds["article"], 4),
            "server_cpu": 1.0,
            "peak_mib": 1,
        }
    return found


GOOD = run(1.59, article=100.0, mydumper=65.0, dump=30.0, replicate=0.2)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (run(1.59, article=100.0, mydumper=65.0, dump=34.0, replicate=0.2), "took 0.340 of the article's sequence"),
        (run(1.59, article=100.0, mydumper=29.0, dump=30.0, replicate=0.2), "longer than mydumper"),
        (run(0.1, article=8.0, mydumper=5.0, dump=4.0, replicate=1.5), "took 1.50 s, the target is 1 s"),
        ({**GOOD, REPLICATE: {**GOOD[REPLICATE], "equal": False}}, "replicate (window) at 1.59 GB left something else"),
    ],
)
def test_a_target_that_is_missed_is_reported(found: dict[str, Any], words: str) -> None:
    assert words in " ".join(missed([found]))


def test_a_small_original_has_no_target_for_dump_and_a_good_run_misses_nothing() -> None:
    assert missed([GOOD, run(0.1, article=8.0, mydumper=5.0, dump=6.0, replicate=0.2)]) == []
    assert "0.300" in transfer.table([GOOD])


def test_the_windows_ratios_are_to_the_script_of_the_same_run() -> None:
    script = {"forward": {"seconds": 50.0}, "back": {"seconds": 20.0, "parts": {"original's own start": 15.0}}}
    ours = {"forward": {"seconds": 25.0, "overhead": 6.0}, "back": {"seconds": 18.0}}
    result: dict[str, Any] = {"bytes": 1e9, "script": script, "dump": ours}
    found = window.ratios(result, ["dump"])
    assert found == {"dump": {"window": 0.5, "back": 0.9, "back over start": 3.0}}
    assert "0.50" in window.table({**result, "ratios": found}, ["dump"])


def size(*overheads: float, **more: Any) -> list[dict[str, Any]]:
    """Runs of one size."""
    return [
        {"users out": 30 + over, "own": {"hosts": 30.0}, "overhead": over, "waves": 9.0, "renewed": 3, "left": 0, "back": 10.0, **more}
        for over in overheads
    ]


def test_users_out_may_neither_be_long_nor_grow_with_the_networks() -> None:
    assert outage.missed({"first": {1: size(3.0, 3.1, 30.0), 50: size(3.9, 3.9, 4.0)}}) == [], "the median counts"
    assert outage.missed({"first": {1: size(3.0), 50: size(4.5)}}) == ["first: 1.5 s apart between the sizes, the limit is 1 s"]
    assert outage.missed({"first": {1: size(3.0)}, "accepted": {1: size(4.5)}}) == [], "the two orders are not compared"
    assert "accepted, 50 networks: 6.0 s of overhead" in " ".join(outage.missed({"accepted": {1: size(5.5), 50: size(6.0)}}))
    assert outage.missed({"first": {1: size(3.0, left=2)}}) == ["first, 1 networks: 2 routers were not renewed"]
    assert "36.0 s" in outage.table({"first": {50: size(6.0)}})


def entry(at: float, kind: str, step: str, **more: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, "step": step, **more}


JOURNAL = [
    entry(0.0, "begin", "UserAccess"),
    entry(3.0, "end", "OriginalManagement", seconds=2.0),
    entry(4.0, "end", "OriginalDatabase", seconds=0.5),
    entry(4.5, "begin", "FirstManagement"),
    entry(5.0, "intent", "FirstManagement", action="set up"),
    entry(6.0, "intent", "FirstManagement", action="start"),
    entry(10.0, "end", "FirstManagement", seconds=5.5),
    entry(11.0, "begin", "Hypervisors"),
    entry(14.0, "intent", "Hypervisors", action="users in on the new side"),
    entry(15.0, "end", "Hypervisors", seconds=4.0),
    entry(20.0, "end", "SystemVms", seconds=5.0),
]


def test_what_is_the_clouds_own_is_read_from_the_journal() -> None:
    assert outage.own_times(JOURNAL, "first") == {"old stop": 2.5, "new start and schema upgrade": 4.0, "hosts": 3.0}
    later = [each for each in JOURNAL if each.get("action") != "users in on the new side"]
    assert outage.own_times(later, "accepted")["hosts"] == 4.0 and outage.own_times(later, "accepted")["system VMs"] == 5.0


def test_a_call_that_is_reset_or_left_waiting_is_a_limit_missed() -> None:
    def calls(first: float | None = 0.2, **outcomes: int) -> dict[str, Any]:
        return {"outcomes": {"curl": {"200": 9, "503": 4, "refused": 2, **outcomes}}, "first served after users in": first}

    assert client_calls.missed(calls()) == []
    assert client_calls.missed(calls(reset=2)) == ["2 calls of curl were reset"]
    assert client_calls.missed(calls(**{"timed out": 1})) == ["1 calls of curl timed out"]
    assert client_calls.missed(calls(None)) == ["the new server has served no call"]
    assert "the first call was served 1.5 s after users were in" in client_calls.missed(calls(1.5))[0]
    assert "2 calls of curl were reset" in " ".join(outage.missed({"first": {1: size(3.0, calls=calls(reset=2))}}))


@contextmanager
def listening(answer: bytes | None) -> Iterator[str]:
    """A port that answers each call so, and ends the connection; None never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    opened, _ = server.accept()
                except OSError:
                    return
                held.append(opened)
                opened.recv(4096)
                if answer is not None:
                    opened.sendall(answer)
                    opened.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0) if not answer else struct.pack("ii", 0, 0)
                    )
                    opened.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/client/api"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in held:
            each.close()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", client_calls.RESET),
        (b"HTTP/1.1 503 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "503"),
        (None, client_calls.TIMED_OUT),
    ],
)
@pytest.mark.parametrize("client", ["retrying", "curl", "cs"])
def test_each_client_sees_what_has_become_of_its_call(
    monkeypatch: pytest.MonkeyPatch, client: str, answer: bytes | None, outcome: str
) -> None:
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    monkeypatch.setattr(client_calls, "TIMEOUT", 1)
    monkeypatch.setattr(client_calls, "USER_ADDRESS", "127.0.0.1")
    keys: Any = SimpleNamespace(secrets=lambda: SimpleNamespace(must=lambda name: Secret(f"key-{name}")))
    ask = client_calls.KINDS[client](keys)
    with listening(answer) as url:
        assert _outcome(ask, url) == outcome
    assert _outcome(ask, url) == client_calls.REFUSED


def _outcome(ask: client_calls.Ask, url: str) -> str:
    try:
        return ask(url)
    except requests.RequestException as error:
        return client_calls.outcome_of(error)

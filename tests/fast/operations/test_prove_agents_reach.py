"""Hosts reach port 8250 of the new servers before the window: a listener is there for a moment, and gone whatever happens."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.services import UnitState
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed
from parallel_build.operations import prove_agents_reach
from parallel_build.operations.context import Context
from parallel_build.remote.openssh import Result
from tests.fast.sites import site


class Net:
    """Who listens, who is kept from whom."""

    def __init__(self) -> None:
        self.listening: set[str] = set()
        self.theirs: set[str] = set()
        self.closed: set[tuple[str, str]] = set()
        self.lost: set[str] = set()
        self.without: set[str] = set()
        self.done: list[str] = []

    def host(self, server: Any) -> Any:
        return Host(self, server.name)


class Host:
    def __init__(self, net: Net, name: str) -> None:
        self.net, self.name = net, name

    def run(self, words: list[str], **_: Any) -> Result:
        if self.name in self.net.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        if words[:2] == ["systemctl", "is-active"]:
            return Result(0 if self.name in self.net.listening - self.net.theirs else 3, "", "")
        if words[:2] == ["systemctl", "stop"]:
            self.net.done.append(f"stop on {self.name}")
            self.net.listening.discard(self.name)
            return Result(0, "", "")
        names = {machine.address: machine.name for machine in site().configuration.new.management}
        open_ = [
            address for address in words[4:] if names[address] in self.net.listening and (self.name, names[address]) not in self.net.closed
        ]
        return Result(0, "\n".join(open_), "")

    def script(self, text: str, args: list[str], **_: Any) -> Result:
        if self.name in self.net.without:
            raise CommandFailed(f"{self.name}: systemd-run is not there", "", "")
        assert text == prove_agents_reach.START and args[0] == prove_agents_reach.UNIT and args[1] == "120"
        self.net.done.append(f"listen on {self.name}")
        self.net.listening.add(self.name)
        return Result(0, "", "")


class Units:
    def __init__(self, host: Host) -> None:
        self.host = host

    def listening(self, ports: list[int]) -> set[int]:
        return set(ports) if self.host.name in self.host.net.listening else set()

    def state(self, unit: str) -> UnitState:
        raise AssertionError(unit)


class Journal:
    def record(self, kind: str, **details: Any) -> None:
        """Nobody reads it."""

    def log(self, step: str, message: str) -> None:
        """Nor this."""


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    monkeypatch.setattr(prove_agents_reach, "Services", Units)
    return Net()


def context(net: Net, **changes: Any) -> Context:
    return Context(site(**changes), net, Journal(), CancelToken(), lambda line: None)  # type: ignore[arg-type]


def test_every_listed_host_is_asked_and_nothing_is_left_listening(net: Net) -> None:
    assert prove_agents_reach.prove(context(net)) == {"newms1": ["kvm1", "kvm2"], "newms2": ["kvm1", "kvm2"]}
    assert sorted(net.done) == ["listen on newms1", "listen on newms2", "stop on newms1", "stop on newms2"] and not net.listening


def test_a_host_that_is_kept_out_is_named_with_the_server(net: Net) -> None:
    net.closed.add(("kvm2", "newms1"))
    with pytest.raises(
        GuardFailed, match=r"port 8250 of the new management servers: kvm2 does not reach newms1 \(10\.91\.0\.41\)\. Cause"
    ) as caught:
        prove_agents_reach.prove(context(net))
    assert "open TCP port 8250 from the hosts" in caught.value.remedy and not net.listening


def test_it_is_stopped_when_a_host_can_not_be_asked(net: Net) -> None:
    net.lost.add("kvm1")
    with pytest.raises(ConnectionFailed):
        prove_agents_reach.prove(context(net))
    assert not net.listening


def test_a_host_that_is_put_aside_need_not_answer(net: Net) -> None:
    net.lost.add("kvm1")
    told: list[str] = []
    made = context(net)
    made.tell = told.append
    assert prove_agents_reach.prove(made, {"kvm1"}) == {"newms1": ["kvm2"], "newms2": ["kvm2"]}
    assert any("kvm1 is put aside in the cloud" in line for line in told) and not net.listening


def test_a_server_without_the_means_is_reported_and_not_taken_for_closed(net: Net) -> None:
    net.without.add("newms1")
    told: list[str] = []
    made = context(net)
    made.tell = told.append
    assert prove_agents_reach.prove(made) == {"newms2": ["kvm1", "kvm2"]}
    assert any(line.startswith("warning: whether hosts reach port 8250 of newms1 is not known") for line in told)


def test_what_listens_there_already_is_left_alone(net: Net) -> None:
    net.listening, net.theirs = {"newms1"}, {"newms1"}
    prove_agents_reach.prove(context(net))
    assert net.done == ["listen on newms2", "stop on newms2"] and net.listening == {"newms1"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"new": {"loadBalancer": "10.91.0.99"}}, "new.loadBalancer leads to the original"),
        ({"original": {"hypervisors": []}}, "has no host"),
    ],
)
def test_where_nobody_can_be_asked_the_plan_says_so(net: Net, changes: dict[str, Any], words: str) -> None:
    assert prove_agents_reach.prove(context(net, **changes)) == {} and net.done == []
    assert words in prove_agents_reach.words(site(**changes).configuration)
    assert "prove that kvm1, kvm2 reach it" in prove_agents_reach.words(site().configuration)


@contextlib.contextmanager
def listener(port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", prove_agents_reach.LISTEN, str(port)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_the_listener_really_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with listener(port):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as opened:
                assert opened.recv(1) == b"", "accepted, and closed at once"
                return
    raise AssertionError("nobody listened")

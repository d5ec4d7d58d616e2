"""Time servers of the stack on a server that exists already: its owner's time service stays, none at all is provided for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from parallel_build.configuration import load
from parallel_build.errors import StepFailed
from parallel_build.machines.existing import time_service
from parallel_build.machines.provisioning import TIME_SOURCES
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.asked_host import AskedHost
from tests.fast.sites import values


class Server(AskedHost):
    """A server that says what keeps its clock."""

    def __init__(self, keeps: str, system: str = "debian") -> None:
        super().__init__("newdb1")
        self.system, self.keeps = system, keeps
        self.done: list[str] = []
        self.written: dict[str, Any] = {}

    def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
        if text == time_service._KEPT:
            return Result(0, self.keeps, "")
        self.done.append(text.split(";")[0])
        return Result(0, "", "")

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        return Result(0, "", "")

    def read(self, path: str, **_: Any) -> bytes:
        return f"ID={self.system}\n".encode()

    def write(self, path: str, content: bytes | str | Secret, **_: Any) -> None:
        self.written[path] = content


@pytest.mark.parametrize("keeps", ["systemd-timesyncd\n", "chrony\n", "container\n"])
def test_a_clock_that_is_kept_stays_as_it_is(keeps: str) -> None:
    server = Server(keeps)
    assert time_service.provide(server, ["ntp1"], lambda *_: None) == [] and not server.written


def test_a_clock_that_nothing_keeps_follows_the_stacks_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    server, installed = Server(""), []
    monkeypatch.setattr(
        time_service, "packages_of", lambda host: type("Apt_", (), {"install": lambda self, names: installed.extend(names)})()
    )
    assert time_service.provide(server, ["ntp1", "192.0.2.3"], lambda *_: None) == ["chrony follows ntp1, 192.0.2.3"]
    assert installed == ["chrony"] and server.written == {TIME_SOURCES: "server ntp1 iburst\nserver 192.0.2.3 iburst\n"}
    assert server.done == ["systemctl enable --quiet chrony.service"]
    assert time_service.provide(server, [], lambda *_: None) == []


def test_a_server_of_the_el_family_keeps_its_owners_time_service() -> None:
    server = Server("", "rocky")
    with pytest.raises(StepFailed, match="start chronyd on newdb1, following ntp1"):
        time_service.provide(server, ["ntp1"], lambda *_: None)
    assert not server.written and not server.done


def test_the_rehearsals_server_follows_nobody() -> None:
    plain = values(rehearsal={"enabled": True, "machine": {"name": "rehearsal", "address": "10.91.0.51"}})
    plain["new"]["network"] = {**plain["new"].get("network", {}), "timeServers": ["ntp1"]}
    configuration = load(plain, "test")
    assert configuration.rehearsal.machine is not None
    assert time_service.wanted(configuration, configuration.new.database.source) == ("ntp1",)
    assert time_service.wanted(configuration, configuration.rehearsal.machine) == ()

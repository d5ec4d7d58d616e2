"""What proves that a host of the record is down: its platform in a rollback, else the operator's word while nothing answers there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.errors import ConnectionFailed
from parallel_build.machines import power
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import open_ports, prove_original_down, record_hosts, reimport
from parallel_build.operations.start_management import first_start
from parallel_build.steps.first_management import FirstManagement
from tests.fast import window_world
from tests.fast.sites import site
from tests.fast.window_world import World

SILENT = ConnectionFailed("it can't be reached over SSH", "no route", "")


class Stage:
    """A platform that may or may not cut power, and ports that may answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *confirmed: str, cuts: bool = False, answers: bool = False) -> None:
        self.cut: list[str] = []
        self.reported: list[str] = []
        here = site(window={"confirmedDown": list(confirmed)})
        self.context: Any = SimpleNamespace(
            site=here, configuration=here.configuration, progress=self.reported.append, run=SimpleNamespace(record=lambda *_, **__: None)
        )

        def cut(site: Any, machine: Any, made: Any = None) -> str:
            if not cuts:
                raise MachineFailed(f"{machine.name} can't be cut from here", "platform existing", "by hand")
            self.cut.append(machine.name)
            return "by its platform"

        monkeypatch.setattr(power, "cut", cut)
        monkeypatch.setattr(open_ports, "answers", lambda context, server, ports: answers)
        monkeypatch.setattr(record_hosts, "both", lambda context: SimpleNamespace(look=lambda: None))

    def prove(self, name: str, returning: bool) -> None:
        host: Any = SimpleNamespace(name=name)
        record_hosts.proved_down(self.context, host, SILENT, returning)


def test_the_new_sources_power_is_cut_in_a_rollback_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, cuts=True)
    with pytest.raises(ConnectionFailed, match="it may still be running"):
        stage.prove("newdb1", returning=False)
    assert stage.cut == []
    stage.prove("newdb1", returning=True)
    assert stage.cut == ["newdb1"]
    with pytest.raises(ConnectionFailed):
        stage.prove("olddb1", returning=True)
    assert stage.cut == ["newdb1"], "nobody cuts the original's"


@pytest.mark.parametrize("name", ["olddb1", "newdb1"])
@pytest.mark.parametrize("returning", [False, True])
def test_the_operators_word_counts_while_the_host_is_silent(monkeypatch: pytest.MonkeyPatch, name: str, returning: bool) -> None:
    with pytest.raises(ConnectionFailed, match=rf"confirm it: pulumi config set --path 'window.confirmedDown\[0\]' {name} --stack test"):
        Stage(monkeypatch).prove(name, returning)
    Stage(monkeypatch, name).prove(name, returning)
    with pytest.raises(ConnectionFailed, match="and its database answers"):
        Stage(monkeypatch, name, answers=True).prove(name, returning)
    with pytest.raises(ConnectionFailed, match=r"window.confirmedDown\[1\]"):
        Stage(monkeypatch, "newms1").prove(name, returning)


def test_a_first_start_continues_without_the_originals_source(monkeypatch: pytest.MonkeyPatch) -> None:
    window_world.arrange(monkeypatch)
    lost = World()
    lost.lost.add("olddb1")
    with pytest.raises(Exception, match="it may still be running"):
        FirstManagement().apply(lost.context)
    assert not lost.serving
    confirmed = World(window={"confirmedDown": ["olddb1"]})
    confirmed.lost.add("olddb1")
    FirstManagement().apply(confirmed.context)
    assert confirmed.serving and confirmed.wrong == []
    assert any("olddb1 is gone: whether it has run since the copy was made can't be seen" in line for line in confirmed.reported)


def test_a_copy_that_has_to_be_made_again_can_not_be_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    window_world.arrange(monkeypatch)
    world = World(window={"confirmedDown": ["olddb1"]})
    world.record.facts["DatabaseTransfer"]["spoilt"] = "a start on it has begun"
    world.lost.add("olddb1")
    with pytest.raises(ConnectionFailed):
        reimport.make_whole(world.context, lambda context: {})
    assert not world.serving and not first_start(world.context).good()
    prove_original_down.prove(world.context)

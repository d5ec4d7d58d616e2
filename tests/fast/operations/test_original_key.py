"""The database key comes from whichever of the original's management servers can be reached: one that was lost holds nothing up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.cloudstack.keys import DatabaseKey
from parallel_build.errors import ConnectionFailed, GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import database_key
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from tests.fast.window_world import Machine, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    def read(site: Site, host: Machine) -> DatabaseKey:
        if host.name in host.world.lost:
            raise ConnectionFailed(f"{host.name} can't be reached over SSH", "", "")
        return DatabaseKey(Secret(f"key of {host.name}"), Encryptor.V2)

    monkeypatch.setattr(database_key, "database_key", read)
    return World()


def test_the_next_server_is_asked(world: World) -> None:
    assert database_key.fetch_key(world.context).secret.reveal() == "key of oldms1"
    world.lost.add("oldms1")
    assert database_key.fetch_key(world.context).secret.reveal() == "key of oldms1", "read once in a process"
    world.ready.clear()
    assert database_key.fetch_key(world.context).secret.reveal() == "key of oldms2"


def test_with_all_of_them_lost_the_stacks_own_secret_has_to_do(world: World) -> None:
    world.lost |= {"oldms1", "oldms2"}
    with pytest.raises(StepFailed, match="set the stack's secret databaseKey"):
        database_key.fetch_key(world.context)
    secrets = world.site.secrets.model_copy(update={"database_key": Secret("the operator's")})
    world.context = replace(world.context, site=replace(world.site, secrets=secrets))
    found = database_key.fetch_key(world.context)
    assert (found.secret.reveal(), found.encryptor) == ("the operator's", Encryptor.AUTOMATIC)


def test_a_rehearsal_asks_the_next_server_too_and_proves_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    proved: list[str] = []
    monkeypatch.setattr(database_key, "prove", lambda key, copy: proved.append(key.secret.reveal()))
    world.lost.add("oldms1")
    copy: Any = object()
    assert database_key.proved_key(world.context, copy).secret.reveal() == "key of oldms2" == proved[0]


@pytest.mark.parametrize("kind", [GuardFailed, StepFailed])
def test_a_server_whose_files_are_gone_holds_nothing_up_while_the_next_has_them(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type[ParallelBuildError]
) -> None:
    def read(site: Site, host: Machine) -> DatabaseKey:
        if host.name in unfit:
            raise kind(f"{host.name} has no key file", "", "set the stack's secret databaseKey")
        return DatabaseKey(Secret(f"key of {host.name}"), Encryptor.V2)

    unfit = {"oldms1"}
    monkeypatch.setattr(database_key, "database_key", read)
    assert database_key.fetch_key(world.context).secret.reveal() == "key of oldms2"
    world.ready.clear()
    unfit.add("oldms2")
    with pytest.raises(GuardFailed, match="oldms1 has no key file"):
        database_key.fetch_key(world.context)

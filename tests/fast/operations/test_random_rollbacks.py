"""Random sequences of faults, edits, torn files, other operators and sleeping processes: never two sides that write, and always a way out.

`PARALLEL_BUILD_SEQUENCES=10000 pytest ...::test_random_sequences` draws more; `PARALLEL_BUILD_SEED` begins elsewhere; many: `python -m tests.fast.sequences`.
Each rule of the design (section 5) is taken out once, and the sequences find that.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.operations import (
    fence_new_database,
    hosts_back,
    known_servers,
    original_management,
    rollback_window,
    serve_original,
    transfer,
)
from parallel_build.operations import fence_new_side as fence_new_side_module
from parallel_build.records import copies, host_copy
from parallel_build.records.touched import Found
from parallel_build.records.window import WindowStore
from parallel_build.steps import switched
from tests.fast.operations.test_touched_servers import Cloud
from tests.fast.sequences import arranged, sequence
from tests.fast.several_operators import Shared

SEQUENCES = int(os.environ.get("PARALLEL_BUILD_SEQUENCES", "60"))
SEED = int(os.environ.get("PARALLEL_BUILD_SEED", "20261129"))
TRIED = 600  # of which a mutant is caught by one


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    return arranged(monkeypatch)


@pytest.mark.processes
def test_random_sequences(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(SEED, SEED + SEQUENCES):
        sequence(cloud, monkeypatch, seed)


def test_a_sequence_is_the_same_each_time(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for _ in range(2):
        sequence(cloud, monkeypatch, SEED)
        made.append(list(cloud.world.actions))
    assert made[0] == made[1] and made[0]


def configured_alone(configuration: StackConfiguration, record: Any) -> list[NewMachine]:
    return list(configuration.new.management)


def all_of_them(servers: Any) -> None:
    """The original counts as serving only where every one of its servers does."""
    FIRST(servers)
    for future in servers._starting:
        servers._serves(future)
    if servers.missing:
        raise next(iter(servers.missing.values()))


def one_copy(both: copies.RecordCopies) -> host_copy.Both:
    """Only the original's source is asked."""
    found = both._ask(both.first)
    if found.problem is not None:
        raise found.problem
    return host_copy.Both(found.text.raw, (found,))


FIRST = original_management.Servers.first


def emptied_first(context: Any) -> None:
    """The new databases are emptied as soon as a rollback begins."""
    MARK(context)
    transfer.empty(context)


def unnamed(context: Any, *asked: Any) -> str:
    """What kept an agent from being taken is not reported."""
    TAKE(context, *asked)
    return ""


def once(context: Any) -> list[str]:
    """Agents are looked at one time in a command."""
    acting = context.connections.acting
    looked, acting.has_taken = acting.has_taken, True
    return [] if looked else TAKE_ALL(context)


TAKE, TAKE_ALL = hosts_back._take, hosts_back.take_agents


MARK = rollback_window.mark_rollback

MUTANTS: dict[str, list[tuple[Any, str, Any]]] = {
    "1: another identity is not refused": [(WindowStore, "check_owner", lambda self, record: None)],
    "2: the configuration decides, not the record": [(known_servers, "new_management", configured_alone)],
    "2: a server of the original that is not configured is forgotten": [
        (known_servers, "original_management", lambda configuration, _: list(configuration.original.management))
    ],
    "3: a run takes no number": [(Shared, "numbered", False)],
    "4: no fence at the database": [(fence_new_database, "fence", lambda context: {})],
    "4: agents stay on a server that could not be reached": [(hosts_back, "take_agents", lambda context: [])],
    "4: an agent that can't be asked is passed over": [(hosts_back, "_take", unnamed)],
    "4: an agent is taken once, and may dial that server again": [(hosts_back, "take_agents", once)],
    "4: rolled back is said while hosts are elsewhere": [(hosts_back, "missing", lambda context: [])],
    "4: what silence hides counts as connected": [(hosts_back, "is_back", lambda listed, identity: True)],
    "4: agents that know the new servers alone are left alone": [(serve_original, "redirect_agents", lambda context: None)],
    "5: silence proves that a server is down": [(fence_new_side_module, "_down", lambda *_: True)],
    "5: what was started is forgotten": [(known_servers, "ever_started", lambda *_: False)],
    "6: there is one copy of the record": [(copies.RecordCopies, "look", one_copy)],
    "7: a rollback needs every server of the original": [(original_management.Servers, "first", all_of_them)],
    "8: a write that is cut off leaves half a file": [(Shared, "whole", False)],
    "9: what is usual is put back, not what was": [(known_servers, "as_found", lambda *_: Found())],
    "10: what users work on is emptied at once": [(switched, "mark_rollback", emptied_first)],
}


@pytest.mark.engine  # up to half a minute each
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_program_without_one_of_the_rules_is_caught(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    for place, name, instead in MUTANTS[mutant]:
        monkeypatch.setattr(place, name, instead)
    with pytest.raises(AssertionError, match=r"seed \d+"):
        for seed in range(SEED, SEED + TRIED):
            sequence(cloud, monkeypatch, seed)

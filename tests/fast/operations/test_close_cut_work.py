"""What is closed in the copy where the list of work is empty, and where two hypervisors show a VM."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cloudstack import work
from parallel_build.cloudstack.work import Work
from parallel_build.operations import close_cut_work
from parallel_build.operations.context import Context
from parallel_build.remote.sql import Session

MIGRATING = Work("VM", 7, "Migrating", "i-2-7-VM", 40)


class Copy:
    """The copy's database: hosts, tasks of HA that somebody has taken, and what was written."""

    def __init__(self, held: int = 0) -> None:
        self.held, self.written = held, list[str]()

    def value(self, statement: str, values: object = None) -> int:
        return self.held if "op_ha_work" in statement else 1

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return [{"id": 1, "name": "kvm1", "address": "192.0.2.51"}, {"id": 2, "name": "kvm2", "address": "192.0.2.52"}]

    def execute(self, statement: str, values: object = None) -> int:
        self.written.append(statement)
        return 1


def closed(monkeypatch: pytest.MonkeyPatch, copy: Copy, found: list[Work], shown: dict[str, set[str]]) -> list[str]:
    monkeypatch.setattr(work, "read", lambda _: found)
    monkeypatch.setattr(close_cut_work, "store", lambda _: SimpleNamespace(facts=lambda _: {}, note=lambda *_, **__: None))
    monkeypatch.setattr(close_cut_work, "_running_on", lambda _: shown)
    context = SimpleNamespace(progress=lambda _: None, intend=lambda *_, **__: None)
    return close_cut_work.close(cast(Context, context), cast(Session, copy))


def test_ha_tasks_of_servers_that_were_stopped_in_order_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a server has set its row Down, so that its tasks are in no list; a new one would never take them, and the VM would stay down."""
    copy = Copy(held=2)
    assert closed(monkeypatch, copy, [], {}) == ["HA: 2 tasks that a server of the original had taken are free for the new ones"]
    assert len(copy.written) == 1 and copy.written[0].startswith("UPDATE cloud.op_ha_work SET mgmt_server_id = NULL, taken = NULL")


def test_nothing_held_and_nothing_open_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Copy()
    assert closed(monkeypatch, copy, [], {}) == [] and copy.written == []


def test_a_vm_that_two_hypervisors_show_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration continues without the server that began it, and libvirt lists the VM on both hosts until it ends."""
    copy = Copy()
    printed = closed(monkeypatch, copy, [MIGRATING], {"kvm1": {MIGRATING.object}, "192.0.2.52": {MIGRATING.object}})
    assert "2 hypervisors show it" in printed[0] and not any("vm_instance" in statement for statement in copy.written)


def test_a_vm_that_one_hypervisor_shows_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Copy()
    printed = closed(monkeypatch, copy, [MIGRATING], {"kvm1": set(), "kvm2": {MIGRATING.object}})
    assert "Running now" in printed[0] and any("state = 'Running'" in statement for statement in copy.written)

"""What the window's record knows of copy and start, as types: older and newer records are read, and nothing odd is taken for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.records.states import CopyState, StartState, copy_change, start_change, start_of

# As the tree before these types wrote them (commit 81fc6cf), at hold points of a real switch.
WRITTEN: list[tuple[dict[str, Any], CopyState]] = [
    ({}, CopyState()),
    ({"copied": None, "compared": None, "copying": True}, CopyState(copying=True)),
    ({"copied": {"tables": 336}, "compared": None, "copying": True, "spoilt": None}, CopyState(copied={"tables": 336}, copying=True)),
    ({"copied": None, "compared": None, "copying": None, "left": True}, CopyState(left=True)),
    ({"compared": {"position": "mysql-bin.1:4"}}, CopyState(compared={"position": "mysql-bin.1:4"})),
    ({"copied": {"tables": 1}, "spoilt": "a start on it has begun"}, CopyState(copied={"tables": 1}, spoilt="a start on it has begun")),
]


@pytest.mark.parametrize(("facts", "state"), WRITTEN)
def test_what_an_earlier_version_wrote_is_read(facts: dict[str, Any], state: CopyState) -> None:
    assert CopyState.of(facts) == state


def test_a_start_is_read_as_it_was_written() -> None:
    facts = {"mark": [17, 4711], "good": None, "touched": None, "failed": None, "boot": "b", "began": 1_700_000_000.5}
    assert StartState.of(facts) == StartState(mark=[17, 4711], boot="b", began=1_700_000_000.5)
    assert StartState.of({"began": 5}).began == 5, "JSON makes no difference between numbers"
    assert StartState.of({"touched": False}).touched is False and StartState.of({"touched": None}).touched is None


def test_what_a_later_version_has_added_is_not_looked_at() -> None:
    assert CopyState.of({"left": True, "token": 7, "revision": {"of": "later"}}) == CopyState(left=True)


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        (CopyState, {"copied": "yes"}), (CopyState, {"spoilt": True}), (CopyState, {"left": 1}), (StartState, {"mark": "17:4711"}),
        (StartState, {"began": True}), (StartState, {"good": ["x"]}),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_not_taken_for_nothing(state: type[CopyState | StartState], facts: dict[str, Any]) -> None:
    with pytest.raises(GuardFailed, match=f"the window's record says {next(iter(facts))} "):
        state.of(facts)


def test_what_is_brought_is_what_has_to_be_emptied() -> None:
    assert [state.brought for _, state in WRITTEN] == [False, True, True, True, True, True]
    assert not CopyState.of({"spoilt": "x"}).brought


def test_changes_are_what_the_record_takes() -> None:
    change = copy_change(spoilt=None) | start_change(start_of("newms2", first=False), touched=False)
    assert change == {"DatabaseTransfer": {"spoilt": None}, "AdditionalManagement/newms2": {"touched": False}}
    assert start_of("newms1", first=True) == "FirstManagement"

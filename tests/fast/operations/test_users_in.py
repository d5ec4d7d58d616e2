"""Users are not let in behind a hold point that stood before it when the window was opened by an earlier version."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.operations import user_firewall, users_in
from parallel_build.records.window import FIRST_STEPS, WindowRecord
from tests.fast.memory_records import Records
from tests.fast.sites import site

NOW = ["Window", "SystemVms", "Acceptance", "AdditionalManagement", "Routers"]


@pytest.mark.parametrize(
    ("steps", "held", "admitted"),
    [
        (list(FIRST_STEPS), "AdditionalManagement", False),
        (list(FIRST_STEPS), None, True),
        (list(FIRST_STEPS), "Routers", True),
        (NOW, "AdditionalManagement", True),
        (NOW, "Routers", True),
    ],
)
def test_a_hold_point_of_an_earlier_order_still_holds(
    monkeypatch: pytest.MonkeyPatch, steps: list[str], held: str | None, admitted: bool
) -> None:
    here = site(window={"stopBefore": held} if held else {})
    records = Records(WindowRecord("test", here.identity, opened="then", steps=steps), here)
    opened: list[str] = []
    context: Any = SimpleNamespace(configuration=here.configuration, intend=lambda *_, **__: None)
    monkeypatch.setattr(users_in, "store", lambda _: records)
    monkeypatch.setattr(user_firewall, "admit_on_new", lambda _: opened.append("in"))
    if admitted:
        users_in.admit(context, "accepted")
    else:
        with pytest.raises(GuardFailed, match=r"remove window\.stopBefore to let users in, or set it to Acceptance"):
            users_in.admit(context, "accepted")
    assert opened == (["in"] if admitted else [])


def test_the_first_users_call_before_it_is_proved_that_they_are_in(monkeypatch: pytest.MonkeyPatch) -> None:
    here = site()
    records = Records(WindowRecord("test", here.identity, opened="then", steps=NOW), here)
    times = iter(["2026-11-30T10:00:00+00:00", "2026-11-30T10:00:09+00:00"])
    monkeypatch.setattr(users_in, "now", lambda: next(times))
    monkeypatch.setattr(users_in, "store", lambda _: records)
    seen: list[str] = []
    monkeypatch.setattr(user_firewall, "admit_on_new", lambda _: seen.append(users_in.since(records.facts(users_in.STEP))))
    users_in.admit(SimpleNamespace(configuration=here.configuration, intend=lambda *_, **__: None), "accepted")  # type: ignore[arg-type]
    assert seen == [""] and users_in.since(records.facts(users_in.STEP)) == "2026-11-30T10:00:00+00:00"
    assert users_in.since({"at": "2026-11-30T10:00:09+00:00"}) == "2026-11-30T10:00:09+00:00", "a window that an earlier version opened"

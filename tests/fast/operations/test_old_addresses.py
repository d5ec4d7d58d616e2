"""What the original's addresses tell users once the cloud has moved: whatever is wrong there, users are in and the step continues."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, ParallelBuildError, StepFailed
from parallel_build.operations import packet_filter, user_firewall, users_out_service
from tests.fast.sites import site


@pytest.mark.parametrize("kind", [StepFailed, CommandFailed, ConnectionFailed])
@pytest.mark.parametrize("how", ["closed", "moved"])
def test_an_ill_server_of_the_original_is_reported_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, kind: type[ParallelBuildError], how: str
) -> None:
    reported: list[str] = []
    context = _context(monkeypatch, how, reported, kind("the packet filter does not take the rules", "no room", "make some"))
    user_firewall.tell_where(context, context.configuration.original.management[0])
    assert len(reported) == 1 and "the packet filter does not take the rules" in reported[0]


def test_stopping_as_asked_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    context = _context(monkeypatch, "closed", [], Cancelled("stopped", "as asked", "run it again"))
    with pytest.raises(Cancelled):
        user_firewall.tell_where(context, context.configuration.original.management[0])


def _context(monkeypatch: pytest.MonkeyPatch, how: str, reported: list[str], error: BaseException) -> Any:
    here = site(window={"oldAddresses": how})

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(packet_filter, "closed", lambda _: True)
    monkeypatch.setattr(packet_filter, "close", fail)
    monkeypatch.setattr(users_out_service, "there", lambda _: True)
    monkeypatch.setattr(users_out_service, "say", fail)
    return SimpleNamespace(
        configuration=here.configuration,
        host=lambda server: server,
        progress=reported.append,
        step="Acceptance",
        run=SimpleNamespace(record=lambda *_, **__: None),
    )

"""What a front's command says is not believed: a user's call through it decides, and what has not shown is run again, in the window and in a rollback."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.cloudstack.user_probe import Answer
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations import let_users_out, prove_user_access, user_firewall, users_out
from parallel_build.records.front_place import CLOSED, NEW_SIDE
from parallel_build.remote.openssh import Result
from tests.fast.operations.test_frontends import BALANCER, Stand

FRONTED = {
    "userAccess": {"method": "frontend", "probe": {"source": "10.91.0.200", "url": "http://10.91.0.60:8080/client/api"}},
}
EVERY = ["front1", "front2"]


class Pair(Stand):
    """Two machines that lead somewhere, and a user who comes by the first of them.

    Attributes:
        leads: where each machine really leads.
        idle: words that commands end well with, without having done anything.
        up: sides that serve.
        asks: whether the user can ask at all.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.leads = dict.fromkeys(EVERY, "original")
        self.idle, self.up, self.asks = set[str](), {"original"}, True
        super().__init__(monkeypatch)
        for module in (let_users_out, user_firewall):
            monkeypatch.setattr(module, "store", lambda _: self.records)
        for name in ("note_out", "note_in"):
            monkeypatch.setattr(users_out, name, lambda *_, **__: None)
        monkeypatch.setattr(prove_user_access, "administrators_are_in", lambda _: "administrators are in")
        monkeypatch.setattr(prove_user_access, "SETTLE", 0.0)
        monkeypatch.setattr(prove_user_access, "probe", lambda _: self)
        monkeypatch.setattr(user_firewall, "serving", lambda context: context.configuration.new.management)
        self.where = "10.91.0.200"
        self.configure(BALANCER, **FRONTED)

    def run(self, name: str, argv: Any) -> Result:
        done = super().run(name, argv)
        if argv[-1] in self.idle:
            return Result(0, "", "no such backend")
        self.leads[name] = argv[-1]
        return done

    def ask(self, where: Any) -> Answer:
        """A user's call."""
        status = 200 if self.leads["front1"] in self.up else 503
        return Answer(where.url, status if self.asks else None, f"HTTP {status}", asked=self.asks)

    def out(self) -> list[str]:
        """Let users out; what was run."""
        self.ran.clear()
        let_users_out.let_users_out(self.context)
        return sorted(self.ran)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(monkeypatch)


def test_a_close_that_did_nothing_is_found_and_its_correction_is_run(pair: Pair) -> None:
    pair.idle = {"closed"}
    with pytest.raises(StepFailed, match=r"users are still in: http://10\.91\.0\.60:8080/client/api: HTTP 200"):
        pair.out()
    assert "front1 says: no such backend" in pair.world.reported, "what it printed is shown"
    assert pair.on_record() == dict.fromkeys(EVERY, (CLOSED, False))
    pair.configure({**BALANCER, "close": ["turn", "--really", "closed"]}, **FRONTED)
    pair.idle = set()
    assert pair.out() == ["front1: turn --really closed", "front2: turn --really closed"]
    assert pair.on_record() == dict.fromkeys(EVERY, (CLOSED, True)) and pair.out() == []


def test_a_second_try_does_not_ask_users_who_are_out_whether_they_are_served(pair: Pair) -> None:
    pair.lost = {"front2"}
    with pytest.raises(StepFailed, match="front2 can't be reached"):
        pair.out()
    assert pair.leads == {"front1": "closed", "front2": "original"}
    pair.lost = set()
    assert pair.out() == ["front2: turn closed"], "the first try has asked, and has closed the way by which users would be asked for"


def test_a_first_try_still_asks_before_it_closes_anything(pair: Pair) -> None:
    pair.up = set()
    with pytest.raises(GuardFailed, match="users are not served even now"):
        pair.out()
    assert pair.ran == [] and pair.on_record() == {}


def test_users_whom_a_reload_has_let_in_again_are_let_out_before_the_original_stops(pair: Pair) -> None:
    pair.out()
    pair.ran.clear()
    let_users_out.keep_users_out(pair.context)
    assert pair.ran == [], "nothing is run where nobody is served"
    pair.leads = dict.fromkeys(EVERY, "original")  # haproxy.cfg was reloaded, and its runtime state was kept nowhere
    let_users_out.keep_users_out(pair.context)
    assert pair.leads == dict.fromkeys(EVERY, "closed")
    assert any("users are served again" in line for line in pair.world.reported)
    pair.leads["front1"], pair.idle = "original", {"closed"}
    with pytest.raises(StepFailed, match="users are still in"):
        let_users_out.keep_users_out(pair.context)


def test_a_way_in_that_did_nothing_is_found_and_its_correction_is_run(pair: Pair) -> None:
    pair.out()
    pair.up, pair.idle = {"new"}, {"new"}
    with pytest.raises(StepFailed, match="users are not served"):
        user_firewall.admit_on_new(pair.context)
    assert pair.on_record() == dict.fromkeys(EVERY, (NEW_SIDE, False))
    pair.ran.clear()
    pair.idle = set()
    user_firewall.admit_on_new(pair.context)
    assert sorted(pair.ran) == ["front1: turn new", "front2: turn new"]
    assert pair.on_record() == dict.fromkeys(EVERY, (NEW_SIDE, True))


def test_a_return_that_did_nothing_is_listed_and_stays_on_record(pair: Pair) -> None:
    pair.out()
    pair.idle = {"original"}
    left = user_firewall.let_users_in(pair.context)
    assert len(left) == 2 and all(
        "`toOriginal` ended well, and users who come by http://10.91.0.60:8080/client/api are not served" in each for each in left
    )
    assert pair.on_record() == dict.fromkeys(EVERY, (CLOSED, False))
    pair.idle = set()
    assert user_firewall.let_users_in(pair.context) == [] and pair.on_record() == {}
    pair.ran.clear()
    assert user_firewall.let_users_in(pair.context) == [] and pair.ran == []


def test_a_user_who_can_not_ask_keeps_no_window_open(pair: Pair) -> None:
    pair.out()
    pair.asks = False
    assert user_firewall.let_users_in(pair.context) == [] and pair.on_record() == {}

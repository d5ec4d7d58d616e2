"""Router waves: order, canary, limits, failures that block nobody, networks that users wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.api import ApiUnavailable
from parallel_build.cloudstack.router_networks import Key, RouterNetwork, within
from parallel_build.configuration import Routers, Wave
from parallel_build.errors import Cancelled, GuardFailed, StepFailed
from parallel_build.operations import restart_waves
from parallel_build.operations.restart_waves import Outcome, WaveRun
from parallel_build.operations.router_plan import allowed, waves


def network(number: int, *, zone: str = "z1", domain: str = "ROOT", account: str = "a") -> RouterNetwork:
    return RouterNetwork("network", number, f"uuid-{number}", f"net{number:04}", zone=zone, domain=domain, account=account)


class Orders:
    """A cloud in memory.

    Args:
        bad: numbers of networks that can't be restarted; `once` only the first time.
    """

    def __init__(self, *, bad: Collection[int] = (), once: Collection[int] = (), seconds: float = 0.0) -> None:
        self.bad, self.once, self.seconds = set(bad), set(once), seconds
        self.begun: list[int] = []
        self.recorded: set[int] = set()
        self.running, self.most = 0, 0
        self.users: set[Key] = set()
        self.why = ""
        self.room = -1  # networks that may still be begun
        self.lock = threading.Lock()

    def may_begin(self, usual: float) -> str:
        if self.room == len(self.begun):
            return "no more room"
        return self.why

    def wanted(self) -> Collection[Key]:
        return self.users

    def beginning(self, network: RouterNetwork, following: Sequence[RouterNetwork]) -> None:
        self.recorded |= {network.number, *(each.number for each in following)}
        self.begun.append(network.number)

    def restart(self, network: RouterNetwork) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            fails = network.number in self.bad or network.number in self.once
            self.once.discard(network.number)
        time.sleep(self.seconds)
        with self.lock:
            self.running -= 1
        if fails:
            raise StepFailed("restartNetwork failed in the cloud", f"no capacity for {network.number}", "")

    def ended(self, network: RouterNetwork, cause: str) -> None:
        """Nothing is kept here."""


def walk(
    orders: Orders, networks: Sequence[RouterNetwork], cancel: CancelToken | None = None, at_once: int = 4, **section: object
) -> Outcome:
    config = Routers.model_validate(section)
    run = WaveRun(
        waves(networks, config), [each.key for each in networks], orders, at_once=at_once, tries=config.tries,
        cancel=cancel or CancelToken(), progress=lambda _: None,
    )  # fmt: skip
    return run.run()


def test_five_of_five_hundred_that_cannot_be_restarted_block_nobody() -> None:
    orders = Orders(bad=(7, 100, 200, 300, 400))
    outcome = walk(orders, [network(number) for number in range(500)])
    assert len(outcome.done) == 495 and {number for _, number in outcome.failed} == {7, 100, 200, 300, 400}
    assert outcome.failed["network", 7] == "no capacity for 7", "the cause is the cloud's own words"
    assert not outcome.why and not outcome.stopped
    assert orders.begun.count(7) == 2, "tried again at the end of its wave"
    assert orders.begun[:1] == [0] and orders.recorded >= set(orders.begun)


def test_a_failing_canary_touches_one_network() -> None:
    orders = Orders(bad=(0,))
    outcome = walk(orders, [network(number) for number in range(50)])
    assert orders.begun == [0]
    assert outcome.stopped and outcome.why.startswith(
        "the canary is stopped: 1 of 1 could not be restarted, 0 may; net0000: no capacity for 0"
    )


def test_a_wave_stops_at_its_failure_rate_and_those_behind_it_do_not_begin() -> None:
    orders = Orders(bad=range(10, 40))
    networks = [network(number, zone="z1" if number < 100 else "z2") for number in range(200)]
    outcome = walk(orders, networks, at_once=1, failureRate=0.05)
    assert outcome.stopped and "wave 1 (zone z1)" in outcome.why
    assert len(outcome.failed) == 5, "99 networks, 4 of which may fail"
    assert max(orders.begun) < 100


def test_what_fails_once_is_tried_again_and_is_no_failure() -> None:
    outcome = walk(Orders(once=(5, 9)), [network(number) for number in range(40)])
    assert len(outcome.done) == 40 and not outcome.failed


def test_no_more_at_the_same_time_than_allowed() -> None:
    orders = Orders(seconds=0.01)
    walk(orders, [network(number) for number in range(40)], at_once=6)
    assert 2 <= orders.most <= 6


def test_the_time_limit_ends_a_run_without_a_failure() -> None:
    orders = Orders()
    orders.room = 12
    outcome = walk(orders, [network(number) for number in range(40)])
    assert len(outcome.done) == 12 and outcome.why == "no more room" and not outcome.stopped


def test_a_network_that_users_wait_for_comes_first_from_any_wave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_waves, "ASK_AGAIN", -1.0)
    orders = Orders()
    orders.users = {("network", 77), ("network", 12)}
    networks = [network(number, zone="z1" if number < 50 else "z2") for number in range(100)]
    outcome = walk(orders, networks, at_once=1)
    assert orders.begun[0] == 12, "as the canary itself: the canary is no larger for it"
    assert orders.begun[1] == 77
    assert len(outcome.done) == 100 and sorted(orders.begun) == list(range(100)), "and nobody is forgotten or restarted twice"


def test_a_cancel_begins_no_further_restart() -> None:
    orders, cancel = Orders(seconds=0.2), CancelToken()

    def interrupt() -> None:
        wait_for("four restarts", lambda: len(orders.begun) >= 5, timeout=20, cancel=CancelToken())
        cancel.set("^C")

    threading.Thread(target=interrupt).start()
    with pytest.raises(Cancelled):
        walk(orders, [network(number) for number in range(300)], cancel)
    assert len(orders.begun) <= 9


def test_a_rollback_ends_the_waves_as_an_error() -> None:
    class GoingBack(Orders):
        def may_begin(self, usual: float) -> str:
            if len(self.begun) == 3:
                raise GuardFailed("a rollback has begun", "", "")
            return ""

    orders = GoingBack()
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        walk(orders, [network(number) for number in range(30)], at_once=1)
    assert len(orders.begun) == 3


def test_an_api_that_is_away_is_one_failure_of_many() -> None:
    class Away(Orders):
        def restart(self, network: RouterNetwork) -> None:
            if network.number == 3:
                raise ApiUnavailable("the API does not answer", "ReadTimeout", "", None)

    outcome = walk(Away(), [network(number) for number in range(12)])
    assert len(outcome.done) == 11 and outcome.failed == {("network", 3): "ReadTimeout"}


def test_the_order_of_the_waves_is_the_configured_one_and_the_rest_comes_zone_by_zone() -> None:
    networks = [
        network(1, zone="z2"), network(2, zone="z1"), network(3, domain="ROOT/gold/inner"), network(4, account="acme", domain="ROOT/x"),
        network(5, account="acme", domain="ROOT/y"), network(6, zone="z1"),
    ]  # fmt: skip
    section = Routers.model_validate(
        {"canary": 1, "waves": [{"networks": ["net0006"]}, {"domain": "gold"}, {"account": "acme", "domain": "ROOT/x"}, {"zone": "z2"}]}
    )
    found = waves(networks, section)
    assert [(wave.number, [each.number for each in wave.networks]) for wave in found] == [
        (0, [6]),
        (1, [3]),
        (2, [4]),
        (3, [1]),
        (4, [2, 5]),
    ]
    assert found[0].allowed == 0


def test_large_waves_are_split_and_keep_their_numbers_while_networks_are_done() -> None:
    section = Routers.model_validate({"canary": 2, "waveSize": 10})
    whole = waves([network(number) for number in range(32)], section)
    assert [len(wave.networks) for wave in whole] == [2, 10, 10, 10]
    assert [wave.title for wave in whole[1:]] == ["zone z1, part 1", "zone z1, part 2", "zone z1, part 3"]


@pytest.mark.parametrize(("size", "rate", "may"), [(100, 0.1, 10), (3, 0.1, 1), (100, 0, 0), (4, 1, 4), (0, 0.1, 1)])
def test_how_many_may_fail(size: int, rate: float, may: int) -> None:
    assert allowed(size, rate) == may


@pytest.mark.parametrize(
    ("domain", "wanted", "inside"),
    [
        ("ROOT/gold", "ROOT/gold", True), ("ROOT/gold/a", "/gold/", True), ("ROOT/golden", "gold", False), ("ROOT", "ROOT", True),
        ("ROOT/x", "ROOT", True), ("ROOT/x", "/", True),
    ],
)  # fmt: skip
def test_a_domain_has_its_subdomains_and_no_namesake(domain: str, wanted: str, inside: bool) -> None:
    assert within(domain, wanted) is inside


def test_a_wave_names_one_thing() -> None:
    with pytest.raises(ValueError, match="name one of zone, domain, account"):
        Wave.model_validate({"zone": "z1", "networks": ["n"]})

"""Section `routers` and the keys that say when users are let in: refused before anything is contacted, with key, cause and remedy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from parallel_build.configuration import Hours
from parallel_build.errors import ConfigurationError
from parallel_build.operations.users_in import configured
from parallel_build.provider.relevance import relevant
from tests.fast.sites import site

NIGHT = {"timeZone": "Europe/Zurich", "spans": ["22:00-24:00", "00:00-05:00"]}


@pytest.mark.parametrize(("changes", "words"), [
    ({"routers": {"hours": {"spans": ["22:00-24:00"]}}}, r"routers.hours: timeZone: missing, and 22:00 is another moment in each zone; name"),
    ({"routers": {"hours": {**NIGHT, "spans": ["22:00-05:00"]}}}, r"22:00-05:00 ends before it begins.*a night as two: '22:00-24:00', '00:00-05:00'"),
    ({"routers": {"hours": {**NIGHT, "spans": ["22:00-22:00"]}}}, "ends before it begins"),
    ({"routers": {"hours": {**NIGHT, "spans": ["22-24"]}}}, "'22-24' is not a span of a day; write it as"),
    ({"routers": {"hours": {**NIGHT, "spans": ["22:00-25:00"]}}}, "is not a span of a day"),
    ({"routers": {"hours": {**NIGHT, "spans": []}}}, "spans: missing, so no network would ever be restarted"),
    ({"routers": {"hours": {**NIGHT, "timeZone": "Europe/Nowhere"}}}, "'Europe/Nowhere' is not a zone that this machine knows"),
    ({"routers": {"failureRate": 1.1}}, r"routers.failureRate: 1.1 is not a part of a wave; write a number from 0"),
    ({"routers": {"failureRate": -0.1}}, "is not a part of a wave"),
    ({"routers": {"failureRate": True}}, "is not a part of a wave"),
    ({"routers": {"failureRate": "0.1"}}, "is not a part of a wave"),
    ({"routers": {"canary": 11, "waveSize": 10}}, r"canary: 11 networks are more than routers.waveSize, 10.*make it smaller"),
    ({"routers": {"canary": 3, "waves": [{"networks": ["a", "b"]}]}}, "canary: 3 networks are more than the first wave's list, 2"),
    ({"routers": {"waves": [{"networks": []}]}}, "an empty list is no wave"),
    ({"routers": {"waves": [{}]}}, "name one of zone, domain, account"),
    ({"routers": {"untilRenewed": "wait", "hours": NIGHT}}, "hours would keep them out"),
    ({"routers": {"renew": "patch"}}, "routers.renew"),
    ({"routers": {"renew": "livePatch"}, "new": {"version": "4.16.1.0"}, "original": {"version": "4.15.2.0"}}, "not known to 4.16.1.0, only from 4.17.0.0 on"),
    ({"routers": {"renew": "livePatch"}, "original": {"version": "4.13.1.0"}}, "fails on routers of 4.13.1.0.*older than 4.14.0.0"),
    ({"routers": {"renew": "livePatch"}, "original": {"version": "4.22.1.0"}}, "a move leaves them alone"),
    ({"window": {"usersIn": "first"}, "acceptance": {"commands": [["true"]], "needsSystemVms": True}}, "usersIn: first lets users in before the system VMs"),
    ({"window": {"usersIn": "first"}, "routers": {"untilRenewed": "wait"}}, "routers.untilRenewed wait keeps them out"),
    ({"window": {"usersIn": "first", "acceptZones": ["z1"]}}, "window.acceptZones: with window.usersIn first"),
    ({"window": {"usersIn": "later"}}, "window.usersIn"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_key_cause_and_remedy(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        site(**changes)


@pytest.mark.parametrize("changes", [
    {"routers": {"hours": NIGHT}}, {"routers": {"canary": 10, "waveSize": 10}}, {"routers": {"failureRate": 0}}, {"routers": {"failureRate": 1}},
    {"window": {"usersIn": "first"}, "acceptance": {"commands": [["true"]]}}, {"window": {"acceptZones": ["z1"]}}, {"routers": {"renew": "livePatch"}},
])  # fmt: skip
def test_what_can_be_is_taken(changes: dict[str, Any]) -> None:
    site(**changes)


def test_a_night_of_two_spans_is_open_from_evening_to_morning_by_its_own_zone() -> None:
    hours = Hours.model_validate(NIGHT)

    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert hours.open_at(at("2026-01-10T21:30")) and hours.open_at(at("2026-01-10T03:59"))
    assert not hours.open_at(at("2026-01-10T04:00")) and not hours.open_at(at("2026-01-10T20:59"))
    assert hours.open_at(at("2026-07-10T20:30")), "summer time"
    assert hours.next_opening(at("2026-01-10T12:00")) == at("2026-01-10T21:00")
    assert hours.next_opening(at("2026-01-10T22:00")) == at("2026-01-10T22:00")
    assert hours.next_opening(at("2026-03-29T12:00")) == at("2026-03-29T20:00"), "the clocks went forward that night"


@pytest.mark.parametrize(("changes", "point"), [
    ({}, "accepted"), ({"window": {"usersIn": "first"}}, "first"), ({"routers": {"untilRenewed": "wait"}}, "routers"),
    ({"routers": {"untilRenewed": "allow"}}, "accepted"),
])  # fmt: skip
def test_when_users_are_let_in(changes: dict[str, Any], point: str) -> None:
    assert configured(site(**changes).configuration) == point


def test_a_change_of_these_keys_is_no_change_of_a_step() -> None:
    changed = site(routers={"canary": 5, "untilRenewed": "allow"}, window={"usersIn": "first"})
    assert relevant(site().to_json()) == relevant(changed.to_json())


@pytest.mark.parametrize("zone", ["Europe/Zurich", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"])
@pytest.mark.parametrize("span", ["02:00-03:00", "02:15-02:45", "01:30-02:30", "23:59-24:00"])
def test_the_next_opening_is_open_also_where_the_clocks_change(zone: str, span: str) -> None:
    """A span within the hour that is left out opens the night after."""
    hours = Hours.model_validate({"timeZone": zone, "spans": [span]})
    for day in ("2026-03-28T00:00", "2026-04-04T00:00", "2026-10-03T00:00", "2026-10-24T00:00"):
        for minutes in range(0, 2 * 1440, 37):
            moment = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(minutes=minutes)
            opening = hours.next_opening(moment)
            assert opening >= moment and hours.open_at(opening), (zone, span, moment)

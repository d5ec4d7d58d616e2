"""Guards over the seed: each holds on a good one, fails alone on its own fault, and with `dump` none asks for anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallel_build import guards
from parallel_build.database.replicate.channel import Position, Status
from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.seed import SeedFacts
from parallel_build.guards import seed as rules
from parallel_build.guards.new import databases_are_empty, space_is_enough
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import site

AT = Position("mysql-bin.000003", 4711)
STATUS = Status("10.91.0.13", receiving=True, applying=True, lag=0, received=AT, applied=AT, error="", tls=True)
GOOD = SeedFacts(
    row_image="FULL",
    server_ids={"olddb1": 1, "newdb1": 173735967, "newdb2": 173735968},
    status=STATUS,
    behind=0.01,
    read_only=True,
    baseline={"position": ["mysql-bin.000003", 4711], "same": True, "differences": []},
)
REPLICATE = site(transfer={"method": "replicate"})
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "rows_are_logged_whole": ({"row_image": "MINIMAL"}, "binlog_row_image=MINIMAL"),
    "server_ids_differ": ({"server_ids": {"olddb1": 7, "newdb1": 7, "newdb2": 8}}, "olddb1 and newdb1 both have server_id 7"),
    "seed_follows": ({"status": replace(STATUS, applying=False, error="Duplicate entry '5' for key 'PRIMARY'")}, "Duplicate entry"),
    "seed_is_caught_up": ({"behind": None, "status": replace(STATUS, lag=340)}, "340 s behind"),
    "seed_was_found_the_same": ({"baseline": {"same": False, "differences": ["cloud: table host: rows: id=2"]}}, "id=2"),
    "seed_is_read_only": ({"read_only": False}, "can be written to"),
}


def fresh(**changes: Any) -> NewFacts:
    """Good facts of a seeded new side, with the seed's changed."""
    return replace(GOOD_NEW, tables={"cloud": 305, "cloud_usage": 31}, seed=replace(GOOD, **changes))


def test_all_hold_on_a_good_seed() -> None:
    assert guards.failures(REPLICATE, GOOD_OLD, fresh()) == []


def test_every_rule_has_its_failing_case() -> None:
    assert [guard.name for guard in rules.GUARDS] == list(FAILING)


@pytest.mark.parametrize("name", FAILING)
def test_a_rule_fails_alone_and_says_what(name: str) -> None:
    changes, words = FAILING[name]
    failed = guards.failures(REPLICATE, GOOD_OLD, fresh(**changes))
    assert len(failed) == 1, [str(error) for error in failed]
    assert words in str(failed[0])
    assert failed[0].fact and failed[0].cause and failed[0].remedy
    # With dump there is nothing to hold.
    assert guards.failures(site(), GOOD_OLD, replace(fresh(**changes), tables=GOOD_NEW.tables)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": None}, "no channel"),
        ({"taken": "2026-06-01T12:00:00+00:00"}, "used up"),
        ({"status": replace(STATUS, host="10.91.0.99")}, "10.91.0.99"),
        ({"status": replace(STATUS, receiving=False)}, "its receiver does not run"),
    ],
)
def test_a_seed_that_does_not_follow(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GuardFailed) as caught:
        rules.seed_follows(REPLICATE, GOOD_OLD, fresh(**changes))
    assert words in str(caught.value)
    assert "DatabaseSeed" in caught.value.remedy


def test_a_seed_that_was_never_compared() -> None:
    with pytest.raises(GuardFailed, match="never compared"):
        rules.seed_was_found_the_same(REPLICATE, GOOD_OLD, fresh(baseline=None))


def test_a_server_without_a_number() -> None:
    with pytest.raises(GuardFailed, match="olddb1 has server_id 0"):
        rules.server_ids_differ(REPLICATE, GOOD_OLD, fresh(server_ids={"olddb1": 0, "newdb1": 1, "newdb2": 2}))


def test_a_seeded_database_need_not_be_empty_and_needs_less_space() -> None:
    databases_are_empty(REPLICATE, GOOD_OLD, fresh())
    large = replace(GOOD_OLD, bytes=9_000_000_000)
    space_is_enough(REPLICATE, large, fresh())
    with pytest.raises(GuardFailed, match=r"10\.0 GB free.*newdb1 a larger disk: 18\.0 GB have to be free"):
        space_is_enough(site(), large, GOOD_NEW)
    with pytest.raises(GuardFailed, match=r"10\.0 GB free.*write every table again.*11\.0 GB have to be free"):
        space_is_enough(REPLICATE, replace(GOOD_OLD, bytes=11_000_000_000), fresh())

"""What the waves name must be there."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.waves import waves_name_what_is_there
from tests.fast.sites import site

FACTS = OriginalFacts(
    zones=[{"name": "z1"}, {"name": "edge"}],
    names={"networks": ["net1", "uuid-1"], "domains": ["ROOT", "ROOT/gold/inner"], "accounts": ["a"]},
)


@pytest.mark.parametrize("changes", [
    {}, {"routers": {"waves": [{"zone": "z1"}, {"domain": "gold"}, {"account": "a"}, {"networks": ["uuid-1"]}], "accepted": ["net1"]}},
    {"window": {"acceptZones": ["z1"]}},
])  # fmt: skip
def test_what_is_there_may_be_named(changes: dict[str, Any]) -> None:
    waves_name_what_is_there(site(**changes), FACTS, NewFacts())


@pytest.mark.parametrize(("changes", "named"), [
    ({"routers": {"waves": [{"zone": "z1"}, {"zone": "z9"}]}}, r"routers.waves\[1\].zone: z9"),
    ({"routers": {"waves": [{"networks": ["net1", "gone"]}]}}, r"routers.waves\[0\].networks: gone"),
    ({"routers": {"waves": [{"domain": "ROOT/golden"}]}}, r"routers.waves\[0\].domain: ROOT/golden"),
    ({"routers": {"waves": [{"account": "b", "domain": "gold"}]}}, r"routers.waves\[0\].account: b"),
    ({"routers": {"accepted": ["net2"]}}, "routers.accepted: net2"),
    ({"window": {"acceptZones": ["z1", "z2"]}}, "window.acceptZones: z2"),
])  # fmt: skip
def test_what_is_not_there_is_reported_with_its_key(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(GuardFailed, match=named):
        waves_name_what_is_there(site(**changes), FACTS, NewFacts())

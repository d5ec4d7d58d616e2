"""The folders of tests/cases on every pair of servers and by every method: a sample, or all with PARALLEL_BUILD_CASES=all.

`PARALLEL_BUILD_CASES` may also be a number of cases, or names parted by commas; `PARALLEL_BUILD_CASES_SEED` draws the same sample again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.containers.case_files import PAIRS, Case, Method, cases
from tests.containers.case_runner import Runner
from tests.containers.conftest import tell
from tests.containers.database_stand import Combination, combination, roots

pytestmark = [pytest.mark.databases, pytest.mark.timeout(3600)]
WANTED = os.environ.get("PARALLEL_BUILD_CASES", "24")
# One sample a day: every process of a run draws the same, and no two weeks try the same ones.
SEED = int(os.environ.get("PARALLEL_BUILD_CASES_SEED") or time.strftime("%Y%m%d"))


def _chosen() -> list[Case]:
    every = cases()
    if WANTED == "all":
        return every
    if WANTED.isdigit():
        return sorted(random.Random(SEED).sample(every, min(int(WANTED), len(every))), key=lambda case: case.name)
    return [case for case in every if case.name in WANTED.split(",")]


CHOSEN = _chosen()


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Iterator[Combination]:
    """Two servers for all cases of a pair."""
    old, new = request.param.split(" to ")
    if missing := {old, new} - roots().keys():
        pytest.skip(f"no root file system with {', '.join(sorted(missing))}")
    with combination(old, new) as made:
        yield made


@pytest.fixture(scope="module")
def failures() -> dict[tuple[str, str], dict[str, str]]:
    """What failed, by pair and method, once it was run."""
    return {}


@pytest.mark.parametrize("method", ["dump", "replicate"])
@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_case(pair: Combination, case: Case, method: Method, failures: dict[tuple[str, str], dict[str, str]]) -> None:
    if not case.fits(str(pair), method):
        pytest.skip("not for this pair and method")
    key = (str(pair), method)
    if key not in failures:
        fitting = [each for each in CHOSEN if each.fits(*key)]
        started, runner = time.monotonic(), Runner(pair, method)
        failures[key] = runner.run(fitting)
        tell(
            f"{pair}, {method}: {len(fitting)} of {len(cases())} cases (seed {SEED}) in {runner.groups} transfers, {time.monotonic() - started:.0f} s"
        )
    assert case.name not in failures[key], failures[key][case.name]

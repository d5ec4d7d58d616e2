"""The folders of tests/cases on every pair of servers and by every method.

All that are to be run of a pair and method are brought over together, with the first of them: what was left out by `-k`, by `--sample` (see
`tests.sampling`) or is on another worker is not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.containers.case_files import PAIRS, Case, Method, cases
from tests.containers.case_runner import Runner
from tests.containers.conftest import tell
from tests.containers.database_stand import Combination, combination, roots

pytestmark = [pytest.mark.databases, pytest.mark.timeout(3600)]
Failures = dict[tuple[str, Method], dict[str, str]]


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Iterator[Combination]:
    """Two servers for all cases of a pair."""
    old, new = request.param.split(" to ")
    if missing := {old, new} - roots().keys():
        pytest.skip(f"no root file system with {', '.join(sorted(missing))}")
    with combination(old, new) as made:
        yield made


@pytest.fixture(scope="module")
def failures() -> Failures:
    """What failed, by pair and method, once it was run."""
    return {}


def _wanted(request: pytest.FixtureRequest, pair: str, method: Method) -> list[Case]:
    """The cases that this session runs on a pair by a method."""
    asked = [item.callspec.params for item in request.session.items if isinstance(item, pytest.Function) and item.module is request.module]
    found = [given["case"] for given in asked if (given["pair"], given["method"]) == (pair, method)]
    return [case for case in found if isinstance(case, Case) and case.fits(pair, method)]


@pytest.mark.parametrize("method", ["dump", "replicate"])
@pytest.mark.parametrize("case", cases(), ids=str)
def test_case(request: pytest.FixtureRequest, pair: Combination, case: Case, method: Method, failures: Failures) -> None:
    if not case.fits(str(pair), method):
        pytest.skip("not for this pair and method")
    if (str(pair), method) not in failures:
        some, runner, started = _wanted(request, str(pair), method), Runner(pair, method), time.monotonic()
        failures[str(pair), method] = runner.run(some)
        tell(f"{pair}, {method}: {len(some)} cases in {runner.groups} transfers, {time.monotonic() - started:.0f} s")
    assert case.name not in failures[str(pair), method], failures[str(pair), method][case.name]

"""Damage tests: differences planted one at a time on real servers are all found and named, harmless ones are not reported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.compare import session_pool as sides_module
from parallel_build.database.server import judge
from parallel_build.remote.host import Host
from parallel_build.remote.sql import Session
from tests.containers.database_stand import roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
CASES = Path(__file__).with_name("damage")


def _cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load((CASES / name).read_text())]


@pytest.fixture(scope="module", params=["mariadb", "mysql", "mariadb to mysql"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Host, Host]]:
    """Two servers of one family, or of both, with the same database."""
    old, _, new = request.param.partition(" to ")
    families = (old, new or old)
    there = roots()
    if missing := set(families) - set(there):
        pytest.skip(f"no root file system with {', '.join(missing)}")
    with stand() as made:
        hosts = made.add("left", there[old], 13), made.add("right", there[new or old], 31)
        for host in hosts:
            _reset(host, bool(new))
        yield hosts


# What a JSON column of MariaDB's is: text with a check. MySQL's own type is different, and not what a copy from MariaDB has.
JSON = ("details json DEFAULT NULL", "details longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(details))")


def _across(pair: tuple[Host, Host]) -> bool:
    return len({host.run(["which", "mariadb"], timeout=9, ok=None).ok for host in pair}) == 2


def _reset(host: Host, across: bool = False) -> None:
    text = (CASES / "original.sql").read_text()
    assert JSON[0] in text
    sql(
        host,
        text.replace(*JSON) if across else text,
        options=["--commands"] if host.run(["which", "mariadb"], timeout=9, ok=None).code else [],
    )


def _compare(pair: tuple[Host, Host]) -> compare.Comparison:
    return compare.compare(*pair, ["damage"], threads=2, cancel=CancelToken(), progress=lambda text: None)


@pytest.fixture(scope="module")
def sides(pair: tuple[Host, Host]) -> Iterator[tuple[sides_module.Side, sides_module.Side]]:
    """Open sessions to both, kept for all differences: opening them takes longer than comparing so little."""
    with sides_module.open_side(pair[0], 2) as left, sides_module.open_side(pair[1], 2) as right:
        yield left, right


@pytest.fixture(autouse=True, scope="module")
def one_judge(pair: tuple[Host, Host]) -> Iterator[None]:
    """One judge for all differences: starting it takes longer than judging so little. Each question finds it empty."""
    with judge.judge(pair[1], CancelToken()) as opened:

        @contextlib.contextmanager
        def lent(host: Host, cancel: CancelToken) -> Iterator[Session]:
            yield opened
            opened.execute("DROP DATABASE damage")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judge, "judge", lent)
            yield


@pytest.fixture
def whole(pair: tuple[Host, Host], request: pytest.FixtureRequest) -> Iterator[tuple[Host, Host]]:
    """The pair, made the same again afterwards."""
    yield pair
    _reset(pair[1], _across(pair))


def test_equal_databases_are_the_same(pair: tuple[Host, Host]) -> None:
    verdict = _compare(pair)
    assert verdict.same, [str(found) for found in verdict.differences]
    assert verdict.rows == 23
    assert verdict.objects > verdict.tables > 0, "views and programs count as well"
    assert not verdict.not_comparable


@pytest.mark.parametrize("case", _cases("differences.yaml"))
def test_difference_is_found_and_named(
    whole: tuple[Host, Host], sides: tuple[sides_module.Side, sides_module.Side], case: dict[str, str]
) -> None:
    sql(whole[1], _planted(case))
    verdict = compare.compare_sides(*sides, ["damage"], cancel=CancelToken(), progress=lambda text: None)
    named = [found for found in verdict.differences if found.object == case["object"] and case["detail"] in found.detail]
    assert named, [str(found) for found in verdict.differences]


@pytest.mark.parametrize("case", _cases("harmless.yaml"))
def test_harmless_difference_is_not_reported(whole: tuple[Host, Host], case: dict[str, str]) -> None:
    try:
        sql(whole[1], _planted(case))
        verdict = _compare(whole)
    finally:
        if "heal" in case:
            sql(whole[1], case["heal"])
    assert verdict.same, [str(found) for found in verdict.differences]


def _planted(case: dict[str, str]) -> str:
    return (
        "SET NAMES utf8mb4; SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', foreign_key_checks = 0; USE damage;\n"
        + case["plant"]
        + ";\n"
    )

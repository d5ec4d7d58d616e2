"""Originals as they come about - created, restored from dumps, restored by an older program - go through both methods and are called the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.database import ORIGINS, Accounts, DatabasePlan, Origin, load, restore
from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy as copying
from parallel_build.database.replicate import seed as seeding
from parallel_build.database.schema import meanings
from parallel_build.remote.sql import session
from tests.containers.database_stand import Combination, combination, roots
from tests.containers.real_original import SCHEMAS, put_on

pytestmark = [pytest.mark.databases, pytest.mark.timeout(3000)]
PLAN = DatabasePlan(rows_usage=100, rows_event=100, rows_usage_event=100, rows_vm_stats=100, link_local_addresses=100)
THREE_TIMES: tuple[Origin, ...] = ("restored", "restored", "restored")


def _quiet(text: str) -> None:
    del text


def _restore(pair: Combination, origin: Origin) -> None:
    words = ["ssh", *pair.source.options(), pair.source.destination]
    dumper = ["mariadb-dump"] if pair.old == "mariadb" else ["mysqldump", "--set-gtid-purged=OFF"]
    restore([*words, pair.old], [*words, *dumper], SCHEMAS, origin, timeout=900)


def _copied_and_the_same(pair: Combination) -> None:
    copying.empty(pair.target, SCHEMAS)
    copying.copy(pair.source, pair.target, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)
    verdict = compare.compare(pair.source, pair.target, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)
    assert verdict.same, [str(found) for found in verdict.differences]
    assert verdict.tables > 300
    assert verdict.not_comparable == []


@pytest.fixture
def untouched(real_original: Combination) -> Iterator[Combination]:
    """The real cloud as it was, nothing known of it, and an empty new server."""
    put_on(real_original.made, real_original.source)
    meanings.forget(real_original.target)
    yield real_original
    seeding.remove(real_original.source, real_original.target)
    copying.empty(real_original.target, SCHEMAS)


@pytest.mark.parametrize("origins", [(origin,) for origin in ORIGINS] + [THREE_TIMES], ids=" ".join)
def test_a_real_cloud_is_the_same_by_dump(untouched: Combination, origins: tuple[Origin, ...]) -> None:
    for origin in origins:
        _restore(untouched, origin)
    _copied_and_the_same(untouched)


@pytest.mark.parametrize("real_original", ["mariadb"], indirect=True)
@pytest.mark.parametrize("origin", ["created", "restored-old"])
def test_a_real_cloud_is_the_same_by_replicate(untouched: Combination, origin: Origin) -> None:
    """Also where definitions change before the takeover, which then compares everything."""
    source, target, cancel = untouched.source, untouched.target, CancelToken()
    _restore(untouched, origin)
    seeding.seed(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    baseline = seeding.compare_at_position(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    baseline.comparison.raise_if_different()
    with session(source) as opened:
        opened.execute("CREATE OR REPLACE VIEW cloud.own_view AS SELECT a.id, (a.id + 1) * 2 AS n FROM cloud.account a")
    with seeding.Takeover(source, target, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
        takeover.advance()
        takeover.catch_up(timeout=120)
        takeover.compare_changes().raise_if_different()
        takeover.promote()


@pytest.mark.parametrize("new", ["mysql"])
def test_the_labs_cloud_on_mysql_made_in_strict_mode_is_the_same(new: str) -> None:
    if "mysql" not in roots():
        pytest.skip("no root file system with mysql")
    with combination("mysql", new) as pair:
        words = ["ssh", *pair.source.options(), pair.source.destination, "mysql"]
        load(words, PLAN, accounts=Accounts("Lab-Password-1"), timeout=900)
        for origin in ("created", "restored", "restored"):
            _restore(pair, origin)
            _copied_and_the_same(pair)

"""A server that was restarted reports its counters as they are, and is no other database for it."""

from __future__ import annotations

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.schema import counters
from parallel_build.remote.sql import session
from tests.containers.database_stand import roots, sql, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(600)]
MADE = """
CREATE DATABASE counted; USE counted;
CREATE TABLE numbers (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, text VARCHAR(10));
CREATE TABLE plain (id INT PRIMARY KEY);
CREATE VIEW seen AS SELECT id FROM numbers;
INSERT INTO numbers (text) VALUES ('a'), ('b'), ('c');
"""


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_start_changes_no_counter(family: str) -> None:
    root = roots().get(family)
    if root is None:
        pytest.skip(f"no root file system with {family}")
    with stand() as made:
        left, right = made.add("left", root, 13), made.add("right", root, 31)
        for host in (left, right):
            sql(host, MADE)
        for stop in ("systemctl stop UNIT", "systemctl kill -s KILL UNIT; while systemctl -q is-active UNIT; do sleep 0.1; done"):
            left.run(["sh", "-c", f"{stop}; systemctl start UNIT".replace("UNIT", family)], timeout=120)
            made.wait(left)
            verdict = compare.compare(left, right, ["counted"], threads=2, cancel=CancelToken(), progress=lambda _: None)
            assert verdict.same, [str(found) for found in verdict.differences]
            with session(left) as opened:
                assert counters.read(opened, ["counted"]) == {("counted", "numbers"): 4}

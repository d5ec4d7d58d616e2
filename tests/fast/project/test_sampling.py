"""A sample leaves no group out, draws the same again, and other tests for another seed."""

from __future__ import annotations

from tests.sampling import drawn

SERVERS = ("mariadb to mariadb", "mysql to mysql", "mariadb to mariadb, hostile")
NAMES = [f"tests/{file}.py::test_{number}[{pair}-x]" for file in ("one", "two") for number in range(30) for pair in SERVERS]
SMALL = ["tests/three.py::test_alone", "tests/one.py::test_without_servers"]


def test_each_file_and_pair_of_servers_keeps_some() -> None:
    kept = drawn(NAMES + SMALL, 9, "abc")
    assert set(SMALL) <= kept
    counts = {
        (file, pair): sum(name.startswith(f"tests/{file}.py") and f"[{pair}-" in name for name in kept)
        for file in ("one", "two")
        for pair in SERVERS
    }
    assert counts == {(file, pair): 3 if "hostile" in pair else 9 for file in ("one", "two") for pair in SERVERS}


def test_a_seed_draws_the_same_again_and_a_different_one_others() -> None:
    assert drawn(NAMES, 9, "abc") == drawn(list(reversed(NAMES)), 9, "abc") != drawn(NAMES, 9, "def")

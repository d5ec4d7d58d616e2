"""Databases drawn at random: the same of the same seed and number, and of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.random_schema import draw_case

pytestmark = pytest.mark.processes


def test_a_number_of_a_seed_is_always_the_same_case(tmp_path: Path) -> None:
    first, again, other = draw_case(3, 7, tmp_path / "a"), draw_case(3, 7, tmp_path / "b"), draw_case(4, 7, tmp_path / "c")
    assert (first.create, first.events) == (again.create, again.events)
    assert first.create != other.create


@pytest.mark.parametrize(
    "word", ["PRIMARY KEY", "UNIQUE KEY", "GENERATED", "CHARACTER SET", "blob", "datetime", "VIEW", "TRIGGER", "INSERT IGNORE", "COMMENT"]
)
def test_some_of_ten_have_it(word: str, drawn: str) -> None:
    assert word in drawn


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ten of them."""
    folder = tmp_path_factory.mktemp("drawn")
    return "\n".join(draw_case(number, 1, folder / str(number)).create for number in range(10))

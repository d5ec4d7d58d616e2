"""Whose word counts for an undo: that of the same cloud in this run, also under another name, never another cloud's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallel_build.provider.engine import Engine
from parallel_build.provider.session import Session
from parallel_build.resolved_stack import Site
from tests.fast.sites import site

EAST, WEST = replace(site(), stack="prod-east", known_as=("e" * 24,)), replace(site(), stack="prod-west", known_as=("f" * 24,))


@pytest.mark.parametrize(
    ("stored", "heard", "newest"),
    [
        (EAST, [EAST, WEST], EAST),
        (EAST, [WEST], None),
        (replace(EAST, stack="called-so-before"), [WEST, EAST], EAST),
        (EAST, [], None),
        (replace(site(), stack="old"), [EAST], EAST),
        (replace(site(), stack="old"), [EAST, WEST], None),
    ],
    ids=["its own", "gone from the program", "renamed", "destroy", "renamed, without an identity", "without an identity, of two"],
)
def test_the_newest_word(stored: Site, heard: list[Site], newest: Site | None) -> None:
    session = Session(Engine("127.0.0.1:1"))
    for each in heard:
        session.hear(each)
    assert session.newest(stored) is newest
    session.close()

"""Which commands are loaded for which words: the one that is asked for, and every one where that is not certain."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pytest

from parallel_build import cli
from parallel_build.__main__ import parser

ALL = [command.NAME for command in cli.load()]


def loaded(*words: str) -> list[str]:
    return [command.NAME for command in cli.load(words)]


def known(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices: list[dict[str, argparse.ArgumentParser]] = [
        dict(action.choices) for action in made._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return choices[0]


@pytest.mark.parametrize("name", [name for name in ALL if name not in cli.NEED_ALL])
def test_a_command_is_loaded_alone_and_takes_the_same_words(name: str) -> None:
    for words in ((name,), (name, "lab"), ("--config-file", "back", name, "check"), ("--config-file=x", name)):
        assert loaded(*words) == [name]
    assert known(parser([name]))[name].format_help() == known(parser())[name].format_help()


@pytest.mark.parametrize(
    "words", [(), ("--help",), ("completion", "bash"), ("no-command", "back"), ("--config", "x", "back"), ("--config-file",)]
)
def test_every_command_is_loaded_where_it_is_not_certain(words: Sequence[str]) -> None:
    assert loaded(*words) == ALL

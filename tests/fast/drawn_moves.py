"""What may happen to a cloud that was switched, drawn at random: faults, edits of the stack file, commands, other operators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.fast.agents_world import KVM

LONGEST = 10
NEW_SIDE, OLD_SIDE, HOLDERS = ("newms1", "newms2", "newdb1"), ("oldms1", "oldms2"), ("olddb1", "newdb1")
COMMANDS = ("back", "undo", "forward", "reopen")
AGENT_MOVES = ("agent loses its server", "agent stops", "agent starts", "host put aside", "host taken back")
Move = tuple[str, Any]


def moves(dice: random.Random) -> Iterator[Move]:
    """A drawn sequence."""
    anybody = (*NEW_SIDE, *OLD_SIDE, "olddb1", *KVM)
    kinds: dict[str, Callable[[], Any]] = {
        "cut off": lambda: dice.choice(anybody),
        "mend": lambda: dice.choice(anybody),
        "power off": lambda: dice.choice(NEW_SIDE),
        "power on": lambda: dice.choice(NEW_SIDE),
        "take out": lambda: dice.choice(("newms2", "oldms2")),
        "put in": lambda: dice.choice(("newms2", "oldms2")),
        "confirm": lambda: dice.choice(NEW_SIDE),
        "take back": lambda: None,
        "start fails": lambda: dice.choice(OLD_SIDE),
        "start works": lambda: dice.choice(OLD_SIDE),
        "SQL hangs": lambda: None,
        "SQL answers": lambda: None,
        "tear": lambda: dice.choice(HOLDERS),
        "the other holder answers": lambda: None,
        **dict.fromkeys(AGENT_MOVES, lambda: dice.choice(tuple(KVM))),
        "another state": lambda: dice.choice(("back", "undo", "forward")),
        **dict.fromkeys(COMMANDS, lambda: _how(dice)),
    }
    names = [*kinds, *("back", "undo", "cut off") * 3, "forward", "reopen", "the other holder answers"]
    for _ in range(dice.randint(2, LONGEST)):
        kind = dice.choice(names)
        yield kind, kinds[kind]()


def _how(dice: random.Random) -> tuple[str, int, str]:
    """Whether a command comes to its end, dies, or sleeps while somebody else's runs."""
    return dice.choice(("ends", "ends", "dies", "sleeps", "sleeps")), dice.randrange(45), dice.choice(COMMANDS)

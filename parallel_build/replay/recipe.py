"""What a kind of object needs to be created again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.created import Created
from parallel_build.replay.original import Original
from parallel_build.workload.choices import Item


@dataclass(frozen=True)
class Call:
    """One call of the API.

    Attributes:
        password: the call gives a user a new password.
    """

    command: str
    parameters: dict[str, Any] = field(default_factory=dict)
    password: bool = False


def _nothing(original: Original, each: Created, identity: str) -> list[Call]:
    return []


@dataclass(frozen=True)
class Recipe:
    """How one kind is created again. Each part raises NotReplayed where an object can't be.

    Attributes:
        find: what is there already under the same name and owner, or says the same.
        make: the call that creates it.
        finish: calls that bring it into the state it had, once it is there.
        either: where `make` is refused: the call that is tried instead.
    """

    find: Callable[[Original, Created], Item | None]
    make: Callable[[Original, Created], Call]
    finish: Callable[[Original, Created, str], list[Call]] = _nothing
    either: Callable[[Original, Created], Call] | None = None

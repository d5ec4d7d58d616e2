"""Actions that a plan shows and an apply does: from one list, so that neither has what the other lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Action(Generic[P, T]):
    """One action.

    Attributes:
        lines: what the plan shows of it. Without any the configuration does not ask for it, and it is not done.
        do: does it; what is done already is left alone.
    """

    lines: Sequence[str]
    do: Callable[P, T]


def planned(actions: Iterable[Action[P, T]]) -> list[str]:
    """The lines of a plan."""
    return [line for action in actions for line in action.lines]


def carried_out(actions: Iterable[Action[P, T]], *given: P.args, **named: P.kwargs) -> list[T]:
    """Do what the configuration asks for, in the order of the plan; what each gives."""
    return [action.do(*given, **named) for action in actions if action.lines]

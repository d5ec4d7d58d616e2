"""What the window's record knows of the copy and of a server's start, as types: lenient when it is read, strict when it is written.

A record may be of another version of this project: what is not known here stays in the record and is not looked at. What is known has to be of its
kind: a record that says something else of it is not taken for one that says nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Self, TypedDict, Unpack, get_args, get_type_hints

from parallel_build.errors import GuardFailed

COPY = "DatabaseTransfer"  # under this name the window's record says what is known of the copy
FIRST_START = "FirstManagement"

Facts = dict[str, Any]


def start_of(machine: str, *, first: bool) -> str:
    """The name under which a server's start is remembered."""
    return FIRST_START if first else f"AdditionalManagement/{machine}"


@functools.cache
def _kinds(state: type) -> dict[str, Any]:
    """A class's kinds of values, found once: a record is read before every action."""
    return get_type_hints(state)


class State:
    """Reading a state from a record's facts."""

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """The state that these facts are.

        Raises:
            GuardFailed: one of them is of another kind than it can be.
        """
        kinds = _kinds(cls)  # type: ignore[arg-type]  # every class can be hashed, which mypy does not know of Self
        found = {each.name: known[each.name] for each in fields(cls) if known.get(each.name) is not None}  # type: ignore[arg-type]  # subclasses are dataclasses
        for name, value in found.items():
            if not _fits(value, kinds[name]):
                raise GuardFailed(
                    f"the window's record says {name} {str(value)[:60]!r}, which can't be understood",
                    f"{cls.__name__} knows {name} as another kind of value: another version of this project wrote it, or somebody by hand",
                    "continue with the version that wrote it; nothing has been changed",
                )
        return cls(**found)


def _fits(value: Any, kind: Any) -> bool:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    plain = tuple(getattr(each, "__origin__", each) for each in kinds)
    if isinstance(value, bool):
        return bool in plain
    return isinstance(value, plain) or (float in plain and isinstance(value, int))


class CopyChange(TypedDict, total=False):
    """What may be written of the copy; None forgets."""

    copied: Facts | None
    compared: Facts | None
    copying: bool | None
    left: bool | None
    files: bool | None
    spoilt: str | None


@dataclass(frozen=True)
class CopyState(State):
    """The copy on the new source.

    Attributes:
        copied: evidence of a whole copy, compared; None while there is none.
        compared: evidence of a seed that was compared and is being detached.
        copying: rows are being brought over.
        left: a rollback, up to a hold point perhaps, has left it.
        files: files may be on their way to the new servers, and must be cleared away before the databases are emptied.
        spoilt: why no server may start on it although it was whole.
    """

    copied: Facts | None = None
    compared: Facts | None = None
    copying: bool = False
    left: bool = False
    files: bool = False
    spoilt: str = ""

    @property
    def brought(self) -> bool:
        """Whether this window has brought anything to the new databases."""
        return bool(self.copied or self.compared or self.copying or self.left)


class StartChange(TypedDict, total=False):
    """What may be written of a start; None forgets."""

    mark: list[int] | None
    good: Facts | None
    touched: bool | None
    failed: str | None
    boot: str
    began: float


@dataclass(frozen=True)
class StartState(State):
    """A start of a new management server.

    Attributes:
        mark: where its log stood then: inode and offset; None where none was written down.
        good: evidence of a good start.
        touched: whether it may have changed the schema; None while nobody knows.
        failed: why it is not good.
        boot: of the server, when it began.
        began: when, by this machine's clock.
    """

    mark: list[int] | None = None
    good: Facts | None = None
    touched: bool | None = None
    failed: str = ""
    boot: str = ""
    began: float = 0.0


def copy_change(**change: Unpack[CopyChange]) -> dict[str, Facts]:
    """A change of what is known of the copy, as the record takes it."""
    return {COPY: dict(change)}


def start_change(name: str, **change: Unpack[StartChange]) -> dict[str, Facts]:
    """A change of what is known of a start, as the record takes it.

    Args:
        name: as `start_of` gives it.
    """
    return {name: dict(change)}

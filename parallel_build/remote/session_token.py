"""A run's number on its database sessions: the next run ends the sessions of an earlier one before it does anything on that server.

A session keeps its number as a named lock of the server's (`GET_LOCK`), which ends with it and shows whose it is (`IS_USED_LOCK`): MariaDB's process
list has no other mark that lasts. CloudStack's own locks have other names.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

SESSIONS = 64  # of one run on one server; the largest copy has 20
EARLIER = 16  # runs before this one whose sessions are looked for: older ones are longer gone than any session lasts
NO_SUCH_THREAD = 1094

_cleared: set[tuple[str, int]] = set()
_clearing = threading.Lock()


class Asked(Protocol):
    """A session, as far as it is asked here."""

    def value(self, statement: str) -> Any:
        """The first value of the first row."""

    def row(self, statement: str) -> Sequence[Any]:
        """The first row's values."""

    def kill(self, session: int) -> None:
        """End another session; one that has ended by itself is no error."""


def name(token: int, number: int) -> str:
    """The lock that one session of a run holds."""
    return f"parallel-build run {token} session {number}"


def carry(session: Asked, server: str, token: int) -> None:
    """Mark a session with its run, after the sessions of earlier runs were ended.

    Args:
        session: just opened.
        server: what tells its server from others, in this process.
        token: the run's number.
    """
    with _clearing:
        if (server, token) not in _cleared:
            end_earlier(session, token)
            _cleared.add((server, token))
    for number in range(SESSIONS):
        if session.value(f"SELECT GET_LOCK('{name(token, number)}', 0)") == 1:
            return


def end_earlier(session: Asked, token: int) -> list[int]:
    """End every session of an earlier run; returns their ids on the server."""
    ended = []
    for earlier in range(max(1, token - EARLIER), token):
        held = session.row("SELECT " + ", ".join(f"IS_USED_LOCK('{name(earlier, number)}')" for number in range(SESSIONS)))
        for found in sorted({int(each) for each in held if each is not None}):
            session.kill(found)
            ended.append(found)
    return ended

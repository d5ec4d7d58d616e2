"""What lives as long as the provider process: the engine, the cancel token, connections, and the operations that run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from parallel_build.cancel import CancelToken
from parallel_build.operations import window_standing
from parallel_build.operations.window_standing import Seen
from parallel_build.provider.engine import Engine
from parallel_build.records.run_number import Claims
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site


class Session:
    """State of one provider process. Thread safe.

    Args:
        engine: who asks.
    Attributes:
        cancel: set by the engine's Cancel, or when the engine is gone.
        claims: the numbers that this process has taken for its writes.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cancel = CancelToken()
        self.claims = Claims()
        self._connections: dict[str, Connections] = {}
        self._newest: dict[str, Site] = {}
        self._running: list[str] = []
        self._made: set[str] = set()
        self._compared: set[str] = set()
        self._records: dict[str, Seen] = {}
        self._looking = threading.Lock()
        self._changed = threading.Condition()

    def connections(self, site: Site) -> Connections:
        """Sessions to the site's servers, shared by all its steps: opened once, used by the whole chain of a window."""
        text = site.to_json()
        with self._changed:
            if text not in self._connections:
                self._connections[text] = Connections(site, self.cancel)
            return self._connections[text]

    def hear(self, site: Site) -> None:
        """Remember what the program says now, for undos in the same run."""
        with self._changed:
            self._newest[site.stack] = site

    def newest(self, stored: Site) -> Site | None:
        """The last site heard from the program in this run for the stack that a stored one is of, or None.

        A program may have several clouds, and one of them may have gone from it: another cloud's word is not about this one.
        """
        with self._changed:
            heard = list(self._newest.values())
            if stored.stack in self._newest:
                return self._newest[stored.stack]
        # A stack that was renamed since is the same one: its identity is. Before version 0.1.0 a state has none.
        known = set(stored.known_as)
        same = [site for site in heard if known & set(site.known_as)] if known else heard
        return same[0] if len(same) == 1 else None

    def record(self, site: Site) -> tuple[Seen, bool]:
        """What the record of the site's window says, asked once in this process; and whether it was asked just now.

        Raises:
            Cancelled: stopping was asked for.
        """
        with self._looking:
            asked = site.stack not in self._records
            if asked:
                self._records[site.stack] = window_standing.look(site, self.connections(site))
            return self._records[site.stack], asked

    def make(self, urn: str) -> None:
        """Remember that this process has been asked to make or change a resource."""
        with self._changed:
            self._made.add(urn)

    def compare(self, urn: str) -> None:
        """Remember that the program of this run declares a resource that the state has."""
        with self._changed:
            self._compared.add(urn)

    def has_compared(self, urn: str) -> bool:
        """Whether it does."""
        with self._changed:
            return urn in self._compared

    def has_made(self, urn: str) -> bool:
        """Whether it has: a deletion that comes after that is half of a replacement."""
        with self._changed:
            return urn in self._made

    @contextlib.contextmanager
    def running(self, urn: str) -> Iterator[None]:
        """Count an operation while it runs, so that the process doesn't end under it."""
        with self._changed:
            self._running.append(urn)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(urn)
                self._changed.notify_all()

    @property
    def busy(self) -> bool:
        """Whether an operation runs."""
        with self._changed:
            return bool(self._running)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no operation runs, at most `timeout` seconds; whether that came."""
        deadline = time.monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End the connections to the servers and to the engine."""
        with self._changed:
            connections = list(self._connections.values())
            self._connections.clear()
        for connection in connections:
            connection.close()
        self.engine.close()


@dataclass(frozen=True)
class Operation:
    """One call of the engine for one resource.

    Attributes:
        session: the process's state.
        urn: the resource's name in the stack.
        id: its id, empty for a create.
    """

    session: Session
    urn: str
    id: str = ""

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rpartition("::")[2]

    def tell(self, message: str) -> None:
        """Show one line in the resource's row."""
        self.session.engine.status(self.urn, message)

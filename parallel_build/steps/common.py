"""What several steps of the window share: where the record is, and sessions to the two databases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import OriginalManagement, StackConfiguration
from parallel_build.connection import Host
from parallel_build.database.session import Session, session
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.steps.base import Context
from parallel_build.window_record import WindowStore


def store(context: Context) -> WindowStore:
    """The window's record on the original's database host."""
    return WindowStore(original_database(context), context.site)


def original_database(context: Context) -> Host:
    """The host of the original's source."""
    return context.host(context.configuration.original.database.source)


def new_database(context: Context) -> Host:
    """The host of the new source."""
    return context.host(context.configuration.new.database.source)


def schemas(configuration: StackConfiguration) -> list[str]:
    """The databases that travel; `cloudbridge` only where the original has it."""
    names = ["cloud", "cloud_usage"]
    return [*names, "cloudbridge"] if configuration.original.database.cloudbridge else names


def units_of(server: OriginalManagement) -> list[str]:
    """CloudStack's units on an original server, in the order of stopping: usage first, it restarts itself."""
    return [USAGE, MANAGEMENT] if server.usage else [MANAGEMENT]


class OpenSession:
    """A session that is opened when first used and opened again when it was lost."""

    def __init__(self, host: Host, stack: contextlib.ExitStack) -> None:
        self._host, self._stack = host, stack
        self._session: Session | None = None

    def __call__(self) -> Session:
        """The open session."""
        if self._session is not None:
            try:
                self._session.value("SELECT 1")
            except ConnectionFailed:
                self._session = None
        if self._session is None:
            self._session = self._stack.enter_context(session(self._host))
        return self._session


@contextlib.contextmanager
def tolerated(context: Context, what: str) -> Iterator[None]:
    """In an undo: a server that is gone or unreachable is told, and does not keep the original from serving."""
    try:
        yield
    except (ConnectionFailed, CommandFailed) as error:
        context.progress(f"{what}: {error}")
        context.run.record("unreachable", step=context.step, what=what, error=str(error))

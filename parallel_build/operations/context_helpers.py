"""What several steps of the window share: where the record is, and sessions to the two databases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import OriginalManagement, Server, StackConfiguration
from parallel_build.database.server import processes
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations import record_hosts
from parallel_build.operations.context import Context, Outputs
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

PROMOTED = "Promoted"  # under this name the record says which server has taken the place of the original's source
UNDO_ASKS_FOR = 30.0  # seconds that a rollback waits for one answer of the new side's database, which may hang


def store(context: Context) -> WindowStore:
    """The window's record on the original's database host, and on the new source once that has the data."""
    return record_hosts.both(context)


def original_database(context: Context) -> Access:
    """The host of the original's source, or of the replica that a rollback has promoted in its place."""
    return context.host(original_source(context))


def original_source(context: Context) -> Server:
    """The original's source, or the replica that a rollback has promoted in its place: only where the operator has confirmed that the source is gone."""
    source = context.configuration.original.database.source
    if source.name not in context.configuration.confirmed_down:
        return source
    return promoted(context) or source


def promoted(context: Context, record: WindowRecord | None = None) -> Server | None:
    """The original's replica, or stand-by node, that a rollback has promoted; None where none was.

    Args:
        record: the window's, where it is known.
    """
    record = record or store(context).look()
    name = record.facts.get(PROMOTED, {}).get("server") if record is not None else None
    if not name or record is None:
        return None
    touched = record.servers.get(name)
    configured = next((server for server in context.configuration.original.database.stand_by if server.name == name), None)
    return configured or (touched.server() if touched else None)


def new_database(context: Context) -> Access:
    """The host of the new source."""
    return context.host(context.configuration.new.database.source)


def schemas(configuration: StackConfiguration) -> list[str]:
    """The databases that travel; `cloudbridge` only where the original has it."""
    names = ["cloud", "cloud_usage"]
    return [*names, "cloudbridge"] if configuration.original.database.cloudbridge else names


def to_stop(configuration: StackConfiguration) -> list[Server]:
    """The original's servers on which the window stops CloudStack's units, in that order: usage first."""
    return [*configuration.original.usage, *configuration.original.management]


def units_of(server: Server) -> list[str]:
    """CloudStack's units on an original management server, or on a host of usage's own, in the order of stopping: usage first, it restarts itself."""
    if not isinstance(server, OriginalManagement):
        return [USAGE]
    return [USAGE, MANAGEMENT] if server.usage else [MANAGEMENT]


class OpenSession:
    """A session that is opened when first used and opened again when it was lost."""

    def __init__(self, host: Access, stack: contextlib.ExitStack) -> None:
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
    """In an undo: a server that is gone or unreachable is reported, and does not keep the original from serving."""
    try:
        yield
    except (ConnectionFailed, CommandFailed) as error:
        context.progress(f"{what}: {error}")
        context.run.record("unreachable", step=context.step, what=what, error=str(error))


@contextlib.contextmanager
def only_new_side(context: Context, what: str) -> Iterator[None]:
    """In an undo that comes before the original serves: what is ill on the new side is logged and recorded, whatever it is, and raises nothing.

    Never around what must be proved before the original starts.
    """
    try:
        yield
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        context.progress(f"{what}: {error}")
        context.run.record("not undone on the new side", step=context.step, what=what, error=str(error))


def never_serving(context: Context) -> None:
    """Rule: a database that a management server is using is never emptied.

    Raises:
        StepFailed: one has sessions on the new source.
    """
    with session(new_database(context)) as database:
        users = database.rows(f"SELECT DISTINCT USER AS u, HOST AS h FROM {processes.table(database)} WHERE USER = 'cloud'")
    if users:
        raise StepFailed(
            f"{context.configuration.new.database.source.name} has sessions of user cloud from {', '.join(str(u['h']) for u in users)}",
            "a management server uses this database",
            "stop it; a new management server must not run before its database is there",
        )


def window_open(context: Context) -> bool:
    """Whether a window is open on the original. Also when the original can't be asked: then nothing may rest on it."""
    try:
        record = store(context).read()
    except (ConnectionFailed, CommandFailed):
        return True
    return record is not None and record.closed is None


def prove_or_tell(context: Context, prove: Callable[[], Outputs]) -> Outputs:
    """Prove again what was built or prepared, when a changed input asks for it.

    While a window is open a failed check is logged as a warning, not raised: `up` proves before it goes back, and going back must be possible
    however broken the new side is.
    """
    if not window_open(context):
        return prove()
    try:
        return prove()
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"warning, not an error while a window is open: {error}")
        context.run.record("not proved", step=context.step, error=str(error))
        return {"notProved": str(error)}

"""Housekeeping and documented fixes on a copy, before the schema upgrade: the same in the rehearsal and in the window, in the same order."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.configuration.fix_files import Fix, read_fixes
from parallel_build.database import housekeeping
from parallel_build.database.copy import run_worker
from parallel_build.database.server.dialects import identify
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import new_database, original_database
from parallel_build.records.rehearsal import RehearsalStore, checksums, difference
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import logged_in
from parallel_build.remote.session_settings import pinned
from parallel_build.remote.sql import session

LIMIT = 6 * 3600.0  # seconds for one fix
AFFECTED = re.compile(r"^(?:Query OK, )?(\d+) rows? affected", re.MULTILINE)


def words(configuration: StackConfiguration, on: str) -> list[str]:
    """What will be done, in order; nothing where nothing is configured."""
    if not configuration.rehearsal.enabled:
        return []
    return [
        *(f"on {on}: {text}" for text in housekeeping.words(configuration.rehearsal.housekeeping)),
        *(f"on {on}: {fix.name} ({fix.checksum[:12]}): {fix.reason}" for fix in read_fixes(configuration.rehearsal.fixes)),
    ]


def replay(context: Context) -> dict[str, Any]:
    """Do on the new source what the rehearsal did on its copy: housekeeping, then the fixes; nothing where no rehearsal is configured.

    For the window, once the copy is whole and compared (`dump`) or the new source is promoted (`replicate`, where an earlier deletion would be a
    difference from the original), and before any management server uses it. Called again after an interruption it does all of it again: a
    fix is written so that it may run twice.

    Raises:
        GuardFailed: the fixes are not those that the passed rehearsal ran.
        StepFailed: a fix was refused, with the server's words.
    """
    configuration = context.configuration
    if not configuration.rehearsal.enabled:
        return {}
    rehearsed = RehearsalStore(original_database(context), context.site).last()
    now = checksums(configuration)
    if rehearsed is None or not rehearsed.passed or rehearsed.fixes != now:
        raise GuardFailed(
            f"the fixes in {configuration.rehearsal.fixes} are not those that were rehearsed",
            difference(rehearsed.fixes if rehearsed else {}, now),
            f"put the rehearsed files back, then run the same command again; or go back (parallel-build back {context.site.stack}) and rehearse these: "
            f"parallel-build rehearse {context.site.stack}",
        )
    cleaned = clean(context, new_database(context))
    fixed = run_fixes(context, new_database(context))
    return {"housekeeping": cleaned, "fixes": fixed} if cleaned or fixed else {}


def clean(context: Context, host: Access) -> dict[str, Any]:
    """Housekeeping on a copy; empty where none is configured."""
    wanted = context.configuration.rehearsal.housekeeping
    if not housekeeping.words(wanted):
        return {}
    context.intend("housekeeping", server=host.name)
    with session(host) as copy:
        done = housekeeping.clean(copy, wanted, cancel=context.cancel, progress=context.progress)
    return {"rows": done.rows, "seconds": done.seconds}


def run_fixes(context: Context, host: Access) -> list[dict[str, Any]]:
    """Run every fix on a copy, in the order of their names, each through the server's own client, which stops at its first error."""
    return [_run(context, host, fix) for fix in read_fixes(context.configuration.rehearsal.fixes)]


@contextlib.contextmanager
def client(host: Access) -> Iterator[list[str]]:
    """The words of the server's own client program, logged in as its administrator; they serve for the time of the block.

    Raises:
        ConnectionFailed: the database server is down.
    """
    with session(host) as database:
        server = identify(database)
        tools = run_worker.find_tools(host, server)
    settings = f"--init-command={pinned(server.family, server.version, writing=True)}"
    with logged_in(host, "fixes") as login:
        yield [tools.client, f"--defaults-file={login}", settings, "--default-character-set=utf8mb4", "--batch"]


def _run(context: Context, host: Access, fix: Fix) -> dict[str, Any]:
    context.intend(f"fix {fix.name}", server=host.name, checksum=fix.checksum, reason=fix.reason)
    context.progress(f"{host.name}: fix {fix.name} ({fix.reason})")
    began = time.monotonic()
    with client(host) as words:
        done = host.run([*words, "-vvv", "cloud"], input=fix.text, timeout=LIMIT, ok=None, cancellable=False)
    if not done.ok:
        errors = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise StepFailed(
            f"{host.name}: fix {fix.name} was refused",
            errors[-1] if errors else f"the client ended with exit code {done.code}",
            f"correct {fix.name}, then rehearse it: parallel-build rehearse {context.site.stack}",
        )
    rows = sum(int(found) for found in AFFECTED.findall(done.stdout))
    seconds = round(time.monotonic() - began, 3)
    context.progress(f"{host.name}: fix {fix.name} changed {rows} rows in {seconds:.1f} s")
    return {"name": fix.name, "checksum": fix.checksum, "reason": fix.reason, "rows": rows, "seconds": seconds}

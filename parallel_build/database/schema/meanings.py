"""What was judged of definitions, kept next to the copy's record on the new server, so that nothing is judged twice: the window pays nothing for it."""

from __future__ import annotations

import hashlib
import json

from parallel_build.configuration.database_combinations import Family
from parallel_build.database.schema.prints import Known
from parallel_build.database.server import judge
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session

FILE = "/var/lib/cutover-copy/meanings.json"
MOST = 20000  # prints kept: what changes all the time is then judged again once


def known(opened: Session, host: Access, original: Family) -> Known:
    """What was judged on this server, by the program and settings that it has now, of an original of that family; nothing where it can't be read.

    Args:
        opened: a session to the host's own server.
    """
    return _kept(host).for_server(f"{original} {identity(opened)}")


def _kept(host: Access) -> Known:
    """What is unreadable is judged again."""
    try:
        return Known.read(json.loads(host.read(FILE) or b"null"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Known()


def keep(host: Access, found: Known) -> None:
    """Keep it; nothing is written where it is there already."""
    if len(found.stable) > MOST:
        found = Known(found.server)
    content = json.dumps(found.document(), sort_keys=True)
    if host.read(FILE) == content.encode():
        return
    host.run(["mkdir", "-p", "-m", "700", FILE.rpartition("/")[0]], cancellable=False)
    host.write(FILE, content)


def forget(host: Access) -> None:
    """Remove it. Idempotent."""
    host.run(["rm", "-f", FILE], cancellable=False)


def identity(opened: Session) -> str:
    """The server's version and the settings that decide what a definition means there."""
    values = {"version": str(opened.value("SELECT VERSION()")), **judge.settings(opened)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]

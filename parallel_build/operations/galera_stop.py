"""The nodes of an original that is a Galera cluster, as a window's stop leaves them: each one's position is on record before the next is stopped.

The stand-by nodes are stopped first and the source, which CloudStack writes to, last: it leaves the cluster with everything.
"""

from __future__ import annotations

import contextlib
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.database.server import galera
from parallel_build.database.server.galera import UNKNOWN, GaleraStatus, SavedState
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.galera_choice import rests
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.sql import Session, session

STEP = "OriginalGalera"  # under this name the window's record has what each node had, by its name
BEGUN = "OriginalGaleraStart"  # and the node that a start was last begun with
# Seconds in which a node that is in no part that serves may end by itself. While it waits for others it does not, and its unit would wait for it for a
# quarter of an hour, with users out; nobody can have written there.
WAITING = 20.0
CATCH_UP = 30  # seconds within which a stand-by node gets what the source has; nobody writes any more


def clustered(configuration: StackConfiguration, record: WindowRecord | None) -> bool:
    """Whether the original is a Galera cluster, by its configuration or by what this window has stopped."""
    return bool(configuration.original.database.nodes) or clustered_record(record)


def clustered_record(record: WindowRecord | None) -> bool:
    """Whether this window has stopped nodes of a cluster."""
    return record is not None and not record.closed and STEP in record.facts


def note(context: Context, server: Server) -> None:
    """Note what a node has, right before it is stopped; one that is down already has been asked before, or can't be."""
    try:
        if find_socket(context.host(server)) is None:
            return
    except (ConnectionFailed, CommandFailed):
        return
    source = context.configuration.original.database.source
    found: dict[str, Any] = {"noted": now(), "lacks": "", "source": server.name == source.name}
    try:
        found |= _noted(context, server, source)
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        found["lacks"] = f"its position could not be read: {error.reason}"
    store(context).remember(STEP, **{server.name: found})
    if found["lacks"]:
        context.progress(f"{server.name} could not take the source's place if that were lost: {found['lacks']}")


def _noted(context: Context, server: Server, source: Server) -> dict[str, Any]:
    last = [status(context, server)]
    known = {"uuid": last[0].uuid, "committed": last[0].committed, "folder": last[0].folder}
    if server.name == source.name:
        return known
    wanted = status(context, source)

    def caught_up() -> bool:
        last[0] = status(context, server)
        return last[0].synced and last[0].uuid == wanted.uuid and last[0].committed >= wanted.committed

    with contextlib.suppress(StepFailed):  # how far it is, is what is noted
        wait_for(f"{server.name} to have what {source.name} has", caught_up, timeout=CATCH_UP, cancel=context.cancel, interval=0.5)
    lacks = "" if caught_up() else f"it has write sets up to {last[0].committed} ({last[0].words()}), the source up to {wanted.committed}"
    return {**known, "committed": last[0].committed, "lacks": lacks}


def note_stopped(context: Context, server: Server) -> None:
    """Note where a node that is down now has stopped, before the next one is."""
    known = noted_of(store(context).read(), server)
    if known.get("stopped"):
        return
    stopped = galera.saved(context.host(server), str(known.get("folder") or galera.USUAL))
    begun = store(context).facts(BEGUN).get("node") == server.name
    store(context).note({STEP: {server.name: {**known, "stopped": stopped.kept()}}, **({BEGUN: {"node": ""}} if begun else {})})
    at = f"write set {stopped.seqno}" if stopped.seqno != UNKNOWN else "no known write set: it was not shut down in order"
    context.progress(f"{server.name} has left the cluster at {at}" + (", as the last one" if stopped.safe else ""))


def held_at(context: Context, record: WindowRecord | None, opened: Session) -> dict[str, int]:
    """The write set that the source has, while nobody may write there; nothing without a cluster."""
    if not clustered(context.configuration, record):
        return {}
    return {"writeSet": galera.read(opened).committed}


def written_since(context: Context, record: WindowRecord | None, held: int | None) -> str:
    """What was written on the source, which is down, behind the write set that it had under the lock; in words, "" for nothing.

    All others have left the cluster by then, so that nothing but writes has a number there.
    """
    if held is None:
        return ""
    source = context.configuration.original.database.source
    folder = str(noted_of(record, source).get("folder") or galera.USUAL)
    stopped = galera.recovered(context.host(source), folder).seqno
    return "" if stopped == held else f"write sets up to {stopped}, and it had {held}"


def ran_since(context: Context, record: WindowRecord | None, server: Server) -> str:
    """What shows that a stand-by node, which is down, has run since this window stopped it; "" where nothing does."""
    known = noted_of(record, server)
    stopped = SavedState.of(known.get("stopped") or {})
    if stopped.seqno == UNKNOWN or server.name == context.configuration.original.database.source.name:
        return ""
    saved = galera.saved(context.host(server), str(known.get("folder") or galera.USUAL))
    if (saved.uuid, saved.seqno) == (stopped.uuid, stopped.seqno):
        return ""
    return f"the node {server.name} has run since this window stopped it at write set {stopped.seqno} (now {saved.seqno})"


def lacking(record: WindowRecord) -> dict[str, str]:
    """What each stand-by node lacks of what the source had when it was stopped, "" where it is proved to have everything; empty without a cluster.

    Each was noted while the source ran and nobody wrote, and the source is only stopped while nothing was written since the rows were compared.
    """
    noted = record.facts.get(STEP, {})
    nodes = {name: each or {} for name, each in noted.items() if not (each or {}).get("source")}
    if len(nodes) == len(noted):
        return dict.fromkeys(nodes, "the source was not stopped by this window, so it may have written more")
    at_rest = all(rests(each) for each in noted.values() if (each or {}).get("source"))
    return {
        name: str(each.get("lacks") or "") if at_rest else "the source's stop was cut off, or it has run since"
        for name, each in nodes.items()
    }


def in_words(record: WindowRecord) -> list[str]:
    """What the record has of it, for people: who has what, and so who starts the cluster where that has to be done by hand."""
    stopped = {name: SavedState.of(each["stopped"]) for name, each in record.facts.get(STEP, {}).items() if each and each.get("stopped")}
    if not stopped:
        return []
    last = max(stopped, key=lambda name: (stopped[name].seqno, stopped[name].safe))
    places = ", ".join(f"{name} at write set {each.seqno}" for name, each in stopped.items())
    return [
        f"the original's Galera nodes were stopped, {places}; {last} alone starts the cluster again (galera_new_cluster), the others join it"
    ]


def patience(context: Context, server: Server) -> float | None:
    """Seconds in which a node may end by itself; None for one that serves, which has its unit's own."""
    try:
        return None if status(context, server).primary else WAITING
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError:
        return WAITING


def status(context: Context, server: Server) -> GaleraStatus:
    with session(context.host(server)) as database:
        return galera.read(database)


def noted_of(record: WindowRecord | None, server: Server) -> dict[str, Any]:
    return {} if record is None or record.closed else dict(record.facts.get(STEP, {}).get(server.name) or {})

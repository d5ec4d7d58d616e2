"""An original that is a Galera cluster, started again from any mixture: one node starts it, the others join it.

A node that runs is never started as a first one; a cluster that serves is joined. Usually the source starts it: it has left the cluster last.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack.services import Services
from parallel_build.configuration import Server
from parallel_build.database.server import galera
from parallel_build.database.server.galera import GaleraStatus, SavedState
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations import known_servers
from parallel_build.operations.confirmed_down import is_lost
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_source, promoted, store
from parallel_build.operations.galera_choice import Node, first, no_other_history, prove_alone, rests, strangers
from parallel_build.operations.galera_stop import BEGUN, STEP, WAITING, lacking, noted_of, status
from parallel_build.operations.open_ports import answers
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers

SYNC = 900  # seconds within which a node joins, also by a copy of everything
SETTLE = 60  # seconds that a node which runs has to find the others
SILENT = 30  # seconds for which a node on its way into the cluster may be out of reach
SSH = 22


def stand_in(context: Context, record: WindowRecord, stand_by: Sequence[Server]) -> Server | None:
    """The stand-by node that takes the place of a source that is gone: one that is proved to have everything, and can be reached; the last to leave first."""
    lacks = lacking(record)
    able = [server for server in stand_by if lacks.get(server.name) == ""]
    able.sort(key=lambda server: -Node(server, noted=noted_of(record, server)).recorded)
    return next((server for server in able if context.host(server).reachable()), None)


def serve(context: Context) -> None:
    """Have the node that CloudStack uses serve: it joins a cluster that runs; where none does, the node with everything starts one. Nothing where it serves.

    Raises:
        StepFailed, ConnectionFailed: it can't be started, or a node that can't be asked may run.
    """
    serving = original_source(context)
    context.host(serving).run(["true"])
    mine = _node(context, store(context).read(), serving)
    others: list[Server] = []
    if not mine.status.synced:  # else nobody has to wait until the others were asked, of which some may be gone
        nodes = _settled(context)
        apart = strangers(nodes, _begun(store(context).read()))
        for node in apart:  # on record, since its files don't show it
            _note(context, node.server, alone=now(), lacks="it has run as a cluster of its own")
        no_other_history(apart)
        others = [node.server for node in nodes if node.status.primary] or [_start_first(context, nodes, serving)]
    alone = mine.status.primary or any(server.name == serving.name for server in others)  # it serves, or has started the cluster
    _join(context, replace(mine, runs=mine.runs or alone), [] if alone else others)


def _settled(context: Context) -> list[Node]:
    """Every node as it is now, once those that are on their way up have had the time to become part of a cluster that serves."""
    last = [_look(context)]

    def in_part() -> bool:
        last[0] = _look(context)
        return any(node.status.primary for node in last[0])

    if any(node.runs for node in last[0]) and not any(node.status.primary for node in last[0]):
        with contextlib.suppress(StepFailed):
            wait_for(
                "a running node to be in a cluster that serves", in_part, timeout=SETTLE, cancel=context.cancel, progress=context.progress
            )
    return last[0]


def _start_first(context: Context, nodes: list[Node], serving: Server) -> Server:
    """Have one node start the cluster; which one."""
    prove_alone(nodes)
    nodes = [_at_rest(context, node, serving) for node in nodes]
    chosen = first(nodes, serving.name, proved=serving.name != context.configuration.original.database.source.name)
    if (record := store(context).read()) is not None and not record.closed:
        store(context).remember(BEGUN, node=chosen.name, since=now(), position=chosen.position)
    context.intend("start the original's cluster", server=chosen.name, position=chosen.position)
    context.progress(f"{chosen.name} starts the original's cluster, at write set {chosen.position}")
    host = context.host(chosen.server)
    Services(host).release(chosen.unit, enable=_found(context, chosen).enabled)
    galera.bootstrap(host, _folder(chosen), chosen.unit)
    _await_synced(context, chosen.server, chosen.unit)
    return chosen.server


def _at_rest(context: Context, node: Node, serving: Server) -> Node:
    """A node with its position known: one that runs and serves nobody, since it is in no part that may, is stopped; one that died is asked by its tables."""
    if node.silent:
        return node
    host = context.host(node.server)
    if node.runs:
        context.progress(f"{node.unit} on {node.name} runs without a cluster that serves ({node.status.words()}): it is stopped")
        Services(host).stop_and_fence(node.unit, timeout=600, patience=WAITING)
    try:
        return replace(node, runs=False, saved=galera.recovered(host, _folder(node)))
    except StepFailed as error:
        if node.name == serving.name:
            raise
        context.progress(f"{node.name} can't start the cluster: {error}")
        return replace(node, runs=False, saved=SavedState())


def rejoin(context: Context) -> list[str]:
    """Start the other nodes, each as a member of the cluster that serves; management does not wait for them.

    Returns:
        what is missing: nodes that do not come back do not keep the original from serving.
    """
    serving, missing = original_source(context), []
    for node in _look(context):
        source = context.configuration.original.database.source.name
        if node.name == serving.name or (node.name == source and promoted(context)):
            continue
        try:
            if node.silent:
                raise ConnectionFailed(f"{node.name} can't be reached over SSH", node.silent, f"restore the connection to {node.name}")
            if node.alone_since and not node.runs:
                at = f" at write set {node.recorded}" if rests(node.noted) else ""
                raise StepFailed(
                    f"{node.name} has run since this window stopped {'it' if at else 'the source'}{at} (now {node.saved.seqno})",
                    "what was written there is on no other node, and it would join as if it had what they have",
                    f"look at what is on it; to have it join with a copy of everything: rm {_folder(node)}/grastate.dat there, then systemctl unmask "
                    f"{node.unit} && systemctl enable --now {node.unit}",
                )
            _join(context, node, [serving])
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            context.progress(f"{node.name} can't be brought back into the cluster yet: {error}")
            if not is_lost(context, node.server, error):
                missing.append(f"node {node.name}: {error}")
    if stands_in := promoted(context):
        _redundancy(context, stands_in)
    return missing


def _prove_together(context: Context, node: Node, others: Sequence[Server]) -> None:
    """Raises StepFailed where a node that serves is in no cluster with any of the others."""

    def together() -> bool:
        mine = _status_now(context, node.server)
        return any(mine.together(_status_now(context, other)) for other in others)

    names = ", ".join(other.name for other in others)
    try:
        wait_for(f"{node.name} to be in the cluster of {names}", together, timeout=SETTLE, cancel=context.cancel, interval=0.5)
    except StepFailed:
        raise StepFailed(
            f"{node.name} runs as a cluster of its own next to {names}",
            "somebody has started it as the first node, or its wsrep_cluster_address names no other: what is written there is on no other node",
            f"look at what is on it, and at its wsrep_cluster_address; then stop it there, rm {_folder(node)}/grastate.dat, and start it: it joins with a copy "
            "of everything",
        ) from None


def _redundancy(context: Context, serving: Server) -> None:
    source = context.configuration.original.database.source
    line = (
        f"{serving.name} takes the place of {source.name}: set original.database.source to it and take it out of original.database.nodes. {source.name} joins "
        f"again only with a copy of everything: rm {galera.USUAL}/grastate.dat there before its first start"
    )
    context.progress(line)
    context.run.record("promoted", server=serving.name, instead=source.name, left=[line])


def _look(context: Context) -> list[Node]:
    """Every node of the configuration and of the record, as it is now."""
    record = store(context).read()
    servers = known_servers.original_databases(context.configuration, record)
    with Workers(len(servers)) as pool:
        return list(pool.map(partial(_node, context, record), servers))


def _node(context: Context, record: WindowRecord | None, server: Server) -> Node:
    noted = noted_of(record, server)
    host, units = context.host(server), _units(record)
    try:
        services = Services(host)
        unit = units.get(server.name) or services.database_unit()
        if not services.state(unit).active:
            return Node(server, unit, saved=galera.saved(host, str(noted.get("folder") or galera.USUAL)), noted=noted)
    except (ConnectionFailed, CommandFailed) as error:
        ports = sorted({context.configuration.original.database.port, server.ssh_port or SSH, *context.configuration.ports_of(server)})
        stopped = (rests(noted) and _begun(record) != server.name) or server.name in context.configuration.confirmed_down
        return Node(
            server, units.get(server.name, ""), noted=noted, silent=error.reason, gone=stopped and not answers(context, server, ports)
        )
    return Node(server, unit, True, _status_now(context, server), noted=noted)


def _join(context: Context, node: Node, others: Sequence[Server]) -> None:
    """Unmask and start one node as a member; one that was down when the window opened stays down.

    Args:
        others: of whose cluster it is then a part; none where it is the first, or serves.
    """
    found, host = _found(context, node), context.host(node.server)
    serving = original_source(context).name
    if not found.active and node.name != serving:
        if not found.masked:
            Services(host).release(node.unit, enable=found.enabled)
        context.progress(f"{node.unit} on {node.name} did not run when the window opened, and stays down")
        return
    if not node.runs:
        context.progress(f"{node.name} joins the original's cluster")
    known = noted_of(store(context).read(), node.server)
    if (rests(known) or known.get("alone")) and not known.get("joining"):
        _note(context, node.server, joining=now())
    galera.forget_bootstrap(host, node.unit)  # also of one that runs: it may be started again by its own unit
    if started := Services(host).bring_up(node.unit, enable=found.enabled, timeout=SYNC):
        context.progress(f"{node.unit} started on {node.name}")
    _await_synced(context, node.server, node.unit)
    try:
        if others:
            _prove_together(context, node, others)
    except StepFailed:
        if started:  # nobody is to write there
            Services(host).stop_and_fence(node.unit, timeout=600)
        raise
    known = noted_of(store(context).read(), node.server)
    if rests(known) or known.get("alone"):
        _note(context, node.server, joined=now(), alone="")


def _note(context: Context, server: Server, **facts: str) -> None:
    """Add to what the record has of a node, while a window is open."""
    records = store(context)
    if (record := records.read()) is not None and not record.closed:
        records.remember(STEP, **{server.name: {**noted_of(record, server), **facts}})


def _await_synced(context: Context, server: Server, unit: str) -> None:
    """Wait until a node that was started has everything; not for one that dies on the way.

    Raises:
        StepFailed: its server has ended. ConnectionFailed: it is gone.
    """
    silent: list[float] = []  # when it did not answer, since it last did

    def synced() -> bool:
        if _status_now(context, server).synced:
            return True
        try:
            runs = Services(context.host(server)).state(unit).active
        except ConnectionFailed:
            silent.append(time.monotonic())
            if silent[-1] - silent[0] > SILENT:
                raise
            return False
        silent.clear()
        if not runs:
            raise StepFailed(
                f"{unit} on {server.name} has ended before it was Synced in its cluster",
                "it was killed, or it can't get what the others have",
                f"see journalctl -u {unit} on {server.name}, then run the same command again",
            )
        return False

    wait_for(f"{server.name} to be Synced in its cluster", synced, timeout=SYNC, cancel=context.cancel, progress=context.progress)


def _status_now(context: Context, server: Server) -> GaleraStatus:
    """The same of one that may be on its way up or down, or in no part that serves: then it opens no session."""
    try:
        return status(context, server)
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError:
        return GaleraStatus()


def _folder(node: Node) -> str:
    return str(node.noted.get("folder") or galera.USUAL)


def _found(context: Context, node: Node) -> Any:
    return known_servers.as_found(store(context).read(), node.name, node.unit)


def _begun(record: WindowRecord | None) -> str:
    return "" if record is None or record.closed else str(record.facts.get(BEGUN, {}).get("node") or "")


def _units(record: WindowRecord | None) -> dict[str, str]:
    return {} if record is None or record.closed else dict(record.facts.get("OriginalDatabase", {}).get("units", {}))

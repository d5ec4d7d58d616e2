"""Which node of the original's Galera cluster starts it again, where none runs: never two, never one that lacks what another has. A decision, no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_build.configuration import Server
from parallel_build.database.server.galera import NOBODY, UNKNOWN, GaleraStatus, SavedState
from parallel_build.errors import StepFailed


@dataclass(frozen=True)
class Node:
    """One node, as it is now and as the window's record has it.

    Attributes:
        server: it.
        unit: of its database server.
        runs: its unit is active; then `status` is what it reports.
        saved: what its files say, where it does not run.
        noted: what the record has of it.
        silent: why it can't be asked, "" where it was.
        gone: nothing runs there: its ports are closed, and the operator says so, or this window has stopped it and not begun a start with it.
    """

    server: Server
    unit: str = ""
    runs: bool = False
    status: GaleraStatus = field(default_factory=GaleraStatus)
    saved: SavedState = field(default_factory=SavedState)
    noted: Mapping[str, Any] = field(default_factory=dict)
    silent: str = ""
    gone: bool = False

    @property
    def name(self) -> str:
        """Its name in the stack."""
        return self.server.name

    @property
    def uuid(self) -> str:
        """The cluster that it belongs to, "" where that is not known."""
        now = self.status.uuid if self.runs else self.saved.uuid
        found = now or str((self.noted.get("stopped") or {}).get("uuid") or self.noted.get("uuid") or "")
        return "" if found == NOBODY else found

    @property
    def position(self) -> int:
        """Number of its last write set, by itself where it can be asked, else by the record."""
        if self.saved.seqno != UNKNOWN or not self.silent:
            return self.saved.seqno
        return self.recorded

    @property
    def recorded(self) -> int:
        """The same by the record: after its stop, else right before it."""
        stopped = SavedState.of(self.noted.get("stopped") or {}).seqno
        return stopped if stopped != UNKNOWN else int(self.noted.get("committed", UNKNOWN))

    @property
    def alone_since(self) -> bool:
        """It has run since this window stopped it, and this window has not started it: what was written there is on no other node."""
        stopped = SavedState.of(self.noted.get("stopped") or {})
        if self.silent:
            return False
        if self.noted.get("alone"):  # seen so; without its files it gets a copy of everything
            return self.status.primary if self.runs else self.saved.uuid not in ("", NOBODY)
        return rests(self.noted) and (self.status.primary if self.runs else stopped.seqno != UNKNOWN and self.saved.seqno > stopped.seqno)

    @property
    def older_than_its_stop(self) -> bool:
        """Its files have less than this window saw there when it was down: they are not those that it left."""
        return rests(self.noted) and not self.silent and UNKNOWN < self.saved.seqno < SavedState.of(self.noted["stopped"]).seqno


def rests(noted: Mapping[str, Any]) -> bool:
    """Whether a node is, by the record, where this window's stop has left it."""
    return bool(noted.get("stopped")) and not noted.get("joined")


def strangers(nodes: Sequence[Node], begun: str) -> list[Node]:
    """Nodes that serve as a cluster which this window has neither left running nor started."""
    # The source was stopped last: until a start of it is known to have come off, no other node can serve with what it has.
    source = next((node for node in nodes if node.noted.get("source") and rests(node.noted) and not node.noted.get("joining")), None)
    return [
        node
        for node in nodes
        if node.runs
        and (node.alone_since or (source is not None and node.status.primary))
        # One that this window has begun to start, or to join, may be up before that was written down.
        and not (begun and (node.name == begun or node.noted.get("joining")))
    ]


def no_other_history(found: Sequence[Node]) -> None:
    """Rule: what serves as the cluster is one that this window has left running, or has started.

    Args:
        found: its `strangers`.
    Raises:
        StepFailed: one was started as the first by somebody else, and whoever joins it gets its history.
    """
    for node in found:
        what = (
            f"this window had stopped it at write set {node.recorded}"
            if rests(node.noted)
            else "this window had stopped the source as the last one"
        )
        raise StepFailed(
            f"{node.name} runs as a cluster of its own, and {what}",
            "somebody started it: what was written there is on no other node, and a node that joins it would mix two histories",
            f"look at what is on it; where nobody needs that: systemctl mask --now {node.unit} on {node.name}, then run the same command again",
        )


def prove_alone(nodes: Sequence[Node]) -> None:
    """Rule: a cluster is only started while no node of it can run anywhere.

    Raises:
        StepFailed: one can't be asked, and nothing proves it down.
    """
    for node in nodes:
        if node.silent and not node.gone:
            raise StepFailed(
                f"the original's cluster is not started: {node.name} can't be asked, and may run as a part of it",
                f"{node.silent}. Two parts of one cluster, each started as the first, would both be written to",
                f"restore the connection to {node.name}; or power it off for good and name it in window.confirmedDown; then run the same command again",
            )


def first(nodes: Sequence[Node], serving: str, *, proved: bool) -> Node:
    """The node that starts the cluster, where none of it serves.

    Args:
        serving: the node that CloudStack's servers use.
        proved: it is on record to have everything, and stands in for a source that is gone; so has every node with more write sets.
    Raises:
        StepFailed: another node has more, and can't be asked; or none can start it.
    """
    uuid = next((node.uuid for node in sorted(nodes, key=lambda node: node.name != serving) if node.uuid), "")
    able = [node for node in nodes if not node.silent and node.uuid == uuid and node.position != UNKNOWN and not node.alone_since]
    if not able:
        raise StepFailed(
            "the original's cluster can't be started: no node that can be reached has a position in it",
            "; ".join(f"{node.name}: {node.silent or f'write set {node.position} of cluster {node.uuid or UNKNOWN}'}" for node in nodes),
            "look at grastate.dat on each, and start the node with the newest data by hand: galera_new_cluster; then run the same command again",
        )
    best = max(able, key=lambda node: (node.position, node.name == serving, node.saved.safe))
    more = [node for node in nodes if (node.silent or node.saved.seqno == UNKNOWN) and node.recorded > best.position]
    if more and not proved:
        raise StepFailed(
            f"the original's cluster is not started: {more[0].name} has write sets up to {more[0].recorded}, {best.name} only to {best.position}",
            f"{more[0].silent or 'its files show no position'}. What users have seen stored could be missing",
            f"bring {more[0].name} back, then run the same command again",
        )
    if less := [node for node in nodes if node.older_than_its_stop and node.recorded > best.position]:
        raise StepFailed(
            f"the original's cluster is not started: {less[0].name} was stopped at write set {less[0].recorded}, and its files show {less[0].position}",
            f"they were damaged, or put back from a backup, and {best.name} has no more than {best.position}. What users have seen stored could be missing",
            f"put the files of {less[0].name} back as this window left them; where nothing of it is missed, start the cluster by hand "
            f"(galera_new_cluster on {serving}); then run the same command again",
        )
    return best

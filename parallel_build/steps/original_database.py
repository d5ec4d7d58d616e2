"""OriginalDatabase: the old MySQL down and disabled, so that nothing can write where the truth no longer is."""

from __future__ import annotations

from parallel_build.cloudstack.services import FENCE, in_words
from parallel_build.configuration import StackConfiguration
from parallel_build.operations import frontends, prove_original_down
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import schemas, store
from parallel_build.operations.original_database import servers, start, stop_servers
from parallel_build.records.front_place import CLOSED
from parallel_build.records.states import COPY, FIRST_START, CopyState, StartState
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class OriginalDatabase(SwitchedStep):
    """Old MySQL servers stopped, disabled and masked."""

    type = "OriginalDatabase"
    summary = "original MySQL down"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Close what stands before them; disable, stop, mask, prove."""
        return [*frontends.plan(configuration, CLOSED, frontends.DATABASE), *self._stop(configuration)]

    def _stop(self, configuration: StackConfiguration) -> list[str]:
        port, replica, nodes = (
            configuration.original.database.port,
            configuration.original.database.replica,
            configuration.original.database.nodes,
        )
        if configuration.original.database.others:
            return self._locks(configuration)
        return [
            f"on {configuration.new.database.source.name}: a second copy of the window's record, from here on",
            *([f"on {replica.name}: note whether it has everything that the source has"] if replica else []),
            *(f"on {node.name}: note its write set, and whether it has all of the source's" for node in nodes),
            f"on {configuration.original.database.source.name}: look whether anything was written since the comparison (its binary "
            f"log, else its counters) while nobody can write: FLUSH TABLES WITH READ LOCK, until it {'begins to stop' if nodes else 'is stopped'}; then look "
            f"at its log's files{', and whether its write set is still the one under the lock' if nodes else ''}",
            *(f"on {s.name} ({s.address}): systemctl {in_words(FENCE)} the database server" for s in servers(configuration)),
            *(["after each node's stop: note where it left the cluster (grastate.dat), before the next is stopped"] if nodes else []),
            f"prove: port {port} closed, units masked",
        ]

    @staticmethod
    def _locks(configuration: StackConfiguration) -> list[str]:
        """What is done where the servers keep running for others."""
        names = " and ".join(schemas(configuration))
        return [
            *(
                f"on {s.name} ({s.address}), which keeps running for {', '.join(configuration.original.database.others)}: ALTER USER ... ACCOUNT LOCK for "
                f"CloudStack's accounts and every other that may write to {names}, not in the binary log; KILL their sessions"
                for s in servers(configuration)
            ),
            f"on {configuration.original.database.source.name}: look whether anything was written to {names} since the comparison",
            f"on {configuration.new.database.source.name}: a second copy of the window's record, from here on",
            "prove: those accounts locked, no session of theirs open",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Unmask, enable, start, wait; the source now, the replica when the original serves."""
        return [*self._start(configuration), *frontends.plan(configuration, frontends.TO_ORIGINAL, frontends.DATABASE)]

    @staticmethod
    def _start(configuration: StackConfiguration) -> list[str]:
        pair = configuration.original.database
        if pair.others:
            return [
                f"on {s.name}: accounts that were locked are unlocked as they were found, once the new side is fenced"
                for s in servers(configuration)
            ]
        if pair.nodes:
            others = " and ".join(node.name for node in pair.nodes)
            return [
                f"on {pair.source.name} ({pair.source.address}): systemctl unmask, enabled as it was; galera_new_cluster where no node of the cluster runs and "
                "none has more, else a plain start; wait until it is Synced",
                f"on {others}: the same at the end of Window's undo, each as a member, once the original serves",
            ]
        lines = [
            f"on {pair.source.name} ({pair.source.address}): systemctl unmask and start the database server, enabled as it was; wait until it answers SQL"
        ]
        if pair.replica:
            lines.append(f"on {pair.replica.name} ({pair.replica.address}): the same at the end of Window's undo, once the original serves")
        return lines

    def apply(self, context: Context) -> Outputs:
        """Stop and fence both; a replica that the operator has switched off himself must be silent."""
        return stop_servers(context)

    def verify(self, context: Context) -> Outputs:
        """Look whether they are down, stopping nothing: in a rollback that is ahead of the state they serve again.

        While the copy is imported again the source is up for that; the next start on it asks again.
        """
        records = store(context)
        if StartState.of(records.facts(FIRST_START)).good or not CopyState.of(records.facts(COPY)).spoilt:
            prove_original_down.prove(context)
        return {"units": records.facts(self.type).get("units", {})}

    def revert(self, context: Context) -> None:
        """Release and start the source, and wait until it answers; the replica is Window's."""
        start(context)

"""What fits to an original that is a Galera cluster: `original.database.nodes` next to `source`."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.configuration.preparation import Transfer
from parallel_build.configuration.servers import DatabasePair

KEY = "original.database.nodes"


def problems(database: DatabasePair, transfer: Transfer) -> Iterator[str]:
    """Keys that do not go with stand-by nodes, each with its cause and remedy."""
    if not database.nodes:
        return
    if database.engine != "mariadb":
        yield (
            f"{KEY}: only for MariaDB's Galera, and original.database.engine is {database.engine}; Percona XtraDB Cluster starts its first node by a unit of "
            "its own, which was never tried here. Leave nodes out and take one node out of the cluster first: docs/reference/guards.md, A Galera original"
        )
    if database.replica:
        yield (
            f"original.database.replica: {database.replica.name} next to {KEY}; a cluster's stand-by nodes are its second copies, and the window neither "
            "stops nor promotes an ordinary replica of a node. Leave replica out: it follows again when its source is back"
        )
    if database.others:
        yield (
            f"original.database.others: {', '.join(database.others)} next to {KEY}; accounts locked on one node of a running cluster keep no other node "
            "from being written to. Move the others to a server of their own, then leave original.database.others out"
        )
    if transfer.seed == "physical":
        yield (
            f"transfer.seed: physical next to {KEY}; a node's files belong to its cluster, and the new source would take itself for one of it; "
            "set it to auto or logical"
        )

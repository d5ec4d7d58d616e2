"""One node of a MariaDB Galera cluster: what it is in the cluster while it runs, what its files say when it is down, and its start as the first node.

Sources: MariaDB's manual (galera_new_cluster, mysqld --wsrep-recover), Galera's manual (Restarting the Cluster). In grastate.dat of a running node, and of
one that died, seqno is -1; safe_to_bootstrap is 1 on the node that left the cluster last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session

UNKNOWN = -1
NOBODY = "00000000-0000-0000-0000-000000000000"  # uuid of a node that never was in a cluster
USUAL = "/var/lib/mysql"
STATUS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready', "
    "'wsrep_cluster_size', 'wsrep_incoming_addresses', 'wsrep_last_committed')"
)
VARIABLES = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'wsrep_gtid_mode', 'wsrep_data_home_dir', 'datadir')"
# $1: the folder. Nothing is printed where there is no such file: the node was never in a cluster, or its files are elsewhere.
SAVED = """
file=$1/grastate.dat
[ -f "$file" ] || exit 0
sed -n 's/^\\(uuid\\|seqno\\|safe_to_bootstrap\\): *//p' "$file"
"""
# The server's own recovery, run as the server's user: it opens the tables, says where they are, and ends. It runs only while no server does.
RECOVER = """
program=$(command -v mariadbd || command -v mysqld)
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
chown mysql "$log"
timeout 540 "$program" --user=mysql --wsrep-recover --log-error="$log/recover.err" </dev/null >/dev/null 2>&1 || true
sed -n 's/.*WSREP: Recovered position: *\\([0-9a-f-]*:-\\{0,1\\}[0-9]*\\).*/\\1/p' "$log/recover.err" | tail -n 1
"""
# $1: the unit. What galera_new_cluster leaves where it was cut off has each later start of the unit begin a cluster of its own, also one after a crash:
# an old one sets a variable of systemd's, a newer one writes a file that the unit reads.
FORGET = """
systemctl unset-environment _WSREP_NEW_CLUSTER
systemctl show "$1" -p EnvironmentFiles |
  sed -n 's/^EnvironmentFiles=\\(.*wsrep-new-cluster\\) (ignore_errors=.*/\\1/p' | while read -r left; do rm -f "$left"; done
"""
# $1: the folder, $2: the unit. The flag is set in a copy that takes the file's place; galera_new_cluster (re)starts the unit as a first node.
BOOTSTRAP = f"""
forget() {{ set -- "$unit"; {FORGET} }}
unit=$2; trap 'forget || true' EXIT; trap 'exit 143' HUP INT TERM
file=$1/grastate.dat
if [ -f "$file" ]; then
  cp -p "$file" "$file.parallel-build"
  sed -i 's/^safe_to_bootstrap:.*/safe_to_bootstrap: 1/' "$file.parallel-build"
  sync "$file.parallel-build"
  mv "$file.parallel-build" "$file"
fi
systemctl reset-failed "$2" 2>/dev/null || true
galera_new_cluster "$2.service" </dev/null
"""


@dataclass(frozen=True)
class GaleraStatus:
    """What a running node reports; `on` is False where no server runs, or where it is in no cluster.

    Attributes:
        uuid: of the cluster.
        status: Primary in the part of the cluster that may write.
        state: Synced where it has everything.
        ready: it takes statements.
        size: members of its part of the cluster, arbitrators included.
        incoming: addresses of the members, as they report them.
        committed: number of the last write set that it has applied.
        gtid_mode: a write set has one GTID on all nodes.
        folder: where grastate.dat is.
    """

    on: bool = False
    uuid: str = ""
    status: str = ""
    state: str = ""
    ready: bool = False
    size: int = 0
    incoming: tuple[str, ...] = ()
    committed: int = UNKNOWN
    gtid_mode: bool = False
    folder: str = USUAL

    @property
    def primary(self) -> bool:
        """It belongs to the part of a cluster that serves."""
        return self.on and self.status == "Primary"

    @property
    def synced(self) -> bool:
        """It serves, with everything that its cluster has."""
        return self.primary and self.ready and self.state == "Synced"

    def together(self, other: GaleraStatus) -> bool:
        """Whether both are in one part of a cluster: started alone, each would be one that serves, under the same uuid."""
        return self.primary and other.primary and self.size > 1 and sorted(self.incoming) == sorted(other.incoming)

    def words(self) -> str:
        """For people."""
        if not self.on:
            return "no database server runs there, or it is no node of a cluster"
        return f"{self.status or 'of no known status'}, {self.state or 'of no known state'}" + ("" if self.ready else ", not ready")


@dataclass(frozen=True)
class SavedState:
    """What a node that is down has on its disk.

    Attributes:
        uuid: of the cluster that it belonged to.
        seqno: number of its last write set; UNKNOWN where the files don't show it.
        safe: it left the cluster last.
    """

    uuid: str = ""
    seqno: int = UNKNOWN
    safe: bool = False

    def kept(self) -> dict[str, Any]:
        """As a record has it."""
        return {"uuid": self.uuid, "seqno": self.seqno, "safe": self.safe}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> SavedState:
        """From a record."""
        return cls(str(kept.get("uuid", "")), int(kept.get("seqno", UNKNOWN)), bool(kept.get("safe")))


def read(opened: Session) -> GaleraStatus:
    """Ask a running server. Reads only; also a node that does not serve answers."""
    found = {str(row["Variable_name"]): str(row["Value"]) for row in opened.rows(VARIABLES)}
    if found.get("wsrep_on", "OFF") != "ON":
        return GaleraStatus()
    found |= {str(row["Variable_name"]): str(row["Value"]) for row in opened.rows(STATUS)}
    return GaleraStatus(
        True,
        found.get("wsrep_cluster_state_uuid", ""),
        found.get("wsrep_cluster_status", ""),
        found.get("wsrep_local_state_comment", ""),
        found.get("wsrep_ready", "") == "ON",
        _number(found.get("wsrep_cluster_size", ""), 0),
        tuple(found.get("wsrep_incoming_addresses", "").split(",")),
        _number(found.get("wsrep_last_committed", ""), UNKNOWN),
        found.get("wsrep_gtid_mode", "OFF") == "ON",
        (found.get("wsrep_data_home_dir") or found.get("datadir") or USUAL).rstrip("/"),
    )


def saved(host: Access, folder: str) -> SavedState:
    """What the files of a node that is down say. Reads only."""
    lines = host.script(SAVED, [folder]).stdout.split()
    if len(lines) < 2:
        return SavedState()
    return SavedState(lines[0], _number(lines[1], UNKNOWN), lines[2:3] == ["1"])


def recovered(host: Access, folder: str) -> SavedState:
    """What a node that is down has, also where it died: then its own server is asked to look into its tables.

    Raises:
        StepFailed: it does not say.
    """
    found = saved(host, folder)
    if found.seqno != UNKNOWN or found.uuid in ("", NOBODY):
        return found
    uuid, _, seqno = host.script(RECOVER, timeout=600, cancellable=False).stdout.strip().rpartition(":")
    if not uuid or _number(seqno, UNKNOWN) == UNKNOWN:
        raise StepFailed(
            f"{host.name}: its last write set is not known",
            f"it was not shut down in order (seqno -1 in {folder}/grastate.dat), and `mariadbd --wsrep-recover` names no position",
            f"run `mariadbd --user=mysql --wsrep-recover` on {host.name} and remove what it reports; or leave that node off: "
            f"name it in window.confirmedDown and power it off; then run the same command again",
        )
    return SavedState(uuid, int(seqno), found.safe)


def bootstrap(host: Access, folder: str, unit: str) -> None:
    """Start a node that is down as the first of its cluster. Whoever calls it has proved that no other node runs, and that none has more."""
    host.script(BOOTSTRAP, [folder, unit], timeout=900, cancellable=False)


def forget_bootstrap(host: Access, unit: str) -> None:
    """Have a start of the unit join its cluster, whatever a start as the first node has left behind there."""
    host.script(FORGET, [unit])


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.removeprefix("-").isdigit() else otherwise

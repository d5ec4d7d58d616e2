"""Which routers the new side has made, for which network, and what really runs on the KVM hosts that can be asked. Thread safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from parallel_build.cloudstack.kvm_guests import kvm_hosts, listed, named
from parallel_build.cloudstack.router_networks import NETWORK, VPC, Key
from parallel_build.configuration import Hypervisor
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import UNDO_ASKS_FOR, new_database, store
from parallel_build.remote.sql import session

MADE = (
    "SELECT v.instance_name AS name, r.vpc_id AS vpc, MIN(f.network_id) AS network FROM cloud.domain_router r "
    "JOIN cloud.vm_instance v ON v.id = r.id LEFT JOIN cloud.router_network_ref f ON f.router_id = r.id "
    "WHERE v.id > %s AND v.removed IS NULL GROUP BY v.instance_name, r.vpc_id"
)
FRESH = 5.0  # seconds for which a host's list counts


class NewRouters:
    """The new side's routers in a rollback.

    Args:
        of: their names by network; None where its database can't say.
        remove: removes a guest from a host.
    Attributes:
        keep: networks that the original has not restarted.
        unknown: nobody can say which routers it made.
    """

    def __init__(self, context: Context, of: Mapping[Key, list[str]] | None, remove: Callable[[Context, Hypervisor, str], None]) -> None:
        self.context, self.of, self.unknown, self._remove = context, of or {}, of is None, remove
        self.keep: set[Key] = set()
        self._lock = threading.Lock()
        self._there: dict[str, set[str] | None] = {}
        self._asked = float("-inf")

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {name for names in self.of.values() for name in names}

    @property
    def kept(self) -> set[str]:
        """Those whose networks the original could not restart: they run on."""
        return {name for key in self.keep for name in self.of.get(key, ())}

    def runs(self, vm: Mapping[str, Any], *, now: bool = False) -> bool | None:
        """Whether the KVM host that the original has a VM on runs it; None where that host can't be asked.

        Args:
            now: a list of some seconds ago is too old.
        """
        hypervisor = named(self.context.configuration.original.hypervisors, vm.get("hostname"))
        there = self._look(0.0 if now else FRESH).get(hypervisor.name) if hypervisor else None
        return None if there is None else str(vm["name"]) in there

    def remove(self, key: Key) -> None:
        """Remove the new side's routers of a network from the KVM hosts that have them; nothing where there are none, or nobody can ask."""
        names = set(self.of.get(key, ()))
        if not names:
            return
        there = self._look(FRESH)
        for hypervisor in kvm_hosts(self.context.configuration.original.hypervisors):
            for name in sorted(names & (there.get(hypervisor.name) or set())):
                self._remove(self.context, hypervisor, name)

    def _look(self, age: float) -> dict[str, set[str] | None]:
        """What runs on each KVM host, all asked at the same time; None where one can't be asked."""
        with self._lock:
            if time.monotonic() - self._asked > age:
                self._there = listed(self.context.configuration.original.hypervisors, self.context.host, running=True)
                self._asked = time.monotonic()
            return self._there


def made(context: Context) -> dict[Key, list[str]] | None:
    """Names of the routers that the new side made, by network; None where its database can't say."""
    highest = store(context).facts("Window").get("highest_ids", {}).get("vm_instance")
    if highest is None:
        return None
    try:
        with session(new_database(context), timeout=UNDO_ASKS_FOR) as database:
            rows = database.rows(MADE, [int(highest)])
    except Cancelled:
        raise
    except ParallelBuildError as error:
        context.progress(f"the new side's database can't say which router is whose: {error}")
        return None
    found: dict[Key, list[str]] = {}
    for row in rows:
        if row["vpc"] is not None:
            found.setdefault((VPC, int(row["vpc"])), []).append(str(row["name"]))
        elif row["network"] is not None:
            found.setdefault((NETWORK, int(row["network"])), []).append(str(row["name"]))
    return found

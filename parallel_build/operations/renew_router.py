"""One network or VPC restarted with new routers, or its routers patched where they run, and proved; a pair of routers never both down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.cloudstack.patience import Patience, hosts_away
from parallel_build.cloudstack.router_networks import VPC, Key, Patch, RouterNetwork
from parallel_build.errors import StepFailed, TimedOut
from parallel_build.operations import prove_appliances
from parallel_build.operations.context import Context
from parallel_build.remote.sql import Row

PROVED_WITHIN = 120.0  # seconds for a new router to report its release
PATCH_PROVED_WITHIN = 10.0  # CloudStack has written down what a router reported before the call's job ends
ROLLING = "network.rolling.restart"  # since 4.11.1: of a pair one router is always there
BACKUP = "BACKUP"


class _OneAtATime:
    """A database session that several threads ask."""

    def __init__(self, database: Callable[[], systemvms.Rows]) -> None:
        self._database, self._lock = database, threading.Lock()

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Run a statement; the others wait."""
        with self._lock:
            return self._database().rows(statement, values)


class Restarter:
    """Renews networks. Thread safe.

    Args:
        database: a session that nobody else uses.
        release: that routers must have afterwards.
        under_way: jobs of restarts that an earlier run has begun: they are waited for, and not begun again.
        patch: what proves a patch, where routers are patched instead of replaced.
    """

    def __init__(
        self,
        context: Context,
        cloud: Cloud,
        database: Callable[[], systemvms.Rows],
        release: str,
        under_way: Mapping[Key, str],
        patch: Patch | None = None,
    ) -> None:
        self.context, self.cloud, self.release, self.under_way, self.patch = context, cloud, release, dict(under_way), patch
        self.database = _OneAtATime(database)
        self.timeout = context.configuration.window.system_vm_timeout.total_seconds()
        self.patience = Patience(context.cancel, context.progress, hosts_away(cloud))
        self.rolling = is_rolling(cloud)

    def patches(self, network: RouterNetwork) -> bool:
        """Whether its routers are patched instead of replaced."""
        return self.patch is not None and network.patchable

    def renew(self, network: RouterNetwork) -> None:
        """Restart it, or patch its routers, and prove that every router of it that runs has the release, or the patch.

        Raises:
            StepFailed: it could not be restarted, or its routers are not of that release.
        """
        if job := self.under_way.pop(network.key, ""):  # once: where it has failed, the next try is a restart of its own
            self.context.progress(f"{network.name}: its restart runs already, waiting for it")
            self.cloud.await_job("restart", job, timeout=self.timeout, cancel=self.context.cancel)
        elif self.patches(network):
            self.patience.run(lambda: patch_live(self.cloud, network, timeout=self.timeout, context=self.context))
        elif network.redundant and not self.rolling and len(network.routers) > 1:
            self._one_after_the_other(network)
        else:
            self.patience.run(lambda: restart(self.cloud, network, cleanup=True, timeout=self.timeout, context=self.context))
        self._prove(network)

    def _one_after_the_other(self, network: RouterNetwork) -> None:
        """The backup first: its successor must run before the other router goes."""
        there = {str(router["id"]) for router in routers_of(self.cloud, network)}
        left = [router for router in network.routers if str(router["id"]) in there]
        before = {str(router["id"]) for router in left}
        if len(left) < len(network.routers):  # an earlier try has ended in between, and the other router may be alone
            restart(self.cloud, network, cleanup=False, timeout=self.timeout, context=self.context)
            self._await_pair(network, old=len(before))
        for router in sorted(left, key=lambda each: str(each.get("redundantstate")) != BACKUP):
            self.cloud.job("destroyRouter", id=str(router["id"]), timeout=self.timeout, cancel=self.context.cancel)
            restart(self.cloud, network, cleanup=False, timeout=self.timeout, context=self.context)
            before.discard(str(router["id"]))
            self._await_pair(network, old=len(before))

    def _await_pair(self, network: RouterNetwork, old: int) -> None:
        known = {str(router["id"]) for router in network.routers}

        def two() -> bool:
            up = [router for router in routers_of(self.cloud, network) if systemvms.running(router)]
            fresh = [router for router in up if str(router["id"]) not in known]
            return len(up) >= len(known) and len(fresh) >= len(known) - old

        wait_for(f"both routers of {network.name}", two, timeout=self.timeout, cancel=self.context.cancel, interval=1)

    def _prove(self, network: RouterNetwork) -> None:
        last: list[str] = []

        def good() -> bool:
            last[:] = self._wrong(network)
            return not last

        patched = self.patches(network)
        try:
            wait_for(
                f"the routers of {network.name}",
                good,
                timeout=PATCH_PROVED_WITHIN if patched else PROVED_WITHIN,
                cancel=self.context.cancel,
                interval=1,
            )
        except TimedOut:
            if patched:
                raise StepFailed(
                    f"the routers of {network.name} are not patched",
                    "; ".join(last),
                    "see the management server's log; or set routers.renew to restart, and run parallel-build routers --retry",
                ) from None
            raise StepFailed(
                f"{network.name} was restarted, and its routers are not on release {self.release}",
                "; ".join(last),
                f"see the alerts and the management server's log for its router, then: parallel-build routers {self.context.site.stack} --retry",
            ) from None

    def _wrong(self, network: RouterNetwork) -> list[str]:
        """What is wrong with its routers; one that has been replaced needs no patch."""
        up = [router for router in routers_of(self.cloud, network) if systemvms.running(router)]
        if not up:
            return ["no router of it runs"]
        patch = self.patch if network.patchable else None
        rest = [router for router in up if patch is None or patch.problem(router)]
        proved = prove_appliances.proofs(self.context, rest, self.release, lambda: self.database)
        return [
            f"{proof.name}: {words}"
            for router, proof in zip(rest, proved, strict=True)
            if proof.problems
            for words in (proof.problems if patch is None else [patch.problem(router)])
        ]


def restart(cloud: Cloud, network: RouterNetwork, *, cleanup: bool, timeout: float, context: Context) -> None:
    """Restart a network or VPC; with `cleanup` its routers are made from the template of the day."""
    command = "restartVPC" if network.kind == VPC else "restartNetwork"
    cloud.job(command, id=network.id, cleanup=str(cleanup).lower(), timeout=timeout, cancel=context.cancel)


def patch_live(cloud: Cloud, network: RouterNetwork, *, timeout: float, context: Context) -> None:
    """Have the routers that run take the scripts of the new version: that the call succeeds proves nothing."""
    command = "restartVPC" if network.kind == VPC else "restartNetwork"
    cloud.job(command, id=network.id, cleanup="false", livepatch="true", timeout=timeout, cancel=context.cancel)


def routers_of(cloud: Cloud, network: RouterNetwork) -> list[dict[str, Any]]:
    """Its routers, also those of a project."""
    key = "vpcid" if network.kind == VPC else "networkid"
    return systemvms.routers(cloud, **{key: network.id})


def is_rolling(cloud: Cloud) -> bool:
    """Whether CloudStack itself renews a pair of routers one after the other; where it does not say so, it is not relied on."""
    try:
        found = cloud.call("listConfigurations", name=ROLLING).get("configuration", [])
    except ApiRefused:
        return False
    return any(each.get("name") == ROLLING and str(each.get("value")).lower() == "true" for each in found)

"""Rollback points of a stack of virtual machines: its new machines, off and databases with them, so that a test upgrade can be run again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConfigurationError, GuardFailed, StepFailed
from parallel_build.machines import snapshots
from parallel_build.machines.snapshots import Snapshots
from parallel_build.operations import record_hosts
from parallel_build.operations.run_here import run_here
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
HOOK_SECONDS = 3600.0
TAKE, RESTORE, REMOVE = "take", "restore", "remove"


@dataclass(frozen=True)
class Points:
    """The points of one stack.

    Attributes:
        hook: a command for storage's own snapshots (SAN, NAS); it is run with action, point and machines while these are off. "" for none.
    """

    site: Site
    connections: Connections
    run: RunFolder
    say: Callable[[str], None]
    hook: str = ""

    def names(self) -> dict[str, list[str]]:
        """Points by name: the machines that have it. One that not all have was cut off, or is storage's."""
        found: dict[str, list[str]] = {}
        for name, machine in self._machines().items():
            for point in machine.names():
                found.setdefault(point, []).append(name)
        return found

    def take(self, point: str) -> None:
        """Take one of every machine.

        Raises:
            ConfigurationError: the name is none. GuardFailed: users may work on these machines, or there is such a point.
            MachineFailed, StepFailed: a platform or the hook fails; what was taken stays, and is taken no second time.
        """
        if not NAME.match(point):
            raise ConfigurationError(
                f"{point!r} can't be a point's name",
                "every platform and hook must be able to keep it",
                "use up to 40 lower-case letters, digits and hyphens",
            )
        self._refuse_users(TAKE)
        machines = self._machines()
        there = [name for name, machine in machines.items() if point in machine.names()]
        if there and len(there) == len(machines):
            raise GuardFailed(f"there is a point {point} already", "every machine has it", "name it differently, or remove it first")
        self._off(machines)
        for name, machine in machines.items():
            if name not in there:
                self._act(TAKE, point, name, machine.take)
        self._run_hook(TAKE, point)
        self._on(machines)

    def restore(self, point: str) -> None:
        """Put every machine back.

        Raises:
            GuardFailed: users may work on these machines, or not all have this point.
        """
        self._refuse_users(RESTORE)
        machines = self._machines()
        lacking = [name for name, machine in machines.items() if point not in machine.names()]
        if lacking:
            raise GuardFailed(
                f"{', '.join(lacking)} has no snapshot {point}",
                "machines of different moments would not fit together: a replica would not follow its source",
                f"see parallel-build points {self.site.stack} list",
            )
        self._off(machines)
        for name, machine in machines.items():
            self._act(RESTORE, point, name, machine.restore)
        self._run_hook(RESTORE, point)
        self._on(machines)

    def remove(self, point: str) -> None:
        """Remove it from every machine that has it. Nothing where none has."""
        for name, machine in self._machines().items():
            if point in machine.names():
                self._act(REMOVE, point, name, machine.remove)
        self._run_hook(REMOVE, point)

    def _machines(self) -> dict[str, Snapshots]:
        found: dict[str, Snapshots] = {}
        without = []
        for machine in self.site.configuration.new_machines():
            of = snapshots.of(self.site, machine)
            if of is None:
                without.append(machine.name)
            else:
                found[machine.name] = of
        if without and not self.hook:
            raise GuardFailed(
                f"{', '.join(without)}: its platform takes no snapshots from here",
                "platform libvirt and vsphere do; a lab on containers has scripts/lab snapshot",
                "name a command that has storage take them: --hook COMMAND",
            )
        return found

    def _refuse_users(self, action: str) -> None:
        """Rule: machines that users may work on are neither switched off nor put back.

        Raises:
            GuardFailed: a window is open. ConnectionFailed: nobody can tell.
        """
        record = record_hosts.looked_at(self.site, self.connections).look()
        if record is not None and not record.closed:
            since = f"switched to at {record.switched}" if record.switched else f"in a window since {record.opened}"
            raise GuardFailed(
                f"the new machines are {since}: `points {action}` is refused",
                "users may work on them, and what they did would be lost",
                f"roll the window back first: parallel-build back {self.site.stack}",
            )

    def _act(self, action: str, point: str, name: str, act: Callable[[str], None]) -> None:
        self.say(f"{name}: {action} {point}")
        self.run.record("intent", step="points", action=action, point=point, machine=name)
        act(point)

    def _off(self, machines: Mapping[str, Snapshots]) -> None:
        """Management servers first: they write to the databases until their end."""
        for name, machine in reversed(list(machines.items())):
            self.say(f"{name}: off")
            machine.off()

    def _on(self, machines: Mapping[str, Snapshots]) -> None:
        for name, machine in machines.items():
            self.say(f"{name}: on")
            machine.on()

    def _run_hook(self, action: str, point: str) -> None:
        if not self.hook:
            return
        words = [*shlex.split(self.hook), action, point, *(machine.name for machine in self.site.configuration.new_machines())]
        self.say(f"hook: {shlex.join(words)}")
        self.run.record("intent", step="points", action=f"hook {action}", point=point)
        try:
            run_here(words, HOOK_SECONDS, "--hook", CancelToken())
        except StepFailed as error:
            raise StepFailed(
                f"the hook of `points {action}` failed: {error.fact}",
                error.cause,
                "correct --hook, then run the same command again; the machines are off until then",
            ) from None

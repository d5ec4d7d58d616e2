"""Service units of a server that systemd runs: read and changed one rule at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import unit_of_server
from parallel_build.remote.units import properties

MANAGEMENT, USAGE, AGENT = "cloudstack-management", "cloudstack-usage", "cloudstack-agent"
DATABASE_UNITS = ("mariadb", "mysql", "mysqld")


@dataclass(frozen=True)
class UnitState:
    """What is true of a unit.

    Attributes:
        known: there is such a unit.
        active: running, or on its way up or down.
        enabled: starts by itself at boot.
        masked: can't be started at all.
        main_pid: 0 when not running.
        until_boot: masked in memory alone (`mask --runtime`): the next boot starts it again where it is enabled.
    """

    name: str
    known: bool
    active: bool
    enabled: bool
    masked: bool
    main_pid: int = 0
    until_boot: bool = False

    @property
    def fenced(self) -> bool:
        """Down, and nothing short of an operator brings it back."""
        return not self.active and ((self.masked and not self.until_boot) or not self.known)


# {unit} is the unit's name. Servers of another init system are refused by the guards: `chkconfig off` stops no cron job and no colleague.
COMMANDS = {
    "start": "systemctl start {unit}",
    "stop": "systemctl stop {unit}",
    # A management server that has lost its database does not end by itself; one that waits for a disk does not end when it is killed either, and systemd
    # would wait for it for minutes.
    "end": "{{ systemctl stop --no-block {unit}; n={looks} killed=; "
    "while case $(systemctl show {unit} -p ActiveState) in *=inactive|*=failed) false;; esac; do "
    '[ $n -gt 0 ] || {{ [ -z "$killed" ] || break; systemctl kill --signal=KILL {unit}; killed=1 n={looks}; }}; n=$((n-1)); sleep 0.5; done; }}',
    "enable": "systemctl enable {unit}",
    "disable": "systemctl disable {unit}",
    "mask": "systemctl mask {unit}",
    # Both, since the mask on the disk hides one in memory below it.
    "unmask": "systemctl unmask {unit} && {{ systemctl unmask --runtime {unit} 2>/dev/null || true; }}",
    "reset": "{{ systemctl reset-failed {unit} 2>/dev/null || true; }}",
}


FENCE = ("disable", "stop", "mask")
"""What keeps a unit down for good. A masked unit has lost its settings: systemd would give it 90 s to end, whatever it asks for, and then kill it."""


def in_words(actions: Sequence[str]) -> str:
    """Actions as a plan has them: `disable, stop and mask`."""
    return " and ".join(filter(None, [", ".join(actions[:-1]), actions[-1]]))


class Services:
    """The units of one host.

    Args:
        host: the server.
    """

    def __init__(self, host: Access) -> None:
        self.host = host

    def state(self, unit: str) -> UnitState:
        """Look at a unit; changes nothing."""
        values = properties(self.host, unit, ["LoadState", "ActiveState"], optional=["UnitFileState", "MainPID"])
        return UnitState(
            unit,
            known=values["LoadState"] != "not-found",
            # "failed" and "inactive" are down; "deactivating" still holds ports and locks.
            active=values["ActiveState"] in ("active", "activating", "deactivating", "reloading"),
            enabled=values.get("UnitFileState") in ("enabled", "enabled-runtime", "generated"),
            masked=values["LoadState"] == "masked",
            main_pid=int(values.get("MainPID", "0") or 0),
            until_boot=values.get("UnitFileState") == "masked-runtime",
        )

    def stop_and_fence(self, unit: str, timeout: float = 180, *, patience: float | None = None) -> bool:
        """Stop, disable and mask a unit; return whether anything had to be done.

        Masked as well as disabled: a usage unit restarts itself, and packages or a cron job may start a disabled one.
        Args:
            unit: its name.
            timeout: seconds for it to end by itself.
            patience: seconds after which it is killed; None leaves that to systemd.
        Raises:
            StepFailed: it is still running after the time limit.
        """
        before = self.state(unit)
        if before.fenced and not before.enabled:
            return False
        problem = ""
        if before.known:
            actions = [*FENCE, "stop"] if patience is None else ["end" if action == "stop" else action for action in (*FENCE, "stop")]
            # Each is done whatever became of the one before: a colleague's start calls a stop off, and a disk that is read only takes no mask. And
            # somebody may have started it between the two stops.
            commands = self._commands(actions, unit, patience)
            problem = self.host.run(["sh", "-c", "; ".join(commands)], timeout=timeout + 120, ok=None, cancellable=False).stderr.strip()
        after = self.state(unit)
        if not after.fenced:
            raise StepFailed(
                f"{self.host.name}: {unit} "
                + (f"still runs after {patience or timeout:.0f} s of stopping" if after.active else "could not be masked"),
                problem[-300:] or "one of its processes does not end, or the unit could not be masked",
                f"see `systemctl status {unit}` and `journalctl -u {unit}` on {self.host.name}, then run the same command again",
            )
        return True

    def release(self, unit: str, *, enable: bool = True) -> bool:
        """Unmask and, where wanted, enable a unit without starting it; return whether anything had to be done."""
        before = self.state(unit)
        if not before.known and not before.masked:
            return False
        actions = self._releasing(before, enable)
        self._do(actions, unit, 120)
        return bool(actions)

    def mask(self, unit: str) -> bool:
        """Mask a unit, which runs on if it runs; return whether that had to be done."""
        if self.state(unit).masked:
            return False
        self._do(("mask",), unit, 120)
        return True

    def start(self, unit: str, timeout: float = 180) -> bool:
        """Start a unit; return whether it had to be started. Being active proves nothing about its readiness."""
        if self.state(unit).active:
            return False
        self._do(("reset", "start"), unit, timeout)
        return True

    def bring_up(self, unit: str, *, enable: bool = True, timeout: float = 180) -> bool:
        """Release a unit and start it, in one go; return whether it had to be started."""
        before = self.state(unit)
        if before.active and not before.masked:
            self._do(self._releasing(before, enable), unit, 120)
            return False
        releasing = self._releasing(before, enable) if before.known or before.masked else ()
        self._do((*releasing, "reset", "start"), unit, timeout + 120)
        return True

    @staticmethod
    def _releasing(before: UnitState, enable: bool) -> tuple[str, ...]:
        """What releases a unit; a masked one says nothing about whether it is enabled below the mask."""
        unmask = ("unmask",) if before.masked else ()
        return (*unmask, "enable") if enable and (before.masked or not before.enabled) else unmask

    def database_unit(self) -> str:
        """The name of the database server's unit here: a usual one that runs, else the one that the running server belongs to, else a usual one.

        Software collections, instances (`mariadb@cloud`) and units of an operator's own have other names, perhaps next to a usual one that is down.
        Raises:
            StepFailed: none of the known names is a unit, and no server runs in any.
        """
        there = []
        for unit in DATABASE_UNITS:
            state = self.state(unit)
            if state.active:
                return self._canonical(unit)
            if state.known or state.masked:
                there.append(unit)
        running = unit_of_server(self.host)
        if running and self.state(running).known:
            return self._canonical(running)
        if there:
            return self._canonical(there[0])
        raise StepFailed(f"{self.host.name}: no database service", f"none of {', '.join(DATABASE_UNITS)} is a unit", "install the server")

    def invocation(self, unit: str) -> str:
        """What distinguishes one start of a unit from the next; empty where it never ran since the boot."""
        # Before systemd 232 there is no InvocationID: the time of the start since the boot, 0 for none, serves as well.
        values = properties(self.host, unit, ["ExecMainStartTimestampMonotonic"], optional=["InvocationID"])
        started = values["ExecMainStartTimestampMonotonic"]
        return values.get("InvocationID", "" if started == "0" else started)

    def listening(self, ports: list[int]) -> set[int]:
        """Which of these TCP ports something listens on."""
        # iproute2 before 4.10 (Enterprise Linux 7.5, Ubuntu 16.04) can't leave out its heading.
        text = self.host.run(["ss", "-ltn"]).stdout
        found = {int(line.split()[3].rsplit(":", 1)[1]) for line in text.splitlines() if line.startswith("LISTEN")}
        return found & set(ports)

    def _canonical(self, unit: str) -> str:
        """An alias (mysql -> mariadb) can't be masked or disabled; the unit behind it can."""
        return properties(self.host, unit, ["Id"])["Id"].removesuffix(".service")

    @staticmethod
    def _commands(actions: Sequence[str], unit: str, patience: float | None = None) -> list[str]:
        return [COMMANDS[action].format(unit=unit, looks=int(2 * (patience or 0))) for action in actions]

    def _do(self, actions: tuple[str, ...], unit: str, timeout: float) -> None:
        """Several actions one after the other in one session; the first that fails ends it."""
        if actions:
            self.host.run(["sh", "-c", " && ".join(self._commands(actions, unit))], timeout=timeout, cancellable=False)

"""Snapshots of the machines that a stack has built, by their platform: taken and restored while the machine is off, databases with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from parallel_build.configuration import NewMachine, VspherePlatform
from parallel_build.machines import vcenter
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import Virsh
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret

OFF_SECONDS = 300.0  # until a machine that was asked to has switched itself off
TASK_SECONDS = 600.0
INTERVAL = 0.5
SHUT_OFF = "shut off"


class Snapshots(Protocol):
    """One machine's."""

    def names(self) -> list[str]:
        """Its snapshots."""

    def off(self) -> None:
        """Have it switch itself off. Nothing where it is off."""

    def on(self) -> None:
        """Switch it on. Nothing where it is on."""

    def take(self, point: str) -> None:
        """Take one; the machine is off."""

    def restore(self, point: str) -> None:
        """Put it back; the machine is off, and stays off."""

    def remove(self, point: str) -> None:
        """Remove one."""


def of(site: Site, machine: NewMachine) -> Snapshots | None:
    """A machine's snapshots; None where its platform has none: then storage has to take them.

    Raises:
        MachineFailed: its platform can't be asked from here.
    """
    platforms, platform = site.configuration.platforms, site.configuration.platform_of(machine)
    if platform == "libvirt" and platforms.libvirt is not None:
        return LibvirtSnapshots(Virsh(platforms.libvirt.uri), f"{site.stack}-{machine.name}")
    if platform == "vsphere" and platforms.vsphere is not None:
        if site.secrets.vsphere_password is None:
            raise MachineFailed(
                f"vCenter can't be asked for {machine.name}",
                "the stack has no secret vspherePassword",
                "pulumi config set --secret vspherePassword",
            )
        folder = platforms.vsphere.folder if machine.vsphere.folder is None else machine.vsphere.folder
        return VsphereSnapshots(platforms.vsphere, site.secrets.vsphere_password, folder, machine.name)
    return None


class LibvirtSnapshots:
    """libvirt's, inside the guest's own disks (qcow2)."""

    def __init__(self, virsh: Virsh, guest: str) -> None:
        self._virsh, self._guest = virsh, guest

    def names(self) -> list[str]:
        """By `virsh snapshot-list`."""
        return self._virsh.must("snapshot-list", self._guest, "--name").split()

    def off(self) -> None:
        """By ACPI; a guest that does not listen is no reason to cut its power: its database would not be at rest."""
        if self._state() == SHUT_OFF:
            return
        self._virsh.must("shutdown", self._guest)
        _until(lambda: self._state() == SHUT_OFF, OFF_SECONDS, f"{self._guest} to switch itself off")

    def on(self) -> None:
        """By `virsh start`."""
        if self._state() == SHUT_OFF:
            self._virsh.must("start", self._guest)

    def take(self, point: str) -> None:
        """Of all its disks, or of none."""
        self._virsh.must("snapshot-create-as", self._guest, "--name", point, "--atomic")

    def restore(self, point: str) -> None:
        """To the snapshot's state: off."""
        self._virsh.must("snapshot-revert", self._guest, point)

    def remove(self, point: str) -> None:
        """By `virsh snapshot-delete`."""
        self._virsh.must("snapshot-delete", self._guest, point)

    def _state(self) -> str:
        return self._virsh.must("domstate", self._guest)


class VsphereSnapshots:
    """vCenter's, without memory. [vSphere Web Services API: VirtualMachine.CreateSnapshot_Task, VirtualMachineSnapshot.RevertToSnapshot_Task]"""

    def __init__(self, settings: VspherePlatform, password: Secret, folder: str, machine: str) -> None:
        self._settings, self._password, self._folder, self._machine = settings, password, folder, machine

    def names(self) -> list[str]:
        """All of its tree."""
        with self._opened() as (center, machine):
            return [str(each.name) for each in _tree(center, machine)]

    def off(self) -> None:
        """By VMware Tools; where those do not run vCenter refuses, and so does this."""
        with self._opened() as (center, machine):
            if center.look(machine)[0] == vcenter.OFF:
                return
            machine.ShutdownGuest()
            _until(lambda: center.look(machine)[0] == vcenter.OFF, OFF_SECONDS, f"{self._machine} to switch itself off")

    def on(self) -> None:
        """By PowerOnVM_Task."""
        with self._opened() as (center, machine):
            if center.look(machine)[0] == vcenter.OFF:
                _done(center, machine.PowerOn())

    def take(self, point: str) -> None:
        """Without memory: the machine is off."""
        with self._opened() as (center, machine):
            _done(center, machine.CreateSnapshot(point, "parallel-build", memory=False, quiesce=False))

    def restore(self, point: str) -> None:
        """To the snapshot's state: off."""
        with self._opened() as (center, machine):
            _done(center, self._one(center, machine, point).Revert())

    def remove(self, point: str) -> None:
        """Those taken after it stay."""
        with self._opened() as (center, machine):
            _done(center, self._one(center, machine, point).Remove(removeChildren=False))

    def _opened(self) -> AbstractContextManager[tuple[vcenter.Center, Any]]:
        return vcenter.opened(self._settings, self._password, self._folder, self._machine)

    def _one(self, center: vcenter.Center, machine: Any, point: str) -> Any:
        found = [each.snapshot for each in _tree(center, machine) if each.name == point]
        if len(found) != 1:
            raise MachineFailed(
                f"{self._machine} has {len(found)} snapshots named {point} in vCenter",
                "one is needed",
                f"in vCenter leave one {point} of it, or take another point",
            )
        return found[0]


def _tree(center: vcenter.Center, machine: Any) -> list[Any]:
    """Every snapshot of a machine, with what was taken after it."""
    info = center.values(machine, "snapshot").get("snapshot")
    left, found = list(info.rootSnapshotList) if info else [], []
    while left:
        each = left.pop(0)
        found.append(each)
        left += each.childSnapshotList or []
    return found


def _done(center: vcenter.Center, task: Any) -> None:
    """Wait until a task of vCenter's has ended.

    Raises:
        MachineFailed: it failed, with vCenter's words, or takes too long.
    """

    def ended() -> bool:
        found = center.values(task, "info.state", "info.error")
        state = str(found.get("info.state", ""))
        if state == "error":
            words = getattr(found.get("info.error"), "localizedMessage", None) or getattr(found.get("info.error"), "msg", None)
            raise MachineFailed(
                "vCenter could not carry it out",
                str(words or "it gives no reason"),
                "see the task in vCenter, then run the same command again",
            )
        return state == "success"

    _until(ended, TASK_SECONDS, "a task of vCenter's")


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise MachineFailed(
                f"timed out after {seconds:.0f} s waiting for {what}",
                "it takes longer than usual, or hangs",
                f"look at {what} there, then run the same command again",
            )
        time.sleep(INTERVAL)

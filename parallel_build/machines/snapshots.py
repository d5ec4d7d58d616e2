"""Snapshots of the machines that a stack has built, by their platform: taken and restored while the machine is off, databases with it."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Protocol, TypeVar
from xml.sax.saxutils import escape

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
T = TypeVar("T")


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
            raise MachineFailed(f"vCenter can't be asked for {machine.name}", "the stack has no secret vspherePassword", "set it")
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
        return [name for name, _ in self._asked(self._tree)]

    def off(self) -> None:
        """By VMware Tools; where those do not run vCenter refuses, and so does this."""
        self._asked(self._shut_down)

    def on(self) -> None:
        """By PowerOnVM_Task."""

        def start(center: vcenter.Center, reference: str) -> None:
            if center.look(reference)[0] == vcenter.OFF:
                self._done(center, center.call("PowerOnVM_Task", "VirtualMachine", reference))

        self._asked(start)

    def take(self, point: str) -> None:
        """Without memory: the machine is off."""
        body = f"<name>{escape(point)}</name><description>parallel-build</description><memory>false</memory><quiesce>false</quiesce>"
        self._asked(lambda center, reference: self._done(center, center.call("CreateSnapshot_Task", "VirtualMachine", reference, body)))

    def restore(self, point: str) -> None:
        """To the snapshot's state: off."""
        self._on_snapshot(point, "RevertToSnapshot_Task", "")

    def remove(self, point: str) -> None:
        """Those taken after it stay."""
        self._on_snapshot(point, "RemoveSnapshot_Task", "<removeChildren>false</removeChildren>")

    def _on_snapshot(self, point: str, method: str, body: str) -> None:
        def act(center: vcenter.Center, reference: str) -> None:
            found = [snapshot for name, snapshot in self._tree(center, reference) if name == point]
            if len(found) != 1:
                raise MachineFailed(
                    f"{self._machine} has {len(found)} snapshots named {point} in vCenter", "one is needed", "look at them there"
                )
            self._done(center, center.call(method, "VirtualMachineSnapshot", found[0], body))

        self._asked(act)

    def _asked(self, work: Callable[[vcenter.Center, str], T]) -> T:
        path = vcenter.inventory_path(self._settings, self._folder, self._machine)
        with vcenter.asked(self._settings, self._machine), vcenter.session(self._settings, self._password) as center:
            reference = center.find(path)
            if reference is None:
                raise MachineFailed(f"there is no machine {path} in vCenter", "it was never made there, or was moved", "see vCenter")
            return work(center, reference)

    def _shut_down(self, center: vcenter.Center, reference: str) -> None:
        if center.look(reference)[0] == vcenter.OFF:
            return
        center.call("ShutdownGuest", "VirtualMachine", reference)
        _until(lambda: center.look(reference)[0] == vcenter.OFF, OFF_SECONDS, f"{self._machine} to switch itself off")

    @staticmethod
    def _tree(center: vcenter.Center, reference: str) -> list[tuple[str, str]]:
        body = (
            "<specSet><propSet><type>VirtualMachine</type><pathSet>snapshot.rootSnapshotList</pathSet></propSet>"
            f'<objectSet><obj type="VirtualMachine">{escape(reference)}</obj></objectSet></specSet>'
        )
        answer = center.call("RetrieveProperties", "PropertyCollector", "propertyCollector", body)
        found = []
        for each in answer.iter():
            parts = {vcenter.tag(child): child.text or "" for child in each}
            if "snapshot" in parts and "name" in parts:
                found.append((parts["name"], parts["snapshot"]))
        return found

    @staticmethod
    def _done(center: vcenter.Center, started: ElementTree.Element) -> None:
        """Wait until a task has ended.

        Raises:
            MachineFailed: it failed, with vCenter's words, or takes too long.
        """
        task = next((each.text or "" for each in started.iter() if vcenter.tag(each) == "returnval"), "")
        body = (
            "<specSet><propSet><type>Task</type><pathSet>info.state</pathSet><pathSet>info.error</pathSet></propSet>"
            f'<objectSet><obj type="Task">{escape(task)}</obj></objectSet></specSet>'
        )

        def ended() -> bool:
            answer = center.call("RetrieveProperties", "PropertyCollector", "propertyCollector", body)
            texts = {vcenter.tag(each): each.text or "" for each in answer.iter()}
            states = [each.text for each in answer.iter() if each.text in ("success", "error")]
            if "error" in states:
                raise MachineFailed(
                    "vCenter could not carry it out", texts.get("localizedMessage", "it gives no reason"), "see the task in vCenter"
                )
            return "success" in states

        _until(ended, TASK_SECONDS, f"vCenter's task {task}")


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise MachineFailed(
                f"timed out after {seconds:.0f} s waiting for {what}", "it may hang", "look at it, then run the same command again"
            )
        time.sleep(INTERVAL)

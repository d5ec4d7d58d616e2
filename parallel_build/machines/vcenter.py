"""Powering one of the stack's own machines off through vCenter, when it can't be reached; by pyvmomi, which the extra `vsphere` brings.

Sources: vSphere Web Services API: SessionManager.Login, SearchIndex.FindByInventoryPath, VirtualMachine.PowerOffVM_Task, runtime.powerState and
config.annotation. The same calls answer on govmomi's simulator, where they are tested.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from parallel_build.configuration import VspherePlatform
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.secret import Secret

SECONDS = 20.0  # for one call
OFF_SECONDS = 60.0  # until the machine is off
INTERVAL = 0.5
API = "vim25/6.7"  # spoken to every vCenter from 6.7 on; asking each for its newest has no time limit in pyvmomi
OFF = "poweredOff"
REMEDY = "power it off in vCenter yourself"
LOOK = "look at it in vCenter, then run the same command again"


@dataclass(frozen=True)
class Known:
    """A machine as it was noted while it ran.

    Attributes:
        center: instance uuid of the vCenter.
        reference: the machine's managed object id there.
    """

    center: str
    reference: str


def identify(settings: VspherePlatform, password: Secret, folder: str, machine: str) -> tuple[str, str]:
    """The vCenter's instance uuid, and a machine's managed object id there.

    Raises:
        MachineFailed: vCenter can't be asked, or has no such machine.
    """
    path = _path(settings, folder, machine)
    with _asked(settings, machine), _session(settings, password) as center:
        found = center.find(path)
        if found is None:
            raise MachineFailed(f"there is no machine {path} in vCenter", "it was never made there, or was moved", REMEDY)
        return center.instance(), str(found._moId)


def power_off(settings: VspherePlatform, password: Secret, folder: str, machine: str, stack: str, known: Known | None = None) -> str:
    """Power a machine off and see that it is.

    Args:
        folder: below the data centre's VM folder, "" for that folder itself.
        machine: its name there.
        stack: whose machine it must be, by the note that the stack left on it; asked where `known` is not given.
        known: which machine of which vCenter it is: that it is not there proves something only then.
    Returns:
        what was found or done, in words.
    Raises:
        MachineFailed: vCenter can't be asked, refuses, or shows somebody else's machine under this name.
    """
    path = _path(settings, folder, machine)
    with _asked(settings, machine), _session(settings, password) as center:
        if known is not None and center.instance() != known.center:
            raise MachineFailed(f"vCenter {settings.server} is not the one that made {machine}", f"that was {known.center}", REMEDY)
        found = center.machine(known.reference) if known else center.find(path)
        if found is None:
            raise MachineFailed(
                f"there is no machine {path} in vCenter",
                "it may have been moved or renamed, and the window's record does not have its id",
                REMEDY,
            )
        try:
            state, note = center.look(found)
        except center.gone:
            return f"there is no machine {machine} ({found._moId}) any more in the vCenter that made it"
        if known is None and f"stack {stack}, machine {machine}." not in note:
            raise MachineFailed(f"{path} in vCenter does not say that it is {machine} of stack {stack}", f"its notes are {note!r}", REMEDY)
        if state == OFF:
            return f"{path} is powered off in vCenter"
        found.PowerOff()
        end = time.monotonic() + OFF_SECONDS
        while center.look(found)[0] != OFF:
            if time.monotonic() > end:
                raise MachineFailed(
                    f"{path} is still on {OFF_SECONDS:.0f} s after PowerOffVM_Task",
                    "vCenter took the order and has not carried it out",
                    REMEDY,
                )
            time.sleep(INTERVAL)
        return f"PowerOffVM_Task of {path}"


@contextmanager
def opened(settings: VspherePlatform, password: Secret, folder: str, machine: str) -> Iterator[tuple[Center, Any]]:
    """A session, and a machine in vCenter as pyvmomi has it.

    Raises:
        MachineFailed: vCenter can't be asked, refuses, or has no such machine.
    """
    path = _path(settings, folder, machine)
    with _asked(settings, machine, LOOK), _session(settings, password) as center:
        found = center.find(path)
        if found is None:
            raise MachineFailed(f"there is no machine {path} in vCenter", "it was never made there, or was moved", LOOK)
        yield center, found


def _path(settings: VspherePlatform, folder: str, machine: str) -> str:
    return "/".join(part for part in (settings.datacenter, "vm", folder.strip("/"), machine) if part)


@contextmanager
def _asked(settings: VspherePlatform, machine: str, remedy: str = REMEDY) -> Iterator[None]:
    vmodl = _sdk().vmodl
    try:
        yield
    except vmodl.MethodFault as error:
        raise MachineFailed(f"vCenter {settings.server} refuses what is asked for {machine}", str(error.msg), remedy) from None
    except (OSError, http.client.HTTPException) as error:
        raise MachineFailed(f"vCenter {settings.server} can't be asked for {machine}", str(error), remedy) from None


class Center:
    """A session with vCenter, over pyvmomi's connection."""

    def __init__(self, stub: Any) -> None:
        sdk = _sdk()
        self._stub, self._kind = stub, sdk.vim.VirtualMachine
        self.content = sdk.vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        self.gone = sdk.vmodl.fault.ManagedObjectNotFound

    def instance(self) -> str:
        """This vCenter's own uuid."""
        found = self.content.about.instanceUuid
        if not found:
            raise MachineFailed("vCenter does not say its instance uuid", "an ESXi host answers at platforms.vsphere.server", REMEDY)
        return str(found)

    def find(self, path: str) -> Any:
        """The machine at an inventory path; None where there is none."""
        return self.content.searchIndex.FindByInventoryPath(path)

    def machine(self, reference: str) -> Any:
        """The machine of an id; only asking it shows whether it is there."""
        return self._kind(reference, self._stub)

    def look(self, machine: Any) -> tuple[str, str]:
        """A machine's power state and its notes; "" for what vCenter does not say."""
        found = {name: str(value) for name, value in self.values(machine, "runtime.powerState", "config.annotation").items()}
        return found.get("runtime.powerState", ""), found.get("config.annotation", "")

    def values(self, thing: Any, *names: str) -> dict[str, Any]:
        """Properties of a managed object by their paths; those that vCenter does not say are left out."""
        collector = _sdk().vmodl.query.PropertyCollector
        properties = collector.PropertySpec(type=type(thing), pathSet=list(names))
        spec = collector.FilterSpec(propSet=[properties], objectSet=[collector.ObjectSpec(obj=thing)])
        return {each.name: each.val for content in self.content.propertyCollector.RetrieveContents([spec]) for each in content.propSet}


@contextmanager
def _session(settings: VspherePlatform, password: Secret) -> Iterator[Center]:
    context = ssl.create_default_context()
    if settings.allow_unverified_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sdk, where = _sdk(), urlsplit(f"//{settings.server}")
    stub = sdk.SoapStubAdapter(
        host=where.hostname,
        port=where.port or 443,
        version=sdk.VmomiSupport.versionMap[API],
        path="/sdk",
        sslContext=context,
        httpConnectionTimeout=SECONDS,
    )
    try:
        center = Center(stub)
        try:
            center.content.sessionManager.Login(settings.user, password.reveal(), None)
        except sdk.vmodl.MethodFault as error:
            raise MachineFailed("vCenter refuses Login", str(error.msg), REMEDY) from None
        yield center
        center.content.sessionManager.Logout()
    finally:
        stub.DropConnections()


def _sdk() -> Any:
    """pyvmomi; only who has machines on vSphere needs it."""
    try:
        import pyVmomi
    except ImportError:
        raise MachineFailed(
            "vCenter can't be asked",
            "pyvmomi is not installed",
            "pip install 'cloudstack-parallel-build[vsphere]', then run the same command again",
        ) from None
    return pyVmomi

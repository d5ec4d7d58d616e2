"""Powering one of the stack's own machines off through vCenter, when it can't be reached: the few calls of vSphere's SOAP API that this takes.

Sources: vSphere Web Services API: SessionManager.Login, SearchIndex.FindByInventoryPath, VirtualMachine.PowerOffVM_Task, runtime.powerState and
config.annotation through the PropertyCollector. The same calls answer on govmomi's simulator, where they are tested.
"""

from __future__ import annotations

import http.client
import ssl
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from xml.sax.saxutils import escape

from parallel_build.configuration import VspherePlatform
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.secret import Secret

SECONDS = 20.0  # for one call
OFF_SECONDS = 60.0  # until the machine is off
INTERVAL = 0.5
NAMESPACES = 'xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
OFF = "poweredOff"
REMEDY = "power it off in vCenter yourself"


@dataclass(frozen=True)
class Known:
    """A machine as it was noted while it ran.

    Attributes:
        center: instance uuid of the vCenter.
        reference: the machine's managed object id there.
    """

    center: str
    reference: str


class _Gone(MachineFailed):
    """vCenter has no object of that id."""


def identify(settings: VspherePlatform, password: Secret, folder: str, machine: str) -> tuple[str, str]:
    """The vCenter's instance uuid, and a machine's managed object id there.

    Raises:
        MachineFailed: vCenter can't be asked, or has no such machine.
    """
    path = inventory_path(settings, folder, machine)
    with asked(settings, machine), session(settings, password) as center:
        reference = center.find(path)
        if reference is None:
            raise MachineFailed(f"there is no machine {path} in vCenter", "it was never made there, or was moved", REMEDY)
        return center.instance(), reference


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
    path = inventory_path(settings, folder, machine)
    with asked(settings, machine), session(settings, password) as center:
        if known is not None and center.instance() != known.center:
            raise MachineFailed(f"vCenter {settings.server} is not the one that made {machine}", f"that was {known.center}", REMEDY)
        reference = known.reference if known else center.find(path)
        if reference is None:
            raise MachineFailed(
                f"there is no machine {path} in vCenter",
                "it may have been moved or renamed, and the window's record does not have its id",
                REMEDY,
            )
        try:
            state, note = center.look(reference)
        except _Gone:
            return f"there is no machine {machine} ({reference}) any more in the vCenter that made it"
        if known is None and f"stack {stack}, machine {machine}." not in note:
            raise MachineFailed(f"{path} in vCenter does not say that it is {machine} of stack {stack}", f"its notes are {note!r}", REMEDY)
        if state == OFF:
            return f"{path} is powered off in vCenter"
        center.call("PowerOffVM_Task", "VirtualMachine", reference)
        end = time.monotonic() + OFF_SECONDS
        while center.look(reference)[0] != OFF:
            if time.monotonic() > end:
                raise MachineFailed(
                    f"{path} is still on {OFF_SECONDS:.0f} s after PowerOffVM_Task",
                    "vCenter took the order and has not carried it out",
                    REMEDY,
                )
            time.sleep(INTERVAL)
        return f"PowerOffVM_Task of {path}"


def inventory_path(settings: VspherePlatform, folder: str, machine: str) -> str:
    """Where a machine is in vCenter's inventory."""
    return "/".join(part for part in (settings.datacenter, "vm", folder.strip("/"), machine) if part)


@contextmanager
def asked(settings: VspherePlatform, machine: str) -> Iterator[None]:
    """What keeps vCenter from being asked is an expected failure."""
    try:
        yield
    except (OSError, http.client.HTTPException, ElementTree.ParseError) as error:
        raise MachineFailed(f"vCenter {settings.server} can't be asked for {machine}", str(error), REMEDY) from None


class Center:
    """A session with vCenter."""

    def __init__(self, connection: http.client.HTTPSConnection) -> None:
        self._connection, self._cookie = connection, ""

    def call(self, method: str, kind: str, reference: str, body: str = "") -> ElementTree.Element:
        """One call; raises MachineFailed with vCenter's own words where it refuses."""
        envelope = (
            '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
            f'<{method} {NAMESPACES}><_this type="{kind}">{escape(reference)}</_this>{body}</{method}></Body></Envelope>'
        )
        self._connection.request("POST", "/sdk", envelope.encode(), {"Content-Type": "text/xml", "Cookie": self._cookie})
        answer = self._connection.getresponse()
        text = answer.read()
        self._cookie = (answer.headers.get("Set-Cookie") or self._cookie).split(";")[0]
        found = ElementTree.fromstring(text)  # noqa: S314 - the operator's own vCenter
        fault = next((element.text or "" for element in found.iter() if tag(element) == "faultstring"), None)
        if fault is not None:
            gone = any(tag(element).startswith("ManagedObjectNotFound") for element in found.iter())
            raise (_Gone if gone else MachineFailed)(f"vCenter refuses {method}", fault, REMEDY)
        return found

    def instance(self) -> str:
        """This vCenter's own uuid."""
        found = self.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance")
        about = next((element for element in found.iter() if tag(element) == "about"), None)
        named = next((child.text for child in about if tag(child) == "instanceUuid"), None) if about is not None else None
        if not named:
            raise MachineFailed("vCenter does not say its instance uuid", "an ESXi host answers at platforms.vsphere.server", REMEDY)
        return named

    def find(self, path: str) -> str | None:
        """The reference of the machine at an inventory path."""
        body = f"<inventoryPath>{escape(path)}</inventoryPath>"
        found = self.call("FindByInventoryPath", "SearchIndex", "SearchIndex", body)
        return next((element.text for element in found.iter() if tag(element) == "returnval"), None)

    def look(self, reference: str) -> tuple[str, str]:
        """A machine's power state and its notes."""
        body = (
            "<specSet><propSet><type>VirtualMachine</type><pathSet>runtime.powerState</pathSet><pathSet>config.annotation</pathSet></propSet>"
            f'<objectSet><obj type="VirtualMachine">{escape(reference)}</obj></objectSet></specSet>'
        )
        found = self.call("RetrieveProperties", "PropertyCollector", "propertyCollector", body)
        values = {}
        for each in found.iter():
            if tag(each) == "propSet":
                parts = {tag(child): child.text or "" for child in each}
                values[parts.get("name", "")] = parts.get("val", "")
        return values.get("runtime.powerState", ""), values.get("config.annotation", "")


@contextmanager
def session(settings: VspherePlatform, password: Secret) -> Iterator[Center]:
    """A session, logged in and out."""
    context = ssl.create_default_context()
    if settings.allow_unverified_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(settings.server, timeout=SECONDS, context=context)
    try:
        center = Center(connection)
        words = f"<userName>{escape(settings.user)}</userName><password>{escape(password.reveal())}</password>"
        center.call("Login", "SessionManager", "SessionManager", words)
        yield center
        center.call("Logout", "SessionManager", "SessionManager")
    finally:
        connection.close()


def tag(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]

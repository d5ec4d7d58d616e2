"""A second client of the simulated vCenter: what somebody else does there behind the stack's back."""

from __future__ import annotations

import http.client
import re
import ssl
from xml.sax.saxutils import escape

NAMESPACE = 'xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


class VCenter:
    """The SOAP calls that the tests need, over a session of their own.

    Args:
        address: `host:port` of the simulator.
    """

    def __init__(self, address: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection(address, timeout=10, context=context)
        self._cookie = ""
        self._call("Login", "SessionManager", "SessionManager", "<userName>user</userName><password>pass</password>")

    def find(self, path: str) -> str | None:
        """The reference of the object at an inventory path, or None."""
        body = f"<inventoryPath>{escape(path)}</inventoryPath>"
        found = re.search(r"<returnval[^>]*>([^<]+)</returnval>", self._call("FindByInventoryPath", "SearchIndex", "SearchIndex", body))
        return found.group(1) if found else None

    def destroy(self, path: str) -> None:
        """Power a machine off and delete it."""
        reference = self.find(path)
        assert reference is not None, f"{path} is not in the simulator"
        self._call("PowerOffVM_Task", "VirtualMachine", reference)
        self._call("Destroy_Task", "VirtualMachine", reference)

    def children(self, path: str) -> list[str]:
        """The references of what is in a folder."""
        folder = self.find(path)
        body = (
            "<specSet><propSet><type>Folder</type><pathSet>childEntity</pathSet></propSet>"
            f'<objectSet><obj type="Folder">{folder}</obj></objectSet></specSet>'
        )
        answer = self._call("RetrieveProperties", "PropertyCollector", "propertyCollector", body)
        return re.findall(r"<ManagedObjectReference[^>]*>([^<]+)<", answer)

    def _call(self, method: str, kind: str, reference: str, body: str = "") -> str:
        envelope = (
            '<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>'
            f'<{method} {NAMESPACE}><_this type="{kind}">{reference}</_this>{body}</{method}></Body></Envelope>'
        )
        self._connection.request("POST", "/sdk", envelope.encode(), {"Content-Type": "text/xml", "Cookie": self._cookie})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        self._cookie = (answer.headers.get("Set-Cookie") or self._cookie).split(";")[0]
        assert "<faultstring>" not in text, text
        return text

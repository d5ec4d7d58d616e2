"""A second client of the simulated vCenter: what somebody else does there behind the stack's back."""

from __future__ import annotations

import ssl
from typing import Any

from pyVmomi import SoapStubAdapter, VmomiSupport, vim


class VCenter:
    """The calls that the tests need, over a session of their own.

    Args:
        address: `host:port` of the simulator.
    """

    def __init__(self, address: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, _, port = address.rpartition(":")
        version = VmomiSupport.versionMap["vim25/6.7"]
        stub = SoapStubAdapter(host=host, port=int(port), version=version, path="/sdk", sslContext=context, httpConnectionTimeout=10)
        content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        self._content = content
        content.sessionManager.Login("user", "pass", None)

    def find(self, path: str) -> str | None:
        """The reference of the object at an inventory path, or None."""
        found = self._at(path)
        return None if found is None else str(found._moId)

    def destroy(self, path: str) -> None:
        """Power a machine off and delete it."""
        machine = self._at(path)
        assert machine is not None, f"{path} is not in the simulator"
        machine.PowerOff()
        machine.Destroy()

    def children(self, path: str) -> list[str]:
        """The references of what is in a folder."""
        return [str(each._moId) for each in self._at(path).childEntity]

    def _at(self, path: str) -> Any:
        return self._content.searchIndex.FindByInventoryPath(path)

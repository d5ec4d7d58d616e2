"""What every part of a management server needs: its databases, its keys, its identity."""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
import time
import uuid
from dataclasses import dataclass, field

from ..shared.database import Database
from ..shared.encryption import DecryptionFailed, Encryptor
from ..shared.release import Version
from ..shared.settings import Settings

#: Asks for the hardware address of an interface.
SIOCGIFHWADDR = 0x8927
#: Interfaces that say nothing about which machine this is.
NOT_OURS = ("lo", "cloud", "virbr", "docker", "veth", "vnet", "tap")


def own_msid() -> int:
    """Return the id of this management server: the MAC address of its last suitable interface as a number.

    Asked of the kernel, not of /sys, which in a container may be that of another network namespace.
    """
    found = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            if name.startswith(NOT_OURS):
                continue
            answer = fcntl.ioctl(probe.fileno(), SIOCGIFHWADDR, struct.pack("256s", name.encode()[:15]))
            mac = int.from_bytes(answer[18:24], "big")
            found = mac or found
    return found or uuid.getnode()


@dataclass
class ManagementServer:
    """One running management server.

    Attributes:
        node_ip: `cluster.node.IP` of db.properties.
        database_secret: the database key in the clear; peers prove themselves with it too.
        mshost_id: its row in `mshost`, once the cluster manager has started.
        stopping: set when SIGTERM arrived.
    """

    version: Version
    settings: Settings
    node_ip: str
    cloud: Database
    usage: Database
    encryptor: Encryptor | None
    database_secret: str
    msid: int = field(default_factory=own_msid)
    runid: int = field(default_factory=lambda: int(time.time() * 1000))
    name: str = field(default_factory=socket.getfqdn)
    started: float = field(default_factory=time.time)
    mshost_id: int = 0
    mshost_uuid: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_new(self) -> bool:
        """Tell whether this is a 4.21 or later, with the fields that came with it."""
        return self.version >= Version("4.21.0.0")

    @property
    def keypairs(self) -> bool:
        """Whether API keys are in a table of their own: since 4.23."""
        return self.version >= Version("4.23.0.0")

    def decrypt(self, value: str | None) -> str | None:
        """Decrypt a value of the database; one that can't be decrypted is returned as it is."""
        if value is None or self.encryptor is None:
            return value
        try:
            return self.encryptor.decrypt(value)
        except DecryptionFailed:
            return value

    def encrypt(self, value: str) -> str:
        """Encrypt a value for the database, as its other values are."""
        return value if self.encryptor is None else self.encryptor.encrypt(value)

    def describe(self) -> str:
        """Return how the log names this server."""
        return f'ManagementServer {{"id":{self.mshost_id},"msid":{self.msid},"name":"{self.name}","uuid":"{self.mshost_uuid}"}}'

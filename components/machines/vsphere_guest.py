"""What a vSphere machine is handed at its first boot: cloud-init's documents as guestinfo variables, and its network card's address.

Pure. cloud-init's VMware data source reads `guestinfo.metadata` and `guestinfo.userdata` through VMware Tools
[cloud-init 23.1 DataSourceVMware].
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib

import yaml

from parallel_build.machines.data_disk import data_disk_file
from parallel_build.machines.provisioning import INTERFACE, Provisioning

USERDATA = "guestinfo.userdata"
METADATA = "guestinfo.metadata"
REDACTED = "---"
"""What the data source puts in place of a variable that `cleanup-guestinfo` names."""


def mac_address(name: str, address: str) -> str:
    """A fixed MAC address in the range that vCenter takes for static ones, 00:50:56:00:00:00 to 00:50:56:3f:ff:ff.

    Fixed, so that cloud-init's network configuration finds the card by it whatever the guest calls the card.
    """
    digest = hashlib.sha256(f"{name}/{address}".encode()).digest()
    return f"00:50:56:{digest[0] & 0x3F:02x}:{digest[1]:02x}:{digest[2]:02x}"


def network(provisioning: Provisioning) -> dict[str, object]:
    """cloud-init's network configuration for the card with `mac_address`."""
    document: dict[str, object] = yaml.safe_load(provisioning.network_config())
    cards = document["ethernets"]
    assert isinstance(cards, dict)
    cards[INTERFACE]["match"] = {"macaddress": mac_address(provisioning.hostname, provisioning.address)}
    return document


def guestinfo(provisioning: Provisioning, data_mount: str | None) -> dict[str, str]:
    """The `extra_config` of the machine. **It holds the private host key**: hand it on as a secret only.

    The user data is compressed, because a guestinfo variable's size is limited, and cleared by the guest once it has read it
    (`cleanup-guestinfo`): any account in the guest could read it otherwise.

    Args:
        provisioning: what the machine is given.
        data_mount: where its second disk is mounted; None when it has none.
    """
    if data_mount is not None:
        file = data_disk_file(data_mount)
        provisioning = dataclasses.replace(
            provisioning,
            files=(*provisioning.files, file),
            prepare=(file.path, *provisioning.prepare),
        )
    metadata = {
        **yaml.safe_load(provisioning.meta_data()),
        "network": network(provisioning),
        "cleanup-guestinfo": ["userdata", "vendordata"],
    }
    return {
        METADATA: _base64(yaml.safe_dump(metadata, sort_keys=True).encode()),
        f"{METADATA}.encoding": "base64",
        USERDATA: _base64(gzip.compress(provisioning.cloud_config().encode(), mtime=0)),
        f"{USERDATA}.encoding": "gzip+base64",
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""Network cards of users' virtual machines: added and removed."""

from __future__ import annotations

import dataclasses

from ...shared.database import Row, utcnow
from .. import addresses
from .core import INTERNAL_ERROR, PARAM_ERROR, ApiError, Call, Response, command
from .virtualmachines import virtual_machine


def card(call: Call, network: Row, *, first: bool) -> addresses.Nic:
    """Return a machine's card in a network, with an address that is free there; raises ApiError."""
    if network["guest_type"] == "Shared":
        try:
            return dataclasses.replace(addresses.guest(call.server, network), default=first)
        except addresses.OutOfAddresses:
            raise ApiError(INTERNAL_ERROR, f"Unable to acquire Guest IP address for network {network['name']}") from None
    used = {
        row["ip4_address"]
        for row in call.cloud.rows("SELECT ip4_address FROM nics WHERE network_id = %s AND removed IS NULL", network["id"])
    }
    prefix = network["gateway"].rsplit(".", 1)[0]
    address = next(
        (f"{prefix}.{last}" for last in range(10, 250) if f"{prefix}.{last}" not in used and f"{prefix}.{last}" != network["gateway"]), None
    )
    if address is None:
        raise ApiError(INTERNAL_ERROR, f"Unable to acquire Guest IP address for network {network['name']}")
    return addresses.Nic(
        network["id"],
        address,
        "255.255.255.0",
        network["gateway"],
        network["guru_name"],
        network["broadcast_uri"],
        default=first,
        mode="Dhcp",
        mac=addresses.random_mac("02:01"),
    )


def _job(call: Call, vm: Row) -> Response:
    def work() -> Response:
        return {"virtualmachine": virtual_machine(call, call.there("vm_instance", vm["id"]))}

    return {"jobid": call.job("VirtualMachine", vm["id"], work)}


@command("addNicToVirtualMachine")
def add_nic(call: Call) -> Response:
    """Give a machine a card in one more network."""
    vm, network = call.find("vm_instance", "virtualmachineid"), call.find("networks", "networkid")
    cards = call.cloud.rows("SELECT * FROM nics WHERE instance_id = %s AND removed IS NULL", vm["id"])
    if any(each["network_id"] == network["id"] for each in cards):
        raise ApiError(PARAM_ERROR, f"A NIC already exists for VM:{vm['name']} in network: {network['uuid']}")
    added = card(call, network, first=not cards)
    addresses.add(call.server, vm["id"], "User", [added], first_device=max((each["device_id"] for each in cards), default=-1) + 1)
    return _job(call, vm)


@command("removeNicFromVirtualMachine")
def remove_nic(call: Call) -> Response:
    """Take a card from a machine, but not its default one."""
    vm, nic = call.find("vm_instance", "virtualmachineid"), call.find("nics", "nicid")
    if nic["instance_id"] != vm["id"]:
        raise ApiError(PARAM_ERROR, f"NIC {nic['uuid']} is not a nic on {vm['uuid']}")
    if nic["default_nic"]:
        raise ApiError(PARAM_ERROR, f"Unable to remove nic from {vm['name']} in network as it is the default one")
    call.cloud.update("nics", nic["id"], removed=utcnow(), state="Deallocating")
    addresses.free_shared(call.server, [nic])
    return _job(call, vm)

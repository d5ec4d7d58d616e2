"""The lab's network: a namespace of its own with one bridge, so that no traffic of it touches anything else."""

from __future__ import annotations

import json

from lab.files import Lab
from lab.machines import ADDRESS, BRIDGE, PACKAGES_PORT, PREFIX, USER_ADDRESS, Machine
from parallel_build.machines.container.namespace import FOLDER
from parallel_build.machines.local_commands import run
from parallel_build.machines.provisioning import mac_address

ISOLATED = "rehearsal"


def up(lab: Lab) -> None:
    """Make the namespace and its bridge, whatever of them is missing."""
    if not exists(lab):
        run(["ip", "netns", "add", lab.namespace])
    links = {entry["ifname"] for entry in json.loads(run(["ip", "-n", lab.namespace, "-json", "link", "show"]))}
    if BRIDGE not in links:
        # Without forwarding delay a machine can be reached as soon as its cable is in. With an address of its own the bridge doesn't take that of
        # one of its cards, which changes as machines come and go: the others would keep sending to the old one for a while.
        card = ["address", mac_address(BRIDGE, ADDRESS), "type", "bridge", "forward_delay", "0"]
        run(["ip", "-n", lab.namespace, "link", "add", BRIDGE, *card])
    for address in (ADDRESS, USER_ADDRESS):
        run(["ip", "-n", lab.namespace, "address", "replace", f"{address}/{PREFIX}", "dev", BRIDGE])
    for link in ("lo", BRIDGE):
        run(["ip", "-n", lab.namespace, "link", "set", link, "up"])


def isolate(lab: Lab, machine: Machine) -> None:
    """Keep a machine to itself: the bridge passes nothing between it and the others, and of the bridge's own address, from where it is worked on,
    it reaches the packages and no more.
    """
    opens = "tcp flags & (fin | syn | rst | ack) == syn"
    text = "; ".join(
        [
            f"add table bridge {ISOLATED}",
            f"delete table bridge {ISOLATED}",
            f"add table bridge {ISOLATED}",
            f"add chain bridge {ISOLATED} forward {{ type filter hook forward priority 0; policy accept; }}",
            f"add rule bridge {ISOLATED} forward ip saddr {machine.address} drop",
            f"add rule bridge {ISOLATED} forward ip daddr {machine.address} drop",
            f"add chain bridge {ISOLATED} input {{ type filter hook input priority 0; policy accept; }}",
            f"add rule bridge {ISOLATED} input ip saddr {machine.address} {opens} tcp dport != {PACKAGES_PORT} drop",
            f"add rule bridge {ISOLATED} input ip saddr {machine.address} ip protocol != tcp drop",
        ]
    )
    run(["ip", "netns", "exec", lab.namespace, "nft", text])


def down(lab: Lab) -> None:
    """Remove the namespace; its bridge and cards go with it."""
    if exists(lab):
        run(["ip", "netns", "delete", lab.namespace])


def processes(lab: Lab) -> list[int]:
    """Processes that are still inside the namespace."""
    if not exists(lab):
        return []
    return [int(word) for word in run(["ip", "netns", "pids", lab.namespace]).split()]


def exists(lab: Lab) -> bool:
    """Whether the lab's namespace is there."""
    return (FOLDER / lab.namespace).exists()

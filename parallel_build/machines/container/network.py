"""A container's connection to a bridge: a network namespace of its own and a pair of virtual cards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from parallel_build.machines.container.namespace import FOLDER
from parallel_build.machines.local_commands import MachineFailed, run


@dataclass(frozen=True)
class Link:
    """Where and how a machine is connected.

    Attributes:
        namespace: network namespace that holds the bridge.
        bridge: bridge in it.
        own: the machine's own network namespace.
        mac: its card's MAC address.
        interface: its address with prefix, `10.0.0.5/24`.
        gateway: default route, or None.
    """

    namespace: str
    bridge: str
    own: str
    mac: str
    interface: str
    gateway: str | None

    @property
    def outer(self) -> str:
        """Name of the card on the bridge's side; the kernel allows 15 characters."""
        return "pb" + hashlib.sha256(self.own.encode()).hexdigest()[:10]


def _ip(namespace: str, *words: str) -> str:
    return run(["ip", "-n", namespace, *words], timeout=30)


def _links(namespace: str) -> set[str]:
    return {entry["ifname"] for entry in json.loads(_ip(namespace, "-json", "link", "show") or "[]")}


def connect(link: Link) -> None:
    """Make the namespace, cards and address where they are missing; the cable itself is plugged in by `plug`.

    Raises:
        MachineFailed: the bridge isn't there.
    """
    if not (FOLDER / link.own).exists():
        run(["ip", "netns", "add", link.own], timeout=30)
    outside = _links(link.namespace)
    if link.bridge not in outside:
        raise MachineFailed(
            f"there is no bridge {link.bridge} in namespace {link.namespace}",
            "the network that machines are plugged into has been taken down",
            "bring the lab up again",
        )
    if link.outer not in outside or "eth0" not in _links(link.own):
        if link.outer in outside:
            _ip(link.namespace, "link", "delete", link.outer)
        _ip(
            link.namespace,
            *("link", "add", link.outer, "type", "veth"),
            *("peer", "name", "eth0", "address", link.mac, "netns", link.own),
        )
    _ip(link.namespace, "link", "set", link.outer, "master", link.bridge)
    quick = ["nodad"] if ":" in link.interface else []
    _ip(link.own, "address", "replace", link.interface, "dev", "eth0", *quick)
    _ip(link.own, "link", "set", "lo", "up")
    _ip(link.own, "link", "set", "eth0", "up")
    if link.gateway:
        _ip(link.own, "route", "replace", "default", "via", link.gateway, "onlink", "dev", "eth0")


def plug_command(link: Link, plugged: bool) -> list[str]:
    """The command that plugs the cable in or pulls it."""
    return ["ip", "-n", link.namespace, "link", "set", link.outer, "up" if plugged else "down"]


def plug(link: Link, plugged: bool) -> None:
    """Plug the cable in or pull it, where there is one."""
    if (FOLDER / link.namespace).exists() and link.outer in _links(link.namespace):
        run(plug_command(link, plugged), timeout=30)


def disconnect(link: Link) -> None:
    """Remove the cards and the machine's namespace, whatever of them is there."""
    if (FOLDER / link.namespace).exists() and link.outer in _links(link.namespace):
        _ip(link.namespace, "link", "delete", link.outer)
    if (FOLDER / link.own).exists():
        run(["ip", "netns", "delete", link.own], timeout=30)

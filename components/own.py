"""A machine that the program itself brings: a virtual machine it declares next to the cloud, or anything else with an address and a host key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

# Stands for an address that is not known while the program runs: nobody's, by RFC 1112.
PLACEHOLDER = 240


@dataclass(frozen=True)
class OwnMachine:
    """A machine of the user's own. It is taken over like a server of platform `existing`: proved to be empty, prepared, given back by an undo.

    Attributes:
        name: host name, unique in the cloud.
        address: IP address other servers reach it at; may be an output of the machine's resource.
        host_key: its public SSH host key, `ssh-ed25519 AAAA...`; may be an output.
        made_by: the resources that make it. Nothing is done on it before they are there, and when they are replaced it counts as a new, empty machine.
        ssh_host, ssh_port, ssh_user: how ssh reaches it where it is not the address, port 22 and the section `ssh`'s account.
    """

    name: str
    address: pulumi.Input[str]
    host_key: pulumi.Input[str]
    made_by: pulumi.Resource | Sequence[pulumi.Resource] = ()
    ssh_host: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None


@dataclass
class Brought:
    """What the program's own machines add to what is written.

    Attributes:
        addresses: addresses that are outputs, by machine.
        keys: host keys, by machine.
        resources: what makes each machine.
    """

    addresses: dict[str, pulumi.Output[str]] = field(default_factory=dict)
    keys: dict[str, pulumi.Output[str]] = field(default_factory=dict)
    resources: dict[str, tuple[pulumi.Resource, ...]] = field(default_factory=dict)

    def written(self, machine: Any) -> Any:
        """The machine as the section `new` has one, with whatever is not text yet kept here. What is no machine of this kind stays as it is."""
        if isinstance(machine, Mapping):
            return self._from_mapping(dict(machine))
        if not is_machine(machine):
            return machine
        resources = getattr(machine, "made_by", machine if isinstance(machine, pulumi.Resource) else ())
        self.resources[str(machine.name)] = (resources,) if isinstance(resources, pulumi.Resource) else tuple(resources)
        found = {"name": machine.name, "address": machine.address, "hostKey": machine.host_key, "platform": "existing"}
        more = {"sshHost": "ssh_host", "sshPort": "ssh_port", "sshUser": "ssh_user"}
        found |= {key: value for key, name in more.items() if (value := getattr(machine, name, None)) is not None}
        return self._from_mapping(found)

    def _from_mapping(self, machine: dict[str, Any]) -> dict[str, Any]:
        name = str(machine.get("name"))
        if isinstance(machine.get("address"), pulumi.Output):
            self.addresses[name] = machine["address"]
            machine["address"] = placeholder(name)
        for key in ("hostKey", "host_key"):
            if isinstance(machine.get(key), pulumi.Output):
                self.keys[name] = machine.pop(key)
        return machine


def is_machine(given: Any) -> bool:
    """Whether something has what makes a machine: a name, an address and a host key."""
    return not isinstance(given, Mapping) and all(hasattr(given, part) for part in ("name", "address", "host_key"))


def placeholder(name: str) -> str:
    """What stands in a plan's source for an address that is not known yet: the same for a name in every run."""
    value = sum(place * byte for place, byte in enumerate(name.encode(), 1)) % (1 << 24)
    return f"{PLACEHOLDER}.{value >> 16}.{(value >> 8) & 255}.{value & 255}"

"""A complete, valid site for tests; every test changes what it is about."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

from parallel_build.configuration import Secrets, StackConfiguration, load, load_secrets
from parallel_build.resolved_stack import Site

VALUES: dict[str, Any] = {
    "phase": "switched",
    "original": {
        "version": "4.20.3.0",
        "management": [
            {"name": "oldms1", "address": "10.91.0.11", "usage": True},
            {"name": "oldms2", "address": "10.91.0.12"},
        ],
        "database": {
            "source": {"name": "olddb1", "address": "10.91.0.13"},
            "replica": {"name": "olddb2", "address": "10.91.0.14"},
        },
        "api": {"url": "http://10.91.0.11:8080/client/api"},
        "hypervisors": [{"name": "kvm1", "address": "10.91.0.21"}, {"name": "kvm2", "address": "10.91.0.22"}],
    },
    "new": {
        "version": "4.22.1.0",
        "platform": "existing",
        "management": [{"name": "newms1", "address": "10.91.0.41"}, {"name": "newms2", "address": "10.91.0.42"}],
        "database": {
            "source": {"name": "newdb1", "address": "10.91.0.31"},
            "replica": {"name": "newdb2", "address": "10.91.0.32"},
        },
    },
    "templates": [
        {
            "hypervisor": "KVM",
            "name": "systemvm-kvm-4.22.0-x86_64",
            "url": "http://10.91.0.1/templates/systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2",
        }
    ],
    "window": {"userAccess": {"method": "firewall", "administrators": ["10.91.0.1/32"]}},
    "rehearsal": {"waived": "a test"},
}
SECRETS = {
    "originalApiKey": "apikey-0123456789",
    "originalApiSecret": "apisecret-0123456789",
    "cloudPassword": "cloudpassword1",
    "replicationPassword": "replication12",
    "managementKey": "managementkey1",
}


def values(**changes: Any) -> dict[str, Any]:
    """The values with sections replaced or merged (`new={"usageOn": "newms2"}` merges)."""
    found = copy.deepcopy(VALUES)
    for name, change in changes.items():
        if isinstance(change, dict) and isinstance(found.get(name), dict):
            found[name].update(change)
        else:
            found[name] = change
    if found["rehearsal"].get("enabled"):
        del found["rehearsal"]["waived"]
    return found


@functools.cache
def _usual() -> tuple[bytes, Secrets]:
    """Checked once, since most tests want no other; each unpacks a configuration of its own."""
    return pickle.dumps(load(values(), "test"), pickle.HIGHEST_PROTOCOL), load_secrets(SECRETS, "test")


def site(**changes: Any) -> Site:
    """The site, with sections changed as `values` does."""
    packed, secrets = _usual()
    configuration: StackConfiguration = load(values(**changes), "test") if changes else pickle.loads(packed)  # noqa: S301 - packed here
    return Site("test", configuration, secrets, {"newms1": "ssh-ed25519 AAAA"})

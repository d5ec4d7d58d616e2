"""A dump that was given as the original's database: read once, and refused before anything is built where no server would start on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lab.database import DumpFacts, adapt
from lab.errors import LabError
from lab.files import Options
from lab.machines import KVM_HOSTS
from lab.original import Agent
from lab.packages import OLD
from lab.progress import say
from parallel_build.secret import Secret

KEYS = ("database_key", "original_api_key", "original_api_secret")


def check(options: Options, keys: Mapping[str, Secret | None]) -> None:
    """Refuse a dump that the lab's original can't run on, and tell what is odd about it.

    Args:
        options: name the dump.
        keys: the dump's `database_key`, `original_api_key` and `original_api_secret`.
    Raises:
        DumpError: it can't be read.
        LabError: it is of another version, was made within an upgrade, or is not the keys' own.
    """
    missing = [name for name in KEYS if not keys.get(name)]
    if missing:
        raise LabError(
            "the dump can't be used without its keys",
            f"missing: {', '.join(missing)}",
            "give --database-key, --api-key and --api-secret of a root administrator in it",
        )
    database_key, api_key, api_secret = (key.reveal() for name in KEYS if (key := keys[name]))
    found = facts(options, database_key)
    if found.unfinished:
        raise LabError(
            f"the dump holds an upgrade that was not finished: version {', '.join(found.unfinished)} is not Complete",
            "it was made while CloudStack upgraded the database, or after that had failed",
            "give a dump from before that upgrade, or from after its end",
        )
    if found.version != OLD:
        raise LabError(
            f"the dump is of CloudStack {found.version or 'of no known version'}",
            f"the lab's original is {OLD}, whose servers don't start on another version's database",
            f"give a dump of {OLD}",
        )
    if found.key_fits is None:
        raise LabError(
            "the database key can't be checked", "the dump's table `configuration` has no value of `init`", "dump the whole database cloud"
        )
    if not found.key_fits:
        raise LabError(
            "the database key is not the dump's",
            "configuration.init does not decrypt with it, so no server would start",
            "give db.cloud.encrypt.secret of the cloud that the dump comes from: --database-key @FILE",
        )
    if not found.knows_keys(api_key, api_secret, database_key):
        raise LabError(
            "the API key and its secret are not those of a root administrator in the dump",
            "no such user has them",
            "give --api-key and --api-secret as listUsers and getUserKeys of that cloud show them",
        )
    for warning in found.warnings:
        say(f"warning: {warning}")


@cache
def facts(options: Options, database_key: str) -> DumpFacts:
    """What the dump records about itself; a large one takes a while to read, so once a process.

    Raises:
        DumpError: it is no dump of a CloudStack database.
    """
    return adapt(files(options), database_key)


def files(options: Options) -> Path | Mapping[str, Path]:
    """The dump's file, or its files by database."""
    assert options.dump is not None
    cloud = Path(options.dump)
    return {"cloud": cloud, "cloud_usage": Path(options.usage_dump)} if options.usage_dump else cloud


def agents(options: Options, database_key: str) -> list[Agent]:
    """Agents for the dump's first KVM hosts; further ones stay disconnected, other hypervisors are the management server's own affair."""
    hosts = [host for host in facts(options, database_key).hosts if host.type == "Routing" and host.hypervisor == "KVM"]
    return [
        Agent(machine, host.guid.removesuffix("-LibvirtComputingResource"), 1, 1, 1)
        for machine, host in zip(KVM_HOSTS, hosts, strict=False)
    ]

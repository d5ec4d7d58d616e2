"""The machines that `original.frontend` names: whether they can be turned, and who of them has the address now. Changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from parallel_build.configuration import Frontend, Server, StackConfiguration
from parallel_build.errors import Cancelled, ParallelBuildError
from parallel_build.facts.cluster_managers import MANAGERS
from parallel_build.records.front_place import HERE
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import AT_ONCE, Workers

# Programs that the commands begin with, and units of what moves the address. Of a path dash's `command` only sees that it is there.
LOOK = r"""
shown=$(ip -o addr show)
printf '%s\n' "$shown" | awk '$3 ~ /^inet/ {sub("/.*", "", $4); print "address " $4}'
for each; do
  case $each in
    program=*/*) [ -f "${each#program=}" ] && [ -x "${each#program=}" ] || echo "missing ${each#program=}";;
    program=*) command -v -- "${each#program=}" >/dev/null 2>&1 || echo "missing ${each#program=}";;
    mover=*) kind=${each#mover=}; kind=${kind%%/*}; if systemctl is-active --quiet "${each#*/}" 2>/dev/null; then echo "mover $kind"; fi;;
  esac
done
"""


@dataclass(frozen=True)
class FrontMachine:
    """One of them.

    Attributes:
        problem: why it could not be asked, "" where it could.
        addresses: that it has now.
        missing: programs that the commands begin with and it has not.
        movers: kinds of `movedBy` that run there.
    """

    problem: str = ""
    addresses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    movers: tuple[str, ...] = ()


def machines(configuration: StackConfiguration) -> dict[str, tuple[Server | None, list[Frontend]]]:
    """What is asked, with the doors that are there; HERE where a door's commands run on this machine."""
    originals = {server.name: server for server in configuration.original_servers()}
    found: dict[str, tuple[Server | None, list[Frontend]]] = {}
    for door in configuration.original.frontend:
        if not (door.turned or door.moved_by or door.hosts):
            continue  # known by the files of the servers that it runs on
        there: list[Server | None] = [*door.hosts, *(originals[name] for name in door.servers)]
        for server in there or ([None] if door.turned else []):
            found.setdefault(server.name if server else HERE, (server, []))[1].append(door)
    return found


def read(configuration: StackConfiguration, connections: Connections) -> dict[str, FrontMachine]:
    """All of them, by name."""
    asked = machines(configuration)
    with Workers(AT_ONCE) as pool:
        futures = {name: pool.submit(_read, connections, server, doors) for name, (server, doors) in asked.items()}
        return {name: future.result() for name, future in futures.items()}


def _read(connections: Connections, server: Server | None, doors: Sequence[Frontend]) -> FrontMachine:
    programs = sorted({words[0] for door in doors for words in (door.close, door.to_new, door.to_original) if words})
    if server is None:
        return FrontMachine(missing=tuple(name for name in programs if shutil.which(name) is None))
    kinds = sorted({door.moved_by for door in doors if door.moved_by})
    units = [f"mover={kind}/{unit}" for kind in kinds for unit in MANAGERS.get(kind, ((kind,), ()))[0]]
    try:
        return parse(look(connections.host(server), programs, units))
    except Cancelled:
        raise
    except ParallelBuildError as error:
        return FrontMachine(problem=str(error))


def look(host: Access, programs: Sequence[str], units: Sequence[str]) -> str:
    """Ask one machine."""
    return host.script(LOOK, [*(f"program={name}" for name in programs), *units]).stdout


def parse(text: str) -> FrontMachine:
    """What `LOOK` prints."""
    found: dict[str, list[str]] = {"address": [], "missing": [], "mover": []}
    for line in text.splitlines():
        what, _, rest = line.partition(" ")
        found.setdefault(what, []).append(rest)
    return FrontMachine("", tuple(found["address"]), tuple(found["missing"]), tuple(dict.fromkeys(found["mover"])))

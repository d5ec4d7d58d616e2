"""What can't hold between `original.frontend` and the rest of a stack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parallel_build.configuration.api import host_of
from parallel_build.configuration.frontend import Frontend
from parallel_build.configuration.server import Server
from parallel_build.configuration.servers import Original
from parallel_build.configuration.window import UserAccess

Names = dict[str, str]


def problems(original: Original, servers: Sequence[Server], built: Sequence[Server], access: UserAccess) -> Iterator[str]:
    """Each in words, by its key.

    Args:
        servers: the original's, that the tool logs in to.
        built: machines that the stack builds.
        access: how users are held out.
    """
    names = {server.name for server in servers}
    addresses = {server.address: server.name for server in [*servers, *built]}
    for door in original.frontend:
        for name in door.servers:
            if name not in names:
                yield f"original.frontend: {name} is not one of the original's servers"
        if door.address in addresses:
            yield (
                f"original.frontend: {door.address} is the address of {addresses[door.address]}; give that server its own address, "
                "since this one leads to another server when the cluster moves it"
            )
        yield from _moved(door)
    yield from _hosts(original.frontend, [*servers, *built])
    yield from _probe(original.frontend, access)
    yield from _written_twice(original.frontend)
    yield from _kept_out(original, access)


def _moved(door: Frontend) -> Iterator[str]:
    """An address that moves is none of its hosts' own, and leads to every host that it may move to."""
    places = [*door.hosts, *door.servers]
    own = next((host.name for host in door.hosts if host.address == door.address), None)
    if own is not None and (door.moved_by or len(places) > 1):
        yield (
            f"original.frontend: {door.address} of {door.kind} is the address of its host {own}, and "
            f"{f'{door.moved_by} moves it' if door.moved_by else 'it has more hosts than that'}; give the host its own address"
        )
    if door.moved_by and door.turned and len(places) == 1:
        name = places[0].name if isinstance(places[0], Server) else places[0]
        yield (
            f"original.frontend: {door.moved_by} moves {door.address}, and {name} alone is named for {door.kind}: once it has moved, users would come "
            "to a machine that no command has turned; name every machine that may have the address in hosts (or servers), or leave movedBy out"
        )


def _hosts(doors: Sequence[Frontend], others: Sequence[Server]) -> Iterator[str]:
    """A front's own machine is no server of the stack, and one name is one machine."""
    known: Names = {}
    named, there = {server.name: server for server in others}, {server.address: server.name for server in others}
    for host in (host for door in doors for host in door.hosts):
        if host.name in named or host.address in there:
            name = host.name if host.name in named else there[host.address]
            yield f"original.frontend: host {host.name} ({host.address}) is {name} of this stack; name it in servers instead, if it is one of the original's"
        elif known.setdefault(host.name, host.address) != host.address:
            yield f"original.frontend: the name {host.name} is used twice, for {known[host.name]} and {host.address}; give every host its own"


def _probe(doors: Sequence[Frontend], access: UserAccess) -> Iterator[str]:
    """A machine is reached by its name."""
    server = access.probe.server if access.probe else None
    if server is not None and any(host.name == server.name and host.address != server.address for door in doors for host in door.hosts):
        yield (
            f"window.userAccess.probe.server: the name {server.name} is that of a host of original.frontend with another address; "
            "give every machine its own"
        )


def _written_twice(doors: Sequence[Frontend]) -> Iterator[str]:
    known = set()
    for door in doors:
        mark = (door.stands_before, door.kind, door.address)
        if door.turned and mark in known:
            yield f"original.frontend: {door.title} before {door.stands_before} is there twice; write one of the two, with every host and command"
        if door.turned:
            known.add(mark)


def _kept_out(original: Original, access: UserAccess) -> Iterator[str]:
    """Users are held out where they come, and the tool does not ask through a door that it has closed."""
    doors = [door for door in original.frontend if door.turned and door.stands_before == "users"]
    if access.method == "frontend" and not doors:
        yield (
            "window.userAccess.method: frontend lets users out by the commands of original.frontend, and nothing there stands before users with "
            "close, toNew and toOriginal; give them, or choose another method"
        )
    asked = host_of(original.api.url)
    probe = access.probe
    if (
        access.method == "frontend"
        and probe
        and (not probe.url or host_of(probe.url) in {server.address for server in original.management})
    ):
        yield (
            f"window.userAccess.probe.url: {probe.url or 'missing, so the probe'} asks the management servers themselves, which window.userAccess.method "
            "frontend leaves open: it would never show that users are out; write an address of the API at what stands before them"
        )
    managers = {server.name for server in original.management}
    for door in doors:
        if asked == door.address:
            yield (
                f"original.api.url: asks through {door.address}, which {door.kind} closes when users are let out, and the window needs the API then; "
                "write a management server's own address"
            )
        inside = sorted(managers.intersection(door.servers))
        if inside and access.method == "firewall":
            yield (
                f"original.frontend: {door.kind} runs on {', '.join(inside)}, where window.userAccess.method firewall refuses users until the stack is "
                "retired, so nobody would come through it to the new side; set window.userAccess.method to frontend"
            )

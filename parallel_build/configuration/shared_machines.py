"""Which servers of a stack may be one machine: names and addresses that stand in several places of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parallel_build.configuration.server import Server
from parallel_build.configuration.servers import New, NewMachine, Original

SECOND_COPY = (
    "from the switch on it is the only second copy of the databases: name a second machine of its own; the smallest new side is a "
    "source, a replica and one management server. Only with new.allInOne may it be left out"
)


@dataclass(frozen=True)
class Role:
    """A server, where it is written, and what it is there.

    Attributes:
        key: of the configuration.
        side: original, new or rehearsal.
        kind: management, usage, database, hypervisor or rehearsal.
    """

    key: str
    side: str
    kind: str
    server: Server


def roles(original: Original, new: New, rehearsal: NewMachine | None) -> list[Role]:
    """Every server of the configuration in each of its roles."""
    found = [Role(f"original.management.{n}", "original", "management", each) for n, each in enumerate(original.management)]
    found += [Role(f"original.usage.{n}", "original", "usage", each) for n, each in enumerate(original.usage)]
    found.append(Role("original.database.source", "original", "database", original.database.source))
    if original.database.replica:
        found.append(Role("original.database.replica", "original", "database", original.database.replica))
    found += [Role(f"original.database.nodes.{n}", "original", "database", each) for n, each in enumerate(original.database.nodes)]
    found += [Role(f"original.hypervisors.{n}", "original", "hypervisor", each) for n, each in enumerate(original.hypervisors)]
    found.append(Role("new.database.source", "new", "database", new.database.source))
    if new.database.replica:
        found.append(Role("new.database.replica", "new", "database", new.database.replica))
    found += [Role(f"new.management.{n}", "new", "management", each) for n, each in enumerate(new.management)]
    if rehearsal:
        found.append(Role("rehearsal.machine", "rehearsal", "rehearsal", rehearsal))
    return found


def problems(found: list[Role], new: New) -> Iterator[str]:
    """What is wrong with names and addresses, each by its key."""
    before: list[Role] = []
    for role in found:
        named = [each for each in before if each.server.name == role.server.name]
        there = [each for each in before if each.server.address == role.server.address]
        if named:
            yield from _same_name(new, role, named[0])
        elif there:
            yield from _same_address(role, there)
        before.append(role)
    if new.database.replica is None and not new.all_in_one:
        yield f"new.database.replica: this key is missing; {SECOND_COPY}"
    if new.all_in_one and not new.with_both_roles():
        yield (
            "new.allInOne: true, and no server of new.management is a database server too; write the same name and address in both places, or leave allInOne "
            "out"
        )


def _same_name(new: New, role: Role, other: Role) -> Iterator[str]:
    name, address = role.server.name, role.server.address
    if {role.side, other.side} != {"new"} or {role.kind, other.kind} != {"management", "database"}:
        yield f"{role.key}: the name {name} is used twice, {other.key} has it too: give every server its own" + (
            f" (a server with two roles is written twice, with one address and two names, such as {name} and {name}-db)"
            if role.side == other.side == "original" and address == other.server.address
            else ""
        )
    elif address != other.server.address:
        yield f"{role.key}: the name {name} is used twice, with {address} here and {other.server.address} in {other.key}: give every server its own"
    elif not new.all_in_one:
        yield (
            f"{role.key}: {name} ({address}) is {other.key} too, and on the new side no management server may have a database server on it; "
            "give it a machine of its own, or set new.allInOne to true, where one machine is to do both"
        )
    elif differ := _differ(role.server, other.server):
        yield f"{role.key}: {', '.join(differ)} of {name} differ from {other.key}: it is one machine; write the same in both places"


def _differ(one: Server, other: Server) -> list[str]:
    return [info.alias or name for name, info in NewMachine.model_fields.items() if getattr(one, name) != getattr(other, name)]


def _same_address(role: Role, there: list[Role]) -> Iterator[str]:
    server, apart = role.server, [each for each in there if each.side != role.side]
    if apart:
        yield f"{role.key}: {server.name} has the address {server.address} that {apart[0].server.name} has already, give it its own"
        return
    if role.side == "new":
        both = {role.kind, there[0].kind} == {"management", "database"}
        yield (
            f"{role.key}: {server.name} has the address {server.address} that {there[0].server.name} has already, give it its own; "
            "on the new side no management server may have a database server on it"
            + (f", unless new.allInOne is true and both have one name, such as {there[0].server.name}" if both else "")
        )
        return
    # On the original a server may have several roles, each once.
    if role.kind == "usage" and (manager := next((each for each in there if each.kind == "management"), None)):
        yield (
            f"{role.key}: {server.name} has the address {server.address} of {manager.server.name}; a usage server on a management server is marked there: set "
            f"usage: true in {manager.key}, and leave this one out"
        )
        return
    twice = [each for each in there if each.kind == role.kind]
    if twice:
        yield (
            f"{role.key}: {server.name} has the address {server.address} that {twice[0].server.name} ({twice[0].key}) has already; "
            "two of a kind can't be one machine: correct the address, or leave one out"
        )

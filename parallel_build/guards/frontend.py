"""Guards over what stands before the original: a window that can close it must be able to open it again, on every machine that may have its address."""

from __future__ import annotations

from parallel_build.configuration import Frontend
from parallel_build.configuration.api import host_of
from parallel_build.configuration.values import is_address
from parallel_build.errors import GuardFailed
from parallel_build.facts.front_places import FrontMachine, machines
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site

NOT_ASKED = FrontMachine(problem="it was not asked")


def fronts_can_be_turned(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every machine that a command of original.frontend runs on answers, and has the command's program."""
    found: list[str] = []
    for name, (_, doors) in machines(site.configuration).items():
        turned = sorted({door.title for door in doors if door.turned})
        if not turned or name in site.configuration.confirmed_down:
            continue
        machine = old.fronts.get(name, NOT_ASKED)
        if machine.problem:
            found.append(f"{name} ({', '.join(turned)}) can't be asked: {machine.problem}")
        elif machine.missing:
            found.append(f"{name} ({', '.join(turned)}) has no {', '.join(machine.missing)}")
    if found:
        raise GuardFailed(
            f"what stands before the original can't be turned: {'; '.join(found)}",
            "the window would close it on one machine and not on another, or could not lead users in again",
            "make each machine reachable over SSH as the other servers are, and put the program there; or correct original.frontend. A machine that is off "
            "for good is named in window.confirmedDown",
        )


def front_addresses_are_held_once(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the address of each front is held by one of the machines that original.frontend names for it, and by one alone where movedBy moves it."""
    found: list[str] = []
    for door in _looked_at(site):
        holders, silent = _holders(site, old, door)
        if len(holders) > 1 and door.moved_by:
            found.append(f"{door.address} of {door.kind} is held by {' and '.join(holders)} at the same time")
        elif not holders and not silent:
            found.append(f"{door.address} of {door.kind} is held by none of {', '.join(_places(door))}")
    if found:
        raise GuardFailed(
            f"addresses of original.frontend are not where they should be: {'; '.join(found)}",
            "users come to a machine that the window does not turn, or to one after the other of two",
            "see what moves the address (movedBy) on these machines, for keepalived `journalctl -u keepalived`; or name the machine that has it, in hosts",
        )


def notices(site: Site, old: OriginalFacts) -> list[str]:
    """What does not keep the window from opening: what moves an address does not run everywhere; a proxy before the database is left open."""
    found = [
        f"warning: {door.moved_by} does not run on {name}: {door.address} would not move there"
        for door in _looked_at(site)
        if door.moved_by
        for name in _places(door)
        if not (machine := old.fronts.get(name, NOT_ASKED)).problem and door.moved_by not in machine.movers
    ]
    return [*found, *(f"warning: {words}" for words in (*left_open(site), *not_proved(site)))]


def not_proved(site: Site) -> list[str]:
    """What users come by and nobody asks through, in words: of commands that end well without having done anything nobody would know."""
    section = site.configuration.window.user_access.probe
    asked = host_of(section.url) if section is not None and section.url else None
    if asked and not is_address(asked):
        return []  # a name: whose address it is may change until the window
    return [
        f"{door.title} is turned by commands, and no user's call is made through it: what they say is believed; set window.userAccess.probe.url to an "
        "address of the API there"
        for door in site.configuration.original.frontend
        if door.turned and door.stands_before == "users" and door.address != asked
    ]


def left_open(site: Site) -> list[str]:
    """Proxies before the database that nobody closes, in words."""
    return [
        f"{door.title} stands before the original's database and has no command `close`: what comes through it after the switch is sent on to whatever "
        "it takes for the source"
        for door in site.configuration.original.frontend
        if door.stands_before == "database" and not door.turned and not site.configuration.original.database.others
    ]


def _looked_at(site: Site) -> list[Frontend]:
    """Doors whose address can be looked for: every machine that may have it is named."""
    doors = site.configuration.original.frontend
    return [door for door in doors if door.address and (door.hosts or (door.servers and (door.turned or door.moved_by)))]


def _places(door: Frontend) -> list[str]:
    return [*(host.name for host in door.hosts), *door.servers]


def _holders(site: Site, old: OriginalFacts, door: Frontend) -> tuple[list[str], list[str]]:
    """Who has a door's address, and who can't be asked."""
    asked = {name: old.fronts.get(name, NOT_ASKED) for name in _places(door) if name not in site.configuration.confirmed_down}
    holders = [name for name, machine in asked.items() if door.address in machine.addresses]
    return holders, [name for name, machine in asked.items() if machine.problem]


GUARDS = rules_of(fronts_can_be_turned, front_addresses_are_held_once)

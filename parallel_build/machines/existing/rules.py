"""What must hold of a server that is there already before anything is installed on it: one function a rule, facts in, an error out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parallel_build.configuration import AGENTS, API_PORTS, PEERS, NewMachine, StackConfiguration
from parallel_build.errors import GuardFailed
from parallel_build.machines.existing.facts import DATA_FOLDER, ServerFacts
from parallel_build.remote.families import FAMILIES
from parallel_build.rules import Rule, RuleFinding, examine, refusing

CLOCK_LIMIT = 1.0  # seconds
# Memory that firmware and kernel keep for themselves, and what a file system keeps of a disk.
SHARE = 0.9
SPARE = 2048  # MiB: packages, logs, temporary files


@dataclass(frozen=True)
class Wanted:
    """What the server is to become.

    Attributes:
        machine: it, as configured.
        database, management: its roles.
        port: of the database.
        api_port: of the API.
    """

    machine: NewMachine
    database: bool
    management: bool
    port: int
    api_port: int = API_PORTS["http"]

    @classmethod
    def of(cls, configuration: StackConfiguration, machine: NewMachine) -> Wanted:
        """The roles that the configuration gives it."""
        pair = configuration.new.database
        databases = {server.name for server in pair.servers}
        servers = {server.name for server in configuration.new.management}
        if configuration.rehearsal.machine:  # both on one server
            databases.add(configuration.rehearsal.machine.name)
            servers.add(configuration.rehearsal.machine.name)
        own = machine.name in {server.name for server in configuration.new.management}
        api_port = configuration.new.api.served.port if own else API_PORTS["http"]
        return cls(machine, machine.name in databases, machine.name in servers, pair.port, api_port)


@dataclass(frozen=True)
class Candidate:
    """A server that is there already, with what it is to become."""

    wanted: Wanted
    facts: ServerFacts


Judge = Callable[[Wanted, ServerFacts], None]


def becomes_root(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: the account logs in as root, or becomes root by sudo without a password."""
    if not facts.root:
        raise GuardFailed(
            f"{facts.login} does not become root on {facts.name}",
            facts.problem,
            f"log in as root, or let {facts.login} run sudo without a password (NOPASSWD) on {facts.name}",
        )


def known_family_with_systemd(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: a system of the Debian or the EL family with its package programs, run by systemd."""
    if not any(word in family.ids for word in facts.family.split() for family in FAMILIES) or not facts.handled:
        raise GuardFailed(
            f"{facts.name} runs {facts.system or 'an unknown system'}",
            "packages are installed by apt or dnf",
            "use Debian, Ubuntu or Enterprise Linux 8 to 10",
        )
    if not facts.systemd:
        raise GuardFailed(f"{facts.name} is not run by systemd", "units can't be masked there", "boot it with systemd")


def packages_are_sound(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: there are no half-installed packages: nothing could be installed, and the undo could not tell its own from them."""
    if facts.audit:
        raise GuardFailed(
            f"packages on {facts.name} are half installed",
            facts.audit,
            "fix it: dpkg --configure -a; apt-get -f install (Debian, Ubuntu), or dnf check; dnf remove --duplicates (EL)",
        )


def has_its_address(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: the configured address is the server's own: CloudStack's node address must be local."""
    if wanted.machine.address not in facts.addresses:
        raise GuardFailed(
            f"{facts.name} does not have the address {wanted.machine.address}",
            f"it has {', '.join(facts.addresses) or 'none'}: another server may have answered",
            "correct its address, or sshHost, in the configuration",
        )


def is_large_enough(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: processors, memory and disk are at least what the configuration says."""
    machine = wanted.machine
    small = []
    if facts.processors < machine.cpus:
        small.append(f"{facts.processors} processors, not {machine.cpus}")
    if facts.memory < machine.memory * SHARE:
        small.append(f"{facts.memory} MiB of memory, not {machine.memory}")
    if facts.size < machine.disk * 1024 * SHARE:
        small.append(f"{facts.size // 1024} GiB at /var/lib, not {machine.disk}")
    if small:
        raise GuardFailed(
            f"{facts.name} has {'; '.join(small)}",
            "the configuration says what the work was sized for",
            "take a larger server, or set cpus, memory and disk to what it has, if that is enough",
        )


def has_space(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: enough free space for packages, and for keeping aside what is found in the data folder."""
    needed = SPARE + facts.data_size
    if facts.free < needed:
        raise GuardFailed(f"{facts.name} has {facts.free} MiB free at /var/lib", f"at least {needed} MiB are needed", "free some space")


def clock_is_right(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: its clock is within one second of the operator's machine."""
    if abs(facts.clock) > CLOCK_LIMIT:
        raise GuardFailed(
            f"the clock of {facts.name} is {facts.clock:+.1f} s off",
            "management servers judge each other, and replication its lag, by their clocks",
            f"start time synchronisation on {facts.name} (and on this machine)",
        )


def no_cloudstack(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: nothing of CloudStack is there, not even the rest of a removed one: it might be a server that serves."""
    if facts.cloudstack:
        raise GuardFailed(
            f"{facts.name} has something of CloudStack's: {', '.join(facts.cloudstack)}",
            "it may be a server of a running cloud; a new server starts from nothing",
            "name another server; or, if you know what it is, purge those packages and remove those folders yourself",
        )


def no_data(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: no database of anybody's is in the data folder, and a management server has no database server at all."""
    if facts.schemas:
        raise GuardFailed(
            f"{facts.name} holds the databases {', '.join(facts.schemas[:8])} in its data folder",
            "they are somebody's",
            "name another server; or move them away yourself",
        )
    if facts.linked and wanted.database:
        raise GuardFailed(
            f"{DATA_FOLDER} of {facts.name} is a link to {facts.linked}",
            "what is found in that folder is kept, and put back when the server is left; of a link that would be the link alone",
            f"mount that disk at {DATA_FOLDER} instead (`mount --bind {facts.linked} {DATA_FOLDER}`, and the same in /etc/fstab)",
        )
    if facts.data and not facts.database_units:
        raise GuardFailed(
            f"{facts.name} has files in {DATA_FOLDER} and no database server",
            "a package would take them for its data",
            f"move them out of {DATA_FOLDER}",
        )
    if wanted.management and not wanted.database and facts.database_units:
        raise GuardFailed(
            f"{facts.name} has a database server ({', '.join(facts.database_units)})",
            "with an unreadable db.properties CloudStack falls back to a local one with cloud/cloud",
            "take another server, or remove that database server",
        )


def ports_are_free(wanted: Wanted, facts: ServerFacts) -> None:
    """Rule: nobody listens on the ports that the new services need; a database server that is there already may listen on its own."""
    # The packages open 8080 as well, until server.properties says otherwise.
    needed = ({API_PORTS["http"], wanted.api_port, AGENTS, PEERS} if wanted.management else set()) | (
        {wanted.port} if wanted.database and not facts.database_units else set()
    )
    taken = sorted(needed & set(facts.ports))
    if taken:
        raise GuardFailed(
            f"something listens on {', '.join(map(str, taken))} on {facts.name}",
            "the new services need these ports",
            f"see `ss -ltnp` on {facts.name}; stop it",
        )


def _rule(judge: Judge) -> Rule[Candidate, RuleFinding]:
    def refuse(candidate: Candidate) -> None:
        judge(candidate.wanted, candidate.facts)

    return refusing(judge, refuse, "servers that are there already, docs/start/existing.md")


JUDGES: tuple[Judge, ...] = (
    becomes_root,
    known_family_with_systemd,
    packages_are_sound,
    has_its_address,
    is_large_enough,
    has_space,
    clock_is_right,
    no_cloudstack,
    no_data,
    ports_are_free,
)
RULES = tuple(_rule(judge) for judge in JUDGES)
# A server that this stack has begun with holds what the stack put there.
AGAIN = tuple(_rule(judge) for judge in (becomes_root, known_family_with_systemd, has_its_address, clock_is_right))


def check(wanted: Wanted, facts: ServerFacts, rules: tuple[Rule[Candidate, RuleFinding], ...] = RULES) -> list[str]:
    """Apply every rule; without root nothing else is known, so that one comes alone.

    Returns:
        names of the rules that hold.
    Raises:
        GuardFailed: names every rule that does not hold.
    """
    report = examine(rules if facts.root else [_rule(becomes_root)], Candidate(wanted, facts))
    failed = report.errors()
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise GuardFailed(
            f"{facts.name} can't be used as it is:\n" + "\n".join(f"  - {error}" for error in failed) + "\n",
            "each of them would make a step fail there, or harm what is on the server",
            "nothing has been changed; fix these and run the same command again",
        )
    return [rule.name for rule in rules]

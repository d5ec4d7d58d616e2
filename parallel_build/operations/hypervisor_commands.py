"""Commands on hypervisors, and their agents' address by file; and the reverse of both."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from parallel_build.cloudstack import properties, unit_end
from parallel_build.cloudstack.agents import AGENT_FILE, SETTING, hosts_with_agent
from parallel_build.cloudstack.services import AGENT, Services
from parallel_build.configuration import Hypervisor, HypervisorCommand
from parallel_build.errors import CommandFailed, ConnectionFailed, ParallelBuildError, StepFailed
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.remote.parallel import Workers
from parallel_build.secret import mask

STEP = "HypervisorSteps"
HOSTS_AT_ONCE = 10  # sshd and a jump host drop more connections that begin at one moment [MaxStartups 10:30:100]


@dataclass(frozen=True)
class Applied:
    """A command that was begun on a host, as it is on record: what it was then, whatever the configuration says by now.

    Attributes:
        mark: what tells it from any other: of the command, its reverse and the host.
        host: name in the stack.
        command, reverse: words; empty where they hold a sealed value, which the record must not: then the configuration still has to have them.
        timeout: seconds.
        at_once: with the same command on other hosts.
        done: it has ended well.
    """

    mark: str
    host: str
    command: tuple[str, ...]
    reverse: tuple[str, ...]
    timeout: float
    at_once: bool = False
    done: bool = False


def mark_of(each: HypervisorCommand, host: str) -> str:
    """What distinguishes a command on a host from any other: never its place in the list, which an operator may change."""
    digest = hashlib.sha256(json.dumps([each.command, each.reverse]).encode()).hexdigest()[:16]
    return f"{digest}/{host}"


def applied(context: Context) -> dict[str, Applied]:
    """What is on record, in the order of its beginning."""
    facts = store(context).facts(STEP)
    found = {
        mark: Applied(
            mark,
            str(entry["host"]),
            tuple(entry["command"]),
            tuple(entry["reverse"]),
            float(entry["timeout"]),
            bool(entry.get("at_once")),
            bool(entry.get("done")),
        )
        for mark, entry in facts.get("commands", {}).items()
    }
    return {**_by_place(context, facts), **found}


def _by_place(context: Context, facts: Mapping[str, Any]) -> dict[str, Applied]:
    """Marks of version 1 of the record: places in the list that the configuration had then."""
    found = {}
    for old in facts.get("started", []):
        place, _, host = str(old).partition("/")
        steps = context.configuration.hypervisor_steps
        if place.isdigit() and int(place) < len(steps):
            each = steps[int(place)]
            entry = _entry(context, each, host, done=old in facts.get("done", []))
            found[entry.mark] = entry
    return found


def _entry(context: Context, each: HypervisorCommand, host: str, *, done: bool = False) -> Applied:
    sealed = any(mask(word, context.site.hidden()) != word for word in (*each.command, *each.reverse))
    command, reverse = ((), ()) if sealed else (tuple(each.command), tuple(each.reverse))
    return Applied(mark_of(each, host), host, command, reverse, each.timeout.total_seconds(), each.at_once, done)


def _keep(context: Context, commands: Mapping[str, Applied], *, forward: bool) -> None:
    entries = {mark: {name: value for name, value in asdict(entry).items() if name != "mark"} for mark, entry in commands.items()}
    store(context).note({STEP: {"commands": entries, "started": [], "done": []}}, forward=forward)


def run_step(context: Context, each: HypervisorCommand) -> None:
    """Run a configured command on each of its hosts where it has not ended well yet.

    Raises:
        CommandFailed, ConnectionFailed: it failed on a host.
    """
    known = applied(context)
    left = [name for name in each.hosts if not (mark_of(each, name) in known and known[mark_of(each, name)].done)]
    for names in [left] if each.at_once and left else [[name] for name in left]:
        context.cancel.check()
        context.progress(f"{', '.join(names)}: {shlex.join(each.command)}")
        context.intend("hypervisor step", hosts=names, command=shlex.join(each.command))
        # On record before it runs: half a command is undone by its reverse as a whole one is. Refused once a rollback has begun.
        known |= {mark_of(each, name): _entry(context, each, name) for name in names}
        _keep(context, known, forward=True)
        failed = run_on(context, each.command, names, each.timeout.total_seconds())
        gone = away(context, failed)
        known |= {mark_of(each, name): _entry(context, each, name, done=True) for name in names if name not in failed}
        known = {mark: entry for mark, entry in known.items() if mark not in {mark_of(each, name) for name in gone}}
        _keep(context, known, forward=False)
        for name, error in failed.items():
            if name not in gone:
                raise error
            context.progress(
                f"{name} was put aside when the window opened and can't be reached: before it runs VMs again, there: {shlex.join(each.command)}"
            )


def away(context: Context, failed: Mapping[str, ParallelBuildError]) -> set[str]:
    """Those that can't be reached and that were put aside, and not Up, when the window opened: the cloud does without them."""
    noted = store(context).facts("Window").get("hypervisors_away", [])
    return {name for name, error in failed.items() if isinstance(error, ConnectionFailed) and name in noted}


def run_on(context: Context, command: Sequence[str], names: Sequence[str], timeout: float) -> dict[str, ParallelBuildError]:
    """Run a command on hosts at the same time; what failed, by host."""
    hosts = {host.name: host for host in context.configuration.original.hypervisors}
    failed: dict[str, ParallelBuildError] = {}
    with Workers(min(len(names), HOSTS_AT_ONCE), context.cancel) as pool:
        for name, future in [(name, pool.submit(context.host(hosts[name]).run, command, timeout=timeout)) for name in names]:
            try:
                future.result()
            except (ConnectionFailed, CommandFailed) as error:
                failed[name] = error
    return failed


def undo(context: Context) -> None:
    """The reverse of what was begun, by the record, last first.

    A host that is lost or whose command fails does not keep the original from serving: it stays on record, and Window's undo asks again.
    """
    _restore_addresses(context)
    known = applied(context)
    for group in _groups(list(reversed(known.values()))):
        reverse, names = _reverse(context, group[0]), [entry.host for entry in group]
        failed: dict[str, str] = {name: reason for name in names if (reason := _not_undone(context, group[0], name, reverse))}
        reachable = [name for name in names if name not in failed]
        if reverse and reachable:
            context.progress(f"{', '.join(reachable)}: {shlex.join(reverse)}")
            context.intend("reverse of a hypervisor step", hosts=reachable, command=shlex.join(reverse))
            failed |= {name: str(error) for name, error in run_on(context, reverse, reachable, group[0].timeout).items()}
        for name, reason in failed.items():
            context.progress(f"{name} can't be put back yet: {reason}")
            context.run.record("not undone", step=context.step, host=name, error=reason)
        ended = {entry.mark for entry in group if entry.host not in failed}
        known = {mark: replace(entry, done=False) if entry in group else entry for mark, entry in known.items() if mark not in ended}
        _keep(context, known, forward=False)


def _groups(entries: Sequence[Applied]) -> list[list[Applied]]:
    """Entries that are undone together: those of one command that was given to its hosts at once."""
    groups: list[list[Applied]] = []
    for entry in entries:
        last = groups[-1] if groups else []
        if last and entry.at_once and last[0].at_once and entry.mark.partition("/")[0] == last[0].mark.partition("/")[0]:
            last.append(entry)
        else:
            groups.append([entry])
    return groups


def _configured(context: Context, entry: Applied) -> HypervisorCommand | None:
    return next((each for each in context.configuration.hypervisor_steps if mark_of(each, entry.host) == entry.mark), None)


def _reverse(context: Context, entry: Applied) -> tuple[str, ...]:
    each = _configured(context, entry)
    return tuple(each.reverse) if each else entry.reverse


def _not_undone(context: Context, entry: Applied, host: str, reverse: Sequence[str]) -> str:
    """Why a command's reverse can't be given to a host; empty where it can."""
    if not entry.command and _configured(context, entry) is None:
        return "its command held a sealed value, so the record does not have its reverse: put it back into hypervisorSteps as it was"
    if reverse and host not in {each.name for each in context.configuration.original.hypervisors}:
        return f"the stack does not name it any more: put it back into original.hypervisors, or run there: {shlex.join(reverse)}"
    return ""


def hosts_on_record(context: Context) -> set[str]:
    """Names of the hosts on which something is still to be undone."""
    return {entry.host for entry in applied(context).values()} | set(store(context).facts(STEP).get("addresses", {}))


def forget(context: Context, name: str) -> list[str]:
    """Take a host off the record with what was begun on it; what is then to be done there by hand, in words."""
    known, facts = applied(context), store(context).facts(STEP)
    mine = [entry for entry in reversed(known.values()) if entry.host == name]
    before: dict[str, str] = facts.get("addresses", {})
    words = [f"`{shlex.join(reverse)}`" for entry in mine if (reverse := _reverse(context, entry))]
    words += [
        "the reverse of a command of hypervisorSteps that held a sealed value"
        for entry in mine
        if not (entry.command or _reverse(context, entry))
    ]
    if name in before:
        words.append(f"{SETTING}={before[name]} in {AGENT_FILE}")
        store(context).remember(STEP, addresses={other: value for other, value in before.items() if other != name})
    if mine:
        _keep(context, {mark: entry for mark, entry in known.items() if entry.host != name}, forward=False)
    return words


def left(context: Context) -> list[str]:
    """What is still to be undone, in words."""
    facts, listed = store(context).facts(STEP), {host.name for host in context.configuration.original.hypervisors}
    return [
        f"hypervisor step on {entry.host}" + (f" ({shlex.join(entry.reverse)})" if entry.reverse else "")
        for entry in applied(context).values()
    ] + [
        f"the agent's address on {name}"
        + ("" if name in listed else ", which the stack does not name any more: put it back into original.hypervisors")
        for name in facts.get("addresses", {})
    ]


def write_addresses(context: Context) -> None:
    wanted, records = context.configuration.host_setting, store(context)
    for hypervisor in hosts_with_agent(context.configuration):
        context.cancel.check()
        facts = records.facts(STEP)
        before: dict[str, str] = facts.get("addresses", {})
        given: list[str] = facts.get("told", [])
        try:
            now = written(context, hypervisor)
        except ConnectionFailed as error:
            if not away(context, {hypervisor.name: error}):
                raise
            context.progress(
                f"{hypervisor.name} was put aside when the window opened and can't be reached: before it runs VMs again, there: "
                f"{SETTING}={wanted} in {AGENT_FILE}"
            )
            continue
        # A file that has the value may have got it a moment before the agent was to be restarted: only the record shows it.
        if now != wanted or (hypervisor.name in before and hypervisor.name not in given):
            context.intend("set the agent's addresses", host=hypervisor.name, value=wanted)
            resting: list[str] = facts.get("resting", [])
            if hypervisor.name not in before and not Services(context.host(hypervisor)).state(AGENT).active:
                resting = [*resting, hypervisor.name]
            records.remember(STEP, addresses={hypervisor.name: now, **before}, resting=resting)
            set_addresses(context, hypervisor, wanted, restart=hypervisor.name not in resting)
            records.remember(STEP, told=[*(name for name in given if name != hypervisor.name), hypervisor.name])


def _restore_addresses(context: Context) -> None:
    records = store(context)
    before: dict[str, str] = records.facts(STEP).get("addresses", {})
    resting: list[str] = records.facts(STEP).get("resting", [])
    for hypervisor in reversed([host for host in hosts_with_agent(context.configuration) if host.name in before]):
        try:
            context.intend("put the agent's addresses back", host=hypervisor.name, value=before[hypervisor.name])
            set_addresses(context, hypervisor, before[hypervisor.name], restart=hypervisor.name not in resting)
        except (ConnectionFailed, CommandFailed, StepFailed) as error:
            context.progress(f"{hypervisor.name}: its agent's address can't be put back yet: {error}")
            context.run.record("not undone", step=context.step, host=hypervisor.name, error=str(error))
            continue
        before = {name: value for name, value in before.items() if name != hypervisor.name}
        given: list[str] = records.facts(STEP).get("told", [])
        records.remember(STEP, addresses=before, told=[name for name in given if name != hypervisor.name])


def written(context: Context, hypervisor: Hypervisor) -> str:
    """The value of `host` in an agent's own file.

    Raises:
        StepFailed: there is no such file, or it has none.
    """
    found = (properties.read(context.host(hypervisor), AGENT_FILE) or {}).get(SETTING)
    if not found:
        raise StepFailed(
            f"{hypervisor.name} has no `host=` in {AGENT_FILE}",
            "agents.method file writes it, and it seems to be no KVM host with cloudstack-agent",
            f"correct original.hypervisors, then run the same command again; or go back: parallel-build back {context.site.stack}",
        )
    return found


def set_addresses(context: Context, hypervisor: Hypervisor, value: str, *, restart: bool = True) -> None:
    """Write `host` into an agent's own file, all else kept, and restart the agent; guests are not touched by that.

    Args:
        restart: False for an agent that was found stopped: it stays down, and reads its file when it is started.
    """
    host = context.host(hypervisor)
    kept = properties.without(properties.decode(host.read(AGENT_FILE) or b""), SETTING)
    if kept and not kept.endswith(("\n", "\r")):
        kept += "\n"
    text = f"{kept}{SETTING}={properties.escaped(value)}\n"
    mode = host.run(["stat", "-c", "%a %U:%G", AGENT_FILE]).stdout.split()
    context.progress(f"{hypervisor.name}: {SETTING}={value} in {AGENT_FILE}")
    host.write(AGENT_FILE, properties.encode(text), mode=int(mode[0], 8), owner=mode[1])
    if not restart:
        context.progress(f"{hypervisor.name}: {AGENT} did not run, and stays down")
        return
    context.progress(f"{hypervisor.name}: restarting {AGENT}")
    host.run(["systemctl", "restart", AGENT], timeout=120)
    if not Services(host).state(AGENT).active:
        raise StepFailed(
            f"{AGENT} on {hypervisor.name} does not run: restarted for its new addresses, it {(end := unit_end.read(host, AGENT)).words}",
            end.cause[0] if end.cause else "its own log says why",
            f"see `journalctl -u {AGENT}` and /var/log/cloudstack/agent/agent.log there, then run the same command again",
        )

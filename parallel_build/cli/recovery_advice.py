"""Where a broken run stands, in plain words, and the two commands: the one that resumes and the one that goes back. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parallel_build.cli.run_state import Database, Management, Situation
from parallel_build.cli.serving import headline, which_runs, which_serves
from parallel_build.durations import duration
from parallel_build.operations import fence_new_side, frontends, galera_stop
from parallel_build.operations.window_standing import follow
from parallel_build.records.waves import ROUTERS as STEP
from parallel_build.records.waves import WaveState
from parallel_build.records.window import WindowRecord
from parallel_build.stack.state import StackState

DONE = "done"
# The window's steps, as their resources are named in components/cutover.py.
ORDER = (
    "window", "user-access", "drain", "original-management", "database-transfer", "original-database", "host-setting", "hypervisor-steps",
    "first-management", "hypervisors", "system-vms", "acceptance", "additional-management", "routers",
)  # fmt: skip
ROUTERS = "routers"  # of them the last
ALONGSIDE = ("agents", "dump-file")  # next to them, where they are configured
SHOWN = (*ORDER, *ALONGSIDE)


@dataclass(frozen=True)
class Explanation:
    """What an operator needs to know.

    Attributes:
        serving: the side that serves users: `original`, `new`, `neither`, `both` or `unknown`.
        headline: what is proved of it, in words.
        findings: one line each: record, state, lock, half done steps.
        servers: one line a server.
        forward, back: commands, with what they will do; empty when there is nothing to go to.
        first: what must be done before either.
    """

    serving: str
    headline: str
    findings: list[str]
    servers: list[str]
    forward: str
    back: str
    first: list[str]

    def text(self) -> str:
        """For a terminal."""
        lines = [self.headline, "", *self.findings, "", *(f"  {line}" for line in self.servers), ""]
        if self.first:
            lines += ["First:", *(f"  {line}" for line in self.first), ""]
        lines.append(f"Forward: {self.forward}" if self.forward else "Forward: nothing to do")
        lines.append(f"Back:    {self.back}" if self.back else "Back:    nothing to do, no window is open")
        return "\n".join(lines)


def explain(found: Situation) -> Explanation:
    """Put it into words."""
    serving, runs = which_serves(found), which_runs(found)
    forward, back = _forward(found, serving), _back(found, runs)
    if _left_in_state(found) and forward:
        forward = f"after what stands under First: {forward}"
    if found.alone:  # one copy of the record may be looked at, not acted on
        forward, back = (f"after what stands under First: {command}" if command else "" for command in (forward, back))
    return Explanation(serving, headline(found), list(_findings(found)), list(_servers(found)), forward, back, list(_first(found)))


def _findings(found: Situation) -> Iterator[str]:
    record = found.record
    if found.record_problem:
        yield f"The window's record can't be read: {found.record_problem}"
    elif record is None:
        yield "No window was ever opened on this cloud."
    elif record.closed:
        yield f"No window is open: the last one, of stack {record.stack}, was opened {record.opened} and closed {record.closed}."
    else:
        yield f"A window is open: stack {record.stack}, since {record.opened}, by {record.holder}."
        if not found.mine:
            yield "It is not held by this stack and its state: a different stack, or a different state of this one, has to resume or roll back."
        if record.returning:
            ahead = ", ahead of the state" if record.ahead else ""
            yield f"A rollback began {record.returning}{ahead}: no step goes forward until it has finished."
        if record.retired:
            yield f"Retired {record.retired}: going back is refused."
        elif record.switched:
            yield f"The new side was switched to at {record.switched}; users may have changed things on it since."
            yield from _routers(record)
        elif found.seconds_left is not None and found.seconds_left <= 0:
            yield "The deadline has passed, and the new side has not been switched to: going forward is refused until it is set longer."
        elif found.seconds_left is not None:
            yield f"Until the deadline: {duration(found.seconds_left)}."
        yield from (
            f"By the record {words}."
            for words in (*fence_new_side.in_words(record), *frontends.in_words(record), *galera_stop.in_words(record))
        )
        yield from (f"The record on {line}." for line in found.copies)
        yield from (f"On record: {line}" for line in found.host_journal[-3:])
    yield from _state(found)
    if found.running:
        began = found.running
        intent = f"; it was about to: {began['intent']}" if began.get("intent") else ""
        yield f"By this machine's journal {began['step']} ({began['operation']}) began {began['time']} by {began['operator']} and never ended{intent}."


def _routers(record: WindowRecord) -> Iterator[str]:
    waves = WaveState.of(record.facts.get(STEP, {}))
    if waves.total:
        yield f"Router waves, when they were last counted: {waves.done} of {waves.total} networks renewed, {len(waves.failed)} failed."
    if waves.paused:
        yield f"Router waves are paused since {waves.paused}."
    if waves.stopped:
        yield f"Router waves: {waves.stopped}."


def _state(found: Situation) -> Iterator[str]:
    state = found.state
    if state.problem:
        yield f"The stack's state: {state.problem}."
        return
    done = [name for name in SHOWN if state.steps.get(name) == DONE]
    if done:
        yield f"In the state, done: {', '.join(done)}."
    for name in SHOWN:
        status = state.steps.get(name, DONE)
        if status != DONE:
            yield f"In the state, half done: {name}: {status}"
    yield from (f"In the state, cut off: {operation}." for operation in state.pending)
    yield from (f"The state is locked by {lock}." for lock in state.locks)


def _servers(found: Situation) -> Iterator[str]:
    for side, servers, database in (("original", found.original, found.original_database), ("new", found.new, found.new_database)):
        for server in servers:
            yield f"{side} {server.name}: {_management(server)}"
        yield f"{side} {database.name}: {_database(database)}"
    for usage in found.original_usage:
        yield f"original {usage.name}: " + (f"can't be asked: {usage.problem}" if usage.problem else _unit("usage", usage.unit))


def _management(server: Management) -> str:
    if server.problem:
        known = f"; {server.proved_down}" if server.proved_down and not server.answers else ""
        return f"can't be asked: {server.problem}" + (
            f"; but its {_api(server)}" if server.answers else f"; its API does not answer{known}"
        )
    words = [_unit("management", server.unit)]
    words.append(_api(server))
    if server.usage is not None and server.usage.known:
        words.append(_unit("usage", server.usage))
    words.append("users out" if server.users_out else "users in")
    return ", ".join(words)


def _api(server: Management) -> str:
    if server.not_trusted:
        return f"API ANSWERS, and is not trusted: {server.not_trusted}"
    return ("API ANSWERS" if server.problem else "API answers") if server.answers else "API does not answer"


def _unit(name: str, unit: object) -> str:
    if unit is None:
        return f"{name} not asked"
    active, masked, enabled = (bool(getattr(unit, part)) for part in ("active", "masked", "enabled"))
    return f"{name} {'running' if active else 'down'}" + (", masked" if masked else "" if enabled else ", disabled")


def _database(database: Database) -> str:
    if database.problem:
        return f"can't be asked: {database.problem}"
    words = [_unit("database", database.unit)]
    if database.answers:
        words.append(f"cloud at {database.versions[-1]}" if database.versions else "no CloudStack tables")
    return ", ".join(words)


def _first(found: Situation) -> Iterator[str]:
    for lock in found.state.locks:
        yield f"if the process that locks the state ({lock}) is really gone: pulumi cancel --stack {found.stack}"
    confirmed = list(found.confirmed_down)
    for server in (*found.original, *found.new):
        if server.silent:
            place, confirmed = len(confirmed), [*confirmed, server.name]
            yield (
                f"bring {server.name} back; or switch it off yourself, and say so "
                f"(pulumi config set --path 'window.confirmedDown[{place}]' {server.name} --stack {found.stack}): {server.problem}"
            )
        elif server.problem:
            yield f"bring {server.name} back: {server.problem}"
    if found.alone:
        yield (
            f"bring {found.alone} back, which has a copy of the record; or, where it is gone for good or powered off, confirm it "
            f"(pulumi config set --path 'window.confirmedDown[{len(confirmed)}]' {found.alone} --stack {found.stack}): no command changes anything before"
        )
    if _left_in_state(found):
        yield (
            "the state still has steps of a window that is closed, and no command goes forward over them; have it follow: "
            + follow(found.stack)
        )
    if found.record is not None and not found.record.closed and not found.mine:
        yield f"get the state and the stack file of stack {found.record.stack}; its window was opened by {found.record.holder}"
        yield (
            f"or, where that state is lost, roll the window back: parallel-build back {found.stack} --window {found.record.identity}; "
            f"or tie this state to it: parallel-build recover {found.stack} --adopt {found.record.identity}"
        )


def _forward(found: Situation, serving: str) -> str:
    if _not_ours(found):
        return ""
    if found.record is not None and not found.record.closed and found.record.returning:
        return "refused until the rollback that has begun has finished; after that a new window can be opened"
    if serving == "new" and found.record is not None and found.record.switched and _complete(found):
        left = found.state.steps.get(ROUTERS, DONE) != DONE
        return f"parallel-build routers {found.stack}   (renews the routers that are left, users in meanwhile)" if left else ""
    words = f"pulumi config set phase switched --stack {found.stack} && pulumi up --stack {found.stack}"
    if found.record is not None and not found.record.closed:
        if not found.record.switched and found.seconds_left is not None and found.seconds_left <= 0:
            words = f"pulumi config set --path window.deadline LONGER --stack {found.stack} && {words}"
        return f"{words}   (resumes where it stopped)"
    return f"{words}   (opens the window)"


def _back(found: Situation, runs: str) -> str:
    if _not_ours(found):
        return "only with the stack and state that hold the window"
    if found.record is None or found.record.closed:
        return "" if runs == "original" else follow(found.stack)
    if found.record.retired:
        return "refused: the stack is retired (window.forceRollback overrules it; what users did since is lost)"
    if found.original_database.problem and found.replica_lacks is not None and not found.record.facts.get("Promoted"):
        if found.replica_lacks:
            return f"only once {found.original_database.name} is back: its replica can't take its place, it lacks what can't be made up: {found.replica_lacks}"
        return f"parallel-build back {found.stack} --from-replica   (the original's replica takes its source's place, it has everything)"
    if found.record.returning and not (found.state.problem or "window" not in found.state.steps):
        return f"parallel-build back {found.stack}   (resumes where it stopped)"
    if found.state.problem or "window" not in found.state.steps:
        return f"parallel-build back {found.stack} --without-pulumi   (the state does not know the window; its record does)"
    lost = "; what users changed since the switch is lost" if found.record.switched else "; nothing is lost"
    return f"{follow(found.stack)}   (the original serves again{lost})"


def has_window_steps(state: StackState) -> bool:
    """Whether the state has steps of a window, as done or half done."""
    return any(name in state.steps for name in SHOWN)


def _left_in_state(found: Situation) -> bool:
    """Whether the state has steps of a window that was rolled back without Pulumi."""
    return found.record is not None and bool(found.record.closed) and has_window_steps(found.state)


def _not_ours(found: Situation) -> bool:
    return found.record is not None and not found.record.closed and not found.mine


def _complete(found: Situation) -> bool:
    """Whether every step is done; the last one may have left routers to `routers`, and a window that an earlier version opened has no such step."""
    done = all(found.state.steps.get(name) == DONE for name in ORDER if name != ROUTERS)
    part = found.record is None or STEP in found.record.steps
    return done and (not part or ROUTERS in found.state.steps)

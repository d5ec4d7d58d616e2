"""What stands before the original, turned by the operator's own commands: closed, led to the new side, and led back to the original.

On record with its commands before the first of them runs, by place: a front on two machines is turned on both, or a failover between them would undo it.
What the record has is led back, whatever the configuration says by then; where it still has the same door, its commands count, since an operator may
have had to correct one.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from parallel_build.configuration import Frontend, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, ParallelBuildError, StepFailed
from parallel_build.operations.asked_cloud import may_write
from parallel_build.operations.confirmed_down import command as confirm
from parallel_build.operations.context import Context
from parallel_build.operations.run_here import run_here
from parallel_build.records.front_place import CLOSED, HERE, NEW_SIDE, FrontPlace, places_of
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.parallel import Workers
from parallel_build.secret import mask

STEP = "Frontend"  # under this name the window's record has the places that were turned
Stands = Literal["users", "database"]
USERS: Stands = "users"
DATABASE: Stands = "database"
Failures = dict[str, ParallelBuildError]
SHOWN = 5  # lines of what a command printed that are shown
# The keys of the configuration by where a command leads, for plans and messages.
TO_ORIGINAL = "original"
KEYS = {CLOSED: "close", NEW_SIDE: "toNew", TO_ORIGINAL: "toOriginal"}


def close(context: Context, records: WindowStore, before: Stands) -> None:
    """Have nobody come through to the original any more; what is closed already stays as it is.

    Raises:
        StepFailed: a place could not be closed.
    """
    if not any(door.turned and door.stands_before == before for door in context.configuration.original.frontend):
        return
    wanted = [each for each in _places(context, records).values() if each.before == before and not (each.leads == CLOSED and each.done)]
    wanted = _there(context, wanted)
    if failed := _turn(context, records, wanted, CLOSED, forward=True):
        name = next(each.name for each in wanted if each.mark in failed)
        off = confirm(context.configuration, context.site.stack, name) if name != HERE else ""
        raise StepFailed(
            f"what stands before the original's {before} is not closed: {'; '.join(_in_words(wanted, failed))}",
            "who comes that way would still be led to the original",
            "correct the machine, or `close` (or its `timeout`) in original.frontend, then `pulumi up`; going back opens what was closed"
            + (f"; a machine that is off for good: {off}" if off else ""),
        )


def to_new(context: Context, records: WindowStore) -> list[str]:
    """Lead to the new side; what leads there already stays as it is.

    Returns:
        places that do not lead there yet, in words: one of those that users may come by is enough to let them in.
    Raises:
        StepFailed: there is no way in for users by a door that has one.
    """
    known = _places(context, records)
    wanted = _there(context, [each for each in known.values() if each.to_new and not (each.leads == NEW_SIDE and each.done)])
    failed = _turn(context, records, wanted, NEW_SIDE, forward=True)
    for title in {each.title for each in wanted if each.before == USERS}:
        places = [each for each in known.values() if each.title == title and each.before == USERS]
        leading = [each for each in places if (each in wanted and each.mark not in failed) or (each.leads == NEW_SIDE and each.done)]
        if not leading and any(each.mark in failed for each in places):
            raise StepFailed(
                f"users can't come to the new side by {title}: {'; '.join(_in_words(places, failed))}",
                "no command of original.frontend has led it there",
                "correct the machine, or `toNew` in original.frontend, then `pulumi up`",
            )
    left = _in_words(wanted, failed)
    for words in left:
        context.progress(f"does not lead to the new side yet: {words}")
    return left


def close_on_new(context: Context, records: WindowStore, before: Stands | None = None) -> None:
    """Close what leads to the new side, before that is left; what fails is shown, since the new side is fenced all the same.

    Args:
        before: only what stands before that.
    """
    wanted = [each for each in _places(context, records).values() if each.leads == NEW_SIDE and before in (None, each.before)]
    for words in _in_words(wanted, _turn(context, records, _there(context, wanted), CLOSED, forward=False)):
        context.progress(f"still leads to the new side: {words}")


def to_original(context: Context, records: WindowStore, before: Stands, shown: Callable[[], str] = str) -> list[str]:
    """Lead to the original again what this window has turned; nothing happens where it has turned nothing.

    Args:
        shown: asked when the commands have ended: why what they say is not believed, "" where it is.
    Returns:
        places that do not lead there yet, in words; they stay on record.
    """
    on_record = places_of(records.facts(STEP))
    wanted = [each for mark, each in _places(context, records).items() if mark in on_record and each.before == before]
    if not wanted:
        shown()
        return []
    _keep(records, {each.mark: replace(on_record[each.mark], done=False) for each in wanted}, forward=False)
    there = _there(context, wanted)
    context.intend("lead to the original again", places=[each.mark for each in there])
    failed: dict[str, object] = {**_run(context, there, TO_ORIGINAL)}
    if doubt := shown():
        failed |= {each.mark: doubt for each in there if each.mark not in failed}
    _keep(records, {each.mark: None for each in wanted if each.mark not in failed}, forward=False)
    left = _in_words(there, failed)
    for words in left:
        context.progress(f"does not lead to the original yet: {words}")
        context.run.record("front not turned", step=context.step, error=words)
    return left


def declared(configuration: StackConfiguration) -> bool:
    """Whether there is something that users come by and a window turns."""
    return any(door.turned and door.stands_before == USERS for door in configuration.original.frontend)


def are_closed(records: WindowStore) -> bool:
    """Whether the window has closed something that users come by."""
    return any(each.before == USERS and each.leads == CLOSED for each in places_of(records.facts(STEP)).values())


def doubt(records: WindowStore, leads: str) -> None:
    """What was run before users, ended well and has not shown counts as not done: the next try runs it again, as the stack file has it by then."""
    places = places_of(records.facts(STEP))
    doubted = {
        mark: replace(each, done=False) for mark, each in places.items() if each.before == USERS and each.leads == leads and each.done
    }
    if doubted:
        _keep(records, doubted, forward=False)


def in_words(record: WindowRecord) -> list[str]:
    """What the record has of it, for people."""
    leads = {CLOSED: "is closed", NEW_SIDE: "leads to the new side"}
    return [
        f"{each.title} on {each.name} {leads.get(each.leads, each.leads)}" + ("" if each.done else " (begun, and not seen to its end)")
        for each in places_of(record.facts.get(STEP, {})).values()
    ]


def plan(configuration: StackConfiguration, leads: str, before: Stands | None = None) -> list[str]:
    """What is run, where, for the change review.

    Args:
        leads: CLOSED, NEW_SIDE or TO_ORIGINAL.
        before: of what stands before that alone.
    """
    return [
        f"{_where(door)}: {shlex.join(words)} ({door.title}{f', which {door.moved_by} moves' if door.moved_by else ''}; "
        f"original.frontend, {KEYS[leads]})"
        for door in configuration.original.frontend
        if (words := _command(door, leads)) and before in (None, door.stands_before)
    ]


def _where(door: Frontend) -> str:
    names = [*(host.name for host in door.hosts), *door.servers]
    return f"on {', '.join(names)}, at the same time" if names else "run here"


def _command(door: Frontend | FrontPlace, leads: str) -> Sequence[str]:
    return {CLOSED: door.close, NEW_SIDE: door.to_new, TO_ORIGINAL: door.to_original}[leads]


def _configured(context: Context) -> Iterator[FrontPlace]:
    originals = {server.name: server for server in context.configuration.original_servers()}
    hidden = context.site.hidden()
    for door in context.configuration.original.frontend:
        if not door.turned:
            continue
        words = (*door.close, *door.to_new, *door.to_original)
        sealed = any(mask(word, hidden) != word for word in words)
        machines = [*door.hosts, *(originals[name] for name in door.servers)]
        for machine in (*machines, *([] if machines else [None])):
            place = FrontPlace.of(door, machine, context.site.host_key(machine) if machine else None)
            yield replace(place, sealed=sealed)


def _places(context: Context, records: WindowStore) -> dict[str, FrontPlace]:
    """The configured ones with what was done there, and those that only the record has."""
    on_record = places_of(records.facts(STEP))
    configured = {each.mark: each.as_recorded(on_record[each.mark]) if each.mark in on_record else each for each in _configured(context)}
    return {**on_record, **configured}


def _there(context: Context, places: Iterable[FrontPlace]) -> list[FrontPlace]:
    """Without machines that the operator has confirmed to be off."""
    found, off = list(places), context.configuration.confirmed_down
    for each in found:
        if each.name in off:
            context.progress(f"{each.title} on {each.name}, which is confirmed to be down, stays as it is")
    return [each for each in found if each.name not in off]


def _turn(context: Context, records: WindowStore, wanted: Sequence[FrontPlace], leads: str, *, forward: bool) -> Failures:
    """Run a command at places where it has not ended well yet; what failed, by mark."""
    if not wanted:
        return {}
    context.intend("turn what stands before the original", leads=leads, places=[each.mark for each in wanted])
    known = {each.mark: replace(each, leads=leads, done=False) for each in wanted}
    _keep(records, known, forward=forward)  # before it runs: half a command is undone by its reverse as a whole one is
    failed = _run(context, wanted, leads)
    _keep(records, {mark: replace(each, done=True) for mark, each in known.items() if mark not in failed}, forward=False)
    return failed


def _keep(records: WindowStore, places: Mapping[str, FrontPlace | None], *, forward: bool) -> None:
    """Each place by itself: what stands before users and what stands before the database may be turned at the same time."""
    records.note({STEP: {mark: each.document() if each else None for mark, each in places.items()}}, forward=forward)


def _run(context: Context, places: Sequence[FrontPlace], leads: str) -> Failures:
    """On every machine at the same time; of several doors on one machine one after the other, since their programs may write the same files."""
    machines: dict[str, list[FrontPlace]] = {}
    for each in places:
        machines.setdefault(each.name, []).append(each)
    with Workers(len(machines), context.cancel) as pool:
        futures = [pool.submit(_run_on, context, there, leads) for there in machines.values()]
        return {mark: error for future in futures for mark, error in future.result().items()}


def _run_on(context: Context, places: Sequence[FrontPlace], leads: str) -> Failures:
    failed: Failures = {}
    for each in places:
        context.cancel.check()
        try:
            _run_at(context, each, leads)
        except (ConnectionFailed, CommandFailed, StepFailed) as error:
            failed[each.mark] = error
    return failed


def _run_at(context: Context, place: FrontPlace, leads: str) -> None:
    words = _command(place, leads)
    if not words:
        raise StepFailed(
            f"{place.name}: the command is not on record",
            "it held a sealed value, which the record must not have, and original.frontend does not have this door any more",
            f"put {place.title} back into original.frontend as it was",
        )
    context.progress(f"{place.name}: {shlex.join(words)}")
    server = place.server
    if server is not None:
        done = context.host(server).run(words, timeout=place.timeout)
        printed = f"{done.stdout}\n{done.stderr}"
    else:
        may_write(context)
        printed = run_here(words, place.timeout, "original.frontend", context.cancel)
    for line in printed.strip().splitlines()[-SHOWN:]:
        context.progress(f"{place.name} says: {line}")


def _in_words(places: Sequence[FrontPlace], failed: Mapping[str, object]) -> list[str]:
    return [f"{each.title} on {each.name}: {failed[each.mark]}" for each in places if each.mark in failed]

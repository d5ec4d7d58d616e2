"""When users are let in on the new side, settled with the switch; and taking them out of it again before it is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from parallel_build.configuration import StackConfiguration
from parallel_build.errors import GuardFailed
from parallel_build.operations import frontends, user_firewall, users_out
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.fence_new_side import fence_new_side
from parallel_build.records.front_place import NEW_SIDE
from parallel_build.records.run_folder import now
from parallel_build.records.window import WindowRecord
from parallel_build.remote.parallel import Workers

STEP = "UsersIn"  # under this name the window's record has it
ACCEPTANCE = "Acceptance"

# When: as soon as the first server answers and its hosts are connected; after the system VMs and the acceptance tests; after the last router wave.
Point = Literal["first", "accepted", "routers"]


def configured(configuration: StackConfiguration) -> Point:
    """What the configuration says."""
    return "routers" if configuration.routers.until_renewed == "wait" and not configuration.move else configuration.window.users_in


def planned(configuration: StackConfiguration, point: Point) -> list[str]:
    """What `admit` does at a point, for the plan of the step that comes to it; nothing where users are let in at a different one."""
    if configured(configuration) != point:
        return []
    why = "; window.usersIn: first" if point == "first" else ""
    words = [f"users in on the new side (method {configuration.window.user_access.method}{why})"] if point != "routers" else []
    return [*words, *frontends.plan(configuration, NEW_SIDE)]


def earlier_version(record: WindowRecord) -> bool:
    """Whether users were let in by a version of this project in which everything, routers included, was renewed before that."""
    return not record.facts.get(STEP) and bool(record.facts.get(ACCEPTANCE, {}).get("accepted"))


def settle(context: Context) -> Point:
    """The point of this window: what the configuration says when the new side is switched to; a later change does nothing."""
    records = store(context)
    known = records.facts(STEP).get("point")
    if known is None:
        known = configured(context.configuration)
        records.remember(STEP, point=known)
    return cast(Point, known)


def wait_still(record: WindowRecord) -> bool:
    """Whether users are neither in nor will be let in by the router waves themselves."""
    known = record.facts.get(STEP, {})
    return not known.get("at") and (known.get("point") != "routers" or not record.facts.get(ACCEPTANCE, {}).get("passed"))


def are_in(context: Context) -> bool:
    """Whether users have been let in on the new side."""
    record = store(context).mine()
    return bool(record.facts.get(STEP, {}).get("at") or record.facts.get(ACCEPTANCE, {}).get("accepted"))


def since(facts: Mapping[str, Any]) -> str:
    """From when on users may have called; empty while they are out. The first of them call before it is proved that they are in.

    Args:
        facts: what the record has under `STEP`.
    """
    return str(facts.get("opening") or facts["at"]) if facts.get("at") else ""


def admit(context: Context, point: Point) -> None:
    """Let users in, where this is the point for it and they are not in yet."""
    if settle(context) != point or are_in(context):
        return
    _not_held(context)
    context.intend("users in on the new side", point=point)
    store(context).note({STEP: {"opening": now()}}, forward=True)
    user_firewall.admit_on_new(context)
    store(context).remember(STEP, at=now())


def led(context: Context) -> str:
    """Lead to the new side what could not be led there when users were let in; what still does not, in words, "" where nothing is left."""
    return (
        f"does not lead to the new side yet: {'; '.join(left)}"
        if are_in(context) and (left := frontends.to_new(context, store(context)))
        else ""
    )


def _not_held(context: Context) -> None:
    """Rule: a window whose hold point came before users in, by the order of the version that opened it, is still held there.

    Raises:
        GuardFailed: it is.
    """
    held, order = context.configuration.window.stop_before, store(context).mine().steps
    if held in order and ACCEPTANCE in order and order.index(held) < order.index(ACCEPTANCE):
        raise GuardFailed(
            f"window.stopBefore is {held}, which came before users in when this window was opened; by now it comes after it",
            "an earlier version of this project opened the window, in another order of its last steps",
            "remove window.stopBefore to let users in, or set it to Acceptance to hold here",
        )


def leave(context: Context, *, always: bool = False) -> None:
    """Users out of the new side, and all its servers fenced, at the same time: the first thing that an undo does, whichever step it begins with.

    Nothing where users were never in there, or have been taken out before. On a rollback that is ahead of the state users may be in on the original
    already: a load balancer's command would put them out there.

    Args:
        always: also where nothing is on record of users who were let in: an earlier version of this project wrote it down only afterwards.
    """
    record = store(context).read()
    if record is None or record.closed:
        if always:
            close(context)
        return
    if record.facts.get(STEP, {}).get("left"):
        return
    known = record.facts.get(STEP, {})
    if record.ahead:
        fence_new_side(context, insist=False)
    elif always or known.get("opening") or known.get("at") or record.facts.get(ACCEPTANCE, {}).get("accepted"):
        close(context)
    else:
        return
    store(context).remember(STEP, left=now())


def close(context: Context) -> None:
    """Users out of the new side and its servers fenced, whatever is on record.

    All its servers at once: the undos of the steps that started them would do it one after the other, and the original waits for each.
    """
    users_out.note_out(context)
    with Workers(2) as pool:
        both = [
            pool.submit(user_firewall.close_on_new, context),
            pool.submit(fence_new_side, context, insist=False),
        ]
    for each in both:
        each.result()

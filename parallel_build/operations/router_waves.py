"""The router waves of the new side: what is left, one run over it, and what is on record of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from parallel_build.cloudstack import router_networks, systemvms
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.router_networks import Key, Patch, RouterNetwork, Survey
from parallel_build.durations import duration
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations import deadline, original_numbers, router_minimum, users_in
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession, new_database, store
from parallel_build.operations.renew_router import Restarter
from parallel_build.operations.restart_waves import WaveRun
from parallel_build.operations.router_plan import PlannedWave, waves
from parallel_build.operations.users_in import STEP as USERS_IN
from parallel_build.records.run_folder import now
from parallel_build.records.waves import LONGEST, NETWORK, ROUTERS, VPC, WaveState, begun_change, wave_change

SHOWN = 5  # names in a sentence


@dataclass
class Result:
    """How the waves stand after a run.

    Attributes:
        total, done: networks that take part, and those that are renewed.
        left: names of those that are not, failed ones included; `accepted` ones are no longer expected.
        failed: name and cause.
        idle: how many were left alone.
        closed: how many of them have a router that runs in each disabled zone.
        why: why the run has ended before the last wave.
        opens: when the hours begin again, in words; empty where no hours keep anything waiting.
        refused: jobs of users that CloudStack has refused since they were let in, because a router was old.
    """

    total: int = 0
    done: int = 0
    left: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    idle: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    why: str = ""
    opens: str = ""
    refused: int = 0

    def words(self, stack: str) -> str:
        """For the operator."""
        text = f"{self.done} of {self.total} networks renewed"
        if not self.left:
            return text + (f", {len(self.accepted)} accepted as they are" if self.accepted else "") + self._closed_words(stack)
        text = f"{len(self.left)} of {self.total} networks left"
        if self.opens:
            text += f", next at {self.opens}"
        if self.failed:
            shown = [f"{name}: {cause}" for name, cause in list(self.failed.items())[:SHOWN]]
            text += f". {len(self.failed)} failed: {'; '.join(shown)}" + (" ..." if len(self.failed) > SHOWN else "")
        if self.why:
            text += f". {self.why}"
        retry = " --retry" if (self.failed and len(self.failed) == len(self.left)) or "is stopped" in self.why else ""
        return f"{text}. Next: parallel-build routers {stack}{retry}"

    def _closed_words(self, stack: str) -> str:
        """Nobody can renew these now, so they keep nothing waiting."""
        if not self.closed:
            return ""
        found = ", ".join(f"{count} in zone {zone}" for zone, count in self.closed.items())
        return (
            f". Left alone, since CloudStack makes no routers there: {found}. Once such a zone is enabled: parallel-build routers {stack}"
        )

    def document(self) -> dict[str, object]:
        """As evidence; names only of what failed or was accepted."""
        return {
            "networks": self.total, "renewed": self.done, "left": len(self.left), "failed": self.failed, "accepted": self.accepted,
            "idle, left alone": self.idle, "refused calls": self.refused, "why it ended": self.why,
            **({"in disabled zones": self.closed} if self.closed else {}),
        }  # fmt: skip


def look(context: Context, cloud: Cloud, database: OpenSession) -> Survey:
    """What there is now."""
    state = WaveState.of(store(context).facts(ROUTERS))
    begun = {(NETWORK, number) for number in state.begun(NETWORK)} | {(VPC, number) for number in state.begun(VPC)}
    return router_networks.survey(cloud, database(), systemvms.required_release(database()), begun, _patch(context, state))


def _patch(context: Context, state: WaveState) -> Patch | None:
    """What counts as patched, where that was asked for; nothing does before it is on record which scripts routers had."""
    if context.configuration.routers.renew != "livePatch" or state.scripts is None:
        return None
    version, first = context.configuration.new.version, context.configuration.new.management[0]
    return Patch(version, frozenset(state.scripts), systemvms.own_scripts(context.host(first), version))


def _note_scripts(context: Context, found: Survey) -> None:
    """Before the first router is patched: what the scripts of those are that are to be."""
    records = store(context)
    if context.configuration.routers.renew != "livePatch" or WaveState.of(records.facts(ROUTERS)).scripts is not None:
        return
    scripts = {str(router.get("scriptsversion") or "") for network in found.old for router in network.routers}
    records.note(wave_change(scripts=sorted(scripts - {""})), forward=True)


def planned(context: Context, found: Survey) -> list[PlannedWave]:
    """The waves, of all that take part: their numbers stay as they are while networks are done."""
    return waves(found.all, context.configuration.routers)


class _Orders:
    """What the new side's waves do with a network."""

    def __init__(self, context: Context, restarter: Restarter, database: OpenSession, limit: float | None) -> None:
        self.context, self.restarter, self.database, self.limit = context, restarter, database, limit
        self.records = store(context)
        self.state = WaveState.of(self.records.facts(ROUTERS))
        self.since = users_in.since(self.records.facts(USERS_IN))
        self.began = time.monotonic()

    def may_begin(self, usual: float) -> str:
        """Asked right before each: of a pause, a rollback, a later run, the hours and the time that is left."""
        record = deadline.not_going_back(self.context)
        self.state = WaveState.of(record.facts.get(ROUTERS, {}) if record is not None else {})
        section = self.context.configuration.routers
        if self.state.paused:
            return f"paused since {self.state.paused} (parallel-build routers {self.context.site.stack} --pause)"
        if section.hours is not None and not section.hours.open_at(datetime.now(UTC)):
            return "outside of routers.hours"
        if self.limit is not None and time.monotonic() - self.began + usual > self.limit:
            return f"routers.withUp, {duration(self.limit)}, has no room for another"
        return ""

    def wanted(self) -> Collection[Key]:
        """Networks in which users work, where CloudStack refuses them until the router is renewed."""
        if not self.since or self.context.configuration.routers.until_renewed != "first":
            return ()
        return router_networks.wanted(self.database(), as_cloudstack(self.since))

    def beginning(self, network: RouterNetwork, following: Sequence[RouterNetwork]) -> None:
        """In one write with those that come next: a network that is on record and was not restarted costs a rollback nothing."""
        if network.number in self.state.begun(network.kind):
            return
        both = (network, *following)
        change = begun_change(self.state, [each.key for each in both], [each.key for each in both if self.restarter.patches(each)])
        self.state = WaveState.of(self.records.note(change, forward=True).facts[ROUTERS])
        self.context.acted = True

    def restart(self, network: RouterNetwork) -> None:
        self.restarter.renew(network)

    def ended(self, network: RouterNetwork, cause: str) -> None:
        """Only failures have names on record."""
        known = self.state.failed
        if not cause and network.label not in known:
            return
        failed = {label: entry for label, entry in known.items() if label != network.label}
        if cause:
            tries = int(known.get(network.label, {}).get("tries", 0)) + 1
            failed[network.label] = {"name": network.name, "cause": cause[:LONGEST], "tries": tries}
        self.state = WaveState.of(self.records.note(wave_change(failed=failed)).facts[ROUTERS])


def as_cloudstack(moment: str) -> str:
    """A time of the record as CloudStack writes its own: UTC, without a zone."""
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def run(context: Context, *, limit: float | None = None, only: int | None = None) -> Result:
    """Restart what is left, as far as it goes.

    Args:
        limit: seconds after which nothing is begun any more.
        only: number of the one wave that is wanted; a canary that was not good yet comes first.
    Raises:
        GuardFailed: a rollback has begun. Fenced: a later run has taken over. Cancelled: stopping was asked for; nothing new was begun.
    """
    cloud, section = asked(context, Cloud.new(context.site)), context.configuration.routers
    with contextlib.ExitStack() as stack:
        database = OpenSession(new_database(context), stack)
        release = systemvms.required_release(database())
        found = look(context, cloud, database)
        _note_scripts(context, found)
        patch = _patch(context, WaveState.of(store(context).facts(ROUTERS)))
        restarter = Restarter(
            context, cloud, OpenSession(new_database(context), stack), release, router_networks.under_way(database()), patch
        )
        orders = _Orders(context, restarter, database, limit)
        plan = planned(context, found)
        _is_planned(context, plan, only)
        if orders.state.stopped:
            return _result(context, found, found, database, orders.state.stopped)
        chosen = [wave for wave in plan if only is None or wave.number == only or (wave.number == 0 and not orders.state.canary)]
        spent = {label for label, entry in orders.state.failed.items() if int(entry.get("tries", 0)) >= section.tries}
        open_ = {each.key for each in found.old if each.label not in spent and not each.is_named(section.accepted)}
        walk = WaveRun(
            chosen, open_, orders, at_once=context.configuration.window.parallel_restarts, tries=section.tries,
            cancel=context.cancel, progress=context.progress,
        )  # fmt: skip
        outcome = walk.run()
        if outcome.done or outcome.failed:
            original_numbers.note(context)
        if outcome.stopped:
            orders.records.note(wave_change(stopped=outcome.why))
        elif 0 in outcome.passed and not orders.state.canary:
            orders.records.note(wave_change(canary=True))
        result = _result(context, found, look(context, cloud, database), database, outcome.why)
        orders.records.note(wave_change(done=result.done, total=result.total))
        if not result.left:
            router_minimum.put_back(context)
        return result


def _is_planned(context: Context, plan: Sequence[PlannedWave], only: int | None) -> None:
    numbers = [wave.number for wave in plan]
    if only is not None and only not in numbers:
        raise GuardFailed(
            f"there is no wave {only}",
            f"the waves of this stack are {numbers[0]} to {numbers[-1]}" if numbers else "no network takes part, so there are no waves",
            f"parallel-build routers {context.site.stack} --plan numbers them; nothing was begun",
        )


def let_users_in(context: Context, result: Result) -> None:
    """Users in, where they have waited for the waves: those that could not be renewed are listed, and keep nobody else out.

    Raises:
        StepFailed: the waves have been stopped or paused, so that most networks may still be old.
    """
    if users_in.settle(context) != "routers" or users_in.are_in(context):
        return
    if result.why:
        raise StepFailed(
            f"users are still out: {result.why}",
            "routers.untilRenewed is wait, and the waves have not come to their end",
            f"remove the cause, then: parallel-build routers {context.site.stack} --retry; or go back: parallel-build back {context.site.stack}",
        )
    users_in.admit(context, "routers")


def standing(context: Context) -> Result:
    """How the waves stand; changes nothing."""
    cloud = Cloud.new(context.site)
    with contextlib.ExitStack() as stack:
        database = OpenSession(new_database(context), stack)
        found = look(context, cloud, database)
        return _result(context, found, found, database, WaveState.of(store(context).facts(ROUTERS)).stopped)


def _result(context: Context, before: Survey, after: Survey, database: OpenSession, why: str) -> Result:
    section = context.configuration.routers
    records = store(context)
    state, since = WaveState.of(records.facts(ROUTERS)), users_in.since(records.facts(USERS_IN))
    accepted = [each.name for each in after.old if each.is_named(section.accepted)]
    failed = {label: entry for label, entry in state.failed.items() if label in {each.label for each in after.old}}
    hours = section.hours
    closed = hours is not None and not hours.open_at(moment := datetime.now(UTC))
    return Result(
        total=len(after.all),
        done=len(after.renewed),
        left=[each.name for each in after.old if each.name not in accepted],
        accepted=accepted,
        failed={str(entry.get("name")): str(entry.get("cause")) for entry in failed.values()},
        idle=len(before.idle),
        closed=after.closed,
        why=why,
        opens=f"{hours.next_opening(moment):%Y-%m-%d %H:%M} {hours.time_zone}" if hours is not None and closed else "",
        refused=router_networks.refused_calls(database(), as_cloudstack(since)) if since else 0,
    )


def pause(context: Context, *, on: bool) -> None:
    """Have nothing new begun, by whichever run; or let it be begun again. Takes no run's place."""
    store(context).note(wave_change(paused=now() if on else None))


def retry(context: Context) -> None:
    """Forget failures and the stop that they led to, so that they are tried again."""
    store(context).note(wave_change(failed={}, stopped=None, paused=None))

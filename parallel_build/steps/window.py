"""Window: opened when every guard holds; its undo converges to "the original serves"."""

from __future__ import annotations

from typing import Any

from parallel_build import guards
from parallel_build.cloudstack.agents import ASIDE, put_aside
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import StackConfiguration
from parallel_build.durations import duration
from parallel_build.errors import RollbackIncomplete
from parallel_build.machines import made_guest
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.operations import (
    after_rollback,
    bring_files,
    created_objects,
    fence_new_database,
    forensics,
    left_guests,
    new_routers,
    prove_makeable,
    serve_original,
    transfer,
)
from parallel_build.operations.await_guards import AT_REST, await_guards
from parallel_build.operations.confirmed_down import left_behind
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, original_database, schemas, store
from parallel_build.operations.fence_new_side import cut_off, fence_new_side, switched_off
from parallel_build.operations.new_objects import Created, highest_ids, since_window
from parallel_build.operations.renew_on_original import renew_on_original
from parallel_build.operations.takeover import make_ready
from parallel_build.records.rehearsal import in_review
from parallel_build.records.window import WindowRecord
from parallel_build.remote.frame import FOLDER
from parallel_build.remote.sql import session
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class Window(SwitchedStep):
    """Guards, lock against a second operator, snapshot of what exists."""

    type = "Window"
    summary = "the window opens"
    opens_window = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Check, lock, note."""
        window = configuration.window
        return [
            *in_review(configuration),
            f"check {len(guards.GUARDS)} guards on both sides; any that fails ends here with nothing changed",
            f"{AT_REST}, users still in",
            f"{prove_makeable.words(configuration)}; users still in",
            *bring_files.proof(configuration),
            f"lock the cloud for this stack: {FOLDER}/window.json on {configuration.original.database.source.name}",
            "note what exists: VMs, volumes, networks, snapshots, accounts, users, and which hosts are Up",
            f"limits: new management started within {duration(window.deadline)}; going back within {duration(window.rollback_window)} of the switch",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Converge."""
        names = [machine.name for machine in configuration.new.management]
        texts = "logs, journals and the state"
        kept = {
            "failed": f"{texts} (and, where its upgrade has failed, a dump)", "logs": texts, "dump": "logs, journals, the state and a dump",
        }.get(configuration.window.forensics)  # fmt: skip
        return [
            f"whatever steps had run: {', '.join(names)} fenced, their database closed; original MySQL, then management and usage "
            "enabled, started, answering; users in",
            "remove system VMs that the new side made from KVM hosts, renew the original's where they are gone, users in meanwhile",
            "restart the networks whose routers the new side had renewed, a canary first, then in waves; its router of a network goes right before that",
            "report the new side's system VMs and routers that run on where a hypervisor can't be asked, with the commands that remove them",
            "list what users created since the window opened, on record for `parallel-build after-rollback`",
            *([f"keep {kept} of the new side in the run's folder, forensics/, where it had been started"] if kept else []),
            f"open {configuration.new.database.source.name} again: its accounts and its database server as they were found",
            f"empty {', '.join(schemas(configuration))} on {configuration.new.database.source.name} where this window has filled them",
            "release the lock",
        ]

    def apply(self, context: Context) -> Outputs:
        """Guards first: before them nothing is written anywhere."""
        records = store(context)
        held = records.read()
        if held is not None and not held.closed:
            records.check_owner(held)
            if held.facts.get(self.type, {}).get("highest_ids"):
                context.progress("the window is open already, by this stack")
                return {"opened": held.opened, **held.facts[self.type]}
        after_rollback.clear(context)
        holding = await_guards(context)
        prove_makeable.prove_makeable(context)
        bring_files.prove(context)
        if context.configuration.transfer.method == "replicate":
            make_ready(context)
        context.intend("open the window")
        record = records.open()
        with session(original_database(context)) as database:
            ids = highest_ids(database)
        listed = Cloud.original(context.site).list("listHosts", type="Routing")
        hosts = [host for host in listed if host.get("state") == "Up"]
        away = put_aside((host for host in listed if host.get("state") != "Up"), context.configuration.original.hypervisors)
        up = {host["id"]: host["name"] for host in hosts}
        aside = [host["id"] for host in hosts if host.get("resourcestate") in ASIDE]
        waived = context.configuration.rehearsal.waived
        records.remember(
            self.type,
            highest_ids=ids,
            hosts_up=up,
            hosts_aside=aside,
            hypervisors_away=sorted(away),
            guards=holding,
            waived=waived,
            machines=_guests(context),
        )
        context.progress(f"{len(holding)} guards hold, the window is open" + (f", unrehearsed: {waived}" if waived else ""))
        return {"opened": record.opened, "guards": holding, "highest_ids": ids, "hosts_up": up, "waived": waived}

    def verify(self, context: Context) -> Outputs:
        """The guards were for the moment of opening; what was noted then stands."""
        records = store(context)
        return {"opened": records.mine().opened, **records.facts(self.type)}

    def revert(self, context: Context) -> None:
        """Converge, whatever is in the state and whatever is not."""
        records = store(context)
        record = records.read()
        if record is None or record.closed:
            context.progress("no window is open: the original was never touched")
            return
        records.check_owner(record)
        context.intend("converge: the original serves")
        created = since_window(context, new_database(context))
        left_guests.look(context)
        began = bool(record.facts.get("SystemVms", {}).get("renewed"))
        routers = new_routers.NewRouters(context, new_routers.made(context) if began else {}, serve_original.remove_guest)
        fence_new_side(context)
        missing = serve_original.serve_from_original(context)
        kept_out, off = sorted(cut_off(context)), switched_off(context)
        missing += [
            f"{name} of the new side could not be proved down, and is fenced at its database alone: power it off, "
            "and leave the new database servers as they are until then"
            for name in kept_out
        ]
        outcome: dict[str, Any] = {"opened": record.opened, "created": created.items, "unknown": created.unknown}
        if off:
            outcome["keep off"] = off
        context.progress(created.in_words())
        kept = routers.names if began else set[str]()
        if began or left_guests.noted(context):
            context.progress("removing the system VMs of the new side from KVM hosts; its routers stay until their networks are restarted")
            outcome["removed"] = serve_original.tidy_hypervisors(context, keep=kept)
        if began:
            context.progress("renewing the system VMs and routers that the new side had replaced, users in meanwhile")
            outcome |= renew_on_original(context, routers)
            outcome["removed routers"] = serve_original.tidy_hypervisors(context, keep=routers.kept)
        outcome["left running"] = [guest.document() for guest in left_guests.report(context)]
        context.run.keep("tidying", with_earlier(context.run.evidence("tidying"), outcome))
        created_objects.keep(context)
        if not kept_out:  # else its database stays closed to it, until it is down
            _open_database(context, created)
        # Only now: the original serves, and neither what an investigation needs nor the size of a database has kept users waiting.
        forensics.collect_once(context)
        transfer.empty(context)
        if missing:
            raise RollbackIncomplete(
                f"rolled back: the original is in service and users are in, except: {'; '.join(missing)}",
                "these are still down, or could not be put back",
                "bring them back, then run the same command again; the window stays open until then. A server of the original that is gone for good: "
                "add its name to window.confirmedDown; a host that is: put it into maintenance, or take it out of the cloud",
            )
        for words in left_behind(context, record):
            context.progress(words)
        for name, address in sorted(off.items()):
            context.progress(
                f"KEEP {name} ({address}) OFF: it was switched off, not masked, and would serve again when it is switched on. "
                f"Remove it, or mask {MANAGEMENT} and {USAGE} on it without a network"
            )
        records.close()
        context.progress("the original serves; what is left to tidy is in evidence/tidying.json")


def _open_database(context: Context, created: Created) -> None:
    """The new database's accounts and server as they were found, now that nothing of the new side uses them; it keeps no rollback from its end.

    Emptied first: a server that is down without being masked may be switched on at any moment, and must find nothing to serve.
    Args:
        created: what users created on the new side, as far as it is known: one that hung, or was down, is asked before it is emptied.
    """
    record = store(context).mine()
    asked = [not created.unknown]

    def look() -> None:
        if not asked[0]:
            asked[0] = True
            _look_again(context, record)

    def before_accounts() -> None:
        look()
        forensics.collect_once(context)
        transfer.empty(context)

    for words in fence_new_database.lift(context, record, before_accounts):
        context.progress(f"{words}. The next window tries it again")
    look()


def _look_again(context: Context, record: WindowRecord) -> None:
    created = since_window(context, new_database(context))
    context.progress(created.in_words())
    found = {"opened": record.opened, "created": created.items, "unknown": created.unknown}
    context.run.keep("tidying", with_earlier(context.run.evidence("tidying"), found) | {"unknown": created.unknown})
    created_objects.keep(context)


def _guests(context: Context) -> dict[str, dict[str, str]]:
    """What each new machine is to the platform that made it: a rollback from elsewhere can tell whether it asks the right one."""
    found: dict[str, dict[str, str]] = {}
    for machine in context.configuration.new_machines():
        try:
            made = made_guest.look(context.site, machine)
        except MachineFailed as error:
            context.progress(f"a rollback could not cut the power of {machine.name} by its platform: {error}")
            continue
        if made is not None:
            found[machine.name] = made.kept()
    return found


def with_earlier(earlier: dict[str, Any] | None, outcome: dict[str, Any]) -> dict[str, Any]:
    """What is left to tidy, with what an earlier try of the same rollback has found: by now the new databases may be empty.

    Args:
        earlier: the evidence that is there, of this window or of a different one, which counts for nothing.
    """
    if not earlier or earlier.get("opened") != outcome["opened"]:
        return outcome
    return {name: _joined(earlier.get(name), outcome.get(name)) for name in {**earlier, **outcome}}


def _joined(earlier: Any, now: Any) -> Any:
    if isinstance(earlier, dict) and isinstance(now, dict):
        return {name: _joined(earlier.get(name), now.get(name)) for name in {**earlier, **now}}
    if isinstance(earlier, list) and isinstance(now, list):
        return [*earlier, *(item for item in now if item not in earlier)]
    return now or earlier

"""Rehearsal: the upgrade done once on an isolated server with a copy of the original's databases, while the original serves."""

from __future__ import annotations

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.database.copy import account
from parallel_build.database.schema import meanings
from parallel_build.database.server.accounts import USER
from parallel_build.errors import ConfigurationError
from parallel_build.operations import fixes, isolation, original_accounts, rehearsal_server
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, schemas, tolerated
from parallel_build.operations.rehearse import RehearsalRun, fence, machine_of
from parallel_build.records.rehearsal import RehearsalRecord, RehearsalStore, checksums, housekeeping_of, outdated
from parallel_build.remote.sql import quote, session
from parallel_build.steps.base import Step, step


@step
class Rehearsal(Step):
    """Isolated copy, housekeeping, fixes, set-up, schema upgrade, judgement.

    Parameters: `fixes`, `housekeeping`, `old`, `new`: what another rehearsal must be done for.
    """

    type = "Rehearsal"
    phase = Phase.PREPARED
    summary = "the upgrade rehearsed on an isolated copy"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Isolation, copy, changes, start, judgement."""
        rehearsal, original = configuration.rehearsal, configuration.original
        machine = rehearsal.machine
        if machine is None:
            raise ConfigurationError(
                "rehearsal.machine is missing",
                "a rehearsal has a server of its own, out of reach of all others",
                "name the rehearsal's server",
            )
        on = f"on {machine.name} ({machine.address})"
        allowed = f", but to {', '.join(rehearsal.allow)}" if rehearsal.allow else ""
        rate = f", at most {rehearsal.bytes_per_second / 1e6:g} MB/s" if rehearsal.bytes_per_second else ""
        source = (
            f"read {', '.join(f'{path} into {name}' for name, path in rehearsal.dump.items())} {on}"
            if rehearsal.dump
            else f"copy {', '.join(schemas(configuration))} of the running {original.database.source.name} {on}, at one position of its "
            f"log, through SSH connections opened from here{rate}"
        )
        return [
            f"{on}: {rehearsal_server.words(configuration, machine)}",
            f"{on}: nft table {isolation.TABLE}: no connection may be opened to anything{allowed}; {MANAGEMENT} needs it to start",
            f"prove {on} that management servers, databases, hypervisors, storage, mail and what else the original's settings name are out of "
            f"reach{', through the firewall and by the network alone' if rehearsal.isolated_network else ''}",
            source,
            *fixes.words(configuration, machine.name),
            f"{on}: `host` = {machine.address}, mshost rows Down, cloudstack-setup-databases, cloudstack-setup-management --no-start",
            f"{on}: start {MANAGEMENT}, follow the schema upgrade {original.version} -> {configuration.new.version} line by line, judge it as "
            "the window does, stop it",
            "keep versions, fixes, row counts and times: the window's guard demands them",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """The copy goes."""
        machine = configuration.rehearsal.machine
        name = machine.name if machine else "the rehearsal's server"
        return [
            f"on {name}: stop and mask {MANAGEMENT}, drop {', '.join(schemas(configuration))} and user {USER}, take the firewall away; "
            "the record stays",
        ]

    def apply(self, context: Context) -> Outputs:
        """Rehearse."""
        return _evidence(RehearsalRun(context).run())

    def verify(self, context: Context) -> Outputs:
        """Another rehearsal only where the last one failed or was of something else."""
        found = RehearsalStore(original_database(context), context.site)
        last = found.last()
        if last is not None and last.passed and not outdated(context.configuration, last):
            found.mirror()
            return _evidence(last)
        return self.apply(context)

    def revert(self, context: Context) -> None:
        """No copy of the cloud's database is left on the server."""
        if context.configuration.rehearsal.machine is None or not context.configuration.rehearsal.enabled:
            return
        fence(context)
        host = context.host(machine_of(context))
        with tolerated(context, f"the copy on {host.name}"):
            with session(host) as database:
                for name in schemas(context.configuration):
                    database.execute(f"DROP DATABASE IF EXISTS {quote(name)}")
                for row in database.rows("SELECT User AS u, Host AS h FROM mysql.user WHERE User = %s", [USER]):
                    database.execute(f"DROP USER IF EXISTS {quote(row['u'])}@{quote(row['h'])}")
            meanings.forget(host)
            isolation.release(host)
        original_accounts.drop(context, [account.COPY_USER])


def parameters(configuration: StackConfiguration) -> dict[str, object]:
    """What a rehearsal is of: when one of these changes, `pulumi up` rehearses again."""
    return {
        "fixes": checksums(configuration),
        "housekeeping": housekeeping_of(configuration),
        "old": str(configuration.original.version),
        "new": str(configuration.new.version),
    }


def _evidence(record: RehearsalRecord) -> Outputs:
    return {"rehearsal": record.document()}

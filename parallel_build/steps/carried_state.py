"""CarriedState: what `new.carry` names of the original's management servers is on the new ones; what is left behind is listed."""

from __future__ import annotations

import secrets
from functools import partial

from parallel_build.configuration import Phase, Server, StackConfiguration
from parallel_build.errors import CommandFailed, ConnectionFailed, GuardFailed, RollbackIncomplete
from parallel_build.facts import carried
from parallel_build.facts.carried import OPTIONS_FILE
from parallel_build.facts.carried_settings import label
from parallel_build.health import server_files
from parallel_build.operations import carried_settings, carry
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, window_open
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import session
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep


@step
class CarriedState(FoundationStep):
    """Files, JVM options and certificates on every new management server; settings are changed in the copy by step HostSetting."""

    type = "CarriedState"
    phase = Phase.PREPARED
    summary = "state outside the database carried to the new management servers"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Each thing, from where and to where."""
        wanted, source = configuration.new.carry, configuration.carried_from
        originals = (*configuration.original.management, *configuration.original.usage)
        names = " and ".join(machine.name for machine in configuration.new.management)
        lines = [
            f"from {source.name} ({source.address}) to {names}: {each.path}"
            + (f", there as {each.to}" if each.to and each.to != each.path else "")
            for each in wanted.all_files
        ]
        if wanted.ui_configuration:
            lines.append(f"from {source.name} to {names}: config.json of the user interface")
        if wanted.jvm_options:
            lines.append(
                f"on {names}: options of {source.name} that begin with {', '.join(wanted.jvm_options)} into JAVA_OPTS of {OPTIONS_FILE}"
            )
        lines += [f"on {names}: trust certificate {alias} of Java's trust store on {source.name}" for alias in wanted.trust_store]
        lines += [f"in the copy, by step HostSetting: {label(each)} = {each.value}" for each in wanted.settings]
        return [
            *(lines or ["nothing is carried (new.carry)"]),
            f"prove: each file is as on {source.name}; db.properties and the key are never carried",
            f"list what is left on {', '.join(server.name for server in originals)}: files of no package, and settings that name a path or an old server",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Nothing of it stays."""
        names = " and ".join(machine.name for machine in configuration.new.management)
        return [
            f"on {names}: what was carried removed, files of packages put back as they were, certificates trusted no more; no copy stays"
        ]

    def apply(self, context: Context) -> Outputs:
        """Look at everything before the first change, then put it on each server."""
        if window_open(context):
            context.pending = "a window is open: nothing is carried now; the next `pulumi up` in phase prepared does it"
            return {"carried": {}, "left": {}, "settings": []}
        configuration = context.configuration
        source = context.host(configuration.carried_from)
        found = carried.look(configuration, source)
        if found.problems:
            raise GuardFailed("; ".join(found.problems), "it can't be carried", "correct new.carry; nothing has been changed")
        with session(original_database(context)) as database:
            carried_settings.check(database, configuration.new.carry.settings)
            settings = carried_settings.naming(context, database)
        brought = {}
        for machine in configuration.new.management:
            changed = carry.put(context, context.host(machine), source, found)
            # Of options their beginnings: a value may be a password.
            named = {*(file.target for file in found.files), *configuration.new.carry.jvm_options, *found.certificates}
            brought[machine.name] = sorted(named)
            context.progress(f"{machine.name}: {', '.join(changed) if changed else 'everything that is carried is there'}")
        left = self._left(context)
        for name, files in left.items():
            context.progress(f"left on {name}: {', '.join(files)}")
        for each in settings:
            context.progress(f"setting that names a path or an old server: {each}")
        return {"carried": brought, "left": left, "settings": settings}

    def verify(self, context: Context) -> Outputs:
        """As `apply`; under an open window nothing is touched, and what was carried is left as it is."""
        return self.apply(context)

    def revert(self, context: Context) -> None:
        """Take it away on every server.

        Raises:
            RollbackIncomplete: a server that was there already can't be reached: what was carried, which may be a secret, is still on it.
        """
        unreached = []
        for machine in context.configuration.new.management:
            stays = context.configuration.platform_of(machine) == "existing"
            try:
                gone = carry.take_away(context, context.host(machine))
            except (ConnectionFailed, CommandFailed) as error:
                if stays:
                    unreached.append(f"{machine.name}: {error.reason}")
                else:
                    context.progress(
                        f"what was carried to {machine.name} stays until its machine is removed, since it can't be reached: {error}"
                    )
            else:
                context.progress(
                    f"{machine.name}: {len(gone)} carried files taken away" if gone else f"{machine.name}: nothing was carried"
                )
        if unreached:
            raise RollbackIncomplete(
                f"what was carried could not be taken away: {'; '.join(unreached)}",
                "it may be a secret of the original's",
                "restore the connection, then run the same command again",
            )

    @staticmethod
    def _left(context: Context) -> dict[str, list[str]]:
        """Files of the original's servers that no package brought and that no new server has."""
        original = context.configuration.original
        salt, servers = secrets.token_hex(16), [*original.management, *original.usage]
        first = server_files.read(context.host(context.configuration.new.management[0]), salt)
        with Workers(len(servers)) as pool:
            found = pool.map(partial(_own, context, salt), servers)
        return {
            name: kept
            for name, files in found
            if (kept := [path for path in files.own if not (path in files.digests and first.digests.get(path) == files.digests[path])])
        }


def _own(context: Context, salt: str, server: Server) -> tuple[str, server_files.ServerFiles]:
    return server.name, server_files.read(context.host(server), salt)

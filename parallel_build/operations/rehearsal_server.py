"""What a platform puts on the rehearsal's server when it makes it, brought by the step where the server existed before: packages, option file.

On a machine that a platform made all of it is there, and nothing is done.
"""

from __future__ import annotations

from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.configuration.role_packages import REHEARSAL_TOOLS
from parallel_build.database.server.settings import rehearsal_option_file
from parallel_build.database.setup import NewServer
from parallel_build.operations import isolation
from parallel_build.operations.context import Context


def words(configuration: StackConfiguration, machine: NewMachine) -> str:
    """The plan's line."""
    packages = " ".join((*configuration.new.database.packages, *REHEARSAL_TOOLS))
    return f"{packages} installed where they are missing, {rehearsal_option_file(configuration, machine).path} written, database server running"


def make_ready(context: Context, machine: NewMachine) -> None:
    """Install, configure and start the database server, and what the firewall is made of, before the firewall is up.

    CloudStack on the server is stopped and masked by then, so a firewall that an earlier rehearsal left may be down while packages come.
    Raises:
        StepFailed: packages can't be installed, or the database server does not run with its configuration.
    """
    server = NewServer(machine, context.host(machine), context.configuration, context.intend, context.cancel, paired=False)
    packages = server.missing_packages()
    if packages:
        if isolation.there(server.host):
            context.intend(f"{server.host.name}: firewall down while packages are installed")
            isolation.release(server.host)
        context.progress(f"{server.host.name}: installing {' '.join(packages)}")
        server.install()
    written = server.put_files()
    reason = server.bring_up()
    if written or reason:
        done = [f"{', '.join(written)} written"] if written else []
        done += [f"database server restarted: {reason}"] if reason else []
        context.progress(f"{server.host.name}: {'; '.join(done)}")
    context.progress(f"{server.host.name}: {server.prove()} runs with its configuration")

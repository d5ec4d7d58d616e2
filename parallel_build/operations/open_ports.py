"""Whether a server that can't be reached over SSH answers on one of its ports, asked from a server next to it."""

from __future__ import annotations

from parallel_build.configuration import Server
from parallel_build.errors import CommandFailed, ConnectionFailed, StepFailed
from parallel_build.operations.context import Context

OPEN, CLOSED = 0, {1, 124}  # exit codes of the probe; 1: refused or no route, 124: no answer in time
PROBE = 'timeout 5 bash -c "</dev/tcp/$1/$2" 2>/dev/null'


def answers(context: Context, server: Server, ports: list[int]) -> bool:
    """Whether a port of a server is open, asked from the first other server that can be reached: those are on its network, this machine may not be.

    Raises:
        StepFailed: nobody can be asked; that is not silence.
    """
    configuration = context.configuration
    databases = [configuration.original.database.source, configuration.new.database.source]
    others = [*configuration.original.management, *configuration.new.management, *databases]
    for other in others:
        if other.name == server.name or other.address == server.address:
            continue  # the same machine, which would ask itself
        try:
            asker = context.host(other)
            codes = [asker.run(["sh", "-c", PROBE, "sh", server.address, str(port)], ok=None).code for port in ports]
        except (ConnectionFailed, CommandFailed):
            continue
        if OPEN in codes:
            return True
        if set(codes) <= CLOSED:
            return False
    raise StepFailed(
        f"whether {server.name} ({server.address}) answers can't be asked",
        "no other server of the stack can be reached and has bash and timeout, by which a port is tried",
        "restore the connection to one of them, then run the same command again",
    )

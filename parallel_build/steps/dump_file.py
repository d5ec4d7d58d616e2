"""DumpFile: a cold copy of the stopped original's data folder, elsewhere; nothing of the window waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from parallel_build.configuration import StackConfiguration
from parallel_build.errors import Cancelled, CommandFailed, ConnectionFailed, Fenced, ParallelBuildError
from parallel_build.operations import deadline, dump_file, prove_original_down
from parallel_build.operations.context import Context, Outputs
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


def parameters(configuration: StackConfiguration) -> Mapping[str, Any]:
    """What distinguishes one file from another."""
    wanted = configuration.window.dump_file
    return {"server": wanted.server.name, "folder": wanted.folder, "readBack": wanted.read_back} if wanted else {}


@step
class DumpFile(SwitchedStep):
    """Copy, check, read back.

    Parameters: `server`, `folder` and `readBack`.
    """

    type = "DumpFile"
    summary = "cold copy of the original's data folder"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The stream, its proof, and that nobody waits."""
        wanted, source = configuration.window.dump_file, configuration.original.database.source
        if wanted is None:
            return []
        read_back = (
            [
                f"on {wanted.server.name}: start a throw-away database server on it, count every row and compare with the record; "
                "then remove that server's files"
            ]
            if wanted.read_back
            else []
        )
        return [
            f"from {source.name}, which is down, to {wanted.folder} on {wanted.server.name}: its data folder as tar, compressed, with its sha256; "
            "room is proved first",
            *read_back,
            "next to the steps that follow: none of them waits for it; what fails is reported, and `pulumi up` tries it again while the original is down",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """It stays."""
        return ["nothing: the file stays, it is yours"]

    def apply(self, context: Context) -> Outputs:
        """Take it; a failure keeps the window from nothing."""
        wanted = context.configuration.window.dump_file
        if wanted is None:
            return {}
        deadline.not_going_back(context)
        try:
            prove_original_down.prove(context)
            return asdict(dump_file.take(context, wanted))
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            context.pending = f"there is no cold copy of the original yet: {error}. `pulumi up` tries it again while the original is down"
            return {"left": str(error)}

    def verify(self, context: Context) -> Outputs:
        """What was taken stands; where there is none, or the place is a different one by now, the next `up` takes it."""
        wanted = context.configuration.window.dump_file
        if wanted is None:
            return {}
        try:
            note = dump_file.present(context, wanted)
        except (ConnectionFailed, CommandFailed) as error:
            return {"not looked at": str(error)}
        if note is None:
            context.pending = "there is no cold copy of the original there yet: `pulumi up` takes it while the original is down"
        return asdict(note) if note else {}

    def revert(self, context: Context) -> None:
        """The file stays."""

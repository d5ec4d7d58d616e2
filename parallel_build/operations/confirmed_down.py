"""The command by which an operator says that he has switched a server off himself."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.configuration import StackConfiguration


def command(configuration: StackConfiguration, stack: str, name: str, before: Sequence[str] = ()) -> str:
    """The command for one server, to be run as it stands: it keeps the names that are in the list already.

    Args:
        before: further servers whose commands are printed before this one.
    """
    known = [*configuration.window.confirmed_down, *(other for other in before if other not in configuration.window.confirmed_down)]
    return f"pulumi config set --path 'window.confirmedDown[{len(known)}]' {name} --stack {stack}"

"""Where facts come from: a file that `parallel-build facts` wrote, or a stack that is asked now."""

from __future__ import annotations

import json
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConfigurationError
from parallel_build.parity.compare import Facts
from parallel_build.parity.facts import FORM, gather
from parallel_build.project import PROJECT
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.stack.file import read_site


def load(where: str, config_file: Path | None = None) -> Facts:
    """Facts of `where`: a file (its name ends with .json, or there is such a file), else a stack, whose servers are asked now.

    Args:
        where: a path, relative to the working folder or to the project's; or a stack's name.
        config_file: the stack's file, where it is not the checkout's own.
    Raises:
        ConfigurationError: there is neither, or the file was not written by this version.
    """
    for path in (Path(where).expanduser(), PROJECT / where):
        if path.is_file():
            return _from_file(path)
    if where.endswith(".json"):
        raise ConfigurationError(
            f"there is no file {where}",
            "a name that ends with .json is a file of facts, no stack",
            "write it with: parallel-build facts STACK > FILE",
        )
    return read(read_site(where, config_file=config_file))


def read(site: Site) -> Facts:
    """Ask a stack's servers."""
    connections = Connections(site, CancelToken())
    try:
        return gather(site, connections)
    finally:
        connections.close()


def _from_file(path: Path) -> Facts:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read as facts", str(error), "write it with: parallel-build facts STACK > FILE") from None
    if not isinstance(found, dict) or found.get("form") != FORM:
        raise ConfigurationError(
            f"{path} holds no facts of this version's form",
            "another program wrote it, or another version of this one",
            "write it again with: parallel-build facts STACK > FILE",
        )
    return found

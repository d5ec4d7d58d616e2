"""What set-up found, for programs: the same variables as `.environment`, which a shell sources by scripts/environment."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from tools.cache import write_atomically
from tools.errors import ToolError
from tools.golang import program_folder
from tools.pins import VCENTER_SIMULATOR, VSPHERE
from tools.pulumi import PulumiTools

CHECKOUT = Path(__file__).resolve().parent.parent

FILE_NAME = ".environment"


def environment_text(python: Path, pulumi: PulumiTools) -> str:
    """Content of `.environment`: shell `export` lines.

    Args:
        python: the virtual environment's interpreter, absolute.
        pulumi: where Pulumi is.
    """
    folders = os.pathsep.join(map(str, (python.parent, *pulumi.folders)))
    variables = {
        "PULUMI_PYTHON_CMD": str(python),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Where a machine sets it, as images of containers do, every command would compile hundreds of modules again: 7 instead of 2 s to collect the tests.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    if pulumi.home is not None:
        # The plugins are in a home of their own; a self-built CLI must not go looking for others.
        variables |= {"PULUMI_HOME": str(pulumi.home), "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
    lines = ["# Written by scripts/setup; sourced by scripts/environment.", f'export PATH={shlex.quote(folders)}:"$PATH"']
    return "\n".join([*lines, *(f"export {name}={shlex.quote(value)}" for name, value in variables.items())]) + "\n"


def parse_environment(text: str, base: Mapping[str, str]) -> dict[str, str]:
    """Variables that sourcing `text` would leave, starting from `base`; folders are not put on PATH twice."""
    result = dict(base)
    for words in (shlex.split(line, comments=True) for line in text.splitlines()):
        if len(words) != 2 or words[0] != "export":
            continue
        name, _, value = words[1].partition("=")
        if name == "PATH":
            added = [folder for folder in value.split(os.pathsep) if folder != "$PATH"]
            value = os.pathsep.join([*added, *(folder for folder in result.get("PATH", "").split(os.pathsep) if folder not in added)])
        result[name] = value
    return result


def tool_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which `pulumi` and the project's Python are found; the caller's own plus what set-up wrote.

    Raises:
        ToolError: set-up has not been run in this checkout.
    """
    file = CHECKOUT / FILE_NAME
    if not file.exists():
        raise ToolError("this checkout has not been set up", f"{file} is missing", "run scripts/setup")
    return parse_environment(file.read_text(), os.environ if base is None else base)


def write_environment(python: Path, pulumi: PulumiTools) -> Path:
    """Write `.environment` of this checkout; returns its path."""
    file = CHECKOUT / FILE_NAME
    write_atomically(file, environment_text(python, pulumi))
    return file


def vsphere_test_folders() -> list[Path]:
    """Folders of vcsim and of the vSphere test plugin, for PATH of a test. They are never in Pulumi's plugin cache.

    Raises:
        ToolError: they have not been built.
    """
    folders = [program_folder(VCENTER_SIMULATOR), program_folder(VSPHERE)]
    missing = [folder.name for folder in folders if not folder.exists()]
    if missing:
        raise ToolError(f"{', '.join(missing)} not built", "only the vSphere tests need it", "run scripts/setup --for vsphere-test")
    return folders

"""The provider in Pulumi's plugin cache: where it belongs, whether it is there, putting it there."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from parallel_build.errors import ConfigurationError
from parallel_build.release import plugin_version

PROVIDER = "cutover"
PROGRAM = f"pulumi-resource-{PROVIDER}"
ASKED = "PARALLEL_BUILD_ASKED_VERSION"
"""Variable with the version that the engine has asked for: it starts the program in that version's folder, and passes nothing of it to the program."""
INSTALL = "parallel-build plugin install"

WRAPPER = """#!/bin/sh
# Written by `{install}`: the provider of the library that is installed for this Python.
[ -x {python} ] || {{ echo "error: {python} is gone. Cause: this provider runs with it. Remedy: {install}" >&2; exit 1; }}
# -P: the current folder is the operator's project, not a place to import from.
export {asked}={version}
exec {python} -P -m parallel_build.provider.server "$@"
"""


def cache(environment: Mapping[str, str]) -> Path:
    """Pulumi's folder of plugins [pulumi sdk/go/common/workspace/plugins.go, GetPluginDir].

    Without `PULUMI_HOME` it is in the account's home as the system has it, whatever `HOME` says: so Go's os/user looks it up.
    """
    home = environment.get("PULUMI_HOME")
    if home:
        return Path(home) / "plugins"
    try:
        account = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        account = Path.home()
    return account / ".pulumi" / "plugins"


def place(environment: Mapping[str, str], version: str | None = None) -> Path:
    """Where the provider of a version belongs; of the library's own where none is named."""
    return cache(environment) / f"resource-{PROVIDER}-v{version or plugin_version()}" / PROGRAM


def install(environment: Mapping[str, str], version: str | None = None, python: str = sys.executable) -> bool:
    """Put the provider into the cache: a program that runs this library with this Python.

    Args:
        environment: where Pulumi's home is looked up.
        version: under which version; the library's own where none is named. A state that an earlier version wrote asks for that one.
        python: the interpreter that the library is installed for.
    Returns:
        whether anything had to be written.
    Raises:
        ConfigurationError: the cache can't be written.
    """
    target = place(environment, version)
    text = WRAPPER.format(install=INSTALL, python=shlex.quote(python), asked=ASKED, version=version or plugin_version())
    if target.is_file() and os.access(target, os.X_OK) and target.read_text(errors="replace") == text:
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".new-", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o755)
        Path(file.name).replace(target)
        # The engine takes a folder with this mark for a download that did not end.
        Path(f"{target.parent}.partial").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{target} can't be written",
            os.strerror(error.errno or 0),
            "make Pulumi's home writable, or name a different folder in PULUMI_HOME",
        ) from None
    return True


def named_by_project(folder: Path) -> bool:
    """Whether the Pulumi project in a folder names the provider by a path of its own, as the checkout does."""
    for name in ("Pulumi.yaml", "Pulumi.yml"):
        try:
            document = yaml.safe_load((folder / name).read_text())
        except (OSError, yaml.YAMLError):
            continue
        return isinstance(document, dict) and _names_provider(document)
    return False


def _names_provider(document: Mapping[str, Any]) -> bool:
    plugins = document.get("plugins")
    providers = plugins.get("providers") if isinstance(plugins, Mapping) else None
    listed = [each.get("name") for each in providers or [] if isinstance(each, Mapping)]
    packages = document.get("packages")
    return PROVIDER in listed or (isinstance(packages, Mapping) and PROVIDER in packages)


def wanted_version(folder: Path, environment: Mapping[str, str]) -> str | None:
    """Which version of the provider a program must ask the engine for.

    Args:
        folder: where the program's Pulumi.yaml is.
    Returns:
        None where the project or PATH has the one there is; else the library's own version, which is in the cache.
    Raises:
        ConfigurationError: it is nowhere.
    """
    if named_by_project(folder) or shutil.which(PROGRAM, path=environment.get("PATH")):
        return None
    version = plugin_version()
    if os.access(place(environment), os.X_OK):
        return version
    raise ConfigurationError(
        f"Pulumi's plugin {PROVIDER} of version {version} is not installed",
        f"{place(environment).parent} does not have it, and neither Pulumi.yaml nor PATH names one",
        f"run `{INSTALL}`, then the same command again; nothing has been contacted or changed",
    )

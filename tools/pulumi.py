"""The Pulumi CLI with its Python language host and libvirt plugin: found on the machine, downloaded, or built.

The CLI and the language host are taken from one place, always: a host of another release than its CLI may not understand
its options. The libvirt plugin is looked for by itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.cache import build_once, cache_directory, checksum, write_atomically
from tools.errors import ToolError
from tools.golang import LANGUAGE_EXEC_NAME, ensure_program, program_folder, version_tuple
from tools.pins import CLI, LIBVIRT, LIBVIRT_PLUGIN, PULUMI, PYTHON_HOST
from tools.progress import piece, run, say
from tools.release import download, reachable

_VERSION = re.compile(r"^v?(\d+\.\d+\.\d+)")

_Question = Callable[[], bool]

PLUGIN_LIMIT = 120.0
"""Seconds for Pulumi's own download of a plugin."""


@dataclass(frozen=True)
class PulumiTools:
    """Where Pulumi is.

    Args:
        folders: folders to put in front of PATH, in order; none when it is on PATH already.
        home: PULUMI_HOME of its own in the cache, or None for the user's.
    """

    folders: tuple[Path, ...]
    home: Path | None


def acceptable(version: str) -> bool:
    """Whether a CLI of this version (as `pulumi version` prints it) may be used: same major, not older than the pinned."""
    found = _VERSION.match(version.strip())
    if found is None:
        return False
    have, pinned = version_tuple(found[1]), version_tuple(PULUMI)
    return have[0] == pinned[0] and have >= pinned


def ensure_pulumi(python: Path, *, build: bool = False) -> PulumiTools:
    """Find, download or build the CLI, the language host and the libvirt plugin, in this order.

    Args:
        python: interpreter with pip, for a build on a machine without Go.
        build: don't look for or download anything: build.

    Raises:
        ToolError: one of them can't be had.
    """
    online: list[bool] = []  # asked once at most, and only if something is missing

    def may_download() -> bool:
        if not online:
            online.append(not build and reachable())
            if not build and not online[0]:
                say("  Pulumi's own releases are out of reach: what is missing is built")
        return online[0]

    folders = None if build else _from_machine()
    machine = folders is not None
    if folders is None:
        folders = _downloaded_or_built(python, may_download)
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    home = cache_directory() / "pulumi-home"
    if machine and _has_plugin(path, None):
        with piece(f"libvirt plugin {LIBVIRT_PLUGIN}") as this:
            this.outcome = "found"
        return PulumiTools(folders, None)
    if machine and may_download() and _install_release_plugin(path, None):
        return PulumiTools(folders, None)
    _ensure_plugin(path, home, python, may_download)
    return PulumiTools(folders, home)


def _from_machine() -> tuple[Path, ...] | None:
    """Folders of a usable CLI and language host on PATH or in ~/.pulumi/bin; None if there are none."""
    own = cache_directory()
    homes = [Path(home) / "bin" for home in (os.environ.get("PULUMI_HOME"), Path.home() / ".pulumi") if home]
    for folder in [*map(Path, os.get_exec_path()), *homes]:
        cli = folder / "pulumi"
        if folder.is_relative_to(own) or not os.access(cli, os.X_OK) or not cli.is_file():
            continue
        with piece("pulumi") as this:
            version = _cli_version(cli)
            usable = acceptable(version) and all(_near(cli, name) for name in (PYTHON_HOST.binary, LANGUAGE_EXEC_NAME))
            this.outcome = f"found {version}" if usable else f"{version or 'broken'} in {folder}: not usable"
        if usable:
            return (folder, cli.resolve().parent) if cli.resolve().parent != folder else (folder,)
    return None


def _near(cli: Path, name: str) -> bool:
    return any(os.access(folder / name, os.X_OK) for folder in (cli.parent, cli.resolve().parent))


def _cli_version(cli: Path) -> str:
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        done = subprocess.run([cli, "version"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _downloaded_or_built(python: Path, may_download: _Question) -> tuple[Path, ...]:
    folder = cache_directory() / "tools" / f"pulumi-{PULUMI}-release"
    built = (program_folder(CLI), program_folder(PYTHON_HOST))
    if folder.exists() or (not all(place.exists() for place in built) and may_download()):
        with piece(f"pulumi {PULUMI}") as this:
            try:
                new = build_once(folder, f"pulumi {PULUMI}", download)
            except ToolError as error:
                say(f"  {error} It is built instead.")
                new = False
            this.outcome = "downloaded" if new else "cached (downloaded earlier)" if folder.exists() else "not downloaded"
        if folder.exists():
            return (folder,)
    return (_together(ensure_program(CLI, python), ensure_program(PYTHON_HOST, python)),)


def _together(cli: Path, host: Path) -> Path:
    """One folder with the built programs: a CLI warns at each command about a language host that isn't next to it."""
    folder = cli.parent.parent / f"pulumi-{PULUMI}-{checksum(cli.parent.name, host.parent.name)}"

    def collect(temporary: Path) -> None:
        temporary.mkdir()
        for program in (cli, host, host.with_name(LANGUAGE_EXEC_NAME)):
            os.link(program, temporary / program.name)

    build_once(folder, f"pulumi {PULUMI}", collect)
    return folder


def _pulumi_environment(path: str, home: Path | None) -> dict[str, str]:
    environment = {**os.environ, "PATH": path, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    if home is not None:
        environment["PULUMI_HOME"] = str(home)
    elif Path(environment.get("PULUMI_HOME", "/")).is_relative_to(cache_directory()):
        del environment["PULUMI_HOME"]  # An earlier run's own home, from a sourced .environment: not the user's.
    return environment


def has_plugin(listed: str) -> bool:
    """Whether `pulumi plugin ls --json` lists the pinned libvirt plugin."""
    try:
        plugins: Iterable[dict[str, str]] = json.loads(listed or "[]")
    except json.JSONDecodeError:
        return False
    return any(plugin.get("name") == "libvirt" and plugin.get("version") == LIBVIRT_PLUGIN for plugin in plugins)


def _has_plugin(path: str, home: Path | None) -> bool:
    command = [_pulumi(path), "plugin", "ls", "--json"]
    done = subprocess.run(command, env=_pulumi_environment(path, home), cwd="/", capture_output=True, text=True, timeout=60, check=False)
    return has_plugin(done.stdout)


def _install_release_plugin(path: str, home: Path | None) -> bool:
    """Let the CLI download the plugin; False when that does not work."""
    with piece(f"libvirt plugin {LIBVIRT_PLUGIN}") as this:
        try:
            run(
                [_pulumi(path), "plugin", "install", "resource", "libvirt", LIBVIRT_PLUGIN],
                f"downloading libvirt plugin {LIBVIRT_PLUGIN}",
                limit=PLUGIN_LIMIT,
                environment=_pulumi_environment(path, home),
            )
        except ToolError as error:
            say(f"  {error} It is built instead.")
            this.outcome = "not downloaded"
            return False
        this.outcome = "downloaded"
    return True


def _ensure_plugin(path: str, home: Path, python: Path, may_download: _Question) -> None:
    """Have the plugin in our own PULUMI_HOME: as it was put there before, downloaded, or built."""
    mark = home / f"libvirt-{LIBVIRT_PLUGIN}.origin"
    installed = home / "plugins" / f"resource-libvirt-v{LIBVIRT_PLUGIN}" / LIBVIRT.binary
    built = program_folder(LIBVIRT)
    origin = mark.read_text().strip() if mark.exists() and installed.exists() else ""
    if origin in ("downloaded", built.name):
        with piece(f"libvirt plugin {LIBVIRT_PLUGIN}") as this:
            this.outcome = f"cached ({'downloaded' if origin == 'downloaded' else 'built'} earlier)"
        return
    if not built.exists() and may_download() and _install_release_plugin(path, home):
        write_atomically(mark, "downloaded\n")
        return
    binary = ensure_program(LIBVIRT, python)
    install = [_pulumi(path), "plugin", "install", "resource", "libvirt", LIBVIRT_PLUGIN]
    run([*install, "--file", str(binary), "--reinstall"], "installing the libvirt plugin", environment=_pulumi_environment(path, home))
    write_atomically(mark, f"{built.name}\n")


def _pulumi(path: str) -> str:
    found = shutil.which("pulumi", path=path)
    if found is None:
        raise ToolError("pulumi is gone", "it was there a moment ago", "run scripts/setup again")
    return found

"""Root file systems of the lab's machines, made once by mmdebstrap and kept in the user's cache."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from lab.images.archive import build_environment, host_archive, host_options
from lab.images.el import EL
from lab.images.recipes import BASE, CONTAINER_MASKED_UNITS, FRONT, MYSQL, Recipe
from parallel_build.configuration.database_combinations import Family
from tools.cache import build_once, cache_directory, remove
from tools.errors import ToolError
from tools.progress import piece, run, say

_REMEDY = "run scripts/setup --for lab, then look at the last lines above: most often the archive was not reached"

_TRIMMED = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)

_APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Languages "none"')


def images_directory() -> Path:
    """Where images are kept: `images/` in the project's cache."""
    return cache_directory() / "images"


def base_root() -> Path:
    """Debian 12 root of every container and of the guests' disk.

    systemd, sshd (enabled, no host keys), MariaDB (installed, disabled), Python, cloud-init with systemd-networkd. Use
    it as the lower layer of an overlay, never write to it; `mask_for_container` prepares the upper layer.

    Raises:
        ToolError: it could not be made.
    """
    return _root(BASE, usual_seconds=60)


def mysql_root() -> Path:
    """Root with the newest MySQL of Debian unstable, for containers (systemd there needs a unified cgroup hierarchy).

    Raises:
        ToolError: it could not be made.
    """
    return _root(MYSQL, usual_seconds=45)


def front_root() -> Path:
    """Root of a machine that stands before the management servers: HAProxy, keepalived and socat, from Debian 12.

    Raises:
        ToolError: it could not be made.
    """
    return _root(FRONT, usual_seconds=30)


def el_root() -> Path:
    """EL-shaped root, for containers; see `lab.images.el`.

    Raises:
        ToolError: it could not be made.
    """
    return _root(EL, usual_seconds=60)


def family_root(family: Family) -> Path:
    """Root of a container with this family's database server.

    Raises:
        ToolError: it could not be made.
    """
    return {"mariadb": base_root, "mysql": mysql_root}[family]()


def mask_for_container(upper: Path) -> None:
    """Mask, in a container's own layer, the units that would set addresses or an identity from inside.

    Args:
        upper: the upper folder of the container's overlay (or a mounted root).
    """
    for unit in CONTAINER_MASKED_UNITS:
        _mask(upper, unit)
    _write(upper / "etc/cloud/cloud-init.disabled", 0o644, "")


def _root(recipe: Recipe, usual_seconds: int) -> Path:
    target = images_directory() / recipe.key
    if target.exists():
        return target
    require("mmdebstrap", "chroot", "systemctl")
    if os.geteuid() != 0:
        raise ToolError(f"image {recipe.name} can't be made", "it needs root (chroot, owners of files)", "run as root")
    with piece(f"image {recipe.name} ({recipe.suite})") as this:
        built = build_once(target, f"image {recipe.name}", lambda temporary: _build(recipe, temporary, usual_seconds))
        this.outcome = "built" if built else "cached"
    return target


def require(*programs: str) -> None:
    """Check that programs are there before anything is begun.

    Raises:
        ToolError: one is missing.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        raise ToolError(f"{', '.join(missing)} not found", "the lab needs it", "run scripts/setup --for lab")


def _build(recipe: Recipe, root: Path, usual_seconds: int) -> None:
    say(f"  building image {recipe.name}, usually about {usual_seconds} s")
    early = root.parent / f"{root.name}.early"
    try:
        for path, mode, text in recipe.early_files:
            _write(early / path, mode, text)
        early.mkdir(parents=True, exist_ok=True)
        _bootstrap(recipe, root, early, usual_seconds)
    finally:
        remove(early)
    for unit in recipe.disabled:
        _inside(root, "systemctl", "disable", unit)
    for unit in recipe.enabled:
        _inside(root, "systemctl", "enable", unit)
    for command in recipe.commands:
        _inside(root, *command)
    for unit in recipe.masked:
        _mask(root, unit)
    for pattern in recipe.removed:
        for found in root.glob(pattern):
            remove(found)
    for name, mode, text in recipe.files:
        _write(root / name, mode, text)


def _bootstrap(recipe: Recipe, root: Path, early: Path, usual_seconds: int) -> None:
    options = [*_APT_OPTIONS, *host_options()]
    if recipe.suite == "sid":
        options.append('Acquire::Check-Valid-Until "false"')  # Its release file may be past its date.
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--mode=root",
        "--format=directory",
        *(f"--aptopt={option.rstrip(';')}" for option in options),
        *(f"--dpkgopt={option}" for option in _TRIMMED),
        f'--essential-hook=cp -a {shlex.quote(str(early))}/. "$1"/',
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        str(root),
        *host_archive().sources(recipe.suite, recipe.extra_suites),
    ]
    run(
        command,
        f"building image {recipe.name}",
        remedy=_REMEDY,
        usual_seconds=usual_seconds,
        limit=1800,
        environment=build_environment(),
    )


def _inside(root: Path, *command: str) -> None:
    run(["chroot", str(root), *command], f"{' '.join(command)} in the image", limit=600, environment=build_environment())


def _mask(root: Path, unit: str) -> None:
    link = root / "etc/systemd/system" / unit
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to("/dev/null")


def _write(path: Path, mode: int, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()  # A link (resolv.conf, mtab) would be followed out of the image.
    path.write_text(text)
    path.chmod(mode)

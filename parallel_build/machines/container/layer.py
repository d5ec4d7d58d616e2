"""A container's own layer: an overlay over a shared root, and what is put into it before the first start."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from parallel_build.machines.local_commands import MachineFailed, mount_points, run
from parallel_build.machines.provisioning import STATE_FOLDER, UNIT, File, Provisioning

UNITS = "/etc/systemd/system"
# They would set addresses, devices or an identity from inside; all of these are set from outside.
FOREIGN_UNITS = (
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
    "cloud-init-hotplugd.socket",
    "networking.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "console-getty.service",
)
SET_BY = "platforms.container.folder sets the folder, and XDG_STATE_HOME that of a lab"
UNIFIED_SINCE = 256  # systemd's first release that doesn't run on control groups of version 1


def disk(machine: Path) -> Path:
    """Where the disk of a machine that has one of its own is mounted."""
    return machine / "disk"


def mount(machine: Path, root: Path, size: int | None = None) -> None:
    """Mount the machine's root at `machine/root`, once.

    Args:
        machine: the machine's folder.
        root: shared root file system, the lower layer.
        size: GiB of a disk of the machine's own, which may become full; None keeps the layer in the folder.
    Raises:
        MachineFailed: overlayfs can't be used there.
    """
    (machine / "root").mkdir(exist_ok=True)
    if _mounted(machine / "root"):
        return
    layer = machine if size is None else _disk(machine, size)
    for name in ("upper", "work"):
        (layer / name).mkdir(exist_ok=True)
    (layer / "upper").chmod(0o755)
    options = f"lowerdir={root},upperdir={layer / 'upper'},workdir={layer / 'work'}"
    if any(":" in str(path) or "," in str(path) for path in (root, machine)):
        raise MachineFailed(f"{machine} can't hold a machine", "overlayfs takes no path with ':' or ','", f"choose another: {SET_BY}")
    try:
        run(["mount", "-t", "overlay", "overlay", "-o", options, str(machine / "root")])
    except MachineFailed as error:
        raise MachineFailed(
            f"no layer over {root} can be made in {machine}",
            error.cause,
            f"keep machines on a plain file system such as ext4 or xfs, not on an overlay (as in most containers): {SET_BY}",
        ) from None


def _disk(machine: Path, size: int) -> Path:
    """A file system in a sparse file, made once and mounted: it is full when it is full, whatever space this computer has."""
    image, where = machine / "disk.img", disk(machine)
    where.mkdir(exist_ok=True)
    if not image.exists():
        unfinished = machine / "disk.new"
        with unfinished.open("wb") as file:
            file.truncate(size * 2**30)
        run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(unfinished)])
        unfinished.rename(image)
    if not _mounted(where):
        run(["mount", "-o", "loop", str(image), str(where)])
    return where


def discard(machine: Path) -> None:
    """Unmount the root and remove the layer, whatever of it is there.

    Raises:
        MachineFailed: it is still in use.
    """
    for mounted in (machine / "root", disk(machine)):
        while _mounted(mounted):
            run(["umount", str(mounted)])
    for name in ("upper", "work", "root", "disk"):
        if (machine / name).exists():
            shutil.rmtree(machine / name)
    for name in ("disk.img", "disk.new"):
        (machine / name).unlink(missing_ok=True)


def fill(root: Path, provisioning: Provisioning) -> None:
    """Write the machine's files through its mounted root, and enable and mask its units."""
    for file in provisioning.layer():
        _write(root, file)
    for unit in (*FOREIGN_UNITS, *provisioning.masked_units):
        _link(root, f"{UNITS}/{unit}", "/dev/null")
    _link(root, f"{UNITS}/multi-user.target.wants/{UNIT}", f"{UNITS}/{UNIT}")
    resolve(root, STATE_FOLDER).chmod(0o755)


def environment(root: Path) -> dict[str, str]:
    """What systemd-nspawn needs as options for this root: a systemd of 256 or later needs control groups of version 2."""
    libraries = root.glob("usr/lib/**/libsystemd-shared-*.so")
    releases = [int(digits) for path in libraries if (digits := path.stem.rpartition("-")[2].split(".")[0]).isdigit()]
    return {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"} if max(releases, default=0) >= UNIFIED_SINCE else {}


def resolve(root: Path, path: str) -> Path:
    """Where `path` of the machine is below `root` here; links are followed as the machine would follow them, never out of it.

    Raises:
        MachineFailed: the links of the image go in a circle.
    """
    parts = list(PurePosixPath(path).parts[1:])
    found: list[str] = []
    for _ in range(200):
        if not parts:
            return root.joinpath(*found)
        part = parts.pop(0)
        if part == "..":
            found = found[:-1]
            continue
        here = root.joinpath(*found, part)
        if here.is_symlink():
            target = PurePosixPath(here.readlink())
            if target.is_absolute():
                found = []
            parts = [*(target.parts[1:] if target.is_absolute() else target.parts), *parts]
        else:
            found.append(part)
    raise MachineFailed(
        f"{path} of the image can't be resolved", "its symbolic links go in a circle", "make the image again: scripts/setup --for lab"
    )


def _write(root: Path, file: File) -> None:
    path = resolve(root, str(PurePosixPath(file.path).parent)) / PurePosixPath(file.path).name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()  # The file itself is meant, not where the image's link leads (resolv.conf).
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(file.text)
    path.chmod(file.mode)


def _link(root: Path, path: str, target: str) -> None:
    link = resolve(root, str(PurePosixPath(path).parent)) / PurePosixPath(path).name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() or link.exists():
        link.unlink()
    link.symlink_to(target)


def _mounted(path: Path) -> bool:
    return str(path.resolve()) in mount_points()

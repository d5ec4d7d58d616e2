"""The disk, kernel and initrd that the lab's libvirt guests boot, made from the same root as the containers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.images.recipes import BASE, GUEST_DISK_SIZE, GUEST_FILE_SYSTEM
from lab.images.roots import base_root, images_directory, require
from tools.cache import build_once, checksum
from tools.errors import ToolError
from tools.progress import piece, run

KERNEL_ARGUMENTS = (
    ("console", "ttyS0"),
    ("root", "/dev/vda"),
    ("rootfstype", "ext4"),
    ("net.ifnames", "0"),
    ("random.trust_cpu", "on"),
    ("mitigations", "off"),
    ("init_on_alloc", "0"),
    ("tsc", "unstable"),
    ("clocksource", "hpet"),
    ("audit", "0"),
    ("loglevel", "3"),
)
"""Named arguments of a guest's kernel. net.ifnames=0 makes the only link eth0. An emulated processor's counter is measured at each boot against
emulated chips, and on a busy computer measured wrong: time is counted by HPET, which has the computer's own time, and is as quick to read where it is
emulated (4.9 us a call, the counter 6.7 us). The others save emulated time."""

KERNEL_WORDS = ("rw", "quiet", "no5lvl", "cryptomgr.notests")
"""Arguments without a value. no5lvl: emulated, each page walk is a level shorter."""


@dataclass(frozen=True)
class GuestImage:
    """What a guest is started from.

    Args:
        disk: qcow2 file with an ext4 file system and no partition table; a base for overlays, never written to.
        kernel: kernel for direct boot.
        initrd: its initial file system, with the virtio drivers only.
    """

    disk: Path
    kernel: Path
    initrd: Path

    @property
    def cmdlines(self) -> list[dict[str, str]]:
        """Kernel arguments as the libvirt plugin wants them.

        Named ones in one map, each bare word in a map of its own: put together, every `up` replaces the domain.
        """
        return [dict(KERNEL_ARGUMENTS), *({"_": word} for word in KERNEL_WORDS)]

    @property
    def command_line(self) -> str:
        """Kernel arguments as one string, for QEMU's -append."""
        return " ".join([*(f"{name}={value}" for name, value in KERNEL_ARGUMENTS), *KERNEL_WORDS])


def guest_image() -> GuestImage:
    """Disk image, kernel and initrd for the lab's guests; made once, then taken from the cache.

    A guest gets its identity by a NoCloud seed (volume label cidata): network-config version 2 is rendered by
    systemd-networkd (static addresses or DHCP on eth0), user-data gives host keys, users, files and commands.

    Raises:
        ToolError: it could not be made.
    """
    folder = images_directory() / f"guest-{checksum(BASE.key, GUEST_DISK_SIZE, *GUEST_FILE_SYSTEM)}"
    if not folder.exists():
        require("mkfs.ext4", "qemu-img")
        root = base_root()
        with piece("image guest") as this:
            built = build_once(folder, "image guest", lambda temporary: _build(root, temporary))
            this.outcome = "built" if built else "cached"
    return GuestImage(disk=folder / "disk.qcow2", kernel=folder / "vmlinuz", initrd=folder / "initrd.img")


def _build(root: Path, folder: Path) -> None:
    folder.mkdir()
    raw = folder / "disk.raw"
    with raw.open("wb"):
        pass
    run(["truncate", "--size", GUEST_DISK_SIZE, str(raw)], "making the guest's disk", limit=60)
    run(
        ["mkfs.ext4", "-q", "-F", "-L", "root", *GUEST_FILE_SYSTEM, "-d", str(root), str(raw)],
        "writing the guest's file system",
        remedy="look for free space where the cache is",
        usual_seconds=10,
        limit=600,
    )
    disk = folder / "disk.qcow2"
    run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)],
        "converting the guest's disk",
        remedy="look for free space where the cache is",
        usual_seconds=10,
        limit=600,
    )
    raw.unlink()
    shutil.copyfile(_newest(root, "vmlinuz-*"), folder / "vmlinuz")
    shutil.copyfile(_newest(root, "initrd.img-*"), folder / "initrd.img")
    for file in folder.iterdir():
        file.chmod(0o644)


def _newest(root: Path, pattern: str) -> Path:
    files = sorted((root / "boot").glob(pattern))
    if not files:
        raise ToolError(f"the base image has no boot/{pattern}", "its kernel package did not finish", f"remove {root} and run again")
    return files[-1]

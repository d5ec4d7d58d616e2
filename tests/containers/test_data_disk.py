"""The script that formats and mounts a machine's second disk, run against a loop device in a root file system of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.images import base_root
from parallel_build.machines.data_disk import LABEL, data_disk_script

pytestmark = pytest.mark.containers
MOUNT = "/var/lib/mysql"


class Guest:
    """A root file system with one disk."""

    def __init__(self, root: Path, disk: str) -> None:
        self.root, self.disk = root, disk

    def run(self, script: str, pattern: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the data disk's script and then `script`, in mounts of their own."""
        (self.root / "data-disk").write_text(data_disk_script(MOUNT, pattern or self.disk))
        inside = f"mount -t proc proc /proc && sh /data-disk && {script}"
        command = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mount --rbind /dev "$1/dev" && exec chroot "$1" sh -c "$2"',
            "sh",
            str(self.root),
            inside,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    """A root in which a database was installed, and an empty disk of 64 MiB."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    root = tmp_path / "root"
    options = f"lowerdir={base_root()},upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True, timeout=30)
    disk = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()
    folder = root / MOUNT.lstrip("/")
    subprocess.run(["find", str(folder), "-mindepth", "1", "-delete"], check=True, timeout=30)
    (folder / "ibdata1").write_text("data of the template\n")
    # No systemd runs in this root: no unit is active, and there is nothing to reload.
    systemctl = root / "usr/local/bin/systemctl"
    systemctl.write_text('#!/bin/sh\n[ "$1" != is-active ]\n')
    systemctl.chmod(0o755)
    try:
        yield Guest(root, disk)
    finally:
        subprocess.run(["losetup", "--detach", disk], check=True, timeout=30)
        subprocess.run(["umount", str(root)], check=True, timeout=30)


def test_formatted_mounted_with_what_was_there_and_once(guest: Guest) -> None:
    done = guest.run(f"findmnt -n -o SOURCE,FSTYPE {MOUNT}; cat {MOUNT}/ibdata1; ls -A {MOUNT}; stat -c %U {MOUNT}; tail -n 1 /etc/fstab")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == [guest.disk, "ext4"], done.stderr
    assert lines[1:4] == ["data of the template", "ibdata1", "mysql"]
    assert lines[4].startswith("UUID=") and f"{MOUNT} ext4" in lines[4]

    # Again, in a boot in which nothing is mounted: the file system stays, and so does what was written to it.
    again = guest.run(f"grep -c {MOUNT} /etc/fstab; cat {MOUNT}/ibdata1")
    assert again.stdout.split("\n")[:2] == ["1", "data of the template"], again.stderr


def test_a_disk_with_something_on_it_is_never_formatted(guest: Guest) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "somebodys", guest.disk], check=True, timeout=30)
    refused = guest.run("true")
    assert refused.returncode == 1
    assert "carries something that is not ours" in refused.stderr
    label = subprocess.run(
        ["blkid", "-p", "-o", "value", "-s", "LABEL", guest.disk], capture_output=True, text=True, timeout=30
    ).stdout.strip()
    assert label == "somebodys" != LABEL


def test_a_missing_disk_is_reported(guest: Guest) -> None:
    refused = guest.run("true", pattern="/dev/disk/by-path/*-scsi-0:0:9:0")
    assert refused.returncode == 1
    assert "no data disk" in refused.stderr

"""A machine's second disk, formatted and mounted before any database starts. Pure: the text of a script."""

from __future__ import annotations

import shlex

from parallel_build.machines.provisioning import STATE_FOLDER, File

SCRIPT = f"{STATE_FOLDER}/data-disk"
LABEL = "cloudstack-data"  # ext4 allows 16 characters
SECOND_DISK = "/dev/disk/by-path/*-scsi-0:0:1:0"
"""The disk at unit 1 of the first SCSI controller, wherever the controller sits on the PCI bus."""

# What is there already (a database that came with the template) is copied, so that the mount hides nothing. A disk that carries
# something else is never formatted.
_BODY = r"""
mountpoint -q "$mount" && exit 0
device=
for path in $pattern; do
  if [ -b "$path" ]; then device=$(readlink -f "$path"); fi
done
if [ -z "$device" ]; then
  echo "no data disk: nothing is at $pattern" >&2
  exit 1
fi
found=$(blkid -p -o value -s LABEL "$device" || true)
if [ "$found" != "$label" ]; then
  if blkid -p "$device" >/dev/null; then
    echo "$device carries something that is not ours, it is left alone: $(blkid -p "$device")" >&2
    exit 1
  fi
  mkfs.ext4 -q -m 0 -L "$label" "$device"
fi
for unit in mariadb mysql; do
  if systemctl is-active --quiet "$unit"; then systemctl stop "$unit"; fi
done
mkdir -p "$mount"
staging=$(mktemp -d)
mount "$device" "$staging"
cp -a "$mount/." "$staging/"
# A database server would take lost+found for a database; fsck makes it anew when it needs it.
if [ -d "$staging/lost+found" ]; then rmdir "$staging/lost+found"; fi
umount "$staging"
rmdir "$staging"
uuid=$(blkid -p -o value -s UUID "$device")
# Without nofail: a database must not start on the empty folder below when its disk is missing.
grep -q "^UUID=$uuid " /etc/fstab || echo "UUID=$uuid $mount ext4 defaults,noatime 0 2" >>/etc/fstab
systemctl daemon-reload
mount -o noatime "$device" "$mount"
"""


def data_disk_script(mount: str, pattern: str = SECOND_DISK) -> str:
    """The script; run again it does nothing.

    Args:
        mount: where the disk is mounted.
        pattern: shell pattern of the disk's device.
    """
    head = f"#!/bin/sh\nset -eu\nmount={shlex.quote(mount)}\npattern={shlex.quote(pattern)}\nlabel={LABEL}\n"
    return head + _BODY.lstrip()


def data_disk_file(mount: str) -> File:
    """The script as a file of the machine's provisioning, to be named in its `prepare`."""
    return File(SCRIPT, data_disk_script(mount), 0o755)

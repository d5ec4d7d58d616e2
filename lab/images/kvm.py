"""Whether a guest really runs under KVM here: /dev/kvm may exist and not run one."""

from __future__ import annotations

import grp
import os
import subprocess
from pathlib import Path

from lab.images.guest import guest_image
from tools.cache import cache_directory, locked, write_atomically
from tools.progress import piece

DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

PROBE_LIMIT = 20.0
"""Seconds; under KVM the probe takes about two."""

PROBE_EXPECTED = "Unable to mount root fs"
"""What a kernel without a root says last: until then it has used paging, timers and interrupts."""


def guest_runs(accelerator: str, cpu: str, limit: float = PROBE_LIMIT) -> bool:
    """Boot a Linux kernel without a root file system and see whether it comes as far as missing that.

    Less is no proof: seen where a boot sector's code ran under KVM and a kernel hung at its first instructions.

    Args:
        accelerator: "kvm" or "tcg".
        cpu: QEMU's name of the CPU model, as the guests will have it.
        limit: seconds until it counts as not running.

    Raises:
        ToolError: there is no kernel to boot, because the guest image could not be made.
    """
    command = ["qemu-system-x86_64", "-accel", accelerator, "-machine", "pc", "-cpu", cpu, "-m", "256"]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]
    command += ["-kernel", str(guest_image().kernel), "-append", "console=ttyS0 panic=-1 no5lvl"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return False
    return done.returncode == 0 and PROBE_EXPECTED in done.stdout.decode(errors="replace")


def kvm_available() -> bool:
    """Whether guests with the host's CPU model (libvirt: host-passthrough) run under KVM on this machine.

    Probed by booting a kernel, which needs the guest image; remembered until the machine boots again.

    Raises:
        ToolError: the guest image could not be made.
    """
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    answer = cache_directory() / f"kvm-{_BOOT_ID.read_text().strip()}"
    with locked(answer.with_name(".kvm.lock"), "probe of KVM"):
        if answer.exists():
            return answer.read_text().strip() == "yes"
        for stale in answer.parent.glob("kvm-*"):
            stale.unlink()
        with piece("KVM") as this:
            runs = guest_runs("kvm", "host")
            this.outcome = "runs guests" if runs else "does not run a guest; they are emulated (TCG)"
        write_atomically(answer, "yes\n" if runs else "no\n")
        return runs


def make_kvm_usable() -> None:
    """Give the group kvm access to /dev/kvm; call it before libvirtd starts, whether KVM runs guests or not.

    Where the device has mode 600, libvirt asks QEMU again what it can do at each call: 84 s per domain.
    Nothing happens when there is no device or no such group (libvirt's and QEMU's packages make it).
    """
    try:
        group = grp.getgrnam("kvm").gr_gid
        status = DEVICE.stat()
    except (KeyError, FileNotFoundError):
        return
    if status.st_gid != group:
        os.chown(DEVICE, -1, group)
    if status.st_mode & 0o660 != 0o660:
        DEVICE.chmod(status.st_mode & 0o777 | 0o660)

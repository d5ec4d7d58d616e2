"""Whether libvirt's guests run under KVM, and with which processor: only what has really run a guest counts, else emulation.

A hypervisor may have /dev/kvm and advertise `kvm`, and still not run a guest, where it is itself a guest and nested virtualisation is half on.
So a small guest without a disk is started with the host's own processor, and must have left the address at which every x86 processor starts.

That it starts with QEMU's default processor is not enough: on such a host that was seen to work, and Linux died in the middle of its boot
("KVM internal error ... emulation failure" at a cmpxchg16b), while the host's own processor did not start at all ("failed to set MSR 0x10a").
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.machines.local_commands import in_english

RESET_VECTOR = 0xFFF0
START_LIMIT = 30.0
COMMAND_LIMIT = 120.0
GUEST = """<domain type='kvm'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><cpu mode='{cpu}'/>
<os><type arch='x86_64' machine='pc'>hvm</type></os><on_crash>destroy</on_crash></domain>"""


@dataclass(frozen=True)
class DomainKind:
    """How guests run.

    Attributes:
        type: libvirt's domain type, `kvm` or `qemu`.
        cpu_mode: libvirt's processor mode.
    """

    type: str
    cpu_mode: str

    def __str__(self) -> str:
        return f"{self.type}, processor {self.cpu_mode}"


# Best first: the host's own processor, then one like it that libvirt can describe.
CANDIDATES = (DomainKind("kvm", "host-passthrough"), DomainKind("kvm", "host-model"))
# Emulated: everything that QEMU can emulate.
EMULATION = DomainKind("qemu", "maximum")


def probe(uri: str, *, cancel: CancelToken, progress: Callable[[str], None]) -> DomainKind:
    """The best kind under which a guest runs.

    Args:
        uri: libvirt's connection.
    Raises:
        ConnectionFailed: libvirt can't be asked.
    """
    if shutil.which("virsh") is None:
        raise ConnectionFailed(
            "virsh is missing on this machine",
            f"it is needed to find out whether guests of {uri} run under KVM",
            "install libvirt-clients, or set platforms.libvirt.domainType to kvm or qemu",
        )
    connected = _virsh(uri, "version")
    if connected.returncode != 0:
        raise ConnectionFailed(f"libvirt at {uri} can't be reached", _last_line(connected), "check platforms.libvirt.uri")
    if _virsh(uri, "domcapabilities", "--virttype", "kvm").returncode == 0:
        for kind in CANDIDATES:
            if _runs_guest(uri, kind, cancel, progress):
                progress(f"a guest ran: {kind}")
                return kind
    progress("no guest runs under KVM there: guests are emulated")
    return EMULATION


def _runs_guest(uri: str, kind: DomainKind, cancel: CancelToken, progress: Callable[[str], None]) -> bool:
    name = f"cutover-probe-{secrets.token_hex(4)}"
    started = _virsh(uri, "create", "/dev/stdin", stdin=GUEST.format(name=name, cpu=kind.cpu_mode))
    if started.returncode != 0:
        progress(f"a guest does not start: {kind} ({_last_line(started)})")
        return False
    try:
        wait_for("a guest to run under KVM", lambda: _runs(uri, name), timeout=START_LIMIT, cancel=cancel, progress=progress)
    except StepFailed:
        progress(f"a guest did nothing for {START_LIMIT:.0f} s: {kind}")
        return False
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _virsh(uri, "destroy", name)
    return True


def _runs(uri: str, name: str) -> bool:
    """Whether the guest is running and its processor has left the reset address."""
    if _virsh(uri, "domstate", name).stdout.strip() != "running":
        return False
    registers = _virsh(uri, "qemu-monitor-command", "--hmp", name, "info registers").stdout
    found = re.search(r"\b[ER]IP=([0-9a-fA-F]+)", registers)
    return found is not None and int(found[1], 16) != RESET_VECTOR


def _virsh(uri: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["virsh", "--quiet", "--connect", uri, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_LIMIT,
        check=False,
        env=in_english(),
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"virsh ended with exit code {done.returncode}"

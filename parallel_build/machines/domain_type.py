"""Whether libvirt's guests run under KVM: only where one has really run, else under emulation.

A hypervisor may have /dev/kvm and advertise `kvm`, and still not run a guest (nested virtualisation that is half on). So a small guest without a
disk is started, and its processor is looked at: it must have left the address at which every x86 processor starts.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.errors import ConnectionFailed, StepFailed

KVM, EMULATION = "kvm", "qemu"
RESET_VECTOR = 0xFFF0
START_LIMIT = 30.0
COMMAND_LIMIT = 120.0
GUEST = """<domain type='kvm'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><on_crash>destroy</on_crash></domain>"""


def probe(uri: str, *, cancel: CancelToken, progress: Callable[[str], None]) -> str:
    """`kvm` where a guest runs under it, else `qemu`.

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
    if _virsh(uri, "domcapabilities", "--virttype", KVM).returncode != 0:
        progress("libvirt knows no KVM there: guests are emulated")
        return EMULATION
    name = f"cutover-probe-{secrets.token_hex(4)}"
    started = _virsh(uri, "create", "/dev/stdin", stdin=GUEST.format(name=name))
    try:
        if started.returncode != 0:
            progress(f"a guest does not start under KVM ({_last_line(started)}): guests are emulated")
            return EMULATION
        wait_for("a guest to run under KVM", lambda: _runs(uri, name), timeout=START_LIMIT, cancel=cancel, progress=progress)
    except StepFailed:
        progress(f"a guest under KVM did nothing for {START_LIMIT:.0f} s: guests are emulated")
        return EMULATION
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _virsh(uri, "destroy", name)
    progress("a guest ran under KVM")
    return KVM


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
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"virsh ended with exit code {done.returncode}"

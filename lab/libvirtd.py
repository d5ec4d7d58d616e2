"""A libvirtd of the lab's own: its own network namespace, configuration, state and socket, so that one of this computer is not disturbed.

libvirtd's folders can't be configured, so it gets mounts of its own: private folders lie over /etc/libvirt, /var/lib/libvirt and the
others, seen by it and its guests only.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess

from lab import processes
from lab.errors import LabError
from lab.files import Lab
from lab.images import make_kvm_usable
from lab.progress import until
from tools.cache import write_atomically

PROGRAMS = ("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64", "qemu-img", "unshare")
CONFIGURATION = {
    "libvirtd.conf": 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0700"\n',
    # Disks are in the user's own folders, which another account could not enter. The lab's guests run nothing foreign.
    # All guests of a computer share one cgroup otherwise, and with it one process's worth of its processors.
    "qemu.conf": 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nremember_owner = 0\ncgroup_controllers = []\n',
    "virtlogd.conf": "",
}
SHUTDOWN = 300.0  # seconds that a guest may take to switch itself off: emulated ones are slow
# Called by libvirtd with a guest's name and what has become of it [libvirt.org/hooks.html]. An emulated guest is one process, and the kernel shares the
# processors out among sessions: next to the dozens of a lab's containers it would get two hundredths of one.
HOOK = """\
#!/bin/sh
[ "$2" = started ] || exit 0
pid=$(cat "/run/libvirt/qemu/$1.pid") || exit 0
if [ -e "/proc/$pid/autogroup" ]; then echo -4 >"/proc/$pid/autogroup"; else renice -n -4 -p "$pid"; fi >/dev/null
exit 0
"""


def socket(lab: Lab) -> str:
    """The socket of the lab's libvirtd."""
    return f"{lab.run_folder}/libvirt/libvirt-sock"


def uri(lab: Lab) -> str:
    """The connection URI, as pulumi-libvirt and virsh take it."""
    return f"qemu:///system?socket={socket(lab)}"


def start(lab: Lab) -> None:
    """Start virtlogd and libvirtd inside the lab's namespace, once, and wait until it answers.

    Raises:
        LabError: a program is missing, or it does not answer.
    """
    record = lab.run_folder / "libvirtd.json"
    if processes.find(record) and answers(lab):
        return
    missing = [name for name in PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if missing:
        raise LabError(f"{', '.join(missing)} not found", "guests under libvirtd need it", "run scripts/setup --for lab")
    stop(lab)
    make_kvm_usable()
    folder = lab.folder / "libvirt"
    places = {
        "/etc/libvirt": folder / "etc",
        "/var/lib/libvirt": folder / "lib",
        "/var/cache/libvirt": folder / "cache",
        "/var/log/libvirt": folder / "log",
        "/run/libvirt": lab.run_folder / "libvirt",
    }
    for path in (*places.values(), lab.pool):
        path.mkdir(parents=True, exist_ok=True)
    for name, text in CONFIGURATION.items():
        (folder / "etc" / name).write_text(text)
    write_atomically(folder / "etc/hooks/qemu", HOOK, 0o755)
    lines = ["set -eu", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    for place, path in places.items():
        lines += [f"mkdir -p {place}", f"mount --bind {shlex.quote(str(path))} {place}"]
    lines += [
        "virtlogd --daemon --config /etc/libvirt/virtlogd.conf --pid-file /run/libvirt/virtlogd.pid",
        "exec libvirtd --config /etc/libvirt/libvirtd.conf --pid-file /run/libvirt/libvirtd.pid",
    ]
    log = lab.folder / "libvirtd.log"
    processes.start(
        record,
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)],
        log,
        namespace=lab.namespace,
        environment={},
    )
    until("the lab's libvirtd", lambda: answers(lab), timeout=60, interval=0.2, remedy=f"read {log}")
    daemon = lab.run_folder / "libvirt/virtlogd.pid"
    processes.remember(lab.run_folder / "virtlogd.json", int(daemon.read_text()))


def answers(lab: Lab) -> bool:
    """Whether the lab's libvirtd answers."""
    return _virsh(lab, "version").returncode == 0


def domains(lab: Lab) -> dict[str, bool]:
    """The lab's guests: name -> running."""
    if not answers(lab):
        return {}
    listed = {kind: _virsh(lab, "list", "--name", kind).stdout.split() for kind in ("--all", "--state-running")}
    return {name: name in listed["--state-running"] for name in listed["--all"]}


def power_on(lab: Lab) -> None:
    """Start guests that are off, as after a restart of this computer."""
    for name, runs in domains(lab).items():
        if not runs:
            _virsh(lab, "start", name)


def power_off(lab: Lab, kind: str) -> None:
    """Switch guests off as their own `poweroff` would, those whose name has this in it, and wait.

    Raises:
        LabError: one is still on.
    """
    wanted = {name for name, runs in domains(lab).items() if runs and kind in name}
    for name in wanted:
        _virsh(lab, "shutdown", name)

    def off() -> bool:
        return not any(runs for name, runs in domains(lab).items() if name in wanted)

    until(
        f"the end of {', '.join(sorted(wanted)) or 'no guest'}",
        off,
        timeout=SHUTDOWN,
        remedy="see `virsh console` of the guest that is left",
    )


def stop(lab: Lab) -> None:
    """End the lab's guests, libvirtd and virtlogd, whichever of them run."""
    if processes.find(lab.run_folder / "libvirtd.json"):
        for name, runs in domains(lab).items():
            if runs:
                _virsh(lab, "destroy", name)
    processes.stop(lab.run_folder / "libvirtd.json", "the lab's libvirtd")
    processes.stop(lab.run_folder / "virtlogd.json", "the lab's virtlogd")


def _virsh(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["virsh", "--quiet", "--connect", uri(lab), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

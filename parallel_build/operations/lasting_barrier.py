"""Keeps the barrier before the users over a reboot of the server: a unit puts the rules back before the network is up.

Packet filters forget their rules with the kernel. A new server that is rebooted before it is accepted would let users in, and so would one of the
original that is rebooted before it is stopped. The unit comes after services that load rules of their own, since some of them flush everything first.
"""

from __future__ import annotations

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER

UNIT = "cloudstack-parallel-build-users-out.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SCRIPT = f"{FOLDER}/users-out.sh"
LOADERS = "nftables.service firewalld.service iptables.service ip6tables.service netfilter-persistent.service ufw.service"
CONTENT = f"""[Unit]
Description=Users stay out of this server until the upgrade of CloudStack lets them in
DefaultDependencies=no
After=local-fs.target {LOADERS}
Wants=network-pre.target
Before=network-pre.target cloudstack-management.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {SCRIPT}

[Install]
WantedBy=multi-user.target
"""
REMOVE = f"""
[ -e {UNIT_FILE} ] || [ -L /etc/systemd/system/multi-user.target.wants/{UNIT} ] || [ -e {SCRIPT} ] || exit 0
rm -f /etc/systemd/system/multi-user.target.wants/{UNIT} {UNIT_FILE} {SCRIPT}
systemctl daemon-reload
"""


def keep(host: Access, rules: str) -> None:
    """Have the rules put back at every boot until `forget`; the same rules again are no change.

    Args:
        rules: a shell script that puts up the barrier, whatever is there of it.
    Raises:
        StepFailed: systemd does not take the unit.
    """
    if host.read(SCRIPT) != rules.encode():
        host.run(["mkdir", "-p", "-m", "0700", FOLDER])
        host.write(SCRIPT, rules, mode=0o600)
    if host.read(UNIT_FILE) != CONTENT.encode():
        host.write(UNIT_FILE, CONTENT, mode=0o644)
        host.run(["systemctl", "daemon-reload"])
    # The link alone makes it start at boot: `enable` of an old systemd starts or complains about units that it does not know yet.
    enabled = host.run(["systemctl", "enable", "--quiet", UNIT], ok=None)
    if enabled.code != 0 or not kept(host):
        raise StepFailed(
            f"{host.name}: the barrier before the users would be gone after a reboot",
            enabled.stderr.strip()[:200] or f"systemd did not enable {UNIT}",
            f"see `systemctl status {UNIT}` there, or keep users out another way (window.userAccess.method cidr or command)",
        )


def forget(host: Access) -> None:
    """Take the unit away; needs no room on the disk. Nothing happens where there is none."""
    host.script(REMOVE, cancellable=False)


def kept(host: Access) -> bool:
    """Whether the barrier comes back at a boot."""
    return host.run(["systemctl", "is-enabled", UNIT], ok=None).stdout.strip() == "enabled"

"""The time server of the lab's site: a guest's clock is its own, set by an emulated chip to the second and counted by an emulated processor.

It runs on one of the original's containers, which have this computer's clock and may not set it: it only serves it.
"""

from __future__ import annotations

from lab.hosts import Service
from lab.machines import NETWORK
from parallel_build.machines.provisioning import File

UNIT = "lab-time.service"
CONFIGURATION = "/etc/chrony/lab-time.conf"

SERVICE = Service(
    files=(
        # `local`: a source although it follows none itself [chrony.conf(5)]. No command socket: nobody has anything to ask it.
        File(CONFIGURATION, f"local stratum 8\nallow {NETWORK}\ncmdport 0\nbindcmdaddress /\npidfile /run/lab-time.pid\n"),
        File(
            f"/etc/systemd/system/{UNIT}",
            "[Unit]\nDescription=Tell the time to the lab's guests\nAfter=network.target\n"
            f"[Service]\nExecStart=/usr/sbin/chronyd -d -x -f {CONFIGURATION}\nRestart=on-failure\n"
            "[Install]\nWantedBy=multi-user.target\n",
        ),
    ),
    units=(UNIT,),
)

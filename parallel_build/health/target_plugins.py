"""Whether the target's packages on a new management server have CloudStack's plug-in for VMware: only those of a noredist build have it.

Without it the schema upgrade passes, in a rehearsal as well, and no VMware host ever comes up on the new side.
"""

from __future__ import annotations

import json

from parallel_build.health.target_scripts import LIBRARY
from parallel_build.health.target_settings import WITNESS
from parallel_build.remote.access import Access

VMWARE = "META-INF/cloudstack/vmware-compute/"
# Prints true or false; null where the program is not there.
READER = r"""
import glob, json, sys, zipfile
names = set()
for jar in glob.glob(sys.argv[1] + "/*.jar"):
    try:
        names.update(zipfile.ZipFile(jar).namelist())
    except zipfile.BadZipFile:
        continue
print(json.dumps(any(name.startswith(sys.argv[3]) for name in names) if sys.argv[2] in names else None))
"""


def knows_vmware(host: Access) -> bool | None:
    """Whether the plug-in is there; None where the target's program is not on that server.

    Args:
        host: a new management server.
    """
    shown = host.run(["python3", "-", LIBRARY, WITNESS, VMWARE], input=READER, timeout=60, ok=(0, 1, 127))
    found: bool | None = json.loads(shown.stdout) if shown.ok and shown.stdout.strip() else None
    return found

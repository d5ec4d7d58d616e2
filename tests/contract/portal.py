"""A billing portal: with a user's own keys it lists the user's virtual machines, with an administrator's the events of all. Keys from the environment."""

from __future__ import annotations

import os
import sys

import cs

PATIENCE = 20  # seconds that it waits for an answer


def main(url: str) -> None:
    """Read once; an exception is an exit code that is not 0."""
    user = cs.CloudStack(endpoint=url, key=os.environ["PORTAL_KEY"], secret=os.environ["PORTAL_SECRET"], timeout=PATIENCE)
    user.listVirtualMachines()
    admin = cs.CloudStack(endpoint=url, key=os.environ["CLOUDSTACK_KEY"], secret=os.environ["CLOUDSTACK_SECRET"], timeout=PATIENCE)
    admin.listEvents(pagesize=20, page=1)


if __name__ == "__main__":
    main(sys.argv[1])

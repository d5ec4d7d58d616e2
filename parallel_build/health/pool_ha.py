"""Whether the pools of XenServer and XCP-ng hosts have high availability on, which CloudStack relies on when a pool's master is lost.

Since CloudStack 4.4 it leaves the choice of another master to the pool [upgrade guide, XenServer section; its `xe pool-enable-ha` is called
`xe pool-ha-enable`]. Only a host can be asked for it: neither the cloud's database nor its API has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from parallel_build.errors import CommandFailed
from parallel_build.remote.access import Access

# One line a pool: its name, a tab, true or false. A host has one pool, its own or the one that it is in.
READER = r"""
set -eu
pools=$(xe pool-list --minimal)
for pool in $(printf %s "$pools" | tr , ' '); do
  printf '%s\t%s\n' "$(xe pool-param-get uuid="$pool" param-name=name-label)" "$(xe pool-param-get uuid="$pool" param-name=ha-enabled)"
done
"""


@dataclass(frozen=True)
class Pool:
    """A pool as one of its hosts describes it.

    Attributes:
        host: the host that was asked, by its name in the stack.
        name: the pool's label; empty for one that was never named, such as a single host's.
        on: whether high availability is on.
    """

    host: str
    name: str
    on: bool


def read(host: Access) -> Pool:
    """Ask one XenServer or XCP-ng host.

    Raises:
        ConnectionFailed: it can't be reached.
        CommandFailed: it has no `xe`, or its pool did not say.
    """
    shown = host.run(["sh", "-c", READER], timeout=60).stdout
    name, tab, on = shown.rstrip("\n").rpartition("\t")
    if not tab or "\n" in name or on not in ("true", "false"):
        raise CommandFailed(
            f"{host.name}: `xe pool-list` did not say whether high availability is on",
            f"it printed {shown.strip()!r}",
            f"run `xe pool-list params=name-label,ha-enabled` on {host.name}",
        )
    return Pool(host.name, name, on == "true")

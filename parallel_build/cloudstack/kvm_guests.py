"""Which guests KVM hosts have, asked of all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parallel_build.configuration import Hypervisor
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import AT_ONCE, Workers


def kvm_hosts(hypervisors: Sequence[Hypervisor]) -> list[Hypervisor]:
    """Those that can be asked for their guests."""
    return [each for each in hypervisors if each.kind == "kvm"]


def listed(hypervisors: Sequence[Hypervisor], host: Callable[[Hypervisor], Access], *, running: bool) -> dict[str, set[str] | None]:
    """Names of the guests of each KVM host, by the host's name; None where one can't be asked.

    Args:
        running: only those that run, not those that are only defined there.
    """
    words = ["virsh", "list", *([] if running else ["--all"]), "--name"]

    def ask(hypervisor: Hypervisor) -> set[str] | None:
        try:
            return set(host(hypervisor).run(words).stdout.split())
        except (ConnectionFailed, CommandFailed):
            return None

    asked = kvm_hosts(hypervisors)
    with Workers(AT_ONCE) as pool:
        return {each.name: names for each, names in zip(asked, pool.map(ask, asked), strict=True)}

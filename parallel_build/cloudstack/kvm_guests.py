"""Which guests KVM hosts have, asked of all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from parallel_build.configuration import Hypervisor
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import AT_ONCE, Workers


def named(hypervisors: Iterable[Hypervisor], name: object) -> Hypervisor | None:
    """The stack's hypervisor that the cloud knows by a name; either name may be the host's full one. None where none is, or more than one may be."""
    known, listed_ = str(name or "").lower(), list(hypervisors)
    if same := [each for each in listed_ if each.name == known]:
        return same[0]
    short = [each for each in listed_ if each.name == known.partition(".")[0] or (known and each.name.partition(".")[0] == known)]
    return short[0] if len(short) == 1 else None


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

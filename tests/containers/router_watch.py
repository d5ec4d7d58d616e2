"""Which routers run on the lab's KVM hosts, looked at all the time by the hosts themselves: for how long a network had none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.containers.conftest import LabRunner

HOSTS = ("kvm1", "kvm2")
UNIT = "router-watch"
# One line a look: the time, and the names of the routers that run.
LOOK = (
    "while :; do printf '%s' $(date +%s.%N); systemctl list-units --plain --no-legend --state=active 'cloud-vm-r-*' "
    '| awk \'{sub(/^cloud-vm-/, "", $1); sub(/[.]service$/, "", $1); printf " %s", $1}\'; echo; sleep 0.2; done >/run/router-watch'
)


@dataclass
class Watch:
    """What was seen: moments and names, by host."""

    looks: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=dict)

    def gaps(self, of: Mapping[str, str]) -> dict[str, float]:
        """The longest time without a running router, in seconds, of each network that had one at first; infinite where none came back.

        Args:
            of: network by name of a router.
        """
        moments = sorted((moment, host, names) for host, looks in self.looks.items() for moment, names in looks)
        now: dict[str, frozenset[str]] = {}
        last: dict[str, float] = {}
        gaps: dict[str, float] = {}
        missing: set[str] = set()
        for moment, host, names in moments:
            now[host] = names
            if len(now) < len(self.looks):
                continue
            there = {of[name] for running in now.values() for name in running if name in of}
            for network in there:
                gaps[network] = max(gaps.get(network, 0.0), moment - last[network] if network in missing else 0.0)
                last[network] = moment
            missing = last.keys() - there
        return gaps | dict.fromkeys(missing, float("inf"))


@contextmanager
def watching(lab: LabRunner) -> Iterator[Watch]:
    """Look while the block runs."""
    watch = Watch()
    for host in HOSTS:
        lab.shell(host, f"cat >/run/{UNIT}.sh <<'END'\n{LOOK}\nEND\nsystemd-run --quiet --collect --unit={UNIT} bash /run/{UNIT}.sh")
    try:
        yield watch
    finally:
        for host in HOSTS:
            lab.shell(host, f"systemctl stop {UNIT}", check=False)
            lines = [line.split() for line in lab.shell(host, f"cat /run/{UNIT}", check=False).splitlines()]
            watch.looks[host] = [(float(words[0]), frozenset(words[1:])) for words in lines[:-1]]

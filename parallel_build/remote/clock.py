"""A server's clocks: how far it is ahead, and how long it is up."""

from __future__ import annotations

import time
from dataclasses import dataclass

from parallel_build.remote.access import Access


@dataclass(frozen=True)
class Clock:
    """How far a server's clock is ahead of this machine's, in seconds, and how wrong that reading may be."""

    ahead: float
    uncertain: float


def read_clock(host: Access) -> Clock:
    """Read a server's clock; the quickest of three questions counts, half its round trip is the uncertainty."""
    return min((_ask_clock(host) for _ in range(3)), key=lambda read: read.uncertain)


def _ask_clock(host: Access) -> Clock:
    began, asked = time.time(), time.monotonic()
    text = host.run(["date", "+%s.%N"], timeout=15).stdout.strip()
    half = (time.monotonic() - asked) / 2  # this machine's own clock may be set meanwhile, and the quickest answer would be the wrong one
    moved = abs(time.time() - began - 2 * half)
    return Clock(float(text) - (began + half), half + moved)


@dataclass(frozen=True)
class HostClock:
    """The clocks of one host: seconds since its boot, which no correction moves, and its time of day.

    Attributes:
        boot: what tells this boot from another.
        uptime: seconds since the boot.
        time: seconds since 1970.
    """

    boot: str
    uptime: float
    time: float

    def since(self, earlier: HostClock) -> float:
        """Seconds from `earlier` to this: by uptime, and only over a reboot by the time of day."""
        return max(0.0, self.uptime - earlier.uptime if self.boot == earlier.boot else self.time - earlier.time)


def read_host_clock(host: Access) -> HostClock:
    """Ask a host for its clocks."""
    words = host.script("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f1 /proc/uptime; date +%s.%N").stdout.split()
    return HostClock(words[0], float(words[1]), float(words[2]))

"""Calls of users that a server has received and not answered yet, by the state of their connections: they end first, whatever holds users out.

A call that is cut off was made all the same, and the job that it begins a moment later is in no list. Who has sent something since the server last did
waits for an answer; a connection that is answered is idle. [ss(8): data_segs_in, data_segs_out, lastsnd and lastrcv, in milliseconds]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConnectionFailed
from parallel_build.remote.access import Access
from parallel_build.remote.parallel import Workers

ANSWERED_WITHIN = 30.0  # seconds for the longest call; one that hangs must not keep users out for longer
BETWEEN = 0.2
USED_LATELY = 1000  # ms in which a connection that is answered may bring its next call
FOR_NEXT = 15  # looks for which such a one is left open
MOST = 200  # connections that one question of ss can leave out
# No character classes: mawk of older systems knows none; and no -H, which an old ss does not know: a heading has no details under it.
# $1 names the connections, $2 is for how many milliseconds after its last answer one counts as well.
CALLS = """
calls() { ss -tin state established "$1" 2>/dev/null | awk -v lately="$2" '
  !/^[ \t]/ { queued = $1 + $2; peer = $4; next }
  { split("", is); for (i = 1; i <= NF; i++) if (split($i, p, ":") == 2) is[p[1]] = p[2] + 0
    known = $0 ~ /data_segs_/; asked = !known || is["data_segs_in"]; silent = known && !is["data_segs_out"]
    if (queued || (asked && (silent || is["lastrcv"] < is["lastsnd"] || is["lastrcv"] < lately))) print peer }'; }
"""
LET_END = """
n=0
while [ $n -lt {looks} ]; do
  late=0; [ $n -ge {for_next} ] || late={lately}
  open=$(calls '{which}' $late) || break
  [ -n "$open" ] || break
  if [ "$(echo "$open" | wc -l)" -le {most} ]; then
    ss -Kt state established "{which} and not ( $(echo "$open" | sed 's/^/dst /; $!s/$/ or/' | tr '\\n' ' '))" >/dev/null 2>&1 || true
  fi
  n=$((n+1)); sleep {between}
done
"""


def let_end(which: str, within: float) -> str:
    """A script that closes idle connections and waits for the others.

    Args:
        which: the connections, for ss.
        within: seconds at most.
    """
    looks = max(1, round(within / BETWEEN))
    return CALLS + LET_END.format(which=which, looks=looks, for_next=FOR_NEXT, lately=USED_LATELY, most=MOST, between=BETWEEN)


def received(host: Access, which: str) -> set[str]:
    """Where the callers are whose call a server has received and not answered; none where it has no ss."""
    return set(host.script(f"{CALLS}calls '{which}' 0", ok=None).stdout.split())


def await_answered(hosts: Sequence[Access], which: str, within: float, cancel: CancelToken, progress: Callable[[str], None]) -> None:
    """Wait until every call that servers have received by now is answered; later ones are nobody's who is let in.

    Args:
        within: seconds at most; what is not answered then is left to itself, and shown.
    """
    end = time.monotonic() + within
    with Workers(max(1, len(hosts)), cancel) as pool:
        left = list(pool.map(partial(_asked, which=which), hosts))
        while any(left):
            if time.monotonic() > end:
                names = ", ".join(f"{len(peers)} on {host.name}" for host, peers in zip(hosts, left, strict=True) if peers)
                progress(
                    f"calls that were received before users were out are not answered after {within:.0f} s: {names}; nobody waits for them"
                )
                return
            cancel.wait(BETWEEN)
            left = [before & now for before, now in zip(left, pool.map(partial(_asked, which=which), hosts), strict=True)]


def _asked(host: Access, which: str) -> set[str]:
    try:
        return received(host, which)
    except ConnectionFailed:
        return set()  # the next step proves that it is down

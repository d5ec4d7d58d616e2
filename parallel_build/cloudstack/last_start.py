"""Why a management server that was started before does not serve: how its process ended, or what its last start logged."""

from __future__ import annotations

import base64
import gzip

from parallel_build.cloudstack import start_causes, unit_end
from parallel_build.cloudstack.log import MANAGEMENT_LOG, StartReading
from parallel_build.cloudstack.services import MANAGEMENT, Services
from parallel_build.cloudstack.start_causes import Cause
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.access import Access

BEGIN = "Initializing server daemon"
MOST = 20000  # lines of one start; a failed one has hundreds
READ = r"""
n=$(grep -n "$2" "$1" | tail -n 1 | cut -d: -f1)
[ -z "$n" ] || tail -n "+$n" "$1" | head -n "$3" | gzip -c | base64
"""


def why(host: Access, path: str = MANAGEMENT_LOG) -> tuple[str, Cause]:
    """How its unit stands, to follow the unit's name, and the cause; the remedy is that of a new server's start."""
    try:
        ended = None if Services(host).state(MANAGEMENT).active else unit_end.read(host, MANAGEMENT)
        reading = read(host, path)
    except ParallelBuildError as error:
        return "does not serve", Cause(f"why can't be read there: {error.fact}", f"see {path} there")
    if ended is not None and ended.cause is not None:
        return ended.words, Cause(*ended.cause)
    return ended.words if ended else "runs and does not serve", start_causes.find(reading, path=path) or start_causes.unknown(reading, "")


def read(host: Access, path: str = MANAGEMENT_LOG) -> StartReading:
    """What the log has of the last start."""
    packed = host.script(READ, [path, BEGIN, str(MOST)], ok=None).stdout
    reading = StartReading()
    for line in gzip.decompress(base64.b64decode(packed)).decode(errors="replace").splitlines() if packed.strip() else ():
        reading.take(line)
    return reading

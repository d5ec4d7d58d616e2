"""Has the new source follow the original past statements about databases that are not copied: see `foreign_statements`, which does it there.

The program runs as the transient unit `cutover-channel` as long as there is the channel, and ends itself when it is gone. Whoever finds the applier stopped
uses `revive` at once, so nobody has to wait for the unit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from parallel_build.database.copy import run_worker
from parallel_build.database.replicate import log_archive
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import login_words
from parallel_build.remote.database_socket import find_socket

UNIT = "cutover-channel"
FOLDER = f"/run/{UNIT}"
INTERVAL = 1.0  # seconds between two looks
START = r"""
unit=$1 python=$2 program=$3 job=$4
systemctl is-active --quiet "$unit" && exit 0
systemctl reset-failed "$unit" 2>/dev/null || true
exec systemd-run --quiet --collect --unit="$unit" --property=UMask=0077 --property=Restart=on-failure --property=RestartSec=5 \
  --property=LimitCORE=0 "$python" "$program" "$job"
"""


def watch(target: Access, server: DatabaseServer) -> None:
    """Have the channel looked after from now on, by what `prepare` has put in place. Done already means nothing happens."""
    python = run_worker.find_tools(target, server).python
    target.script(START, [UNIT, python, f"{FOLDER}/watch.pyz", f"{FOLDER}/job.json"], cancellable=False)


def revive(target: Access, server: DatabaseServer, channel: str, schemas: Sequence[str]) -> str:
    """Pass over the statement that the channel's applier has stopped at, where it is proved to be about other databases alone.

    Returns:
        That statement in words; empty where the applier stays as it is.
    """
    python = prepare(target, server, channel, schemas, fold=True)
    found = target.run([python, f"{FOLDER}/watch.pyz", f"{FOLDER}/job.json", "once"], timeout=180, ok=None)
    return found.stdout.strip() if found.ok else ""


def prepare(target: Access, server: DatabaseServer, channel: str, schemas: Sequence[str], *, fold: bool) -> str:
    """Put the program and its job in place where they are not; the Python that runs it.

    Args:
        channel: its name.
        schemas: the databases that are copied.
        fold: the original does not tell capitals from small letters in names.
    """
    tools = run_worker.find_tools(target, server)
    if target.run(["test", "-s", f"{FOLDER}/job.json"], ok=(0, 1)).ok:
        return tools.python
    job = {
        "client": [tools.client, *login_words(target, str(find_socket(target)), f"{FOLDER}/client.cnf")], "family": server.family, "channel": channel,
        "schemas": list(schemas), "fold": fold, "interval": INTERVAL,
    }  # fmt: skip
    target.run(["mkdir", "-p", "-m", "700", FOLDER], cancellable=False)
    target.write(f"{FOLDER}/watch.pyz", log_archive.archive("foreign_statements"))
    target.write(f"{FOLDER}/job.json", json.dumps(job))
    return tools.python

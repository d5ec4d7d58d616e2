"""One transfer as a process of its own, so that tests can kill it as an operator's machine would: `python -m tests.containers.database_tool`.

Reads a JSON line from standard input (method, machines, databases), prints `phase NAME` as it advances, and before the window waits for a line
that says that the users are out. Calls what the product's steps call, in their order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, Ssh
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import seed
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.host import Host


def describe(host: Host, key: str) -> dict[str, str]:
    """What another process needs to reach `host`."""
    return {
        "name": host.server.name, "address": host.server.address, "key": key, "identity": str(host.ssh.identity_file),
        "folder": str(host.folder),
    }  # fmt: skip


def _host(given: dict[str, str], cancel: CancelToken) -> Host:
    folder = Path(given["folder"]) / "tool"
    folder.mkdir(mode=0o700, exist_ok=True)
    ssh = Ssh(identity_file=Path(given["identity"]), config_file=Path("/dev/null"))
    return Host(Server(name=given["name"], address=given["address"]), ssh, folder, given["key"], cancel)


def _phase(name: str) -> None:
    print(f"phase {name}", flush=True)


def _dump(source: Host, target: Host, job: dict[str, Any], cancel: CancelToken) -> None:
    _phase("copy")
    if not copy.finished(target):
        copy.copy(source, target, job["schemas"], threads=3, cancel=cancel, progress=_quiet, bytes_per_second=job["bytes_per_second"])
    _phase("compare")
    compare.compare(source, target, job["schemas"], threads=2, cancel=cancel, progress=_quiet).raise_if_different()


def _replicate(source: Host, target: Host, job: dict[str, Any], cancel: CancelToken) -> None:
    _phase("seed")
    seed.seed(source, target, job["schemas"], threads=3, cancel=cancel, progress=_quiet, bytes_per_second=job["bytes_per_second"])
    _phase("follow")
    baseline = seed.compare_at_position(source, target, job["schemas"], threads=2, cancel=cancel, progress=_quiet)
    baseline.comparison.raise_if_different()
    with seed.Takeover(source, target, job["schemas"], baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
        takeover.advance()
        _phase("users")
        sys.stdin.readline()
        _phase("takeover")
        takeover.catch_up(timeout=60)
        takeover.compare_changes().raise_if_different()
        takeover.promote()


def _quiet(text: str) -> None:
    del text


def main() -> int:
    job = json.loads(sys.stdin.readline())
    cancel = CancelToken()
    source, target = _host(job["source"], cancel), _host(job["target"], cancel)
    try:
        (_dump if job["method"] == "dump" else _replicate)(source, target, job, cancel)
    except ParallelBuildError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        source.close()
        target.close()
    _phase("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Bringing files as a process of its own, so that tests can kill it as an operator's machine would: `python -m tests.containers.files_tool`.

Reads a JSON line from standard input (machines, databases), prints `phase NAME` as it advances. Does what the product's step does, in its order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from parallel_build.cancel import CancelToken
from parallel_build.database.compare import compare
from parallel_build.database.copy import copy as rows
from parallel_build.database.physical import copy, facts, staging
from parallel_build.database.physical.copy import FilesReport
from parallel_build.database.schema import definitions
from parallel_build.errors import ParallelBuildError
from parallel_build.remote.access import Access
from parallel_build.remote.sql import session
from tests.containers.database_tool import _host, _phase


def bring(
    source: Access, target: Access, replicas: Sequence[Access], schemas: Sequence[str], cancel: CancelToken | None = None
) -> FilesReport:
    """From whatever an earlier try left."""
    cancel = cancel or CancelToken()
    undo(source, target, replicas, schemas)
    with session(source) as opened:
        files = facts.files(opened, [definitions.read(opened, name) for name in schemas])
    return copy.copy(source, target, replicas, schemas, files, threads=3, cancel=cancel, progress=lambda text: None)


def undo(source: Access, target: Access, replicas: Sequence[Access], schemas: Sequence[str]) -> None:
    """As the window's undo: nothing of it is left, and the databases are empty."""
    if staging.read(target) is not None:
        staging.end_backup(source)
        staging.settle(target, replicas, CancelToken())
    rows.empty(target, schemas)


def same(source: Access, target: Access, schemas: Sequence[str]) -> int:
    """Compare everything; the rows compared."""
    verdict = compare.compare(source, target, schemas, threads=2, cancel=CancelToken(), progress=lambda text: None)
    verdict.raise_if_different()
    return verdict.rows


def main() -> int:
    job = json.loads(sys.stdin.readline())
    cancel = CancelToken()
    source, target, *replicas = (_host(each, cancel) for each in job["hosts"])
    try:
        _phase("bring")
        bring(source, target, replicas, job["schemas"], cancel)
        _phase("compare")
        for target_of in (target, *replicas):
            same(source, target_of, job["schemas"])
    except ParallelBuildError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for host in (source, target, *replicas):
            host.close()
    _phase("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

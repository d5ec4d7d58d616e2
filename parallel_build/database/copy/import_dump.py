"""A dump file read into an empty database, through the server's own client program; it is unpacked on the way and never held in memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access

UNPACK = {".gz": ["gzip", "-dc"], ".xz": ["xz", "-dc"], ".zst": ["zstd", "-dc"], ".bz2": ["bzip2", "-dc"], ".sql": ["cat"]}
# MariaDB's dump programs begin with a word to their own client, which others take for a wrong command.
WITHOUT_SANDBOX = ["sed", "-e", r"1{/^\/\*M\{0,1\}!999999.*enable the sandbox mode/d;}"]
LIMIT = 24 * 3600.0  # seconds for one file


def load(host: Access, client: list[str], schema: str, path: Path, *, cancel: CancelToken, progress: Callable[[str], None]) -> None:
    """Read one dump into a database.

    Args:
        client: words of the client program on the host, logged in as root.
        schema: the database, which is there and empty.
        path: the file, on this machine.
    Raises:
        StepFailed: there is no such file, it can't be unpacked, or the server refuses it; with the server's words.
        Cancelled: stopping was asked for.
    """
    if path.suffix not in UNPACK:
        raise StepFailed(
            f"{path} is no dump", f"its name ends in none of {', '.join(UNPACK)}", "name a file .sql, .sql.gz, .sql.xz or .sql.zst"
        )
    if not path.is_file():
        raise StepFailed(
            f"there is no dump {path}", "rehearsal.dump names it", "put it there, or take rehearsal.dump out to copy the original"
        )
    began = shown_at = time.monotonic()
    with path.open("rb") as packed:
        unpacking = subprocess.Popen(UNPACK[path.suffix], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        plain = subprocess.Popen(WITHOUT_SANDBOX, stdin=unpacking.stdout, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"})
        importing = subprocess.Popen(
            host.piped([*client, schema], LIMIT),
            stdin=plain.stdout,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            while importing.poll() is None:
                cancel.wait(0.5)
                if time.monotonic() - shown_at >= 5:
                    shown_at = time.monotonic()
                    read = packed.tell() / max(1, path.stat().st_size)
                    progress(f"reading {path.name} into {schema}: {read:.0%}")
        finally:
            for process in (importing, plain, unpacking):
                if process.poll() is None:
                    process.terminate()
        assert importing.stderr is not None and unpacking.stderr is not None and unpacking.stdout is not None and plain.stdout is not None
        printed = importing.stderr.read().decode(errors="replace").strip().splitlines()
        # So that each sees when the one after it is gone.
        plain.stdout.close()
        unpacking.stdout.close()
        broken = unpacking.stderr.read().decode(errors="replace").strip()
        importing.wait()
        plain.wait()
        unpacking.wait()
    if importing.returncode != 0 or (unpacking.returncode != 0 and broken):
        # A file that ends too soon makes the server complain of its last statement: the unpacking program's word is the cause.
        cause = broken if unpacking.returncode > 0 and broken else printed[-1] if printed else broken
        raise StepFailed(
            f"{path.name} could not be read into {schema} on {host.name}", cause, "see whether the file is whole, else make the dump again"
        )
    progress(f"{path.name} is in {schema} after {time.monotonic() - began:.1f} s")

"""No core files: what a process holds in its memory - passwords, keys - must never reach a disk in a core dump."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

# Of a core file, in bytes. No file is as small, so none is written. Not 0: where the system hands cores to a program of its own (apport,
# systemd-coredump) the kernel looks at no limit but this one, and then starts that program for nobody [man 5 core; fs/coredump.c].
LIMIT = 1
PR_SET_DUMPABLE = 4  # [linux/prctl.h]


def refuse() -> None:
    """Have this process, and every program that it starts, leave no core file. To be called before the first secret is read.

    The limit is handed on to all programs that are started from here (ssh, pulumi). That the process itself can't be dumped at all is not:
    a program that is started has its own. It also keeps other processes of the same account from reading this one's memory, and debuggers out;
    root, and the process itself, still read everything in /proc.
    Raises:
        OSError: the system refuses it.
    """
    # A limit that is lower already can't be raised by everybody.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = LIMIT if hard == resource.RLIM_INFINITY else min(LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"this process can't be kept from leaving a core file: {os.strerror(number)}")

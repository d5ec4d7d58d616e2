"""Network namespaces: asking something inside one, and moving this process into one."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
FOLDER = Path("/run/netns")


def enter(namespace: str) -> None:
    """Move the calling thread, and what it starts from now on, into a named network namespace.

    Only the network changes: unlike `ip netns exec` this leaves the mounts as they are, so that a mount made later is seen by everybody.

    Raises:
        OSError: there is no such namespace, or the caller is not root.
    """
    handle = os.open(FOLDER / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)


def inside(namespace: str, call: Callable[[], T]) -> T:
    """Run `call` in a thread that is inside `namespace`; sockets it opens stay there. Its exceptions pass through."""
    result: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            enter(namespace)
            result.append(call())
        except BaseException as error:  # Handed to the caller's thread.
            errors.append(error)

    thread = threading.Thread(target=work, name=f"in-{namespace}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def ssh_answers(namespace: str, address: str, timeout: float = 2) -> bool:
    """Whether an SSH server greets at `address`, port 22, seen from inside `namespace`."""

    def ask() -> bool:
        try:
            with socket.create_connection((address, 22), timeout=timeout) as connection:
                connection.settimeout(timeout)
                return connection.recv(8).startswith(b"SSH-")
        except OSError:
            return False

    return inside(namespace, ask)

"""A server that a test answers for: what `Access` does with files and scripts is really done, in words of the test's own `run`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server
from parallel_build.remote.access import Access
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret


@functools.cache
def _server(name: str) -> Server:
    """Tests ask for tens of thousands of hosts, and for a dozen names."""
    return Server(name=name, address="192.0.2.1")


class AskedHost(Access):
    """Access to a server of which a test needs only what it answers itself.

    Args:
        name: as the stack names the server.
    """

    def __init__(self, name: str = "olddb1") -> None:
        super().__init__(_server(name), CancelToken())

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30,
        input: bytes | str | Secret | None = None,
        ok: Sequence[int] | None = (0,),
        cancellable: bool = True,
    ) -> Result:
        """No command is asked for, where a test does not say what it answers."""
        raise AssertionError(argv)

    def piped(self, argv: Sequence[str], timeout: float) -> list[str]:
        """No pipe leads there."""
        raise AssertionError(argv)

    def forward(self, remote: str) -> AbstractContextManager[Path]:
        """Nothing is forwarded from there."""
        raise AssertionError(remote)

    def offer(self, local: Path) -> AbstractContextManager[int]:
        """Nothing is offered to it."""
        raise AssertionError(local)

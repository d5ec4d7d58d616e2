"""A server of which nothing but its files matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.asked_host import AskedHost


class Files(AskedHost):
    """Access to files that are kept in memory.

    Args:
        name: as the stack names the server.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.files: dict[str, bytes] = {}

    def read(self, path: str, **_: Any) -> bytes | None:
        """A file's content, None where there is none."""
        return self.files.get(path)

    def write(self, path: str, content: bytes | str | Secret, **_: Any) -> None:
        """Write a file."""
        text = content.reveal() if isinstance(content, Secret) else content
        self.files[path] = text.encode() if isinstance(text, str) else text

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """Every command succeeds; `rm -f` takes its file away."""
        if list(argv[:2]) == ["rm", "-f"]:
            self.files.pop(argv[2], None)
        return Result(0, "", "")

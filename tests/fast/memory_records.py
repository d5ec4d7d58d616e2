"""The window's record in memory: the rules of the real store, without a server."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.resolved_stack import Site


class Records(WindowStore):
    """A store whose record is an attribute.

    Args:
        record: what is on record; None for nothing.
        site: the stack that asks.
        token: number of the run that asks.
    """

    def __init__(self, record: WindowRecord | None, site: Site, token: int | None = None) -> None:
        host: Any = SimpleNamespace(name="olddb1", token=token)
        super().__init__(host, site)
        self.record, self.written = record, 0

    def read(self) -> WindowRecord | None:
        return self.record

    def journal(self, what: str) -> None:
        """Kept nowhere."""

    def _change(self, change: Callable[[WindowRecord], None], what: str = "") -> WindowRecord:
        self.record = self._mine(self.record)
        self.check_run(self.record)
        before = self.record.to_json()
        change(self.record)
        self.written += self.record.to_json() != before
        return self.record

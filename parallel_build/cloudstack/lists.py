"""The API of a cloud of which only lists are asked: each question once, whatever asks it again."""

from __future__ import annotations

import threading
from typing import Any

from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud
from parallel_build.rules import Unanswered

# Commands that answer with one object instead of a list.
SINGLE = {
    "listCapabilities": "capability",
    "listDbMetrics": "dbMetrics",
    "listUsageServerMetrics": "usageMetrics",
    "listInfrastructure": "infrastructure",
}
UNKNOWN_COMMAND = 432
Items = list[dict[str, Any]]


class CloudLists:
    """Lists of a cloud; nothing else can be called by it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._found: dict[tuple[str, tuple[tuple[str, str], ...]], Items | str] = {}
        self._locks: dict[tuple[str, tuple[tuple[str, str], ...]], threading.Lock] = {}
        self._lock = threading.Lock()

    def list(self, command: str, **parameters: Any) -> Items:
        """Every item of a list command, all pages.

        Raises:
            Unanswered: this cloud does not know the command, or does not answer it.
            ValueError: the command is none that lists.
        """
        if not command.startswith("list"):
            raise ValueError(f"{command} is no command that lists")
        key = command, tuple(sorted((name, str(value)) for name, value in parameters.items()))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._found:
                self._found[key] = self._ask(command, parameters)
        found = self._found[key]
        if isinstance(found, str):
            raise Unanswered(found)
        return found

    def _ask(self, command: str, parameters: dict[str, Any]) -> Items | str:
        try:
            if command in SINGLE:
                reply = self._cloud.call(command, **parameters).get(SINGLE[command])
                return [reply] if isinstance(reply, dict) else f"{command} gave no {SINGLE[command]}"
            return self._cloud.list(command, **parameters)
        except ApiRefused as error:
            return f"this version has no {command}" if error.code == UNKNOWN_COMMAND else error.reason
        except ApiUnavailable as error:
            return error.reason

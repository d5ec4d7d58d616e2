"""Log files in the form of CloudStack's log4j pattern.

2026-11-22 16:50:30,084 INFO  [o.a.c.ServerDaemon] (main:[]) (logid:) message
"""

from __future__ import annotations

import contextvars
import logging
import logging.handlers
import threading
import time
import uuid
from pathlib import Path

_context: contextvars.ContextVar[str] = contextvars.ContextVar("log_context", default="")

LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}


class Log4jFormatter(logging.Formatter):
    """Formats a record as log4j does for CloudStack; the logger's name is the abbreviated class."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        level = LEVELS.get(record.levelno, record.levelname)
        if record.threadName == "MainThread":
            where = "(main:[]) (logid:)"
        else:
            context = _context.get() or "0" * 16
            where = f"({record.threadName}:[ctx-{context[:8]}]) (logid:{context[8:]})"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{stamp},{int(record.msecs):03d} {level:<5} [{record.name}] {where} {text}"


def open_log(path: Path) -> None:
    """Send every logger to this file; a file that was rotated away is opened again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.WatchedFileHandler(path)
    handler.setFormatter(Log4jFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG)


def new_context() -> None:
    """Begin a new piece of work: the lines of this thread carry a fresh context from here on."""
    _context.set(uuid.uuid4().hex[:16])


def named_thread(name: str, target: object, *arguments: object) -> threading.Thread:
    """Start a daemon thread whose lines carry its name and a context of its own."""

    def run() -> None:
        new_context()
        target(*arguments)  # type: ignore[operator]

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread

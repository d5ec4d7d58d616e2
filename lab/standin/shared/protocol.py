"""How the stand-in's agents and its management servers talk: one JSON object a line over TCP.

(The real ones exchange serialised Java objects over TLS; nothing but the two of them ever sees that.)
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]


class Channel:
    """One connection between an agent and a management server."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._writing = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message; raises OSError where the other end is gone."""
        line = json.dumps(message).encode() + b"\n"
        with self._writing:
            self._connection.sendall(line)

    def receive(self, seconds: float | None) -> Message | None:
        """Return the next message, None at the end of the connection.

        Raises TimeoutError where nothing arrives in the time given.
        """
        self._connection.settimeout(seconds)
        try:
            line = self._reader.readline()
        except TimeoutError:
            raise
        except OSError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def messages(self, seconds: float) -> Iterator[Message]:
        """Yield messages until the connection ends; raises TimeoutError after a silence."""
        while (message := self.receive(seconds)) is not None:
            yield message

    def local_address(self) -> str:
        """Return the address of this end."""
        return str(self._connection.getsockname()[0])

    def peer_address(self) -> str:
        """Return the address of the other end."""
        return str(self._connection.getpeername()[0])

    def close(self) -> None:
        """End the connection; a thread that is reading from it returns."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

"""An HTTP server that opens at once, whatever name service there is."""

from __future__ import annotations

import http.server
import socket


class Server(http.server.ThreadingHTTPServer):
    """A threading HTTP server on all addresses."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

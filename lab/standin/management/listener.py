"""An HTTP server that opens at once, whatever name service there is."""

from __future__ import annotations

import http.server
import socket
import ssl
from typing import Any

HANDSHAKE = 10.0  # seconds


class Server(http.server.ThreadingHTTPServer):
    """A threading HTTP server on all addresses; with `tls` an HTTPS server."""

    tls: ssl.SSLContext | None = None
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection, in its thread; a client that comes to no TLS session is sent away without a word, as Jetty does."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(HANDSHAKE)
        try:
            secured = self.tls.wrap_socket(request, server_side=True)
        except OSError:
            return
        with secured:
            secured.settimeout(None)
            super().finish_request(secured, client_address)

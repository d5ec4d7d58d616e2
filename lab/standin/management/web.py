"""The web server on the ports of server.properties: refused until the server is up, 503 for good where the web application failed."""

from __future__ import annotations

import http.server
import threading
import urllib.parse
from typing import Any

from ..shared import logs, paths
from .api import Api
from .api.render import Reply
from .connectors import Connectors
from .listener import Server

INDEX = paths.MANAGEMENT_SHARE / "webapp/index.html"
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-XSS-Protection", "1;mode=block"),
    ("content-security-policy", "1"),
    ("content-security-policy", "default-src=none"),
    ("content-security-policy", "script-src=self"),
    ("content-security-policy", "connect-src=self"),
    ("content-security-policy", "img-src=self"),
    ("content-security-policy", "style-src=self"),
)
FAILED_PAGE = """<html>
<head>
<meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/>
<title>Error 503 Service Unavailable</title>
</head>
<body><h2>HTTP ERROR 503 Service Unavailable</h2>
<table>
<tr><th>URI:</th><td>{uri}</td></tr>
<tr><th>STATUS:</th><td>503</td></tr>
<tr><th>MESSAGE:</th><td>Service Unavailable</td></tr>
<tr><th>SERVLET:</th><td>-</td></tr>
</table>

</body>
</html>
"""


class Handler(http.server.BaseHTTPRequestHandler):
    """What both kinds of server have in common."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: requests are logged by the API."""

    def version_string(self) -> str:
        """Name no server."""
        return "Jetty"

    def answer(self, status: int, content_type: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a whole answer."""
        self.send_response(status)
        # As Jetty: a caller that wants the connection closed hears that it will be, and does not send another call on it.
        closing = (("Connection", "close"),) if self.close_connection else ()
        for name, value in (("Content-Type", content_type), *closing, *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer a GET."""
        self.handle_request(urllib.parse.urlsplit(self.path), "")

    def do_POST(self) -> None:
        """Answer a POST of a form."""
        length = int(self.headers.get("Content-Length") or 0)
        self.handle_request(urllib.parse.urlsplit(self.path), self.rfile.read(length).decode())

    def do_HEAD(self) -> None:
        """Answer a HEAD."""
        self.do_GET()

    def handle_request(self, url: urllib.parse.SplitResult, body: str) -> None:
        """Answer a request of any kind."""
        raise NotImplementedError


class FailedHandler(Handler):
    """A web application that could not start."""

    def handle_request(self, url: urllib.parse.SplitResult, body: str) -> None:
        """Answer 503."""
        page = FAILED_PAGE.format(uri=urllib.parse.quote(url.path)).encode("iso-8859-1")
        self.answer(503, "text/html;charset=iso-8859-1", page, (("Cache-Control", "must-revalidate,no-cache,no-store"),))


class ApiHandler(Handler):
    """The API and the page that stands for the user interface."""

    api: Api

    def handle_request(self, url: urllib.parse.SplitResult, body: str) -> None:
        """Answer a request to the API, the user interface, or the root."""
        if url.path == "/":
            host = self.headers.get("Host", "localhost")
            scheme = "https" if isinstance(self.server, Server) and self.server.tls else "http"
            self.answer(301, "text/html", b"", (("Location", f"{scheme}://{host}/client/"),))
        elif url.path == "/client/api":
            logs.new_context()
            reply = self.api.handle(url.query, body, self.client_address[0], self.headers.get("Cookie", ""))
            self._reply(reply)
        elif url.path in ("/client", "/client/"):
            self.answer(200, "text/html", INDEX.read_bytes())
        else:
            self.answer(404, "text/html;charset=iso-8859-1", b"<html><body>Not Found</body></html>\n")

    def _reply(self, reply: Reply) -> None:
        cookies = tuple(("Set-Cookie", cookie) for cookie in reply.cookies)
        self.answer(reply.status, reply.content_type, reply.body.encode(), (*cookies, *SECURITY_HEADERS))


def _run(connectors: Connectors, handler: type[Handler]) -> list[Server]:
    wanted = [(port, context) for port, context in ((connectors.http, None), (connectors.https, connectors.context)) if port]
    opened = []
    for port, context in wanted:
        server = Server(("", port), handler)
        server.tls = context() if context else None
        threading.Thread(target=server.serve_forever, args=(0.1,), name=f"qtp-{port}", daemon=True).start()
        opened.append(server)
    return opened


def serve_failure(connectors: Connectors) -> list[Server]:
    """Answer 503 to everything."""
    return _run(connectors, FailedHandler)


def serve(connectors: Connectors, api: Api) -> list[Server]:
    """Open the API."""
    return _run(connectors, type("BoundApiHandler", (ApiHandler,), {"api": api}))

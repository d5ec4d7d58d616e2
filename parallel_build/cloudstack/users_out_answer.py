"""The program that answers users' calls on a management server while they are held out: never a reset for a call that has arrived.

Copied to the server as it is and run by its own Python 3; it needs nothing else. Calls to the API get HTTP 503 with `Retry-After` and an error in
CloudStack's own JSON or XML shape, everybody else a page. Where the answer is that the cloud has moved, a browser is sent there.
[CloudStack ApiServer.getSerializedApiError: `<command>response`, `errorresponse` without a command]

Its one argument is a JSON file, read again at every call: `port`, `retry` (seconds), `text` (for people), `moved` (an address, or empty).
"""

# ruff: noqa: UP006, UP035 - the Python of a management server may be older than the project's own
from __future__ import annotations

import html
import http.server
import json
import signal
import socket
import socketserver
import sys
import threading
from typing import Any, Dict, Tuple
from urllib.parse import parse_qs, urlsplit

CODE = 503
LIMIT = 1 << 20  # bytes of a request's body that are read, and thrown away, so that its sender hears the answer
QUIET = 0.5  # seconds without a caller, after which the program may end
SECONDS = 15  # for a request to arrive whole


def settings(path: str) -> Dict[str, Any]:
    """What to say now."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - old Pythons
        found: Dict[str, Any] = json.load(file)
    return found


def api_error(parameters: Dict[str, str], text: str) -> Tuple[str, str]:
    """Content type and body of an error in the shape in which the caller wants it."""
    command = "".join(letter for letter in parameters.get("command", "") if letter.isalnum())
    name = command.lower() + "response" if command else "errorresponse"
    if parameters.get("response", "").lower() == "json":
        body = json.dumps({name: {"uuidList": [], "errorcode": CODE, "errortext": text}})
        return "application/json;charset=UTF-8", body
    body = f'<?xml version="1.0" encoding="UTF-8"?><{name}><errorcode>{CODE}</errorcode><errortext>{html.escape(text)}</errortext></{name}>'
    return "text/xml;charset=UTF-8", body


def page(text: str, moved: str) -> str:
    """What a person reads."""
    link = f'<p><a href="{html.escape(moved, quote=True)}">{html.escape(moved)}</a></p>' if moved else ""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>The cloud is being upgraded</title></head>'
        f"<body><h1>The cloud is being upgraded</h1><p>{html.escape(text)}</p>{link}</body></html>"
    )


class Answering(http.server.BaseHTTPRequestHandler):
    """One caller."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    path_of_settings = ""

    def answer(self) -> None:
        """Say 503, or where the cloud is now; the connection ends, so that the next call goes where it is served by then."""
        found = settings(self.path_of_settings)
        text, moved = str(found.get("text", "")), str(found.get("moved", ""))
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(length), LIMIT)) if length.isdigit() else b""
        where = urlsplit(self.path)
        given = {**parse_qs(where.query), **parse_qs(body.decode("utf-8", "replace"))}
        if where.path.rstrip("/").endswith("/api"):
            kind, words = api_error({name: values[-1] for name, values in given.items()}, text)
            self.reply(CODE, kind, words, found)
        elif moved:
            self.reply(302, "text/html;charset=UTF-8", page(text, moved), found, Location=moved)
        else:
            self.reply(CODE, "text/html;charset=UTF-8", page(text, moved), found)

    def reply(self, code: int, kind: str, words: str, found: Dict[str, Any], **headers: str) -> None:
        """Send it."""
        content = words.encode()
        self.close_connection = True
        self.send_response(code)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store", "Connection": "close",
            "Retry-After": str(int(found.get("retry", 30))), **headers,
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer

    def log_message(self, *args: Any) -> None:
        """Calls have keys and signatures in them: they are written nowhere."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """IPv6 and IPv4 on one port; calls that have begun are answered before the program ends."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 1024
    timeout = QUIET
    waiting = True

    def handle_timeout(self) -> None:
        """Nobody waits any more."""
        self.waiting = False

    def answer_those_who_wait(self) -> None:
        """Callers that the kernel has let in would be reset if the port closed now; the barrier sends nobody here any more."""
        while self.waiting:
            self.handle_request()

    def server_bind(self) -> None:
        """Take both families; no name is looked up."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "users-out", self.server_address[1]


class OldFamily(Server):
    """Where the machine has no IPv6."""

    address_family = socket.AF_INET

    def server_bind(self) -> None:
        """Take IPv4."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "users-out", self.server_address[1]


def opened(port: int) -> Server:
    """The listening server."""
    try:
        return Server(("::", port), Answering)
    except OSError:
        return OldFamily(("0.0.0.0", port), Answering)  # noqa: S104 - users come from everywhere


def main(path: str) -> None:
    """Answer until asked to end."""
    Answering.path_of_settings = path
    server = opened(int(settings(path)["port"]))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.2)
    server.answer_those_who_wait()
    server.server_close()


if __name__ == "__main__":
    main(sys.argv[1])

"""The program that answers users' calls on a management server while they are held out: never a reset for a call that has arrived.

Copied to the server as it is and run by its own Python 3; it needs nothing else. Calls to the API get HTTP 503 with `Retry-After` and an error in
CloudStack's own JSON or XML shape, everybody else a page. Where the answer is that the cloud has moved, a browser is sent there.
[CloudStack ApiServer.getSerializedApiError: `<command>response`, `errorresponse` without a command]

Its one argument is a JSON file, read again at every call: `port`, `retry` (seconds), `text` (for people), `moved` (an address, or empty); `tls`, a port,
and `handover`, a name of which both count at the start. On the port `tls` the same answers are given by TLS once root has handed a certificate and its key
over, on the socket of that name: the program keeps them in memory alone, and they are gone when it ends.
"""

# ruff: noqa: UP006, UP031, UP035 - the Python of a management server may be older than the project's own
from __future__ import annotations

import contextlib
import ctypes
import html
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from typing import Any, Dict, Iterator, List, Set, Tuple, Type
from urllib.parse import parse_qs

CODE = 503
LIMIT = 1 << 20  # bytes of a request's body in which its command is looked for
MOST = 64 << 20  # bytes that are read of it: what is left unread when a connection ends resets it, and its sender never hears the answer
BLOCK = 1 << 16
LENGTH, CHUNK = re.compile("[0-9]{1,18}"), re.compile(b"[0-9A-Fa-f]{1,8}")
QUIET = 0.5  # seconds without a caller, after which the program may end
SECONDS = 15  # for a request to arrive whole; when the program ends, what has not by then is cut off
PIPE = 60000  # bytes that a pipe takes before anybody reads
OWNERS = (0,)  # accounts that may hand a certificate over
NOT_DUMPABLE = 4  # [prctl(2): PR_SET_DUMPABLE]


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
        body = self.body()
        path, _, query = self.path.partition("?")
        given = {**parse_qs(query), **parse_qs(body.decode("utf-8", "replace"))}
        if path.partition(";")[0].rstrip("/").endswith("/api") or "command" in given:
            kind, words = api_error({name: values[-1] for name, values in given.items()}, text)
            self.reply(CODE, kind, words, found)
        elif moved:
            self.reply(302, "text/html;charset=UTF-8", page(text, moved), found, Location=moved)
        else:
            self.reply(CODE, "text/html;charset=UTF-8", page(text, moved), found)

    def body(self) -> bytes:
        """What came with the call, whole; its beginning is returned."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        found = b""
        for block in self.chunks() if chunked else self.taken(self.headers.get("Content-Length", "")):
            if len(found) < LIMIT:
                found += block
        return found[:LIMIT]

    def taken(self, length: str) -> Iterator[bytes]:
        """As many bytes as a call says that it has."""
        left = min(int(length), MOST) if LENGTH.fullmatch(length.strip()) else 0
        while left > 0:
            block = self.rfile.read(min(left, BLOCK))
            if not block:
                return
            left -= len(block)
            yield block

    def chunks(self) -> Iterator[bytes]:
        """A body that says its length piece by piece [RFC 9112, 7.1]."""
        left = MOST
        while left > 0:
            size = CHUNK.fullmatch(self.rfile.readline(BLOCK).partition(b";")[0].strip())
            length = int(size.group(0), 16) if size else 0
            if not length:
                while size and self.rfile.readline(BLOCK).strip():  # what may follow the last piece
                    pass
                return
            left -= length
            yield from self.taken(str(length))
            self.rfile.readline(BLOCK)

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

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 1024
    timeout = QUIET
    waiting = True

    def __init__(self, address: Tuple[str, int], handler: Type[Answering]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.open: Set[socket.socket] = set()
        super().__init__(address, handler)

    def serve(self) -> None:
        """Answer until `shutdown`, and those who wait then as well."""
        self.serve_forever(poll_interval=0.2)
        self.answer_those_who_wait()
        cut = threading.Timer(SECONDS, self.cut)
        cut.daemon = True
        cut.start()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """One caller, who is known from now on until he is answered."""
        self.open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The same in a thread of his own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.open.discard(request)

    def cut(self) -> None:
        """Whoever sends his call byte by byte keeps the program from ending no longer."""
        for request in list(self.open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_timeout(self) -> None:
        """Nobody waits any more."""
        self.waiting = False

    def answer_those_who_wait(self) -> None:
        """Callers that the kernel has let in would be reset if the port closed now; the barrier sends nobody here any more."""
        end = time.monotonic() + SECONDS
        while self.waiting and time.monotonic() < end:
            self.handle_request()

    def server_bind(self) -> None:
        """Take both families where there are two; no name is looked up."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "users-out", self.server_address[1]


class Secure(Server):
    """The same by TLS."""

    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """One caller, in its thread; one that comes to no TLS session is sent away without a word."""
        request.settimeout(SECONDS)
        try:
            secured = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            return
        self.open.add(secured)
        try:
            with secured:
                self.answer(secured, client_address)
        finally:
            self.open.discard(secured)

    def answer(self, secured: ssl.SSLSocket, client_address: Any) -> None:
        """One caller, once there is a session."""
        try:
            secured.do_handshake()
        except (OSError, ValueError):
            return
        super().finish_request(secured, client_address)
        secured.settimeout(0)
        with contextlib.suppress(OSError, ValueError):
            secured.unwrap()  # says that the answer is whole, and waits for nobody's word on it


def opened(port: int, kind: Type[Server] = Server) -> Server:
    """The listening server."""
    try:
        return kind(("::", port), Answering)
    except OSError:
        return kind(("0.0.0.0", port), Answering)  # noqa: S104 - users come from everywhere


@contextlib.contextmanager
def readable_once(text: str) -> Iterator[str]:
    """A path under which a text can be read once, since certificates are taken from files only; it is on no disk."""
    content = text.encode()
    if len(content) > PIPE:
        raise ValueError("it is longer than %d bytes" % PIPE)
    out, into = os.pipe()
    try:
        os.write(into, content)
        os.close(into)
        yield "/proc/self/fd/%d" % out
    finally:
        os.close(out)


def hide_memory() -> None:
    """No core of this program is written, and nobody but root looks into its memory."""
    if ctypes.CDLL(None).prctl(NOT_DUMPABLE, 0, 0, 0, 0):
        raise ValueError("its memory can't be hidden")


class Certificate:
    """What answers by TLS, once there is a certificate.

    Args:
        port: where.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.servers: List[Secure] = []
        self.threads: List[threading.Thread] = []

    def take(self, given: Dict[str, str]) -> None:
        """Answer with a certificate (`certificate`, `key`: PEM) from now on."""
        hide_memory()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with readable_once(given["certificate"]) as certificate, readable_once(given["key"]) as key:
            context.load_cert_chain(certificate, key, password="")
        if not self.servers:
            server = opened(self.port, Secure)
            assert isinstance(server, Secure)
            server.context = context
            self.servers.append(server)
            self.threads.append(threading.Thread(target=server.serve))
            self.threads[-1].start()
        self.servers[0].context = context

    def end(self) -> None:
        """Answer those who have begun, and nobody else."""
        for server in self.servers:
            server.shutdown()
        for thread in self.threads:
            thread.join()

    def wait_for_owner(self, name: str) -> None:
        """Take what root hands over on a socket of that name (in no folder), each time that it does."""
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.bind("\0" + name)
            waiting.listen(4)
            while True:
                caller = waiting.accept()[0]
                with caller, contextlib.suppress(OSError):
                    caller.settimeout(SECONDS)
                    owner = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
                    if owner in OWNERS:
                        caller.sendall(self.heard(caller).encode())

    def heard(self, caller: socket.socket) -> str:
        """The reply to whoever hands a certificate over: nothing when it is good."""
        try:
            with caller.makefile("r", encoding="ascii") as file:
                self.take(json.loads(file.readline(4 * PIPE)))
        except (OSError, ValueError, KeyError) as error:
            return "%s: %s" % (type(error).__name__, error)
        return ""


def main(path: str) -> None:
    """Answer until asked to end."""
    Answering.path_of_settings = path
    found = settings(path)
    server, certificate = opened(int(found["port"])), Certificate(int(found.get("tls", 0)))
    if found.get("handover"):
        threading.Thread(target=certificate.wait_for_owner, args=(found["handover"],), daemon=True).start()

    def end(*_: Any) -> None:
        for act in (server.shutdown, certificate.end):
            threading.Thread(target=act).start()

    signal.signal(signal.SIGTERM, end)
    server.serve()
    certificate.end()


if __name__ == "__main__":
    main(sys.argv[1])

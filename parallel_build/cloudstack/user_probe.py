"""What a user of the cloud reaches: a signed call made from a user's address, not from the administrator's.

An unsigned call would not tell: a request from an address that `api.allowed.source.cidr.list` leaves out is answered with the same 401 as a wrong
signature [CloudStack ApiServer.java; seen on 4.20]. So the call is signed with the stack's own keys, and only HTTP 200 means that users are in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests

from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.configuration import UserProbe
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret

TIMEOUT = 5.0  # seconds for one call
OK = 200
VALID = timedelta(minutes=5)
# curl reads the call from standard input: its signature shows in no process list. What follows the first line are the authorities' certificates.
CURL = ["curl", "-s", "-S", "-o", "/dev/null", "-w", "%{http_code} %{time_connect}", "--max-time", f"{TIMEOUT:.0f}", "-K", "-"]
WITH_AUTHORITIES = """IFS= read -r call; exec 3<&0; printf '%s\\n' "$call" | "$@" --cacert /dev/fd/3"""
# The status, the time until there was a connection, and when that came by the clock of the machine that asked.
TIMED = """"$@"; code=$?; printf ' '; date +%s.%N; exit $code"""
NOT_TRUSTED = (51, 58, 60, 77, 82, 83, 90, 91)  # curl's exit codes about certificates [curl(1)]
LATE = 28  # curl's exit code
HELD = f"the call was taken, and not answered within {TIMEOUT:.0f} s: it may be done later"
NO_HANDSHAKE = 35  # about certificates too, unless the other side only hung up: in the words of OpenSSL and GnuTLS
HUNG_UP = ("SSL_ERROR_SYSCALL", "reset by peer", "unexpected eof", "non-properly terminated", "pull function")


@dataclass(frozen=True)
class Answer:
    """What a user got from one address.

    Attributes:
        url: the address of the API, without the call.
        status: HTTP status, None when nothing answered.
        words: for a sentence.
        asked: whether the probe could ask at all, and what was asked came to its end; if not, nothing is known.
        at: when it came, by the clock of the machine that asked, in seconds since 1970; 0 where nobody looked.
    """

    url: str
    status: int | None
    words: str
    asked: bool = True
    at: float = 0.0

    @property
    def served(self) -> bool:
        """The call was done: this user is in."""
        return self.status == OK


def signed(url: str, key: Secret, secret: Secret) -> str:
    """A call of listCapabilities, signed [CloudStack ApiServer.verifyRequest: names sorted, HMAC-SHA1 over the lower-case query]."""
    parameters = {
        "apiKey": key.reveal(),
        "command": "listCapabilities",
        "expires": (datetime.now(UTC) + VALID).strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "response": "json",
        "signatureVersion": "3",
    }
    query = "&".join(
        f"{name}={urllib.parse.quote(value, safe='*')}" for name, value in sorted(parameters.items(), key=lambda each: each[0].lower())
    )
    digest = hmac.new(secret.reveal().encode(), query.lower().encode(), hashlib.sha1).digest()
    return f"{url}?{query}&signature={urllib.parse.quote(base64.b64encode(digest).decode(), safe='')}"


class Probe:
    """Asks the API as a user would.

    Args:
        site: the stack; its administrator's keys sign.
        connections: to reach the probe's server, where one is configured.
        section: `window.userAccess.probe`.
    """

    def __init__(self, site: Site, connections: Connections, section: UserProbe) -> None:
        self._site, self._connections, self._section = site, connections, section

    @property
    def where(self) -> str:
        """Where requests come from, for a sentence."""
        return str(self._section.server.name if self._section.server else self._section.source)

    def ask(self, where: Endpoint) -> Answer:
        """Make the call at an API's address."""
        keys = self._site.secrets.original_api_key, self._site.secrets.original_api_secret
        return self._from_server(where, keys) if self._section.server else self._from_here(where, signed(where.url, *keys))

    def _from_server(self, where: Endpoint, keys: tuple[Secret, Secret]) -> Answer:
        assert self._section.server is not None
        url = where.url
        words, called = named(where)
        command, text = [*CURL, *words], f'url = "{signed(called, *keys)}"\n'
        if where.secure and where.ca_file:
            where.check()
            command, text = ["sh", "-c", WITH_AUTHORITIES, "sh", *command], text + where.ca_file.read_text(errors="replace")
        try:
            done = self._connections.host(self._section.server).run(
                ["sh", "-c", TIMED, "sh", *command], input=text, timeout=TIMEOUT + 10, ok=None
            )
        except (ConnectionFailed, CommandFailed) as error:
            return Answer(url, None, f"{self.where} could not be asked: {error}", asked=False)
        if done.code in (126, 127):
            return Answer(url, None, f"{self.where} has no curl", asked=False)
        printed = " ".join(done.stderr.strip().partition(") ")[2].split())
        if done.code in NOT_TRUSTED or (done.code == NO_HANDSHAKE and not any(words in printed for words in HUNG_UP)):
            return Answer(url, None, f"TLS: {printed}", asked=False)
        shown, *times = done.stdout.split() or [""]
        status = int(shown[-3:]) if shown[-3:].isdigit() else 0
        if done.code == LATE and len(times) > 1 and float(times[0]):
            return Answer(url, None, HELD, asked=False)
        return Answer(url, status or None, f"HTTP {status}" if status else printed or "no answer", at=float(times[-1]) if times else 0.0)

    def _from_here(self, where: Endpoint, call: str) -> Answer:
        url = where.url
        with where.session(str(self._section.source)) as session:
            session.trust_env = False  # a proxy would ask from its own address
            try:
                status = session.get(call, timeout=TIMEOUT, allow_redirects=False).status_code
            except requests.RequestException as error:
                if problem := where.explain(error):
                    return Answer(url, None, f"TLS: {problem.fact}: {problem.cause}", asked=False)
                if isinstance(error, requests.ReadTimeout):
                    return Answer(url, None, HELD, asked=False)
                away = "assign requested" in str(error)
                return Answer(url, None, "Cannot assign requested address" if away else "no answer", asked=not away, at=time.time())
        return Answer(url, status, f"HTTP {status}", at=time.time())


def named(where: Endpoint) -> tuple[list[str], str]:
    """How curl calls an address and checks the certificate for a name: the words that lead the name to the address, and the url with the name in it."""
    if not where.secure or where.server_name is None:
        return [], where.url
    address, name = (f"[{host}]" if ":" in host else host for host in (where.host, where.server_name))
    url = urllib.parse.urlsplit(where.url)._replace(netloc=f"{name}:{where.port}").geturl()
    return ["--connect-to", f"{name}:{where.port}:{address}:{where.port}"], url

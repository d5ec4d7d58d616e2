"""What a user of the cloud reaches: a signed call made from a user's address, not from the administrator's.

An unsigned call would not tell: a request from an address that `api.allowed.source.cidr.list` leaves out is answered with the same 401 as a wrong
signature [CloudStack ApiServer.java; seen on 4.20]. So the call is signed with the stack's own keys, and only HTTP 200 means that users are in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from parallel_build.configuration import UserProbe
from parallel_build.connection import Connections
from parallel_build.errors import CommandFailed, ConnectionFailed
from parallel_build.secret import Secret
from parallel_build.site import Site

TIMEOUT = 5.0  # seconds for one call
OK = 200
VALID = timedelta(minutes=5)
# curl reads the address from standard input: its signature shows in no process list.
CURL = ["curl", "-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", f"{TIMEOUT:.0f}", "-K", "-"]


@dataclass(frozen=True)
class Answer:
    """What a user got from one address.

    Attributes:
        url: the address of the API, without the call.
        status: HTTP status, None when nothing answered.
        words: for a sentence.
        asked: whether the probe could ask at all; if not, nothing is known.
    """

    url: str
    status: int | None
    words: str
    asked: bool = True

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

    def ask(self, url: str) -> Answer:
        """Make the call at an API's address."""
        call = signed(url, self._site.secrets.original_api_key, self._site.secrets.original_api_secret)
        return self._from_server(url, call) if self._section.server else self._from_here(url, call)

    def _from_server(self, url: str, call: str) -> Answer:
        assert self._section.server is not None
        try:
            done = self._connections.host(self._section.server).run(CURL, input=f'url = "{call}"\n', timeout=TIMEOUT + 10, ok=None)
        except (ConnectionFailed, CommandFailed) as error:
            return Answer(url, None, f"{self.where} could not be asked: {error}", asked=False)
        if done.code in (126, 127):
            return Answer(url, None, f"{self.where} has no curl", asked=False)
        status = int(done.stdout.strip()[-3:]) if done.stdout.strip()[-3:].isdigit() else 0
        return Answer(url, status or None, f"HTTP {status}" if status else done.stderr.strip().partition(") ")[2] or "no answer")

    def _from_here(self, url: str, call: str) -> Answer:
        ca_file = self._site.configuration.original.api.ca_file
        with requests.Session() as session:
            session.trust_env = False  # a proxy would ask from its own address
            for scheme in ("http://", "https://"):
                session.mount(scheme, _FromAddress(str(self._section.source)))
            try:
                status = session.get(call, timeout=TIMEOUT, verify=str(ca_file) if ca_file else True, allow_redirects=False).status_code
            except requests.exceptions.SSLError as error:
                return Answer(url, None, f"TLS: {error.__class__.__name__}", asked=False)
            except requests.RequestException as error:
                return Answer(url, None, "Cannot assign requested address" if "assign requested" in str(error) else "no answer",
                              asked="assign requested" not in str(error))  # fmt: skip
        return Answer(url, status, f"HTTP {status}")


class _FromAddress(HTTPAdapter):
    """Connections that come from one of this machine's addresses."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As the base class, bound to the address."""
        super().init_poolmanager(*args, **kwargs, source_address=(self._source, 0))

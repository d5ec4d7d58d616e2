"""Where an API is called, and the TLS session to it: always checked, against the operator's authorities and for the name that is configured.

A single server is called by its address, which few certificates name; then the name to check for is configured, and nothing else about the check is.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from parallel_build.configuration import API_PORTS, ServedApi, Server, StackConfiguration, unreadable
from parallel_build.errors import ConfigurationError, ConnectionFailed

# What OpenSSL found wrong with a certificate [X509_V_ERR_* in x509_vfy.h].
NOT_YET, EXPIRED, OTHER_NAME, OTHER_ADDRESS = 9, 10, 62, 64
SPEAKS_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
HANDSHAKE = 5.0  # seconds for looking whether a port speaks TLS


class ApiUnavailable(ConnectionFailed):
    """No API answers: the port refuses, or the web application has failed.

    Attributes:
        status: HTTP status, 503 when the web application has failed for good; None when nothing listens.
    """

    def __init__(self, fact: str, cause: str, remedy: str, status: int | None) -> None:
        super().__init__(fact, cause, remedy)
        self.status = status


class ApiNotTrusted(ApiUnavailable):
    """Something answers there, and it can't be proved to be the API that was meant: its certificate, or whether it speaks TLS at all."""

    def __init__(self, fact: str, cause: str, remedy: str) -> None:
        super().__init__(fact, cause, remedy, None)


@dataclass(frozen=True)
class Endpoint:
    """One address of an API.

    Attributes:
        url: for example `https://192.0.2.10:8443/client/api`.
        section: the configuration's section that describes it, for errors.
        ca_file: certificates to check https against; None for the system's.
        server_name: name that the certificate must be made out to; None for what stands in the url.
    """

    url: str
    section: str = "original.api"
    ca_file: Path | None = None
    server_name: str | None = None

    @property
    def secure(self) -> bool:
        """Whether it is called by https."""
        return self.url.startswith("https:")

    @property
    def host(self) -> str:
        """The name or address in the url."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port that is called."""
        return urlsplit(self.url).port or (443 if self.secure else 80)

    @property
    def verify(self) -> str | bool:
        """What requests checks certificates against."""
        return str(self.ca_file) if self.ca_file else True

    def check(self) -> None:
        """See that what is needed to check certificates is there.

        Raises:
            ConfigurationError: the file with the authorities' certificates can't be used.
        """
        if self.secure and self.ca_file and (problem := unreadable(self.ca_file)):
            fact, _, remedy = problem.partition("; ")
            raise ConfigurationError(
                f"{self.section}.caFile: {fact}", "it does not hold what certificates could be checked against", remedy
            )

    def session(self, source: str | None = None) -> requests.Session:
        """A session for this endpoint alone.

        Args:
            source: an address of this machine that connections come from.
        Raises:
            ConfigurationError: as `check`.
        """
        self.check()
        opened = requests.Session()
        opened.verify = self.verify
        for scheme in ("http://", "https://"):
            opened.mount(scheme, _Adapter(self, source))
        return opened

    def explain(self, error: requests.RequestException) -> ApiNotTrusted | None:
        """What is wrong with the TLS session behind an error; None when it is something else, such as silence."""
        if self.secure:
            return self._explain_tls(error)
        if _answered_no_http(error) and self._speaks_tls():
            return ApiNotTrusted(
                f"{self.url} is called by plain http, and what listens there speaks TLS",
                "the server serves its API by https on this port",
                f"set {self._key('scheme')} to https and name the authority in {self.section}.caFile",
            )
        return None

    def _explain_tls(self, error: requests.RequestException) -> ApiNotTrusted | None:
        found = next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)
        if found is None or isinstance(found, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            return None  # cut off in the handshake: a server that starts or stops does that
        checked = f"{self.section}.caFile ({self.ca_file})" if self.ca_file else "this machine's own authorities"
        keystore = "see https.keystore in server.properties there"
        if isinstance(found, ssl.SSLCertVerificationError):
            words = found.verify_message.rstrip(".")
            if found.verify_code in (OTHER_NAME, OTHER_ADDRESS):
                return ApiNotTrusted(
                    f"the certificate of {self.url} is made out to another name than {self.server_name or self.host}",
                    words,
                    f"set {self.section}.serverName (or serverNames, server by server) to the name in it, or give the server one for this name",
                )
            if found.verify_code in (EXPIRED, NOT_YET):
                state = "has expired" if found.verify_code == EXPIRED else "is not valid yet"
                return ApiNotTrusted(
                    f"the certificate of {self.url} {state}", words, f"renew it ({keystore}), or correct the clock here or there"
                )
            return ApiNotTrusted(
                f"the certificate of {self.url} is of no authority that is trusted",
                f"{words}; it was checked against {checked}",
                f"name the certificate of the authority that signed it in {self.section}.caFile; should another server answer there, find out why",
            )
        if any(word in str(found) for word in SPEAKS_NO_TLS):
            return ApiNotTrusted(
                f"{self.url} does not speak TLS",
                "plain http is served on this port",
                f"correct {self._key('port')}, or {self._key('scheme')}; or enable https there ({keystore})",
            )
        return ApiNotTrusted(f"no TLS session with {self.url}", str(found.reason or found), f"{keystore}, and the protocols that it allows")

    def _key(self, key: str) -> str:
        return f"{self.section}.{key} or {self.section}.url" if self.section == "original.api" else f"{self.section}.{key}"

    def _speaks_tls(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # asked for an error's words only: nothing is sent
        try:
            with socket.create_connection((self.host, self.port), HANDSHAKE) as plain, context.wrap_socket(plain):
                return True
        except OSError:
            return False


def of_original(configuration: StackConfiguration, server: Server | None = None) -> Endpoint:
    """The original's API as configured, or that of one of its management servers at its own address."""
    original = configuration.original
    if server is not None:
        return of_server(original.served, server)
    return Endpoint(original.api.url, "original.api", original.api.ca_file, original.name_in_certificate)


def of_new(configuration: StackConfiguration, server: Server | None = None) -> Endpoint:
    """The API of a new management server (the first, unless named) at its own address."""
    return of_server(configuration.new.api.served, server or configuration.new.management[0])


def of_server(served: ServedApi, server: Server) -> Endpoint:
    """The API of one management server at its own address."""
    return Endpoint(served.url(server.address), served.section, served.ca_file, served.name_of(server.name))


def of_rehearsal(server: Server) -> Endpoint:
    """The API of the rehearsal's server, which serves what the packages bring: plain http, to this machine alone [parallel_build/operations/isolation.py]."""
    return of_server(ServedApi("rehearsal", "http", API_PORTS["http"]), server)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and everything behind it, as requests and urllib3 wrap it."""
    todo, seen = [error], set[int]()
    while todo:
        each = todo.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        behind = [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
        todo += [found for found in behind if isinstance(found, BaseException)]


def _answered_no_http(error: requests.RequestException) -> bool:
    """Whether a connection was made and then came to nothing."""
    return any("Connection aborted" in str(each) or "BadStatusLine" in type(each).__name__ for each in _chain(error))


class _Adapter(HTTPAdapter):
    """Sessions with this endpoint's authorities and name, and from one of this machine's addresses."""

    def __init__(self, endpoint: Endpoint, source: str | None) -> None:
        self._options: dict[str, Any] = {}
        if endpoint.secure:
            self._options["ssl_context"] = ssl.create_default_context(cafile=str(endpoint.ca_file) if endpoint.ca_file else None)
            if endpoint.server_name:
                self._options["server_hostname"] = endpoint.server_name
        self._source: dict[str, Any] = {"source_address": (source, 0)} if source else {}
        self._verify = endpoint.verify
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """As the base class; requests itself would add the authorities that REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE name."""
        return super().send(request, *args, **{**options, "verify": self._verify})

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As the base class, with the endpoint's context, name and source."""
        super().init_poolmanager(*args, **{**kwargs, **self._options, **self._source})

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """As the base class: what is behind a proxy is checked as well."""
        return super().proxy_manager_for(proxy, **{**kwargs, **self._options})

"""How the API is reached: where the original's is, and what each management server of a side serves at its own address."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from parallel_build.configuration.values import STORED, URL, Duration, LocalPath, Model, NameOrAddress

Scheme = Literal["http", "https"]
API_PORTS: dict[Scheme, int] = {"http": 8080, "https": 8443}  # [CloudStack 4.22 server.properties: http.port, https.port]
AGENTS, PEERS = 8250, 9090  # [CloudStack 4.22: ports of agents and of other management servers]


@dataclass(frozen=True)
class ServedApi:
    """What every management server of a side serves at its own address.

    Attributes:
        section: the configuration's section that says so, for errors.
        port: as in `server.properties`, not that of a proxy before it.
        ca_file: certificates to check https against; None for the system's.
        server_name: name that every server's certificate is made out to; None for the address that is called.
        server_names: the same for single servers, by the server's name in the stack; they win.
    """

    section: str
    scheme: Scheme
    port: int
    ca_file: Path | None = None
    server_name: str | None = None
    server_names: Mapping[str, str] = field(default_factory=dict)

    def url(self, address: str) -> str:
        """The API's url on one server."""
        return f"{self.scheme}://{f'[{address}]' if ':' in address else address}:{self.port}/client/api"

    def name_of(self, server: str) -> str | None:
        """Name that the certificate of a server, by its name in the stack, is made out to."""
        return self.server_names.get(server, self.server_name)

    @property
    def own_ports(self) -> list[int]:
        """The ports that a management server of this side has open while it serves, sorted."""
        return sorted({self.port, AGENTS, PEERS})

    @property
    def every_port(self) -> list[int]:
        """All ports that CloudStack may have open on a server of this side, whatever its `server.properties` says, sorted."""
        return sorted({self.port, *API_PORTS.values(), AGENTS, PEERS})


class ServerCertificates(Model):
    """What both sides say of their servers' API.

    Attributes:
        port: of the API on each management server; None for the packages' own, 8080 or 8443.
        ca_file: certificates to check https against, when not the system's.
        server_name: name in the servers' certificates, where it is not the address that is called.
        server_names: the same by the servers' names in the stack.
    """

    port: int | None = Field(default=None, ge=1, le=65535)
    ca_file: LocalPath | None = None
    server_name: NameOrAddress | None = None
    server_names: dict[str, NameOrAddress] = Field(default_factory=dict)

    @field_validator("port")
    @classmethod
    def _not_cloudstacks(cls, value: int | None) -> int | None:
        if value in (AGENTS, PEERS):
            raise ValueError(
                f"{value} is CloudStack's port for {'agents' if value == AGENTS else 'other management servers'}, not the API's"
            )
        return value

    @field_validator("ca_file")
    @classmethod
    def _certificates(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        # What comes out of a state may name a file of another machine; there it is read when it is needed.
        if value is not None and info.context != STORED and (problem := unreadable(value)):
            raise ValueError(problem)
        return value


def unreadable(ca_file: Path) -> str:
    """Why a file can't be used to check certificates against, "" when it can."""
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError:
        reason = "it holds no certificate in PEM form"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return ""
    return f"{ca_file} can't be used: {reason}; name a file with the certificates of the authorities, each with its BEGIN CERTIFICATE line"


class Api(ServerCertificates):
    """The original cloud's API.

    Attributes:
        url: for example `http://192.0.2.10:8080/client/api`.
        timeout: time limit of one call, on both sides.
        scheme: what each management server serves at its own address; None: see `served`.
    """

    url: str
    timeout: Duration = timedelta(seconds=30)
    scheme: Scheme | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return api_url(value)

    def served(self, addresses: Mapping[str, str]) -> ServedApi:
        """What each server serves: as configured, else as `url` says where it names one of the servers by its address, else http.

        Args:
            addresses: of the original's management servers, by their names.
        """
        parts = urlsplit(self.url)
        as_url: Scheme | None = None
        if _address(self.url) in addresses.values():
            as_url = "https" if parts.scheme == "https" else "http"
        scheme = self.scheme or as_url or "http"
        # A url without a port means 80 or 443: a redirection or a proxy on that server, not CloudStack's own port.
        port = self.port or (parts.port if scheme == as_url else None) or API_PORTS[scheme]
        return ServedApi("original.api", scheme, port, self.ca_file, self.server_name, self.server_names)

    def name_in_certificate(self, addresses: Mapping[str, str]) -> str | None:
        """Name that the certificate at `url` is made out to, where an address stands there; None for what stands in the url itself."""
        address = _address(self.url)
        if address is None:
            return None
        server = next((name for name, each in addresses.items() if each == address), "")
        return self.served(addresses).name_of(server)


class NewApi(ServerCertificates):
    """The API of the new management servers, as their `server.properties` has it."""

    scheme: Scheme = "http"

    @property
    def served(self) -> ServedApi:
        """What each server serves."""
        return ServedApi("new.api", self.scheme, self.port or API_PORTS[self.scheme], self.ca_file, self.server_name, self.server_names)


def host_of(url: str) -> str:
    """The host in a url: a name in small letters, an address in its usual form, however it is written there."""
    return _address(url) or urlsplit(url).hostname or ""


def _address(url: str) -> str | None:
    """The IP address in a url, None where it has a name."""
    try:
        return str(ipaddress.ip_address(urlsplit(url).hostname or ""))
    except ValueError:
        return None


def api_url(value: str) -> str:
    """An API's url.

    Raises:
        ValueError: it is none.
    """
    try:
        port = urlsplit(value).port if URL.fullmatch(value) else 0
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("an API url looks like http://192.0.2.10:8080/client/api, without user, query and fragment")
    return value


def useless_keys(served: ServedApi, secure: bool, servers: set[str]) -> Iterator[str]:
    """What a section has about certificates without any effect, so that nobody takes it for a check.

    Args:
        secure: something that the section is for is called by https.
        servers: names of the side's management servers.
    """
    given = {"caFile": served.ca_file, "serverName": served.server_name, "serverNames": served.server_names}
    for key in (key for key, value in given.items() if value and not secure):
        yield f"{served.section}.{key}: it is about certificates, and nothing is called by https; set {served.section}.scheme: https, or leave it out"
    for name in sorted(set(served.server_names) - servers):
        yield f"{served.section}.serverNames: {name} is not one of {served.section.split('.')[0]}.management"

"""What a management server's own web server will open, by its `server.properties`; changes nothing.

Source: CloudStack opens http unless `http.enable` is false, and https where `https.enable` is true and the keystore is there: without the file it
goes without https, and no line of its log says so [CloudStack 4.22 ServerDaemon.java].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from parallel_build.cloudstack import properties
from parallel_build.configuration import API_PORTS
from parallel_build.remote.access import Access

SERVER_PROPERTIES = "/etc/cloudstack/management/server.properties"
ACCOUNT = "cloud"  # the service's


@dataclass(frozen=True)
class WebServer:
    """The listeners of a management server.

    Attributes:
        http: port of http, None where it is off.
        https: port of https, None where it is off.
        keystore: file with the certificate and its key, "" where none is named.
        keystore_problem: why the service can't use that file, "" where it can, https is off, or nobody has looked.
    """

    http: int | None = API_PORTS["http"]
    https: int | None = None
    keystore: str = ""
    keystore_problem: str = ""

    @property
    def ports(self) -> set[int]:
        """The ports that are opened."""
        return {port for port in (self.http, self.https) if port is not None}

    @property
    def words(self) -> str:
        """For a sentence: `http on 8080, no https`."""
        ports = {"http": self.http, "https": self.https}
        return ", ".join(f"{scheme} on {port}" if port else f"no {scheme}" for scheme, port in ports.items())

    def serves(self, scheme: str, port: int) -> bool:
        """Whether an API is served so."""
        return (self.https if scheme == "https" else self.http) == port


def listeners(values: dict[str, str]) -> WebServer:
    """What a file's values say; without any CloudStack's defaults hold."""
    https = values.get("https.enable", "false").lower() == "true"
    http = values.get("http.enable", "true").lower() == "true" or not https  # neither would be nothing: CloudStack then opens http
    return WebServer(
        _port(values.get("http.port"), API_PORTS["http"]) if http else None,
        _port(values.get("https.port"), API_PORTS["https"]) if https else None,
        values.get("https.keystore", "") if https else "",
    )


def read(host: Access) -> WebServer:
    """Read a server's file; defaults where there is none, as on a server before 4.11. The keystore is not looked at."""
    return listeners(properties.read(host, SERVER_PROPERTIES) or {})


def read_with_keystore(host: Access) -> WebServer:
    """The same, and whether the service can read its keystore where it needs one."""
    found = read(host)
    return found if found.https is None else replace(found, keystore_problem=_keystore_problem(host, found.keystore))


def _keystore_problem(host: Access, path: str) -> str:
    if not path:
        return "https.keystore names no file"
    if not host.run(["test", "-e", path], ok=(0, 1)).ok:
        return f"there is no {path}"
    # As the service will: a file that root alone can read ends its start.
    readable = host.run(["su", "-s", "/bin/sh", ACCOUNT, "-c", 'test -r "$0"', path], ok=None).ok
    return "" if readable else f"user {ACCOUNT} can't read {path}"


def _port(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default

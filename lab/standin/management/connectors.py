"""The listeners of server.properties. [CloudStack 4.22 ServerDaemon.java: init, createHttpConnector, createHttpsConnector]"""

from __future__ import annotations

import logging
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

daemon_log = logging.getLogger("o.a.c.ServerDaemon")


@dataclass(frozen=True)
class Connectors:
    """What is opened.

    Attributes:
        http, https: ports; None where it is off.
        keystore: PKCS#12 file with certificate and key; Java reads others as well.
        password: of the keystore and of the key in it.
    """

    http: int | None
    https: int | None
    keystore: Path = Path()
    password: str = ""

    def context(self) -> ssl.SSLContext:
        """The server's side of TLS.

        Raises:
            SystemExit: the keystore can't be read; Jetty does not start then, and the process ends.
        """
        try:
            key, certificate, more = pkcs12.load_key_and_certificates(self.keystore.read_bytes(), self.password.encode())
        except (OSError, ValueError) as problem:
            daemon_log.exception("Error while starting the server: %s", problem)
            raise SystemExit(1) from None
        if key is None or certificate is None:
            raise SystemExit(f"{self.keystore} has no key")
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        pem += b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (certificate, *more))
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:  # the module takes files only
            file.write(pem)
            file.flush()
            found.load_cert_chain(file.name)
        return found


def of(settings: dict[str, str]) -> Connectors:
    """The listeners that a file asks for: http unless it is off and https on; https where its keystore is there, else without a word none."""
    https_enabled = settings.get("https.enable", "false") == "true"
    http_enabled = settings.get("http.enable", "true") == "true"
    if not http_enabled and not https_enabled:
        http_enabled = True
        daemon_log.warning("Server configuration malformed, neither http nor https is enabled, http will be enabled.")
    keystore = settings.get("https.keystore", "")
    https = https_enabled and bool(keystore) and Path(keystore).exists()
    return Connectors(
        int(settings.get("http.port", "8080")) if http_enabled else None,
        int(settings.get("https.port", "8443")) if https else None,
        Path(keystore),
        settings.get("https.keystore.password", ""),
    )

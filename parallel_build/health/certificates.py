"""Certificates of the original, and how long they are valid: CloudStack's own authority, console proxy's, KVM agents', the API's."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from parallel_build.cloudstack.encryption import Encryptor, WrongKey, decrypt
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session
from parallel_build.secret import Secret

ROOT_CERTIFICATE = "ca.plugin.root.ca.certificate"  # a Hidden, encrypted setting [CloudStack RootCAProvider.java]
AGENT_CERTIFICATE = "/etc/cloudstack/agent/cloud.crt"  # [CloudStack KeyStoreUtils.java]


@dataclass(frozen=True)
class Certificate:
    """A certificate.

    Attributes:
        what: whose it is.
        expires: end of its validity, UTC; None when it can't be read.
        renewed: CloudStack renews it by itself [ca.framework.cert.automatic.renewal].
    """

    what: str
    expires: datetime | None
    renewed: bool = False


def expiry(pem: str) -> datetime | None:
    """End of the validity of the first certificate in a text, None when there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    except ValueError:
        return None


def of_database(opened: Session, key: Secret | None, encryptor: Encryptor = Encryptor.AUTOMATIC) -> list[Certificate]:
    """The authority's and those of table `keystore` (console proxy, secondary storage).

    Args:
        key: the database key; without it the authority's certificate can't be read.
    """
    found = [
        Certificate(f"{row['name']} (keystore, {row['domain_suffix']})", expiry(str(row["certificate"])))
        for row in opened.rows("SELECT name, domain_suffix, certificate FROM cloud.keystore")
    ]
    stored = opened.value("SELECT value FROM cloud.configuration WHERE name = %s", [ROOT_CERTIFICATE])
    if stored and key is not None:
        with contextlib.suppress(WrongKey):
            found.append(Certificate("CloudStack's own authority", expiry(decrypt(str(stored), key, encryptor).reveal())))
    return found


def of_agent(host: Access) -> list[Certificate]:
    """A KVM agent's certificate; none where CloudStack's authority gave it none."""
    raw = host.read(AGENT_CERTIFICATE)
    return [Certificate(f"agent on {host.name}", expiry(raw.decode(errors="replace")), renewed=True)] if raw else []


def of_api(where: Endpoint, what: str, timeout: float = 10) -> list[Certificate]:
    """The certificate that an API's address presents, whoever signed it; none for http or when nothing answers."""
    if not where.secure:
        return []
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its date is asked for, nothing is sent
    try:
        with (
            socket.create_connection((where.host, where.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=where.server_name or where.host) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except OSError:
        return []  # the rule on what can't be read has the API's silence already
    return [Certificate(f"{what} (API)", expiry(ssl.DER_cert_to_PEM_cert(der)))] if der else []

"""Certificates for replication over TLS: a certification authority whose key is never kept, and one certificate a server.

The authority's key lives in this process for as long as it takes to sign both certificates and is then forgotten: nobody can issue a further one.
To renew, all are made again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parallel_build.configuration import Server
from parallel_build.secret import Secret

VALID_FOR = timedelta(days=3650)  # replication must not end on a birthday nobody remembers
RENEW_BEFORE = timedelta(days=90)
KEY_BITS = 3072


@dataclass(frozen=True)
class Certificates:
    """A server's files, each as PEM text."""

    ca: str
    certificate: str
    key: Secret


def issue(servers: Sequence[Server]) -> dict[str, Certificates]:
    """Make an authority and a certificate for each server, by server name. Each bears the server's name and address."""
    now = datetime.now(UTC) - timedelta(hours=1)  # clocks may differ a little
    authority_key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudstack-parallel-build replication")])
    authority = (
        x509.CertificateBuilder()
        .subject_name(authority_name)
        .issuer_name(authority_name)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    ca_text = authority.public_bytes(serialization.Encoding.PEM).decode()
    made = {}
    for server in servers:
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server.name)]))
            .issuer_name(authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(server)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        made[server.name] = Certificates(
            ca_text,
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            Secret(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()),
        )
    return made


def fault(ca: str, certificate: str, server: Server) -> str | None:
    """Why a server's certificate can't be used, in words; None when it can.

    Looked at: signed by this authority, for this server's address and name, and valid for another 90 days.
    """
    try:
        authority, own = x509.load_pem_x509_certificate(ca.encode()), x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return "it is no certificate"
    public_key = authority.public_key()
    algorithm = own.signature_hash_algorithm
    if not isinstance(public_key, rsa.RSAPublicKey) or algorithm is None:
        return "it was not issued by this tool"
    try:
        public_key.verify(own.signature, own.tbs_certificate_bytes, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return "it was not issued by the authority that lies next to it"
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "it names no server"
    if not set(_names(server)) <= set(names):
        return f"it is not for {server.name} ({server.address})"
    if min(own.not_valid_after_utc, authority.not_valid_after_utc) - datetime.now(UTC) < RENEW_BEFORE:
        return f"it ends on {own.not_valid_after_utc:%Y-%m-%d}"
    return None


def names_address(ca: bytes, certificate: bytes, address: str) -> bool:
    """Whether a server's certificate is straight from this authority, valid now, and bears the address: then a client can check all of it."""
    try:
        authority, own = x509.load_pem_x509_certificate(ca), x509.load_pem_x509_certificate(certificate)
        own.verify_directly_issued_by(authority)
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = names.get_values_for_type(x509.IPAddress)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    now = datetime.now(UTC)
    valid = all(each.not_valid_before_utc < now < each.not_valid_after_utc for each in (own, authority))
    return valid and ipaddress.ip_address(address) in known


def _names(server: Server) -> list[x509.GeneralName]:
    return [x509.DNSName(server.name), x509.IPAddress(ipaddress.ip_address(server.address))]


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )

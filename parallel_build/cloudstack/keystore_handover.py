"""The program that hands the certificate of a management server's own keystore to the service that answers users there (`users_out_answer`).

Run on the server as root by its own Python 3; it needs nothing else for a JKS keystore, and openssl for a PKCS#12 one. Neither the key nor the password is
written to a file or given as an argument: the key goes from this program's memory into the service's, by a socket whose other end is proved to be it.

A JSON object comes by standard input: `keystore` (a path), `password`, `handover` (the socket's name), `unit` (the service's), `port` (on which the
management server serves TLS itself: the certificate that it shows there must be the keystore's). What it prints is why users are not answered by TLS;
nothing when they are.
"""

# ruff: noqa: UP006, UP022, UP031, UP035 - the Python of a management server may be older than the project's own
from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
from typing import Any, Dict, List, Tuple

JKS, JCEKS, SEQUENCE = b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce", b"\x30"
WHITENER = b"Mighty Aphrodite"  # [sun.security.provider.JavaKeyStore.getPreKeyedHash]
OWN_CIPHER = bytes.fromhex("060a2b060104012a02110101")  # its object identifier [sun.security.provider.KeyProtector]
DIGEST = 20  # bytes of SHA-1
KEY, TRUSTED = 1, 2  # kinds of entries
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)
SAME_ENTRY = re.compile(r"localKeyID:? *([0-9A-Fa-f ]+)")
END = "-----END CERTIFICATE-----"
LIMIT = 15  # seconds

Pair = Tuple[str, str]
"""Certificates, the server's own first, and its key, both PEM."""


class Unusable(Exception):
    """Why no certificate can be taken from a keystore."""


class Reading:
    """The fields of a JKS keystore, one after the other [DataInputStream]."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        found = self.content[self.at : self.at + size]
        if len(found) != size:
            raise Unusable("it ends in the middle")
        self.at += size
        return found

    def number(self) -> int:
        """The next four bytes as a number."""
        return int(struct.unpack(">I", self.take(4))[0])

    def text(self) -> bytes:
        """The next text, which has its length before it."""
        return self.take(int(struct.unpack(">H", self.take(2))[0]))


def sha1(*parts: bytes) -> bytes:
    """SHA-1 over all parts, as the format has it."""
    return hashlib.sha1(b"".join(parts)).digest()  # noqa: S324 - the keystore's own


def from_jks(content: bytes, password: str) -> Pair:
    """The first key of a JKS keystore, and its certificates."""
    word = password.encode("utf-16-be")
    if sha1(word, WHITENER, content[:-DIGEST]) != content[-DIGEST:]:
        raise Unusable("https.keystore.password does not open it")
    reading = Reading(content[:-DIGEST])
    reading.take(4)
    version = reading.number()

    def certificate() -> bytes:
        if version == 2:
            reading.text()
        return reading.take(reading.number())

    for _ in range(reading.number()):
        kind = reading.number()
        reading.text()
        reading.take(8)
        if kind == TRUSTED:
            certificate()
        elif kind == KEY:
            sealed = reading.take(reading.number())
            chain = [certificate() for _ in range(reading.number())]
            return "".join(pem("CERTIFICATE", each) for each in chain), pem("PRIVATE KEY", opened(sealed, word))
        else:
            raise Unusable("it has an entry of an unknown kind, %d" % kind)
    raise Unusable("it has no private key")


def opened(sealed: bytes, word: bytes) -> bytes:
    """A key of a JKS keystore in the clear: PKCS#8 [sun.security.provider.KeyProtector.recover]."""
    _, inside, _ = field(sealed, 0)
    _, begin, end = field(sealed, inside)
    if not sealed[begin:end].startswith(OWN_CIPHER):
        raise Unusable("its key is sealed in an unknown way")
    _, begin, end = field(sealed, end)
    data = sealed[begin:end]
    salt, hidden, check = data[:DIGEST], data[DIGEST:-DIGEST], data[-DIGEST:]
    stream, last = b"", salt
    while len(stream) < len(hidden):
        last = sha1(word, last)
        stream += last
    clear = bytes(one ^ other for one, other in zip(hidden, stream))  # noqa: B905 - old Pythons
    if sha1(word, clear) != check:
        raise Unusable("its key has another password than https.keystore.password")
    return clear


def field(content: bytes, at: int) -> Tuple[int, int, int]:
    """Tag, begin and end of the DER field at a place."""
    length, begin = content[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(content[begin : begin + size], "big"), begin + size
    return content[at], begin, begin + length


def pem(kind: str, content: bytes) -> str:
    """DER as PEM."""
    return "-----BEGIN %s-----\n%s\n-----END %s-----\n" % (kind, textwrap.fill(base64.b64encode(content).decode(), 64), kind)


def from_pkcs12(path: str, password: str) -> Pair:
    """What openssl reads from a PKCS#12 keystore; one with old ciphers needs a word more since OpenSSL 3."""
    problem = ""
    for more in ([], ["-legacy"]):
        try:
            done = subprocess.run(
                ["openssl", "pkcs12", "-in", path, "-nodes", "-passin", "stdin", *more],
                input=(password + "\n").encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, check=False,
            )  # fmt: skip
        except OSError:
            raise Unusable("the server has no openssl to read it") from None
        except subprocess.TimeoutExpired:
            raise Unusable("openssl did not read it within %d s" % LIMIT) from None
        if done.returncode == 0:
            return chosen(done.stdout.decode(errors="replace"))  # names in it may be in any encoding
        problem = problem or (done.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"])[0][:200]
    raise Unusable("openssl can't read it with https.keystore.password: " + problem)


def chosen(text: str) -> Pair:
    """Of what openssl prints the first key, and the certificates: that of the key first."""
    keys: List[Pair] = []
    certificates: List[Pair] = []
    at = 0
    for found in PEM.finditer(text):
        entry = SAME_ENTRY.search(text[at : found.start()])
        block = (entry.group(1).strip() if entry else "", found.group(0))
        (keys if "PRIVATE KEY" in found.group(1) else certificates).append(block)
        at = found.end()
    if not keys or not certificates:
        raise Unusable("it has no private key" if not keys else "it has no certificate")
    name, key = keys[0]
    own = [each for each in certificates if name and each[0] == name][:1]
    return "".join(block for _, block in [*own, *(each for each in certificates if each not in own)]), key


def read(path: str, password: str) -> Pair:
    """The certificate and the key of a keystore."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - old Pythons
            content = file.read()
    except OSError as error:
        raise Unusable("it can't be read: %s" % error.strerror) from None
    if content.startswith(JKS):
        return from_jks(content, password)
    if content.startswith(SEQUENCE):
        return from_pkcs12(path, password)
    raise Unusable("it is a JCEKS keystore, not JKS or PKCS#12" if content.startswith(JCEKS) else "it is neither JKS nor PKCS#12")


def prove_shown(port: int, certificates: str) -> None:
    """The certificate is the one that the server shows now: a keystore may have been renewed since it started. One that does not answer shows none."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is compared, not trusted
    try:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as plain, context.wrap_socket(plain) as secured:
            shown = secured.getpeercert(True)
    except (OSError, ValueError):
        return
    if shown and shown != ssl.PEM_cert_to_DER_cert(certificates[: certificates.index(END) + len(END)]):
        raise Unusable("the server shows another certificate than the first one in it")


def hand_over(name: str, unit: str, pair: Pair) -> str:
    """Give it to the service; what the service says."""
    with socket.socket(socket.AF_UNIX) as service:
        service.settimeout(LIMIT)
        try:
            service.connect("\0" + name)
        except OSError as error:
            raise Unusable("the service that answers takes no certificate: %s" % error.strerror) from None
        listens = struct.unpack("3i", service.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if listens != main_process(unit):
            raise Unusable("another program listens in the place of the service that answers")
        service.sendall((json.dumps({"certificate": pair[0], "key": pair[1]}) + "\n").encode())
        service.shutdown(socket.SHUT_WR)
        with service.makefile("r") as file:
            return file.read()


def main_process(unit: str) -> int:
    """The process of a service."""
    shown = subprocess.run(["systemctl", "show", "--property=MainPID", unit], stdout=subprocess.PIPE, timeout=LIMIT, check=False)
    number = shown.stdout.decode().strip().partition("=")[2]
    return int(number) if number.isdigit() else -1


def main(given: Dict[str, Any]) -> str:
    """Do it; why not."""
    try:
        pair = read(given["keystore"], given["password"])
        prove_shown(given["port"], pair[0])
        return hand_over(given["handover"], given["unit"], pair)
    except Unusable as error:
        return "%s: %s" % (given["keystore"], error)


if __name__ == "__main__":
    print(main(json.load(sys.stdin)))

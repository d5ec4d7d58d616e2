"""Users who come by TLS while they are held out: answered with the certificate of the server's own keystore, from real ports, the key on no disk."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificates

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack import keystore_handover, users_out_answer
from parallel_build.cloudstack.keystore_handover import Unusable
from parallel_build.operations.users_out_service import for_old_python
from tests.authority import PASSWORD, Authority
from tests.fast import jks

pytestmark = pytest.mark.processes

OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
SYSTEM_PYTHON = Path("/usr/bin/python3")
NOBODY = 65534
START = "import os\nOWNERS = ({owner},)\nmain({path!r})\n"


def parts(path: Path) -> tuple[bytes, list[bytes]]:
    """Key and certificates of a PKCS#12 file, DER."""
    key, certificate, more = pkcs12.load_key_and_certificates(path.read_bytes(), PASSWORD.encode())
    assert key is not None and certificate is not None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), [
        each.public_bytes(Encoding.DER) for each in (certificate, *more)
    ]


def as_jks(path: Path, password: str = PASSWORD, key_password: str | None = None) -> Path:
    """The same as JKS."""
    key, chain = parts(path)
    made = path.with_suffix(".jks")
    made.write_bytes(jks.keystore(password, key, chain, trusted=chain[1:], key_password=key_password))
    return made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def answering(python: str = sys.executable, user: int | None = None) -> Iterator[tuple[int, int, str]]:
    """The service as a process of its own: its number, its TLS port, and the socket's name."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path, name, port, plain = Path(folder) / "answer.json", f"test-{os.getpid()}-{free_port()}", free_port(), free_port()
        path.write_text(json.dumps({"port": plain, "tls": port, "handover": name, "retry": 7, "text": "back at 02:00", "moved": ""}))
        path.chmod(0o644)
        program = for_old_python(inspect.getsource(users_out_answer)).partition('if __name__ == "__main__":')[0]
        words = [python, "-c", program + START.format(owner=os.getuid(), path=str(path))]
        with subprocess.Popen(words, user=user, group=user, extra_groups=None if user is None else []) as child:
            try:
                wait_for("the service", lambda: _open(plain), timeout=15, cancel=CancelToken(), interval=0.02)
                yield child.pid, port, name
            finally:
                child.terminate()
                assert child.wait(10) == 0


def _open(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def hand_over(monkeypatch: pytest.MonkeyPatch, service: tuple[int, int, str], path: Path, port: int = 9) -> str:
    """As on the server, whose own TLS port is `port`."""
    monkeypatch.setattr(keystore_handover, "main_process", lambda _: service[0])
    return keystore_handover.main({"keystore": str(path), "password": PASSWORD, "handover": service[2], "unit": "x", "port": port})


@pytest.mark.parametrize("kind", ["jks", pytest.param("p12", marks=OPENSSL)])
def test_a_call_by_tls_is_answered_with_the_keystores_own_certificate(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, kind: str
) -> None:
    made = authority.keystore("localhost")
    path = as_jks(made) if kind == "jks" else made
    with answering() as service:
        assert not _open(service[1]), "refused until there is a certificate"
        assert hand_over(monkeypatch, service, path) == ""
        url = f"https://localhost:{service[1]}/client"
        reply = requests.get(f"{url}/api", params={"command": "listZones", "response": "json"}, verify=str(authority.file), timeout=5)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "7")
        assert reply.json()["listzonesresponse"]["errortext"] == "back at 02:00"
        assert hand_over(monkeypatch, service, path) == "", "again, as a resumed run does"
        assert requests.get(f"{url}/", verify=str(authority.file), timeout=5).status_code == 503
        with socket.create_connection(("127.0.0.1", service[1]), timeout=5) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(100)[:1] in (b"", b"\x15"), "who speaks no TLS is sent away"
        assert requests.get(f"{url}/", verify=str(authority.file), timeout=5).status_code == 503


@pytest.mark.skipif(os.geteuid() != 0 or not SYSTEM_PYTHON.exists(), reason="not root, or no Python that others may run")
def test_the_service_runs_as_nobody_and_nobody_else_sees_its_key(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    with answering(str(SYSTEM_PYTHON), NOBODY) as service:
        assert hand_over(monkeypatch, service, as_jks(authority.keystore("localhost"))) == ""
        assert requests.get(f"https://localhost:{service[1]}/client/", verify=str(authority.file), timeout=5).status_code == 503
        peek = f"open('/proc/{service[0]}/mem', 'rb')"
        seen = subprocess.run(
            [SYSTEM_PYTHON, "-c", peek], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=False
        )
        assert "PermissionError" in seen.stderr
        held = {str(each.readlink()) for each in Path(f"/proc/{service[0]}/fd").iterdir() if int(each.name) > 2}
        assert not [each for each in held if "pipe" in each or "memfd" in each], held


@OPENSSL
def test_the_service_with_openssl_takes_a_keystore_with_old_ciphers(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    key, chain = parts(authority.keystore("localhost"))
    pems = keystore_handover.pem("PRIVATE KEY", key) + "".join(keystore_handover.pem("CERTIFICATE", each) for each in chain)
    old = tmp_path / "old.p12"
    words = ["openssl", "pkcs12", "-export", "-legacy", "-passout", f"pass:{PASSWORD}", "-out", str(old)]
    if subprocess.run(words, input=pems.encode(), capture_output=True, check=False).returncode:
        pytest.skip("this openssl writes no old ciphers")
    with answering() as service:
        assert hand_over(monkeypatch, service, old) == ""
        assert requests.get(f"https://localhost:{service[1]}/client/", verify=str(authority.file), timeout=5).status_code == 503


@pytest.mark.skipif(shutil.which("keytool") is None, reason="no keytool on this machine")
@pytest.mark.parametrize("kind", ["JKS", pytest.param("PKCS12", marks=OPENSSL), "JCEKS"])
def test_a_keystore_that_java_has_made_is_read(tmp_path: Path, kind: str) -> None:
    path, words = tmp_path / "cloud.jks", ["-storepass", PASSWORD, "-keypass", PASSWORD, "-storetype", kind]
    subject = ["-alias", "cloud", "-dname", "CN=localhost", "-keyalg", "RSA", "-validity", "2"]
    subprocess.run(["keytool", "-genkeypair", "-keystore", str(path), *words, *subject], check=True, capture_output=True, timeout=60)
    if kind == "JCEKS":
        with pytest.raises(Unusable, match="it is a JCEKS keystore"):
            keystore_handover.read(str(path), PASSWORD)
        return
    certificates, key = keystore_handover.read(str(path), PASSWORD)
    shown = load_pem_x509_certificates(certificates.encode())
    found = load_pem_private_key(key.encode(), None)
    assert len(shown) == 1 and shown[0].public_key() == found.public_key()


def test_only_the_service_itself_is_given_the_key(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    path = as_jks(authority.keystore("localhost"))
    with answering() as service:
        assert "another program listens in the place of the service" in hand_over(monkeypatch, (service[0] + 1, *service[1:]), path)
        assert not _open(service[1])
    assert "takes no certificate: Connection refused" in hand_over(monkeypatch, service, path)


def test_a_keystore_that_was_renewed_since_the_server_started_is_not_shown(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """What asks users' way would take another certificate for another server, and the step would fail by it."""
    before, since = (as_jks(authority.keystore("localhost")) for _ in range(2))
    with answering() as server, answering() as service:
        assert hand_over(monkeypatch, server, before) == ""
        assert "the server shows another certificate" in hand_over(monkeypatch, service, since, port=server[1])
        assert not _open(service[1])
        assert hand_over(monkeypatch, service, before, port=server[1]) == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xce\xce\xce\xce" + bytes(40), "it is a JCEKS keystore"),
        (b"-----BEGIN CERTIFICATE-----", "it is neither JKS nor PKCS#12"),
        (b"", "it is neither JKS nor PKCS#12"),
        (b"\xfe\xed\xfe\xed", "https.keystore.password does not open it"),
        pytest.param(b"\x30\x82\x01\x00", "openssl can't read it", marks=OPENSSL),
    ],
)
def test_a_keystore_that_can_not_be_used_is_named_with_its_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "store"
    path.write_bytes(content)
    given = {"keystore": str(path), "password": PASSWORD, "handover": "x", "unit": "x", "port": 9}
    found = keystore_handover.main(given)
    assert found.startswith(f"{path}: ") and words in found
    path.unlink()
    assert "No such file" in keystore_handover.main(given)


@OPENSSL
def test_a_wrong_password_is_named_and_never_printed(authority: Authority) -> None:
    made = authority.keystore("localhost")
    for path in (made, as_jks(made)):
        with pytest.raises(Unusable) as caught:
            keystore_handover.read(str(path), "not-the-password")
        assert "https.keystore.password" in str(caught.value) and "not-the-password" not in str(caught.value)
    with pytest.raises(Unusable, match="its key has another password"):
        keystore_handover.read(str(as_jks(made, key_password="another")), PASSWORD)


def test_a_jks_that_is_torn_anywhere_is_refused(authority: Authority, tmp_path: Path) -> None:
    whole = as_jks(authority.keystore("localhost")).read_bytes()
    for size in range(4, len(whole), 13):
        with pytest.raises(Unusable):
            keystore_handover.from_jks(whole[:size], PASSWORD)


def test_of_what_openssl_prints_the_keys_own_certificate_comes_first(authority: Authority) -> None:
    key, chain = parts(authority.keystore("localhost"))
    own, other = (keystore_handover.pem("CERTIFICATE", each) for each in chain)
    printed = (
        f"Bag Attributes\n    friendlyName: ca\n{other}Bag Attributes\n    localKeyID: 54 69 \nKey Attributes: <No Attributes>\n"
        f"{keystore_handover.pem('PRIVATE KEY', key)}Bag Attributes\n    localKeyID: 54 69 \nsubject=CN = localhost\n{own}"
    )
    certificates, found = keystore_handover.chosen(printed)
    assert [each.public_bytes(Encoding.DER) for each in load_pem_x509_certificates(certificates.encode())] == chain
    assert load_pem_private_key(found.encode(), None) is not None
    with pytest.raises(Unusable, match="no private key"):
        keystore_handover.chosen(own)

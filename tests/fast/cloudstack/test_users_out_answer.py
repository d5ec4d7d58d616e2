"""What users hear while they are held out: 503 in CloudStack's own shape, a page, or where the cloud is now; from a real port."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack import users_out_answer
from parallel_build.operations.packet_filter import Barrier

pytestmark = pytest.mark.processes

TEXT = "The cloud is being upgraded <until> 02:00 & takes no calls"


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The program on a port of its own, and its file."""
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"port": 0, "retry": 7, "text": TEXT, "moved": ""}))
    users_out_answer.Answering.path_of_settings = str(path)
    server = users_out_answer.opened(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", path
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_call_gets_an_error_in_the_form_that_it_asked_for(answering: tuple[str, Path], method: str) -> None:
    url = answering[0] + "/client/api"
    where = "params" if method == "get" else "data"
    reply = requests.request(method, url, timeout=5, **{where: {"command": "listZones", "response": "json"}})  # type: ignore[arg-type]
    assert (reply.status_code, reply.headers["Retry-After"], reply.headers["Connection"]) == (503, "7", "close")
    assert reply.json() == {"listzonesresponse": {"uuidList": [], "errorcode": 503, "errortext": TEXT}}
    reply = requests.request(method, url, timeout=5, **{where: {"command": "deployVirtualMachine"}})  # type: ignore[arg-type]
    found = ElementTree.fromstring(reply.text)  # noqa: S314 - written by the program under test
    assert (found.tag, found.findtext("errorcode"), found.findtext("errortext")) == ("deployvirtualmachineresponse", "503", TEXT)


def test_what_a_caller_sends_is_never_part_of_the_answer(answering: tuple[str, Path]) -> None:
    reply = requests.get(answering[0] + "/client/api", params={"command": "<script>alert(1)</script>", "response": "xml"}, timeout=5)
    assert "<script>" not in reply.text and ElementTree.fromstring(reply.text).tag == "scriptalert1scriptresponse"  # noqa: S314
    assert requests.get(answering[0] + "/client/api", timeout=5).text.startswith("<?xml")


def test_a_browser_gets_a_page_and_later_the_new_address(answering: tuple[str, Path]) -> None:
    url, path = answering
    reply = requests.get(url + "/client/", timeout=5)
    assert reply.status_code == 503 and "&lt;until&gt;" in reply.text and reply.headers["Content-Type"].startswith("text/html")
    path.write_text(json.dumps({"port": 0, "retry": 7, "text": "moved", "moved": "http://10.91.0.41:8080/client"}))
    reply = requests.get(url + "/client/", timeout=5, allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (302, "http://10.91.0.41:8080/client")
    assert requests.get(url + "/client/api", params={"command": "x"}, timeout=5).status_code == 503


def test_a_caller_that_says_nothing_keeps_nobody_waiting(answering: tuple[str, Path]) -> None:
    host, port = answering[0].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        assert requests.head(answering[0] + "/client/api", timeout=5).status_code == 503


def test_the_rules_let_open_connections_end_first_and_never_touch_administrators() -> None:
    barrier = Barrier(["10.0.0.1/32", "2001:db8::/64"], [80, 8080, 8443], [80, 8080])
    first, then = barrier.rules(answered=True, lets_end=True), barrier.rules(answered=True)
    assert "!= syn accept" in first and "!= syn" not in then, "of open connections every packet but the first"
    for rules in (first, then):
        assert rules.count("== syn tcp dport { 80, 8080 } redirect to :18503") == 1
        assert rules.index("ip saddr 10.0.0.1/32 accept") < rules.index("redirect")
        assert "ip6 saddr 2001:db8::/64 accept" in rules
    assert "redirect" not in barrier.rules(answered=False) and "REDIRECT" not in barrier.rules(answered=False)
    assert (
        barrier.users
        == "( sport = :80 or sport = :8080 or sport = :8443 ) and not ( dst 10.0.0.1/32 or dst 2001:db8::/64 or dst 127.0.0.0/8 or dst ::1/128 )"
    )


def test_who_waits_when_the_service_ends_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"port": 0, "text": TEXT}))
    users_out_answer.Answering.path_of_settings = str(path)
    server = users_out_answer.opened(0)
    waiting = [socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=5) for _ in range(20)]
    for each in waiting:
        each.sendall(b"GET /client/api?command=x HTTP/1.1\r\nHost: x\r\n\r\n")
    server.answer_those_who_wait()
    server.server_close()
    assert {each.recv(12) for each in waiting} == {b"HTTP/1.1 503"}
    for each in waiting:
        each.close()


def spoken(url: str, call: bytes) -> bytes:
    """What comes back for the bytes of a call."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(call)
        found = b""
        while block := caller.recv(65536):
            found += block
        return found


PIECES = b"POST /client/api HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (PIECES + b"d\r\ncommand=listZ\r\n12;x=1\r\nones&response=json\r\n0\r\n\r\n", b"listzonesresponse"),
        (PIECES + b"0\r\nLast: word\r\n\r\n", b"errorresponse"),
        (PIECES + b"no number\r\n", b"errorresponse"),
        (PIECES + b"400000\r\n" + b"x" * 0x400000 + b"\r\n0\r\n\r\n", b"errorresponse"),
        (b"POST /client/api HTTP/1.1\r\nContent-Length: 6000000\r\n\r\ncommand=x&" + b"y" * 5999990, b"<xresponse>"),
        (b"GET /client/api?command=x HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"<xresponse>"),
        (b"GET /client/api?command=x HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"<xresponse>"),
        (b"GET /client/api?command=x HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"<xresponse>"),
        (b"GET http://[::1/client/api?command=x HTTP/1.1\r\n\r\n", b"<xresponse>"),
        (b"GET /client/api;jsessionid=node01?command=x HTTP/1.1\r\n\r\n", b"<xresponse>"),
        (b"GET /?command=listZones&response=json HTTP/1.1\r\n\r\n", b"listzonesresponse"),  # as port 8096 takes it
    ],
    ids=range(11),
)
def test_no_call_is_reset_however_it_is_written(answering: tuple[str, Path], call: bytes, words: bytes) -> None:
    found = spoken(answering[0], call)
    assert found.startswith(b"HTTP/1.1 503 ") and words in found


def test_callers_that_never_come_to_their_end_do_not_keep_the_service_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users wait for its end: one who sends a byte now and then, and one who calls again and again, must not hold them up."""
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"port": 0, "text": TEXT}))
    users_out_answer.Answering.path_of_settings = str(path)
    monkeypatch.setattr(users_out_answer, "SECONDS", 0.4)
    server = users_out_answer.opened(0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    ended = threading.Event()
    slow = socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30)

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not ended.wait(0.1):
                slow.sendall(b"G")

    def again() -> None:
        while not ended.wait(0.05):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=1).close()

    callers = [threading.Thread(target=each) for each in (drip, again)]
    for each in callers:
        each.start()
    try:
        wait_for("the first byte", lambda: server.open, timeout=30, cancel=CancelToken(), interval=0.01)
        server.shutdown()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        ended.set()
        for each in callers:
            each.join()
        slow.close()

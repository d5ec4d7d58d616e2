"""Calls of users through a window, by three kinds of clients: the `cs` library, a client that tries again, and curl. None may be reset or left waiting.

Each client knows the original's address and the new server's, and asks them in turn, as one does whose name leads to both. Calls are spread over the
whole run, and continue until there are as many as were asked for.
"""

from __future__ import annotations

import errno
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cs
import requests
from urllib3.util import Retry

from lab.files import Lab
from lab.machines import NEW_MANAGEMENT, OLD_MANAGEMENT, USER_ADDRESS
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.cloudstack.user_probe import signed

EVERY = 0.1  # seconds from one call of a kind of client to the next
WORKERS = 4  # calls of a kind at the same time
TIMEOUT = 10  # seconds after which a call counts as left waiting
FIRST_LIMIT = 1.0  # seconds from users in to the first served call
SERVED = "200"
RESET, TIMED_OUT, REFUSED = "reset", "timed out", "refused"
CURL_SAYS = {7: REFUSED, 28: TIMED_OUT, 52: RESET, 55: RESET, 56: RESET}  # [curl(1), EXIT CODES]

Ask = Callable[[str], str]


@dataclass
class Asked:
    """What the clients got.

    Attributes:
        outcomes: how often, by client and outcome: an HTTP status, or what went wrong.
        served: when a call was served by the new server (seconds since 1970).
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    served: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, client: str, outcome: str, *, new: bool) -> None:
        """One call has ended."""
        with self._lock:
            self.outcomes.setdefault(client, Counter())[outcome] += 1
            if new and outcome == SERVED:
                self.served.append(time.time())

    @property
    def number(self) -> int:
        """Calls so far."""
        with self._lock:
            return sum(sum(each.values()) for each in self.outcomes.values())

    def document(self, users_in: float) -> dict[str, Any]:
        """As figures.

        Args:
            users_in: when users were in on the new side, by the same clock.
        """
        return {
            "outcomes": {client: dict(sorted(each.items())) for client, each in sorted(self.outcomes.items())},
            "first served after users in": round(min(self.served) - users_in, 2) if self.served else None,
        }


def missed(calls: Mapping[str, Any]) -> list[str]:
    """Which limits did not hold, in words, by `Asked.document`."""
    outcomes: Mapping[str, Mapping[str, int]] = calls["outcomes"]
    wrong = [
        f"{each[bad]} calls of {client} {'were ' if bad == RESET else ''}{bad}"
        for client, each in outcomes.items()
        for bad in (RESET, TIMED_OUT)
        if each.get(bad)
    ]
    first = calls["first served after users in"]
    if first is None:
        return [*wrong, "the new server has served no call"]
    return wrong + (
        [f"the first call was served {first:.1f} s after users were in, the limit is {FIRST_LIMIT:.0f} s"] if first > FIRST_LIMIT else []
    )


def outcome_of(error: BaseException) -> str:
    """What went wrong with a call, by its error and those behind it."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, requests.Timeout | TimeoutError):
            return TIMED_OUT
        number = behind.errno if isinstance(behind, OSError) else None
        if number == errno.ECONNREFUSED:
            return REFUSED
        if number in (errno.ECONNRESET, errno.EPIPE) or "closed connection without response" in str(behind):
            return RESET
        reason = getattr(behind, "reason", None)
        inside = next((each for each in (reason, *behind.args) if isinstance(each, BaseException)), None)
        behind = inside or behind.__cause__ or behind.__context__
    return type(error).__name__


def _with_cs(lab: Lab) -> Ask:
    secrets = lab.secrets()

    def ask(url: str) -> str:
        with Endpoint(url).session(USER_ADDRESS) as session:
            client = cs.CloudStack(
                endpoint=url, key=secrets.must("original_api_key").reveal(), secret=secrets.must("original_api_secret").reveal(),
                timeout=TIMEOUT, retry=0, session=session,
            )  # fmt: skip
            try:
                client.listCapabilities()
            except cs.CloudStackException as error:
                return str(error.response.status_code) if error.response is not None else type(error).__name__
        return SERVED

    return ask


def _retrying(lab: Lab) -> Ask:
    """Three tries of each call on the same address, as many libraries make them of a 503."""
    keys = lab.secrets().must("original_api_key"), lab.secrets().must("original_api_secret")
    again = Retry(  # of an answer alone: a call that is reset must be seen
        total=2,
        connect=0,
        read=0,
        other=0,
        status_forcelist=[503],
        backoff_factor=0.2,
        respect_retry_after_header=False,
        raise_on_status=False,
    )

    def ask(url: str) -> str:
        with Endpoint(url).session(USER_ADDRESS) as session:
            for adapter in session.adapters.values():
                adapter.max_retries = again  # type: ignore[attr-defined]
            return str(session.get(signed(url, *keys), timeout=TIMEOUT, allow_redirects=False).status_code)

    return ask


def _with_curl(lab: Lab) -> Ask:
    keys = lab.secrets().must("original_api_key"), lab.secrets().must("original_api_secret")
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--interface", USER_ADDRESS, "--max-time", str(TIMEOUT), "-K", "-"]

    def ask(url: str) -> str:
        done = subprocess.run(
            words, input=f'url = "{signed(url, *keys)}"\n', capture_output=True, text=True, check=False, timeout=2 * TIMEOUT
        )
        return done.stdout.strip() if done.returncode == 0 else CURL_SAYS.get(done.returncode, f"curl {done.returncode}")

    return ask


KINDS: dict[str, Callable[[Lab], Ask]] = {"cs": _with_cs, "retrying": _retrying, "curl": _with_curl}


class _Client:
    """One kind of client: its workers share the turns, so that a slow call delays no other.

    Args:
        wanted: whether more calls are to be made.
    """

    def __init__(self, name: str, ask: Ask, urls: Sequence[str], asked: Asked, wanted: Callable[[], bool]) -> None:
        self.name, self.ask, self.urls, self.asked, self.wanted = name, ask, urls, asked, wanted
        self._turn = threading.Lock()
        self._due, self._number = time.monotonic(), 0
        self.workers = [threading.Thread(target=self._work) for _ in range(WORKERS)]

    def _work(self) -> None:
        while self.wanted():
            with self._turn:  # a call that is late is not made up for by a crowd of them
                due = max(self._due, time.monotonic())
                self._due, self._number = due + EVERY, self._number + 1
                url = self.urls[self._number % len(self.urls)]
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                outcome = self.ask(url)
            except requests.RequestException as error:
                outcome = outcome_of(error)
            self.asked.note(self.name, outcome, new=url == self.urls[-1])


@contextmanager
def asking(lab: Lab, calls: int) -> Iterator[Asked]:
    """Have users call while the block runs, and until there are as many calls as were asked for; nobody calls where that is none.

    Args:
        calls: of all clients together.
    """
    asked, ended = Asked(), threading.Event()
    if not calls:
        yield asked
        return
    urls = [f"http://{server.address}:8080/client/api" for server in (OLD_MANAGEMENT[0], NEW_MANAGEMENT[0])]
    clients = [_Client(name, kind(lab), urls, asked, lambda: not ended.is_set() or asked.number < calls) for name, kind in KINDS.items()]
    workers = [worker for client in clients for worker in client.workers]
    for worker in workers:
        worker.start()
    try:
        yield asked
    except BaseException:
        calls = 0
        raise
    finally:
        ended.set()
        for worker in workers:
            worker.join()

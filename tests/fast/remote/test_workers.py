"""Nothing begins behind a failure or a cancel, however much waits."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack import systemvms
from parallel_build.cloudstack.api import ApiUnavailable, Cloud
from parallel_build.errors import Cancelled, StepFailed
from parallel_build.remote.parallel import Workers


def test_what_waits_behind_a_failure_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.02)
        if number == 2:
            raise ValueError("the third fails")

    with pytest.raises(ValueError, match="the third fails"), Workers(2) as pool:
        for future in [pool.submit(work, number) for number in range(300)]:
            future.result()
    assert len(begun) < 12


class Networks(Cloud):
    """A cloud whose restarts take long, and whose API is away for some calls."""

    def __init__(self, *, away: int = 0) -> None:
        self.begun: list[str] = []
        self.away, self.ready, self.lock = away, False, threading.Lock()

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        with self.lock:
            if command == "restartNetwork":
                if self.away:
                    self.away -= 1
                    raise ApiUnavailable("the API does not answer", "ReadTimeout", "", None)
                self.begun.append(parameters["id"])
                return {"jobid": parameters["id"]}
            return {"jobstatus": 1 if self.ready else 0, "jobresult": {}}

    def list(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        return []


def test_a_cancel_begins_no_further_restart() -> None:
    cloud, cancel = Networks(), CancelToken()
    networks = systemvms.Restarts(networks={f"n{number}": f"net{number}" for number in range(300)})

    def interrupt() -> None:
        wait_for("four restarts", lambda: len(cloud.begun) == 4, timeout=20, cancel=CancelToken())
        cancel.set("^C")

    threading.Thread(target=interrupt).start()
    with pytest.raises(Cancelled):
        systemvms.restart(cloud, networks, at_once=4, timeout=60, cancel=cancel, progress=lambda _: None)
    assert len(cloud.begun) == 4


def test_a_call_that_is_not_answered_is_one_failure_of_many() -> None:
    cloud = Networks(away=1)
    cloud.ready = True
    networks = systemvms.Restarts(networks={f"n{number}": f"net{number}" for number in range(12)})
    with pytest.raises(StepFailed, match=r"1 of 12 networks could not be restarted: net\d+: "):
        systemvms.restart(cloud, networks, at_once=4, timeout=60, cancel=CancelToken(), progress=lambda _: None)
    assert len(cloud.begun) == 11

"""Nothing begins behind a failure or a cancel, however much waits."""

from __future__ import annotations

import time

import pytest

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

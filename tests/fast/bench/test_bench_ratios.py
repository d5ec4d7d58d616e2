"""The benchmarks' own arithmetic: ratios within one run, and which targets it has missed."""

from __future__ import annotations

from typing import Any

import pytest

from bench import outage, transfer, window
from bench.transfer import ARTICLE, DUMP, MYDUMPER, REPLICATE, missed


def run(gigabytes: float, **seconds: float) -> dict[str, Any]:
    names = {"article": ARTICLE, "mydumper": MYDUMPER, "dump": DUMP, "replicate": REPLICATE}
    found: dict[str, Any] = {"bytes": int(gigabytes * 1e9)}
    for name, value in seconds.items():
        found[names[name]] = {
            "seconds": value,
            "equal": True,
            "ratio": round(value / seconds["article"], 4),
            "server_cpu": 1.0,
            "peak_mib": 1,
        }
    return found


GOOD = run(1.59, article=100.0, mydumper=65.0, dump=30.0, replicate=0.2)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (run(1.59, article=100.0, mydumper=65.0, dump=34.0, replicate=0.2), "took 0.340 of the article's sequence"),
        (run(1.59, article=100.0, mydumper=29.0, dump=30.0, replicate=0.2), "longer than mydumper"),
        (run(0.1, article=8.0, mydumper=5.0, dump=4.0, replicate=1.5), "took 1.50 s, the target is 1 s"),
        ({**GOOD, REPLICATE: {**GOOD[REPLICATE], "equal": False}}, "replicate (window) at 1.59 GB left something else"),
    ],
)
def test_a_target_that_is_missed_is_reported(found: dict[str, Any], words: str) -> None:
    assert words in " ".join(missed([found]))


def test_a_small_original_has_no_target_for_dump_and_a_good_run_misses_nothing() -> None:
    assert missed([GOOD, run(0.1, article=8.0, mydumper=5.0, dump=6.0, replicate=0.2)]) == []
    assert "0.300" in transfer.table([GOOD])


def test_the_windows_ratios_are_to_the_script_of_the_same_run() -> None:
    script = {"forward": {"seconds": 50.0}, "back": {"seconds": 20.0, "parts": {"original's own start": 15.0}}}
    ours = {"forward": {"seconds": 25.0, "overhead": 6.0}, "back": {"seconds": 18.0}}
    result: dict[str, Any] = {"bytes": 1e9, "script": script, "dump": ours}
    found = window.ratios(result, ["dump"])
    assert found == {"dump": {"window": 0.5, "back": 0.9, "back over start": 3.0}}
    assert "0.50" in window.table({**result, "ratios": found}, ["dump"])


def test_users_out_may_neither_be_long_nor_grow_with_the_networks() -> None:
    def size(overhead: float) -> dict[str, Any]:
        return {"users out": 30 + overhead, "own": {"a": 30.0}, "overhead": overhead, "waves": 9.0, "renewed": 3, "left": 0, "back": 10.0}

    assert outage.missed({1: size(3.0), 50: size(3.9)}) == []
    assert outage.missed({1: size(3.0), 50: size(4.5)}) == ["1.5 s apart between the sizes, the limit is 1 s"]
    assert "50 networks: 6.0 s of overhead" in " ".join(outage.missed({1: size(5.5), 50: size(6.0)}))
    assert "36.0 s" in outage.table({50: size(6.0)})

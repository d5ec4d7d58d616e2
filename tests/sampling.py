"""A sample of large groups of tests: `pytest -p tests.sampling --sample N`. CI's part `databases` runs so; without it every test runs.

A group is the tests of one file on one pair of servers. Which are drawn follows from the seed, which is printed and can be given again; by
default it is the commit's, so that each commit draws others.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections import defaultdict

import pytest

SERVERS = re.compile(r"\[((?:mariadb|mysql)[^-\]]*)")
HOSTILE = "hostile"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("sampling")
    group.addoption(
        "--sample", type=int, default=0, metavar="N", help="of each file and pair of servers at most N tests; a third on hostile servers"
    )
    group.addoption("--sample-seed", default="", help="which are drawn (default: the commit's)")


def seed_of(config: pytest.Config) -> str:
    """The seed that was given, else the commit's."""
    given = str(config.getoption("--sample-seed"))
    if given:
        return given
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=config.rootpath, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no commit"


def drawn(names: list[str], count: int, seed: str) -> set[str]:
    """The tests that run, of all names as pytest has them."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        found = SERVERS.search(name)
        groups[name.partition("::")[0], found.group(1) if found else ""].append(name)
    kept: set[str] = set()
    for (file, servers), members in sorted(groups.items()):
        limit = max(1, count // 3) if HOSTILE in servers else count
        kept |= set(members if len(members) <= limit else random.Random(f"{seed} {file} {servers}").sample(sorted(members), limit))
    return kept


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not drawn."""
    count = int(config.getoption("--sample"))
    if not count:
        return
    kept = drawn([item.nodeid for item in items], count, seed_of(config))
    left_out = [item for item in items if item.nodeid not in kept]
    items[:] = [item for item in items if item.nodeid in kept]
    config.hook.pytest_deselected(items=left_out)


def pytest_report_header(config: pytest.Config) -> str:
    """How to draw the same again."""
    count = config.getoption("--sample")
    return (
        f"sample: at most {count} of each file and pair of servers, --sample-seed {seed_of(config)}"
        if count
        else "sample: none, every test runs"
    )

"""`window.dumpFile` on real servers: a cold copy of the stopped original on another host, on which a server of its own starts and counts the record's rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves, keep_reading
from tests.containers.whole_stack import evidence, own_lab

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

FOLDER = "/srv/dumps"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own."""
    with own_lab("dump") as runner:
        yield runner


def test_the_file_is_taken_next_to_the_window_and_read_back(lab: LabRunner) -> None:
    for key, value in (("server.name", "newdb2"), ("server.address", "10.91.0.32"), ("folder", FOLDER), ("readBack", "true")):
        lab.run("pulumi", "config", "set", "--path", f"window.dumpFile.{key}", value)
    before = keep_reading(lab)
    tell("switch")
    lab.run("switch")
    found = evidence(lab, "DumpFile")
    tell(f"{found['timing']}: {found['result']}")
    note, copied = found["result"], evidence(lab, "DatabaseTransfer")["result"]
    assert note["rows"] == note["expected"] == copied["rows"] > 10000 and note["tables"] == copied["tables"]
    assert lab.shell("newdb2", f"sha256sum {note['file']}").split()[0] == note["sha256"]
    assert lab.shell("newdb2", f"ls -A {FOLDER} | wc -l").strip() == "2", "the throw-away server has left nothing"
    assert lab.status()["serving"] == "new"
    tell("back; the file stays")
    lab.run("back")
    assert_original_serves(lab, before)
    assert lab.shell("newdb2", f"ls {note['file']}").strip() == note["file"]

"""Both copies over a real sshd whose connection is cut while the record is written: each copy is the former one or the new one, and never torn."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_build.errors import ConnectionFailed, ParallelBuildError
from parallel_build.records.copies import SECOND, RecordCopies
from parallel_build.records.host_copy import HostNotes
from parallel_build.records.record_file import RecordFile
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.host import Host
from tests.fast.sites import site
from tests.fast.ssh_server import SshServer

pytestmark = pytest.mark.processes
HERE = site()
STEPS = 3


class Hosts:
    """Two hosts, each with a way to it of its own."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.ways: dict[str, SshServer] = {}
        self.hosts: dict[str, Host] = {}
        for name in ("olddb1", "newdb1"):
            (folder / name).mkdir()
            self.ways[name] = way = SshServer(folder / name)
            stack.callback(way.close)
            self.hosts[name] = host = way.host()
            host.server = host.server.model_copy(update={"name": name})
            stack.callback(host.close)

    def store(self) -> WindowStore:
        """As a process of its own would have it."""
        old, new = self.hosts.values()
        first, second = RecordFile(old, str(self.folder / "olddb1/record")), RecordFile(new, str(self.folder / "newdb1/record"), SECOND)

        def never(host: Any, error: ParallelBuildError, returning: bool) -> None:
            raise ConnectionFailed(f"{host.name}: it may still be running", "", "")

        return WindowStore(old, HERE, RecordCopies(first, second, never, HostNotes()))

    def text(self, name: str) -> dict[str, Any]:
        """What is on a host's disk."""
        file = self.folder / name / "record" / ("window.json" if name == "olddb1" else SECOND)
        found: dict[str, Any] = json.loads(file.read_bytes().partition(b"\n")[0])
        return found


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """An open window on one of them."""
    with contextlib.ExitStack() as stack:
        found = Hosts(tmp_path, stack)
        folder = tmp_path / "olddb1" / "record"
        folder.mkdir()
        record = WindowRecord("test", HERE.identity, opened="then", number=1, revision=1)
        (folder / "window.json").write_text(record.to_json() + "\n")
        yield found


@pytest.mark.parametrize("cut", ["olddb1", "newdb1"])
def test_a_write_that_is_cut_off_leaves_two_whole_copies(hosts: Hosts, cut: str) -> None:
    hosts.store().keep_copy()
    way, other = hosts.ways[cut], "newdb1" if cut == "olddb1" else "olddb1"
    hosts.store().remember("Window", hosts_up={f"host-{number}": "x" * 40 for number in range(100)})
    before = way.sent
    hosts.store().remember("Step", tried=0)
    whole, torn = way.sent - before, 0
    for step in range(1, STEPS):
        kept = hosts.text(other)["revision"]
        way.cut_after(way.sent + whole * step // STEPS)
        try:
            hosts.store().remember("Step", tried=step)
        except ParallelBuildError:
            torn += 1
        way.cut_after(None)
        assert {hosts.text(name)["revision"] for name in hosts.ways} <= {kept, kept + 1}
        hosts.store().remember("Step", settled=step)
        assert hosts.text("olddb1") == hosts.text("newdb1")
        assert hosts.text("olddb1")["facts"]["Window"]["hosts_up"]["host-99"] == "x" * 40
    assert torn, "at least one write was cut off"

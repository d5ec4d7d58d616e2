"""A cold copy of the original: whole or not at all, never on the data's own volume or without room, and nothing of the window waits for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.configuration import load
from parallel_build.errors import Cancelled, CommandFailed, ConfigurationError, GuardFailed, StepFailed
from parallel_build.operations import deadline, dump_file, original_database, prove_original_down
from parallel_build.records.window import WindowRecord
from parallel_build.remote.openssh import Result
from parallel_build.steps import dump_file as step
from tests.fast.memory_records import Records
from tests.fast.sites import site, values

PLACE = {"server": {"name": "backup1", "address": "10.91.0.60"}, "folder": "/srv/dumps"}


class Machine:
    """A host whose commands run here."""

    def __init__(self, name: str, machine: str) -> None:
        self.name, self.machine, self.free, self.volume = name, machine, "", ""
        self.read_back = "3 7"

    def script(self, text: str, args: Sequence[str] = (), **_: Any) -> Result:
        if text == dump_file.READ_BACK:
            if not self.read_back:
                raise CommandFailed(f"{self.name}: it ended with exit code 1", "no server there", "")
            return Result(0, self.read_back, "")
        if text == dump_file.PRINT_OPTIONS:
            return Result(0, "--basedir=/usr --innodb_page_size=8192 --lower-case-table-names=1 --user=mysql --init-file=/x;reboot\n", "")
        if text == dump_file.ROOM:
            done = subprocess.run(["sh", "-s", "--", *args], input="set -eu\n" + text, capture_output=True, text=True, check=True)
            free, volume = done.stdout.split()[:2]
            return Result(0, f"{self.free or free} {self.volume or volume}\n{self.machine}\n", "")
        done = subprocess.run(["sh", "-s", "--", *args], input="set -eu\n" + text, capture_output=True, text=True, check=True)
        return Result(0, done.stdout, done.stderr)

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        if argv == ["cat", "/etc/machine-id"]:
            return Result(0, self.machine + "\n", "")
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return Result(0, done.stdout, "")

    def read(self, path: str, **_: Any) -> bytes | None:
        return Path(path).read_bytes() if Path(path).exists() else None

    def write(self, path: str, content: str, **_: Any) -> None:
        Path(path).write_text(content)


class Run:
    """An original that is down, its files in a folder, and a folder for the copy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str = "dump", **keys: bool) -> None:
        self.data, self.folder = tmp_path / "data", tmp_path / "dumps"
        (self.data / "cloud").mkdir(parents=True)
        (self.data / "ibdata1").write_bytes(b"x" * 3_000_000)
        (self.data / "cloud" / "vm_instance.ibd").write_bytes(b"y" * 100_000)
        place: dict[str, Any] = {**PLACE, "folder": str(self.folder), **keys}
        self.site = site(window={"dumpFile": place}, transfer={"method": method})
        facts: dict[str, Any] = {"OriginalDatabase": {"folder": f"{self.data}/", "folders": [f"{self.data}/cloud"], "rest": "r"}}
        facts["DatabaseTransfer"] = {"copied": {"rows": 7, "tables": 3}}
        self.record = WindowRecord("test", self.site.identity, opened="2026-11-01T10:00:00.000+00:00", facts=facts)
        self.source, self.target = Machine("olddb1", "m1"), Machine("backup1", "m2")
        self.told: list[str] = []
        for module in (dump_file, deadline):
            monkeypatch.setattr(module, "store", lambda _: Records(self.record, self.site))
        monkeypatch.setattr(dump_file, "original_host", lambda _: self.source)
        monkeypatch.setattr(dump_file, "session", lambda _: contextlib.nullcontext(SimpleNamespace(value=lambda _: str(self.data))))
        monkeypatch.setattr(original_database, "ran_since", lambda *_: False)
        monkeypatch.setattr(prove_original_down, "prove", lambda _: None)
        self.broken, self.noise = "", ":"
        monkeypatch.setattr(dump_file, "_started", self.started)
        self.context: Any = SimpleNamespace(
            site=self.site, configuration=self.site.configuration, cancel=CancelToken(), progress=self.told.append, intend=lambda *_, **__: None,
            host=lambda _: self.target, pending="", step="DumpFile",
        )  # fmt: skip

    def started(self, host: Machine, argv: list[str], *, stdin: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        broken = {"tar": "echo parallel-build: tar has failed >&2; head -c 1000 /dev/zero", "sha256sum": "cat >/dev/null; echo 0000"}
        words = [
            broken[self.broken] if before == "-c" and self.broken and self.broken in word else word
            for before, word in zip(["", *argv], argv, strict=False)
        ]
        noisy = ["sh", "-c", f'{self.noise}; exec "$@"', "sh", *words]
        return subprocess.Popen(noisy, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)

    def up(self) -> dict[str, Any]:
        self.context.pending = ""
        return step.DumpFile().apply(self.context)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


def test_the_file_is_whole_has_its_checksum_and_holds_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path)
    note = run.up()
    path = Path(note["file"])
    assert run.context.pending == "" and run.files() == ["test-20261101T100000.tar.gz", "test-20261101T100000.tar.gz.json"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == note["sha256"] and path.stat().st_size == note["bytes"]
    listed = subprocess.run(["tar", "-tzf", str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert f"{run.data}/ibdata1"[1:] in listed and listed.count(f"{run.data}/cloud/vm_instance.ibd"[1:]) == 1, (
        "a folder within another comes once"
    )
    changed = path.stat().st_mtime_ns
    assert run.up() == note and path.stat().st_mtime_ns == changed, "taken already"
    assert step.DumpFile().verify(run.context) == note


@pytest.mark.processes
@pytest.mark.parametrize("noise", ["echo 'Welcome to olddb1'", "printf 'Welcome '", "head -c 300000 /dev/zero >&2"])
def test_what_login_shells_print_is_no_part_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: str) -> None:
    run = Run(monkeypatch, tmp_path)
    run.noise = noise
    evidence = run.up()
    assert "left" not in evidence
    (name,) = [each for each in run.files() if each.endswith(".gz")]
    assert subprocess.run(["gzip", "-t", run.folder / name], check=False).returncode == 0


def test_a_data_folder_that_is_a_link_is_copied_and_not_the_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path)
    link = tmp_path / "link"
    link.symlink_to(run.data)
    run.record.facts["OriginalDatabase"] |= {"folder": f"{link}/", "folders": []}
    note = run.up()
    listed = subprocess.run(["tar", "-tzf", note["file"]], capture_output=True, text=True, check=True).stdout.split()
    assert f"{run.data}/ibdata1"[1:] in listed and note["folder"] == str(run.data)


@pytest.mark.processes
@pytest.mark.parametrize("broken", ["tar", "sha256sum"])
def test_what_is_not_whole_is_no_file_and_is_taken_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str) -> None:
    run = Run(monkeypatch, tmp_path)
    run.broken = broken
    evidence = run.up()
    assert "is not whole" in evidence["left"] and "there is no cold copy of the original yet" in run.context.pending
    assert not [name for name in run.files() if not name.endswith(".part")]
    step.DumpFile().verify(run.context)
    assert "`pulumi up` takes it" in run.context.pending
    run.broken = ""
    assert run.up()["bytes"] > 0 and run.context.pending == ""


def test_a_database_that_ran_meanwhile_makes_it_useless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path)
    monkeypatch.setattr(original_database, "ran_since", lambda *_: True)
    assert "has run while it was copied" in run.up()["left"] and not [name for name in run.files() if name.endswith("gz")]


def test_the_datas_own_volume_is_refused_on_the_original_and_taken_on_a_different_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run(monkeypatch, tmp_path)
    run.target.machine = "m1"
    with pytest.raises(GuardFailed, match="is on the volume of the original's data"):
        dump_file.prove_room(run.context)
    assert "is on the volume" in run.up()["left"] and run.files() == []
    run.target.volume = "99999"
    dump_file.prove_room(run.context)


@pytest.mark.parametrize(
    ("read_back", "free", "fits"),
    [(False, 5 * 10**9, True), (False, 10**9, False), (True, 1_078_000_000, False), (True, 1_085_000_000, True)],
)
def test_room_is_proved_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read_back: bool, free: int, fits: bool) -> None:
    run = Run(monkeypatch, tmp_path, readBack=read_back)
    run.target.free = str(free)
    with contextlib.nullcontext() if fits else pytest.raises(GuardFailed, match=r"bytes free, and .* are needed"):
        dump_file.prove_room(run.context)


def test_read_back_counts_the_records_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, readBack=True)
    run.target.read_back = "3 6"
    assert "has 6 rows, and the record 7" in run.up()["left"]
    run.target.read_back = ""
    assert "no server starts on" in run.up()["left"]
    run.target.read_back = "3 7"
    note = run.up()
    assert (note["tables"], note["rows"], note["expected"]) == (3, 7, 7)
    run.target.read_back = ""
    assert run.up() == note, "read back once"
    assert json.loads(Path(f"{note['file']}.json").read_text())["rows"] == 7


def test_with_replication_there_is_no_count_and_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path, "replicate", readBack=True)
    assert run.up()["expected"] is None and any("the record has no count" in text for text in run.told)


def test_only_options_that_say_how_files_are_read_go_along() -> None:
    words = "--innodb_page_size=8192 --lower-case-table-names=1 --user=mysql --init-file=/x --x=innodb_page_size=1"
    words += " --innodb_data_file_path=ibdata1:12M:autoextend"
    assert [word for word in words.split() if dump_file.OPTIONS.match(word)] == [
        "--innodb_page_size=8192", "--lower-case-table-names=1", "--innodb_data_file_path=ibdata1:12M:autoextend",
    ]  # fmt: skip


def test_a_cancel_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path)
    run.context.cancel.set("asked to")
    with pytest.raises(Cancelled):
        run.up()
    assert not [name for name in run.files() if not name.endswith(".part")]


def test_nothing_is_taken_of_an_original_that_is_not_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path)

    def up(_: Any) -> None:
        raise StepFailed("the original is not down: mariadb on olddb1 runs", "", "")

    monkeypatch.setattr(prove_original_down, "prove", up)
    assert "mariadb on olddb1 runs" in run.up()["left"] and run.files() == []
    run.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        run.up()


@pytest.mark.parametrize(("changes", "words"), [
    ({"window": {"dumpFile": {"server": {"name": "olddb1", "address": "10.91.0.13"}, "folder": "/var/lib/mysql/dumps"}}},
     "window.dumpFile.folder: /var/lib/mysql/dumps is in the data folder of 10.91.0.13"),
    ({"window": {"dumpFile": {"server": {"name": "olddb2", "address": "10.91.0.99"}, "folder": "/srv"}}}, "olddb2 has the address 10.91.0.14 in this stack"),
    ({"window": {"dumpFile": {"server": PLACE["server"], "folder": "dumps"}}}, "window.dumpFile.folder"),
])  # fmt: skip
def test_what_can_be_seen_to_be_wrong_is_refused_in_preview(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(values(**changes), "test")
    assert words in str(refused.value)


def test_an_original_that_keeps_running_for_others_has_no_cold_copy() -> None:
    database = {**values()["original"]["database"], "others": ["wiki"]}
    with pytest.raises(ConfigurationError, match=r"window.dumpFile: original.database.others has the database server keep running"):
        load(values(window={"dumpFile": PLACE}, original={"database": database}), "test")

"""The search for planted secrets finds them in whatever they are packed."""

from __future__ import annotations

import base64
import gzip
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.containers import secret_search
from tests.containers.secret_search import Sampler, held, is_core, needles, search, unexpected

PIECE = 1 << 16  # less than the search reads at once, so that packing costs less
SECRET = 'sec<ret>"4711/ü&x'
WANTED = needles({"planted": SECRET})
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("packer", PACKERS)
def test_it_is_found_packed(packer: str, tmp_path: Path) -> None:
    noise = os.urandom(3000).hex().encode()
    (tmp_path / f"with.{packer}").write_bytes(PACKERS[packer](noise + SECRET.encode() + noise))
    (tmp_path / f"without.{packer}").write_bytes(PACKERS[packer](noise))
    assert search(tmp_path, "here", WANTED) == {("planted", f"here:/with.{packer}")}


@pytest.mark.parametrize("packer", PACKERS)
def test_it_is_found_in_what_was_cut_off(packer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_search, "PIECE", PIECE)
    whole = PACKERS[packer](SECRET.encode() + os.urandom(4 * PIECE))
    (tmp_path / "cut").write_bytes(whole[: len(whole) * 3 // 4])
    assert held(tmp_path / "cut", WANTED) == {"planted"}
    (tmp_path / "not packed").write_bytes(whole[:6] + b"something else")
    assert held(tmp_path / "not packed", WANTED) == set()


@pytest.mark.parametrize("form", ["sec&lt;ret&gt;&quot;4711/ü&amp;x", "sec%3Cret%3E%224711%2F%C3%BC%26x", 'sec<ret>\\"4711/\\u00fc&x'])
def test_it_is_found_quoted_and_across_pieces(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_search, "PIECE", PIECE)
    (tmp_path / "file").write_bytes(b"x" * (PIECE - 5) + form.encode() + b"y")
    assert held(tmp_path / "file", WANTED) == {"planted"}


def test_a_second_look_is_at_what_has_changed_and_at_what_was_found(tmp_path: Path) -> None:
    for name in ("found", "cleaned"):
        (tmp_path / name).write_text(SECRET)
    before = search(tmp_path, "here", WANTED)
    assert before == {("planted", "here:/found"), ("planted", "here:/cleaned")}
    (tmp_path / "never looked at").write_text(SECRET)
    later = max(path.stat().st_ctime for path in tmp_path.iterdir()) + 1
    (tmp_path / "cleaned").write_text("nothing")
    assert search(tmp_path, "here", WANTED, later, before) == {("planted", "here:/found")}
    assert search(tmp_path, "here", WANTED, later - 60) == {("planted", "here:/found"), ("planted", "here:/never looked at")}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_it_is_found_in_base64(before: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(base64.b64encode(f"{before}{SECRET} and more".encode()))
    assert held(tmp_path / "file", WANTED) == {"planted"}


def test_a_core_file_is_known_by_its_head(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0" + bytes(100))
    assert is_core(tmp_path / "core") and not is_core(Path(sys.executable).resolve())


def test_what_a_process_shows_is_seen_also_of_secrets_that_are_known_later() -> None:
    sampler = Sampler("none")
    program = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", SECRET]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"HIDDEN": SECRET}) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        sampler.start()
        looks = sampler.looks
        while sampler.looks < looks + 2:
            sampler.join(0.05)
        process.stdin.close()
    sampler.over.set()
    sampler.join()
    for seen in (sampler.arguments(WANTED), sampler.environments(WANTED)):
        assert {name for name, _ in seen} == {"planted"} and all("import sys" in words for _, words in seen)


def test_only_what_is_nowhere_allowed_is_unexpected() -> None:
    found = {("key", "newms1:/etc/key"), ("key", "newms1:/tmp/key"), ("other", "newms1:/etc/key")}
    assert unexpected(found, (("key", r"newms\d:/etc/key", "its file"),)) == ["key in newms1:/tmp/key", "other in newms1:/etc/key"]

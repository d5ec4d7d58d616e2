"""Downloading Pulumi's release, from a server on the loopback address."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import platform
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import release
from tools.errors import ToolError
from tools.pins import LIBVIRT_PLUGIN, PULUMI
from tools.pulumi import ensure_pulumi

PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-language-go")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the release, served at PULUMI_RELEASES."""
    folder = tmp_path / "site" / f"v{PULUMI}"
    folder.mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("PULUMI_RELEASES", f"http://127.0.0.1:{server.server_address[1]}/")
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        yield folder
        server.shutdown()
        thread.join()


CLI_SCRIPT = f"""\
#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
version) echo v{PULUMI} ;;
"plugin ls --json") echo "[]" ;;
"plugin install resource libvirt "*)
    mkdir -p "$PULUMI_HOME/plugins/resource-libvirt-v{LIBVIRT_PLUGIN}"
    echo plugin > "$PULUMI_HOME/plugins/resource-libvirt-v{LIBVIRT_PLUGIN}/pulumi-resource-libvirt" ;;
*) exit 1 ;;
esac
"""


def publish(folder: Path, programs: tuple[str, ...] = PROGRAMS, checksum: str = "", cli: str = "") -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for program in programs:
            data = (cli if cli and program == "pulumi" else f"this is {program}").encode()
            member = tarfile.TarInfo(f"pulumi/{program}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    (folder / release.archive_name()).write_bytes(packed.getvalue())
    digest = checksum or hashlib.sha256(packed.getvalue()).hexdigest()
    (folder / release.checksums_name()).write_text(f"{'0' * 64}  other.zip\n{digest}  {release.archive_name()}\n")


def test_a_release_is_downloaded_and_checked(served: Path, tmp_path: Path) -> None:
    assert not release.reachable()
    publish(served)
    assert release.reachable()
    release.download(tmp_path / "tools")
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "tools").iterdir()} == dict.fromkeys(PROGRAMS[:3], 0o755)
    assert (tmp_path / "tools" / "pulumi").read_text() == "this is pulumi"


def test_a_wrong_checksum_is_refused_before_anything_is_unpacked(served: Path, tmp_path: Path) -> None:
    publish(served, checksum="f" * 64)
    with pytest.raises(ToolError, match="SHA-256"):
        release.download(tmp_path / "tools")
    assert not (tmp_path / "tools").exists()


def test_an_unlisted_or_incomplete_release_is_refused(served: Path, tmp_path: Path) -> None:
    publish(served, programs=PROGRAMS[:1])
    with pytest.raises(ToolError, match="has no pulumi-language-python"):
        release.download(tmp_path / "tools")
    (served / release.checksums_name()).write_text("")
    with pytest.raises(ToolError, match="does not list"):
        release.download(tmp_path / "again")


def test_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PULUMI_RELEASES", "http://127.0.0.1:1")
    assert not release.reachable(limit=2)
    with pytest.raises(ToolError, match="could not be downloaded"):
        release.download(tmp_path / "tools")
    monkeypatch.setenv("PULUMI_RELEASES", "file:///etc")
    with pytest.raises(ToolError, match="http"):
        release.reachable()


def test_no_release_for_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert release.archive_name() == ""
    assert not release.reachable()


def test_a_reachable_release_is_taken_once_and_then_from_the_cache(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    for name, value in (("XDG_CACHE_HOME", tmp_path / "cache"), ("HOME", tmp_path), ("PULUMI_HOME", tmp_path / "none"), ("CALLS", calls)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    publish(served, cli=CLI_SCRIPT)
    first = ensure_pulumi(Path("/usr/bin/python3"))
    cache = tmp_path / "cache" / "cloudstack-parallel-build"
    assert first.folders == (cache / "tools" / f"pulumi-{PULUMI}-release",)
    assert first.home == cache / "pulumi-home"
    assert calls.read_text() == f"plugin install resource libvirt {LIBVIRT_PLUGIN}\n"
    (served / release.archive_name()).unlink()
    (served / release.checksums_name()).unlink()
    assert ensure_pulumi(Path("/usr/bin/python3")) == first
    assert calls.read_text().count("install") == 1

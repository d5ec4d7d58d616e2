"""The pure parts of the lab's images: the archive that is used, keys, masks, kernel arguments."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.images import CONTAINER_MASKED_UNITS, GuestImage, mask_for_container
from lab.images.archive import Archive, build_environment, parse_index_targets, parse_options
from lab.images.recipes import BASE, MYSQL

TARGETS = """\
Other|Other|http://other.example/apt/
Debian|Debian|http://archive.example/debian/
Debian|Debian|http://second.example/debian/
Debian|Debian-Security|http://archive.example/debian-security/
"""


def test_the_hosts_archive_is_found_among_others() -> None:
    archive = parse_index_targets(TARGETS)
    assert archive == Archive("http://archive.example/debian/", "http://archive.example/debian-security/")
    assert parse_index_targets("Other|Other|http://other.example/\n") is None
    assert parse_index_targets("") is None


def test_sources_of_a_suite() -> None:
    extra = ("bookworm-updates", "bookworm-security")
    assert Archive("http://a.example/", "http://s.example/").sources("bookworm", extra) == [
        "deb http://a.example/ bookworm main",
        "deb http://a.example/ bookworm-updates main",
        "deb http://s.example/ bookworm-security main",
    ]
    assert len(Archive("http://a.example/", None).sources("bookworm", extra)) == 2


def test_only_options_that_reach_the_archive_are_shared() -> None:
    dump = 'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://p.example:3142";\nAcquire::Check-Date "false";\nDPkg::Foo "1";\n'
    assert parse_options(dump) == ['Acquire::http::Proxy "http://p.example:3142";', 'Acquire::Check-Date "false";']


def test_a_build_does_not_inherit_the_callers_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("http_proxy", "http://p.example")
    assert "PYTHONDONTWRITEBYTECODE" not in build_environment()
    assert build_environment()["http_proxy"] == "http://p.example"


def test_the_key_changes_with_the_recipe() -> None:
    assert BASE.key.startswith("base-")
    assert BASE.key == dataclasses.replace(BASE).key
    assert BASE.key != dataclasses.replace(BASE, packages=(*BASE.packages, "jq")).key
    assert BASE.key != MYSQL.key


def test_a_container_is_not_configured_from_inside(tmp_path: Path) -> None:
    for _ in range(2):
        mask_for_container(tmp_path)
    for unit in CONTAINER_MASKED_UNITS:
        assert (tmp_path / "etc/systemd/system" / unit).readlink() == Path("/dev/null")
    assert (tmp_path / "etc/cloud/cloud-init.disabled").exists()


def test_bare_kernel_words_have_maps_of_their_own() -> None:
    image = GuestImage(Path("d"), Path("k"), Path("i"))
    named, *words = image.cmdlines
    assert named["root"] == "/dev/vda"
    assert named["net.ifnames"] == "0"
    assert {"_": "rw"} in words
    assert all(len(word) == 1 for word in words)
    assert image.command_line.split()[0] == "console=ttyS0"

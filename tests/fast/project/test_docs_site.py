"""The site of the docs: it is built without a warning, and a page that is read loads nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_build.project import CODE

pytestmark = pytest.mark.engine

ELSEWHERE = re.compile(
    r"""<(?:script|img|iframe)[^>]*\ssrc="https?:|<link[^>]*rel="(?:stylesheet|preconnect|preload|icon)"[^>]*href="https?:"""
)


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """The site of `folder`'s docs, made in `folder`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", f"{folder}/mkdocs.yml", "--site-dir", f"{folder}/site"]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the docs and of the site's configuration."""
    shutil.copy(CODE / "mkdocs.yml", tmp_path)
    shutil.copytree(CODE / "docs", tmp_path / "docs")
    return tmp_path


def test_the_site_is_built_and_loads_nothing_from_elsewhere(folder: Path) -> None:
    done = build(folder)
    assert done.returncode == 0, done.stderr
    pages = list((folder / "site").rglob("*.html"))
    assert len(pages) > len(list((folder / "docs").rglob("*.md"))) - 1
    assert [page.name for page in pages if ELSEWHERE.search(page.read_text())] == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[x](operate/nowhere.md)", "nowhere.md"),
        ("[x](operate/health.md#nowhere)", "#nowhere"),
        ("[x](/operate/health.md)", "absolute"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(folder: Path, text: str, warning: str) -> None:
    page = folder / "docs/index.md"
    page.write_text(f"{page.read_text()}\n{text}\n")
    done = build(folder)
    assert done.returncode != 0
    assert warning in done.stderr


def test_a_page_that_is_on_no_shelf_ends_the_build(folder: Path) -> None:
    (folder / "docs/operate/stray.md").write_text("# Stray\n")
    assert "operate/stray.md" in build(folder).stderr

"""README's first screen: what it shows, in its order, is there and is right."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from parallel_build import components
from parallel_build.project import CODE
from tools.recording import Recording

README = (CODE / "README.md").read_text()
FIRST_SCREEN = [
    "Upgrade a production Apache CloudStack",
    "](docs/start/overview.svg)",
    "Previewing update (lab):",
    "    scripts/lab demo ",
    "    scripts/test ",
    "](docs/start/demo.svg)](docs/start/demo.cast)",
    "from parallel_build.components import *",
    "| shelf | pages |",
    "## What it runs on",
]
PICTURES = sorted((CODE / "docs").rglob("*.svg"))


def program(page: str) -> str:
    """The first Python program on a page."""
    found = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert found
    return found.group(1)


def test_the_first_screen_has_its_parts_in_order() -> None:
    places = [README.index(each) for each in FIRST_SCREEN]
    assert places == sorted(places)
    assert "    pulumi login " in README[: places[-1]]
    preview = re.search(r"```\nPreviewing.*?```", README, re.DOTALL)
    assert preview and 18 <= len(preview.group().splitlines()) <= 28


def test_the_program_is_ten_lines_that_name_what_there_is() -> None:
    text = program(README)
    assert len([line for line in text.splitlines() if line]) <= 10
    assert text == program((CODE / "docs/start/library.md").read_text()), "the page that explains it shows the same"
    called = {node.func.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called and [name for name in sorted(called) if name not in components.__all__] == []


def test_what_it_links_to_is_there() -> None:
    linked = {each.partition("#")[0] for each in re.findall(r"\]\(([^)]+)\)", README) if not each.startswith("http")}
    assert [each for each in linked if each and not (CODE / each).exists()] == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_can_be_read_out_and_loads_nothing(picture: Path) -> None:
    text = picture.read_text()
    root = ElementTree.fromstring(text)  # noqa: S314 - our own picture
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert re.findall(r"(?:href|src)=|url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_the_recording_is_of_the_demo_and_small() -> None:
    file = CODE / "docs/start/demo.cast"
    found = Recording.load(file)
    assert file.stat().st_size < 300_000 and found.title.startswith("scripts/lab demo")
    assert "pulumi up: switched" in found.text and "What to try next" in found.text
    assert re.findall(r"/(?:root|home|work)/", found.text) == [], "nothing of the machine that it was made on"
    still = "".join(ElementTree.fromstring((CODE / "docs/start/demo.svg").read_text()).itertext())  # noqa: S314 - our own picture
    assert "together" in still and "serving: new" in still.replace("\xa0", " ")
    assert f"in {found.pieces[-1][0]:.0f} seconds" in README


@pytest.mark.parametrize("file", sorted((CODE / "stacks").glob("*")), ids=lambda path: path.name)
def test_a_stack_file_names_the_schema_for_editors(file: Path) -> None:
    if ".yaml" in file.suffixes:
        assert file.read_text().startswith("# yaml-language-server: $schema=stack.schema.json\n")
    assert "parallel-build schema > stacks/stack.schema.json" in README

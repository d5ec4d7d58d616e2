"""Every command of this project that the docs show is one that its command line takes; every link between the docs leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel

from parallel_build.__main__ import parser
from parallel_build.configuration import Phase, Secrets, StackConfiguration
from parallel_build.project import CODE

KNOWN = parser()
PAGES = [CODE / "README.md", CODE / "CONTRIBUTING.md", CODE / "SECURITY.md", *sorted((CODE / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?:^ {4,}|`|&& |: )(?:python -m parallel_build|parallel-build) ([a-z][^`#|>;&\n]*)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
SET = re.compile(r"pulumi config set (--secret |--path )?'?([A-Za-z.]+)(?:\[\d\])?'? *([^ `&\n]*)")
OPTIONAL = re.compile(r"\[[^]]*\]")


def commands(text: str) -> list[str]:
    """What stands behind the program's name, without optional parts and what the line adds; a command's name alone is left out."""
    found = [re.split(r"\s{2,}|[.,)]$", each)[0].strip() for each in COMMAND.findall(OPTIONAL.sub("", text))]
    return [each for each in found if " " in each]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", each).lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_taken(page: Path) -> None:
    for command in commands(page.read_text()):
        assert KNOWN.parse_args(shlex.split(command)).run, command


def key_is_known(model: type[BaseModel], path: list[str]) -> bool:
    """Whether a path of keys leads to a value of a section."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    inner = fields.get(path[0])
    return path[0] in fields and (len(path) == 1 or (isinstance(inner, type) and key_is_known(inner, path[1:])))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_that_are_set_exist(page: Path) -> None:
    for option, key, value in SET.findall(page.read_text()):
        if key == "NAME":
            continue
        assert key_is_known(Secrets if option.startswith("--secret") else StackConfiguration, key.split(".")), key
        assert key != "phase" or value in set(Phase), value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for name, anchor in LINK.findall(page.read_text()):
        target = page.parent / name if name else page
        assert target.exists(), name
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), f"{name}#{anchor}"

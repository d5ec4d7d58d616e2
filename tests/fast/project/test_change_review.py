"""The pages that show a change review show what a preview shows now: each step of the window, in order, with the actions that the code gives for the lab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from parallel_build.project import CODE
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY
from tests import change_review
from tests.change_review import PAGE, planned, shown
from tests.fast.sites import VALUES, site

TEMPLATE = VALUES["templates"][0]


def test_the_page_is_what_a_preview_of_the_lab_shows() -> None:
    assert shown(PAGE.read_text()) == planned(), "plans have changed: python -m tests.change_review writes the page again"


def test_the_page_is_written_again_after_a_plan_has_changed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text().replace("[0]: ", "[0]: of before: ").replace("+ cutover:index:Drain:", "+ cutover:index:Drained:"))
    assert shown(page.read_text()) != planned()
    change_review.main(page)
    assert page.read_text() == PAGE.read_text()


def test_readme_shows_lines_of_that_page() -> None:
    preview = re.search(r"```\nPreviewing update.*?```", (CODE / "README.md").read_text(), re.DOTALL)
    assert preview
    part, whole = shown(preview.group()), shown(PAGE.read_text())
    assert part and all(texts == whole[name] for name, texts in part.items())


@pytest.mark.parametrize("method", ["dump", "replicate"])
@pytest.mark.parametrize(
    "access", [{"method": "firewall"}, {"method": "cidr"}, {"method": "command", "close": ["lb", "out"], "open": ["lb", "in"]}]
)
@pytest.mark.parametrize("agents", ["setting", "file", "none"])
def test_no_plan_shows_a_placeholder_of_the_code(method: str, access: dict[str, Any], agents: str) -> None:
    load_all()
    configuration = site(
        transfer={"method": method},
        window={"userAccess": {"administrators": ["10.91.0.1/32"], **access}},
        agents={"method": agents},
        rehearsal={"enabled": True, "machine": {"name": "rehearse", "address": "10.91.0.51"}},
        parity={"against": "test-cloud"},
    ).configuration
    for name, kind in REGISTRY.items():
        step = kind(TEMPLATE if name == "SystemVmTemplate" else {"name": "newms1"})
        for text in [*step.plan(configuration), *step.undo(configuration)]:
            assert not re.search(r"\{[a-z_.()]+\}", text), (name, text)

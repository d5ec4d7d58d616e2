"""The pages that show a change review show what a preview shows now: each step of the window, in order, with the actions that the code gives for the lab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import stack
from lab.files import Lab, Options
from parallel_build.components.cutover import ORDER
from parallel_build.components.steps import lines
from parallel_build.configuration import StackConfiguration, load
from parallel_build.machines.container import machine as container
from parallel_build.project import CODE
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY
from tests.fast.sites import VALUES, site

TEMPLATE = VALUES["templates"][0]
PAGE = CODE / "docs/operate/change-review.md"
STEP = re.compile(r"^ +\+ cutover:index:(\w+): \(create\)$", re.MULTILINE)
TEXTS = re.compile(r'^ +\[\d+\]: "(.*)"$', re.MULTILINE)


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackConfiguration:
    """What the page's commands configure: the lab on containers, with a rehearsal."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(container, "exists", lambda folder, name: True)
    lab = Lab("default")
    lab.begin(Options(hosts="containers", rehearsal=True))
    config = yaml.safe_load(stack.TEMPLATE.read_text())["config"]
    stack.adapt(lab, config)
    text = yaml.safe_dump({name.partition(":")[2]: value for name, value in config.items()})
    return load({**yaml.safe_load(text.replace("${CUTOVER_LAB}", str(tmp_path))), "phase": "switched"}, "lab")


def review(page: str) -> dict[str, tuple[list[str], list[str]]]:
    """A page's steps: plan and undo of each."""
    _, *parts = STEP.split(page)
    found = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        plan, _, undo = text.partition("undo      : [")
        found[name] = tuple([each.replace('\\"', '"') for each in TEXTS.findall(part)] for part in (plan, undo.partition("]\n")[0] + "\n"))
    return found  # type: ignore[return-value]


def test_the_page_is_what_a_preview_of_the_lab_shows(configuration: StackConfiguration) -> None:
    load_all()
    steps = [REGISTRY[kind.__name__]() for _, kind in ORDER]
    shown = {step.type: (lines(step.plan(configuration)), lines(step.undo(configuration))) for step in steps}
    found = review(PAGE.read_text())
    assert list(found) == list(shown)
    for name, texts in shown.items():
        assert found[name] == texts, f"{name}: {PAGE.relative_to(CODE)} shows something else"


def test_readme_shows_lines_of_that_page() -> None:
    readme = review((CODE / "README.md").read_text().replace("\n```\n\n", "\n        + cutover:index:End: (create)\n", 1))
    whole = review(PAGE.read_text())
    shown = {name: texts for name, texts in readme.items() if name != "End"}
    assert shown and all(texts == whole[name] for name, texts in shown.items())


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

"""docs/operate/change-review.md, held against the code: `python -m tests.change_review` writes it again after a plan has changed.

What a rehearsal took stays as it was seen; plans and undos are what the code gives for the lab.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

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

PAGE = CODE / "docs/operate/change-review.md"
STEP = re.compile(r"^ +\+ cutover:index:(\w+): \(create\)$", re.MULTILINE)
TEXTS = re.compile(r'^ +\[\d+\]: "(.*)"$', re.MULTILINE)
REHEARSED = re.compile(r"^ +rehearsed : (.*)$", re.MULTILINE)

Texts = tuple[list[str], list[str]]
"""Plan and undo of a step."""


def configuration() -> StackConfiguration:
    """What the page's commands configure: the lab on containers, with a rehearsal."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"XDG_STATE_HOME": folder}),
        mock.patch.object(container, "exists", lambda *_: True),
    ):
        lab = Lab("default")
        lab.begin(Options(hosts="containers", rehearsal=True))
        config = copy.deepcopy(_template())
        stack.adapt(lab, config)
        text = json.dumps({name.partition(":")[2]: value for name, value in config.items()}).replace("${CUTOVER_LAB}", folder)
        return load({**json.loads(text), "phase": "switched"}, "lab")


@functools.cache
def _template() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(stack.TEMPLATE.read_text())["config"]
    return found


def planned() -> dict[str, Texts]:
    """Every step of the window in its order, as a preview of the lab shows it."""
    load_all()
    found, steps = configuration(), [REGISTRY[kind.__name__]() for _, kind in ORDER]
    return {step.type: (lines(step.plan(found)), lines(step.undo(found))) for step in steps}


def shown(page: str) -> dict[str, Texts]:
    """The steps on a page."""
    _, *parts = STEP.split(page)
    found: dict[str, Texts] = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        plan, _, undo = text.partition("undo      : [")
        found[name] = (_texts(plan), _texts(undo.partition("]\n")[0] + "\n"))
    return found


def _texts(part: str) -> list[str]:
    return [str(json.loads(f'"{each}"')) for each in TEXTS.findall(part)]


def written(page: str) -> str:
    """The page with the plans and undos of now."""
    first, *parts = STEP.split(page)
    rehearsed = {name: found.group(1) for name, text in zip(parts[::2], parts[1::2], strict=True) if (found := REHEARSED.search(text))}
    head, tail = first.rstrip(" "), page[page.index("    --outputs:--") :]
    blocks = [
        f"        + cutover:index:{name}: (create)\n            plan      : [\n{_block(plan)}            ]\n"
        f"            rehearsed : {rehearsed.get(name, json.dumps('not rehearsed'))}\n            site      : [secret]\n"
        f"            undo      : [\n{_block(undo)}            ]\n"
        for name, (plan, undo) in planned().items()
    ]
    return head + "".join(blocks) + tail


def _block(texts: Sequence[str]) -> str:
    return "".join(f"                [{number}]: {json.dumps(text, ensure_ascii=False)}\n" for number, text in enumerate(texts))


def main(page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text(written(page.read_text()))


if __name__ == "__main__":
    main()

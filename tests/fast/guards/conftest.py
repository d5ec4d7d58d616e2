"""Every refusal that a test of this room meets is held against what a refusal must be: fact, cause and remedy, none of them missing, none shouted."""

from __future__ import annotations

import re

import pytest

from parallel_build.errors import GuardFailed

# Capitals stand for statements and abbreviations: four words of them in a row are a statement, five a shout.
SHOUTED = re.compile(r"(?:\b[A-Z][A-Z.'`]+\b[ ;:]+){5,}")
# Within a word only an abbreviation has several, and its plural.
WITHIN = re.compile(r"\b[A-Z]{2,}(?!s\b)[a-z]|[a-z][A-Z]{2,}\b")
PRODUCTS = re.compile("MySQL|MariaDB|VMware|XenServer")


def faults(error: GuardFailed) -> list[str]:
    """What is wrong with a refusal's words."""
    parts = {"fact": error.fact, "cause": error.cause, "remedy": error.remedy}
    found = [f"{name} is {text!r}" for name, text in parts.items() if not isinstance(text, str) or not text.strip()]
    found += [f"{name} has None in it: {text}" for name, text in parts.items() if re.search(r"\bNone\b", str(text))]
    found += [f"{name} is shouted: {text}" for name, text in parts.items() if SHOUTED.search(str(text)) or str(text).isupper()]
    return found + [f"{name} has odd capitals: {text}" for name, text in parts.items() if WITHIN.search(PRODUCTS.sub("", str(text)))]


@pytest.fixture(autouse=True)
def refusals_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that does not read is an error of the test that meets it."""
    plain = GuardFailed.__init__

    def made(self: GuardFailed, fact: str, cause: str, remedy: str) -> None:
        plain(self, fact, cause, remedy)
        assert not faults(self), faults(self)

    monkeypatch.setattr(GuardFailed, "__init__", made)

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


def ill(text: object) -> str:
    """What is wrong with a text that an operator reads; empty where nothing is."""
    if not isinstance(text, str) or not text.strip():
        return f"it is {text!r}"
    if re.search(r"\bNone\b", text):
        return f"it has None in it: {text}"
    if SHOUTED.search(text) or text.isupper():
        return f"it is shouted: {text}"
    return f"it has odd capitals: {text}" if WITHIN.search(PRODUCTS.sub("", text)) else ""


def faults(error: GuardFailed) -> list[str]:
    """What is wrong with a refusal's words."""
    parts = {"fact": error.fact, "cause": error.cause, "remedy": error.remedy}
    return [f"{name}: {why}" for name, text in parts.items() if (why := ill(text))]


@pytest.fixture(autouse=True)
def refusals_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that does not read is an error of the test that meets it."""
    plain = GuardFailed.__init__

    def made(self: GuardFailed, fact: str, cause: str, remedy: str) -> None:
        plain(self, fact, cause, remedy)
        assert not faults(self), faults(self)

    monkeypatch.setattr(GuardFailed, "__init__", made)

"""Words that read like a translation, with what to write instead, and where such a word has its usual meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator

INSTEAD = {
    r"told|tells|said|says of": "reported, logged, shown",
    r"mend(s|ed|ing)?": "fix, repair, fixed",
    r"anew": "again, recreated",
    r"go(es|ing|ne)? on": "continues, resumes",
    r"spoilt": "unusable",
    r"lets? go": "detach",
    r"ways? back": "rollback",
    r"another one": "different, changed",
    r"beside": "next to, alongside",
    r"wished": "wanted, enabled",
    r"in vain": "timed out",
    r"ways over": "transfer methods",
    r"python -m parallel_build(?!\.)": "parallel-build",
}

USUAL = {
    "to distinguish": r"\b(told|tells?)( [\w'`.-]+){0,7} (apart|from)\b",
    "the marker of a fix's file": r"-- mends:",
    "the one place that explains it": r"# or: python -m parallel_build COMMAND STACK",
}
"""Where a word has its usual meaning."""

KEPT = frozenset({"told", "not told", "spoilt", "no database beside management", "mend", "mends", "mend file", "mended"})
"""Texts and names that stay: keys of records and of evidence, which other versions read; a guard that stack files may name;
the repairs of Go modules (`tools/pins.py`), whose name is part of the key under which built plugins are cached."""

_WORDS = {re.compile(rf"\b({words})\b", re.IGNORECASE): better for words, better in INSTEAD.items()}
_USUAL = [re.compile(usual, re.IGNORECASE) for usual in USUAL.values()]


def house_words(text: str) -> Iterator[str]:
    """Each house word of a text, with what to write instead."""
    if text.strip() in KEPT:
        return
    for usual in _USUAL:
        text = usual.sub(" ", text)
    for words, better in _WORDS.items():
        if found := words.search(text):
            yield f"{found[0]!r}, rather: {better}"

"""Sentences that nobody reads at three in the morning: one thought of more than 25 words, or several of more than 40 together."""

from __future__ import annotations

import re
from collections.abc import Iterator

THOUGHT = 25
"""Words of one thought, at most: it ends with its sentence, or at a colon or a semicolon."""

SENTENCE = 40
"""Words of a sentence of two or three thoughts, at most; more thoughts than that are the items of a list."""

ITEM = 6
"""Words between two commas, on average, up to which a long thought is a list of things: those are looked through, not read."""

_ENDS = re.compile(r"""(?<=[.!?])["')\]]*\s+(?=["'(\[]*[A-Z0-9`x]|$)""")
_THOUGHTS = re.compile(r"(?<=[:;])\s+")
_WORD = re.compile(r"[\w'`./-]*\w[\w'`./-]*")


def too_long(text: str, *, whole: bool = True) -> Iterator[str]:
    """What is too long in a text, with its number of words.

    Args:
        whole: whether sentences count as well as thoughts; a message has its fact, cause and remedy between semicolons.
    """
    for sentence in _ENDS.split(text):
        thoughts = _THOUGHTS.split(sentence)
        words = [0 if _is_list(thought) else _words(thought) for thought in thoughts]
        if max(words) > THOUGHT or (whole and len(thoughts) < 4 and sum(words) > SENTENCE):
            yield f"{sum(words)} words, write two sentences: {' '.join(sentence.split()[:8])} ..."


def _words(text: str) -> int:
    return len(_WORD.findall(text))


def _is_list(thought: str) -> bool:
    items = thought.count(", ") + 1
    return items > 3 and _words(thought) <= ITEM * items

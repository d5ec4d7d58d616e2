"""Parity: how far what is rehearsed on one cloud says something about another. Facts of two stacks side by side, differences ranked."""

from __future__ import annotations

from parallel_build.parity.compare import Difference, Rank, compare
from parallel_build.parity.facts import gather
from parallel_build.parity.report import as_document, as_text
from parallel_build.parity.sources import load, read

__all__ = ["Difference", "Rank", "as_document", "as_text", "compare", "gather", "load", "read"]

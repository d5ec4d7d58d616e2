"""The copy means to CloudStack what the original means to it: asked on both while nobody writes, after their rows were compared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from parallel_build.database.compare import cloudstack_meaning
from parallel_build.database.compare.compare import Comparison
from parallel_build.errors import ComparisonFailed
from parallel_build.operations.database_key import fetch_key
from parallel_build.remote.sql import Session
from parallel_build.steps.base import Context


def prove_same_meaning(context: Context, old: Session, new: Session, *, states: bool) -> dict[str, Any]:
    """Version, management servers, whether `init` decrypts, and (`states`) things by state: the same on both.

    Args:
        old, new: the original and the copy; nobody writes to either.
        states: also count rows by state, which takes longer with more rows.
    Returns:
        What both say, for the evidence.
    Raises:
        ComparisonFailed: they differ, or the original's database key does not decrypt the copy.
    """
    key = fetch_key(context)
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda opened: cloudstack_meaning.read(opened, key.secret, key.encryptor, states=states), (old, new))
    Comparison(old.host.name, new.host.name, differences=cloudstack_meaning.differences(ours, theirs)).raise_if_different()
    if theirs.init is False:
        raise ComparisonFailed(
            f"the original's database key does not decrypt configuration.init on {new.host.name}",
            "the key or the encryptor version is another one; no management server could start on this copy",
            "unset the stack's secret databaseKey to take the original's own, or correct it; the original is unchanged",
        )
    said = {"version": theirs.version, "init decrypts": theirs.init, "management servers": theirs.management}
    return {**said, "by state": theirs.states} if states else said

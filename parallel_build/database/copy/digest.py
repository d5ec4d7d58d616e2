"""A table's definition as a short text, to see that it is still what it was.

Runs on the new database server too, next to `worker`, with the Python that is there.
"""

from __future__ import annotations

import hashlib


def digest(create: str) -> str:
    """Of what SHOW CREATE TABLE gives, without the value that the next row gets."""
    head, _, tail = create.rpartition("\n)")
    words = [word for word in tail.split(" ") if not word.startswith("AUTO_INCREMENT=")]
    return hashlib.sha256((head + "\n)" + " ".join(words)).encode()).hexdigest()

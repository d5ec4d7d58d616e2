"""A server's own /etc/hosts with the stack's names in it, and without them again. Pure: texts in, texts out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from parallel_build.configuration import Server

MARK = "cloudstack-parallel-build"
ASIDE = f"#{MARK}: "  # before a line that was put aside
OURS = f"# {MARK}"  # after a line that stands in its place


def _begin(stack: str) -> str:
    return f"# begin {MARK} {stack}"


def _end(stack: str) -> str:
    return f"# end {MARK} {stack}"


def with_names(text: str, stack: str, own: Server, system: str, others: Mapping[str, str]) -> str:
    """The text in which the server's names stand for its real address; given its own result, it gives the same.

    Lines that say otherwise (Debian's installer writes `127.0.1.1 NAME`) are put aside as comments.

    Args:
        own: the server.
        system: what `hostname` says there; may be a full name.
        others: the stack's other servers, name -> address.
    """
    plain = without_names(text, stack)
    short = system.split(".")[0]
    full = _full_name(plain, system)
    names = list(dict.fromkeys(filter(None, (full, system, short, own.name))))
    lines = []
    for line in plain.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2 or words[0] == own.address or not set(words[1:]) & set(names):
            lines.append(line)
            continue
        lines.append(ASIDE + line)
        rest = [word for word in words[1:] if word not in names]
        if rest:
            lines.append(f"{words[0]} {' '.join(rest)} {OURS}")
    block = [_begin(stack), f"{own.address} {' '.join(names)}"]
    block += [f"{address} {name}" for name, address in sorted(others.items()) if name not in names]
    return "\n".join([*lines, *block, _end(stack)]) + "\n"


def without_names(text: str, stack: str) -> str:
    """The text without the stack's lines, with what was put aside in its place again."""
    kept, inside = [], False
    for line in text.splitlines():
        if line == _begin(stack):
            inside = True
        elif line == _end(stack):
            inside = False
        elif not inside and not line.endswith(OURS):
            kept.append(line.removeprefix(ASIDE))
    return "\n".join(kept) + ("\n" if kept else "")


def _full_name(text: str, system: str) -> str:
    """The full name that the file knows for the server's own, where `hostname` says the short one; else what there is."""
    if "." in system:
        return system
    for line in text.splitlines():
        for word in line.split("#")[0].split()[1:]:
            if re.fullmatch(re.escape(system) + r"(\.[A-Za-z0-9-]+)+", word):
                return word
    return f"{system}.cloud.internal"

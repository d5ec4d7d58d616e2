"""How lengths of time are written for people. Pure."""

from __future__ import annotations

from datetime import timedelta

UNITS = (("day", "days", 86400), ("h", "h", 3600), ("min", "min", 60), ("s", "s", 1))


def duration(length: timedelta | float) -> str:
    """A length of time as people say it, exact to the second: `1 day`, `2 h`, `1 h 30 min`, `45 s`.

    Args:
        length: or its seconds; less than nothing is written with a minus.
    """
    seconds = round(length.total_seconds() if isinstance(length, timedelta) else length)
    if seconds < 0:
        return f"-{duration(-seconds)}"
    parts = []
    for one, more, size in UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {one if count == 1 else more}")
    return " ".join(parts) or "0 s"


def roughly(seconds: float) -> str:
    """A length of time in its two largest units from minutes up: `41 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

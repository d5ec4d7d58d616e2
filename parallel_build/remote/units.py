"""What systemd shows of a unit, of whatever version it is: systemd 219 (Enterprise Linux 7) knows neither `--value` nor every property."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access


def properties(host: Access, unit: str, names: Sequence[str], *, optional: Sequence[str] = ()) -> dict[str, str]:
    """Properties of a unit.

    Args:
        names: those that every systemd knows.
        optional: those that an old one may not know; they are then missing in the answer.
    Raises:
        StepFailed: systemd does not say one of `names`: nothing is known of the unit then.
    """
    shown = host.run(["systemctl", "show", unit, "-p", ",".join([*names, *optional])], ok=None)
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    if missing := [name for name in names if name not in found]:
        raise StepFailed(
            f"{host.name}: systemd does not tell {', '.join(missing)} of {unit}",
            (shown.stderr or shown.stdout).strip()[:200] or "`systemctl show` gave no answer",
            f"see `systemctl show {unit}` on {host.name}, then run the same command again",
        )
    return {name: found[name] for name in (*names, *optional) if name in found}

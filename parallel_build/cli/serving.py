"""Which side serves users, as far as it is proved, and in what words. Pure.

That a service runs proves nothing: it may be in the middle of its first start. That an API answers does not prove that users are let in.
"""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.cli.run_state import Management, Situation

SIDES = {"original": "ORIGINAL", "new": "NEW side"}
ANY = {"original": "the original", "new": "the new side"}


def which_runs(found: Situation) -> str:
    """`original`, `new`, `neither`, `both` or `unknown`: whose services run or answer.

    A server that is silent and not proved down may run all the same. It only leaves no doubt where its own side is known to run.
    """
    old, new = (any(server.runs for server in side) for side in (found.original, found.new))
    if old and new:
        return "both"
    doubtful = [*([] if old else found.original), *([] if new else found.new)]
    if any(server.silent for server in doubtful):
        return "unknown"
    if old or new:
        return "original" if old else "new"
    return "neither"


def which_serves(found: Situation) -> str:
    """The same of the side that serves users: its API answers, is proved to be its own, and nothing keeps users out."""
    runs = which_runs(found)
    if runs not in SIDES:
        return runs
    servers = _servers(found, runs)
    if any(_lets_users_in(found, runs, server) for server in servers):
        return runs
    return "unknown" if any(server.not_trusted for server in servers) else "neither"


def headline(found: Situation) -> str:
    """What is proved, in a sentence or two."""
    runs, serves = which_runs(found), which_serves(found)
    if runs == "both":
        return "BOTH sides run: two clouds give orders to the same hypervisors. Go back or forward at once." + _of_both(found)
    if runs == "unknown":
        return "Which side serves is not known: servers that can't be asked may serve, and nothing proves that they are down."
    if runs == "neither":
        return "NEITHER side serves."
    servers = _servers(found, runs)
    if serves == runs:
        return f"The {SIDES[runs]} serves." + _in_part(found, runs)
    if serves == "unknown":
        strange = _names([server for server in servers if server.not_trusted])
        return f"Which side serves is not known: something answers on {strange} that is not proved to be its API."
    if any(server.answers for server in servers):
        return f"NEITHER side serves users: the {SIDES[runs]} answers, and users are kept out." + _silent(servers)
    return f"NEITHER side serves: {ANY[runs]} runs on {_names([server for server in servers if server.runs])}, and its API does not answer{_why(found, runs)}."


def users_kept_out(found: Situation, side: str) -> bool:
    """Whether this window keeps users out of a side by whatever means: on record as done, and not undone yet.

    The packet filter is seen on each server; a setting or a load balancer's command is not.
    """
    record = found.record
    if record is None or record.closed or not record.facts.get("UserAccess", {}).get("closed"):
        return False
    if side == "original":
        return not record.ahead
    return not record.facts.get("Acceptance", {}).get("accepted")


def _lets_users_in(found: Situation, side: str, server: Management) -> bool:
    return server.answers and not server.not_trusted and not server.users_out and not users_kept_out(found, side)


def _servers(found: Situation, side: str) -> Sequence[Management]:
    return found.original if side == "original" else found.new


def _names(servers: Sequence[Management]) -> str:
    return ", ".join(server.name for server in servers)


def _in_part(found: Situation, side: str) -> str:
    """What keeps a side that serves from serving whole."""
    others = [server for server in _servers(found, side) if not _lets_users_in(found, side, server)]
    out = [server for server in others if server.answers and not server.not_trusted]
    rest = [server for server in others if server not in out]
    words = [
        f"{_names(rest)} {'does' if len(rest) == 1 else 'do'} not answer" if rest else "",
        f"users are kept out of {_names(out)}" if out else "",
    ]
    return f" In part: {'; '.join(filter(None, words))}." if others else ""


def _silent(servers: Sequence[Management]) -> str:
    rest = [server for server in servers if not server.answers]
    return f" {_names(rest)} {'does' if len(rest) == 1 else 'do'} not answer." if rest else ""


def _of_both(found: Situation) -> str:
    silent = [SIDES[side] for side in SIDES if not any(server.answers for server in _servers(found, side))]
    return f" The API of the {' and of the '.join(silent)} does not answer." if silent else ""


def _why(found: Situation, side: str) -> str:
    """Why a side that runs may not answer yet, where something shows it."""
    if side == "new" and found.record is not None and not found.record.closed and not found.record.switched:
        return ": its first start is under way, or has failed"
    return " yet, or no more"

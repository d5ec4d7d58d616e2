"""Guards over the seed (`transfer.method: replicate`): the new source can take over in a moment. With `dump` they all hold."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.facts.seed import PATIENCE, SeedFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site

AGAIN = (
    "run `pulumi config set phase prepared && pulumi up`: step DatabaseSeed repairs it, or seeds again. If the preview does not show that step "
    'as a change, give transfer.renew a new text first: `pulumi config set --path transfer.renew "$(date)"`'
)


def _seed(site: Site, fresh: NewFacts) -> SeedFacts | None:
    """The facts, where these rules apply: with method replicate, and where they could be read (else `everything_was_read` fails)."""
    return fresh.seed if site.configuration.transfer.method == "replicate" else None


def rows_are_logged_whole(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the original's binary log has full row images: what changed since the comparison is found in them."""
    seed = _seed(site, fresh)
    if seed and seed.row_image not in ("FULL", ""):
        raise GuardFailed(
            f"the original has binlog_row_image={seed.row_image}",
            "rows changed since the comparison are found by their keys in the log",
            "SET GLOBAL binlog_row_image = FULL there; open sessions keep the old value, so restart the original's management servers one after "
            'the other; then `pulumi config set --path transfer.renew "$(date)"` and `pulumi up` in phase prepared; or use transfer.method dump',
        )


def server_ids_differ(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: no two of the original, the new source and the new replica have one server_id: a server ignores events with its own."""
    seed = _seed(site, fresh)
    names: dict[int, list[str]] = {}
    for name, number in (seed.server_ids if seed else {}).items():
        names.setdefault(number, []).append(name)
    for number, same in names.items():
        if len(same) > 1 or number == 0:
            raise GuardFailed(
                f"{' and '.join(same)} {'both have' if len(same) > 1 else 'has'} server_id {number}",
                "a server ignores events that carry its own number" if number else "0 switches replication off",
                "SET GLOBAL server_id on the original to another number (and in its my.cnf); the new servers' follow from their addresses",
            )


def seed_follows(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the new source follows this original, without an error, with every change of CloudStack's databases, and no window has used the seed up."""
    seed = _seed(site, fresh)
    if seed is None:
        return
    target, source = site.configuration.new.database.source.name, site.configuration.original.database.source
    if seed.taken:
        raise GuardFailed(f"the seed on {target} was used up by a window ({seed.taken})", "what is there is not the original's", AGAIN)
    if seed.status is None:
        raise GuardFailed(f"{target} does not follow the original", "there is no channel to it", AGAIN)
    if seed.status.host != source.address:
        raise GuardFailed(f"{target} follows {seed.status.host}, not {source.address}", "another server's rows would be switched to", AGAIN)
    if not (seed.status.receiving and seed.status.applying):
        threads = [name for name, runs in (("receiver", seed.status.receiving), ("applier", seed.status.applying)) if not runs]
        raise GuardFailed(
            f"{target} does not follow {source.name}",
            seed.status.error or f"its {' and '.join(threads)} {'do' if len(threads) > 1 else 'does'} not run",
            AGAIN,
        )
    if seed.left_out:
        raise GuardFailed(
            f"{target} may pass over changes of {source.name}: {seed.left_out}",
            "what it leaves out would be missing after the switch",
            f"take these settings out of the option files of {target} and restart it, then {AGAIN}",
        )


def seed_is_caught_up(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: the new source has applied what the original had written a moment ago, or users would wait for it in the window."""
    seed = _seed(site, fresh)
    if seed and seed.status and seed.status.receiving and seed.status.applying and seed.behind is None:
        lag = f"{seed.status.lag} s behind" if seed.status.lag is not None else f"at {seed.status.applied}"
        raise GuardFailed(
            f"{site.configuration.new.database.source.name} did not reach where the original was within {PATIENCE:.0f} s",
            f"it is {lag}",
            "wait until it has caught up, then run the same command again",
        )


def seed_was_found_the_same(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: everything was compared at one position and found the same."""
    seed = _seed(site, fresh)
    if seed is None or seed.taken:
        return
    name = site.configuration.new.database.source.name
    if seed.baseline is None:
        raise GuardFailed(f"{name} was never compared with the original", "the window compares only what has changed since", AGAIN)
    if not seed.baseline.get("same"):
        differences = seed.baseline.get("differences")
        shown = "; ".join(str(found) for found in (differences if isinstance(differences, list) else [])[:3])
        raise GuardFailed(f"{name} was found different from the original", shown or "the seed's record does not say where", AGAIN)


def seed_is_read_only(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: nobody but replication and administrators can write to the new source before the takeover."""
    seed = _seed(site, fresh)
    if seed and seed.status and not seed.read_only:
        raise GuardFailed(
            f"{site.configuration.new.database.source.name} can be written to while it follows the original",
            "read_only is OFF; what somebody writes there is not in the original's log, so the window would not compare it",
            f"SET GLOBAL read_only = 1 there, then {AGAIN}",
        )


GUARDS = rules_of(
    rows_are_logged_whole,
    server_ids_differ,
    seed_follows,
    seed_is_caught_up,
    seed_was_found_the_same,
    seed_is_read_only,
)

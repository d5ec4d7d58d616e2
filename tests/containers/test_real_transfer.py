"""A real CloudStack's own data folder through `dump`, `replicate` and the comparison."""

from __future__ import annotations

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.database.compare import cloudstack_meaning, compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import seed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import Combination
from tests.containers.real_original import DATABASE_KEY, ENCRYPTOR, SCHEMAS, VERSION

pytestmark = [pytest.mark.databases, pytest.mark.timeout(900)]
# Written while the seed runs and afterwards, as CloudStack writes it.
WRITTEN = (
    "INSERT INTO cloud.event (uuid, type, state, description, user_id, account_id, domain_id, created, level) "
    "VALUES (UUID(), 'VM.START', 'Completed', 'number', 2, 2, 1, NOW(), 'INFO')"
)


@pytest.fixture
def pair(real_original: Combination) -> tuple[Host, Host]:
    """Original and new server, the new one empty."""
    copy.empty(real_original.target, SCHEMAS)
    return real_original.source, real_original.target


def _quiet(text: str) -> None:
    del text


def _copy(source: Host, target: Host) -> copy.CopyReport:
    return copy.copy(source, target, SCHEMAS, threads=3, cancel=CancelToken(), progress=_quiet)


def _compare(source: Host, target: Host) -> compare.Comparison:
    return compare.compare(source, target, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)


def _same(source: Host, target: Host) -> compare.Comparison:
    verdict = _compare(source, target)
    assert verdict.same, [str(found) for found in verdict.differences]
    with session(source) as old, session(target) as new:
        key, encryptor = Secret(DATABASE_KEY), Encryptor(ENCRYPTOR)
        ours, theirs = cloudstack_meaning.read(old, key, encryptor), cloudstack_meaning.read(new, key, encryptor)
        assert cloudstack_meaning.differences(ours, theirs) == []
        assert (theirs.version, theirs.init) == (VERSION, True)
    return verdict


def _import_own_dump(host: Host, family: str) -> None:
    """Take a dump of a server by its own program and import it there again, as operators do."""
    program, client = ("mariadb-dump", "mariadb") if family == "mariadb" else ("mysqldump", "mysql")
    purged = "--set-gtid-purged=OFF" if family == "mysql" else ""
    dump = f"{program} {purged} --single-transaction --routines --events --triggers --databases {' '.join(SCHEMAS)} >/root/own.sql"
    host.run(["sh", "-c", f"{dump} && {client} </root/own.sql && rm /root/own.sql"], timeout=300)


def test_dump_is_the_same(pair: tuple[Host, Host]) -> None:
    source, target = pair
    report = _copy(source, target)
    verdict = _same(source, target)
    assert (verdict.tables, verdict.rows) == (report.tables, report.rows)
    print(f"{report.tables} tables, {report.rows} rows: the same in {verdict.seconds} s; {len(verdict.not_comparable)} remarks", flush=True)


def test_dump_made_again_three_times_over_is_still_the_same(real_original: Combination, pair: tuple[Host, Host]) -> None:
    # A server prints a view otherwise each time that it is made from its own print: what it prints grows, what it means does not.
    source, target = pair
    _copy(source, target)
    for _ in range(3):
        _import_own_dump(target, real_original.new)
    _same(source, target)


def test_replicate_is_the_same(real_original: Combination, pair: tuple[Host, Host]) -> None:
    if real_original.old != real_original.new:
        pytest.skip("the binary logs of the two families are not compatible: transfer.method dump")
    source, target = pair
    cancel = CancelToken()
    seed.seed(source, target, SCHEMAS, threads=3, cancel=cancel, progress=_quiet)
    with session(source) as opened:
        opened.execute(WRITTEN)
    baseline = seed.compare_at_position(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
    assert baseline.comparison.same, [str(found) for found in baseline.comparison.differences]
    with seed.Takeover(source, target, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet) as takeover:
        takeover.advance()
        with session(source) as opened:
            opened.execute(WRITTEN)
        takeover.catch_up(timeout=120)
        verdict = takeover.compare_changes()
        assert verdict.same, [str(found) for found in verdict.differences]
        takeover.promote()
    assert verdict.rows >= 1
    assert seed.traces(source, target) == []
    _same(source, target)

"""CloudStack's own databases, generated and (where there is one) a real dump, over real servers of each combination, while users write.

The writing user does what management servers do, a transaction a piece, each with a running number in several tables of both databases: a copy
must hold whole transactions only, all that were confirmed before it began, in their order.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab.database import ORIGINS, Accounts, DatabasePlan, Origin, describe, load, restore
from lab.databases import DUMP
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.database.compare import cloudstack_meaning, compare
from parallel_build.database.copy import copy
from parallel_build.database.replicate import seed
from parallel_build.remote.host import Host
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import Combination
from tests.containers.database_users import Users

pytestmark = [pytest.mark.databases, pytest.mark.timeout(1800)]
SCHEMAS = ["cloud", "cloud_usage"]
DATA = Path(os.environ.get("PARALLEL_BUILD_DATA", Path(__file__).parents[3] / "shared" / "data"))
DUMPS = {name: DATA / f"{name}-4.20.3.0.sql.xz" for name in SCHEMAS}
PLAN = DatabasePlan(rows_usage=4000, rows_event=4000, rows_usage_event=4000, rows_vm_stats=1000, link_local_addresses=4000)
SMALL = DatabasePlan(rows_usage=100, rows_event=100, rows_usage_event=100, rows_vm_stats=100, link_local_addresses=100)
# One transaction of a virtual machine that is stopped and started, as the statements of the management server's data access objects do it.
TRANSACTION = (
    "BEGIN",
    "INSERT INTO cloud.event (uuid, type, state, description, user_id, account_id, domain_id, created, level, start_id) "
    "VALUES (UUID(), 'VM.START', 'Completed', 'number {n} ünï 😀', 2, 2, 1, NOW(), 'INFO', {n})",
    "UPDATE cloud.vm_instance SET state = IF(state = 'Running', 'Stopping', 'Running'), update_count = update_count + 1, update_time = NOW() "
    "ORDER BY id LIMIT 1",
    "INSERT INTO cloud.usage_event (type, account_id, created, zone_id, resource_id, resource_name) "
    "VALUES ('VM.START', 2, NOW(), 1, {n}, 'number')",
    "INSERT INTO cloud_usage.usage_event (type, account_id, created, zone_id, resource_id, resource_name) "
    "VALUES ('VM.START', 2, NOW(), 1, {n}, 'number')",
    "UPDATE cloud.host SET last_ping = last_ping + 1, update_count = update_count + 1 ORDER BY id LIMIT 1",
    "INSERT INTO cloud.async_job (user_id, account_id, job_cmd, job_status, related, created) VALUES (2, 2, 'number', {n}, '', NOW())",
    "DELETE FROM cloud.async_job WHERE job_cmd = 'number' AND job_status <= {n} - 20",
    "UPDATE cloud.user_statistics SET current_bytes_sent = current_bytes_sent + 1500",
    "INSERT INTO cloud.op_lock (`key`, mac, ip, thread) VALUES ('number {n}', '02:00:00:00:00:01', '10.91.0.11', 'Job-Executor')",
    "DELETE FROM cloud.op_lock WHERE `key` = 'number {n}'",
    "COMMIT",
)
NUMBERS = {
    "event": "SELECT start_id AS n FROM cloud.event WHERE description LIKE 'number %%' ORDER BY id",
    "usage_event": "SELECT resource_id AS n FROM cloud.usage_event WHERE resource_name = 'number' ORDER BY id",
    "cloud_usage.usage_event": "SELECT resource_id AS n FROM cloud_usage.usage_event WHERE resource_name = 'number' ORDER BY id",
}
COUNTED = "SELECT update_count AS n FROM cloud.vm_instance ORDER BY id LIMIT 1"


@pytest.fixture(scope="module")
def generated(servers: Combination) -> tuple[Host, Host]:
    """Original and new server, the original with a generated cloud."""
    return _loaded(servers, PLAN)


def _loaded(servers: Combination, what: DatabasePlan | Mapping[str, Path]) -> tuple[Host, Host]:
    source, target = servers.source, servers.target
    with session(source) as opened:
        for name in SCHEMAS:
            opened.execute(f"DROP DATABASE IF EXISTS {name}")
    copy.empty(target, SCHEMAS)
    client = ["ssh", *source.options(), source.destination, servers.old]
    with _any_algorithm(source, servers.old):
        load(client, what, accounts=Accounts("Lab-Password-1"), timeout=900)
    return source, target


@contextlib.contextmanager
def _any_algorithm(source: Host, family: str) -> Iterator[None]:
    """A hostile server takes only instant changes of tables: CloudStack's own scripts could not make a cloud there, so it has become so afterwards."""
    if family != "mariadb":
        yield
        return
    with session(source) as opened:
        found = opened.value("SELECT @@GLOBAL.alter_algorithm")
        opened.execute("SET GLOBAL alter_algorithm = 'DEFAULT'")
    try:
        yield
    finally:
        with session(source) as opened:
            opened.execute("SET GLOBAL alter_algorithm = %s", [found])


def _copy(source: Host, target: Host) -> copy.CopyReport:
    return copy.copy(source, target, SCHEMAS, threads=3, cancel=CancelToken(), progress=_quiet)


def _quiet(text: str) -> None:
    del text


def _same(source: Host, target: Host) -> compare.Comparison:
    verdict = compare.compare(source, target, SCHEMAS, threads=2, cancel=CancelToken(), progress=_quiet)
    assert verdict.same, [str(found) for found in verdict.differences]
    with session(source) as old, session(target) as new:
        assert cloudstack_meaning.differences(cloudstack_meaning.read(old), cloudstack_meaning.read(new)) == []
        assert cloudstack_meaning.read(new).version == "4.20.3.0"
    return verdict


def _numbers(host: Host) -> dict[str, list[int]]:
    with session(host) as opened:
        return {name: [int(row["n"]) for row in opened.rows(statement)] for name, statement in NUMBERS.items()}


def _counted(host: Host) -> int:
    with session(host) as opened:
        return int(opened.value(COUNTED))


PLANTED = {
    "version": ("UPDATE cloud.version SET version = '4.20.9.9' WHERE version = '4.20.3.0'", ["version"]),
    "state": ("UPDATE cloud.vm_instance SET state = 'Gone' WHERE removed IS NULL ORDER BY id LIMIT 1", ["rows cloud.vm_instance Gone"]),
    "removed": ("UPDATE cloud.volumes SET removed = NOW() WHERE removed IS NULL ORDER BY id LIMIT 1", ["rows cloud.volumes (removed)"]),
    "management": (
        "INSERT INTO cloud.mshost (msid, runid, name, uuid, state, service_ip, service_port, last_update, alert_count) "
        "VALUES (7, 7, 'ms7', 'ms7', 'Up', '10.91.0.77', 9090, NOW(), 0)",
        ["management server 10.91.0.77 (7)"],
    ),
    "init": ("UPDATE cloud.configuration SET value = REVERSE(value) WHERE name = 'init'", ["configuration init"]),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_cloudstack_would_read_otherwise_is_named(generated: tuple[Host, Host], planted: str) -> None:
    statement, named = PLANTED[planted]
    made = describe(PLAN).secrets
    key, encryptor = Secret(made.database_key), Encryptor(made.encryptor)
    with session(generated[0]) as opened:
        right = cloudstack_meaning.read(opened, key, encryptor)
        assert right.init is True
        assert cloudstack_meaning.read(opened, Secret("another-key"), encryptor).init is False
        opened.execute("BEGIN")
        try:
            opened.execute(statement)
            found = [str(each) for each in cloudstack_meaning.differences(right, cloudstack_meaning.read(opened, key, encryptor))]
        finally:
            opened.execute("ROLLBACK")
        assert all(any(name in each for each in found) for name in named), found
        assert cloudstack_meaning.differences(right, cloudstack_meaning.read(opened, key, encryptor)) == []


def test_dump_under_writing_users_holds_whole_transactions_in_their_order(generated: tuple[Host, Host]) -> None:
    source, target = generated
    before = _counted(source)
    with Users(source, TRANSACTION, 0.002) as users:
        while users.confirmed < 20:
            source.cancel.wait(0.05)
        confirmed = users.confirmed
        report = _copy(source, target)
        assert users.confirmed > confirmed, "the users went on writing"
    assert report.locked_seconds < 1
    numbers = _numbers(target)
    count = len(numbers["event"])
    assert confirmed <= count <= users.confirmed
    assert all(found == list(range(1, count + 1)) for found in numbers.values()), "a row is lost, doubled or out of its order"
    assert _counted(target) - before == count
    with session(target) as opened:
        assert opened.value("SELECT COUNT(*) FROM cloud.op_lock WHERE `key` LIKE 'number %%'") == 0, "half a transaction"
        assert opened.value("SELECT COUNT(*) FROM cloud.async_job WHERE job_cmd = 'number'") == min(count, 20)
    print(
        f"{users.confirmed} transactions written, {confirmed} of them before the copy; it holds {count}, at {report.position}", flush=True
    )


def test_dump_of_a_generated_cloud_is_the_same(generated: tuple[Host, Host]) -> None:
    source, target = generated
    copy.empty(target, SCHEMAS)
    report = _copy(source, target)
    assert _same(source, target).rows == report.rows


@pytest.mark.parametrize("origin", ORIGINS)
def test_each_way_that_an_original_came_about_is_brought_over(request: pytest.FixtureRequest, servers: Combination, origin: Origin) -> None:
    """Made by statements in CloudStack's own, strict sessions; restored from a dump; restored from the dump of an older program."""
    if origin != "created" and "hostile" in request.node.name:
        pytest.skip("dump programs fail under such settings")
    source, target = _loaded(servers, SMALL)
    reach = ["ssh", *source.options(), source.destination]
    restore([*reach, servers.old], [*reach, *DUMP["mysql" if servers.old == "mysql" else "mariadb"]], SCHEMAS, origin, timeout=600)
    _copy(source, target)
    _same(source, target)


def test_replicate_under_writing_users_loses_nothing(servers: Combination, generated: tuple[Host, Host]) -> None:
    if servers.old != servers.new:
        pytest.skip("the binary logs of the two families are not compatible: transfer.method dump")
    source, target = generated
    copy.empty(target, SCHEMAS)
    with session(source) as opened:
        for table, condition in (
            ("cloud.event", "description LIKE 'number %%'"), ("cloud.usage_event", "resource_name = 'number'"),
            ("cloud_usage.usage_event", "resource_name = 'number'"), ("cloud.async_job", "job_cmd = 'number'"),
        ):  # fmt: skip
            opened.execute(f"DELETE FROM {table} WHERE {condition}")
    before, cancel = _counted(source), CancelToken()
    with contextlib.ExitStack() as stack:
        users = stack.enter_context(Users(source, TRANSACTION, 0.002))
        seed.seed(source, target, SCHEMAS, threads=3, cancel=cancel, progress=_quiet)
        baseline = seed.compare_at_position(source, target, SCHEMAS, threads=2, cancel=cancel, progress=_quiet)
        assert baseline.comparison.same, [str(found) for found in baseline.comparison.differences]
        takeover = stack.enter_context(seed.Takeover(source, target, SCHEMAS, baseline.position, threads=2, cancel=cancel, progress=_quiet))
        takeover.advance()
        users.stop()
        takeover.catch_up(timeout=120)
        verdict = takeover.compare_changes()
        assert verdict.same, [str(found) for found in verdict.differences]
        takeover.promote()
    expected = list(range(1, users.confirmed + 1))
    assert all(found == expected for found in _numbers(target).values()), "a row is lost, doubled or out of its order"
    assert _counted(target) - before == users.confirmed
    assert seed.traces(source, target) == []
    _same(source, target)
    print(f"{users.confirmed} transactions written and arrived, {verdict.rows} changed rows compared in {verdict.seconds} s", flush=True)


def test_dump_of_a_real_cloud_is_the_same(servers: Combination) -> None:
    if not all(path.exists() for path in DUMPS.values()):
        pytest.skip(f"no dump of a real CloudStack 4.20.3.0 in {DATA}")
    source, target = _loaded(servers, DUMPS)
    report = _copy(source, target)
    verdict = _same(source, target)
    assert verdict.rows == report.rows
    assert verdict.tables == report.tables
    print(f"{servers}: {report.tables} tables, {report.rows} rows, the same; {len(verdict.not_comparable)} remarks", flush=True)

"""Facts of a stack that decide what a rehearsal on it is worth for another: read from its original, and from its new side where that is there.

The document holds no secrets: settings of the categories Hidden and Secure are left out, and nothing is read from files that hold keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from parallel_build.configuration import Server
from parallel_build.errors import ParallelBuildError
from parallel_build.parity import servers
from parallel_build.remote.host import Connections
from parallel_build.remote.parallel import Workers
from parallel_build.remote.sql import Refused, Session, session
from parallel_build.resolved_stack import Site

FORM = 2  # of the document; another form is not compared. In the first one a kind that could not be read looked like one that is not there
AT_ONCE = 8
T = TypeVar("T")
Facts = dict[str, Any]
# Variables that change what SQL does or how long it takes.
VARIABLES = (
    "sql_mode", "lower_case_table_names", "character_set_server", "collation_server", "transaction_isolation", "tx_isolation", "binlog_format",
    "log_bin", "innodb_file_per_table", "innodb_default_row_format", "innodb_rollback_on_timeout", "explicit_defaults_for_timestamp",
    "group_concat_max_len", "default_storage_engine",
)  # fmt: skip
VERSION = "SELECT version FROM cloud.version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1"
SETTINGS = (
    "SELECT name, value, default_value FROM cloud.configuration WHERE category NOT IN ('Hidden', 'Secure') AND default_value IS NOT NULL "
    "AND value IS NOT NULL AND value <> default_value"
)

COUNTS = {
    "zones": "SELECT COUNT(*) FROM cloud.data_center WHERE removed IS NULL",
    "pods": "SELECT COUNT(*) FROM cloud.host_pod_ref WHERE removed IS NULL",
    "clusters": "SELECT COUNT(*) FROM cloud.cluster WHERE removed IS NULL",
    "hosts": "SELECT COUNT(*) FROM cloud.host WHERE removed IS NULL AND type = 'Routing'",
    "virtual machines": "SELECT COUNT(*) FROM cloud.vm_instance WHERE removed IS NULL AND type = 'User'",
    "virtual routers": "SELECT COUNT(*) FROM cloud.vm_instance WHERE removed IS NULL AND type = 'DomainRouter'",
    "networks": "SELECT COUNT(*) FROM cloud.networks WHERE removed IS NULL AND traffic_type = 'Guest'",
    "VPCs": "SELECT COUNT(*) FROM cloud.vpc WHERE removed IS NULL",
    "megabytes of databases": "SELECT ROUND(SUM(DATA_LENGTH + INDEX_LENGTH) / 1000000) FROM information_schema.TABLES "
    "WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage', 'cloudbridge')",
}
# What kinds of a thing there are, as texts; how many of each does not matter.
KINDS = {
    "hypervisors": "SELECT DISTINCT hypervisor_type AS kind FROM cloud.cluster WHERE removed IS NULL",
    "hypervisor versions": "SELECT DISTINCT CONCAT(hypervisor_type, ' ', COALESCE(hypervisor_version, '?')) AS kind FROM cloud.host "
    "WHERE removed IS NULL AND type = 'Routing'",
    # What CloudStack itself knows of every kind of host; the clock is rounded, since it is that of one moment.
    "hypervisor models": "SELECT DISTINCT CONCAT(hypervisor_type, ', ', COALESCE(cpu_sockets, '?'), ' sockets, ', COALESCE(cpus, '?'), "
    "' processors, ', COALESCE(ROUND(speed / 1000, 1), '?'), ' GHz') AS kind FROM cloud.host WHERE removed IS NULL AND type = 'Routing'",
    "architectures": "SELECT DISTINCT arch AS kind FROM cloud.cluster WHERE removed IS NULL",
    "primary storage": "SELECT DISTINCT CONCAT(pool_type, ', ', COALESCE(LOWER(scope), '?'), ', ', COALESCE(storage_provider_name, '?')) AS kind "
    "FROM cloud.storage_pool WHERE removed IS NULL",
    "secondary storage": "SELECT DISTINCT LOWER(protocol) AS kind FROM cloud.image_store WHERE removed IS NULL",
    "zone types": "SELECT DISTINCT CONCAT(networktype, IF(is_security_group_enabled, ' with security groups', '')) AS kind "
    "FROM cloud.data_center WHERE removed IS NULL",
    "isolation": "SELECT DISTINCT isolation_method AS kind FROM cloud.physical_network_isolation_methods",
    "guest networks": "SELECT DISTINCT CONCAT(COALESCE(guest_type, '?'), ', ', broadcast_domain_type, IF(vpc_id IS NULL, '', ', in a VPC'), "
    "IF(redundant, ', redundant', '')) AS kind FROM cloud.networks WHERE removed IS NULL AND traffic_type = 'Guest'",
    "network providers": "SELECT DISTINCT m.provider AS kind FROM cloud.ntwk_service_map m JOIN cloud.networks n ON n.id = m.network_id "
    "WHERE n.removed IS NULL",
    "own guest operating systems": "SELECT display_name AS kind FROM cloud.guest_os WHERE is_user_defined = 1 AND removed IS NULL",
    "table engines": "SELECT DISTINCT ENGINE AS kind FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage') "
    "AND ENGINE IS NOT NULL",
}  # fmt: skip


def gather(site: Site, connections: Connections) -> Facts:
    """Read a stack's facts; what can't be read is named in `problems` and compared with nothing.

    Returns:
        plain values, fit for JSON.
    """
    configuration, problems = site.configuration, list[str]()
    original, new = configuration.original, configuration.new
    with Workers(AT_ONCE) as pool:

        def each(machines: Iterable[Server], problems: list[str]) -> list[Any]:
            return [
                pool.submit(_guarded, problems, lambda machine=machine: servers.read(connections.host(machine))) for machine in machines
            ]

        unseen: list[str] = []  # the new side need not be there yet
        asked = {
            "management": each(original.management, problems),
            "hypervisor": each(original.hypervisors, problems),
            "database": each([original.database.source], problems),
            "new management": each(new.management, unseen),
            "new database": each([new.database.source], unseen),
        }
        cloud = pool.submit(_guarded, problems, lambda: _cloud(site, connections, problems))
        engine = pool.submit(_guarded, unseen, lambda: _engine(connections, new.database.source))
        machines = {role: [facts for future in futures if (facts := future.result())] for role, futures in asked.items()}
        found = cloud.result() or {}
        fresh = engine.result()
    return {
        "form": FORM,
        "stack": site.stack,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": str(new.version),
        "machines": {role: facts for role, facts in machines.items() if facts},
        **found,
        **({"newDatabase": fresh} if fresh else {}),
        "problems": problems,
    }


def _guarded(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ParallelBuildError as error:
        problems.append(str(error))
        return None


def _engine(connections: Connections, server: Server) -> Facts:
    with session(connections.host(server)) as opened:
        return _database(opened)


def _database(opened: Session) -> Facts:
    version = str(opened.value("SELECT VERSION()"))
    marks = ", ".join(["%s"] * len(VARIABLES))
    rows = opened.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", VARIABLES)
    variables = {str(row["Variable_name"]): str(row["Value"]) for row in rows}
    if "tx_isolation" in variables:  # one thing, two names
        variables["transaction_isolation"] = variables.pop("tx_isolation")
    if "sql_mode" in variables:
        variables["sql_mode"] = ",".join(sorted(variables["sql_mode"].split(",")))
    return {"family": "mariadb" if "mariadb" in version.lower() else "mysql", "version": version.split("-")[0], "variables": variables}


def _cloud(site: Site, connections: Connections, problems: list[str]) -> Facts:
    with session(connections.host(site.configuration.original.database.source)) as opened:
        found = {**read_cloud(opened, problems), "database": _database(opened)}
    found["counts"]["management servers"] = len(site.configuration.original.management)
    return found


def read_cloud(opened: Session, problems: list[str]) -> Facts:
    """What the original's database has on its cloud.

    Args:
        problems: a question that it refuses is named here, and its key is left out: what is not known is not compared.
    """
    counts, kinds = Facts(), Facts()
    for name, statement in COUNTS.items():
        if (number := _answered(problems, f"number of {name}", partial(opened.value, statement))) is not None:
            counts[name] = int(number)
    for name, statement in KINDS.items():
        if (rows := _answered(problems, name, partial(opened.rows, statement))) is not None:
            kinds[name] = sorted({str(row["kind"]) for row in rows if row["kind"] is not None})
    found: Facts = {"counts": counts, "kinds": kinds}
    if (version := _answered(problems, "version", partial(opened.value, VERSION))) is not None:
        found["version"] = str(version)
    if (rows := _answered(problems, "changed settings", partial(opened.rows, SETTINGS))) is not None:
        found["settings"] = {str(row["name"]): str(row["value"]) for row in rows}
    return found


def _answered(problems: list[str], what: str, ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except Refused as error:
        problems.append(f"{what}: {'the schema of this version does not have it' if error.unknown else 'refused'} {error.cause}")
        return None

"""Writes a generated database as SQL."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from lab.database import ddl, keys, kinds
from lab.database.bulk import BigTable, big_tables
from lab.database.content import World, build
from lab.database.content.templates import SYSTEM_TEMPLATE
from lab.database.errors import LabDatabaseError
from lab.database.notation import tables, views
from lab.database.plan import DatabasePlan, Generated, Layout, Secrets
from lab.database.procedures import procedures
from lab.database.rows import inserts

DATABASES = ("cloud", "cloud_usage")
_BUFFER = 1 << 20
# unique_checks stays on: off, MariaDB 10.11 takes its bulk path, which needs 1.6 times the CPU for rows that come in order
_HEADER = """\
-- A made-up CloudStack {version} database, seed {seed}
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', SESSION foreign_key_checks = 0, SESSION autocommit = 0;
SET SESSION sql_mode = '{mode}';
"""
# the collation is one that MariaDB and every MySQL have
CREATE_DATABASE = """\
CREATE DATABASE IF NOT EXISTS `{name}` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
USE `{name}`;
"""
# What CloudStack's own sessions have, by the url.params of its db.properties: what a view's columns are depends on it.
SESSION_MODE = "STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
EARLY = frozenset({"account_view"})
_FOOTER = "COMMIT;\nSET SESSION autocommit = 1, SESSION foreign_key_checks = 1;\n"


def describe(plan: DatabasePlan) -> Generated:
    """The secrets and the layout of a plan, without writing anything."""
    return _result(build(plan), 0)


def generate(plan: DatabasePlan, out: BinaryIO, databases: Sequence[str] | None = None) -> Generated:
    """Write a plan's databases as one stream of SQL.

    It makes the databases and fills them; it expects that they hold no tables yet, and that the account cloud@localhost
    exists, because views and procedures name it as their definer (`lab.database.load` makes it).

    Args:
        plan: what to make.
        out: where the bytes go.
        databases: which of cloud, cloud_usage and cloudbridge; all that the plan has if left out.

    Raises:
        LabDatabaseError: a database that the plan has not.
    """
    world = build(plan)
    written = 0
    buffer: list[bytes] = []
    size = 0
    for text in _sql(world, _chosen(plan, databases)):
        data = text.encode()
        buffer.append(data)
        size += len(data)
        if size >= _BUFFER:
            out.write(b"".join(buffer))
            written, size = written + size, 0
            buffer.clear()
    out.write(b"".join(buffer))
    return _result(world, written + size)


def generate_files(plan: DatabasePlan, folder: Path) -> Generated:
    """Write a file NAME.sql for each of the plan's databases, and secrets.json (mode 0600), into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in _chosen(plan, None):
        with (folder / f"{name}.sql").open("wb") as file:
            total += generate(plan, file, (name,)).bytes
    result = dataclasses.replace(describe(plan), bytes=total)
    content = {"secrets": dataclasses.asdict(result.secrets), "layout": dataclasses.asdict(result.layout)}
    target = folder / "secrets.json"
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(content, file, indent=2)
    return result


def _chosen(plan: DatabasePlan, databases: Sequence[str] | None) -> tuple[str, ...]:
    there = DATABASES + (("cloudbridge",) if plan.cloudbridge else ())
    unknown = set(databases or ()) - set(there)
    if unknown:
        raise LabDatabaseError(f"the plan has no database {', '.join(sorted(unknown))}", "", f"choose of {', '.join(there)}")
    return tuple(databases) if databases else there


def _sql(world: World, databases: Sequence[str]) -> Iterator[str]:
    yield _HEADER.format(version=world.plan.version, seed=world.plan.seed, mode=SESSION_MODE)
    for name in databases:
        yield CREATE_DATABASE.format(name=name)
        if name in DATABASES:
            yield from _database(world, name)
    yield _FOOTER


def _database(world: World, database: str) -> Iterator[str]:
    streamed = {big.name: big for big in big_tables(world) if big.database == database}
    for table in tables(database).values():
        big: BigTable | None = streamed.get(table.name)
        yield ddl.create_table(table, with_secondary_keys=big is None)
        if big is not None:
            yield from big.statements()
        yield from inserts(table, world.rows.get((database, table.name), ()))
        # one transaction for a table is what MariaDB builds its pages fastest from, and what a replica takes well
        yield "COMMIT;\n"
        if big is not None:
            yield ddl.add_secondary_keys(table)
    if database == "cloud" and world.plan.site_tables:
        # An operator's own tables hold what a strict server refuses today.
        yield "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n"
        yield from kinds.site_tables(world)
        yield f"SET SESSION sql_mode = '{SESSION_MODE}';\n"
    for view in ddl.in_order(views(database)):
        # The others come over JDBC, this one from a script's client: a view remembers the character set that it was made in.
        early = view.name in EARLY
        yield ("SET NAMES latin1;\n" if early else "") + ddl.create_view(view) + ("SET NAMES utf8mb4;\n" if early else "")
    yield "DELIMITER ;;\n"
    for procedure in procedures(database):
        yield procedure.sql()
    yield "DELIMITER ;\n"


def _result(world: World, size: int) -> Generated:
    plan = world.plan
    ssh = keys.rsa_key(plan.seed, "ssh")
    zone = world.rows["cloud", "data_center"][0]
    counts = {f"{database}.{table}": len(rows) for (database, table), rows in world.rows.items()}
    counts.update({f"{big.database}.{big.name}": big.rows for big in big_tables(world)})
    return Generated(
        secrets=Secrets(
            database_key=world.database_key,
            encryptor=plan.encryptor,
            admin=world.api_users[0],
            users=tuple(world.api_users[1:]),
            ssh_private_key=keys.private_pem(ssh, traditional=True),
            ssh_public_key=keys.public_openssh(ssh, "cloud@" + plan.management_servers[0].name),
        ),
        layout=Layout(
            version=plan.version,
            zone_id=int(str(zone["id"])),
            zone_uuid=str(zone["uuid"]),
            zone_name=str(zone["name"]),
            hosts=tuple(world.hosts),
            system_vms=tuple(world.system_vms),
            system_template=SYSTEM_TEMPLATE,
        ),
        rows=counts,
        bytes=size,
    )

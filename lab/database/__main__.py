"""`python -m lab.database`: generate, describe, inspect and load the original's database from a shell."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from lab.database import (
    Accounts,
    DatabasePlan,
    Generated,
    adapt,
    describe,
    generate,
    generate_files,
    load,
)
from lab.database.errors import LabDatabaseError
from lab.database.plan import parse_hosts, parse_management_servers
from parallel_build.errors import ParallelBuildError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2 for an error that says what to do)."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ParallelBuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.database", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("generate", help="write the database as SQL")
    _plan_options(make)
    target = make.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", type=Path, metavar="DIR", help="write NAME.sql for each database, and secrets.json, there")
    target.add_argument("--stream", action="store_true", help="write one stream to standard output")
    make.set_defaults(run=_generate)
    show = commands.add_parser("describe", help="print the layout of a plan, and its secrets with --secrets")
    _plan_options(show)
    show.add_argument("--secrets", action="store_true", help="print keys and passwords too")
    show.set_defaults(run=_describe)
    look = commands.add_parser("inspect", help="print what a dump holds")
    look.add_argument("dumps", nargs="+", metavar="[DATABASE=]FILE")
    look.add_argument("--database-key-file", type=Path)
    look.set_defaults(run=_inspect)
    put = commands.add_parser("load", help="load a generated database or dumps into a server")
    _plan_options(put)
    put.add_argument("--client", required=True, help='client command that reads SQL from standard input, e.g. "ssh olddb1 mariadb"')
    put.add_argument("--dump", action="append", metavar="[DATABASE=]FILE", help="load this instead of a generated database")
    put.add_argument("--password-file", type=Path, help="make the accounts of user cloud with the password in this file")
    put.set_defaults(run=_load)
    return parser


def _plan_options(parser: argparse.ArgumentParser) -> None:
    usual = DatabasePlan()
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--scale", type=float, default=usual.scale, help="multiplies accounts, machines and networks")
    parser.add_argument("--bytes", type=_size, metavar="SIZE", help="size of the loaded databases, e.g. 1.5G (instead of --rows-*)")
    for name in ("usage", "event", "usage_event", "vm_stats"):
        parser.add_argument(f"--rows-{name.replace('_', '-')}", type=int, metavar="N")
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--database-key", help="db.cloud.encrypt.secret (others can see it in the process list: better use the file)")
    key.add_argument("--database-key-file", type=Path, help="file with db.cloud.encrypt.secret")
    parser.add_argument("--encryptor", choices=("V1", "V2"), default=usual.encryptor)
    parser.add_argument("--hypervisor-hosts", type=parse_hosts, default=usual.hypervisor_hosts, metavar="NAME=ADDRESS,...")
    parser.add_argument(
        "--management",
        type=parse_management_servers,
        default=usual.management_servers,
        metavar="NAME=ADDRESS[@MAC],...",
    )
    parser.add_argument("--management-network", default=usual.management_network, metavar="CIDR")
    parser.add_argument(
        "--reference-time",
        type=datetime.datetime.fromisoformat,
        default=usual.reference_time,
        help="newest time in the data, UTC",
    )
    parser.add_argument("--cloudbridge", action="store_true", help="make the empty database of clouds from before 4.6 too")
    parser.add_argument("--site-tables", action="store_true", help="add an operator's own tables, for tests of copying")


def _size(text: str) -> int:
    match = re.fullmatch(r"([\d.]+)([KMG]?)B?", text.upper())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write for example 800M or 1.5G")
    return int(float(match[1]) * _UNITS[match[2]])


def _plan(options: argparse.Namespace) -> DatabasePlan:
    fields: dict[str, Any] = {
        "seed": options.seed,
        "scale": options.scale,
        "encryptor": options.encryptor,
        "hypervisor_hosts": options.hypervisor_hosts,
        "management_servers": options.management,
        "management_network": options.management_network,
        "reference_time": options.reference_time,
        "cloudbridge": options.cloudbridge,
        "site_tables": options.site_tables,
        "database_key": _key(options) or "",
    }
    rows = {f"rows_{name}": getattr(options, f"rows_{name}") for name in ("usage", "event", "usage_event", "vm_stats")}
    fields.update((name, number) for name, number in rows.items() if number is not None)
    return DatabasePlan.for_bytes(options.bytes, **fields) if options.bytes else DatabasePlan(**fields)


def _key(options: argparse.Namespace) -> str | None:
    if options.database_key_file:
        return _secret(options.database_key_file)
    return getattr(options, "database_key", None)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise LabDatabaseError(f"the file {path} can't be read", str(error), "give a file with the secret in its first line") from error


def _dumps(arguments: list[str]) -> Path | dict[str, Path]:
    named = [argument.partition("=") for argument in arguments]
    if len(named) == 1 and not named[0][1]:
        return Path(named[0][0])
    if any(not equals for _, equals, _ in named):
        raise LabDatabaseError("several dumps were given without saying of which database", "", "write cloud=FILE cloud_usage=FILE")
    return {name: Path(path) for name, _, path in named}


def _words(result: Generated) -> str:
    return f"{sum(result.rows.values())} rows in {len(result.rows)} tables, {result.bytes / 1e6:.1f} MB of SQL"


def _generate(options: argparse.Namespace) -> None:
    plan = _plan(options)
    result = generate(plan, sys.stdout.buffer) if options.stream else generate_files(plan, options.output)
    sys.stdout.buffer.flush()
    print(_words(result), file=sys.stderr)


def _describe(options: argparse.Namespace) -> None:
    result = describe(_plan(options))
    shown = {"layout": dataclasses.asdict(result.layout), "rows": result.rows}
    if options.secrets:
        shown["secrets"] = dataclasses.asdict(result.secrets)
    print(json.dumps(shown, indent=2, ensure_ascii=False))


def _inspect(options: argparse.Namespace) -> None:
    facts = adapt(_dumps(options.dumps), _key(options))
    shown = dataclasses.asdict(facts)
    for user in shown["users"]:
        user["secret_key"] = bool(user["secret_key"])
    print(json.dumps(shown, indent=2, ensure_ascii=False))


def _load(options: argparse.Namespace) -> None:
    accounts = Accounts(_secret(options.password_file)) if options.password_file else None
    source = _dumps(options.dump) if options.dump else _plan(options)
    done = load(shlex.split(options.client), source, accounts=accounts)
    print(f"loaded {done.bytes / 1e6:.1f} MB of SQL in {done.seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""`rehearse STACK`: the upgrade rehearsed again on the server that phase `prepared` has built, without Pulumi."""

from __future__ import annotations

import argparse
import json

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, FAILED
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import ParallelBuildError
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import original_database
from parallel_build.operations.rehearse import RehearsalRun, machine_of
from parallel_build.records.rehearsal import RehearsalRecord, RehearsalStore, outdated
from parallel_build.records.rehearsal_times import in_words
from parallel_build.records.run_folder import RunFolder, now
from parallel_build.remote.host import Connections
from parallel_build.stack.file import read_site

NAME = "rehearse"
HELP = "do the upgrade once on the isolated rehearsal server, with a fresh copy of the running original; or show the last rehearsal"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and whether only to look."""
    parser.add_argument("stack")
    parser.add_argument(
        "--show", action="store_true", help="show the last rehearsal and fetch its record to this machine; rehearse nothing"
    )
    parser.add_argument("--json", action="store_true", help="the record as JSON at the end")


def run(given: argparse.Namespace) -> int:
    """Rehearse, and say where it stands against the rehearsal before."""
    site = read_site(given.stack, config_file=given.config_file)
    cancel = CancelToken()
    connections = Connections(site, cancel)
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden())
    context = Context(site, connections, folder, cancel, _tell, step="Rehearsal")
    try:
        machine_of(context)
        store = RehearsalStore(original_database(context), site)
        if given.show:
            record = store.last()
            store.mirror()
            return _show(site.configuration, record, store.passed(), given.json)
        before = store.passed()
        folder.record("begin", step="Rehearsal", operation="rehearse")
        try:
            record = RehearsalRun(context).run()
        except ParallelBuildError as error:
            folder.record("end", step="Rehearsal", operation="rehearse", outcome=str(error))
            raise
        folder.record("end", step="Rehearsal", operation="rehearse", outcome="done")
        print("\n".join(compared(record, before)))
        if given.json:
            print(json.dumps(record.document(), indent=1, sort_keys=True))
        return DONE
    except KeyboardInterrupt:
        cancel.set("interrupted")
        raise
    finally:
        connections.close()


def compared(record: RehearsalRecord, before: RehearsalRecord | None) -> list[str]:
    """The parts and version steps of a rehearsal with their times, next to those of the one before."""
    lines = [f"{'':22} {'now':>12} {'before':>12}"]
    times = {**record.seconds, **{f"  schema {name}": seconds for name, seconds in record.schema.items()}}
    earlier = {**before.seconds, **{f"  schema {name}": seconds for name, seconds in before.schema.items()}} if before else {}
    for name, seconds in times.items():
        lines.append(f"{name:22} {in_words(seconds):>12} {in_words(earlier[name]) if name in earlier else '-':>12}")
    for table, rows in record.deleted.items():
        lines.append(f"{'deleted':22} {rows:>12,} rows of {table}")
    lines.append(f"rows of the original: about {record.rows:,}" + (f", {before.rows:,} before" if before else ""))
    return lines


def _show(configuration: StackConfiguration, record: RehearsalRecord | None, passed: RehearsalRecord | None, as_json: bool) -> int:
    if record is None:
        print("nothing has been rehearsed")
        return FAILED
    if as_json:
        print(json.dumps(record.document(), indent=1, sort_keys=True))
    else:
        print(f"{record.old} -> {record.new} on {record.machine}, {record.began[:16]} UTC, " + ("passed" if record.passed else "failed"))
        if record.cause:
            print(record.cause)
        print("\n".join(compared(record, passed if passed != record else None)))
    reason = outdated(configuration, record)
    if reason:
        print(f"it does not count for the window: {reason}")
    return DONE if record.passed and not reason else FAILED


def _tell(line: str) -> None:
    print(f"{now()[11:19]} {line}", flush=True)

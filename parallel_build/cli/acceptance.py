"""`acceptance STACK [NAME]`: run the acceptance suite on one side of a stack and keep what it found under a name; without one, show the runs side by side."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from parallel_build.acceptance import results
from parallel_build.cli import DONE, FAILED
from parallel_build.cloudstack import endpoint
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.errors import ConfigurationError
from parallel_build.plan.cloud.access import KEY, SECRET
from parallel_build.records.run_folder import RunFolder
from parallel_build.resolved_stack import Site
from parallel_build.stack.file import read_stack
from parallel_build.workload import kept

NAME = "acceptance"
HELP = (
    "test that users' functions work - logins, VMs, networks, disks, integrated systems - on the objects of a workload, before the upgrade and after it; "
    "results are kept under the run's name and laid side by side"
)
SUITE, LINES = "parallel_build.acceptance.suite", "parallel_build.acceptance.lines"
OPTIONS = ("zone", "probe", "vlan")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, the run's name, and what is tested."""
    parser.add_argument("stack")
    parser.add_argument("name", nargs="?", help="such as before or after; a run of that name is replaced. Without one the runs are shown")
    parser.add_argument("--side", choices=("original", "new"), default="original", help="whose API is called (default: original)")
    parser.add_argument("--against", metavar="NAME", help="another run: what passed there and fails now is listed")
    parser.add_argument("--select", default="", metavar="WORDS", help="a part of the tests, such as 'users or machines' (pytest's -k)")
    parser.add_argument("--limit", type=float, metavar="MINUTES", help="the run is cut off then")
    parser.add_argument("--zone", default="", help="name of the zone (default: the first that is enabled)")
    parser.add_argument("--probe", default="", metavar="COMMAND", help="reaches a VM: {address} is replaced, {type} by its network's kind")
    parser.add_argument("--vlan", default="", help="a VLAN that is free in the zone, for a new shared network")
    parser.add_argument("--integration", action="append", default=[], metavar="COMMAND", help="an integrated system's; may be repeated")


def run(given: argparse.Namespace) -> int:
    """Do it; 1 where a test failed or the run was cut off."""
    site = read_stack(given.stack, config_file=given.config_file).site
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden()).path
    if given.name is None:
        return _show(results.read(folder))
    file = results.path(folder, given.name)
    before = _named(folder, given.against) if given.against else None
    if importlib.util.find_spec("pytest") is None:
        raise ConfigurationError(
            "the acceptance suite can't run: pytest is not installed here", "the suite is a plug-in of pytest",
            "pip install 'cloudstack-parallel-build[acceptance]'",
        )  # fmt: skip
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.unlink(missing_ok=True)
    where = endpoint.of_original(site.configuration) if given.side == "original" else endpoint.of_new(site.configuration)
    cut_off = _suite(
        [*_words(given, where, folder / kept.FILE), "--cloud-results", str(file), "--cloud-name", given.name], site, given.limit
    )
    done = results.named(results.read(folder), given.name)
    if done is None:
        print("the suite did not begin: see what it printed", file=sys.stderr)
        return FAILED
    print(f"{given.name}: {done.counted()}; kept in {file}")
    if before is not None:
        for name in results.broken_since(before, done):
            print(f"passed in {before.name}, and fails now: {results.in_words(name)}: {done.tests[name].why}")
    failed = any(each.outcome == results.FAILED for each in done.tests.values())
    return FAILED if failed or cut_off or not done.whole else DONE


def _named(folder: Path, name: str) -> results.Run:
    found = results.named(results.read(folder), name)
    if found is None:
        raise ConfigurationError(
            f"--against: there is no run {name}", f"{folder / results.FOLDER} has none that can be read", "run it first"
        )
    return found


def _words(given: argparse.Namespace, where: Endpoint, passwords: Path) -> list[str]:
    words = ["-p", SUITE, "--pyargs", LINES, "--cloud-url", where.url, "-c", os.devnull, "-p", "no:cacheprovider", "--tb=short", "-v"]
    for option in OPTIONS:
        words += [f"--cloud-{option}", getattr(given, option)] if getattr(given, option) else []
    for command in given.integration:
        words += ["--cloud-integration", command]
    words += ["--cloud-ca-file", str(where.ca_file)] if where.ca_file else []
    words += ["--cloud-server-name", where.server_name] if where.server_name else []
    words += ["--cloud-passwords", str(passwords)] if passwords.exists() else []
    return [*words, "-k", given.select] if given.select else words


def _suite(words: Sequence[str], site: Site, minutes: float | None) -> bool:
    """Run it; whether it was cut off. The keys go by the environment: what is on a command line every user of this machine can read."""
    keys = {KEY: site.secrets.original_api_key.reveal(), SECRET: site.secrets.original_api_secret.reveal()}
    process = subprocess.Popen([sys.executable, "-m", "pytest", *words], env={**os.environ, **keys})
    try:
        process.wait(None if minutes is None else minutes * 60)
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return False


def _show(runs: Sequence[results.Run]) -> int:
    if not runs:
        print("the suite has not been run yet")
        return DONE
    for each in runs:
        print(f"{each.name}: {each.counted()} ({each.began}, {each.url})")
    rows = [(name, *(cell.partition(":")[0] for cell in cells)) for name, *cells in results.side_by_side(runs)]
    table = [("", *(each.name for each in runs)), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return DONE

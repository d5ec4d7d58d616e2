"""`scripts/setup`: have everything that the stack, the lab or the tests run on, found, cached, downloaded or built."""

from __future__ import annotations

import argparse
import sys
import time

from tools.debian import ensure_packages
from tools.environment import CHECKOUT, write_environment
from tools.errors import ToolError
from tools.golang import ensure_program
from tools.pins import PURPOSES, VCENTER_SIMULATOR, VSPHERE
from tools.progress import LOG, say
from tools.pulumi import ensure_pulumi
from tools.virtualenv import ensure_virtualenv


def main(arguments: list[str] | None = None) -> int:
    """Run set-up; 0 when everything is there. What is there already is only looked at, so running it again is quick."""
    parser = argparse.ArgumentParser(prog="scripts/setup", description=__doc__)
    parser.add_argument(
        "--for",
        dest="purposes",
        nargs="+",
        choices=PURPOSES,
        default=["run"],
        help="run: the stack and its tools (default); lab: the embedded lab; test: the tests that need no lab; "
        "browser: Chromium, for the tests that look at the report; vsphere-test: a simulated vCenter and the plugin for it",
    )
    parser.add_argument("--build", action="store_true", help="build Pulumi even where the machine has it or it can be downloaded")
    parser.add_argument("--brief", action="store_true", help="print nothing of what is there already")
    options = parser.parse_args(arguments)
    started, LOG.brief, LOG.worked = time.monotonic(), options.brief, False
    if not LOG.brief:
        say(f"set-up for {', '.join(options.purposes)}")
    try:
        ensure_packages(options.purposes)
        python = ensure_virtualenv(CHECKOUT)
        pulumi = ensure_pulumi(python, build=options.build)
        if "vsphere-test" in options.purposes:
            for program in (VCENTER_SIMULATOR, VSPHERE):
                ensure_program(program, python)
        write_environment(python, pulumi)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if LOG.worked or not LOG.brief:
        say(f"set-up done in {time.monotonic() - started:.1f} s; in a shell: . scripts/environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())

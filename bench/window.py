"""How long the window takes: the article's sequence run as a script, next to this project's switch by each transfer method,
and the rollback next to the original's own start. One run, one lab of containers: `bench/window --name LAB`.

The window begins when users are let out and ends when the first new management server serves; the rollback begins with the command and ends when
the original answers a signed call. All times are of this computer's monotonic clock, or of the journal's lines, which it wrote.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench import outage
from bench.timed import LIMIT, agents_up, answering, back, switch
from lab import network, stack
from lab.bringup import plan
from lab.database import describe
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import Sessions, in_parallel, sessions
from lab.machines import KVM_HOSTS, NEW_MANAGEMENT, NEW_SOURCE, OLD_MANAGEMENT, OLD_REPLICA, OLD_SOURCE, Machine
from lab.progress import say, until
from parallel_build.cloudstack import setup
from parallel_build.cloudstack.properties import DB_PROPERTIES
from parallel_build.cloudstack.services import MANAGEMENT, USAGE
from parallel_build.configuration import Phase
from parallel_build.database.copy import copy
from parallel_build.machines.container import namespace
from parallel_build.project import PROJECT
from parallel_build.remote.sql import session

SCHEMAS = ["cloud", "cloud_usage"]
OVERHEAD_LIMIT = 10.0  # seconds: what the window, and the rollback, may cost beyond the clouds' own stop, start and schema upgrade


class Parts:
    """Seconds by part, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time one part."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        say(f"  {name}: {self.seconds[name]:.1f} s")

    def document(self) -> dict[str, Any]:
        """Parts and their sum."""
        return {"parts": self.seconds, "seconds": round(sum(self.seconds.values()), 2)}


class Script:
    """The article's sequence as an operator would script it: one command after the other, over SSH, data through dump files."""

    def __init__(self, lab: Lab, opened: Sessions, steps: list[dict[str, Any]]) -> None:
        self.lab, self.opened, self.steps = lab, opened, steps
        self.management = lab.options().management

    def forward(self) -> dict[str, Any]:
        """Stop, dump, copy, import, stop the old database, point, set up, start; until the new side answers."""
        parts = Parts()
        with parts.part("old stop"):
            self._stop_original()
        with parts.part("dump"):
            self._sh(OLD_SOURCE, f"mariadb-dump --single-transaction --routines --databases {' '.join(SCHEMAS)} >/root/bench.sql")
        with parts.part("copy the dump"):
            self._copy(OLD_SOURCE, NEW_SOURCE, "/root/bench.sql")
        with parts.part("import"):
            self._sh(NEW_SOURCE, "mariadb </root/bench.sql")
        with parts.part("old database stop"):
            for machine in (OLD_REPLICA, OLD_SOURCE):
                self._sh(machine, "systemctl disable --now mariadb")
        with parts.part("host setting"):
            addresses = ",".join(machine.address for machine in (*NEW_MANAGEMENT[: self.management], *OLD_MANAGEMENT[: self.management]))
            self._sh(
                NEW_SOURCE,
                f"mariadb -e \"UPDATE cloud.configuration SET value='{addresses}' WHERE name='host'; UPDATE cloud.mshost SET state='Down'\"",
            )
        with parts.part("hypervisor steps"):
            for step in self.steps:
                for machine in KVM_HOSTS:
                    self._sh(machine, shlex.join(step["command"]))
        with parts.part("set up"):
            self._set_up(NEW_MANAGEMENT[0])
        with parts.part("new start and schema upgrade"):
            self._sh(NEW_MANAGEMENT[0], f"systemctl unmask {MANAGEMENT} && systemctl start {MANAGEMENT}")
            answering(self.lab, NEW_MANAGEMENT[0])
        return parts.document()

    def back(self) -> dict[str, Any]:
        """New side down, the original on again; until it answers. What is its own start and what is not is told apart."""
        parts = Parts()
        with parts.part("new stop"):
            self._sh(NEW_MANAGEMENT[0], f"systemctl disable {MANAGEMENT}; systemctl mask --now {MANAGEMENT}")
        with parts.part("original's own start"):
            for machine in (OLD_SOURCE, OLD_REPLICA):
                self._sh(machine, "systemctl enable --now mariadb")
            for machine in OLD_MANAGEMENT[: self.management]:
                self._sh(machine, f"systemctl enable --now {MANAGEMENT}")
            answering(self.lab, OLD_MANAGEMENT[0])
        return parts.document()

    def tidy(self) -> None:
        """Leave the lab as the script found it."""
        for step in reversed(self.steps):
            in_parallel(lambda machine: self._sh(machine, shlex.join(step["reverse"])), KVM_HOSTS)  # noqa: B023 - used at once
        self._sh(OLD_MANAGEMENT[0], f"systemctl enable --now {USAGE}")
        setup.undo_setup(self.opened[NEW_MANAGEMENT[0]])
        copy.empty(self.opened[NEW_SOURCE], SCHEMAS)
        for machine in (OLD_SOURCE, NEW_SOURCE):
            self._sh(machine, "rm -f /root/bench.sql")

    def _stop_original(self) -> None:
        for number, machine in enumerate(OLD_MANAGEMENT[: self.management]):
            units = [USAGE, MANAGEMENT] if number == 0 else [MANAGEMENT]
            for unit in units:
                self._sh(machine, f"systemctl disable --now {unit}")

    def _set_up(self, machine: Machine) -> None:
        secrets = self.lab.secrets()
        encryptor = describe(plan(self.lab, self.lab.options())).secrets.encryptor
        words = [
            "cloudstack-setup-databases", f"cloud:{secrets.must('cloud_password').reveal()}@{NEW_SOURCE.address}", "-e", "file",
            "-m", secrets.must("management_key").reveal(), "-k", secrets.must("database_key").reveal(), "-g", encryptor, "-i", machine.address,
        ]  # fmt: skip
        shipped = f"test -e {setup.SHIPPED} || cp -p {DB_PROPERTIES} {setup.SHIPPED}"
        self._sh(machine, f"{shipped}; {shlex.join(words)} && cloudstack-setup-management --no-start")

    def _copy(self, source: Machine, target: Machine, path: str) -> None:
        one, other = self.opened[source], self.opened[target]
        reader = subprocess.Popen(["ssh", *one.options(), one.destination, f"cat {path}"], stdout=subprocess.PIPE)
        subprocess.run(["ssh", *other.options(), other.destination, f"cat >{path}"], stdin=reader.stdout, check=True, timeout=LIMIT)
        if reader.wait(LIMIT):
            raise LabError(f"{path} could not be read on {source.name}", "", "")

    def _sh(self, machine: Machine, command: str) -> None:
        self.opened[machine].script(command + "\n", timeout=LIMIT)


def run(lab: Lab, methods: list[str], way: str) -> dict[str, Any]:
    """Everything once, on a lab in phase prepared."""
    config = yaml.safe_load(lab.stack_file.read_text())["config"]
    steps: list[dict[str, Any]] = config.get(f"{stack.PROJECT_NAME}:hypervisorSteps") or []
    result: dict[str, Any] = {}
    with sessions(lab) as opened:
        script = Script(lab, opened, steps)
        with session(opened[OLD_SOURCE]) as database:
            size = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA IN %s"
            result["bytes"] = int(database.value(size, [SCHEMAS]) or 0)
        say("the article's sequence as a script")
        result["script"] = {"forward": script.forward(), "back": script.back()}
        script.tidy()
        until("agents on the original", lambda: agents_up(lab), timeout=120)
    for method in methods:
        say(f"this project, transfer: {method}")
        stack.configure(lab, "transfer.method", method)
        stack.set_phase(lab, Phase.PREPARED)
        stack.up(lab)
        result[method] = {"forward": switch(lab), "back": back(lab, way)}
        until("agents on the original", lambda: agents_up(lab), timeout=120)
    return result


def ratios(result: dict[str, Any], methods: list[str]) -> dict[str, dict[str, float]]:
    """Of each method: window and rollback to the script's, and seconds of the rollback beyond the original's own start in the same run."""
    script = result["script"]
    own = script["back"]["parts"]["original's own start"]
    return {
        method: {
            "window": round(result[method]["forward"]["seconds"] / script["forward"]["seconds"], 3),
            "back": round(result[method]["back"]["seconds"] / script["back"]["seconds"], 3),
            "back over start": round(result[method]["back"]["seconds"] - own, 2),
        }
        for method in methods
    }


def table(result: dict[str, Any], methods: list[str]) -> str:
    """The figures next to each other, with ratios to the script."""
    script, own = result["script"], result["script"]["back"]["parts"]["original's own start"]
    lines = [
        f"database: {result['bytes'] / 1e6:.0f} MB",
        f"{'':16}{'window':>10}{'to script':>10}{'overhead':>10}{'back':>10}{'to script':>10}{'over start':>11}",
        f"{'script':16}{script['forward']['seconds']:>8.1f} s{1:>10.2f}{'':>10}{script['back']['seconds']:>8.1f} s{1:>10.2f}{'':>11}",
    ]
    for method in methods:
        forward, back, ratio = result[method]["forward"], result[method]["back"], result["ratios"][method]
        lines.append(
            f"{method:16}{forward['seconds']:>8.1f} s{ratio['window']:>10.2f}{forward['overhead']:>8.1f} s"
            f"{back['seconds']:>8.1f} s{ratio['back']:>10.2f}{ratio['back over start']:>9.1f} s"
        )
    lines.append(
        f"the original's own start took {own:.1f} s; limits: {OVERHEAD_LIMIT:.0f} s of overhead with replicate, and over that start"
    )
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    """`1,50` as numbers, for argparse."""
    return [int(part) for part in text.split(",")]


def _orders(text: str) -> list[str]:
    """`first,accepted` as a list, for argparse."""
    if unknown := set(text.split(",")) - set(outage.ORDERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(outage.ORDERS)}")
    return text.split(",")


def main(words: list[str] | None = None) -> int:
    """0 when the limits hold, 1 when not."""
    parser = argparse.ArgumentParser(prog="bench/window", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="bench", help="the lab's name (default: bench); made where it is not there, and kept")
    parser.add_argument("--rows", type=int, help="rows of each big table of a lab that is made")
    parser.add_argument("--methods", default="dump,replicate", help="comma-separated (default: dump,replicate)")
    parser.add_argument("--back", choices=("back", "up"), default="back", help="the command `back`, or `pulumi up` (default: back)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    several = parser.add_argument_group("how long users are out, instead", "one lab NAME-N for each number of networks; medians count")
    several.add_argument("--networks", type=_numbers, metavar="N,N", help="with so many further networks in use, such as 1,50,500")
    several.add_argument("--runs", type=int, default=3, help="of each size and order (default: 3)")
    several.add_argument(
        "--order", type=_orders, default=list(outage.ORDERS), metavar="ORDERS", help="values of window.usersIn (default: first,accepted)"
    )
    several.add_argument("--calls", type=int, default=0, help="calls of users through each window, by three kinds of clients (default: 0)")
    arguments = parser.parse_args(words)
    if arguments.networks:
        return outage.run(arguments.name, arguments.networks, arguments.order, max(1, arguments.runs), arguments.calls, arguments.json)
    lab, methods = Lab(arguments.name), arguments.methods.split(",")
    made = ["--rows", str(arguments.rows)] if arguments.rows else []
    subprocess.run([sys.executable, "-m", "lab", "--name", lab.name, "up", "--hosts", "containers", *made], cwd=PROJECT, check=True)
    if not network.exists(lab):
        raise LabError(f"lab {lab.name} does not run", "", "scripts/lab up")
    namespace.enter(lab.namespace)
    result = run(lab, methods, arguments.back)
    result |= {"methods": methods, "rollback": arguments.back, "ratios": ratios(result, methods)}
    print(table(result, methods))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    good = all(result["ratios"][method]["back over start"] <= OVERHEAD_LIMIT for method in methods)
    if "replicate" in methods:
        good = good and result["replicate"]["forward"]["overhead"] <= OVERHEAD_LIMIT
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""The lab's part of a replay: each move of a drawn sequence made with what operators and machines really have, and what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lab import stack
from lab.chaos import injuries, watching
from lab.chaos.run import Run
from lab.errors import LabError
from lab.files import Lab
from lab.hosts import sessions
from lab.machines import KVM_HOSTS, everything
from lab.progress import until
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import machine as container
from parallel_build.operations.hosts_back import CONNECTED, peers
from parallel_build.remote.frame import FOLDER
from tests.containers.replay_world import Outcome, Step
from tests.fast.window_world import ADDRESSES
from tools.cache import write_atomically

MACHINES = {machine.name: machine for machine in everything(2)}
OLD, NEW = ("oldms1", "oldms2"), ("newms1", "newms2")
RECORDS = {"olddb1": f"{FOLDER}/window.json", "newdb1": f"{FOLDER}/window-copy.json"}
UNIT, AGENT = "cloudstack-management", "cloudstack-agent"
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d/replay.conf"
TABLE = "replay"
VERBS = {"agent stops": "stop", "agent starts": "start", "agent loses its server": "restart"}
LIMIT, SETTLED = 420.0, 45.0
RESTORE, EARLIER = re.compile(r"--restore-record (\w+)"), re.compile(r"cp -p (\S+) (\S+?);? ")


class ReplayLab:
    """A lab that was switched, with two operators' places: `a` drives Pulumi, `b` and `c` have the stack file on other computers.

    Args:
        lab: up; the caller is inside its network.
        log: file that every command's output is appended to.
    """

    def __init__(self, lab: Lab, log: Path) -> None:
        self.lab, self.log = lab, log
        self.plain = lab.stack_file.read_bytes()
        self.silent: frozenset[str] = frozenset()
        self.failing: frozenset[str] = frozenset()
        self.hung = False
        self.files: tuple[Any, ...] = ()
        self._write_files((), ())

    # What is not an operator's command

    def follow(self, step: Step) -> None:
        """Make the machines and the stack files what they are in the world by now."""
        self._power(step.off)
        self._silence(step.silent)
        for name in step.failing ^ self.failing:
            words = f"mkdir -p {Path(DROP_IN).parent}; printf '[Service]\\nExecStartPre=/bin/false\\n' >{DROP_IN}"
            self._shell(name, f"{words if name in step.failing else f'rm -f {DROP_IN}'}; systemctl daemon-reload")
        self.failing = step.failing
        if step.hangs != self.hung and "newdb1" not in step.off:
            self.hung = step.hangs
            self._shell("newdb1", f"pkill -{'STOP' if self.hung else 'CONT'} mariadbd || true")
        if (step.confirmed, step.dropped) != self.files:
            self._write_files(step.confirmed, step.dropped)

    def _power(self, off: frozenset[str]) -> None:
        for name in ("newms1", "newms2", "newdb1"):
            runs = container.running(self.lab.new, name)
            if runs and name in off:
                injuries.power_off(self.lab, MACHINES[name])
            elif not runs and name not in off:
                self._silence(self.silent - {name})
                injuries.power_on(self.lab, MACHINES[name])

    def _silence(self, names: Iterable[str]) -> None:
        """Servers that no operator reaches: nothing leaves for them from here. Between machines all is as it was."""
        self.silent = frozenset(names)
        self.drop(self.silent)

    @staticmethod
    def drop(names: frozenset[str]) -> None:
        """Let nothing out to these machines."""
        subprocess.run(["nft", "-f", "-"], input=rules(names), text=True, check=True, timeout=30)

    def _write_files(self, confirmed: tuple[str, ...], dropped: tuple[str, ...]) -> None:
        self.files = (confirmed, dropped)
        document = yaml.safe_load(self.plain)
        config: dict[str, Any] = document["config"]

        def section(name: str) -> Any:
            return config[f"{stack.PROJECT_NAME}:{name}"]

        phase = stack.phase(self.lab)
        section("window")["confirmedDown"] = list(confirmed)
        config[f"{stack.PROJECT_NAME}:phase"] = phase.value
        write_atomically(self.lab.stack_file, yaml.safe_dump(document, sort_keys=False), 0o600)
        for side in ("original", "new"):
            section(side)["management"] = [each for each in section(side)["management"] if each["name"] not in dropped]
        section("platforms")["container"]["folder"] = str(self.lab.folder / "on-another-computer")
        for operator in ("b", "c"):
            place = self._file(operator)
            place.parent.mkdir(exist_ok=True)
            config[f"{stack.PROJECT_NAME}:runs"] = str(place.parent / "runs")
            write_atomically(place, yaml.safe_dump(document, sort_keys=False), 0o600)

    def _file(self, operator: str) -> Path:
        return self.lab.folder / f"replay-{operator}" / self.lab.stack_file.name

    def agent(self, kind: str, host: str) -> None:
        """An agent is stopped, started, or loses its server."""
        self._shell(host, f"systemctl {VERBS[kind]} {AGENT}")

    def tear(self, host: str) -> None:
        """Half of a host's copy of the record is lost."""
        path = RECORDS[host]
        self._shell(host, f"truncate -s $(($(stat -c %s {path}) / 2)) {path}")

    # Commands

    def command(self, kind: str, how: str, at: int, other: str) -> bool | None:
        """Run a command; whether it came to its end. None where it died or slept."""
        if kind == "reopen":  # a state that has not gone back with the window is refused
            self._begin("undo", "b").end(LIMIT)
            self._unlock()
        run = self._begin(kind, "b")
        if how == "ends":
            run.end(LIMIT)
            return self._ended(run)
        lines = 2 + at // 4
        until(f"line {lines} of {kind}", lambda: run.over() or run.printed().count("\n") >= lines, timeout=LIMIT, interval=0.1)
        self._signal(run, signal.SIGKILL if how == "dies" else signal.SIGSTOP)
        if how == "sleeps":
            try:
                self._begin(other, "c").end(LIMIT)
            finally:
                self._signal(run, signal.SIGCONT)
        run.end(LIMIT)
        self._unlock()
        return None

    def _begin(self, kind: str, operator: str) -> Run:
        if kind == "back":
            return self._tool(operator, "back", stack.STACK, "--without-pulumi")
        if kind == "another state":
            return self._tool(operator, "back", stack.STACK, "--window", "another")
        stack.set_phase(self.lab, Phase.PREPARED if kind == "undo" else Phase.SWITCHED)
        return Run(self.lab, self.log)

    def _tool(self, operator: str, *words: str) -> Run:
        named = stack.tool_words(self.lab, words)
        named[named.index("--config-file") + 1] = str(self._file(operator))
        return Run(self.lab, self.log, named)

    def _ended(self, run: Run) -> bool:
        self._unlock()
        return run.process.returncode == 0

    def _signal(self, run: Run, number: signal.Signals) -> None:
        """Give a signal to a command with all that it has started."""
        for pid in () if run.over() else (run.process.pid, *watching.descendants(run.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _unlock(self) -> None:
        if list((self.lab.backend / ".pulumi" / "locks").rglob("*.json")):
            stack.cancel(self.lab)

    def way_out(self) -> list[str]:
        """`back`, with what its messages ask for; what it refuses with at the end, empty where it came to its end."""
        printed = ""
        for _ in range(4):
            run = self._begin("back", "b")
            run.end(LIMIT)
            printed = run.printed()
            if run.process.returncode == 0:
                return []
            if asked := RESTORE.search(printed):
                self._tool("b", "recover", stack.STACK, "--restore-record", asked[1]).end(LIMIT)
            elif asked := EARLIER.search(printed):
                self._shell("olddb1", f"cp -p {asked[1]} {asked[2]}")
        return run.errors()

    def heal(self) -> None:
        """Every server can be reached again."""
        self._silence(())

    # What became of it

    def outcome(self, ended: bool | None) -> Outcome:
        """Asked of the machines themselves, as if no operator were cut off."""
        self.drop(frozenset())
        try:
            with sessions(self.lab) as opened:
                running = [name for name in (*OLD, *NEW) if self._on(name) and self._runs(opened[MACHINES[name]])]
                texts = [opened[MACHINES[host]].read(path) for host, path in RECORDS.items() if self._on(host)]
        finally:
            self.drop(self.silent)
        old, new = (tuple(name for name in side if name in running) for side in (OLD, NEW))
        return Outcome(old, new, phase_of(texts), ended)

    def _on(self, name: str) -> bool:
        return name not in ("newms1", "newms2", "newdb1") or container.running(self.lab.new, name)

    @staticmethod
    def _runs(host: Any) -> bool:
        return str(host.run(["systemctl", "is-active", UNIT], timeout=30, ok=None).stdout).strip() == "active"

    def agents(self) -> dict[str, str]:
        """The side that each host's agent is connected to; empty for none."""
        self.drop(frozenset())
        found = {}
        try:
            with sessions(self.lab) as opened:
                for host in KVM_HOSTS:
                    names = [ADDRESSES[end] for end in peers(opened[host].run(CONNECTED).stdout) if end in ADDRESSES]
                    found[host.name] = {"old": "original", "new": "new"}.get(names[0][:3], "") if names else ""
        finally:
            self.drop(self.silent)
        return found

    def _shell(self, name: str, words: str) -> None:
        """Run a shell command on a machine, whoever is cut off."""
        self.drop(frozenset())
        try:
            with sessions(self.lab) as opened:
                opened[MACHINES[name]].run(["sh", "-c", words], timeout=120)
        finally:
            self.drop(self.silent)


def rules(names: Iterable[str]) -> str:
    """What nft reads to let nothing out to these machines, and everything to all others."""
    addresses = ", ".join(sorted(MACHINES[name].address for name in names))
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}"]
    if addresses:
        chain = ["chain out {", "type filter hook output priority 0;", f"ip daddr {{ {addresses} }} drop", "}"]
        lines += [f"table inet {TABLE} {{", *chain, "}"]
    return "\n".join(lines) + "\n"


def phase_of(texts: list[bytes | None]) -> str:
    """What the newest copy of the record says that can be read."""
    known = []
    for text in texts:
        try:
            known.append(json.loads((text or b"").splitlines()[0]))
        except (ValueError, IndexError):
            continue
    if not known:
        return "unknown"
    newest = max(known, key=lambda each: (each.get("number", 0), each.get("token", 0), each.get("revision", 0)))
    return "closed" if newest.get("closed") else "returning" if newest.get("returning") else "open"


def settled(lab: ReplayLab, wanted: Outcome, ended: bool | None, *, subset: bool) -> Outcome:
    """The outcome, once it is the one that is wanted, or for good.

    Args:
        subset: management servers of the new side that lost their database may have ended.
    """
    found = [lab.outcome(ended)]

    def same() -> bool:
        with contextlib.suppress(ParallelBuildError):  # one that boots
            found[0] = lab.outcome(ended)
        return agrees(found[0], wanted, subset=subset)

    try:
        until("the lab to be as the world is", same, timeout=SETTLED, interval=2)
    except (LabError, ParallelBuildError):
        return found[0]
    return found[0]


def agrees(found: Outcome, wanted: Outcome, *, subset: bool) -> bool:
    """Whether two outcomes are one."""
    new = set(found.new) <= set(wanted.new) if subset else found.new == wanted.new
    return new and (found.original, found.record, found.ended) == (wanted.original, wanted.record, wanted.ended)

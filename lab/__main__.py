"""`scripts/lab`: a whole CloudStack cloud on this computer, and its upgrade next to it, to try, to test and to fail on purpose."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lab import bringup, checksums, faults, network, points, stack, status, takedown, verification
from lab.database import ORIGINS
from lab.errors import LabError
from lab.files import Lab, Options
from lab.hosts import log_in, named, sessions
from lab.machines import ALL_KVM_HOSTS
from lab.packages import NEW, NEWEST, PackagingError
from lab.progress import Times, say
from parallel_build.configuration import Phase
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import namespace
from parallel_build.secret import Secret
from tools.errors import ToolError

EXIT_FAILED = 1
EXIT_DIFFERENT = 3


def main(words: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded."""
    arguments = _parser().parse_args(words)
    try:
        if os.geteuid() != 0:
            raise LabError("the lab can't be used", "it makes network namespaces, mounts and machines", "run it as root")
        command: Callable[[Lab, argparse.Namespace], int] = arguments.run
        return command(Lab(arguments.name), arguments)
    except (ParallelBuildError, ToolError, PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
    except subprocess.SubprocessError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command again resumes there", file=sys.stderr)
    return EXIT_FAILED


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    with _alone(lab):
        times = bringup.up(lab, _options(lab, arguments), _given(arguments))
        say(f"lab {lab.name} is up, phase {stack.phase(lab)}\n{times.summary()}")
    return 0


def _demo(lab: Lab, arguments: argparse.Namespace) -> int:
    with _alone(lab):
        times = bringup.up(lab, _options(lab, arguments), _given(arguments))
        _go(lab, Phase.SWITCHED, times)
        with times.stage("verification"), sessions(lab) as opened:
            found = status.read(lab, opened)
            verification.switched(found, opened)
        print(status.text(found))
        say(times.summary())
    say(_NEXT)
    return 0


def _switch(lab: Lab, arguments: argparse.Namespace) -> int:
    return _to(lab, Phase.SWITCHED)


def _back(lab: Lab, arguments: argparse.Namespace) -> int:
    return _to(lab, Phase.PREPARED)


def _retire(lab: Lab, arguments: argparse.Namespace) -> int:
    return _to(lab, Phase.RETIRED)


def _to(lab: Lab, phase: Phase) -> int:
    times = Times()
    with _alone(lab):
        _inside(lab)
        _go(lab, phase, times)
    say(times.summary())
    return 0


def _go(lab: Lab, phase: Phase, times: Times) -> None:
    stack.set_phase(lab, phase)
    with times.stage(f"pulumi up: {phase}"):
        stack.up(lab)


def _destroy(lab: Lab, arguments: argparse.Namespace) -> int:
    times = Times()
    with _alone(lab):
        _inside(lab)
        with times.stage("pulumi destroy"):
            stack.destroy(lab)
        bringup.forget_stack(lab)
    if arguments.all:
        return _down(lab, arguments)
    return 0


def _down(lab: Lab, arguments: argparse.Namespace) -> int:
    takedown.down(lab)
    return 0


def _snapshot(lab: Lab, arguments: argparse.Namespace) -> int:
    times, options = Times(), lab.options()
    with _alone(lab):
        _inside(lab)
        with times.stage("the machines are switched off and copied"):
            point = points.take(lab, arguments.point, stack.phase(lab))
        times.stages += bringup.up(lab, options, {}).stages
    print(points.words([point]))
    say(times.summary())
    return 0


def _restore(lab: Lab, arguments: argparse.Namespace) -> int:
    times = Times()
    with _alone(lab):
        with times.stage(f"the lab is put back to {arguments.point}"):
            points.restore(lab, arguments.point)
        times.stages += bringup.up(lab, lab.options(), {}).stages
    say(f"lab {lab.name} is as it was at {arguments.point}, phase {stack.phase(lab)}\n{times.summary()}")
    return 0


def _points(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.remove:
        with _alone(lab):
            points.remove(lab, arguments.remove)
    print(points.words(points.points(lab)))
    return 0


def _status(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    with sessions(lab) as opened:
        found = status.read(lab, opened)
    print(json.dumps(found.document(), indent=1) if arguments.json else status.text(found))
    return 0


def _verify(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    with sessions(lab) as opened:
        print(status.text(verification.settled(lab, opened, _CHECKS[arguments.side], arguments.patience)))
    return 0


def _shell(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    terminal = ["-t"] if not arguments.command and sys.stdin.isatty() else []
    with log_in(lab, arguments.host, *terminal) as words:
        return subprocess.run([*words, *arguments.command], check=False).returncode


def _pulumi(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    return stack.pulumi(lab, stack.pulumi_words(lab, arguments.words))


def _tool(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    return stack.tool(lab, arguments.words)


def _fault(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    machine = named(lab, arguments.host)
    with sessions(lab) as opened:
        key, value = arguments.key, arguments.value
        found = faults.read(opened, machine) if key is None else faults.change(opened, machine, key, value)
    print(json.dumps(found, indent=1))
    return 0


def _checksums(lab: Lab, arguments: argparse.Namespace) -> int:
    _inside(lab)
    with sessions(lab) as opened:
        found = checksums.read(opened)
    if arguments.compare is None:
        print(json.dumps(found, indent=1))
        return 0
    differences = checksums.compare(arguments.compare, found, arguments.destroyed)
    print(json.dumps(differences.document(), indent=1))
    return EXIT_DIFFERENT if differences.different else 0


def _inside(lab: Lab) -> None:
    lab.options()
    if not network.exists(lab):
        raise LabError(f"lab {lab.name} does not run", "its network namespace is not there", "bring it up: scripts/lab up")
    namespace.enter(lab.namespace)


@contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    """One changing command a lab at a time."""
    lab.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (lab.folder.parent / f".{lab.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another command works on lab {lab.name}", "", "wait for its end") from None
        yield


def _options(lab: Lab, arguments: argparse.Namespace) -> Options:
    """What the lab is to be: what is given now, else what was given when it was begun, else the defaults."""
    base = lab.options() if lab.exists() else Options()
    given = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    for name in ("dump", "usage_dump"):
        if given[name]:
            given[name] = str(Path(given[name]).resolve())
    options = Options(**{name: getattr(base, name) if value is None else value for name, value in given.items()})
    if options.containers_only and given["hosts"] is None and not lab.exists():
        return replace(options, hosts="containers")
    return options


def _given(arguments: argparse.Namespace) -> dict[str, Secret | None]:
    words = {
        "database_key": arguments.database_key,
        "original_management_key": arguments.management_key,
        "original_api_key": arguments.api_key,
        "original_api_secret": arguments.api_secret,
    }
    return {name: _secret(value) if value else None for name, value in words.items()}


def _secret(word: str) -> Secret:
    """A secret as given, or the first line of a file: `@FILE`, so that it need not be seen in a list of processes."""
    return Secret(Path(word[1:]).read_text().splitlines()[0] if word.startswith("@") else word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/lab", description=__doc__)
    parser.add_argument("--name", default="default", help="the lab's name; several may exist at once (default: default)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Lab, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        # After the command as well; without a default, or it would overwrite what stood before it.
        sub.add_argument("--name", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(run=run)
        return sub

    for name, run, text in (
        ("up", _up, "build the original cloud and the new servers next to it, up to the phase prepared"),
        ("demo", _demo, "up, switch, and check that the new servers serve"),
    ):
        _add_options(command(name, run, text))
    command("switch", _switch, "switch to the new servers: phase switched")
    command("back", _back, "switch back to the original: phase prepared")
    command("retire", _retire, "end the rollback window: phase retired")
    sub = command("destroy", _destroy, "pulumi destroy: roll everything back, the original stays")
    sub.add_argument("--all", action="store_true", help="then take the whole lab down")
    sub = command(
        "snapshot", _snapshot, "take a rollback point: every machine, its databases, and the stack's state; machines are off meanwhile"
    )
    sub.add_argument("point")
    sub = command("restore", _restore, "put everything back to a rollback point, as often as wanted")
    sub.add_argument("point")
    sub = command("points", _points, "list the rollback points")
    sub.add_argument("--remove", metavar="POINT", help="remove this one first")
    command("down", _down, "take the whole lab down, the original too, whatever state it is in")
    sub = command("status", _status, "which side serves, versions, agents, system VMs, replication")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = command("verify", _verify, "prove that a side serves whole: versions, users, agents, system VMs, replication")
    sub.add_argument("side", choices=tuple(_CHECKS))
    sub.add_argument(
        "--patience", type=float, default=verification.PATIENCE, metavar="SECONDS", help="how long agents may take to connect (default: 60)"
    )
    sub = command("shell", _shell, "log in to a machine, or run a command on it")
    sub.add_argument("host")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = command("pulumi", _pulumi, "run a Pulumi command on the lab's stack, inside its network")
    sub.add_argument("words", nargs=argparse.REMAINDER)
    sub = command("tool", _tool, "run `parallel-build` on the lab's stack (named lab), inside its network")
    sub.add_argument("words", nargs=argparse.REMAINDER)
    sub = command("fault", _fault, "set, remove (without VALUE) or show (without KEY) a fault on a machine")
    sub.add_argument("host")
    sub.add_argument("key", nargs="?")
    sub.add_argument("value", nargs="?")
    sub = command("checksums", _checksums, "checksum of every table of the original's databases")
    sub.add_argument(
        "--compare", type=Path, metavar="FILE", help="what an earlier `checksums` printed; exit code 3 if a row differs that may not"
    )
    sub.add_argument("--destroyed", action="store_true", help="a `destroy` came since: what prepared had set may have been taken back")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hosts",
        choices=("libvirt", "containers"),
        help="what the new machines are (default: libvirt, or containers where an option is for those only)",
    )
    parser.add_argument("--management", type=int, choices=(1, 2), help="management servers on each side (default: 2)")
    parser.add_argument(
        "--one-server",
        choices=("original", "both"),
        help="one machine for management, usage and database, on the original or on both sides (containers only)",
    )
    parser.add_argument(
        "--galera", action="store_const", const=True, help="the original's databases are three nodes of a Galera cluster (containers only)"
    )
    parser.add_argument(
        "--family",
        choices=("debian", "el"),
        help="what the original's systems are like; el is a shape of Enterprise Linux (default: debian)",
    )
    parser.add_argument("--new-family", choices=("debian", "el"), help="and those of the new servers (default: the original's)")
    parser.add_argument("--transfer", choices=("dump", "replicate"), help="how the databases are brought over (default: dump)")
    parser.add_argument("--database", choices=("mariadb", "mysql"), help="server family of the original's databases (default: mariadb)")
    parser.add_argument("--new-database", choices=("mariadb", "mysql"), help="and of the new ones (default: the original's)")
    parser.add_argument(
        "--original", choices=ORIGINS,
        help="how the original's databases came about: by CloudStack's statements, from a dump, or from an older program's dump (default: created)",
    )  # fmt: skip
    parser.add_argument("--rows", type=int, metavar="N", help="rows of each big table of the generated database")
    parser.add_argument(
        "--networks",
        type=int,
        metavar="N",
        help="further networks in use, each with a running router (default: 0, besides the three that there are)",
    )
    parser.add_argument(
        "--kvm-hosts", type=int, choices=range(2, len(ALL_KVM_HOSTS) + 1), metavar="N", help="KVM hosts of the original (default: 2)"
    )
    parser.add_argument(
        "--rehearsal", action="store_const", const=True, help="with a server that the upgrade is rehearsed on, out of reach of all others"
    )
    parser.add_argument(
        "--agents", action="store_const", const=True, help="bring agents to the new version by the wave of `agents.upgrade`"
    )
    parser.add_argument("--target", choices=(NEW, NEWEST), help="version of the new servers (default: 4.22.1.0)")
    parser.add_argument("--move", action="store_const", const=True, help="to new servers of the same version, without an upgrade")
    parser.add_argument("--seed", type=int, help="seed of the generated database (default: 1)")
    parser.add_argument("--disks", action="store_true", default=None, help="containers have a disk of their own, which may become full")
    parser.add_argument("--dump", metavar="FILE", help="use this dump as the original's database: .sql, .gz, .xz, .zst")
    parser.add_argument("--usage-dump", metavar="FILE", help="dump of cloud_usage, where --dump has only cloud")
    parser.add_argument(
        "--database-key", metavar="KEY", help="database secret key of the dump; @FILE reads it from a file, as with the other secrets"
    )
    parser.add_argument("--management-key", metavar="KEY", help="management secret key of the original (default: random)")
    parser.add_argument("--api-key", metavar="KEY", help="API key of a root administrator in the dump")
    parser.add_argument("--api-secret", metavar="SECRET", help="and its secret")


_CHECKS = {"original": verification.original, "new": verification.switched}
_NEXT = """
What to try next:
  scripts/lab status                    which side serves, and everything else
  scripts/lab shell newms1              log in to a machine
  scripts/lab pulumi preview --diff     the change review
  scripts/lab back                      switch back to the original; scripts/lab verify original proves it
  scripts/lab switch                    and over again
  scripts/lab destroy                   roll everything back; scripts/lab down removes the whole lab"""


if __name__ == "__main__":
    sys.exit(main())

"""`parallel-build` on a whole cloud in containers: hold points, ^C, the deadline, two operators, a lost state, another workstation.

About four minutes besides the lab's own start. Prints what it does.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.chaos.watching import hold, provider_of, release
from parallel_build.project import PROJECT
from tests.containers.conftest import LabRunner, tell
from tests.containers.original_proof import assert_original_serves

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

# Several stacks open the window at once; one line for each: won, or the words of its refusal.
RACE = """
import sys, threading
from pathlib import Path
from parallel_build.cancel import CancelToken
from parallel_build.remote.host import Connections
from parallel_build.errors import GuardFailed
from parallel_build.secret import Secret
from parallel_build.resolved_stack import Site
from parallel_build.stack.file import read_site
from parallel_build.records.window import WindowStore
own = read_site("lab", config_file=Path(sys.argv[1]))
def operate(number):
    secrets = own.secrets.model_copy(update={"management_key": Secret(f"anotherkey{number}")})
    site = Site(f"stack{number}", own.configuration, secrets, own.host_keys)
    connections = Connections(site, CancelToken())
    host = connections.host(own.configuration.original.database.source)
    host.run(["true"])
    barrier.wait()
    try:
        WindowStore(host, site).open()
        said.append(f"won {number}")
        winners.append((connections, site))
    except GuardFailed as error:
        said.append(f"refused {error}")
        connections.close()
barrier, winners, said = threading.Barrier(5), [], []
threads = [threading.Thread(target=operate, args=(n,)) for n in range(5)]
[t.start() for t in threads]
[t.join() for t in threads]
print(*said, sep="\\n")
for connections, site in winners:
    store = WindowStore(connections.host(own.configuration.original.database.source), site)
    store.close()
    connections.close()
"""


def environment(lab: LabRunner, **more: str) -> dict[str, str]:
    """The environment of a command on the lab's stack."""
    from lab.files import Lab
    from lab.stack import environment as of

    return {**of(Lab(lab.name)), **more}


def inside(lab: LabRunner, *words: str) -> list[str]:
    """A command inside the lab's network."""
    return ["nsenter", f"--net=/run/netns/cslab-{lab.name}", "--", *words]


def begin(lab: LabRunner, *words: str) -> subprocess.Popen[str]:
    """`parallel-build` in a process that can be signalled."""
    argv = inside(lab, sys.executable, "-m", "parallel_build", "--config-file", str(lab.folder / "Pulumi.lab.yaml"), *words)
    return subprocess.Popen(
        argv, cwd=PROJECT, env=environment(lab), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def await_line(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read on until a line has these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if words in line:
            return lines
    pytest.fail(f"ended without {words!r}: {lines}")


@pytest.fixture(autouse=True)
def original_serving(lab: LabRunner) -> Iterator[None]:
    """Every test begins and ends with the original serving whole in phase prepared: agents come some seconds after the API."""
    assert_original_serves(lab)
    yield
    if "A window is open" in lab.run("tool", "recover", "lab", check=False).stdout:
        lab.run("tool", "back", "lab", check=False)
    # A hold point stays in the stack file until the operator takes it out.
    lab.run("pulumi", "config", "rm", "--path", "window.stopBefore", check=False)


def test_check_holds_and_shows_what_does_not(lab: LabRunner) -> None:
    assert "guards hold" in lab.run("tool", "check", "lab").stdout
    tell("the original's source is made read only, a transaction is left open on it, and a new unit is unmasked")
    lab.run("shell", "olddb1", "mysql -e 'SET GLOBAL read_only = ON'")
    lab.run("shell", "newms1", "systemctl unmask cloudstack-management")
    try:
        done = lab.run("tool", "check", "lab", check=False)
    finally:
        lab.run("shell", "olddb1", "mysql -e 'SET GLOBAL read_only = OFF'")
        lab.run("shell", "newms1", "systemctl mask cloudstack-management")
    assert done.returncode == 1
    for words in ("guards do not hold", "olddb1 is read only", "cloudstack-management on newms1 is not masked"):
        assert words in done.stdout
    refused = lab.run("tool", "check", "nosuch", "--config-file", "/nonexistent", check=False)
    assert refused.returncode == 2
    assert "nothing has been contacted or changed" in refused.stderr


def test_of_operators_that_open_at_one_moment_one_wins(lab: LabRunner) -> None:
    argv = inside(lab, sys.executable, "-c", RACE, str(lab.folder / "Pulumi.lab.yaml"))
    for _ in range(3):
        done = subprocess.run(argv, cwd=PROJECT, env=environment(lab), capture_output=True, text=True, timeout=120, check=False)
        lines = done.stdout.splitlines()
        assert sorted(line.split()[0] for line in lines) == ["refused"] * 4 + ["won"], done
        assert all("is held by stack stack" in line for line in lines if line.startswith("refused"))


def test_hold_point_second_operator_and_a_lost_state(lab: LabRunner) -> None:
    tell("switch to a hold point; a second operator on the same stack meanwhile")
    first = begin(lab, "switch", "lab", "--stop-before", "DatabaseTransfer")
    shown = await_line(first, "reading both sides")
    provider = provider_of(first.pid)
    hold(provider)  # or the first could be done before the second has begun, on a busy computer
    try:
        second = lab.run("tool", "switch", "lab", check=False)
    finally:
        release(provider)
    assert second.returncode == 1
    assert "is locked" in second.stdout and "pulumi cancel" in second.stdout
    rest, _ = first.communicate(timeout=300)
    assert first.returncode == 0, (shown, rest)
    assert "holding before DatabaseTransfer" in rest
    tell("recover explains")
    explained = lab.run("tool", "recover", "lab", check=False)
    assert explained.returncode == 1
    for words in (
        "NEITHER side serves",
        "A window is open: stack lab",
        "done: window, user-access, drain, original-management",
        "oldms1: management down, masked",
    ):
        assert words in explained.stdout
    tell("the state is lost: back from the window's record alone")
    kept = lab.folder / "state-elsewhere"
    (lab.folder / "state").rename(kept)
    try:
        explained = lab.run("tool", "recover", "lab", check=False)
        assert "there is no state of stack lab" in explained.stdout
        found = re.search(r"back lab --window ([0-9a-f]{24})", explained.stdout)
        assert found, "without its state nobody knows that the window is this stack's: " + explained.stdout
        assert "the original serves" in lab.run("tool", "back", "lab", "--window", found[1]).stdout
    finally:
        shutil.rmtree(lab.folder / "state", ignore_errors=True)
        kept.rename(lab.folder / "state")
    assert lab.status()["serving"] == "original"
    assert "ORIGINAL serves" in lab.run("tool", "recover", "lab").stdout
    tell("the state that still knows of the window is led back as well")
    lab.run("tool", "back", "lab")
    assert lab.status()["serving"] == "original"


def test_deadline_passes_and_the_switch_goes_back_by_itself(lab: LabRunner) -> None:
    lab.run("pulumi", "config", "set", "--path", "window.deadline", "3s")
    tell("switch with a deadline of 3 s")
    try:
        done = lab.run("tool", "switch", "lab", "--on-failure", "back", check=False)
    finally:
        lab.run("pulumi", "config", "set", "--path", "window.deadline", "30m")
    assert done.returncode == 1
    for words in ("the window's deadline has passed", "rolling back to the original", "the original is in service again"):
        assert words in done.stdout
    assert_original_serves(lab)  # its agents too, which connect again some seconds after it answers
    assert "guards hold" in lab.run("tool", "check", "lab").stdout


def test_first_interrupt_stops_where_it_is_safe(lab: LabRunner) -> None:
    running = begin(lab, "switch", "lab")
    await_line(running, "stopping cloudstack-management on oldms1")
    tell("^C")
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=300)
    assert running.returncode == 1
    assert "stopping where it is safe" in rest and "stopped where it was safe" in rest
    explained = lab.run("tool", "recover", "lab", check=False).stdout
    assert "NEITHER side serves" in explained or "ORIGINAL serves" in explained
    assert "phase prepared" in explained
    tell("back")
    lab.run("tool", "back", "lab")
    assert lab.status()["serving"] == "original"


def test_a_rollback_that_dies_is_led_to_its_end_and_nothing_goes_forward_until_then(lab: LabRunner) -> None:
    lab.run("tool", "switch", "lab", "--stop-before", "OriginalDatabase")
    going = begin(lab, "back", "lab")
    shown = await_line(going, "cloudstack-management started on")
    assert not [line for line in shown if "pulumi" in line], "the original comes before the state"
    tell("SIGKILL of the rollback, ahead of the state")
    going.kill()
    going.communicate(timeout=60)
    refused = lab.run("tool", "switch", "lab", check=False)
    assert refused.returncode == 1
    assert "a rollback has begun" in refused.stdout
    assert "stopping" not in refused.stdout, "no step has touched the original again"
    explained = lab.run("tool", "recover", "lab", check=False).stdout
    assert "ahead of the state" in explained
    assert "Forward: refused until the rollback" in explained
    tell("the same command again")
    lab.run("tool", "back", "lab")
    assert_original_serves(lab)
    assert "guards hold" in lab.run("tool", "check", "lab").stdout


def test_destroy_from_another_workstation(lab: LabRunner, tmp_path: Path) -> None:
    tell("switch to a hold point, then the workstation is lost")
    lab.run("tool", "switch", "lab", "--stop-before", "OriginalDatabase")
    other, home, keys = tmp_path / "checkout", tmp_path / "home", tmp_path / "keys"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=PROJECT, capture_output=True, check=True
    )
    for name in tracked.stdout.decode().split("\0"):
        if name and (PROJECT / name).exists():
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, other / name, follow_symlinks=False)
    for path in (home, keys):
        path.mkdir(mode=0o700)
    for name in ("id_ed25519", "id_ed25519.pub", "known_hosts", "Pulumi.lab.yaml", "passphrase"):
        (lab.folder / name).rename(keys / name)
    (other / ".venv").symlink_to(Path(sys.prefix))
    before = environment(lab)
    there = {**before, "HOME": str(home), "CUTOVER_LAB": str(keys), "PULUMI_CONFIG_PASSPHRASE_FILE": str(keys / "passphrase"),
             "PULUMI_HOME": before.get("PULUMI_HOME", str(Path("~/.pulumi").expanduser()))}  # fmt: skip
    words = ["pulumi", "destroy", "--yes", "--skip-preview", "--stack", "lab", "--config-file", str(keys / "Pulumi.lab.yaml")]
    try:
        tell("pulumi destroy with another home, another checkout and keys elsewhere")
        done = subprocess.run(
            inside(lab, *words), cwd=other, env=there, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400, check=False
        )
    finally:
        for name in ("id_ed25519", "id_ed25519.pub", "known_hosts", "Pulumi.lab.yaml", "passphrase"):
            (keys / name).rename(lab.folder / name)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert lab.status()["serving"] == "original"
    assert (keys / "runs/lab/journal.jsonl").exists(), "the journal continues where this operator's runs are"
    lab.run("destroy")
    tell("built again")
    lab.run("up", "--hosts", "containers")

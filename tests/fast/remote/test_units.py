"""What systemd is asked, by old ones and new ones, on servers that print more than the answer."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import pytest

from parallel_build.cloudstack import services as services_module
from parallel_build.cloudstack.services import Services
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.operations.fence_new_database import KILL_UNIT, STOP_UNIT
from parallel_build.operations.hosts_back import peers
from parallel_build.operations.original_management import put_back
from parallel_build.project import CODE
from parallel_build.records.touched import Found
from parallel_build.remote.units import properties
from tests.fast.local_host import LocalHost

# systemctl as systemd 219 has it: no --value, no InvocationID; `mysql` is an alias of `mariadb`.
OLD = r"""#!/bin/sh
[ "$1" = show ] || exit 1
unit=$2; shift 2
for word; do case $word in --value) echo "systemctl: unrecognized option '--value'" >&2; exit 1 ;; esac; done
[ "$1" = -p ] && [ $# = 2 ] || exit 1
case $unit in
  mysql|mariadb) id=mariadb; load=loaded; active=active; started=4711 ;;
  *) id=$unit; load=not-found; active=inactive; started=0 ;;
esac
IFS=,
for name in $2; do case $name in
  Id) echo "Id=$id.service" ;;
  LoadState) echo "LoadState=$load" ;;
  ActiveState) echo "ActiveState=$active" ;;
  UnitFileState) echo "UnitFileState=enabled" ;;
  MainPID) echo "MainPID=99" ;;
  ExecMainStartTimestampMonotonic) echo "ExecMainStartTimestampMonotonic=$started" ;;
esac; done
"""


def host(folder: Path, systemctl: str = OLD) -> LocalHost:
    (folder / "systemctl").write_text(systemctl)
    (folder / "systemctl").chmod(0o755)
    return LocalHost(programs=folder)


def test_an_old_systemd_names_the_unit_behind_an_alias(tmp_path: Path) -> None:
    found = Services(host(tmp_path, OLD.replace("mysql|mariadb)", "mysql)")))
    assert found.database_unit() == "mariadb", "an alias can't be masked"
    assert found.state("mysql").active and found.state("mysql").enabled and not found.state("nothing").known


@pytest.mark.parametrize(
    ("usual", "active", "running", "found"),
    [
        ("mysql|mariadb", "active", "rh-mariadb105-mariadb", "mariadb"),  # one that runs is not asked about any other
        ("mysql|mariadb", "inactive", "rh-mariadb105-mariadb", "rh-mariadb105-mariadb"),  # a software collection next to the system's own
        ("nothing", "inactive", "mariadb@cloud", "mariadb@cloud"),
        ("mysql|mariadb", "inactive", "", "mariadb"),  # it is down
        ("mysql|mariadb", "inactive", "unknown-mysql", "mariadb"),  # of a container's own, of which this systemd knows nothing
    ],
)
def test_the_unit_that_runs_the_database_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual: str, active: str, running: str, found: str
) -> None:
    text = OLD.replace("mysql|mariadb)", f"{usual})").replace("active=active", f"active={active}")
    text = text.replace(
        "  *) id=$unit; load=not-found",
        "  rh-*|mariadb@*) id=$unit; load=loaded; active=active; started=1 ;;\n  *) id=$unit; load=not-found",
    )
    monkeypatch.setattr(services_module, "unit_of_server", lambda _: running)
    assert Services(host(tmp_path, text)).database_unit() == found


def test_an_old_systemd_tells_one_start_from_another(tmp_path: Path) -> None:
    services = Services(host(tmp_path))
    first = services.invocation("mariadb")
    host(tmp_path, OLD.replace("4711", "9000"))
    assert first and services.invocation("mariadb") not in ("", first)
    assert services.invocation("cloudstack-usage") == "", "it never ran"


def test_a_new_systemd_names_the_start_itself(tmp_path: Path) -> None:
    new = OLD.replace("  MainPID)", '  InvocationID) echo "InvocationID=abc" ;;\n  MainPID)')
    assert Services(host(tmp_path, new)).invocation("mariadb") == "abc"


def test_no_answer_is_no_state(tmp_path: Path) -> None:
    """Neither `not there` nor `down`."""
    silent = host(tmp_path, "#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    with pytest.raises(StepFailed, match=r"does not tell LoadState, ActiveState of mariadb.*Failed to connect to bus"):
        Services(silent).state("mariadb")
    with pytest.raises(StepFailed, match="does not tell Id"):
        properties(silent, "mariadb", ["Id"])


HEADING = "State      Recv-Q Send-Q Local Address:Port               Peer Address:Port"
LISTENING = (
    "LISTEN     0      128          *:22                       *:*",
    "LISTEN     0      80          :::3306                    :::*",
)


def test_an_old_ss_prints_a_heading_whatever_it_is_asked(tmp_path: Path) -> None:
    """iproute2 3.10 of Enterprise Linux 7 and 4.3 of Ubuntu 16.04 end with an error where they are asked to leave it out."""
    program, text = tmp_path / "ss", "\n".join((HEADING, *LISTENING))
    program.write_text(f"#!/bin/sh\ncase $1 in *H*) echo \"ss: invalid option -- 'H'\" >&2; exit 1;; esac\ncat <<'EOF'\n{text}\nEOF\n")
    program.chmod(0o755)
    assert Services(LocalHost(programs=tmp_path)).listening([22, 3306, 8250]) == {22, 3306}
    heading = "Recv-Q Send-Q Local Address:Port               Peer Address:Port"
    lines = (
        "0      0      10.91.0.21:51234          10.91.0.41:8250",
        "0      0      ::ffff:10.91.0.22:51234          ::ffff:10.91.0.42:8250",
    )
    assert peers("\n".join((heading, *lines))) == {"10.91.0.41", "10.91.0.42"} and peers(heading) == set()


def test_nothing_asks_for_what_an_old_ss_does_not_know() -> None:
    asking = [path for path in (CODE / "parallel_build").rglob("*.py") if re.search(r"\bss\"?,? \"?-[a-zA-Z]*H", path.read_text())]
    # Servers of the new side alone, and where no answer costs nothing.
    assert sorted(path.name for path in asking) == ["facts.py", "isolation.py", "packet_filter.py"]


def test_nothing_asks_systemd_for_bare_values() -> None:
    """systemd 219 knows no `--value`: it prints nothing then, which was taken for an answer."""
    folders = ("parallel_build", "components", "provider")
    tracked = subprocess.run(["git", "ls-files", "-z", *folders], cwd=CODE, capture_output=True, text=True, check=True).stdout.split("\0")
    asking = re.compile(r"systemctl[^\n]*--value|\"--value\"")
    assert [name for name in tracked if name.endswith(".py") and (CODE / name).is_file() and asking.search((CODE / name).read_text())] == []


# A unit whose process ends when it is asked to, or only when it is killed: `$STATE` has whether it runs, `log` what was asked.
STOPPING = r"""#!/bin/sh
echo "$*" >>FOLDER/log
case "$1" in
  stop) [ ENDS = no ] || [ ENDS = never ] || echo inactive >FOLDER/state ;;
  kill) [ ENDS = never ] || echo failed >FOLDER/state ;;
  mask) echo masked >FOLDER/load ;;
  show) [ "$4" = ActiveState ] || { echo "LoadState=$(cat FOLDER/load)"; echo "UnitFileState=masked"; }; echo "ActiveState=$(cat FOLDER/state)" ;;
esac
"""


@pytest.mark.processes
@pytest.mark.parametrize(("ends", "killed"), [("yes", False), ("no", True)])
def test_a_unit_that_does_not_end_in_time_is_killed(tmp_path: Path, ends: str, killed: bool) -> None:
    (tmp_path / "state").write_text("active\n")
    (tmp_path / "load").write_text("loaded\n")
    services = Services(host(tmp_path, STOPPING.replace("FOLDER", str(tmp_path)).replace("ENDS", ends)))
    assert services.stop_and_fence("cloudstack-management", patience=1)
    asked = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("show")]
    before, kill = ["disable cloudstack-management", "stop --no-block cloudstack-management"], ["kill --signal=KILL cloudstack-management"]
    assert asked == [*before, *(kill if killed else []), "mask cloudstack-management", "stop --no-block cloudstack-management"]
    assert not services.stop_and_fence("cloudstack-management", patience=1)


@pytest.mark.processes
def test_a_unit_that_does_not_end_when_it_is_killed_is_not_waited_for(tmp_path: Path) -> None:
    """A process that waits for a disk that is gone: systemd has it end for three minutes, and then calls the unit failed, whatever still runs."""
    (tmp_path / "state").write_text("active\n")
    (tmp_path / "load").write_text("loaded\n")
    services = Services(host(tmp_path, STOPPING.replace("FOLDER", str(tmp_path)).replace("ENDS", "never")))
    with pytest.raises(StepFailed, match="cloudstack-management still runs"):
        services.stop_and_fence("cloudstack-management", patience=0.5)
    asked = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("show")]
    stop, kill = "stop --no-block cloudstack-management", "kill --signal=KILL cloudstack-management"
    assert asked == ["disable cloudstack-management", stop, kill, "mask cloudstack-management", stop, kill], "nothing that waits"


def test_a_unit_has_its_own_time_to_end_before_it_is_masked(tmp_path: Path) -> None:
    """systemd gives a masked unit 90 s, whatever its file says, and then kills it."""
    (tmp_path / "state").write_text("active\n")
    (tmp_path / "load").write_text("loaded\n")
    assert Services(host(tmp_path, STOPPING.replace("FOLDER", str(tmp_path)))).stop_and_fence("mariadb")
    asked = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("show")]
    assert asked == ["disable mariadb", "stop mariadb", "mask mariadb", "stop mariadb"]


# The same with what may be in the way: a start of somebody else's that calls the first stop off, a disk that takes no link, a mask in memory.
IN_THE_WAY = r"""#!/bin/sh
cd FOLDER; echo "$*" >>log
case "$1" in
  stop)
    if [ -e called-off ]; then rm called-off; echo "Job for $2 canceled." >&2; exit 1; fi
    echo inactive >state ;;
  start) echo active >state ;;
  enable) echo enabled >file ;;
  disable) if [ -e read-only ]; then echo "Failed to disable unit: Read-only file system" >&2; exit 1; fi ;;
  mask) if [ -e read-only ]; then echo "Failed to mask unit: Read-only file system" >&2; exit 1; fi; echo masked >load; echo masked >file ;;
  unmask)
    if [ "$2" = --runtime ]; then rm -f in-memory; else rm -f on-disk; fi
    [ -e in-memory ] || echo loaded >load ;;
  show) echo "LoadState=$(cat load)"; echo "ActiveState=$(cat state)"; echo "UnitFileState=$(cat file)" ;;
esac
"""


def in_the_way(tmp_path: Path, *things: str, load: str = "loaded", file: str = "enabled", state: str = "active") -> Services:
    """A unit's host with some of them."""
    for name, text in {"load": load, "file": file, "state": state, **dict.fromkeys(things, "")}.items():
        (tmp_path / name).write_text(f"{text}\n")
    return Services(host(tmp_path, IN_THE_WAY.replace("FOLDER", str(tmp_path))))


def test_a_start_that_calls_the_stop_off_keeps_no_unit_from_being_masked_and_stopped(tmp_path: Path) -> None:
    services = in_the_way(tmp_path, "called-off")
    assert services.stop_and_fence("mariadb")
    assert services.state("mariadb").fenced


def test_what_can_not_be_masked_is_stopped_all_the_same_and_named(tmp_path: Path) -> None:
    services = in_the_way(tmp_path, "read-only")
    with pytest.raises(StepFailed, match=r"mariadb could not be masked\. Cause: .*Read-only file system"):
        services.stop_and_fence("mariadb")
    assert not services.state("mariadb").active


@pytest.mark.parametrize(("script", "verb"), [(STOP_UNIT, "stop --no-block"), (KILL_UNIT, "kill --signal=KILL")])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_new_database_is_stopped_or_killed_also_where_it_can_not_be_masked(
    tmp_path: Path, script: str, verb: str, read_only: bool
) -> None:
    services = in_the_way(tmp_path, *(["read-only"] if read_only else []))
    with pytest.raises(CommandFailed) if read_only else contextlib.nullcontext():
        services.host.script(script, ["mariadb"])
    assert f"{verb} mariadb" in (tmp_path / "log").read_text().splitlines()


def test_a_mask_in_memory_ends_with_the_next_boot(tmp_path: Path) -> None:
    services = in_the_way(tmp_path, "in-memory", load="masked", file="masked-runtime", state="inactive")
    assert services.state("mariadb").masked and not services.state("mariadb").fenced
    assert services.stop_and_fence("mariadb") and services.state("mariadb").fenced


@pytest.mark.parametrize(
    "found", [Found(True, False, True), Found(True, True, False), Found(False, True, False), Found(False, False, True)]
)
@pytest.mark.parametrize("cut_off", [False, True])
def test_a_unit_is_put_back_as_it_was_found(tmp_path: Path, found: Found, cut_off: bool) -> None:
    services = in_the_way(tmp_path, "on-disk", load="masked", file="masked", state="inactive")
    if cut_off and found.active:  # behind its start
        services.bring_up("cloudstack-usage", enable=found.enabled)
    for _ in range(2):
        put_back(services, "cloudstack-usage", found)
        now = services.state("cloudstack-usage")
        assert (now.active, now.masked) == (found.active, found.masked)
    asked = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith(("start", "enable"))]
    assert asked == (["enable cloudstack-usage"] if found.enabled else []) + (["start cloudstack-usage"] if found.active else [])


def test_what_is_masked_in_memory_is_released_there_too(tmp_path: Path) -> None:
    services = in_the_way(tmp_path, "in-memory", load="masked", file="masked-runtime", state="inactive")
    assert services.bring_up("mariadb")
    asked = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("show")]
    assert asked == ["unmask mariadb", "unmask --runtime mariadb", "enable mariadb", "reset-failed mariadb", "start mariadb"]

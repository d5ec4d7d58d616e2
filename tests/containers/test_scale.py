"""Many networks as a whole stack: users in without delay, waves that continue wherever they were cut off, VMs started in networks with old routers.

Two windows, one story: the first has a canary that fails and lets users work meanwhile (`allow`), the second renews all (`first`) and is rolled back.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from bench import client_calls
from lab.files import Lab
from tests.containers import router_watch, scale_users
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.scale_stand import BAD, CALLS, CANARY, FAILING, IDLE, LIMIT, NAMES, NETWORKS, STARTS, UNUSED, WORKED_IN, configure
from tests.containers.test_commands import await_line, begin
from tests.containers.whole_stack import evidence

pytestmark = [pytest.mark.containers, pytest.mark.timeout(5400)]

AT_ONCE = 4 if NETWORKS < 100 else 10  # networks at the same time
OTHERS = 3  # networks and VPCs with a router that every lab has
RESTARTS = (
    "SELECT n.name, j.job_status, TIMESTAMPDIFF(SECOND, '1970-01-01', j.created), TIMESTAMPDIFF(SECOND, '1970-01-01', j.last_updated) "
    "FROM cloud.async_job j JOIN cloud.networks n ON n.id = j.instance_id WHERE j.job_cmd LIKE '%RestartNetworkCmd' "
    "AND j.created >= FROM_UNIXTIME({since}) ORDER BY j.id"
)
ROUTERS = (
    "SELECT v.instance_name, COALESCE(p.name, n.name) FROM cloud.vm_instance v JOIN cloud.domain_router r ON r.id = v.id LEFT JOIN cloud.vpc p "
    "ON p.id = r.vpc_id LEFT JOIN cloud.nics c ON c.instance_id = v.id AND r.vpc_id IS NULL LEFT JOIN cloud.networks n ON n.id = c.network_id "
    "AND n.traffic_type = 'Guest' WHERE p.name IS NOT NULL OR n.name IS NOT NULL GROUP BY v.instance_name, COALESCE(p.name, n.name)"
)

WHERE = (
    "SELECT v.instance_name, h.name FROM cloud.vm_instance v JOIN cloud.router_network_ref f ON f.router_id = v.id "
    "JOIN cloud.networks n ON n.id = f.network_id JOIN cloud.host h ON h.id = v.host_id WHERE v.removed IS NULL"
)


class Restart:
    """A restart of a network, by the job table."""

    def __init__(self, line: str) -> None:
        self.network, status, began, ended = line.split("\t")
        self.good, self.began, self.ended = status == "1", int(began), int(ended)


@pytest.fixture(scope="module")
def lab(scale: LabRunner) -> LabRunner:
    """The lab of many networks."""
    return scale


@pytest.fixture(scope="module")
def vms(lab: LabRunner) -> dict[str, str]:
    """A stopped VM in each of the networks in which users are to work; the idle networks are idle."""
    marks = ", ".join(f"'{name}'" for name in UNUSED)
    routers = [line.split("\t") for line in lab.sql("olddb1", WHERE + f" AND n.name IN ({marks})").splitlines()]
    lab.sql(
        "olddb1",
        "UPDATE cloud.vm_instance v JOIN cloud.router_network_ref f ON f.router_id = v.id JOIN cloud.networks n ON n.id = f.network_id "
        "SET v.state = 'Stopped', v.host_id = NULL, v.power_state = 'PowerOff', v.update_time = UTC_TIMESTAMP(), n.state = 'Allocated' "
        f"WHERE n.name IN ({marks})",
    )
    for host in router_watch.HOSTS:
        units = " ".join(f"cloud-vm-{name}.service" for name, where in routers if where == host)
        if units:
            lab.shell(host, f"systemctl stop {units}")
    return scale_users.make_vms(Stand(lab), WORKED_IN)


def restarts(lab: LabRunner, database: str, since: float) -> list[Restart]:
    """Restarts that were asked for since then, in their order."""
    return [Restart(line) for line in lab.sql(database, RESTARTS.format(since=int(since))).splitlines()]


def users_out(lab: LabRunner) -> dict[str, float]:
    """The times of the last outage."""
    found: dict[str, float] = json.loads(Path(lab.folder / "runs/lab/evidence/users-out.json").read_text())["times"][-1]
    return found


def test_a_failing_canary_stops_at_one_and_users_work_meanwhile(lab: LabRunner, vms: dict[str, str]) -> None:
    lab.run("pulumi", "config", "set", "--path", "routers.waves[0].networks[0]", CANARY)
    configure(lab, window__usersIn="first", routers__untilRenewed="allow", routers__withUp=f"{max(5, STARTS)}s")
    configure(lab, window__systemVmTimeout="10m", window__parallelRestarts=str(AT_ONCE))
    lab.run("fault", "newms1", "restart_fails", json.dumps([CANARY]))
    stand, since = Stand(lab), time.time()
    tell(f"switch; the canary is to fail, and {STARTS} VMs are started when users are in")
    with scale_users.starting(stand, vms, patience=120) as starts:
        lab.run("switch", timeout=LIMIT)
    tell(f"users out for {users_out(lab)['seconds']:.1f} s; {starts.words()}")
    assert [one.refused for one in starts.each if one.refused] == [], "with allow nobody is refused"
    result = evidence(lab, "Routers")["result"]
    asked = restarts(lab, "newdb1", since)
    assert [(each.network, each.good) for each in asked] == [(CANARY, False)], "nothing but the canary is begun"
    assert result["idle, left alone"] == IDLE and result["left"] == NETWORKS - IDLE + OTHERS, result
    assert "the canary is stopped" in result["why it ended"] and result["refused calls"] == 0
    lab.run("fault", "newms1", "restart_fails")
    tell("back")
    lab.run("back", timeout=LIMIT)
    assert lab.status()["serving"] == "original"


def killed_again_and_again(lab: LabRunner, left: int) -> None:
    """`routers` ended by force, at its first network and in the middle of its waves."""
    for number in (1, left // 8, left // 4):
        going = begin(lab, "routers", "lab")
        await_line(going, f"networks restarted: {max(1, number)} of")
        going.send_signal(signal.SIGKILL)
        going.communicate(timeout=60)
        tell(f"killed at network {number} of its run")


def test_the_others_are_renewed_by_a_command_that_is_killed_and_resumes(lab: LabRunner, vms: dict[str, str]) -> None:
    configure(lab, routers__untilRenewed="first")
    lab.run("fault", "newms1", "restart_fails", json.dumps(BAD))
    stand, since = Stand(lab), time.time()

    def switch() -> client_calls.Asked:
        with client_calls.asking(Lab(lab.name), CALLS) as asked:
            lab.run("switch", timeout=LIMIT)
        return asked

    tell(f"switch, while users make {CALLS} calls, and start {STARTS} VMs once they are in")
    with scale_users.starting(stand, vms, patience=300) as starts:
        asked = stand.inside(switch)
        result = evidence(lab, "Routers")["result"]
        tell(f"users out for {users_out(lab)['seconds']:.1f} s; renewed with it: {result['renewed']} of {result['networks']}")
        killed_again_and_again(lab, result["left"])
        began = time.monotonic()
        last = lab.run("tool", "routers", "lab", check=False, timeout=LIMIT)
        tell(f"the last run took {time.monotonic() - began:.0f} s: {last.stdout.splitlines()[-1]}")
    prove_waves(lab, restarts(lab, "newdb1", since), starts)
    total = NETWORKS - IDLE + OTHERS
    assert last.returncode == 1 and f"{FAILING} of {total} networks left. {FAILING} failed" in last.stdout, last.stdout
    assert result["idle, left alone"] == IDLE and result["networks"] == total
    calls = asked.document(users_out(lab)["in"])
    tell(f"calls: {calls}")
    assert [words for words in client_calls.missed(calls) if "limit" not in words] == []
    assert calls["first served after users in"] < 5, "the limit is 1 s, seen on quiet cores"


def prove_waves(lab: LabRunner, asked: list[Restart], starts: scale_users.Starts) -> None:
    """Each network was restarted once, those that fail were tried and idle ones left alone; networks in which users worked came before all others."""
    tell(starts.words())
    good = [each.network for each in asked if each.good]
    assert len(good) == len(set(good)), "none twice"
    tried = {each.network for each in asked}
    assert tried & set(UNUSED) == set() and {each.network for each in asked if not each.good} == set(BAD)
    assert set(NAMES) - set(UNUSED) - set(BAD) <= set(good)
    order = list(dict.fromkeys(each.network for each in asked))
    last = max(order.index(name) for name in WORKED_IN)
    assert last < STARTS + AT_ONCE + 1, order
    ended = {each.network: each.ended for each in asked if each.good}
    for one in starts.each:  # the job table has whole seconds
        assert scale_users.refused_after(one, ended[one.network] + 1.5) == [], one
        assert all(scale_users.REFUSAL in words for _, words in one.refused), one
    assert lab.sql("newdb1", "SELECT COUNT(*) FROM cloud.vm_instance WHERE name LIKE 'vm-many%' AND state = 'Running'") == str(STARTS)


def test_in_a_rollback_no_network_is_without_a_router_for_longer_than_a_restart(lab: LabRunner) -> None:
    of = dict(line.split("\t") for line in lab.sql("newdb1", ROUTERS).splitlines())
    since = time.time()
    tell("back")
    with router_watch.watching(lab) as watch:
        lab.run("back", timeout=LIMIT)
    of |= dict(line.split("\t") for line in lab.sql("olddb1", ROUTERS).splitlines())
    gaps, asked = watch.gaps(of), restarts(lab, "olddb1", since)
    longest = max(each.ended - each.began for each in asked)
    worst = sorted(gaps.items(), key=lambda each: -each[1])[:5]
    tell(f"{len(asked)} networks restarted by the original, the longest restart took {longest} s; longest without a router: {worst}")
    assert len(gaps) == NETWORKS - IDLE + OTHERS, sorted(gaps)
    assert len(asked) >= NETWORKS - IDLE - FAILING and all(each.good for each in asked)
    # Whole seconds of the job table, and the removal of the new side's router right before the restart.
    assert worst[0][1] <= longest + 4, worst
    assert lab.status()["serving"] == "original"

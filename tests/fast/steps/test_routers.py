"""Step Routers and its command: waves that continue where they were cut off, limits that end them well, users who wait for nobody's network but their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from parallel_build.cli import routers as command
from parallel_build.cloudstack.api import JobFailed
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.operations import restart_waves, router_minimum, router_waves, users_in
from parallel_build.operations.router_waves import as_cloudstack
from parallel_build.records.waves import WaveState, packed, unpacked
from parallel_build.records.window import WindowRecord
from parallel_build.steps import routers as step
from parallel_build.steps.retirement import _prove_renewed
from tests.fast.router_cloud import NEW, OLD, Cut, Net, RouterCloud, Run, apply
from tests.fast.sites import site


def nets(count: int, **more: Any) -> list[Net]:
    return [Net(number, **more) for number in range(1, count + 1)]


def test_everything_that_runs_is_renewed_and_idle_networks_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = [
        Net(50, state="Allocated"),
        Net(51, running=False, routers={"7": OLD}),
        Net(52, state="Allocated", running=False, routers={"8": OLD}),
    ]
    cloud = RouterCloud([*nets(20), Net(3, kind="vpc", state="Enabled", routers={"9": OLD}), *idle])
    run = Run(monkeypatch, cloud)
    evidence, pending = apply(run)
    assert sorted(cloud.restarted) == sorted([*(f"network-{number}" for number in range(1, 21)), "vpc-3"])
    assert (evidence["networks"], evidence["renewed"], evidence["idle, left alone"], pending) == (21, 21, 2, "")
    assert "21 of 21 networks renewed" in run.reported
    cloud.restarted.clear()
    apply(run)
    assert cloud.restarted == [], "what is renewed is found by looking"


@pytest.mark.processes
def test_of_five_hundred_networks_five_are_listed_and_a_hundred_idle_ones_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are in before the first of them, and nothing here puts them out."""
    idle = [Net(number, state="Allocated", running=False, routers={str(number): OLD}) for number in range(401, 501)]
    cloud = RouterCloud([*nets(400), *idle])
    cloud.bad = {f"network-{number}" for number in (2, 77, 150, 299, 400)}
    run = Run(monkeypatch, cloud, window={"parallelRestarts": 8})
    evidence, pending = apply(run)
    assert (evidence["networks"], evidence["renewed"], evidence["left"], evidence["idle, left alone"]) == (400, 395, 5, 100)
    assert set(evidence["failed"]) == {f"net{number:04}" for number in (2, 77, 150, 299, 400)} and "5 of 400 networks left" in pending
    assert len(cloud.restarted) == len(set(cloud.restarted)) == 395, "none twice"
    assert {call.split()[1] for call in cloud.calls} == {f"network-{number}" for number in range(1, 401)}, "no call for an idle one"
    assert run.admitted == 0 and cloud.mixed_up == 0
    failed = [call for call in cloud.calls if call.split()[1] in cloud.bad]
    assert len(failed) == 10, "each is tried twice"


def test_of_five_hundred_networks_a_failing_canary_touches_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(500))
    cloud.bad = {"network-1"}
    _, pending = apply(Run(monkeypatch, cloud, window={"parallelRestarts": 8}))
    assert cloud.calls == ["restartNetwork network-1"] and "500 of 500 networks left" in pending and "the canary is stopped" in pending


@pytest.mark.processes
def test_of_five_hundred_networks_a_run_that_is_killed_at_any_moment_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in (0, 1, 2, 137, 250, 498, 499):
        cloud = RouterCloud(nets(500))
        run = Run(monkeypatch, cloud, window={"parallelRestarts": 1})
        cloud.cut = cut
        with pytest.raises(Cut):
            apply(run)
        assert len(cloud.restarted) == cut
        result = router_waves.run(run.context())
        assert (result.done, result.left, result.failed) == (500, [], {})
        assert len(cloud.restarted) == len(set(cloud.restarted)) == 500, "what was done is not done again"


def patched(monkeypatch: pytest.MonkeyPatch, cloud: RouterCloud, **routers: Any) -> Run:
    return Run(monkeypatch, cloud, routers={"renew": "livePatch", "failureRate": 1, "canary": 0, **routers})


def test_routers_are_patched_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud([*nets(12), Net(30, redundant=True), Net(3, kind="vpc", state="Enabled", routers={"9": OLD})])
    before = {net.uuid: dict(net.routers) for net in cloud.nets.values()}
    run = patched(monkeypatch, cloud)
    evidence, pending = apply(run)
    assert (evidence["networks"], evidence["renewed"], pending) == (14, 14, "")
    assert {net.uuid: net.routers for net in cloud.nets.values()} == before, "no router was replaced"
    assert run.facts()["scripts"] == ["scripts of 4.20"] and run.facts()["patched"] == {"network": "1-12,30", "vpc": "3"}
    cloud.restarted.clear()
    assert apply(run)[1] == "" and cloud.restarted == [], "the same again is no change"
    _prove_renewed(run.context(), run.record)
    run.site = site()
    assert "14 of 14 networks left" in router_waves.standing(run.context()).words("test"), "a change of the key counts from then on"


def test_a_patch_is_proved_by_what_routers_report_and_never_by_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(6))
    cloud.not_patched, cloud.old_agents = {"network-2"}, {"network-4"}
    run = patched(monkeypatch, cloud)
    evidence, pending = apply(run)
    assert evidence["renewed"] == 4 and "2 of 6 networks left" in pending
    assert "its software is 4.20.3.0, not 4.22.1.0" in evidence["failed"]["net0002"]
    assert "its scripts are those of before: its host's agent is an old one" in evidence["failed"]["net0004"]
    cloud.not_patched, cloud.old_agents = set(), set()
    router_waves.retry(run.context())
    assert apply(run)[1] == ""


def test_scripts_of_another_build_are_no_patch_since_cloudstack_refuses_such_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(2))
    cloud.own_scripts = "scripts of another build"
    evidence, _ = apply(patched(monkeypatch, cloud))
    assert "its scripts are not those of the management server" in evidence["failed"]["net0001"]
    cloud = RouterCloud(nets(2))
    cloud.own_scripts = "scripts of 4.22"
    assert apply(patched(monkeypatch, cloud))[1] == ""


def test_a_run_of_patches_that_was_cut_off_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in range(7):
        cloud = RouterCloud(nets(6))
        run = patched(monkeypatch, cloud)
        run.site = site(routers={"renew": "livePatch"}, window={"parallelRestarts": 1})
        cloud.cut = cut
        if cut < 6:
            with pytest.raises(Cut):
                apply(run)
        assert apply(run)[1] == "" and len(cloud.restarted) == len(set(cloud.restarted)) == 6


def test_what_can_not_be_patched_is_restarted_with_new_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudStack patches the router of a VPC by way of its tiers, and does nothing for one without any."""
    cloud = RouterCloud(
        [Net(3, kind="vpc", state="Enabled", routers={"9": OLD}, tiers=0), Net(4, kind="vpc", state="Enabled", routers={"10": OLD})]
    )
    run = patched(monkeypatch, cloud)
    assert apply(run)[1] == ""
    assert set(cloud.nets["vpc-3"].routers.values()) == {NEW} and cloud.nets["vpc-4"].routers == {"10": OLD}
    assert run.facts()["patched"] == {"network": "", "vpc": "4"} and run.facts()["vpcs"] == "3-4"


def test_failures_are_listed_with_their_cause_and_the_step_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(30))
    cloud.bad = {"network-4", "network-9"}
    run = Run(monkeypatch, cloud)
    evidence, pending = apply(run)
    assert evidence["failed"] == {"net0004": "no capacity for net0004", "net0009": "no capacity for net0009"}
    assert pending.startswith("2 of 30 networks left. 2 failed: net0004: no capacity for net0004")
    assert pending.endswith("Next: parallel-build routers test --retry")
    calls = len(cloud.calls)
    apply(run)
    assert len(cloud.calls) == calls, "a network that has been tried often enough is the operator's"
    cloud.bad.clear()
    router_waves.retry(run.context())
    assert apply(run)[1] == ""


def test_a_failing_canary_ends_there_until_the_operator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(30))
    cloud.bad = {"network-1"}
    run = Run(monkeypatch, cloud)
    _, pending = apply(run)
    assert cloud.calls == ["restartNetwork network-1"] and "the canary is stopped" in pending
    cloud.bad.clear()
    _, pending = apply(run)
    assert len(cloud.calls) == 1 and "--retry" in pending
    router_waves.retry(run.context())
    assert apply(run)[1] == "" and len(cloud.calls) == 31


def test_cut_off_anywhere_it_resumes_and_restarts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in range(13):
        cloud = RouterCloud(nets(12))
        run = Run(monkeypatch, cloud, window={"parallelRestarts": 1})
        cloud.cut = cut
        if cut < 12:
            with pytest.raises(Cut):
                apply(run)
        assert apply(run)[1] == ""
        assert len(cloud.restarted) == len(set(cloud.restarted)) == 12
        assert unpacked(run.facts()["networks"]) == set(range(1, 13)), "each was on record before it was restarted"


def test_a_restart_that_an_earlier_run_has_begun_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(3))
    cloud.jobs = [{"uuid": "network-2", "job_cmd": "org.apache.RestartNetworkCmd", "instance_id": 2}]
    apply(Run(monkeypatch, cloud))
    assert "await network-2" in cloud.calls and "restartNetwork network-2" not in cloud.calls


def test_a_restart_that_failed_leaves_a_network_without_a_router_and_it_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(3))
    run = Run(monkeypatch, cloud)
    run.record.facts["Routers"] = {"networks": "2"}
    cloud.nets["network-2"].routers = {}
    apply(run)
    assert "network-2" in cloud.restarted


def test_routers_of_a_disabled_zone_run_on_and_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudStack finds no place for a successor there: a canary among them would stop the waves, and the network would be without a router."""
    shut = [Net(number, zone="z0", closed="Disabled") for number in range(100, 103)]
    cloud = RouterCloud([*shut, *nets(3)])
    run = Run(monkeypatch, cloud)
    document, pending = apply(run)
    assert sorted(cloud.restarted) == ["network-1", "network-2", "network-3"] and pending == ""
    assert all(len(net.routers) == 1 for net in shut) and document["in disabled zones"] == {"z0 (Disabled)": 3}
    assert any("3 in zone z0 (Disabled)" in line and "parallel-build routers test" in line for line in run.reported)
    for net in shut:
        net.closed = None
    apply(run)
    assert len(cloud.restarted) == 6, "the zone is enabled"


def test_the_time_limit_ends_it_well(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(9)))
    result = router_waves.run(run.context(), limit=-1.0)
    assert result.words("test").startswith("9 of 9 networks left. routers.withUp,") and "Next: parallel-build routers test" in result.words(
        "test"
    )


def test_outside_the_hours_nothing_begins_and_it_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    span = f"{later:%H}:00-{later:%H}:59"
    cloud = RouterCloud(nets(9))
    _, pending = apply(Run(monkeypatch, cloud, routers={"hours": {"timeZone": "UTC", "spans": [span]}}))
    assert cloud.calls == [] and f"9 of 9 networks left, next at {later:%Y-%m-%d %H}:00 UTC" in pending


def test_a_pause_begins_nothing_and_the_next_command_lifts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(9))
    run = Run(monkeypatch, cloud)
    router_waves.pause(run.context(), on=True)
    assert "paused since" in apply(run)[1] and cloud.calls == []
    router_waves.pause(run.context(), on=False)
    assert apply(run)[1] == ""


def test_one_wave_brings_the_canary_along(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud([*nets(4), *(Net(number, zone="z2") for number in range(10, 14))])
    run = Run(monkeypatch, cloud)
    router_waves.run(run.context(), only=2)
    assert sorted(cloud.restarted) == ["network-1", "network-10", "network-11", "network-12", "network-13"]
    assert run.facts()["canary"] is True


@pytest.mark.parametrize("number", [-1, 99])
def test_a_wave_that_is_not_there_is_no_success(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    cloud = RouterCloud(nets(2))
    run = Run(monkeypatch, cloud)
    with pytest.raises(GuardFailed, match=f"there is no wave {number}.*0 to 1.*--plan"):
        router_waves.run(run.context(), only=number)
    assert cloud.calls == []


def test_a_network_in_which_users_work_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_waves, "ASK_AGAIN", -1.0)
    cloud = RouterCloud(nets(20))
    cloud.users = [17]
    apply(Run(monkeypatch, cloud, window={"parallelRestarts": 1}))
    assert cloud.restarted[0] == "network-17"
    cloud = RouterCloud(nets(20))
    cloud.users = [17]
    apply(Run(monkeypatch, cloud, window={"parallelRestarts": 1}, routers={"untilRenewed": "allow"}))
    assert cloud.restarted[0] == "network-1", "nobody is refused with allow"


def test_a_network_whose_rule_was_refused_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudStack takes such a rule away again, and its words name no router: what the call named is all that is left."""
    monkeypatch.setattr(restart_waves, "ASK_AGAIN", -1.0)
    cloud = RouterCloud(nets(20))
    cloud.refused_calls = ['{"ipaddressid":"00000000-0000-0000-0000-000000000017","cmdEventType":"FIREWALL.OPEN"}', "not JSON"]
    apply(Run(monkeypatch, cloud, window={"parallelRestarts": 1}))
    assert cloud.restarted[0] == "network-17"


def test_no_two_threads_ask_one_database_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_waves, "ASK_AGAIN", -1.0)
    cloud = RouterCloud(nets(40))
    cloud.answers_after = 0.002
    evidence, _ = apply(Run(monkeypatch, cloud, window={"parallelRestarts": 8}))
    assert evidence["renewed"] == 40 and cloud.mixed_up == 0


@pytest.mark.parametrize("rolling", ["true", "false", None])
def test_a_pair_never_has_both_down(monkeypatch: pytest.MonkeyPatch, rolling: str | None) -> None:
    cloud = RouterCloud(nets(3, redundant=True))
    if rolling is None:
        del cloud.settings["network.rolling.restart"]
    else:
        cloud.settings["network.rolling.restart"] = rolling
    evidence, _ = apply(Run(monkeypatch, cloud))
    assert evidence["renewed"] == 3 and all(set(net.routers.values()) == {NEW} and len(net.routers) == 2 for net in cloud.nets.values())
    assert cloud.least >= 1
    if rolling != "true":
        assert cloud.calls[0].startswith("destroyRouter"), "the backup first"


def test_a_pair_whose_restart_ended_in_between_is_made_whole_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(9, redundant=True))
    cloud.settings["network.rolling.restart"] = "false"
    failing, job = ["network-8"], cloud.job

    def once(command: str, **parameters: Any) -> dict[str, Any]:
        if parameters["id"] in failing:
            failing.remove(parameters["id"])
            raise JobFailed(f"{command} failed in the cloud", "no capacity for a moment", "")
        return job(command, **parameters)

    monkeypatch.setattr(cloud, "job", once)
    evidence, _ = apply(Run(monkeypatch, cloud))
    assert evidence["renewed"] == 9 and cloud.least >= 1 and failing == []


def test_a_restart_under_way_that_fails_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(9))
    cloud.jobs = [{"uuid": "network-8", "job_cmd": "x.RestartNetworkCmd", "instance_id": 8}]

    def failed(command: str, job_id: str, **_: Any) -> None:
        raise JobFailed(f"{command} failed in the cloud", "the host went away", "")

    monkeypatch.setattr(cloud, "await_job", failed)
    evidence, _ = apply(Run(monkeypatch, cloud))
    assert evidence["renewed"] == 9 and cloud.restarted.count("network-8") == 1


def test_a_router_that_is_old_after_its_restart_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(3), release=OLD)
    evidence, _ = apply(Run(monkeypatch, cloud))
    assert "the API says 4.20.2 instead of 4.22.0" in evidence["failed"]["net0001"]


def test_a_rollback_ends_the_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(9)))
    run.record.returning = "now"
    with pytest.raises(GuardFailed, match="a rollback has begun"):
        apply(run)
    assert run.cloud.calls == []


def test_users_wait_for_the_routers_only_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(9)), users=False, routers={"untilRenewed": "wait", "withUp": "1s"})
    run.cloud.bad = {"network-5"}
    apply(run)
    assert run.admitted == 1, "one that can't be restarted keeps nobody out"
    run = Run(monkeypatch, RouterCloud(nets(9)))
    apply(run)
    assert run.admitted == 0


def test_users_who_wait_stay_out_while_a_canary_has_stopped_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(9)), users=False, routers={"untilRenewed": "wait"})
    run.cloud.bad = {"network-1"}
    with pytest.raises(StepFailed, match="users are still out: the canary is stopped"):
        apply(run)
    assert run.admitted == 0
    run.cloud.bad.clear()
    router_waves.retry(run.context())
    apply(run)
    assert run.admitted == 1


def test_the_lowered_minimum_is_put_back_as_found_after_the_last_wave(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ({}, {"1": "4.19.0"}):
        cloud = RouterCloud(nets(9))
        cloud.zone_values = dict(found)
        run = Run(monkeypatch, cloud, routers={"untilRenewed": "allow", "accepted": ["net0007"]})
        assert router_minimum.lower(run.context(), cloud) == {"1": "4.20.2"}  # type: ignore[arg-type]
        assert cloud.zone_values == {"1": "4.20.2"}
        router_minimum.lower(run.context(), cloud)  # type: ignore[arg-type]
        cloud.bad = {"network-4"}
        apply(run)
        assert cloud.zone_values == {"1": "4.20.2"}, "a network is left in which users would be refused"
        cloud.bad.clear()
        router_waves.retry(run.context())
        assert apply(run)[1] == "" and cloud.zone_values == found and run.facts()["minimum"] is None
        assert cloud.nets["network-7"].routers != {} and OLD in cloud.nets["network-7"].routers.values()


@pytest.mark.parametrize(("leaves", "good"), [(NEW, True), ("4.20.2", False)])
def test_a_reset_may_leave_the_global_minimum_behind_and_nothing_else(monkeypatch: pytest.MonkeyPatch, leaves: str, good: bool) -> None:
    cloud = RouterCloud(nets(2))
    run = Run(monkeypatch, cloud, routers={"untilRenewed": "allow"})
    router_minimum.lower(run.context(), cloud)  # type: ignore[arg-type]
    cloud.reset_leaves = leaves
    if good:
        assert apply(run)[1] == "" and run.facts()["minimum"] is None
    else:
        with pytest.raises(StepFailed, match=r"zone 1: 4\.20\.2 instead of none"):
            apply(run)


def test_nothing_is_lowered_where_it_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = RouterCloud(nets(2))
    assert router_minimum.lower(Run(monkeypatch, cloud).context(), cloud) == {}  # type: ignore[arg-type]
    assert cloud.zone_values == {}


def test_the_record_stays_small_at_two_thousand_networks() -> None:
    assert packed(range(204, 2204)) == "204-2203"
    assert unpacked(packed({1, 2, 3, 9, 11})) == {1, 2, 3, 9, 11} and packed(()) == "" and unpacked("") == set()
    every_other = packed(range(1, 4000, 2))
    assert len(every_other) < 10_000


def test_a_record_of_waves_is_read_leniently() -> None:
    assert WaveState.of({"networks": "1-3", "later": True}).begun("network") == {1, 2, 3}
    with pytest.raises(GuardFailed, match="can't be understood"):
        WaveState.of({"networks": 7})


@pytest.mark.parametrize(
    ("facts", "steps", "part"),
    [
        ({"Acceptance": {"accepted": True}}, ["Acceptance"], False),  # switched by the earlier version
        ({"FirstManagement": {"good": {}}}, ["Acceptance"], True),  # cut off in it: this version continues
        ({"Acceptance": {"accepted": True}, "UsersIn": {"point": "accepted", "at": "then"}}, ["Acceptance"], True),
        ({}, ["Acceptance", "Routers"], True),
    ],
)
def test_a_window_of_the_earlier_order(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], steps: list[str], part: bool) -> None:
    run = Run(monkeypatch, RouterCloud(nets(3)))
    run.record.facts, run.record.steps = facts, ["Window", *steps]
    assert step.Routers().takes_part(run.context()) is part


def test_retiring_wants_all_or_accepted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(3)))
    with pytest.raises(GuardFailed, match="3 of 3 networks still have routers of the original's release: net0001, net0002, net0003"):
        _prove_renewed(run.context(), run.record)
    run.site = site(routers={"accepted": ["net0001", "network-2", "net0003"]})
    _prove_renewed(run.context(), run.record)
    earlier = WindowRecord("test", run.site.identity, opened="then", facts={"Acceptance": {"accepted": True}})
    _prove_renewed(Run(monkeypatch, RouterCloud(nets(3))).context(), earlier)


def test_the_command_waits_for_users_to_be_in(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud(nets(3)), users=False)
    monkeypatch.setattr(command, "store", lambda _: run.records)
    with pytest.raises(GuardFailed, match="users are not in on the new side yet"):
        command._may_run(run.context())
    run.record.facts = {"UsersIn": {"point": "routers"}, "Acceptance": {"passed": True}}
    command._may_run(run.context())
    run.record.facts = {"UsersIn": {"point": "accepted", "at": "then"}}
    command._may_run(run.context())


def test_the_point_is_settled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, RouterCloud([]), users=False, window={"usersIn": "first"})
    assert users_in.settle(run.context()) == "first"
    run.site = site(window={"usersIn": "accepted"})
    assert users_in.settle(run.context()) == "first", "changing the key after the switch does nothing"
    users_in.admit(run.context(), "accepted")
    assert run.admitted == 0
    users_in.admit(run.context(), "first")
    users_in.admit(run.context(), "first")
    assert run.admitted == 1


def test_times_are_compared_as_cloudstack_writes_them() -> None:
    assert as_cloudstack("2026-11-29T23:01:24+01:00") == "2026-11-29 22:01:24"

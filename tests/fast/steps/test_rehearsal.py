"""The rehearsal's record, its guard, its texts, its fixes, its firewall and what must be out of its reach: everything that needs no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_build import guards
from parallel_build.cli.rehearse import compared
from parallel_build.cloudstack.log import StartReading
from parallel_build.configuration import Housekeeping, load
from parallel_build.configuration.fix_files import fix_of, read_fixes
from parallel_build.database import housekeeping
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.facts.network_targets import Target, targets
from parallel_build.operations import fixes, isolation
from parallel_build.provider.relevance import relevant
from parallel_build.records.rehearsal import RehearsalRecord, checksums, outdated
from parallel_build.records.rehearsal_times import NOT_REHEARSED, compared_in_words, in_words, rehearsed, side_by_side
from parallel_build.remote.host import Host
from parallel_build.remote.openssh import Result
from parallel_build.remote.sql import Session
from parallel_build.resolved_stack import Site
from parallel_build.steps.ready import Ready
from parallel_build.steps.rehearsal import Rehearsal, parameters
from parallel_build.steps.window import Window
from tests.fast.asked_host import AskedHost
from tests.fast.cloudstack.test_log import UPGRADE, line, read
from tests.fast.guards.conftest import refusals_read
from tests.fast.guards.test_guards import GOOD_NEW, GOOD_OLD
from tests.fast.sites import site, values

__all__ = ["refusals_read"]

MACHINE = {"name": "rehearsal", "address": "10.91.0.51"}
PASSED = RehearsalRecord(
    passed=True,
    cause="",
    old="4.20.3.0",
    new="4.22.1.0",
    rows=1_000_000,
    seconds={"copy": 61.0, "housekeeping": 0.0, "fixes": 0.4, "host setting": 0.1, "setup": 10.0, "start": 240.2},
    schema={"4.21.0.0": 200.5, "4.22.0.0": 1.0, "4.22.1.0": 0.5, "views": 2.0},
    ended=datetime.now(UTC).isoformat(),
)


def rehearsing(folder: Path, **changes: Any) -> Site:
    """A site with a rehearsal."""
    return site(runs=str(folder / "runs"), rehearsal={"enabled": True, "machine": MACHINE, "fixes": str(folder / "fixes"), **changes})


def fix(folder: Path, name: str, text: str) -> None:
    (folder / "fixes").mkdir(exist_ok=True)
    (folder / "fixes" / name).write_text(text)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"enabled": True}, "enabled needs machine"),
        ({"machine": {"name": "oldms1", "address": "10.91.0.51"}}, "oldms1 is used twice"),
        ({"machine": {"name": "r", "address": "10.91.0.31"}}, "10.91.0.31 that newdb1 has already"),
        ({"allow": ["10.91.0.1x"]}, "is not a network"),
        ({"mustNotReach": ["192.0.2.1:99999"]}, "is not an address"),
        ({"dump": {"cloud_usage": "u.sql"}}, "names no file for the database cloud"),
        ({"dump": {"cloud": "c.sql"}}, "cloud_usage: missing"),
        ({"maxAge": "a week"}, "a duration is written"),
        ({"fixed": "x"}, "this key is not known here"),
        ({"waived": "  "}, "the reason is missing"),
    ],
)
def test_wrong_configuration_is_reported(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(values(rehearsal=wrong), "test")
    assert words in str(caught.value) and "rehearsal" in str(caught.value)


def test_its_server_is_built_only_where_it_is_enabled() -> None:
    without, with_it = (
        load(values(rehearsal={"machine": MACHINE}), "test"),
        load(values(rehearsal={"enabled": True, "machine": MACHINE}), "t"),
    )
    assert "rehearsal" not in {machine.name for machine in without.built_machines()}
    assert "rehearsal" in {machine.name for machine in with_it.built_machines()}
    assert "rehearsal" not in {machine.name for machine in with_it.new_machines()}


def test_a_rehearsal_that_comes_and_goes_changes_neither_the_stacks_identity_nor_another_step(tmp_path: Path) -> None:
    plain = site(runs=str(tmp_path / "runs"))
    more = replace(rehearsing(tmp_path), host_keys={**plain.host_keys, "rehearsal": "ssh-ed25519 BBBB"})
    assert more.identity == plain.identity
    assert relevant(more.to_json()) == relevant(plain.to_json())


def test_fixes_run_in_the_order_of_their_names_with_reason_and_checksum(tmp_path: Path) -> None:
    fix(tmp_path, "20-second.sql", "-- Reason: rows of a plug-in that is gone\nDELETE FROM x;\n")
    fix(tmp_path, "10-first.sql", "-- reason: a guest OS of our own has the id of a new one\nDELETE FROM y;\n")
    fix(tmp_path, "notes.txt", "no statement")
    found = read_fixes(tmp_path / "fixes")
    assert [(each.name, each.reason) for each in found] == [
        ("10-first.sql", "a guest OS of our own has the id of a new one"),
        ("20-second.sql", "rows of a plug-in that is gone"),
    ]
    assert len({each.checksum for each in found}) == 2
    assert read_fixes(tmp_path / "nowhere") == []


def test_a_fix_without_a_reason_is_refused(tmp_path: Path) -> None:
    fix(tmp_path, "a.sql", "DELETE FROM x;\n")
    with pytest.raises(ConfigurationError, match="-- reason:"):
        read_fixes(tmp_path / "fixes")


def test_a_fix_says_which_rows_it_repairs(tmp_path: Path) -> None:
    fix(
        tmp_path,
        "a.sql",
        "-- reason: numbers of our own\n-- mends: guest_os 10001, cloud.guest_os_hypervisor 17\n-- Mends: guest_os 10002\n",
    )
    fix(tmp_path, "b.sql", "-- reason: something else\n")
    found = read_fixes(tmp_path / "fixes")
    assert found[0].rows == (("guest_os", 10001), ("guest_os_hypervisor", 17), ("guest_os", 10002)) and found[1].rows == ()
    fixed = fix_of(found, "guest_os", 10002)
    assert fixed is not None and fixed.name == "a.sql"
    assert fix_of(found, "guest_os", 17) is None


@pytest.mark.parametrize("line", ["-- mends:", "-- mends: guest_os", "-- mends: guest_os 1, 2", "-- mends: guest_os 1; DROP"])
def test_what_a_fix_repairs_is_named_exactly(tmp_path: Path, line: str) -> None:
    fix(tmp_path, "a.sql", f"-- reason: x\n{line}\n")
    with pytest.raises(ConfigurationError, match="its table in the database cloud and its id"):
        read_fixes(tmp_path / "fixes")


def test_the_windows_times_are_reported_next_to_the_rehearsals() -> None:
    steps = [{"version": "4.21.0.0", "seconds": 240.0}, {"version": "4.22.0.0", "seconds": 1.9}, {"version": "4.23.0.0", "seconds": 1.0}]
    pairs = side_by_side(PASSED, {"seconds": 305.0, "steps": steps, "views_seconds": None})
    assert [(pair.part, pair.rehearsed, pair.window, pair.like) for pair in pairs] == [
        ("4.21.0.0", 200.5, 240.0, True),
        ("4.22.0.0", 1.0, 1.9, True),
        ("start", 240.2, 305.0, False),
    ]
    reported = compared_in_words(pairs)
    assert reported.startswith("4.21.0.0 4 min 0 s (3 min 20 s in rehearsal), 4.22.0.0 1.9 s (1.0 s in rehearsal)")
    assert reported.endswith("not as long as in the rehearsal: start")
    assert compared_in_words(pairs[:2]).endswith("; as long as in the rehearsal")
    assert compared_in_words(side_by_side(PASSED, {"seconds": None})) == ""


def test_the_plan_names_every_fix_and_every_deletion_and_the_window_has_the_same(tmp_path: Path) -> None:
    fix(tmp_path, "a.sql", "-- reason: because\nSELECT 1;\n")
    configuration = rehearsing(tmp_path, housekeeping={"events": "90d", "usageEvents": "1d"}).configuration
    plan = Rehearsal(parameters(configuration)).plan(configuration)
    assert any("a.sql" in action and "because" in action for action in plan)
    assert any("DELETE FROM cloud.event WHERE created is more than 90 days" in action for action in plan)
    assert any("cloud.usage_event" in action and "processed = 1" in action for action in plan)
    there = [action.replace("on newdb1: ", "on rehearsal: ") for action in fixes.words(configuration, "newdb1")]
    assert [action for action in plan if action in there] == there


def test_without_a_rehearsal_nothing_is_replayed(tmp_path: Path) -> None:
    configuration = site(rehearsal={"fixes": str(tmp_path), "housekeeping": {"events": "1d"}}).configuration
    assert fixes.words(configuration, "newdb1") == []


def test_guard_holds_on_a_fresh_rehearsal(tmp_path: Path) -> None:
    guards.original.rehearsal_passed(rehearsing(tmp_path), replace(GOOD_OLD, rehearsal=PASSED, rows=1_100_000), GOOD_NEW)


def test_a_window_opens_unrehearsed_only_where_somebody_says_why_and_the_change_review_says_it_too(tmp_path: Path) -> None:
    silent, waived = site(rehearsal={"waived": None}), site(rehearsal={"waived": "tried by hand", "fixes": str(tmp_path / "fixes")})
    with pytest.raises(GuardFailed) as caught:
        guards.original.rehearsal_passed(silent, GOOD_OLD, GOOD_NEW)
    assert "not rehearsed: rehearsal.enabled is off" in caught.value.fact and "rehearsal.waived: REASON" in caught.value.remedy
    guards.original.rehearsal_passed(waived, GOOD_OLD, GOOD_NEW)
    for step in (Window(), Ready()):
        assert step.plan(silent.configuration)[0].startswith("REFUSED: nothing is rehearsed")
        assert "NOT REHEARSED" in step.plan(waived.configuration)[0] and "tried by hand" in step.plan(waived.configuration)[0]
        assert not [line for line in step.plan(rehearsing(tmp_path).configuration) if "REHEARSED" in line or "REFUSED" in line]


def test_a_waiver_does_not_leave_fixes_and_housekeeping_out_without_a_word(tmp_path: Path) -> None:
    waived = site(rehearsal={"waived": "tried by hand", "fixes": str(tmp_path / "fixes"), "housekeeping": {"events": "90d"}})
    fix(tmp_path, "a.sql", "-- reason: because\nSELECT 1;\n")
    with pytest.raises(GuardFailed, match=r"leaves out what is configured for the copy: a\.sql, housekeeping of events"):
        guards.original.rehearsal_passed(waived, GOOD_OLD, GOOD_NEW)


def test_a_rehearsal_and_its_waiver_contradict_each_other() -> None:
    given = values(rehearsal={"enabled": True, "machine": MACHINE})
    given["rehearsal"]["waived"] = "no time"
    with pytest.raises(ConfigurationError, match="contradict each other"):
        load(given, "test")


@pytest.mark.parametrize(
    ("record", "rows", "words"),
    [
        (None, 0, "nothing has been rehearsed"),
        (replace(PASSED, passed=False, cause="a statement was refused"), 0, "a statement was refused"),
        (replace(PASSED, old="4.19.3.0"), 0, "it was of 4.19.3.0 -> 4.22.1.0"),
        (replace(PASSED, fixes={"a.sql": "1"}), 0, "missing: a.sql"),
        (replace(PASSED, housekeeping={"events": "P90D"}), 0, "housekeeping settings have changed"),
        (replace(PASSED, ended=(datetime.now(UTC) - timedelta(days=15)).isoformat()), 0, "15.0 days old"),
        (replace(PASSED, ended=(datetime.now(UTC) + timedelta(days=2)).isoformat()), 0, "is not known"),
        (replace(PASSED, ended=""), 0, "its record has no time"),
        (replace(PASSED, ended="2026-11-31"), 0, "is not known: 2026-11-31"),
        (replace(PASSED, ended="2026-11-30T10:00:00"), 0, "is not known"),
        (PASSED, 1_700_000, "1,700,000 rows, 1,000,000 when"),
    ],
)
def test_guard_fails_and_says_what_to_run(tmp_path: Path, record: RehearsalRecord | None, rows: int, words: str) -> None:
    old = replace(GOOD_OLD, rehearsal=record, rows=rows)
    with pytest.raises(GuardFailed) as caught:
        guards.original.rehearsal_passed(rehearsing(tmp_path), old, GOOD_NEW)
    assert words in str(caught.value) and "parallel-build rehearse test" in str(caught.value)


def test_a_changed_fix_makes_the_rehearsal_one_of_something_else(tmp_path: Path) -> None:
    fix(tmp_path, "a.sql", "-- reason: one\n")
    configuration = rehearsing(tmp_path).configuration
    record = replace(PASSED, fixes=checksums(configuration))
    assert outdated(configuration, record) == ""
    fix(tmp_path, "a.sql", "-- reason: two\n")
    assert "changed: a.sql" in outdated(configuration, record)
    assert parameters(configuration)["fixes"] != record.fixes


def test_texts_of_the_change_review(tmp_path: Path) -> None:
    configuration = rehearsing(tmp_path).configuration
    assert rehearsed(configuration, "test", "FirstManagement") == NOT_REHEARSED
    folder = tmp_path / "runs" / "test"
    folder.mkdir(parents=True)
    (folder / "rehearsal.json").write_text(json.dumps({"passed": PASSED.document(), "last": {}}))
    assert rehearsed(configuration, "test", "FirstManagement") == (
        "took 4 min 10 s in rehearsal (schema: 4.21.0.0 3 min 20 s, 4.22.0.0 1.0 s, 4.22.1.0 0.5 s, views 2.0 s)"
    )
    assert rehearsed(configuration, "test", "DatabaseTransfer") == (
        "took 1 min 1 s in rehearsal (copy 1 min 1 s, fixes 0.4 s; nothing was compared)"
    )
    assert rehearsed(configuration, "test", "SystemVms") == NOT_REHEARSED
    taking_over = configuration.model_copy(update={"transfer": configuration.transfer.model_copy(update={"method": "replicate"})})
    assert rehearsed(taking_over, "test", "DatabaseTransfer") == "took 0.4 s in rehearsal (fixes 0.4 s; the takeover was not)"
    copied = replace(PASSED, seconds={name: seconds for name, seconds in PASSED.seconds.items() if name != "fixes"})
    (folder / "rehearsal.json").write_text(json.dumps({"passed": copied.document(), "last": {}}))
    assert rehearsed(taking_over, "test", "DatabaseTransfer") == NOT_REHEARSED, "the rehearsal copies, and that window does not"
    other = rehearsing(tmp_path).configuration.model_copy(update={"new": configuration.new.model_copy(update={"version": "4.22.9.0"})})
    assert rehearsed(other, "test", "FirstManagement") == NOT_REHEARSED
    (folder / "rehearsal.json").write_text("{torn")
    assert rehearsed(configuration, "test", "FirstManagement") == NOT_REHEARSED


def test_times_in_words() -> None:
    assert [in_words(seconds) for seconds in (0.04, 9.94, 10, 59.4, 60, 250, 3599.6, 3900)] == [
        "0.0 s", "9.9 s", "10 s", "59 s", "1 min 0 s", "4 min 10 s", "1 h 0 min", "1 h 5 min",
    ]  # fmt: skip


def test_a_record_of_another_version_of_this_project_is_none() -> None:
    assert RehearsalRecord.of({"passed": True}) is None
    assert RehearsalRecord.of({**PASSED.document(), "later": 1}) == PASSED


def test_where_a_rehearsal_stands_against_the_one_before() -> None:
    text = "\n".join(compared(replace(PASSED, seconds={"copy": 70.0}, deleted={"cloud.event": 1234}), PASSED))
    assert "1 min 10 s" in text and "1 min 1 s" in text and "1,234 rows of cloud.event" in text
    assert "-" in "\n".join(compared(PASSED, None))


def test_firewall_lets_nothing_out_but_answers() -> None:
    text = isolation.rules("10.91.0.1", ["192.0.2.7/32", "2001:db8::7/128"])
    outgoing = text.split("chain outgoing")[1].split("}\n  chain")[0]
    assert "policy drop" in outgoing
    assert "ip daddr 192.0.2.7/32 accept" in outgoing and "ip6 daddr 2001:db8::7/128 accept" in outgoing
    assert outgoing.count(" accept") == 6, "loopback, answers twice, neighbours, the two networks, and nothing else"
    assert "mark" not in text and "mark" in isolation.rules("10.91.0.1", [], marked=True)
    assert "ip saddr 10.91.0.1 tcp dport 8080 accept" in text


class FakeDatabase:
    """Answers the questions that `targets` asks."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {
            "host": [{"name": "kvm7", "kind": "KVM", "type": "Routing", "a": "10.91.0.27", "s": "10.92.0.27"}],
            "storage_pool": [
                {"name": "nfs1", "kind": "NetworkFilesystem", "a": "storage.example.com", "port": 2049},
                {"name": "local", "kind": "Filesystem", "a": "localhost", "port": 0},
            ],
            "image_store": [{"name": "sec", "url": "nfs://10.91.0.60/export"}],
            "configuration": [
                {"name": "alert.smtp.host", "value": "10.91.0.70"},
                {"name": "alert.smtp.port", "value": "2525"},
                {"name": "host", "value": "10.91.0.11,10.91.0.12@static"},
            ],
            "vmware_data_center": [{"a": "10.91.0.80"}],
        }

    def rows(self, statement: str, given: Any = None) -> list[dict[str, Any]]:
        return next((rows for table, rows in self.tables.items() if f"cloud.{table} " in statement + " "), [])

    def value(self, statement: str, given: Any = None) -> Any:
        name = given[0] if given else statement.split("`")[1]
        return len(self.tables.get(name, []))


class FakeHost(AskedHost):
    """A server that resolves one name."""

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        return Result(0, "storage.example.com 10.91.0.61\n", "")


def test_what_must_be_out_of_reach_comes_from_configuration_and_database(tmp_path: Path) -> None:
    configuration = rehearsing(tmp_path, mustNotReach=["192.0.2.9:636", "192.0.2.10"]).configuration
    found = {(target.address, target.port): target.what for target in targets(configuration, cast(Session, FakeDatabase()), FakeHost())}
    for expected in (
        ("10.91.0.11", 8250), ("10.91.0.13", 3306), ("10.91.0.14", 3306), ("10.91.0.21", 16509), ("10.91.0.27", 22), ("10.92.0.27", 16514),
        ("storage.example.com", 2049), ("10.91.0.61", 2049), ("10.91.0.60", 2049), ("10.91.0.70", 2525), ("10.91.0.70", 25),
        ("10.91.0.80", 443), ("10.91.0.31", 3306), ("10.91.0.41", 8250), ("192.0.2.9", 636), ("192.0.2.10", 22), ("10.91.0.12", 8250),
    ):  # fmt: skip
        assert expected in found, expected
    assert not [address for address, _ in found if address in ("10.91.0.51", "localhost")]


@pytest.mark.parametrize("algorithm", ["static", "roundrobin", "shuffle"])
def test_what_must_be_out_of_reach_is_found_however_it_is_written(tmp_path: Path, algorithm: str) -> None:
    """An address that is not understood is never reached, and would be taken for one that is out of reach."""
    database = FakeDatabase()
    database.tables |= {
        "storage_pool": [{"name": "ceph", "kind": "RBD", "a": "10.92.0.1, 10.92.0.2:6790,[2001:db8::3]:6789", "port": "x"}],
        "configuration": [
            {"name": "alert.smtp.host", "value": "10.91.0.70"},
            {"name": "alert.smtp.port", "value": "99999"},
            {"name": "host", "value": f" 10.91.0.11, [2001:DB8::12]@{algorithm}"},
        ],
        "vmware_data_center": [{"a": "https://10.91.0.80/sdk"}, {"a": "10.91.0.81:8443"}],
    }
    listed = targets(rehearsing(tmp_path).configuration, cast(Session, database), FakeHost())
    found = {(target.address, target.port) for target in listed}
    assert found >= {
        ("10.92.0.1", 6789), ("10.92.0.2", 6789), ("10.92.0.2", 6790), ("2001:db8::3", 6789), ("10.91.0.70", 25), ("2001:db8::12", 8250),
        ("10.91.0.80", 443), ("10.91.0.81", 8443),
    }  # fmt: skip
    assert all(0 < target.port < 65536 for target in listed)


class Inside:
    """The rehearsal's server as `prove` sees it."""

    name = "rehearsal"

    def __init__(self, reached: list[bool], past: list[bool], *, listening: str = "", policy: str = "policy drop") -> None:
        self.answers, self.listening, self.policy = {False: reached, True: past}, listening, policy
        self.loaded: list[str] = []

    def run(self, argv: list[str], *, input: str = "", **_: Any) -> Any:
        marked = False
        if argv[:2] == ["nft", "-f"]:
            self.loaded.append(input or argv[2])
        if argv[0] == "python3":
            marked = bool(json.loads(input)["mark"])
        text = {
            "nft": f"chain outgoing {{ type filter hook output priority -200; {self.policy}; }}",
            "ss": self.listening,
            "python3": json.dumps(self.answers[marked]),
            "sh": "10.91.0.1 5 10.91.0.51 22",
        }.get(argv[0], "")

        class Answer:
            ok = True
            stdout = text

        return Answer()


TARGETS = [Target("database server olddb1", "10.91.0.13", 3306), Target("hypervisor kvm1", "10.91.0.21", 22)]


def prove(inside: Inside, *, network: bool = True) -> isolation.Isolation:
    return isolation.prove(cast(Host, inside), TARGETS, [], network=network, progress=lambda line: None)


def test_isolation_is_proved_through_the_firewall_and_by_the_network() -> None:
    inside = Inside([False, False], [False, False])
    found = prove(inside)
    assert found.network_holds
    assert found.document() == {
        "tried": 2, "kinds": {"database server": 1, "hypervisor": 1}, "held by": "firewall and network", "allowed": [],
    }  # fmt: skip
    assert inside.loaded[-1] == isolation.RULES, "the firewall without the mark is in force again"


def test_a_hole_stops_it_and_names_what_was_reached() -> None:
    with pytest.raises(GuardFailed, match=r"rehearsal reached database server olddb1 \(10.91.0.13:3306\).*has not been started"):
        prove(Inside([True, False], [True, False]))


def test_of_much_that_was_reached_one_of_each_kind_is_named() -> None:
    servers = [Target(f"hypervisor kvm{number}", f"10.91.1.{number}", 22) for number in range(1, 9)]
    others = [Target("mail server of alert.smtp.host", "10.91.0.1", 25), Target("primary storage p1", "10.91.0.1", 2049)]
    inside = Inside([True] * 10, [True] * 10)
    with pytest.raises(GuardFailed) as caught:
        isolation.prove(cast(Host, inside), [*servers, *others], [], network=True, progress=lambda line: None)
    for words in (
        "kvm1 (10.91.1.1:22)",
        "mail server of alert.smtp.host (10.91.0.1:25)",
        "primary storage p1 (10.91.0.1:2049)",
        "and 4 more",
    ):
        assert words in caught.value.fact


def test_a_network_with_a_way_out_stops_it_unless_the_firewall_alone_is_to_do() -> None:
    inside = Inside([False, False], [False, True])
    with pytest.raises(GuardFailed, match=r"kvm1.*firewall alone keeps it in.*isolatedNetwork"):
        prove(inside)
    assert inside.loaded[-1] == isolation.RULES
    assert prove(Inside([False, False], [False, True]), network=False).network_holds is False


def test_a_firewall_that_is_not_in_force_or_an_open_tunnel_stops_it() -> None:
    with pytest.raises(GuardFailed, match="not in force"):
        prove(Inside([False, False], [False, False], policy="policy accept"))
    tunnel = (
        'LISTEN 0 128 127.0.0.1:34567 0.0.0.0:* users:(("sshd",pid=1,fd=9))\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))'
    )
    with pytest.raises(GuardFailed, match=r"sshd there listens on 127.0.0.1:34567"):
        prove(Inside([False, False], [False, False], listening=tunnel))


def test_housekeeping_words_name_only_what_is_configured() -> None:
    assert housekeeping.words(Housekeeping()) == []
    assert len(housekeeping.words(Housekeeping(statistics=timedelta(days=7)))) == 2


def test_the_log_gives_the_databases_own_words_and_the_views_time() -> None:
    assert read(UPGRADE).views_seconds == pytest.approx(0.9, abs=0.01)
    reading = StartReading()
    for text in ("Error executing: INSERT INTO guest_os VALUES (1) ", "java.sql.SQLException: Duplicate entry '1' for key 'PRIMARY'"):
        reading.take(line(4, text, "ERROR"))
    assert reading.complaints[0].text.startswith("Error executing: INSERT")
    assert reading.reason == "Duplicate entry '1' for key 'PRIMARY'"

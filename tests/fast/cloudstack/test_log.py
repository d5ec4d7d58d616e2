"""What the lines of management-server.log mean, good and bad starts told apart."""

from __future__ import annotations

import pytest

from parallel_build.cloudstack.log import StartReading

CHECKER = "[c.c.u.DatabaseUpgradeChecker] (main:[]) (logid:)"


def line(second: float, text: str, level: str = "INFO ") -> str:
    """A log line at a second of one minute."""
    return f"2026-11-22 16:50:{int(second):02d},{int(second % 1 * 1000):03d} {level} {CHECKER} {text}"


UPGRADE = [
    line(1, "Grabbing lock to check for database upgrade."),
    line(2, "Executing Stored Procedure scripts that are under resource directory [META-INF/db/procedures]."),
    line(3, "Database upgrade must be performed from 4.20.3.0 to 4.22.1.0"),
    line(3.5, "Running upgrade Upgrade42010to42100 to upgrade from 4.20.1.0-4.21.0.0 to 4.21.0.0", "DEBUG"),
    line(6, "Upgrade completed for version 4.21.0.0", "DEBUG"),
    line(6.1, "Executing VIEW scripts that are under resource directory [META-INF/db/views]."),
    line(7, "Finished execution of VIEW scripts that are under resource directory [META-INF/db/views]."),
]


def read(lines: list[str]) -> StartReading:
    reading = StartReading()
    for each in lines:
        reading.take(each)
    return reading


def test_whole_upgrade_is_followed_with_times() -> None:
    reading = read(UPGRADE)
    assert reading.planned == ("4.20.3.0", "4.22.1.0")
    assert [(step.version, step.seconds) for step in reading.steps] == [("4.21.0.0", 2.5)]
    assert reading.views_done and reading.touched and reading.locked


@pytest.mark.parametrize(("count", "touched"), [(0, False), (1, False), (2, True), (3, True), (6, True)])
def test_schema_counts_as_touched_from_the_procedures_on(count: int, touched: bool) -> None:
    assert read(UPGRADE[:count]).touched is touched


def test_start_killed_in_the_views_is_seen() -> None:
    reading = read(UPGRADE[:6])
    assert reading.views_begun and not reading.views_done


def test_first_error_is_kept_and_the_storm_after_it_is_not() -> None:
    reading = read(
        [
            line(1, "Error decrypting value: HAqPw*****", "ERROR"),
            line(2, "Failed to start module [system] due to: [...]", "WARN "),
            line(3, "No bean named 'DefaultConfigResources' available", "ERROR"),
        ]
    )
    assert reading.complaints[0].text == "Error decrypting value: HAqPw*****"
    assert reading.failed_modules == ["system"]


def test_stack_traces_and_other_text_are_passed_over() -> None:
    reading = read(["\tat com.cloud.Foo.bar(Foo.java:1)", "Caused by: x", ""])
    assert reading.count == 0


def test_the_first_failed_module_names_the_cause_and_the_storm_behind_it_does_not() -> None:
    storm = [line(20, f"Application context not found for module definition [m{number}]", "WARN ") for number in range(8)]
    reading = read([
        *UPGRADE,
        line(19, "Failed to start module [core] due to: [Failed to start bean 'cloudStackLifeCycle'; nested exception is X].", "WARN "),
        "Caused by: javax.naming.ConfigurationException: cluster node IP should be valid local address where the server is running",
        line(19.5, "Failed to start module [network] due to: [no parent].", "WARN "),
        "Caused by: NoSuchBeanDefinitionException",
        *storm,
    ])  # fmt: skip
    assert reading.failed_modules == ["core", "network"]
    (first,) = reading.complaints
    assert first.text.startswith("Failed to start module [core] due to")
    assert [text.split(":")[0] for text in first.chain] == ["javax.naming.ConfigurationException"]

"""Which settings of the new server are relaxed for a copy, and that they are put back and proved."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parallel_build.database.copy import bulk_load_settings
from parallel_build.errors import StepFailed
from parallel_build.remote.sql import Session


class Server:
    """A session to a server that only has global settings; `stuck` ones can be set without effect."""

    class host:
        name = "newdb1"

    def __init__(self, values: dict[str, int], stuck: tuple[str, ...] = ()) -> None:
        self.values, self.stuck = values, stuck

    def value(self, statement: str) -> Any:
        return self.values[statement.removeprefix("SELECT @@GLOBAL.")]

    def execute(self, statement: str) -> None:
        name, _, value = statement.removeprefix("SET GLOBAL ").partition(" = ")
        if name in self.stuck:
            return
        self.values[name] = int(value)
        # As both families do it: a setting takes the one along that limits it, or that it limits.
        for lower, upper in (
            ("innodb_io_capacity", "innodb_io_capacity_max"),
            ("innodb_max_dirty_pages_pct_lwm", "innodb_max_dirty_pages_pct"),
        ):
            if self.values.get(lower, 0) > self.values.get(upper, 1 << 62):
                if name == "innodb_io_capacity":
                    self.values[upper] = 2 * self.values[lower]
                else:
                    self.values[lower] = self.values[upper]


def session(values: dict[str, int], stuck: tuple[str, ...] = ()) -> Session:
    return cast(Session, Server(values, stuck))


USUAL = {
    "innodb_flush_log_at_trx_commit": 1, "sync_binlog": 1, "innodb_io_capacity": 200, "innodb_io_capacity_max": 2000,
    "innodb_max_dirty_pages_pct_lwm": 0, "innodb_max_dirty_pages_pct": 90, "binlog_cache_size": 32768,
    "max_allowed_packet": 16777216,
}  # fmt: skip


def test_only_what_is_lower_is_raised() -> None:
    opened = session({"innodb_io_capacity": 50000, "innodb_io_capacity_max": 2000})
    assert bulk_load_settings.lower(opened, bulk_load_settings.WRITING) == {"innodb_io_capacity_max": "40000"}


@pytest.mark.parametrize("lowest", [0, 50])
def test_settings_are_put_back_and_proved(lowest: int) -> None:
    values = USUAL | {"innodb_max_dirty_pages_pct_lwm": lowest}
    opened = session(dict(values))
    wanted = bulk_load_settings.wanted(opened)
    before = bulk_load_settings.current(opened, wanted)
    bulk_load_settings.change(opened, wanted)
    fake = cast(Server, opened)
    assert {name: str(value) for name, value in fake.values.items()} == wanted
    bulk_load_settings.restore(opened, before)
    assert fake.values == values


def test_a_setting_that_can_not_be_put_back_is_an_error() -> None:
    opened = session({"sync_binlog": 0, "innodb_io_capacity": 20000}, stuck=("sync_binlog",))
    with pytest.raises(StepFailed, match="sync_binlog is 0 and could not be put back to 1"):
        bulk_load_settings.restore(opened, {"sync_binlog": "1", "innodb_io_capacity": "200"})

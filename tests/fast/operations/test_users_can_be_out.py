"""What keeping users out needs is looked at in phase prepared, not for the first time in the window."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.errors import GuardFailed
from parallel_build.operations import prove_user_access
from parallel_build.operations.context import Context
from parallel_build.operations.prove_users_can_be_out import prove_users_can_be_out
from tests.fast.sites import site


class Servers:
    """A context whose servers have a packet filter, or not; it keeps what was reported."""

    def __init__(self, without: set[str], **access: Any) -> None:
        administrators = [] if access.get("method") == "command" else ["10.91.0.77/32"]
        self.configuration = site(window={"userAccess": {"administrators": administrators, **access}}).configuration
        self.without, self.reported, self.asked = without, list[str](), list[str]()

    def host(self, server: Any) -> Any:
        def run(*_: Any, **__: Any) -> Any:
            self.asked.append(server.name)
            return SimpleNamespace(ok=server.name not in self.without, stdout="10.91.0.1 1 10.91.0.11 22")

        return SimpleNamespace(run=run)

    def progress(self, text: str) -> None:
        self.reported.append(text)


@pytest.fixture(autouse=True)
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove_user_access, "_own_address", lambda context: "10.91.0.1")


def test_a_server_without_a_packet_filter_is_refused_by_name() -> None:
    with pytest.raises(GuardFailed, match="no packet filter on oldms1, newms1") as caught:
        prove_users_can_be_out(cast(Context, Servers({"oldms1", "newms1"})))
    assert "install nftables" in caught.value.remedy


def test_a_workstation_that_would_be_shut_out_is_warned_and_not_refused() -> None:
    servers = Servers(set())
    (printed,) = prove_users_can_be_out(cast(Context, servers))
    assert "this machine comes from 10.91.0.1" in printed and servers.reported[0].startswith("warning: the window would not open")


def test_with_a_command_nothing_is_looked_at() -> None:
    servers = Servers({"oldms1"}, method="command", close=["true"], open=["true"])
    assert prove_users_can_be_out(cast(Context, servers)) == [] and not servers.asked


def test_with_cidr_no_packet_filter_is_needed() -> None:
    servers = Servers({"oldms1"}, method="cidr", administrators=["10.91.0.0/24"])
    assert prove_users_can_be_out(cast(Context, servers)) == [] and not servers.reported

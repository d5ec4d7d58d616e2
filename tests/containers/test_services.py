"""A unit is stopped and fenced for good on a real systemd, whatever it is and whoever works on it meanwhile, and put back as it was found."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from parallel_build.cloudstack.services import Services
from parallel_build.operations.known_servers import found
from parallel_build.operations.original_management import put_back
from tests.containers.database_stand import roots, stand

pytestmark = [pytest.mark.databases, pytest.mark.timeout(600)]
UNIT = "toy"
FILES = r"""
cat >/etc/systemd/system/wants.service <<X
[Unit]
Wants=toy.service
[Service]
Type=oneshot
ExecStart=/bin/true
X
cat >/etc/systemd/system/tick.timer <<X
[Timer]
OnActiveSec=0.2
OnUnitActiveSec=0.3
OnUnitInactiveSec=0.3
AccuracySec=10ms
Unit=toy.service
X
cat >/etc/systemd/system/door.socket <<X
[Socket]
ListenStream=7777
Service=toy.service
X
"""
CLEAR = r"""
systemctl stop tick.timer door.socket 2>/dev/null; systemctl unmask toy 2>/dev/null; systemctl unmask --runtime toy 2>/dev/null
systemctl kill --signal=KILL toy 2>/dev/null; systemctl stop toy 2>/dev/null; systemctl disable toy 2>/dev/null
cat >/usr/lib/systemd/system/toy.service <<X
[Service]
TimeoutStopSec=8
$1
ExecStart=/bin/bash -c "$2"
[Install]
WantedBy=multi-user.target
X
systemctl daemon-reload; systemctl reset-failed toy 2>/dev/null || true
"""
PLAIN = "exec sleep 1000000"
DEAF = "trap '' TERM; while :; do sleep 0.2; done"
SLOW = "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.2; done"
ALWAYS = "Restart=always\nRestartSec=100ms"
# Who works on it meanwhile, again and again.
LOOPS = {
    "starts it": "systemctl start --no-block toy",
    "restarts it": "systemctl restart --no-block toy",
    "starts what wants it": "systemctl start --no-block wants",
    "knocks at its socket": "bash -c ': </dev/tcp/127.0.0.1/7777'",
}


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """A machine's units."""
    if "mariadb" not in roots():
        pytest.skip("no root file system with MariaDB")
    with stand() as made:
        host = made.add("olddb1", roots()["mariadb"], 13)
        host.script(FILES)
        yield Services(host)


@contextlib.contextmanager
def somebody(services: Services, what: str) -> Iterator[None]:
    """Who works on it for the time of the block."""
    if what not in LOOPS:
        yield
        return
    loop = f"while :; do {LOOPS[what]} 2>/dev/null; sleep 0.03; done"
    services.host.run(["systemd-run", "--quiet", "--unit=somebody", "sh", "-c", loop])
    try:
        yield
    finally:
        services.host.run(["sh", "-c", "systemctl stop somebody; systemctl reset-failed somebody"], ok=None)


@pytest.mark.parametrize(
    ("settings", "program", "before", "meanwhile", "patience"),
    [
        ("", PLAIN, "systemctl enable --now toy", "", None),
        ("", SLOW, "systemctl start toy", "", None),
        ("", DEAF, "systemctl enable --now toy", "", 1.0),
        (ALWAYS, PLAIN, "systemctl enable --now toy", "", None),
        (ALWAYS, DEAF, "systemctl start toy", "", 1.0),
        (ALWAYS, PLAIN, "systemctl start toy; systemctl mask toy", "", None),
        ("", PLAIN, "systemctl enable toy; systemctl mask --runtime toy", "", None),
        ("", PLAIN, "systemctl enable --now toy; systemctl mask --runtime toy", "", 1.0),
        ("ExecStopPost=/bin/sh -c 'systemctl start --no-block toy'", PLAIN, "systemctl enable --now toy", "", None),
        ("", SLOW, "systemctl enable --now toy", "starts it", None),
        ("", SLOW, "systemctl enable --now toy", "starts it", 1.0),
        (ALWAYS, PLAIN, "systemctl start toy", "restarts it", None),
        ("", PLAIN, "systemctl start toy", "starts what wants it", None),
        ("", PLAIN, "systemctl start tick.timer; systemctl start toy", "a timer starts it", None),
        ("", PLAIN, "systemctl start door.socket toy", "knocks at its socket", None),
    ],
)
def test_a_unit_is_fenced_and_put_back(
    services: Services, settings: str, program: str, before: str, meanwhile: str, patience: float | None
) -> None:
    services.host.script(f"set +e\n{CLEAR}", [settings, program])
    services.host.run(["sh", "-c", before])
    state = services.state(UNIT)
    began = time.monotonic()
    with somebody(services, meanwhile):
        assert services.stop_and_fence(UNIT, timeout=60, patience=patience)
        after = services.state(UNIT)
        left = services.host.run(["sh", "-c", "cat /sys/fs/cgroup/system.slice/toy.service/cgroup.procs"], ok=None).stdout
        assert after.fenced and not after.enabled and not left, (after, left)
        assert not services.stop_and_fence(UNIT, patience=patience), "done is done"
    assert time.monotonic() - began < 40
    services.host.run(["sh", "-c", "systemctl stop tick.timer door.socket 2>/dev/null; systemctl reset-failed toy"], ok=None)
    put_back(services, UNIT, found(state))
    now = services.state(UNIT)
    assert (now.active, now.masked) == (state.active, state.masked)
    assert state.masked or now.enabled == state.enabled

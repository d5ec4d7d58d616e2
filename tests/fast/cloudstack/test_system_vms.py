"""Releases of system VMs: what counts as the same, and which networks have to be restarted."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import patience, systemvms
from parallel_build.cloudstack.api import ApiRefused, JobFailed
from parallel_build.cloudstack.patience import Patience
from parallel_build.cloudstack.systemvms import read_on_system_vm, running, same_release
from parallel_build.configuration import Server, Ssh
from parallel_build.errors import CommandFailed
from parallel_build.operations.serve_original import is_system_vm
from parallel_build.remote.host import Host
from parallel_build.remote.openssh import Client, Result
from parallel_build.versions import CloudStackVersion
from tests.fast.local_host import LocalHost


@pytest.mark.parametrize(
    ("text", "wanted", "same"),
    [
        ("Cloudstack Release 4.22.0 Tue 04 Nov 2026", "4.22.0", True),
        ("4.22.0", "4.22.0.0", True),
        ("systemvm-kvm-4.22.0-x86_64", "4.22.0", True),
        ("CloudStack Release 4.20.2", "4.22.0", False),
        ("4.2.20", "4.22.0", False),
        ("", "4.22.0", False),
        (None, "4.22.0", False),
        ("no number", "4.22.0", False),
    ],
)
def test_same_release(text: str | None, wanted: str, same: bool) -> None:
    assert same_release(text, wanted) is same


def test_a_system_vm_runs_only_with_its_agent() -> None:
    assert running({"state": "Running"})
    assert not running({"state": "Running", "agentstate": "Disconnected"})
    assert not running({"state": "Starting", "agentstate": "Up"})


@pytest.mark.parametrize(
    ("name", "found"), [("s-5-VM", True), ("v-12-VM", True), ("r-7-TEST", True), ("i-2-7-VM", False), ("r-x-VM", False), ("web", False)]
)
def test_users_vms_are_never_taken_for_system_vms(name: str, found: bool) -> None:
    assert is_system_vm(name) is found


def test_a_system_vm_that_lets_nobody_in_is_not_taken_for_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ssh, started on the KVM host, ends with 255, the code by which an ssh says that it could not connect."""
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'connect to host 169.254.1.1 port 3922: Connection refused' >&2\nexit 255\n")
    ssh.chmod(0o755)

    def on_the_host(client: Client, command: str, *_: object) -> Result:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=30, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(Client, "attempt", on_the_host)
    kvm = Host(Server(name="kvm1", address="192.0.2.1"), Ssh(), tmp_path, None, CancelToken())
    with pytest.raises(CommandFailed, match="exit code 1") as failed:
        read_on_system_vm(kvm, "169.254.1.1", "/etc/cloudstack-release")
    assert "Connection refused" in failed.value.cause


def test_a_job_that_fails_while_a_host_connects_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN", 0.0)
    reported: list[str] = []
    answers = [JobFailed("destroySystemVm failed in the cloud", f"Host {number} is not connected", "") for number in (2, 3)]

    def job() -> None:
        if answers:
            raise answers.pop(0)

    Patience(CancelToken(), reported.append).run(job)
    assert [line for line in reported if "Host 2 is not connected" in line or "Host 3 is not connected" in line] == reported
    assert len(reported) == 2


@pytest.mark.parametrize(
    "words",
    [
        "(1213, 'Deadlock found when trying to get lock; try restarting transaction')",
        "Lock wait timeout exceeded; try restarting transaction",
        "DB Exception on: com.mysql.cj.jdbc.ClientPreparedStatement: UPDATE nics SET nics.state='Deallocating' WHERE nics.id=12",
    ],
)
def test_a_job_that_was_ended_for_a_lock_in_the_database_is_begun_again(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(patience, "AGAIN", 0.0)
    reported: list[str] = []
    answers = [JobFailed("destroySystemVm failed in the cloud", words, "")]

    def job() -> None:
        if answers:
            raise answers.pop()

    Patience(CancelToken(), reported.append).run(job)
    assert len(reported) == 1
    assert words in reported[0]


def test_a_job_that_keeps_failing_is_reported_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN", 0.01)
    monkeypatch.setattr(patience, "AGENTS_RETURN", 0.1)
    tries: list[int] = []

    def job() -> None:
        tries.append(1)
        raise JobFailed("restartNetwork failed in the cloud", f"Host 2 is not connected, try {len(tries)}", "")

    with pytest.raises(JobFailed, match=r"not connected, try \d+") as failed:
        Patience(CancelToken(), lambda _: None).run(job)
    assert failed.value.cause == f"Host 2 is not connected, try {len(tries)}"
    assert len(tries) > 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Unable to create a deployment for VM instance, insufficient capacity", 533),
        ("Insufficient capacity exception: host 2: not connected to any storage", 533),
        ("Network is not in the right state", 530),
        ("Resource [DataCenter:1] is unreachable: Unable to apply dhcp entry on router", 534),
        ("Resource [StoragePool:4] is unreachable: pool is in maintenance", 534),
        ("", 0),
    ],
)
def test_a_job_that_fails_for_another_reason_is_not_begun_again(words: str, code: int) -> None:
    tries: list[int] = []

    def job() -> None:
        tries.append(1)
        raise JobFailed("restartNetwork failed in the cloud", words, "", code)

    with pytest.raises(JobFailed):
        Patience(CancelToken(), lambda _: pytest.fail("another try was reported")).run(job)
    assert len(tries) == 1, "each try would leave another router behind"


@pytest.mark.parametrize(
    "words",
    [
        "Resource [Host:2] is unreachable: Host 2: Host with specified id is not in the right state: Disconnected",
        "com.cloud.exception.AgentUnavailableException: agent not there",
        "Commands 123 to Host 4 timed out after 3600",
        "Host 2 is not connected",
    ],
)
def test_cloudstacks_words_for_a_host_that_connects(words: str) -> None:
    assert patience.CONNECTING.search(words)


def test_want_of_capacity_waits_for_hosts_that_are_away_and_begins_nothing_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN", 0.0)
    away = [["kvm2"], ["kvm2"], ["kvm2"], []]
    tries: list[int] = []

    def job() -> None:
        tries.append(len(away))
        if len(away) > 1:
            raise JobFailed("restartNetwork failed in the cloud", "insufficient capacity", "", 533)

    reported: list[str] = []
    Patience(CancelToken(), reported.append, lambda: away.pop(0) if len(away) > 1 else away[0]).run(job)
    assert len(tries) == 2, "the second try when all are Up"
    assert reported == ["restartNetwork failed in the cloud: insufficient capacity; again when hosts are Up: kvm2"]


def test_which_hosts_are_away() -> None:
    class Cloud:
        def list(self, command: str, **_: str) -> list[dict[str, str]]:
            return [
                {"name": "kvm1", "state": "Up", "resourcestate": "Enabled"},
                {"name": "kvm2", "state": "Connecting", "resourcestate": "Enabled"},
                {"name": "kvm3", "state": "Down", "resourcestate": "Maintenance"},
            ]

    assert patience.hosts_away(cast(Any, Cloud()))() == ["kvm2"]


def test_anything_else_than_a_failed_job_is_no_reason_to_try_again() -> None:
    def job() -> None:
        raise ApiRefused("refused", "no such command", "", 432)

    with pytest.raises(ApiRefused):
        Patience(CancelToken(), lambda _: pytest.fail("tried again")).run(job)


@pytest.mark.parametrize(("version", "tool"), [("4.21.0.0", "md5"), ("4.22.0.0", "sha512"), ("24.0.0", "sha512")])
def test_a_servers_own_scripts_have_the_checksum_that_routers_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, tool: str
) -> None:
    path = tmp_path / "cloud-scripts.tgz"
    monkeypatch.setattr(systemvms, "SCRIPTS", str(path))
    assert systemvms.own_scripts(LocalHost("newms1"), CloudStackVersion(version)) == "", "unknown is never taken for a checksum"
    path.write_bytes(b"scripts")
    assert systemvms.own_scripts(LocalHost("newms1"), CloudStackVersion(version)) == hashlib.new(tool, b"scripts").hexdigest()

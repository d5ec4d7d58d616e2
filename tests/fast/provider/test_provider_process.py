"""The provider as a process: how it starts, and that it never outlives its engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from parallel_build.configuration import Phase
from parallel_build.provider.server import engine_address
from parallel_build.provider.values import to_struct
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY, Step
from tests.fast.sites import site as make_site

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
URN = "urn:pulumi:test::cloudstack-parallel-build::cutover:index:Toy::one"
# Listens as the engine does, starts the provider, and waits to be killed; its parent gets the provider's port.
PARENT = """
import socket, subprocess, sys
with socket.create_server(("127.0.0.1", 0)) as engine:
    address = f"127.0.0.1:{engine.getsockname()[1]}"
    provider = subprocess.Popen([sys.executable, "-m", "tests.fast.provider_toy_process", sys.argv[1], "--logtostderr", "-v=3", address],
                                stdout=subprocess.PIPE, text=True, start_new_session=True)
    print(provider.stdout.readline().strip(), flush=True)
    provider.wait()
"""


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def gone_within(pid: int, seconds: float) -> bool:
    """Wait for the process's end."""
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def environment() -> dict[str, str]:
    """With the checkout on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A pretended engine's address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def inputs(folder: Path) -> dict[str, Any]:
    """A toy's inputs."""
    site = make_site(runs=str(folder / "runs"))
    return {"site": site.to_json(), "parameters": {"name": "one", "folder": str(folder)}, "plan": [], "undo": []}


def start_step(port: int, folder: Path) -> threading.Thread:
    """Start a step that waits, and return when it runs."""
    (folder / "fail").write_text("wait")
    stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel(f"127.0.0.1:{port}"))

    def create() -> None:
        with contextlib.suppress(grpc.RpcError):
            stub.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct(inputs(folder))))

    thread = threading.Thread(target=create, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not (folder / "calls").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return thread


def journal(folder: Path) -> list[dict[str, Any]]:
    """The run's journal."""
    return [json.loads(line) for line in (folder / "runs/test/journal.jsonl").read_text().splitlines()]


def test_the_engine_killed_ends_the_step_and_the_provider(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(pid_file)], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    try:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        pid = int(pid_file.read_text())
        start_step(port, tmp_path)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert gone_within(pid, 10)
    finally:
        parent.kill()
        parent.wait()
    last = journal(tmp_path)[-1]
    assert last["kind"] == "end"
    assert "engine" in last["outcome"]


def test_an_engine_that_does_not_answer_any_more_ends_the_provider(tmp_path: Path, listener: socket.socket) -> None:
    """The process between the engine and the provider lives on: only the address shows it."""
    pid_file = tmp_path / "pid"
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.fast.provider_toy_process", str(pid_file), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as process:
        assert process.stdout is not None
        start_step(int(process.stdout.readline()), tmp_path)
        assert alive(process.pid)
        listener.close()
        assert process.wait(15) == 0
    assert "does not answer" in journal(tmp_path)[-1]["outcome"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_ends_at_once(tmp_path: Path, listener: socket.socket, number: signal.Signals) -> None:
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.fast.provider_toy_process", str(tmp_path / "pid"), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        process.send_signal(number)
        assert process.wait(30) == 0


def test_the_executable_serves_and_hands_no_configuration_on(tmp_path: Path, listener: socket.socket) -> None:
    """From a folder that holds a package of the same name, as the engine starts it in the operator's project."""
    (tmp_path / "provider").mkdir()
    (tmp_path / "provider" / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    command = [str(ROOT / "provider/pulumi-resource-cutover"), f"127.0.0.1:{listener.getsockname()[1]}"]
    variables = {**os.environ, "PULUMI_PYTHON_CMD": sys.executable}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=variables) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
        schema = json.loads(stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    assert {"cutover:index:SshHostKey", "cutover:index:MachineReady", "cutover:index:Window"} <= set(schema["resources"])


def test_the_engines_address_is_the_last_word_that_is_no_flag() -> None:
    assert engine_address(["--logtostderr", "-v=3", "127.0.0.1:1"]) == "127.0.0.1:1"
    assert engine_address(["127.0.0.1:1", "--tracing"]) == "127.0.0.1:1"
    assert engine_address([]) is None


def test_every_step_of_the_switched_phase_asks_before_its_undo() -> None:
    load_all()
    switched = {name: kind for name, kind in REGISTRY.items() if kind.phase is Phase.SWITCHED}
    assert switched
    assert [name for name, kind in switched.items() if kind.before_revert is Step.before_revert] == []

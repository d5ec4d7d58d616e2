"""The engine that started this process: telling it what happens, and noticing that it is gone."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

POLL = 0.5
CONNECT_TIMEOUT = 2.0
MISSED = 3


class Engine:
    """The engine's side of the protocol.

    Args:
        address: `host:port` of its gRPC service; it listens on the loopback interface.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(address)
        self._stub = engine_pb2_grpc.EngineStub(self._channel)

    def status(self, urn: str, message: str) -> None:
        """Show a line in the resource's row for as long as it runs."""
        self._log(urn, message, engine_pb2.INFO, ephemeral=True)

    def warn(self, urn: str, message: str) -> None:
        """Keep a warning below the resource's name in the final output."""
        self._log(urn, message, engine_pb2.WARNING, ephemeral=False)

    def _log(self, urn: str, message: str, severity: engine_pb2.LogSeverity.ValueType, *, ephemeral: bool) -> None:
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        # A line of progress is not worth a step: an engine that is gone is noticed by EngineWatch, which stops the steps.
        with contextlib.suppress(grpc.RpcError):
            self._stub.Log(request, timeout=5)

    def answers(self) -> bool:
        """Whether something still listens on the engine's address."""
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class EngineWatch(threading.Thread):
    """Notices that the engine is gone, by its process or by its address.

    The process that started this one may be the engine or something between (a shell); the address is the engine's own. SIGKILL of the
    engine ends neither this process nor its steps, so both are asked all the time.

    Args:
        engine: what to watch.
        gone: called once, with the reason.
    """

    def __init__(self, engine: Engine, gone: Callable[[str], None]) -> None:
        super().__init__(name="engine-watch", daemon=True)
        self._engine, self._gone = engine, gone
        self._parent = os.getppid()
        self._end = threading.Event()

    def run(self) -> None:
        """Ask until the engine is gone, or the watch is ended."""
        missed = 0
        while not self._end.wait(POLL):
            if os.getppid() != self._parent:
                self._gone("the Pulumi engine's process has ended")
                return
            missed = 0 if self._engine.answers() else missed + 1
            if missed >= MISSED:
                self._gone(f"the Pulumi engine does not answer at {self._engine.address} any more")
                return

    def end(self) -> None:
        """Stop watching."""
        self._end.set()

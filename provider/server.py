"""The provider process: serves on a port of its own, prints it on standard output, and ends with its engine.

`python -m parallel_build.provider.server ENGINE_ADDRESS`, as the engine starts it; further flags of the engine are ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from parallel_build import core_files
from parallel_build.provider.engine import Engine, EngineWatch
from parallel_build.provider.handler import Handler
from parallel_build.provider.servicer import Servicer
from parallel_build.provider.session import Session

# Steps of a stack that run at the same time wait for servers, not for this process.
THREADS = 64
MESSAGE_SIZE = 400 * 1024 * 1024  # the engine's own limit [pulumi sdk/go/common/util/rpcutil]
METADATA_SIZE = 4 * 1024 * 1024  # a partial failure travels in the trailing metadata
# How long a running step may take to its next safe point after its engine is gone; longer than any command that must not be torn.
GRACE = 120.0
# The engine kills a plugin 5 seconds after asking it to end.
SHUTDOWN_GRACE = 4.0


@dataclass
class Server:
    """A serving provider.

    Attributes:
        session: its state.
        port: where it serves, on the loopback interface.
    """

    session: Session
    grpc_server: grpc.Server
    port: int
    ended: threading.Event = field(default_factory=threading.Event)

    def stop(self, reason: str, grace: float) -> None:
        """Ask running steps to stop, wait for them at most `grace` seconds, then let `wait` return."""
        if self.session.busy:
            self.session.cancel.set(reason)
            self.session.wait_idle(grace)
        self.ended.set()

    def wait(self) -> None:
        """Wait until the server was asked to stop."""
        self.ended.wait()
        self.grpc_server.stop(grace=0.5).wait()
        self.session.close()


def serve(engine: Engine, handlers: Mapping[str, Handler]) -> Server:
    """Start serving.

    Args:
        engine: who asks.
        handlers: resource types and what handles them.
    """
    session = Session(engine)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=THREADS),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_SIZE),
            ("grpc.max_send_message_length", MESSAGE_SIZE),
            ("grpc.max_metadata_size", METADATA_SIZE),
            ("grpc.absolute_max_metadata_size", METADATA_SIZE),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(session, handlers), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return Server(session, server, port)


def engine_address(arguments: list[str]) -> str | None:
    """The engine's address: the last argument that is no flag."""
    return next((argument for argument in reversed(arguments) if not argument.startswith("-")), None)


def main(handlers: Mapping[str, Handler] | None = None) -> int:
    """Serve until the engine ends this process or is gone."""
    address = engine_address(sys.argv[1:])
    if address is None:
        print("usage: pulumi-resource-cutover ENGINE_ADDRESS (started by the Pulumi engine)", file=sys.stderr)
        return 2
    core_files.refuse()
    # Values of `cutover:` settings would otherwise be handed on to every command that is run.
    os.environ.pop("PULUMI_CONFIG", None)
    if handlers is None:
        from parallel_build.provider.handlers import all_handlers

        handlers = all_handlers()
    engine = Engine(address)
    server = serve(engine, handlers)

    def ask_to_end(signal_number: int, frame: object) -> None:
        threading.Thread(target=server.stop, args=("the engine ended the provider", SHUTDOWN_GRACE), daemon=True).start()

    signal.signal(signal.SIGINT, ask_to_end)
    signal.signal(signal.SIGTERM, ask_to_end)
    watch = EngineWatch(engine, lambda reason: server.stop(reason, GRACE))
    watch.start()
    print(server.port, flush=True)
    server.wait()
    watch.end()
    # Threads of steps that did not reach a safe point in time must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

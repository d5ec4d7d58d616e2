"""A provider served in this process, a pretended engine, and toy steps whose failures the tests choose."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from google.protobuf import empty_pb2
from google.rpc import status_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import ConfigurationError, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.provider.engine import Engine
from parallel_build.provider.failure import DETAILS
from parallel_build.provider.handlers import token
from parallel_build.provider.key_handler import SshHostKeyHandler
from parallel_build.provider.server import Server, serve
from parallel_build.provider.step_handler import StepHandler
from parallel_build.provider.values import from_struct, to_struct
from parallel_build.steps.base import Step
from tests.fast.sites import site as make_site

PLANTED = "cloudpassword1"


class Toy(Step):
    """Does what `parameters.fail` says, and keeps count of its calls in `folder`."""

    type = "Toy"
    phase = Phase.SWITCHED
    summary = "toy step"
    release: ClassVar[threading.Event] = threading.Event()

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """One line."""
        return ["do it"]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """One line."""
        return ["undo it"]

    def apply(self, context: Context) -> Outputs:
        """Fails as asked."""
        self._count("apply", context)
        fail = self._reported()
        if fail == "guard":
            raise GuardFailed("a rule does not hold", "planted", "nothing")
        if fail == "configuration":
            raise ConfigurationError("a key is wrong", "the toy is set to", "set it otherwise")
        context.intend("do it", password=PLANTED)
        context.note(first="done")
        context.progress(f"half way with {PLANTED}")
        if fail == "wait":
            while not self.release.wait(0.02):
                context.cancel.check()
        if fail == "step":
            raise StepFailed(f"the second half failed with {PLANTED}", "planted", "remove the cause")
        if fail == "bug":
            raise ZeroDivisionError(f"division of {PLANTED} by zero")
        return {"second": f"done with {PLANTED}"}

    def verify(self, context: Context) -> Outputs:
        """Fails as asked, without having acted."""
        self._count("verify", context)
        if self._reported() == "verify":
            raise StepFailed("it is not so any more", "the toy is set to", "set it otherwise")
        return {"verified": True}

    def before_revert(self, context: Context) -> None:
        """Refuses past the rollback window."""
        if self._reported() == "late" and not context.configuration.window.force_rollback:
            raise GuardFailed("going back is refused", "the toy is set to", "set it otherwise")

    def revert(self, context: Context) -> None:
        """Fails as asked."""
        self._count("revert", context)
        if self._reported() == "revert":
            raise RollbackIncomplete(f"half of it is left with {PLANTED}", "the toy is set to", "set it otherwise")

    def _folder(self) -> Path:
        return Path(self.parameters["folder"])

    def _reported(self) -> str:
        reported = self._folder() / "fail"
        return reported.read_text() if reported.exists() else ""

    def _count(self, what: str, context: Context) -> None:
        with (self._folder() / "calls").open("a") as file:
            file.write(f"{what} {context.configuration.window.rollback_window.total_seconds():.0f}\n")


class EarlyToy(Toy):
    """The same in the phase `prepared`."""

    type = "EarlyToy"
    phase = Phase.PREPARED
    window_uses = "cloud_password"

    def prove_secret(self, context: Context) -> Outputs:
        """Fails as asked, without having acted."""
        self._count("prove_secret", context)
        if self._reported() == "secret":
            raise GuardFailed(
                "it is another one", f"the toy is set to, not to {context.site.secrets.cloud_password.reveal()}", "put it back"
            )
        return {"secret": True}


class SpentToy(Toy):
    """In the phase `prepared`, and used up by the switch."""

    type = "SpentToy"
    phase = Phase.PREPARED
    spent_by_switch = True

    def verify(self, context: Context) -> Outputs:
        """Used up when so asked."""
        found = super().verify(context)
        if self._reported() == "spent":
            context.pending = f"used up, {PLANTED}"
        return found


class WindowToy(Toy):
    """What was done in a window."""

    type = "WindowToy"
    of_window = True


class PretendedEngine(engine_pb2_grpc.EngineServicer):
    """Keeps what the provider logs."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, bool]] = []

    def Log(self, request: engine_pb2.LogRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Keep a line."""
        self.lines.append((request.urn, request.message, request.ephemeral))
        return empty_pb2.Empty()


@dataclass
class Partial(Exception):
    """What ErrorResourceInitFailed carried."""

    id: str
    outputs: dict[str, Any]
    reasons: list[str]


class Harness:
    """Calls the provider as the engine does."""

    def __init__(self, folder: Path, engine: PretendedEngine, server: Server) -> None:
        self.folder, self.engine, self.server = folder, engine, server
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(channel)

    def tell(self, fail: str) -> None:
        """What the toy is to fail with from now on."""
        (self.folder / "fail").write_text(fail)

    def next_run(self) -> None:
        """What this process remembers of a run is forgotten: the engine starts a process a run."""
        self.server.session._made.clear()
        self.server.session._compared.clear()
        self.server.session._newest.clear()
        self.server.session._records.clear()

    @property
    def calls(self) -> list[str]:
        """What the toy was asked, in order."""
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def inputs(self, **changes: Any) -> dict[str, Any]:
        """A step's inputs; `changes` are sections of the configuration."""
        site = make_site(runs=str(self.folder / "runs"), **changes)
        return {
            "site": site.to_json(),
            "parameters": {"name": "one", "folder": str(self.folder)},
            "plan": ["do it"],
            "undo": ["undo it"],
            "rehearsed": "",
        }

    def urn(self, kind: str = "Toy") -> str:
        """A resource's name."""
        return f"urn:pulumi:test::cloudstack-parallel-build::cutover:components:Cutover${token(kind)}::one"

    def check(self, inputs: dict[str, Any], kind: str = "Toy") -> list[str]:
        """Reasons of the failures."""
        answer = self.stub.Check(provider_pb2.CheckRequest(urn=self.urn(kind), news=to_struct(inputs)))
        return [failure.reason for failure in answer.failures]

    def diff(self, old: dict[str, Any], new: dict[str, Any], outputs: dict[str, Any] | None = None, kind: str = "Toy") -> list[str]:
        """Names of changed inputs; a replacement fails the test."""
        answer = self.stub.Diff(
            provider_pb2.DiffRequest(
                urn=self.urn(kind),
                old_inputs=to_struct(old),
                olds=to_struct(outputs or {"status": "done"}),
                news=to_struct(new),
            )
        )
        assert not answer.replaces
        assert not answer.deleteBeforeReplace
        assert bool(answer.diffs) == (answer.changes == provider_pb2.DiffResponse.DIFF_SOME)
        return list(answer.diffs)

    def create(self, inputs: dict[str, Any], kind: str = "Toy") -> tuple[str, dict[str, Any]]:
        """Id and outputs."""
        request = provider_pb2.CreateRequest(urn=self.urn(kind), properties=to_struct(inputs))
        with partial_failures():
            answer = self.stub.Create(request)
        return answer.id, from_struct(answer.properties)

    def update(self, identity: str, old: dict[str, Any], outputs: dict[str, Any], new: dict[str, Any], kind: str = "Toy") -> dict[str, Any]:
        """The new outputs."""
        request = provider_pb2.UpdateRequest(
            id=identity, urn=self.urn(kind), old_inputs=to_struct(old), olds=to_struct(outputs), news=to_struct(new)
        )
        with partial_failures():
            answer = self.stub.Update(request)
        return from_struct(answer.properties)

    def delete(self, identity: str, inputs: dict[str, Any], outputs: dict[str, Any] | None = None) -> None:
        """Delete; raises grpc.RpcError."""
        self.stub.Delete(
            provider_pb2.DeleteRequest(
                id=identity, urn=self.urn(), old_inputs=to_struct(inputs), properties=to_struct(outputs or {"status": "done"})
            )
        )

    def journal(self) -> list[dict[str, Any]]:
        """The run's journal."""
        return [json.loads(line) for line in (self.folder / "runs/test/journal.jsonl").read_text().splitlines()]

    def everything_written(self) -> str:
        """All files of the run's folder, and all that the engine was sent."""
        files = [path.read_text() for path in (self.folder / "runs").rglob("*") if path.is_file()]
        return "\n".join(files + [message for _, message, _ in self.engine.lines])


@contextlib.contextmanager
def partial_failures() -> Iterator[None]:
    """Turn ErrorResourceInitFailed into Partial."""
    try:
        yield
    except grpc.RpcError as error:
        found = [value for key, value in tuple(error.trailing_metadata() or ()) if key == DETAILS]  # type: ignore[misc, has-type]
        if not found:
            raise
        status = status_pb2.Status.FromString(found[0])
        failed = provider_pb2.ErrorResourceInitFailed()
        assert status.details[0].Unpack(failed)
        raise Partial(failed.id, from_struct(failed.properties), list(failed.reasons)) from None


def words(error: pytest.ExceptionInfo[grpc.RpcError]) -> str:
    """What the operator reads."""
    return error.value.details() or ""


@contextlib.contextmanager
def harness(folder: Path) -> Iterator[Harness]:
    """A serving provider with the toys."""
    Toy.release.clear()
    engine = PretendedEngine()
    engine_server = grpc.server(futures.ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, engine_server)
    port = engine_server.add_insecure_port("127.0.0.1:0")
    engine_server.start()
    handlers = {
        token("Toy"): StepHandler(Toy),
        token("EarlyToy"): StepHandler(EarlyToy),
        token("SpentToy"): StepHandler(SpentToy),
        token("WindowToy"): StepHandler(WindowToy),
        token("SshHostKey"): SshHostKeyHandler(),
    }
    server = serve(Engine(f"127.0.0.1:{port}"), handlers)
    try:
        yield Harness(folder, engine, server)
    finally:
        Toy.release.set()
        server.grpc_server.stop(grace=None).wait()
        server.session.close()
        engine_server.stop(grace=None)

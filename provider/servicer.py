"""Pulumi's provider protocol: each call finds its resource type's handler, and each answer keeps the provider's rules.

`acceptSecrets` and `supportsPreview` are off: handlers see plain values, and neither Create nor Update is called in a preview.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from parallel_build.errors import ParallelBuildError
from parallel_build.provider import NAME, VERSION, schema
from parallel_build.provider.failure import PartialFailure, Refused, abort_partial, abort_plain
from parallel_build.provider.handler import Handler
from parallel_build.provider.session import Operation, Session
from parallel_build.provider.values import Values, from_struct, to_struct, with_secrets
from parallel_build.release import is_later
from parallel_build.stack.plugin import ASKED, INSTALL

T = TypeVar("T")

REPLACEMENT = (
    "this is a replacement, which would undo the step right after it was done. Nothing was undone. Remedy: run `pulumi up` again without "
    "--replace: it removes the old copy from the state and undoes nothing. Take a taint (pulumi state untaint URN), replace_on_changes or "
    "a transformation of this resource back first"
)

NO_CHANGE = provider_pb2.DiffResponse.DIFF_NONE
CHANGE = provider_pb2.DiffResponse.DIFF_SOME


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The provider.

    Args:
        session: the process's state.
        handlers: resource types (`cutover:index:...`) and what handles them.
    """

    def __init__(self, session: Session, handlers: Mapping[str, Handler]) -> None:
        self.session, self.handlers = session, handlers

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The provider's version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:
        """Every resource type, described."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema.document(self.handlers)))

    def CheckConfig(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Any configuration will do: everything a step needs is in its site."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Never a change: it could replace every resource, which would undo every step."""
        return provider_pb2.DiffResponse(changes=NO_CHANGE)

    def Configure(self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        """Say which values the provider takes. A library or a state of a later version is refused: this one does not know what it means.

        An earlier version's state is taken: it is to be continued, or undone.
        """
        asked = str(from_struct(request.args).get("version") or os.environ.get(ASKED, ""))
        if asked and is_later(asked, VERSION):
            abort_plain(
                context,
                f"the library or the state asks for version {asked} of the provider {NAME}, and this is {VERSION}. Cause: they must fit together. "
                f"Remedy: in the environment of that library run `{INSTALL}`, then the same command again; nothing has been contacted or changed",
            )
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=False)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Ask every running step to stop at its next safe point."""
        self.session.cancel.set("the operator cancelled")
        return empty_pb2.Empty()

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Whether the inputs can be used; values that are not known yet are left alone."""
        handler = self._handler(request.urn, context)
        findings = handler.check(Operation(self.session, request.urn), from_struct(request.news))
        failures = [provider_pb2.CheckFailure(property=found.property, reason=found.reason) for found in findings]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """What an update would change. Never a replacement: that would be an undo."""
        handler = self._handler(request.urn, context)
        self.session.compare(request.urn)
        operation = Operation(self.session, request.urn, request.id)
        old_inputs, old_outputs, inputs = map(from_struct, (request.old_inputs, request.olds, request.news))
        self._answer(context, handler, operation, lambda: handler.before_diff(operation, old_inputs, old_outputs, inputs))
        try:
            changed = handler.changes(old_inputs, old_outputs, inputs)
        except Refused as refused:
            abort_plain(context, refused.reason)
        return provider_pb2.DiffResponse(
            changes=CHANGE if changed else NO_CHANGE,
            diffs=changed,
            detailedDiff={name: provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.UPDATE, inputDiff=True) for name in changed},
            hasDetailedDiff=True,
        )

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Make the resource."""
        handler, operation = self._handler(request.urn, context), Operation(self.session, request.urn)
        self.session.make(request.urn)
        identity, outputs = self._answer(context, handler, operation, lambda: handler.create(operation, from_struct(request.properties)))
        return provider_pb2.CreateResponse(id=identity, properties=_properties(handler, outputs))

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Change the resource in place, or resume a half-done one."""
        handler, operation = self._handler(request.urn, context), Operation(self.session, request.urn, request.id)
        old_inputs, old_outputs, inputs = map(from_struct, (request.old_inputs, request.olds, request.news))
        self.session.make(request.urn)
        outputs = self._answer(context, handler, operation, lambda: handler.update(operation, old_inputs, old_outputs, inputs))
        return provider_pb2.UpdateResponse(properties=_properties(handler, outputs))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """The resource as it is; an empty id says that it is gone, or that there is nothing that could be imported."""
        handler, operation = self._handler(request.urn, context), Operation(self.session, request.urn, request.id)
        inputs, present = from_struct(request.inputs), from_struct(request.properties)
        if not inputs and not present:
            return provider_pb2.ReadResponse()  # a step is nothing that stands somewhere: it is made by `up`, and never imported
        outputs = self._answer(context, handler, operation, lambda: handler.read(operation, inputs, present))
        if outputs is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=_properties(handler, outputs), inputs=request.inputs)

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Undo the resource; an error leaves it in the state. A deletion that is half of a replacement is refused."""
        handler, operation = self._handler(request.urn, context), Operation(self.session, request.urn, request.id)
        inputs, outputs = from_struct(request.old_inputs), from_struct(request.properties)
        if self.session.has_made(request.urn):
            abort_plain(context, REPLACEMENT)
        if self.session.has_compared(request.urn):
            # The program declares the resource, and it is as it was: what goes is the old copy of a replacement that was refused.
            self.session.engine.warn(request.urn, "the old copy of a replacement is removed from the state; nothing is undone")
            return empty_pb2.Empty()
        self._answer(context, handler, operation, lambda: handler.delete(operation, inputs, outputs))
        return empty_pb2.Empty()

    def _answer(self, context: grpc.ServicerContext, handler: Handler, operation: Operation, call: Callable[[], T]) -> T:
        """Run a handler's call while the process knows of it, and turn its failure into the protocol's."""
        try:
            with self.session.running(operation.urn):
                return call()
        except PartialFailure as failure:
            failure.outputs = with_secrets(failure.outputs, handler.secret_outputs)
            abort_partial(context, failure)
        except Refused as refused:
            abort_plain(context, refused.reason)
        except ParallelBuildError as error:
            abort_plain(context, str(error))
        except Exception as error:  # its text may hold a secret: only its kind is shown
            abort_plain(context, f"unexpected {type(error).__name__} in the provider. {_where(error)}")

    def _handler(self, urn: str, context: grpc.ServicerContext) -> Handler:
        token = resource_type(urn)
        handler = self.handlers.get(token)
        if handler is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the provider {NAME} has no resource type {token}")
        return handler


def resource_type(urn: str) -> str:
    """The resource's own type in `urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME`."""
    return urn.split("::")[2].rpartition("$")[2]


def _properties(handler: Handler, outputs: Values) -> struct_pb2.Struct:
    return to_struct(with_secrets(outputs, handler.secret_outputs))


def _where(error: Exception) -> str:
    """Where an unexpected error was raised: file and line, no values."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"Raised at {frames[-1].filename}:{frames[-1].lineno}." if frames else ""

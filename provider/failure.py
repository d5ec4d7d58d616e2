"""How a failure reaches the engine: as plain words, or recorded with what was done so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import grpc
from google.rpc import status_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2

from parallel_build.provider.values import Values, to_struct

DETAILS = "grpc-status-details-bin"


@dataclass
class PartialFailure(Exception):
    """A resource is there, but not finished: the engine writes it to the state, `up` updates it and `destroy` deletes it.

    Attributes:
        id: the resource's id.
        outputs: what is to be in the state.
        reason: words for the operator, secrets masked.
    """

    id: str
    outputs: Values
    reason: str


@dataclass
class Refused(Exception):
    """Nothing is recorded; the words go to the operator, secrets masked."""

    reason: str


def abort_partial(context: grpc.ServicerContext, failure: PartialFailure) -> NoReturn:
    """End the call with ErrorResourceInitFailed, the only answer to Create and Update that keeps a failed resource in the state."""
    detail = provider_pb2.ErrorResourceInitFailed(id=failure.id, properties=to_struct(failure.outputs), reasons=[failure.reason])
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=failure.reason)
    status.details.add().Pack(detail)
    context.set_trailing_metadata(((DETAILS, status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, failure.reason)


def abort_plain(context: grpc.ServicerContext, reason: str) -> NoReturn:
    """End the call with words only; a create is not recorded, a delete leaves the resource in the state."""
    # FAILED_PRECONDITION is not among the codes that the engine takes for "the resource's state is unknown now".
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)

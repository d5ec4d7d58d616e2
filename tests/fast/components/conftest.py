"""What Pulumi programs of these tests leave out: it costs a quarter of their time, and is nothing of ours."""

from __future__ import annotations

import pytest
from pulumi.runtime.proto import source_pb2


@pytest.fixture(autouse=True)
def _no_source_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where in a program each resource was declared, which Pulumi looks up frame by frame."""
    monkeypatch.setattr("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace)

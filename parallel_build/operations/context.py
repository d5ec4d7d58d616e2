"""What a running step may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.configuration import Server, StackConfiguration
from parallel_build.records.run_folder import RunFolder
from parallel_build.records.run_number import Claims
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site

Outputs = dict[str, Any]


@dataclass
class Context:
    """What a running step may use.

    Attributes:
        site: the resolved stack.
        connections: sessions to its servers.
        run: journal, evidence and log.
        cancel: the engine's Cancel; look at it wherever stopping is safe.
        tell: shows the operator one line of progress for this step.
        step: name of the step, as its evidence and journal lines carry it.
        done: what the step has done so far, in the state also when it fails.
        acted: whether a change was announced or made; a guard that fails before that leaves nothing to undo.
        claims: the numbers that this process has taken for its writes.
        undoing: the step is being undone, or the window rolled back.
        pending: why the step has to be applied again by the next `up` although nothing failed; empty when it is done.
    """

    site: Site
    connections: Connections
    run: RunFolder
    cancel: CancelToken
    tell: Callable[[str], None]
    step: str = ""
    done: Outputs = field(default_factory=dict)
    acted: bool = False
    undoing: bool = False
    pending: str = ""
    shown: str = ""
    claims: Claims = field(default_factory=Claims)

    @property
    def configuration(self) -> StackConfiguration:
        """The stack's configuration."""
        return self.site.configuration

    def host(self, server: Server) -> Access:
        """The session to a server."""
        return self.connections.host(server)

    def progress(self, message: str) -> None:
        """Show it to the operator, and keep it in the run's log; the same line twice in a row is shown once."""
        if message == self.shown:
            return
        self.shown = message
        self.run.log(self.step, message)
        self.tell(message)

    def intend(self, action: str, **details: Any) -> None:
        """Write down what is about to be done, before it is done."""
        self.acted = True
        self.run.record("intent", step=self.step, action=action, **details)

    def note(self, **outputs: Any) -> None:
        """Remember what has been done so far: it is recorded in the state also when the step fails after it."""
        self.acted = True
        self.done.update(outputs)

"""The provider's own main with every resource type, none of which does anything: a process for tests of what an `up` would do to a state.

Checks and differences are the real ones.
"""

from __future__ import annotations

import sys

from parallel_build.provider.container_handler import ContainerMachineHandler
from parallel_build.provider.handler import Handler
from parallel_build.provider.handlers import all_handlers
from parallel_build.provider.server import main
from parallel_build.provider.session import Operation
from parallel_build.provider.step_handler import DONE, StepHandler
from parallel_build.provider.values import Values


class IdleStep(StepHandler):
    """A step that is done at once and undone at once."""

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """As the real one, without the step."""
        site, _ = self._open(inputs)
        identity = "/".join(filter(None, [self.step_class.type, site.stack, self._key(inputs)]))
        return identity, self._outputs(inputs, {}, DONE)

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Store."""
        return self._outputs(inputs, {}, DONE)

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """Nothing."""


class IdleContainer(ContainerMachineHandler):
    """A machine that is there at once."""

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """As the real one, without a container."""
        return f"ContainerMachine/{inputs['name']}", self._outputs(inputs)

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Store."""
        return self._outputs(inputs)

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """Nothing."""


def idle(handler: Handler) -> Handler:
    """The handler without what it does."""
    if isinstance(handler, StepHandler):
        return IdleStep(handler.step_class)
    return IdleContainer() if isinstance(handler, ContainerMachineHandler) else handler


if __name__ == "__main__":
    sys.exit(main({token: idle(handler) for token, handler in all_handlers().items()}))

"""StackIdentity: what tells a stack from any other, made once and kept in the state; windows are known by it."""

from __future__ import annotations

import secrets

from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values, is_unknown

BYTES = 12


class StackIdentityHandler(Handler):
    """Inputs: `former` (the identity as version 1 of the record derived it), `adopt` (of a window that another state opened; null for none).

    Outputs: the inputs, and `identities`, the present one first. An identity that a window may be known by never goes.
    """

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """An identity is one word."""
        adopted = inputs.get("adopt")
        if adopted is None or is_unknown(adopted) or (isinstance(adopted, str) and adopted.isalnum()):
            return []
        return [Finding("adopt", f"{adopted!r} is no identity of a window: `parallel-build recover STACK` prints it")]

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """Only a window that is adopted adds one: what `former` is derived from may change, what it was at first stays."""
        adopted = inputs.get("adopt")
        return ["adopt"] if adopted and adopted not in (old_outputs.get("identities") or [])[:1] else []

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Make the identity."""
        own = secrets.token_hex(BYTES)
        return f"StackIdentity/{own}", self._outputs(inputs, [own, str(inputs.get("former") or "")])

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Keep all, put an adopted one first."""
        return self._outputs(inputs, [str(known) for known in old_outputs.get("identities") or []])

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """It is nowhere but in the state; the window is closed by then, or its undo would have ended the run."""

    @staticmethod
    def _outputs(inputs: Values, known: list[str]) -> Values:
        adopted = str(inputs.get("adopt") or "")
        return {**inputs, "identities": list(dict.fromkeys(filter(None, [adopted, *known])))}

"""StackIdentity: what tells a stack from any other, made once and kept in the state; windows are known by it."""

from __future__ import annotations

import secrets

from parallel_build.configuration import Phase
from parallel_build.provider.failure import Refused
from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values, is_unknown

BYTES = 12


class StackIdentityHandler(Handler):
    """Inputs: `former` (the identity as version 1 of the record derived it), `adopt` (of a window that another state opened; null for none),
    `stack`, `phase`, `machines` (name -> address and platform of each new machine).

    Outputs: the inputs, and `identities`, the present one first. An identity that a window may be known by never goes.
    """

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """An identity is one word."""
        adopted = inputs.get("adopt")
        if adopted is None or is_unknown(adopted) or (isinstance(adopted, str) and adopted.isalnum()):
            return []
        return [Finding("adopt", f"{adopted!r} is no identity of a window: `parallel-build recover STACK` prints it")]

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """A window that is adopted adds an identity; what `former` is derived from may change, what it was at first stays.

        Raises:
            Refused: the stack bears another name than its machines, or a machine that users may work on is declared no more.
        """
        refuse_other_names(old_inputs, inputs)
        adopted = inputs.get("adopt")
        changed = ["adopt"] if adopted and adopted not in (old_outputs.get("identities") or [])[:1] else []
        return changed + [name for name in ("stack", "phase", "machines") if old_inputs.get(name) != inputs.get(name)]

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Make the identity."""
        own = secrets.token_hex(BYTES)
        return f"StackIdentity/{own}", self._outputs(inputs, [own, str(inputs.get("former") or "")])

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Keep all, put an adopted one first."""
        refuse_other_names(old_inputs, inputs)
        return self._outputs(inputs, [str(known) for known in old_outputs.get("identities") or []])

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """It is nowhere but in the state; the window is closed by then, or its undo would have ended the run."""

    @staticmethod
    def _outputs(inputs: Values, known: list[str]) -> Values:
        adopted = str(inputs.get("adopt") or "")
        return {**inputs, "identities": list(dict.fromkeys(filter(None, [adopted, *known])))}


def refuse_other_names(old_inputs: Values, inputs: Values) -> None:
    """Rule: what users work on is never replaced because of a name: machines and disks are named after the stack and the stack file.

    Raises:
        Refused: names what has changed.
    """
    before, now = old_inputs.get("stack"), inputs.get("stack")
    if before and now and before != now:
        raise Refused(
            f"the stack was called {before} and is called {now} now: its machines and disks bear the old name, and would be replaced. "
            f"Nothing was changed. Remedy: pulumi stack rename {before}"
        )
    if not (_switched(old_inputs) and _switched(inputs)):
        return
    old, new = old_inputs.get("machines") or {}, inputs.get("machines") or {}
    lost = [
        f"{name} ({made}" + (f", now {new[name]})" if name in new else ", not declared any more)")
        for name, made in old.items()
        if new.get(name) != made
    ]
    if lost:
        raise Refused(
            f"new machines that are in service since the switch are other ones in the stack file: {'; '.join(sorted(lost))}. An up would delete or "
            "replace them, and with them what users have worked on. Nothing was changed. Remedy: put them back into the stack file as they were; "
            "to give one up, go back to phase prepared first"
        )


def _switched(inputs: Values) -> bool:
    phase = inputs.get("phase")
    return isinstance(phase, str) and phase in set(Phase) and Phase(phase).reached(Phase.SWITCHED)

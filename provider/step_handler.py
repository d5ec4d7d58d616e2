"""A resource that is a step: create does it, delete undoes it, a failure on the way is recorded."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_args

from parallel_build.configuration import Phase, SwitchedStepName
from parallel_build.errors import (
    Cancelled,
    ConfigurationError,
    GuardFailed,
    ParallelBuildError,
)
from parallel_build.operations import window_standing
from parallel_build.operations.context import Context, Outputs
from parallel_build.provider.failure import PartialFailure, Refused
from parallel_build.provider.handler import Finding, Handler
from parallel_build.provider.relevance import for_undo, relevant
from parallel_build.provider.session import Operation
from parallel_build.provider.values import Values, is_unknown, plain
from parallel_build.records.run_folder import RunFolder, now
from parallel_build.resolved_stack import Site
from parallel_build.secret import mask, masked
from parallel_build.steps.base import Step

DONE = "done"
PARTIAL = "partial: "
NOT_PART = "not part of this window: the step is newer than the window that is open; nothing is done"
# Raised before a step has announced or made a change, these leave nothing behind that an undo would be for.
HARMLESS = (ConfigurationError, GuardFailed, Cancelled)


@lru_cache(maxsize=64)
def read_site(text: str) -> Site:
    """The site of an input text.

    Raises:
        ConfigurationError: it is not one.
    """
    try:
        return Site.from_json(text)
    except (ValueError, KeyError, TypeError):
        # The cause's own words could hold a secret.
        raise ConfigurationError(
            "the input `site` is not a site",
            "it was written by another version of this project",
            "run `pulumi up` again",
        ) from None


class StepHandler(Handler):
    """Maps one step class to the engine's calls.

    Inputs: `site` (secret JSON text), `parameters`, and the texts `plan`, `undo`, `rehearsed`.
    Outputs: the inputs without `site`, `result` (the evidence), `status` (`done`, or `partial: ...` with the reason).
    """

    def __init__(self, step_class: type[Step]) -> None:
        self.step_class = step_class

    def check(self, operation: Operation, inputs: Values) -> list[Finding]:
        """The site must be readable; it is also the newest word for undos of this run."""
        site = inputs.get("site")
        if is_unknown(site):
            return []
        if not isinstance(site, str):
            return [Finding("site", "the resolved stack is missing")]
        try:
            operation.session.hear(read_site(site))
        except ConfigurationError as error:
            return [Finding("site", str(error))]
        return []

    def before_diff(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> None:
        """What was done in a window counts only as long as the window's record says so.

        Raises:
            Refused: the window was rolled back without Pulumi, or is a different one, or its record can't be used.
        """
        if not self.step_class.of_window or is_unknown(inputs.get("site")) or old_outputs.get("status", DONE) != DONE:
            return
        site, _ = self._open(inputs)
        secrets = site.hidden()
        try:
            seen, just_now = operation.session.record(site)
            unasked = window_standing.check(seen, site, self.step_class.type, old_outputs.get("result") or {})
        except ParallelBuildError as error:
            raise Refused(mask(str(error), secrets)) from None
        if unasked and just_now:
            operation.session.engine.warn(operation.urn, mask(unasked, secrets))

    def changes(self, old_inputs: Values, old_outputs: Values, inputs: Values) -> list[str]:
        """Site and parameters by meaning; the texts of plan, undo and rehearsal are never a change."""
        changed = []
        old_site, site = old_inputs.get("site"), inputs.get("site")
        if is_unknown(site) or self._meaning(old_site) != self._meaning(site):
            changed.append("site")
        if is_unknown(inputs.get("parameters")) or (old_inputs.get("parameters") or {}) != (inputs.get("parameters") or {}):
            changed.append("parameters")
        if self._other_machines(old_inputs, inputs):
            changed.append("machines")
        if not changed and str(old_outputs.get("status", DONE)).startswith(PARTIAL):
            changed.append("site")
        if not changed and self.step_class.spent_by_switch and self._goes_back(old_inputs, site):
            changed.append("site")
        return changed

    def create(self, operation: Operation, inputs: Values) -> tuple[str, Values]:
        """Apply the step; what an interrupted create left is the step's own to find."""
        site, step = self._open(inputs)
        identity = "/".join(filter(None, [self.step_class.type, site.stack, self._key(inputs)]))
        return identity, self._advance(operation, identity, site, inputs, forward(step))

    def update(self, operation: Operation, old_inputs: Values, old_outputs: Values, inputs: Values) -> Values:
        """Resume where a partial step stopped, begin again on a machine that was recreated; else store the inputs and prove the step again."""
        site, step = self._open(inputs)
        if str(old_outputs.get("status", "")) != DONE:
            return self._advance(operation, operation.id, site, inputs, forward(step))
        # A proof that fails without touching anything leaves the step done and its old inputs in the state: the next `up` asks again.
        if self._past(old_inputs, site):
            if self._other_secret(old_inputs, site):
                return self._advance(operation, operation.id, site, inputs, step.prove_secret, harmless=(Exception,))
            return self._outputs(inputs, old_outputs.get("result") or {}, DONE)
        if self._other_machines(old_inputs, inputs):
            return self._advance(operation, operation.id, site, inputs, forward(step))
        return self._advance(operation, operation.id, site, inputs, proof(step), harmless=(Exception,))

    def delete(self, operation: Operation, inputs: Values, outputs: Values) -> None:
        """Ask whether going back is allowed, then undo the step."""
        stored, step = self._open(inputs)
        newest = operation.session.newest(stored)
        unexplained(self.step_class, newest)
        site = for_undo(stored, newest)

        secrets = site.hidden()
        try:
            self._perform(operation, site, inputs, backward(step), "undo")
        except Exception as error:  # whatever a step raises, its words go out masked
            raise Refused(mask(words(error), secrets)) from None

    def _advance(
        self,
        operation: Operation,
        identity: str,
        site: Site,
        inputs: Values,
        action: Callable[[Context], Outputs],
        harmless: tuple[type[Exception], ...] = HARMLESS,
    ) -> Values:
        """Run an action that moves the step forward; `harmless` errors leave nothing to record while the step has not acted."""
        secrets = site.hidden()
        context: list[Context] = []

        def kept(made: Context) -> Outputs:
            context.append(made)
            return action(made)

        try:
            result = self._perform(operation, site, inputs, kept, "apply")
        except Exception as error:  # whatever a step raises, what it did so far is recorded
            reason = mask(words(error), secrets)
            acted = bool(context) and context[0].acted
            if not context or (isinstance(error, harmless) and not acted):
                raise Refused(reason) from None
            outputs = self._outputs(inputs, masked(plain(context[0].done), secrets), PARTIAL + reason)
            raise PartialFailure(identity, outputs, reason) from None
        pending = mask(context[0].pending, secrets)
        if pending:
            operation.session.engine.warn(operation.urn, pending)
        return self._outputs(inputs, masked(result, secrets), PARTIAL + pending if pending else DONE)

    def _perform(self, operation: Operation, site: Site, inputs: Values, action: Callable[[Context], Outputs], verb: str) -> Outputs:
        """Run one action of the step with its journal lines, its evidence and its timing."""
        session, secrets = operation.session, site.hidden()
        name = self._name(inputs)
        run = RunFolder(site.configuration.runs, site.stack, secrets)

        def tell(message: str) -> None:
            operation.tell(mask(message, secrets))

        context = Context(site, session.connections(site), run, session.cancel, tell, name, claims=session.claims)
        started, clock = now(), time.monotonic()
        run.record("begin", step=name, operation=verb)
        rehearsed = inputs.get("rehearsed")
        tell(self.step_class.summary + (f" ({rehearsed})" if rehearsed and verb == "apply" else ""))
        outcome, result = DONE, context.done
        try:
            session.cancel.check()
            found = action(context)
            result = plain({**context.done, **found})
        except Exception as error:
            outcome, result = mask(words(error), secrets), plain(context.done)
            if not isinstance(error, ParallelBuildError):
                run.log(name, "".join(traceback.format_exception(error)))
            raise
        finally:
            seconds = round(time.monotonic() - clock, 3)
            timing = {"started": started, "ended": now(), "seconds": seconds}
            # The step's own outcome counts, not whether its record could be written; the journal's `begin` is there in any case.
            with contextlib.suppress(OSError):
                run.record("end", step=name, operation=verb, outcome=outcome, seconds=seconds)
                evidence = {"step": name, "operation": verb, "outcome": outcome, "timing": timing, "result": result}
                run.keep(name if verb == "apply" else f"{name}.{verb}", evidence)
        tell(f"{outcome} in {seconds:.1f} s")
        return {**result, "timing": timing}

    def _open(self, inputs: Values) -> tuple[Site, Step]:
        try:
            site = read_site(str(inputs.get("site")))
        except ConfigurationError as error:
            raise Refused(str(error)) from None
        return site, self.step_class(inputs.get("parameters") or {})

    def _past(self, old_inputs: Values, site: Site) -> bool:
        """Whether the stack has gone beyond the step's phase, so that its proof can't hold: after the switch the original is down."""
        if self.step_class.phase.reached(Phase.SWITCHED):
            return False
        phases = [site.configuration.phase]
        # A step that the window uses up is asked in a rollback, too: it knows best whether it still holds.
        if not self.step_class.spent_by_switch:
            with contextlib.suppress(ConfigurationError):
                phases.append(read_site(str(old_inputs.get("site"))).configuration.phase)
        return any(phase.reached(Phase.SWITCHED) for phase in phases)

    def _other_secret(self, old_inputs: Values, site: Site) -> bool:
        """Whether a window is wanted that would use another secret than the step has set."""
        name = self.step_class.window_uses
        if not name or not site.configuration.phase.reached(Phase.SWITCHED):
            return False
        try:
            before = read_site(str(old_inputs.get("site")))
        except ConfigurationError:
            return True
        return bool(getattr(before.secrets, name) != getattr(site.secrets, name))

    @staticmethod
    def _goes_back(old_inputs: Values, site: Any) -> bool:
        """Whether the stack was switched when it was last asked for, and is not to be any more."""
        try:
            before, now_wanted = (read_site(str(text)).configuration.phase for text in (old_inputs.get("site"), site))
        except ConfigurationError:
            return False
        return before.reached(Phase.SWITCHED) and not now_wanted.reached(Phase.SWITCHED)

    @staticmethod
    def _other_machines(old_inputs: Values, inputs: Values) -> bool:
        """Whether a machine that the step has worked on has been recreated since: nothing of the step's work is on it."""
        old, new = old_inputs.get("machines") or {}, inputs.get("machines") or {}
        return any(name in old and old[name] != made for name, made in new.items())

    def _key(self, inputs: Values) -> str:
        return str((inputs.get("parameters") or {}).get("name", ""))

    def _name(self, inputs: Values) -> str:
        """The step's name in journal and evidence; a file name."""
        return "-".join(filter(None, [self.step_class.type, self._key(inputs).replace("/", "_")]))

    @staticmethod
    def _meaning(site: Any) -> Any:
        try:
            return relevant(site)
        except (TypeError, ValueError, AttributeError, json.JSONDecodeError):
            return site

    @staticmethod
    def _outputs(inputs: Values, result: Outputs, status: str) -> Values:
        return {**{name: value for name, value in inputs.items() if name != "site"}, "result": result, "status": status}


def unexplained(step_class: type[Step], newest: Site | None) -> None:
    """Rule: in a run whose program wants the switch, a step of it is only undone behind a hold point.

    Anything else that deletes one is a replacement that deletes first, a resource taken out of the program or the state, or a target.

    Raises:
        Refused: nothing explains the deletion.
    """
    if newest is None or not step_class.phase.reached(Phase.SWITCHED) or not newest.configuration.phase.reached(step_class.phase):
        return
    held, order = newest.configuration.window.stop_before, get_args(SwitchedStepName)
    if held and step_class.type in order and order.index(step_class.type) >= order.index(held):
        return
    raise Refused(
        f"step {step_class.type} would be undone although the stack is to be in phase {newest.configuration.phase.value}. Nothing was undone. "
        "A replacement (--replace, taint, deleteBeforeReplace) or a program without this step asks for it. "
        "Remedy: declare it as before; to roll back: pulumi config set phase prepared && pulumi up"
    )


def forward(step: Step) -> Callable[[Context], Outputs]:
    """The step's apply, once the step has been asked whether it may be done now."""

    def apply(context: Context) -> Outputs:
        step.before_apply(context)
        return step.apply(context) if step.takes_part(context) else _left_out(context)

    return apply


def backward(step: Step) -> Callable[[Context], Outputs]:
    """The step's undo, once the step has been asked whether going back is allowed."""

    def undo(context: Context) -> Outputs:
        context.undoing = True
        step.before_revert(context)
        if step.takes_part(context):
            step.revert(context)
        else:
            context.progress(NOT_PART)
        return context.done

    return undo


def proof(step: Step) -> Callable[[Context], Outputs]:
    """The step's verify, once the step has been asked whether anything can be proved now."""

    def verify(context: Context) -> Outputs:
        step.before_verify(context)
        return step.verify(context) if step.takes_part(context) else _left_out(context)

    return verify


def _left_out(context: Context) -> Outputs:
    context.progress(NOT_PART)
    return {"left out": NOT_PART}


def words(error: BaseException) -> str:
    """What the operator reads of an error: its own words when it is an expected one, else also its kind."""
    if isinstance(error, ParallelBuildError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}. Remedy: look at the end of run.log in the run's folder."

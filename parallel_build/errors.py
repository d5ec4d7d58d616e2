"""The errors an operator may read: fact, cause and remedy, named after the stage that failed."""

from __future__ import annotations


class ParallelBuildError(Exception):
    """Root of all expected failures.

    A message has three parts, so that it can be acted on at night: what is so (`fact`), why (`cause`) and what to do (`remedy`).

    Args:
        fact: what was found, naming the server, setting or table.
        cause: why it is so, or why that stops the work.
        remedy: what the operator does next.
    """

    def __init__(self, fact: str, cause: str, remedy: str) -> None:
        self.fact, self.cause, self.remedy = fact, cause, remedy
        super().__init__(fact, cause, remedy)

    @property
    def reason(self) -> str:
        """Fact and cause in one line, for the cause of another error: that one has a remedy of its own."""
        return ": ".join(text.strip().rstrip(".") for text in (self.fact, self.cause) if text.strip())

    def __str__(self) -> str:
        after = [f"{name}: {text.rstrip('.')}." for name, text in (("Cause", self.cause), ("Remedy", self.remedy)) if text]
        if self.fact.endswith("\n"):  # a list of findings: what follows begins a line of its own
            return self.fact + "\n".join(after)
        return " ".join([f"{self.fact.rstrip('.')}.", *after])


class ConfigurationError(ParallelBuildError):
    """The stack's configuration can't be used; nothing has been contacted or changed."""


class ConnectionFailed(ParallelBuildError):
    """A server could not be reached, or a session to it was lost."""


class CommandFailed(ParallelBuildError):
    """A remote command ended with an exit code that was not allowed, or ran past its time limit."""


class GuardFailed(ParallelBuildError):
    """A rule that must hold before a change does not hold; nothing has been changed."""


class DeadlinePassed(GuardFailed):
    """The new side has not started within the window's deadline; the step stopped at a safe point, and going back costs nothing."""


class StepFailed(ParallelBuildError):
    """A step could not be finished; what it did so far is recorded and `up` resumes it."""


class TimedOut(StepFailed):
    """What was waited for did not come within its time limit."""


class ComparisonFailed(ParallelBuildError):
    """Two databases that must be the same are not."""


class RollbackIncomplete(ParallelBuildError):
    """An undo could not be finished; what is left is named and a second `destroy` resumes there."""


class Cancelled(ParallelBuildError):
    """The engine asked to stop, or is gone; the step stopped at a safe point."""


class Fenced(GuardFailed):
    """A later run has taken over: this one must not change anything any more."""

"""The error of set-up and image building: fact, cause and remedy, as everywhere in this project."""

from __future__ import annotations


class ToolError(Exception):
    """Something that the project runs on is missing and can't be had.

    Args:
        fact: what is missing or failed, by name.
        cause: why, as far as it is known; may be empty.
        remedy: what to do about it; may be empty.
    """

    def __init__(self, fact: str, cause: str = "", remedy: str = "") -> None:
        self.fact, self.cause, self.remedy = fact, cause, remedy
        super().__init__(fact, cause, remedy)

    def __str__(self) -> str:
        parts = [self.fact.rstrip(".")]
        if self.cause:
            parts.append(f"Cause: {self.cause.rstrip('.')}")
        if self.remedy:
            parts.append(f"Remedy: {self.remedy.rstrip('.')}")
        return ". ".join(parts) + "."

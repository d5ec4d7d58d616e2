"""The lab's own error, of the same form as everywhere: fact, cause, remedy."""

from __future__ import annotations

from parallel_build.errors import ParallelBuildError


class LabError(ParallelBuildError):
    """The lab could not be brought up, asked or taken down."""

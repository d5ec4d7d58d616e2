"""What can go wrong with the original cloud's database, as fact, cause and remedy."""

from __future__ import annotations

from parallel_build.errors import ParallelBuildError


class LabDatabaseError(ParallelBuildError):
    """The original's database could not be generated, read or loaded. Many are about a line of the lab's own data: the fact says it all."""

    def __init__(self, fact: str, cause: str = "", remedy: str = "") -> None:
        super().__init__(fact, cause, remedy)


class SchemaError(LabDatabaseError):
    """The schema's data files and the rows made for them do not fit together."""


class DecryptionFailed(LabDatabaseError):
    """A value does not decrypt under the key and encryptor version that were given."""


class DumpError(LabDatabaseError):
    """A dump that was given can't be used as the original's database."""


class LoadFailed(LabDatabaseError):
    """The database server refused what was sent to it."""

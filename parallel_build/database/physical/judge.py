"""Whether the original's table files can be brought over as they are: judged from facts of both sides alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parallel_build.configuration.preparation import Seed
from parallel_build.database.copy.progress import size
from parallel_build.database.server.dialects import DatabaseServer
from parallel_build.errors import GuardFailed

KEY = "transfer.seed"
WORTH = (
    1 << 30
)  # bytes from which on `auto` brings files: below it preparing and taking in hundreds of files takes longer than copying the rows
GROWTH = 1.05  # a running server's files grow, and its log comes along
ROOM = 256 << 20  # undo and redo logs of the preparation
SHOWN = 5


@dataclass(frozen=True)
class ServerFacts:
    """What counts of one server.

    Attributes:
        name: its name in the stack.
        server: family and version.
        tool: series of the MariaDB that its mariadb-backup is of; None where it has none, or on a new server no mbstream.
        page_size: `innodb_page_size`.
        table_names: `lower_case_table_names`.
        encrypted: what of it is encrypted at rest, "" for nothing.
        galera: it is a node of a Galera cluster.
        free: bytes free on the data folder's disk, where the files arrive too; counts on the new side only.
    """

    name: str
    server: DatabaseServer
    tool: tuple[int, int] | None = None
    page_size: int = 16384
    table_names: int = 0
    encrypted: str = ""
    galera: bool = False
    free: int = 0


@dataclass(frozen=True)
class Files:
    """What would be brought.

    Attributes:
        bytes: of the tables that have rows.
        system: of what comes along: the system tablespace, undo and redo logs.
        filled: the tables that have rows, `schema.table`.
        unfit: those of them whose file can't be taken in, with the reason.
    """

    bytes: int
    system: int
    filled: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Bytes that travel."""
        return self.bytes + self.system


@dataclass(frozen=True)
class Obstacle:
    """Why it is not possible: what is so, why that stops it, what to do."""

    fact: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class Decision:
    """The way that is taken.

    Attributes:
        physical: as files.
        why: in words, for one line.
    """

    physical: bool
    why: str


def decide(wanted: Seed, old: ServerFacts, new: Sequence[ServerFacts], files: Files | None) -> Decision:
    """The way, by what the stack wants and what is possible.

    Args:
        old: the original's source.
        new: the new source and its replica.
        files: None where the servers already do not fit, and nobody looked.
    Raises:
        GuardFailed: `physical` is wanted and not possible; names all that is in the way.
    """
    if wanted == "logical":
        return Decision(False, f"{KEY} is logical")
    found = list(obstacles(old, new, files))
    if wanted == "physical":
        if found:
            raise GuardFailed(
                f"{KEY}: physical is not possible: " + "; ".join(each.fact for each in found),
                "; ".join(dict.fromkeys(each.cause for each in found)),
                "; ".join(dict.fromkeys(each.remedy for each in found)) + f"; or set {KEY} to auto or logical",
            )
        return Decision(True, f"{KEY} is physical")
    if found:
        return Decision(False, found[0].fact)
    if files is not None and files.bytes < WORTH:
        return too_small(size(files.bytes))
    return Decision(True, "both sides have mariadb-backup of one series")


def too_small(found: str) -> Decision:
    """For `auto`: what the databases have, in words, is not worth it."""
    return Decision(False, f"the databases have {found}; below {size(WORTH)} copying rows takes no longer")


def servers_fit(old: ServerFacts, new: Sequence[ServerFacts]) -> bool:
    """Whether it is worth looking at the files."""
    return not list(obstacles(old, new, None))


def obstacles(old: ServerFacts, new: Sequence[ServerFacts], files: Files | None) -> Iterator[Obstacle]:
    """Everything that is in the way, the most fundamental first."""
    for side in (old, *new):
        if side.server.family != "mariadb":
            yield Obstacle(
                f"{side.name} runs {side.server}",
                "files are brought by mariadb-backup, from MariaDB to MariaDB; MySQL's CLONE is not offered",
                "copy the rows",
            )
            return
    for side in new:
        yield from _pair(old, side)
    for side in (old, *new):
        yield from _tool(side, original=side is old)
    if old.encrypted:
        yield Obstacle(
            f"{old.name}: {old.encrypted} encrypted at rest",
            "an encrypted file can be read with the original's keys only",
            "copy the rows, which leaves the original's keys where they are",
        )
    if old.galera:
        yield Obstacle(
            f"{old.name} is a node of a Galera cluster",
            "a backup blocks its commits for a moment, and with them those of the whole cluster",
            "copy the rows",
        )
    if files is not None:
        yield from _files(old, new, files)


def _pair(old: ServerFacts, new: ServerFacts) -> Iterator[Obstacle]:
    if new.server.version[:2] != old.server.version[:2]:
        yield Obstacle(
            f"{old.name} runs {old.server} and {new.name} {new.server}",
            "the files of one series are no other series' files",
            f"install {'.'.join(map(str, old.server.version[:2]))} on {new.name}",
        )
    for name, ours, theirs in (
        ("innodb_page_size", old.page_size, new.page_size),
        ("lower_case_table_names", old.table_names, new.table_names),
    ):
        if ours != theirs:
            yield Obstacle(
                f"{name} is {ours} on {old.name} and {theirs} on {new.name}",
                "it is fixed in a server's files",
                f"make {new.name}'s data folder with {name} = {ours}",
            )


def _tool(side: ServerFacts, *, original: bool) -> Iterator[Obstacle]:
    series = ".".join(map(str, side.server.version[:2]))
    if side.tool is None:
        yield Obstacle(
            f"{side.name} has no mariadb-backup",
            "the project installs nothing on the original" if original else "the files are unpacked and prepared by it",
            f"install mariadb-backup {series} on {side.name}"
            + (
                "; the package starts nothing and changes no setting" if original else " (`pulumi up` does so with transfer.seed: physical)"
            ),
        )
    elif side.tool != side.server.version[:2]:
        yield Obstacle(
            f"{side.name} runs {side.server}, and its mariadb-backup is of {'.'.join(map(str, side.tool))}",
            "the tool reads the files of its own series only",
            f"install mariadb-backup {series} on {side.name}",
        )


def _files(old: ServerFacts, new: Sequence[ServerFacts], files: Files) -> Iterator[Obstacle]:
    if files.unfit:
        more = len(files.unfit) - SHOWN
        yield Obstacle(
            f"{old.name}: " + ", ".join(files.unfit[:SHOWN]) + (f" and {more} more" if more > 0 else ""),
            "the file of such a table can't be taken in by another server",
            "copy the rows",
        )
    needed = round(files.total * GROWTH) + ROOM
    for side in new:
        if side.free < needed:
            yield Obstacle(
                f"{side.name}: {size(side.free)} are free, and {size(needed)} are needed",
                "the files arrive on the data folder's disk",
                f"give {side.name} a larger disk",
            )

"""Who waits on a server, and for which of our sessions: read from its table of sessions, a few times a second.

Whoever reads a table holds its metadata lock until the transaction ends. Another session's ALTER, LOCK TABLES or FLUSH then waits, and every
statement that comes after it waits behind it. `Watch` names our sessions that have to end for that, and measures how long anybody waited.

Runs on the new database server too (see `worker`), with the Python that is there.
"""

# ruff: noqa: UP006, UP035 - the Python of a database server may be older than the project's own
from __future__ import annotations

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence, Set, Tuple

EVERY = 0.2  # seconds between two looks
ALL_AGAIN = 5.0  # seconds before all sessions give way once more to a statement that names none of the tables
# Statements of others that run or wait. Replication and the event scheduler wait in theirs for ever, but one that waits for a lock waits as anybody.
STATEMENTS = (
    "SELECT ID, TIME, USER, HEX(COALESCE(STATE, '')), HEX(LEFT(COALESCE(INFO, ''), 4000)) FROM {table} "
    "WHERE ID <> CONNECTION_ID() AND USER <> '{own}' AND COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID')"
)
OTHERS = frozenset({"system user", "event_scheduler"})
# What MariaDB calls `backup lock` is the global one: nobody waits there for a table.
LOCKS = re.compile(r"^Waiting for (?!backup|global|commit)(.+ )?(lock|flush)$")
ANY_LOCK = re.compile(r"^Waiting for .*(lock|flush)$")
# These never wait for a reader themselves, only behind a statement that does.
READ_OR_WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "("})
COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*\n|#[^\n]*\n", re.DOTALL)
NAME = re.compile(r"`([^`]+)`|([\w$]+)")
LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'?|\"(?:[^\"\\]|\\.|\"\")*\"?|\b\d[\w.]*", re.DOTALL)
SHOWN = 120  # characters of a statement in a message


class Statement(NamedTuple):
    """What a session of somebody else is doing.

    Attributes:
        number: the session's.
        seconds: since it began.
        user: whose it is.
        state: the server's word for what it is at.
        text: the statement, cut to 4000 characters.
    """

    number: int
    seconds: int
    user: str
    state: str
    text: str

    @property
    def waits(self) -> bool:
        """Whether it waits for somebody's lock on a table."""
        return bool(LOCKS.match(self.state))

    @property
    def runs(self) -> bool:
        """Whether it is work that a user has given the server, and no waiting for a lock."""
        return bool(self.text) and self.user not in OTHERS and not ANY_LOCK.match(self.state)

    @property
    def primary(self) -> bool:
        """Whether it may wait for a reader: a change of a definition, a lock of tables, a flush."""
        words = COMMENT.sub(" ", self.text).split(None, 1)
        return not words or words[0].upper() not in READ_OR_WRITE

    @property
    def key(self) -> Tuple[int, str]:
        """One statement of one session."""
        return self.number, self.text


def parse(answer: str) -> List[Statement]:
    """What a server answers to `STATEMENTS`, its columns parted by tabs."""
    found = []
    for line in answer.splitlines():
        number, seconds, user, state, text = line.split("\t")
        found.append(Statement(int(number), int(seconds), user, _text(state), _text(text)))
    return found


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "replace")


def shown(text: str) -> str:
    """A statement for a message: shortened, without its values."""
    words = " ".join(LITERAL.sub("?", text).split())
    return words if len(words) <= SHOWN else words[:SHOWN] + "..."


class Behind(NamedTuple):
    """Sessions of ours that are about to end for a statement.

    Attributes:
        tables: what the statement names.
        sessions: our sessions.
    """

    tables: Set[str]
    sessions: Set[int]


class Watch:
    """Decides which of our sessions have to end for others, and measures how long somebody waited for one of them.

    Args:
        tables: all tables that are read, as (schema, table).
        tied: tables that a change of a table may lock besides: those that foreign keys tie it to. Names are `schema.table`.
    Attributes:
        longest: seconds that anybody waited behind a lock of ours, at most: from the last look before it was seen waiting.
        times: how often sessions had to give way.
    """

    def __init__(self, tables: Iterable[Tuple[str, str]], tied: Mapping[str, Sequence[str]]) -> None:
        self.longest = 0.0
        self.times = 0
        self._named: Dict[str, Set[str]] = {}
        for schema, table in tables:
            name = "%s.%s" % (schema, table)
            self._named.setdefault(table.lower(), set()).update((name, *tied.get(name, ())))
        self._since: Dict[Tuple[int, str], float] = {}
        self._behind: Dict[Tuple[int, str], Behind] = {}
        self._looked = 0.0
        self._all = float("-inf")

    def look(self, found: Sequence[Statement], held: Mapping[int, Set[str]], now: float) -> List[int]:
        """Take in what runs; return the numbers of our sessions that have to end.

        Each waiting statement is given way to once: a lock that is asked for after it waits behind it, and holds nobody up.

        Args:
            found: statements of others.
            held: our sessions with the tables that each holds.
            now: seconds on a clock that never goes back.
        """
        waiting = {one.key: one for one in found if one.waits}
        before, self._looked = self._looked or now, now
        since, self._since = self._since, {key: self._since.get(key, before) for key in waiting}
        self._measure(since, held, now)
        ending: Set[int] = set()
        for key, one in waiting.items():
            if key not in since and one.primary:
                tables = self.wanted(one)
                holders = {number for number, names in held.items() if names and (not tables or names & tables)} - ending
                if not tables and holders:
                    holders = holders if now - self._all >= ALL_AGAIN else set()
                    self._all = now if holders else self._all
                if holders:
                    ending |= holders
                    self._behind[key] = Behind(tables, holders)
        self.times += bool(ending)
        return sorted(ending)

    def _measure(self, since: Mapping[Tuple[int, str], float], held: Mapping[int, Set[str]], now: float) -> None:
        """Whoever waited for a session of ours at the last look has waited until now at most, and so has everybody behind that statement."""
        for key, behind in self._behind.items():
            for other, began in since.items():
                if other == key or not behind.tables or self.wanted(Statement(0, 0, "", "", other[1])) & behind.tables:
                    self.longest = max(self.longest, now - began)
        self._behind = {key: behind for key, behind in self._behind.items() if behind.sessions & held.keys()}

    def wanted(self, statement: Statement) -> Set[str]:
        """The tables that a statement names, and those that they are tied to; none where it names none of ours."""
        tables: Set[str] = set()
        for quoted, bare in NAME.findall(statement.text):
            tables |= self._named.get((quoted or bare).lower(), set())
        return tables

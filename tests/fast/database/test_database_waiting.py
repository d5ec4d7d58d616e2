"""Who waits for a copy's sessions, which of them have to end for it, and for how long anybody waited."""

from __future__ import annotations

import pytest

from parallel_build.database.copy.clients import Failed
from parallel_build.database.copy.digest import digest
from parallel_build.database.copy.rounds import STUCK, Rounds
from parallel_build.database.copy.unchanged import Definitions
from parallel_build.database.replicate.definition_changes import changed_table
from parallel_build.database.server import snapshot, waiting
from parallel_build.database.server.dialects import newest
from parallel_build.database.server.waiting import Statement, Watch
from parallel_build.errors import StepFailed

TABLES = (("cloud", "event"), ("cloud", "vm"), ("cloud", "nics"), ("cloud_usage", "cloud_usage"))
TIED = {"cloud.vm": ["cloud.nics"], "cloud.nics": ["cloud.vm"]}
LOCK = "Waiting for table metadata lock"
HELD = {1: {"cloud.event"}, 2: {"cloud.vm"}, 3: {"cloud_usage.cloud_usage"}}


def watch() -> Watch:
    made = Watch(TABLES, TIED)
    assert made.look([], HELD, 100.0) == []
    return made


def waits(text: str, number: int = 9, state: str = LOCK) -> Statement:
    return Statement(number, 0, "cloud", state, text)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("ALTER TABLE event ADD x INT", [1]),
        ("ALTER TABLE `cloud`.`event` ADD x INT", [1]),
        ("/* tool */ DROP TABLE Event", [1]),
        ("ALTER TABLE nics ADD x INT", [2]),
        ("LOCK TABLES event WRITE, vm READ", [1, 2]),
        ("ALTER TABLE event_log ADD x INT", [1, 2, 3]),
        ("FLUSH TABLES", [1, 2, 3]),
        ("DROP DATABASE cloud", [1, 2, 3]),
        ("", [1, 2, 3]),
        ("SELECT * FROM event", []),
        ("/* report */ UPDATE event SET x = 1", []),
        ("INSERT INTO vm VALUES (1)", []),
    ],
)
def test_the_sessions_that_hold_what_somebody_waits_for_end(text: str, ending: list[int]) -> None:
    """A tied table counts; nothing that is named is all; who only reads or writes never waits for a reader."""
    assert watch().look([waits(text)], HELD, 100.2) == ending


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        (LOCK, [1]), ("Waiting for table flush", [1]), ("Waiting for schema metadata lock", [1]), ("Waiting for table level lock", [1]),
        ("Waiting for backup lock", []), ("Waiting for global read lock", []), ("Waiting for commit lock", []), ("altering table", []), ("", []),
    ],
)  # fmt: skip
def test_only_who_waits_for_a_table_is_given_way_to(state: str, ending: list[int]) -> None:
    assert watch().look([waits("ALTER TABLE event ADD x INT", state=state)], HELD, 100.2) == ending


def test_each_is_given_way_to_once() -> None:
    """It may wait on behind somebody else: a lock that is asked for after it holds nobody up."""
    made = watch()
    statement = waits("ALTER TABLE event ADD x INT")
    assert made.look([statement], HELD, 100.2) == [1]
    assert made.look([statement], {4: {"cloud.event"}}, 100.4) == []
    assert made.look([], HELD, 100.6) == []
    assert made.look([statement], HELD, 100.8) == [1], "another statement of the same words"
    assert made.times == 2


def test_statements_that_name_nothing_do_not_end_everything_again_and_again() -> None:
    made = watch()
    assert made.look([waits("CALL change_all()", 9)], HELD, 100.2) == [1, 2, 3]
    assert made.look([waits("CALL change_all()", 10)], HELD, 100.4) == []
    assert made.look([waits("CALL change_all()", 11)], HELD, 100.4 + waiting.ALL_AGAIN) == [1, 2, 3]


def test_the_longest_wait_is_measured_from_the_look_before_to_the_look_after() -> None:
    made = watch()
    alter, behind, other = waits("ALTER TABLE event ADD x INT", 9), waits("SELECT 1 FROM event", 10), waits("SELECT 1 FROM vm", 11)
    made.look([alter, behind, other], HELD, 100.2)
    assert made.longest == 0.0
    made.look([alter, behind, other], {1: {"cloud.event"}}, 100.4)
    assert made.longest == pytest.approx(0.4), "the session is not gone yet"
    made.look([alter, behind], {}, 100.6)
    assert made.longest == pytest.approx(0.6)
    made.look([alter, behind, other], {}, 109.0)
    assert made.longest == pytest.approx(0.6), "from then on it is somebody else's lock"


def test_waiting_behind_a_lock_is_no_load() -> None:
    assert Statement(1, 0, "cloud", "Sending data", "SELECT 1").runs
    assert not Statement(1, 0, "cloud", LOCK, "SELECT 1").runs
    assert not Statement(1, 0, "cloud", "Waiting for backup lock", "UPDATE x SET y = 1").runs
    assert not Statement(1, 0, "system user", "Reading event", "UPDATE x SET y = 1").runs


def test_a_statement_is_shown_without_its_values() -> None:
    text = waiting.shown("UPDATE vm SET name = 'secret ''x', n = 42 \n WHERE id IN (1, 2.5, 0x1f) AND t = \"more\"" + " AND true" * 40)
    assert text.startswith("UPDATE vm SET name = ?, n = ? WHERE id IN (?, ?, ?) AND t = ? AND true")
    assert "secret" not in text
    assert len(text) <= waiting.SHOWN + 3


class Server:
    """Answers as a server; commits happen between two looks as often as given."""

    def __init__(self, family: str, commits: list[bool], running: str = "", refuse: str = "") -> None:
        self.family, self.commits, self.running, self.refuse = family, commits, running, refuse
        self.prepared = 0
        self.position, self.begun, self.printed = 100, [0, 0, 0], list[str]()

    def control(self, statement: str) -> str:
        self.printed.append(statement)
        if self.refuse and statement.startswith(self.refuse):
            raise OSError("1205: Lock wait timeout exceeded")
        if statement == "STATUS":
            return f"log.000001\t{self.position}\t\t"
        if "INNODB STATUS" in statement:
            self.prepared -= 1
            return "---TRANSACTION 5, ACTIVE (PREPARED) 0 sec" if self.prepared >= 0 else "no transactions"
        if statement.startswith("SELECT ID, TIME"):
            return self.running
        return ""

    def reader(self, number: int) -> snapshot.Ask:
        def ask(statement: str) -> str:
            if statement == snapshot.BEGIN:
                self.begun[number] = self.position
                if number == 1 and self.commits and self.commits.pop(0):
                    self.position += 7
                return ""
            return f"Binlog_snapshot_file\tlog.000001\nBinlog_snapshot_position\t{self.begun[number]}"

        return ask

    def begin(self) -> snapshot.Taken:
        which = snapshot.Server(
            self.family, "STATUS", "processlist", "cutover_copy", *newest("mysql" if self.family == "mysql" else "mariadb").lock
        )
        readers = [self.reader(number) for number in range(3)]
        return snapshot.begin(which, self.control, readers, lambda seconds: None, OSError)


@pytest.mark.parametrize("family", ["mariadb", "mysql"])
def test_a_snapshot_needs_no_lock_once_nothing_is_committed_for_a_moment(family: str) -> None:
    server = Server(family, [True, True, False])
    taken = server.begin()
    assert taken == (["log.000001", "114"], 0.0, "no lock")
    assert set(server.begun) == {114}, "all sessions are in one snapshot"
    assert not any("LOCK" in statement or "STAGE" in statement for statement in server.printed)


def test_what_is_logged_and_not_committed_yet_is_waited_for() -> None:
    """It is before the position, and would be in no snapshot."""
    server = Server("mysql", [False])
    server.prepared = 3
    assert server.begin() == (["log.000001", "100"], 0.0, "no lock")
    assert server.printed.count("SHOW ENGINE INNODB STATUS") == 4


@pytest.mark.parametrize(
    ("family", "lock", "end"),
    [("mariadb", "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END"), ("mysql", "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES")],
)
def test_a_server_that_always_commits_is_locked_for_a_moment(monkeypatch: pytest.MonkeyPatch, family: str, lock: str, end: str) -> None:
    server = Server(family, [True] * 100)
    monkeypatch.setattr(snapshot, "QUIET", {family: 0.0})
    taken = server.begin()
    assert taken.way == "a lock of some milliseconds"
    assert server.printed.index(snapshot.LOCK_WAIT) < server.printed.index(lock) < server.printed.index(end)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No moment is looked for, and the lock is tried once."""
    monkeypatch.setattr(snapshot, "QUIET", {"mariadb": 0.0, "mysql": 0.0})
    monkeypatch.setattr(snapshot, "LOCKING", 0.0)


@pytest.mark.usefixtures("hasty")
def test_no_global_lock_is_asked_for_while_a_long_statement_runs() -> None:
    running = f"7\t45\treport\t{b'Sending data'.hex()}\t{b'SELECT * FROM event WHERE name = 0x41'.hex()}"
    server = Server("mysql", [], running)
    with pytest.raises(snapshot.Busy, match=r"a statement has run for 45 s there: SELECT \* FROM event WHERE name = \?"):
        server.begin()
    assert not any("LOCK" in statement for statement in server.printed)


@pytest.mark.usefixtures("hasty")
def test_a_lock_that_is_not_given_within_a_second_is_given_up() -> None:
    server = Server("mariadb", [], refuse="BACKUP STAGE BLOCK")
    with pytest.raises(snapshot.Busy, match="not given within a second"):
        server.begin()
    assert server.printed[-1] == "BACKUP STAGE END"


def partial(*left: str) -> dict[str, object]:
    return {
        "left": list(left),
        "rows": 5,
        "bytes": 7,
        "gave_way": 1,
        "locked_seconds": 0.1,
        "waited_seconds": 0.3,
        "started": 1.0,
        "tables": {},
    }


def test_snapshots_that_bring_nothing_further_end_a_copy() -> None:
    rounds = Rounds(keeps=True)
    for _ in range(STUCK - 1):
        rounds.take_in(partial("cloud.event", "cloud.vm"))
        assert "cloud.event, cloud.vm changed" in rounds.check("olddb1", partial("cloud.event", "cloud.vm"))
    rounds.take_in(partial("cloud.vm"))
    rounds.check("olddb1", partial("cloud.vm"))
    for _ in range(STUCK - 2):
        rounds.take_in(partial("cloud.vm"))
        rounds.check("olddb1", partial("cloud.vm"))
    total = rounds.take_in(partial("cloud.vm"))
    assert (total["rows"], total["gave_way"], total["waited_seconds"]) == (5 * rounds.count, rounds.count, 0.3)
    with pytest.raises(StepFailed, match=r"cloud\.vm could not be read in 5 snapshots"):
        rounds.check("olddb1", partial("cloud.vm"))


def test_rows_that_are_copied_again_are_counted_once() -> None:
    rounds = Rounds(keeps=False)
    rounds.take_in(partial("cloud.vm"))
    total = rounds.take_in(partial())
    assert (total["rows"], total["gave_way"]) == (5, 2)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("ALTER TABLE event ADD x INT", ("cloud", "event")),
        ("ALTER TABLE `cloud_usage`.`we``ird` COMMENT = 'a', DROP KEY k", ("cloud_usage", "we`ird")),
        ("/* by hand */ alter online table event rename column a to b", ("cloud", "event")),
        ("TRUNCATE event", ("cloud", "event")),
        ("CREATE UNIQUE INDEX i ON event (name)", ("cloud", "event")),
        ("DROP INDEX `PRIMARY` ON event", ("cloud", "event")),
        ("ALTER TABLE event RENAME TO other", None),
        ("ALTER TABLE event ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES vm (id)", None),
        ("ALTER TABLE event EXCHANGE PARTITION p WITH TABLE other", None),
        ("ALTER /*!50000 IGNORE */ TABLE event ADD x INT", None),
        ("ALTER DATABASE cloud CHARACTER SET utf8mb4", None),
        ("DROP TABLE event, vm", None),
        ("RENAME TABLE event TO other", None),
        ("CREATE TABLE copied LIKE event", None),
        ("CREATE VIEW v AS SELECT 1", None),
        ("TRUNCATE event WAIT 5", None),
    ],
)
def test_what_changes_one_table_by_itself(text: str, table: tuple[str, str] | None) -> None:
    assert changed_table(text, "cloud") == table


class Original:
    """Answers what its tables are, and how many definitions were changed so far."""

    def __init__(self, **creates: str) -> None:
        self.creates, self.begun = creates, 3

    def ask(self, statement: str) -> str:
        if statement.startswith("SHOW GLOBAL STATUS"):
            return f"Com_alter_table\t{self.begun}\nCom_truncate\t1\nCom_create_table\t99\nCom_select\t500\n"
        name = statement.split()[-1]
        if name not in self.creates:
            raise Failed("reading from the original: ERROR 1146 (42S02) at line 1: Table doesn't exist")
        if self.creates[name] == "locked":
            raise Failed("reading from the original: (1205, 'Lock wait timeout exceeded; try restarting transaction')")
        return f"{name}\t{self.creates[name]}\n"

    def definitions(self, **expected: str) -> Definitions:
        asked = {f"cloud.{name}": {"ask": f"SHOW CREATE TABLE {name}", "digest": digest(create)} for name, create in expected.items()}
        return Definitions(asked, self.ask, watch())


CREATE = "CREATE TABLE `t` (\n  `id` int NOT NULL AUTO_INCREMENT\n) ENGINE=InnoDB AUTO_INCREMENT={} DEFAULT CHARSET=utf8mb3"


def test_a_table_is_the_same_whatever_number_comes_next_and_no_other() -> None:
    found = Original(vm=CREATE.format(7), nics=CREATE.format(7).replace("int", "bigint"), event="locked").definitions(
        vm=CREATE.format(5), nics=CREATE.format(7), event=CREATE.format(7), gone=CREATE.format(1)
    )
    assert [table for table in ("cloud.vm", "cloud.nics", "cloud.event", "cloud.gone") if found.same(table)] == ["cloud.vm"]


def test_an_original_that_is_away_is_no_changed_table() -> None:
    def away(statement: str) -> str:
        raise Failed("reading from the original: (2013, 'Lost connection to MySQL server during query')")

    with pytest.raises(Failed, match="2013"):
        Definitions({"cloud.vm": {"ask": "SHOW CREATE TABLE vm", "digest": ""}}, away, watch()).same("cloud.vm")


def test_what_is_being_changed_when_a_snapshot_begins_is_left() -> None:
    """A running change of a definition, its ties, and whatever is different already; not what is only read or written."""
    same = CREATE.format(1)
    found = Original(vm=same, nics=same, event=same, cloud_usage="CREATE TABLE `other` (\n)").definitions(
        vm=same, nics=same, event=same, cloud_usage=same
    )
    running = [
        Statement(1, 0, "cloud", "altering", "/* x */ ALTER TABLE nics ADD x INT"),
        Statement(2, 0, "cloud", "", "UPDATE event SET x = 1"),
    ]
    assert found.moving(running) == {"cloud.nics", "cloud.vm", "cloud.cloud_usage"}
    assert found.begun() == 4, "changes of definitions alone count, and not those of temporary tables"

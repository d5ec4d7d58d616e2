"""What CloudStack reads in a copy, read on both servers and compared: version, things by state, management servers, the canary."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parallel_build.cloudstack.encryption import Encryptor, WrongKey
from parallel_build.database.compare import cloudstack_meaning
from parallel_build.database.compare.cloudstack_meaning import STATES, Meaning, differences, read
from parallel_build.database.compare.judged import Difference
from parallel_build.database.schema import definitions
from parallel_build.remote.sql import Session
from parallel_build.secret import Secret


class Database:
    """A server with some of CloudStack's tables.

    Attributes:
        columns: of its databases, as `table.column` by database.
        rows_of: what a table gives, grouped by state: state, whether removed, number.
        init: the encrypted canary.
    """

    def __init__(self) -> None:
        self.columns = {
            "cloud": ["vm_instance.state", "vm_instance.removed", "template_store_ref.download_state"],
            "cloud_usage": ["usage_job.success"],
        }
        self.rows_of: dict[str, list[tuple[Any, int, int]]] = {
            "vm_instance": [("Running", 0, 3), ("Stopped", 0, 1), ("Expunging", 1, 4), ("Error", 1, 2)],
            "template_store_ref": [("DOWNLOADED", 0, 7)],
            "usage_job": [(1, 0, 9)],
        }
        self.version: str | None = "4.20.3.0"
        self.init: str | None = "ENC"
        self.asked: list[str] = []

    def rows(self, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
        self.asked.append(statement)
        if "information_schema.SCHEMATA" in statement:
            return [{"n": name, "SCHEMA_NAME": name} for name in self.columns]
        if "information_schema.COLUMNS" in statement:
            return [dict(zip("tc", each.split("."), strict=True)) for each in self.columns[arguments[0]]]
        if "mshost" in statement:
            assert "removed IS NULL" in statement
            return [{"a": "10.91.0.11", "m": 7, "s": "Up"}, {"a": "10.91.0.12", "m": 8, "s": "Down"}]
        table = next(name for name in self.rows_of if f"`{name}`" in statement)
        assert ("`removed` IS NOT NULL" in statement) == (table == "vm_instance"), "only where there is such a column"
        return [{"s": state, "r": removed, "n": number} for state, removed, number in self.rows_of[table]]

    def row(self, statement: str) -> dict[str, str] | None:
        assert "step = 'Complete' ORDER BY id DESC LIMIT 1" in statement, "the newest that is complete"
        return {"v": self.version} if self.version else None

    def value(self, statement: str) -> str | None:
        assert "name = 'init'" in statement
        return self.init


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(definitions, "existing", lambda opened, names: [each for each in names if each in opened.columns])
    return Database()


def meaning(database: Database, **given: Any) -> Meaning:
    return read(cast(Session, database), **given)


def test_rows_are_counted_by_state_and_those_that_are_removed_apart(database: Database) -> None:
    found = meaning(database)
    assert found.version == "4.20.3.0"
    assert found.states == {
        "cloud.vm_instance Running": 3,
        "cloud.vm_instance Stopped": 1,
        "cloud.vm_instance (removed)": 6,
        "cloud.template_store_ref DOWNLOADED": 7,
        "cloud_usage.usage_job 1": 9,
    }
    assert found.management == {"10.91.0.11 (7)": "Up", "10.91.0.12 (8)": "Down"}


def test_tables_and_columns_that_a_version_does_not_have_are_left_out(database: Database) -> None:
    database.columns = {"cloud": ["template_store_ref.download_state", "vm_instance.removed"]}
    assert meaning(database).states == {"cloud.template_store_ref DOWNLOADED": 7}
    assert {table.partition(".")[0] for table in STATES} == {"cloud", "cloud_usage"}


def test_counting_is_left_out_where_it_is_not_asked_for_and_no_version_is_none(database: Database) -> None:
    database.version = None
    found = meaning(database, states=False)
    assert (found.version, found.states) == ("", {})
    assert not any("COUNT(*)" in statement for statement in database.asked)


@pytest.mark.parametrize(
    ("value", "key", "decrypted", "answer"),
    [
        ("ENC", Secret("key"), "true", True),
        ("ENC", Secret("key"), "false", False),
        ("ENC", Secret("key"), None, False),
        ("ENC", None, "true", None),
        (None, Secret("key"), "true", None),
        ("true", Secret("key"), None, True),
    ],
)
def test_the_canary_says_whether_the_key_is_right(
    database: Database, monkeypatch: pytest.MonkeyPatch, value: str | None, key: Secret | None, decrypted: str | None, answer: bool | None
) -> None:
    asked: list[tuple[str, Secret, Encryptor]] = []

    def decrypt(text: str, with_key: Secret, encryptor: Encryptor) -> Secret:
        asked.append((text, with_key, encryptor))
        if decrypted is None:
            raise WrongKey("wrong", "", "")
        return Secret(decrypted)

    monkeypatch.setattr(cloudstack_meaning, "decrypt", decrypt)
    database.init = value
    assert meaning(database, key=key).init is answer
    assert asked in ([], [("ENC", key, Encryptor.AUTOMATIC)])


SAME = Meaning("4.20.3.0", {"cloud.vm_instance Running": 3, "cloud_usage.usage_job 1": 9}, {"10.91.0.11 (7)": "Up"}, True)


def test_the_same_meaning_has_no_differences() -> None:
    assert differences(SAME, Meaning(SAME.version, dict(SAME.states), dict(SAME.management), True)) == []


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        (Meaning("4.19.0.0", SAME.states, SAME.management, True), Difference("meaning", "cloud", "version", "4.20.3.0 became 4.19.0.0")),
        (
            Meaning(SAME.version, {**SAME.states, "cloud.vm_instance Running": 2}, SAME.management, True),
            Difference("meaning", "cloud", "rows cloud.vm_instance Running", "3 became 2"),
        ),
        (
            Meaning(SAME.version, {"cloud.vm_instance Running": 3}, SAME.management, True),
            Difference("meaning", "cloud_usage", "rows cloud_usage.usage_job 1", "9 became none"),
        ),
        (
            Meaning(SAME.version, {**SAME.states, "cloud.host Up": 1}, SAME.management, True),
            Difference("meaning", "cloud", "rows cloud.host Up", "none became 1"),
        ),
        (
            Meaning(SAME.version, SAME.states, {"10.91.0.11 (7)": "Down"}, True),
            Difference("meaning", "cloud", "management server 10.91.0.11 (7)", "Up became Down"),
        ),
        (
            Meaning(SAME.version, SAME.states, SAME.management, False),
            Difference("meaning", "cloud", "configuration init", "decryptable True became False"),
        ),
    ],
)
def test_each_difference_is_named_with_what_was_and_what_became(theirs: Meaning, found: Difference) -> None:
    assert differences(SAME, theirs) == [found]


def test_several_differences_come_in_a_sure_order() -> None:
    other = Meaning("x", {"cloud.host Up": 1}, {}, None)
    assert [each.object for each in differences(SAME, other)] == [
        "version", "rows cloud.host Up", "rows cloud.vm_instance Running", "rows cloud_usage.usage_job 1", "management server 10.91.0.11 (7)",
        "configuration init",
    ]  # fmt: skip

"""A server of the original that exports the cloud's storage is not called one that can be taken away."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from parallel_build.errors import ConnectionFailed
from parallel_build.operations import storage_on_original
from parallel_build.remote.sql import Refused
from tests.fast.sites import site

NAMES = {"nfs.example.org": "10.91.0.14"}
ADDRESSES = {"oldms1": "10.91.0.11 198.51.100.11 127.0.0.1", "oldms2": "10.91.0.12", "olddb1": "10.91.0.13", "olddb2": "10.91.0.14"}


class Database:
    """The cloud's storage, as the new source has it."""

    def __init__(self, pool: str, store: str) -> None:
        self.pool, self.store = pool, store

    def value(self, statement: str, arguments: Any = None) -> int:
        return 1

    def rows(self, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
        if "cloud.storage_pool" in statement:
            return [{"name": "fast", "kind": "NetworkFilesystem", "a": self.pool, "port": 2049}] if self.pool else []
        return [{"name": "sec", "url": self.store}] if self.store else []


def look(monkeypatch: pytest.MonkeyPatch, pool: str = "", store: str = "", off: tuple[str, ...] = ()) -> list[str]:
    def run(name: str, words: list[str]) -> Any:
        if name in off:
            raise ConnectionFailed(f"{name} can't be reached over SSH", "", "")
        if words[0] == "ip":
            lines = [f"1: eth0 inet {address}/24 scope global" for address in ADDRESSES[name].split()]
        else:
            lines = [f"{each} {NAMES[each]}" for each in words if each in NAMES]
        return SimpleNamespace(stdout="\n".join(lines))

    def host(server: Any) -> Any:
        return SimpleNamespace(name=server.name, run=lambda words, **_: run(server.name, words))

    monkeypatch.setattr(storage_on_original, "session", lambda _: contextlib.nullcontext(Database(pool, store)))
    monkeypatch.setattr(storage_on_original, "new_database", lambda _: None)
    context: Any = SimpleNamespace(configuration=site().configuration, host=host)
    return storage_on_original.look(context)


@pytest.mark.parametrize(
    ("pool", "store", "server", "what"),
    [
        ("10.91.0.11", "", "oldms1", "primary storage fast (10.91.0.11)"),
        ("198.51.100.11", "", "oldms1", "primary storage fast (198.51.100.11)"),
        ("", "nfs://10.91.0.13/export", "olddb1", "secondary storage sec (10.91.0.13)"),
        ("", "nfs://nfs.example.org/export", "olddb2", "secondary storage sec (nfs.example.org)"),
        ("oldms2", "", "oldms2", "primary storage fast (oldms2)"),
    ],
    ids=["its address", "that of another network card", "a database server", "a name that leads there", "its own name"],
)
def test_the_server_and_its_storage_are_named(monkeypatch: pytest.MonkeyPatch, pool: str, store: str, server: str, what: str) -> None:
    (words,) = look(monkeypatch, pool, store)
    assert words.startswith(f"{server} running, the cloud's storage is on it: ") and what in words


def test_storage_that_is_elsewhere_keeps_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(monkeypatch, "192.0.2.5", "nfs://192.0.2.6/export") == []
    assert look(monkeypatch, "192.0.2.5", "nfs://192.0.2.6/export", off=("oldms1", "olddb1")) == []


def test_an_original_that_is_off_is_still_known_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(look(monkeypatch, "10.91.0.11", off=("oldms1",))) == 1


def test_what_can_not_be_looked_at_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Any) -> Any:
        raise Refused("newdb1: the database server refused: SELECT", "(1142, denied)", "", 1142)

    monkeypatch.setattr(storage_on_original, "new_database", lambda _: None)
    monkeypatch.setattr(storage_on_original, "session", refused)
    (words,) = storage_on_original.look(SimpleNamespace(configuration=site().configuration))  # type: ignore[arg-type]
    assert words.startswith("every server of the original running until")

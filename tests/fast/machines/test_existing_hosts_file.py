"""A server's /etc/hosts with the stack's names and without them: a case is a file as it may be found."""

from __future__ import annotations

import pytest

from parallel_build.configuration import Server
from parallel_build.machines.existing.hosts_file import with_names, without_names

OWN = Server(name="newms1", address="192.0.2.41")
OTHERS = {"newdb1": "192.0.2.31"}
FOUND = {
    "debian's installer": "127.0.0.1\tlocalhost\n127.0.1.1\tnewms1.example.com newms1\n::1 localhost ip6-localhost\n",
    "right already": "127.0.0.1 localhost\n192.0.2.41 newms1.example.com newms1\n",
    "next to localhost": "127.0.0.1 localhost newms1\n",
    "with comments and no last line end": "# by hand\n127.0.0.1 localhost # loop\n\n192.0.2.9 other",
    "empty": "",
}


def resolves(text: str, name: str) -> list[str]:
    """The addresses that a name stands for, in the file's order."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return [words[0] for words in lines if name in words[1:]]


@pytest.mark.parametrize("case", FOUND)
def test_names_in_and_out_again(case: str) -> None:
    found = FOUND[case]
    text = with_names(found, "prod", OWN, "newms1", OTHERS)
    assert set(resolves(text, "newms1")) == {"192.0.2.41"}
    assert resolves(text, "newdb1") == ["192.0.2.31"]
    assert resolves(text, "localhost") == resolves(found, "localhost")
    assert with_names(text, "prod", OWN, "newms1", OTHERS) == text, "a second time changes nothing"
    assert without_names(text, "prod").rstrip("\n") == found.rstrip("\n")


def test_the_full_name_is_kept_and_comes_first() -> None:
    text = with_names(FOUND["debian's installer"], "prod", OWN, "newms1", {})
    assert "192.0.2.41 newms1.example.com newms1\n" in text
    assert "192.0.2.41 newms1.cloud.internal newms1\n" in with_names("", "prod", OWN, "newms1", {})


def test_what_somebody_else_adds_stays() -> None:
    text = with_names("127.0.0.1 localhost\n", "prod", OWN, "newms1", OTHERS) + "192.0.2.77 added.later\n"
    assert without_names(text, "prod") == "127.0.0.1 localhost\n192.0.2.77 added.later\n"
    assert without_names(text, "another stack") == text

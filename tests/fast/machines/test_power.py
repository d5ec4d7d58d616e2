"""A new machine counts as off only by the word of the platform that made it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_build.machines import made_guest, power
from parallel_build.machines.container import machine as container
from parallel_build.machines.container.record import Record, write
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest
from parallel_build.resolved_stack import Site
from tests.fast.sites import site

HOST, GUEST = "4c4c4544-0000-1111-2222-333333333333", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
MADE = MadeGuest("libvirt", HOST, GUEST, "test-newms1")
LIBVIRT = {"libvirt": {"image": "/i", "poolPath": "/p", "bridge": "b"}}


def virsh(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, host: str = HOST, guests: str = "", destroy: int = 0, state: str = "shut off"
) -> None:
    """A virsh that knows these guests."""
    program = folder / "virsh"
    program.write_text(
        f'#!/bin/sh\nshift 2\necho "$*" >>{folder}/asked\ncase "$1" in\n'
        f'capabilities) echo "<capabilities><host><uuid>{host}</uuid></host></capabilities>";;\n'
        f"list) printf '%s\\n' {guests or chr(39) * 2};;\ndomuuid) echo {GUEST};;\ndestroy) exit {destroy};;\n"
        f'domstate) [ "$LC_ALL" = C ] && echo "{state}" || echo ausgeschaltet;;\nesac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize("variable", ["LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"])
def test_a_virsh_that_speaks_the_operators_language_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "de_DE.UTF-8")
    virsh(tmp_path, monkeypatch, guests=GUEST)
    where = stack()
    assert power.cut(where, where.configuration.new.management[0], MADE) == "`virsh destroy test-newms1`"


def stack() -> Site:
    """A stack on libvirt, whose default connection is that of whatever machine this is."""
    return site(new={"platform": "libvirt"}, platforms=LIBVIRT)


def asked(folder: Path) -> list[str]:
    """What virsh was asked."""
    return (folder / "asked").read_text().splitlines()


def test_absence_proves_at_the_host_that_made_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    virsh(tmp_path, monkeypatch)
    where = stack()
    words = power.cut(where, where.configuration.new.management[0], MADE)
    assert words == "there is no guest test-newms1 any more at qemu:///system, the host that made it"


@pytest.mark.parametrize(
    ("made", "host", "words"),
    [
        (None, HOST, "does not say which host made it"),
        (MADE, "another-host", f"made by host {HOST}"),
        (MADE, "", f"made by host {HOST}"),
        (replace(MADE, platform="container"), HOST, "does not say which host made it"),
    ],
)
def test_absence_elsewhere_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: MadeGuest | None, host: str, words: str
) -> None:
    virsh(tmp_path, monkeypatch, host=host)
    where = stack()
    with pytest.raises(MachineFailed, match="can't be asked about from here: there is none at qemu:///system") as caught:
        power.cut(where, where.configuration.new.management[0], made)
    assert words in caught.value.cause
    assert not any(line.startswith("destroy") for line in asked(tmp_path))


def test_a_renamed_stack_cuts_the_guest_that_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    virsh(tmp_path, monkeypatch, guests=GUEST)
    where = replace(stack(), stack="production")
    assert power.cut(where, where.configuration.new.management[0], MADE) == "`virsh destroy test-newms1`"
    assert f"destroy {GUEST}" in asked(tmp_path) and f"autostart {GUEST} --disable" in asked(tmp_path)


@pytest.mark.parametrize(
    ("made", "host", "state", "proves"),
    [
        (MADE, HOST, "shut off (destroyed)", True),
        (MADE, HOST, "shut off (migrated)", False),  # it runs on the host that it was moved to
        (MADE, "another-host", "shut off (unknown)", False),  # a definition that was left behind
        (None, HOST, "shut off (unknown)", False),
    ],
)
def test_a_guest_that_was_off_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: MadeGuest | None, host: str, state: str, proves: bool
) -> None:
    virsh(tmp_path, monkeypatch, host=host, guests=f"{GUEST} test-newms1", destroy=1, state=state)
    where = stack()
    if proves:
        assert power.cut(where, where.configuration.new.management[0], made)
    else:
        with pytest.raises(MachineFailed, match="already"):
            power.cut(where, where.configuration.new.management[0], made)


def test_a_connection_that_refuses_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "virsh"
    program.write_text("#!/bin/sh\necho cannot connect >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    where = stack()
    with pytest.raises(MachineFailed, match="can't be asked"):
        power.cut(where, where.configuration.new.management[0], MADE)
    with pytest.raises(MachineFailed, match="cannot connect"):
        made_guest.look(where, where.configuration.new.management[0])


def test_a_guest_is_noted_as_it_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    virsh(tmp_path, monkeypatch)
    where = stack()
    found = made_guest.look(where, where.configuration.new.management[0])
    assert found == MADE and MadeGuest.of(MADE.kept()) == MADE
    assert MadeGuest.of({**MADE.kept(), "host": ""}) is None and MadeGuest.of({}) is None and MadeGuest.of(None) is None
    assert made_guest.look(site(), site().configuration.new.management[0]) is None


def test_a_container_is_asked_of_the_computer_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "machines"
    (folder / "newms1").mkdir(parents=True)
    platforms = {"container": {"folder": str(folder), "root": "/r", "namespace": "n", "bridge": "b"}}
    where = site(new={"platform": "container"}, platforms=platforms)
    machine = where.configuration.new.management[0]
    (tmp_path / "machine-id").write_text("one\n")
    monkeypatch.setattr(made_guest, "MACHINE_ID", tmp_path / "machine-id")
    killed: list[str] = []
    monkeypatch.setattr(container, "kill", lambda folder, name: killed.append(name))
    made = MadeGuest("container", "one", "key one", str(folder / "newms1"))
    for there in (made, replace(made, name="newms1")):  # as earlier versions noted it
        assert power.cut(where, machine, there) == "there is no container newms1 any more on the computer that made it"
    for elsewhere in (None, replace(made, host="two"), replace(made, name="/another/folder/newms1")):
        with pytest.raises(MachineFailed, match="can't be asked about from here"):
            power.cut(where, machine, elsewhere)
    kept = Record("newms1", "/r", "n", "b", machine.address, 24, None, "", "key one", (), None, made=True)
    write(folder / "newms1", kept)
    assert made_guest.look(where, machine) == made
    with pytest.raises(MachineFailed, match="does not run"):
        power.cut(where, machine)
    with pytest.raises(MachineFailed, match="is another"):
        power.cut(where, machine, replace(made, guest="key two"))
    assert not killed
    assert power.cut(where, machine, made) == "its container was ended" and killed == ["newms1"]

"""cloudstack-setup-databases against transcripts of the real one, line by line."""

from __future__ import annotations

import grp
import os
import re
import shlex
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import packages
from lab.standin.setup import databases, management
from lab.standin.shared import paths
from lab.standin.shared.release import Version

CONFIGURATION = "/etc/cloudstack/management"
SHARE = "/usr/share/cloudstack-management"
LISTED = re.compile(r"^(-rw|ls: |key: |cloud:|\d{7}$|\d+(,\d+)?[acd]\d|[<>] |---$|\d+:db\.)")
CIPHERTEXT = re.compile(r"ENC\([^)]*\)")
#: Calls that need what a test has not got: a database, or no program files.
LEFT_OUT = ("-d root:WRONG", "-h")


@dataclass
class Recorded:
    """One call of the real command."""

    arguments: str
    code: int = 0
    out: list[str] = field(default_factory=list)
    error: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def calls(transcript: Path) -> list[Recorded]:
    """Read a transcript."""
    found: list[Recorded] = []
    part: list[str] = []
    # Written with the control characters of a terminal shown as ^[ where they were recorded through `cat -v`.
    for line in transcript.read_text().replace("^[[", "\033[").splitlines():
        if line.startswith("### $ cloudstack-setup-databases"):
            found.append(Recorded(line.removeprefix("### $ cloudstack-setup-databases").strip(" ")))
            part = []
        elif not found:
            continue
        elif line.startswith("--- rc="):
            found[-1].code = int(line.removeprefix("--- rc="))
        elif line == "--- stdout":
            part = found[-1].out
        elif line.endswith("--- stderr"):
            if line != "--- stderr":
                part.append(line.removesuffix("--- stderr"))
            part = found[-1].error
        elif LISTED.match(line):
            part = found[-1].after
            part.append(line)
        else:
            part.append(line)
    return found


@pytest.fixture
def installed(tmp_path: Path, repository: packages.Repository, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the package in a folder, which the command takes for /."""
    for package in ("common", "management"):
        archive = next(repository.repository(packages.NEW).glob(f"cloudstack-{package}_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(tmp_path)], check=True)
    monkeypatch.setattr(paths, "MANAGEMENT_CONFIGURATION", tmp_path / CONFIGURATION[1:])
    monkeypatch.setattr(paths, "MANAGEMENT_SHARE", tmp_path / SHARE[1:])
    monkeypatch.setattr(paths, "COMMON_SHARE", tmp_path / "usr/share/cloudstack-common")
    # There is no group `cloud` where the package is not installed; giving the file to one's own group shows as little.
    monkeypatch.setattr(grp, "getgrnam", lambda _name: grp.getgrgid(os.getegid()))
    return tmp_path


def words(arguments: str) -> list[str]:
    """Split what was typed; an argument with a space was quoted, and `-g` at the end had an empty one."""
    if arguments.endswith(" -g"):
        return [*shlex.split(arguments), ""]
    if "p w@" in arguments:
        return [arguments]
    return shlex.split(arguments)


def replaced(text: str, root: Path) -> list[str]:
    """Return output as if the folder were /."""
    return [line.rstrip(" ") for line in text.replace(str(root), "").splitlines()]


def padded(lines: list[str]) -> list[str]:
    """Return lines without paddings: the paths in a folder are longer. (The padding itself has a test of its own.)"""
    return [re.sub(r" {2,}| +(?=\[ )", "", line).rstrip(" ") for line in lines]


@pytest.mark.processes
@pytest.mark.parametrize("version", ["4.20.3.0", "4.22.1.0"])
def test_says_what_the_real_one_says(
    version: str, data: Path, installed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = data / f"transcripts/setup-databases-{version[:4].replace('.', '')}.txt"
    properties = installed / CONFIGURATION[1:] / "db.properties"
    original = properties.read_text()
    monkeypatch.setattr(databases, "code_version", lambda: Version(version))
    detected = re.search(r"Detected local IP address as (\S+),", transcript.read_text())
    monkeypatch.setattr(socket, "gethostbyname", lambda _name: detected.group(1) if detected else "127.0.0.1")
    compared = 0
    for call in calls(transcript):
        if any(left in call.arguments for left in LEFT_OUT):
            continue
        if any("db.properties*" in line for line in call.after):
            properties.unlink()
        else:
            properties.write_text(original)
        code = databases.main(words(call.arguments))
        printed = capsys.readouterr()
        reported = f"cloudstack-setup-databases {call.arguments}"
        assert code == call.code, reported
        assert padded(replaced(printed.out, installed)) == padded(call.out), reported
        assert padded(replaced(printed.err, installed)) == padded(call.error), reported
        if any(line.startswith("10d9") for line in call.after):
            recorded = [line for line in map(masked, call.after) if line and not re.match(r"-rw|key: |\d{7}|cloud:", line)]
            assert changes(original, properties.read_text()) == recorded, reported
        compared += 1
    assert compared >= (12 if version.startswith("4.20") else 1)


def masked(line: str) -> str:
    """Return a line without ciphertext, which differs each time."""
    return CIPHERTEXT.sub("ENC()", line)


def changes(before: str, after: str) -> list[str]:
    """Return what diff(1) prints."""
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    one, two = folder / f"before-{os.getpid()}", folder / f"after-{os.getpid()}"
    one.write_text(before)
    two.write_text(after)
    try:
        text = subprocess.run(["diff", str(one), str(two)], capture_output=True, text=True, check=False).stdout
    finally:
        one.unlink()
        two.unlink()
    return [masked(line) for line in text.splitlines()]


def test_setup_management_prints_the_real_lines(
    data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STANDIN_VERSION", "4.22.1.0")
    recorded = (data / "transcripts/setup-management-422.txt").read_text()
    monkeypatch.setattr(management, "LOG", Path("/var/log/cloudstack/management/setupManagement.log"))
    monkeypatch.setattr(management, "log", lambda _text: None)
    monkeypatch.setattr(management, "execute", lambda *_command, **_options: True)
    monkeypatch.setattr(management, "LIMITS", tmp_path / "limits.conf")
    assert management.main(["--no-start"]) == 0
    expected = recorded.split("-- stdout\n")[1].split("-- stderr")[0]
    assert capsys.readouterr().out == expected

    def fail() -> None:
        raise management.ConfigurationFailed("unit is masked")

    monkeypatch.setattr(management, "restart_service", fail)
    assert management.main([]) == 0
    expected = recorded.split("-- stdout\n")[2].split("-- stderr")[0]
    assert capsys.readouterr().out == expected

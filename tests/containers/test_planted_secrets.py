"""Secrets are found nowhere after a switch and a rollback, by either way for the databases, but where they must be; in no process's arguments all along.

What is packed is unpacked, what the tool itself makes of a run (forensics, report) is looked at as well, and accounts that a run makes for
itself count with the stack's own secrets.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parallel_build.database.replicate.channel import CHANNEL, USER
from parallel_build.project import PROJECT
from tests.containers.conftest import LabRunner, tell
from tests.containers.secret_search import Sampler, held, is_core, needles, search, unexpected

pytestmark = [pytest.mark.containers, pytest.mark.timeout(2400)]

# The stack's secrets, by their names in the lab; the database key is the original's own, which the tool reads and carries over.
PLANTED = (
    "original_api_key",
    "original_api_secret",
    "cloud_password",
    "replication_password",
    "management_key",
    "database_key",
    "passphrase",
)
DATABASES = ("olddb1", "olddb2", "newdb1", "newdb2")
MACHINES = ("oldms1", "oldms2", "kvm1", "kvm2", "newms1", "newms2", *DATABASES)
CLOCK_TICK = 1.0  # seconds by which a file system's times may be behind
SEED = f"master-{CHANNEL}.info"  # what the new source logs in to the original with while it follows it
# Where each must be: (secret, machine and path or file of the workstation, why).
ALLOWED = (
    (
        "original_api_key",
        r".*/var/lib/mysql/.*",
        "column api_key of cloud.user, as CloudStack stores it, with the server's logs of changes",
    ),
    ("replication_password", r"(old|new)db2:/var/lib/mysql/(master|relay).*", "a replica stores what it logs in with"),
    ("seed's account", rf"newdb1:/var/lib/mysql/{SEED}", "so does the new source, while it is one"),
    ("management_key", r"newms[12]:/etc/cloudstack/management/key", "the key file; gone again after going back"),
    (".*", r"workstation:.*/secrets\.json", "the lab's own, from which it sets the stack's secrets"),
    ("passphrase", r"workstation:.*/passphrase", "the lab's own, of the stack's state"),
)
# Pulumi hands the whole configuration to its program in the environment, readable for the operator's account only; the provider takes it away.
PROGRAM = re.compile(r"pulumi-language-python|pulumi-python|pulumi_language|__main__\.py|pulumi/dynamic|-m pulumi")
# On a machine: what journal and folders in memory hold, packed, in the first line; then core files, ELF files of type 4, one a line.
LOOK = r"""
{ journalctl --no-pager -o cat -a; for f in $(find /run /tmp /dev/shm -xdev -type f -size -2000k); do cat "$f"; done; } 2>/dev/null | gzip -1 | base64 -w 0
echo
find / /run /tmp /dev/shm -xdev -type f \( -name core -o -name 'core.*' -o -name '*.core' \) -size +4k 2>/dev/null | sort -u | while read -r file; do
  [ "$(od -An -c -N 4 "$file" | tr -d ' ')" = '177ELF' ] && [ "$(od -An -tu1 -j 16 -N 1 "$file" | tr -d ' ')" = 4 ] && echo "$file"
done
true
"""


class Search:
    """What is wanted, which grows as accounts are made, and where it was found.

    Args:
        lab: the lab.
        planted: the secrets that are known from the beginning.
        sampler: looks at processes meanwhile.
    """

    def __init__(self, lab: LabRunner, planted: dict[str, str], sampler: Sampler) -> None:
        self.lab, self.planted, self.sampler = lab, planted, sampler
        self.places: set[tuple[str, str]] = set()
        self._looked: dict[str, float] = {}  # when the last look at a machine began

    def wanted(self) -> dict[bytes, str]:
        """Needles of all that is known by now."""
        return needles({**self.planted, **{f"copy's account {each}": each for each in sorted(self.sampler.passwords)}})

    def look(self, after: str, machines: tuple[str, ...] = MACHINES) -> set[tuple[str, str]]:
        """Search machines and the workstation's folders of the stack; what is found there now."""
        wanted, found = self.wanted(), set[tuple[str, str]]()
        for machine in machines:
            since, self._looked[machine] = self._looked.get(machine, 0.0), time.time() - CLOCK_TICK
            found |= search(self._upper(machine), machine, wanted, since, self.places) | self._shown(machine, wanted)
        for folder in ("runs", "state"):
            found |= search(self.lab.folder / folder, "workstation", wanted)
        self.places |= found
        tell(f"{after}: {len(wanted)} texts looked for, {self.sampler.looks} looks at all processes, {len(self.places)} places")
        return found

    def file(self, path: Path) -> None:
        """Search one file of the workstation."""
        self.places |= {(name, f"workstation:{path}") for name in held(path, self.wanted())}

    def folder(self, path: Path) -> None:
        """Search a folder of the workstation."""
        self.places |= search(path, "workstation", self.wanted())

    def _upper(self, machine: str) -> Path:
        """The layer of a machine: every file that differs from the shared root."""
        side = "new" if machine.startswith("new") else "original"
        return self.lab.folder / side / machine / "upper"

    def _shown(self, machine: str, wanted: dict[bytes, str]) -> set[tuple[str, str]]:
        """What a machine's journal, and its folders in memory, hold; it has no core file anywhere."""
        packed, *cores = self.lab.shell(machine, LOOK).splitlines()
        assert cores == [], machine
        text = gzip.decompress(base64.b64decode(packed))
        return {(name, f"{machine}:journal or /run or /tmp") for needle, name in wanted.items() if needle in text}


@contextmanager
def replicating(lab: LabRunner) -> Iterator[None]:
    """The lab's stack with `transfer.method: replicate`, seeded; afterwards as it was."""
    lab.run("pulumi", "config", "set", "--path", "transfer.method", "replicate")
    try:
        lab.run("pulumi", "up", "--yes", "--skip-preview")
        yield
    except BaseException:
        lab.run("back", check=False)  # by the way that it was switched by
        raise
    finally:
        lab.run("pulumi", "config", "set", "--path", "transfer.method", "dump")
        lab.run("pulumi", "up", "--yes", "--skip-preview")


def seed_password(lab: LabRunner) -> str:
    """The password of the account by which the new source follows the original: in its own file the line after the account's."""
    lines = lab.shell("newdb1", f"cat /var/lib/mysql/{SEED}").splitlines()
    return lines[lines.index(USER) + 1]


def switch_and_back(lab: LabRunner, looking: Search, way: str) -> None:
    """There and back, with a look at everything after each."""
    lab.run("switch")
    looking.look(f"switch, {way}")
    lab.run("back")
    found = looking.look(f"back, {way}")
    assert not [each for each in found if each[0] == "management_key" and each[1].startswith("newms")], "the key file goes with the set-up"
    assert not [each for each in found if "account" in each[0]], "what a run made for itself is gone with it"


def test_planted_secrets_are_nowhere_but_where_they_must_be(lab: LabRunner) -> None:
    secrets = json.loads((lab.folder / "secrets.json").read_text())
    planted = {name: str(secrets[name]) for name in PLANTED if name in secrets}
    planted["passphrase"] = (lab.folder / "passphrase").read_text().strip()
    assert set(planted) == set(PLANTED)
    sampler = Sampler(lab.name)
    looking = Search(lab, planted, sampler)
    sampler.start()
    began = time.time()
    try:
        switch_and_back(lab, looking, "dump")
        assert sampler.passwords, "the copy's account was seen at work"
        dumped = len(sampler.passwords)
        with replicating(lab):
            planted["seed's account"] = seed_password(lab)
            assert len(sampler.passwords) > dumped, "the seed has an account of its own"
            assert ("seed's account", f"newdb1:/var/lib/mysql/{SEED}") in looking.look("seeded", DATABASES)
            switch_and_back(lab, looking, "replicate")
        report = Path(lab.run("tool", "report", "lab").stdout.strip())
    finally:
        sampler.over.set()
        sampler.join()
    packed = list((lab.folder / "runs").rglob("forensics/*/*.gz"))
    assert report.stat().st_mtime > began and len([path for path in packed if path.stat().st_mtime > began]) > 4
    looking.folder(lab.folder / "runs")
    looking.file(lab.folder / "Pulumi.lab.yaml")
    for path in (*Path("/tmp").glob("cutover-*"), *Path("/tmp").glob("pulumi*")):
        if path.is_dir():
            looking.folder(path)
        elif path.is_file():
            looking.file(path)
    for history in (Path.home() / ".bash_history", Path.home() / ".mysql_history", Path.home() / ".mariadb_history"):
        if history.exists():
            looking.file(history)
    for core in [*PROJECT.glob("core*"), *Path("/var/lib/systemd/coredump").glob("*"), *Path("/var/crash").glob("*")]:
        if core.is_file() and core.stat().st_mtime > began:
            looking.file(core)
    assert not [path for path in lab.folder.glob("core*") if path.is_file() and is_core(path)]
    wanted = looking.wanted()
    assert sampler.looks > 100
    # On servers none is allowed; here, where ssh carries the words there, the one byte of `core_files`.
    assert "0" in {soft for _, soft in sampler.limits} <= {"0", "1"}, sampler.limits
    assert not sampler.arguments(wanted)
    assert not [each for each in sampler.environments(wanted) if not PROGRAM.search(each[1])]
    assert unexpected(looking.places, ALLOWED) == []

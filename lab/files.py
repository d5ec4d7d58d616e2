"""Where a lab is kept: `$XDG_STATE_HOME/cloudstack-parallel-build/labs/NAME/`, and what is written down of it.

Everything that is needed to find a lab again, from another process or after a crash, is in that folder.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from lab.database.restoring import Origin
from lab.errors import LabError
from parallel_build.configuration.database_combinations import Family
from parallel_build.secret import Secret
from tools.cache import PROJECT, write_atomically

System = Literal["debian", "el"]
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,19}$")
# Characters that CloudStack's set-up commands take without quoting [cloud-setup-databases.in].
PLAIN_CHARACTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def labs_folder() -> Path:
    """The folder of all labs of this user."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".local/state"
    return base / PROJECT / "labs"


@dataclass(frozen=True)
class Options:
    """What a lab was asked to be; kept, so that later commands need no options again.

    Attributes:
        hosts: what the stack's new machines are: `libvirt` or `containers`.
        management: number of management servers on each side, 1 or 2.
        rows: rows of each of the big tables of a generated database; None leaves the generator's default.
        networks: further networks of the generated database, each in use with a router of its own.
        kvm_hosts: KVM hosts of the original, each a container with the agent's packages.
        seed: of the generated database.
        dump: a database dump used instead of a generated one.
        usage_dump: dump of `cloud_usage`, where `dump` holds only `cloud`.
        rehearsal: the stack has a server for rehearsals, on a network without a way to the others.
        transfer: how the stack brings the databases over: `dump` or `replicate`.
        disks: whether each container has a disk of its own, which may become full.
        database: server family of the original's databases: `mariadb` or `mysql`.
        new_database: of the new servers'; None is the original's.
        agents: the stack brings agents to the new version by its own wave, instead of by commands.
        target: the version that the stack upgrades to.
        move: the stack moves the cloud to new servers of the same version, instead of upgrading it.
        original: how the original's databases came about: `created`, `restored` or `restored-old`, see `lab.database.restoring`.
        one_server: sides that are one machine for management, usage and database: `original` or `both`; None for neither.
        galera: the original's databases are three nodes of a Galera cluster, instead of a source and its replica.
        family: what systems of the original are like: `debian`, or `el`, a shape of Enterprise Linux (see `lab.images.el`).
        new_family: and those of the new servers; None is the original's.
    """

    hosts: str = "libvirt"
    management: int = 2
    rows: int | None = None
    networks: int = 0
    kvm_hosts: int = 2
    seed: int = 1
    dump: str | None = None
    usage_dump: str | None = None
    rehearsal: bool = False
    transfer: str = "dump"
    disks: bool = False
    database: Family = "mariadb"
    new_database: Family | None = None
    agents: bool = False
    move: bool = False
    target: str = "4.22.1.0"
    original: Origin = "created"
    one_server: Literal["original", "both"] | None = None
    galera: bool = False
    family: System = "debian"
    new_family: System | None = None

    @property
    def families(self) -> tuple[Family, Family]:
        """Server families of the original's and of the new databases."""
        return self.database, self.new_database or self.database

    @property
    def systems(self) -> tuple[System, System]:
        """Families of systems of the original and of the new servers."""
        return self.family, self.new_family or self.family

    @property
    def containers_only(self) -> bool:
        """Whether it is something that the lab has no guests for."""
        return "el" in self.systems or "mysql" in self.families or self.one_server is not None or self.galera


@dataclass(frozen=True)
class Lab:
    """One lab: its name and its places."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.match(self.name):
            raise LabError(f"{self.name!r} can't be a lab's name", "", "use up to 20 lower-case letters, digits and hyphens")

    @property
    def folder(self) -> Path:
        """The lab's folder; the environment variable CUTOVER_LAB names it to the stack."""
        return labs_folder() / self.name

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return f"cslab-{self.name}"

    @property
    def run_folder(self) -> Path:
        """Sockets and process records; short, because a socket's path is limited to about 100 characters."""
        return Path("/run") / self.namespace

    @property
    def original(self) -> Path:
        """Folder of the original's machines."""
        return self.folder / "original"

    @property
    def new(self) -> Path:
        """Folder of the new machines, when they are containers."""
        return self.folder / "new"

    @property
    def pool(self) -> Path:
        """Folder of the new machines' disks, when they are libvirt guests."""
        return self.folder / "pool"

    @property
    def identity(self) -> Path:
        """The operator's private key."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Host keys of the original's machines."""
        return self.folder / "known_hosts"

    @property
    def stack_file(self) -> Path:
        """The stack's configuration."""
        return self.folder / "Pulumi.lab.yaml"

    @property
    def backend(self) -> Path:
        """Pulumi's state."""
        return self.folder / "state"

    @property
    def passphrase(self) -> Path:
        """The passphrase of the stack's secrets."""
        return self.folder / "passphrase"

    def exists(self) -> bool:
        """Whether this lab has been begun."""
        return (self.folder / "lab.json").exists()

    def options(self) -> Options:
        """What the lab was asked to be.

        Raises:
            LabError: there is no such lab.
        """
        try:
            found = json.loads((self.folder / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab named {self.name}", "", "bring it up: scripts/lab up") from None
        return Options(**found)

    def begin(self, options: Options) -> None:
        """Write down what the lab is to be; an existing lab must be the same.

        Raises:
            LabError: a lab of that name with other options exists.
        """
        if self.exists():
            found = self.options()
            if found != options:
                differing = [key for key, value in asdict(options).items() if asdict(found)[key] != value]
                raise LabError(
                    f"lab {self.name} exists with another {' and '.join(differing)}",
                    "",
                    "take it down first (scripts/lab down), or give the new one its own --name",
                )
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        write_atomically(self.folder / "lab.json", json.dumps(asdict(options), indent=1) + "\n")

    def done(self, stage: str) -> bool:
        """Whether a stage that can't be found by looking has been finished."""
        return (self.folder / f".done-{stage}").exists()

    def mark(self, stage: str) -> None:
        """Remember that a stage has been finished."""
        write_atomically(self.folder / f".done-{stage}", "")

    def unmark(self, *stages: str) -> None:
        """Forget that stages have been finished."""
        for stage in stages:
            (self.folder / f".done-{stage}").unlink(missing_ok=True)

    def key(self, name: str) -> tuple[Secret, str]:
        """A machine's host key, made when first asked for: private key and public key."""
        path = self.folder / "keys" / name
        _make_key(path, f"{name} in lab {self.name}")
        return Secret(path.read_text()), path.with_suffix(".pub").read_text().strip()

    def host_key(self, name: str) -> str:
        """A machine's public host key, of the original or of a new one.

        Raises:
            LabError: there is no such machine yet.
        """
        known = self.folder / "new_host_keys.json"
        new = json.loads(known.read_text()) if known.exists() else {}
        path = self.folder / "keys" / f"{name}.pub"
        if name in new:
            return str(new[name])
        if not path.exists():
            raise LabError(f"lab {self.name} has no machine {name} yet", "", "scripts/lab status lists them")
        return path.read_text().strip()

    def operator_key(self) -> str:
        """The operator's public key, made when first asked for."""
        _make_key(self.identity, f"operator of lab {self.name}")
        return self.identity.with_suffix(".pub").read_text().strip()

    def secrets(self) -> LabSecrets:
        """The lab's secrets."""
        return LabSecrets.read(self.folder / "secrets.json")


@dataclass
class LabSecrets:
    """The lab's secrets; kept in a file that only its owner can read."""

    path: Path
    values: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path) -> LabSecrets:
        """Read the file, or begin with nothing."""
        try:
            return cls(path, json.loads(path.read_text()))
        except FileNotFoundError:
            return cls(path)

    def get(self, name: str) -> Secret | None:
        """A secret, or None."""
        return Secret(self.values[name]) if name in self.values else None

    def must(self, name: str) -> Secret:
        """A secret that must have been set.

        Raises:
            LabError: it has not.
        """
        found = self.get(name)
        if found is None:
            raise LabError(f"the lab has no secret {name}", f"{self.path} was not finished", "run scripts/lab up again")
        return found

    def set(self, **values: str | Secret | None) -> None:
        """Set secrets and write them down at once; None leaves one as it is."""
        for name, value in values.items():
            if value is not None:
                self.values[name] = Secret(value).reveal()
        write_atomically(self.path, json.dumps(self.values, indent=1) + "\n", 0o600)

    def made(self, name: str) -> Secret:
        """A secret, made at random when first asked for."""
        if name not in self.values:
            self.set(**{name: "".join(secrets.choice(PLAIN_CHARACTERS) for _ in range(24))})
        return self.must(name)


def _make_key(path: Path, comment: str) -> None:
    if path.with_suffix(".pub").exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL)

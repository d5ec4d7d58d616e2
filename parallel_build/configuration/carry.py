"""`new.carry`: what of the original's management servers is taken over that is not in the database. Nothing is carried unasked."""

from __future__ import annotations

import posixpath
import re
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from parallel_build.configuration.values import Model, ServerPath

MANAGEMENT_FOLDER = "/etc/cloudstack/management"
USAGE_FOLDER = "/etc/cloudstack/usage"
EXTENSIONS = "/etc/cloudstack/extensions"
# The user interface's, with its theme; which one is there depends on the package [docs: installguide, UI].
UI_FILES = (f"{MANAGEMENT_FOLDER}/config.json", "/etc/cloudstack/ui/config.json")
# Each side has its own, and one that is carried would lead a new server to the original's database.
NEVER = tuple(f"{folder}/{name}" for folder in (MANAGEMENT_FOLDER, USAGE_FOLDER) for name in ("db.properties", "key"))
COPIES_OF_THEM = ("db.properties*", "key", "key.*", "key~", "key-*")
SYSTEM = ("/dev", "/proc", "/sys", "/run", "/boot")
HELD_BACK = re.compile("passw|secret|key|token|credential", re.IGNORECASE)
OPTION = r"^-[A-Za-z][A-Za-z0-9:+._/=-]*$"
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,200}$"


def refused(path: str) -> str:
    """Why a path can't be carried, "" where it can: db.properties and the key in whatever way they would come along."""
    plain = posixpath.normpath(path)
    if plain == "/" or any(_within(plain, folder) or _within(folder, plain) for folder in SYSTEM):
        return f"{path} is the system's own; name the files that CloudStack reads"
    held = next((each for each in NEVER if _within(each, plain)), "")
    if held:
        return f"{path} {'is' if held == plain else 'holds'} {held}, which each side has of its own: set-up writes it; " + (
            "leave it out" if held == plain else "name the files next to it"
        )
    folder, name = posixpath.split(plain)
    if folder in (MANAGEMENT_FOLDER, USAGE_FOLDER) and any(fnmatchcase(name, pattern) for pattern in COPIES_OF_THEM):
        return f"{path} looks like a copy of db.properties or of its key, and each side has its own; leave it out"
    return ""


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _checked(path: str) -> str:
    if reason := refused(path):
        raise ValueError(reason)
    return posixpath.normpath(path)


class CarriedFile(Model):
    """A file, or a folder with everything below it.

    Attributes:
        path: on the original's server.
        to: its place on the new servers; None for the same place.
    """

    path: ServerPath
    to: ServerPath | None = None

    @field_validator("path", "to")
    @classmethod
    def _may_be_carried(cls, value: str | None) -> str | None:
        return value if value is None else _checked(value)

    @property
    def target(self) -> str:
        """Where it goes."""
        return self.to or self.path


class CarriedSetting(Model):
    """A setting that is changed in the copy, before the first new server starts.

    Attributes:
        name, value: of the setting.
        of: whose value it is, such as `domain ROOT/sales` or `zone z1`; None for the whole cloud.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]
    value: str
    of: Annotated[str, Field(pattern=r"^(domain|account|zone|cluster|primary storage|secondary storage) \S.*$")] | None = None

    @field_validator("name")
    @classmethod
    def _not_written_by_others(cls, value: str) -> str:
        if value == "host":
            raise ValueError("step HostSetting writes `host`: the new servers' addresses, or new.loadBalancer")
        if HELD_BACK.search(value):
            raise ValueError(f"{value} may be sealed with the cloud's key; change it by the API once the new side serves")
        return value


class Carry(Model):
    """What is taken over.

    Attributes:
        source: name of the management server of the original that it is taken from; None for the first.
        files: files and folders.
        jvm_options: beginnings of options, such as -Xmx: the original's options that begin so go into the new servers' JAVA_OPTS.
        trust_store: aliases of certificates in the trust store of the original's Java.
        extensions: the folder of the extensions framework.
        ui_configuration: the user interface's config.json.
        settings: what is changed in the copy.
        renew: any text; a changed one carries everything again.
    """

    source: str | None = Field(default=None, alias="from")
    files: list[CarriedFile] = Field(default_factory=list)
    jvm_options: list[Annotated[str, Field(pattern=OPTION)]] = Field(default_factory=list)
    trust_store: list[Annotated[str, Field(pattern=ALIAS)]] = Field(default_factory=list)
    extensions: bool = False
    ui_configuration: bool = False
    settings: list[CarriedSetting] = Field(default_factory=list)
    renew: str = ""

    @field_validator("files", mode="before")
    @classmethod
    def _a_path_alone(cls, value: Any) -> Any:
        return [{"path": each} if isinstance(each, str) else each for each in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _each_place_once(self) -> Carry:
        seen: set[str] = set()
        for each in self.all_files:
            if each.target in seen:
                raise ValueError(f"two files go to {each.target}; give one of them another `to`")
            seen.add(each.target)
        if self.jvm_options and "/etc/default/cloudstack-management" in seen:
            raise ValueError(
                "jvmOptions: /etc/default/cloudstack-management is carried whole (files), so the options are in it; leave one of the two out"
            )
        names = [(each.name, each.of) for each in self.settings]
        if twice := [name for name, of in names if names.count((name, of)) > 1]:
            raise ValueError(f"settings: {twice[0]} is there twice; leave one out")
        return self

    @property
    def all_files(self) -> list[CarriedFile]:
        """Those that are named, and what the short words stand for."""
        return [*self.files, *([CarriedFile(path=EXTENSIONS)] if self.extensions else [])]

    @property
    def anything(self) -> bool:
        """Whether there is anything to be put on the new servers."""
        return bool(self.all_files or self.jvm_options or self.trust_store or self.ui_configuration)

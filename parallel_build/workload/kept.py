"""What is kept of a workload on the operator's machine: its profile, and the passwords of its users, to test logins by after the upgrade."""

from __future__ import annotations

import json
import os
from pathlib import Path

from parallel_build import private_file
from parallel_build.errors import ConfigurationError
from parallel_build.workload.profile import Profile
from parallel_build.workload.requests import Passwords, password
from parallel_build.workload.things import ACCOUNTS, USERS, things

FILE = "workload.json"


def passwords(folder: Path, profile: Profile) -> Passwords:
    """The passwords of a profile's users, written before the first of them is used; those that are there already stay.

    Raises:
        ConfigurationError: the file can't be read or written.
    """
    path = folder / FILE
    names = [thing.name for thing in things(profile) if thing.kind in (ACCOUNTS, USERS)]
    known = read(path)
    found = {name: known.get(name) or password() for name in names}
    text = json.dumps({"profile": profile.digest, "passwords": found}, indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_file.replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written", os.strerror(error.errno or 0), "make the run folder writable") from None
    return found


def forget(folder: Path) -> None:
    """Remove the file; nothing where there is none."""
    (folder / FILE).unlink(missing_ok=True)


def read(path: Path) -> Passwords:
    """The passwords of a file; none where it is not there.

    Raises:
        ConfigurationError: it can't be read.
    """
    try:
        found = json.loads(path.read_text())["passwords"]
        return {str(name): str(text) for name, text in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} can't be read",
            f"it is not what `workload` writes ({type(error).__name__})",
            "restore it, or remove it: then new users get new passwords",
        ) from None

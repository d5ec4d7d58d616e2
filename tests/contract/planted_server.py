"""The stand-in's management server with one function broken, as a file next to its settings says; read at each call.

Run as the management server is: with STANDIN_ROOT and STANDIN_VERSION in the environment.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from datetime import datetime
from typing import Any

from lab.standin.management import api, daemon, passwords
from lab.standin.management.api.core import COMMANDS, Call, Caller, Command, Response
from lab.standin.management.api.session import LoginFailed, NotVerified, Sessions
from lab.standin.shared import paths
from tests.contract import plants

PLANT = paths.ROOT / "etc/cloudstack/plant.json"


def planted() -> str:
    """Return the name of what is broken now; empty where nothing is."""
    if not PLANT.exists():
        return ""
    values = json.loads(PLANT.read_text())
    plants.UPGRADED[0] = datetime.fromisoformat(values["upgraded"])
    return str(values["plant"])


def _command(entry: Command) -> Command:
    def answer(call: Call) -> Response:
        plant = plants.PLANTS.get(planted())
        if plant is None or plant.broken is None or call.name not in plant.commands:
            return entry.handler(call)
        return plant.broken(entry.handler, call)

    return dataclasses.replace(entry, handler=answer)


class Planted(Sessions):
    """Sessions in which logins or keys are broken."""

    def login(self, parameters: dict[str, str], address: str) -> tuple[dict[str, Any], str]:
        """Open a session, or not."""
        name = parameters.get("username", "")
        row = self._server.cloud.row("SELECT * FROM user WHERE username = %s AND removed IS NULL", name)
        if planted() == "login-old-refused" and row is not None and plants.is_old(row):
            raise LoginFailed(f"Failed to authenticate user {name}; please provide valid credentials")
        return super().login(parameters, address)

    def verify(self, parameters: dict[str, str], address: str, cookie: str) -> Caller:
        """Return who calls, or refuse."""
        caller = super().verify(parameters, address, cookie)
        by_key = bool(parameters.get("signature"))
        if (planted() == "login-useless" and not by_key) or (planted() == "portal-keys-refused" and by_key and not caller.is_admin):
            raise NotVerified
        return caller


def main() -> int:
    """Run the server."""
    matches = passwords.matches
    passwords.matches = lambda password, stored: planted() == "login-any-password" or matches(password, stored)
    for name, entry in list(COMMANDS.items()):
        COMMANDS[name] = _command(entry)
    setattr(api, "Sessions", Planted)  # noqa: B010 - what the API is made with
    return daemon.main()


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of the two commands: the first argument says which."""

from __future__ import annotations

import sys

from . import databases, management

COMMANDS = {"databases": databases.main, "management": management.main}

sys.exit(COMMANDS[sys.argv[1]](sys.argv[2:]))

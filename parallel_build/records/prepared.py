"""What the steps before the window did to the original, kept on the original's database host next to the window's record.

An undo must know what was this stack's doing and what was there before, also when it runs on another operator's machine: a template that somebody
else registered must not be deleted, and `host` goes back to exactly what it was. No secrets.
"""

from __future__ import annotations

import json
import re
from typing import Any

from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER
from parallel_build.resolved_stack import Site

Facts = dict[str, Any]


class PreparedRecord:
    """One fact sheet of a stack; each has a file of its own, so that steps that run side by side don't meet.

    Args:
        host: session to the original's source.
        site: the stack.
        key: name of the sheet.
    """

    def __init__(self, host: Access, site: Site, key: str) -> None:
        self.host, self.site, self.key = host, site, key

    @property
    def path(self) -> str:
        """The sheet's file."""
        return f"{FOLDER}/prepared/{self.site.stack}-{re.sub(r'[^A-Za-z0-9.-]', '_', self.key)}.json"

    def facts(self) -> Facts:
        """What was remembered; empty when nothing was, or another stack of this name wrote it."""
        raw = self.host.read(self.path)
        if not raw:
            return {}
        document = json.loads(raw)
        if document.get("identity") not in self.site.identities or document.get("key") != self.key:
            return {}
        facts: Facts = document["facts"]
        return facts

    def remember(self, **facts: Any) -> None:
        """Remember facts, before the change they are about; what is known already stays."""
        before = self.facts()
        after = {**before, **facts}
        if after == before:
            return
        self.host.run(["install", "-d", "-m", "700", FOLDER, self.path.rsplit("/", 1)[0]])
        document = {"stack": self.site.stack, "identity": self.site.identity, "key": self.key, "facts": after}
        self.host.write(self.path, json.dumps(document, sort_keys=True) + "\n")

    def forget(self) -> None:
        """Forget everything; nothing happens where nothing is known."""
        if self.facts():
            self.host.run(["rm", "-f", self.path], cancellable=False)

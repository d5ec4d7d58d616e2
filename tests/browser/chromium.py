"""The distribution's Chromium without a window, spoken to by its DevTools protocol over a pipe, where there is no network at all.

A pipe and no library: a driver such as Playwright or Selenium reaches a browser by a port, and needs a network for it; it would also be in the one
set of pinned packages that every operator's set-up installs, for six calls.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = "chromium"
LIMIT = 60.0
"""Seconds for one answer: a browser that has just been installed begins slowly on a busy machine."""

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >&2'
"""A shell's line: Chromium reads calls from descriptor 3 and writes answers to 4."""


@dataclass
class Chromium:
    """A browser with a profile of its own; used as a block.

    Attributes:
        events: what the browser reported without being asked, oldest first.
    """

    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    _last: int = 0
    _read: bytes = b""

    def __enter__(self) -> Chromium:
        alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        # As root it refuses its sandbox; what it opens here are files that this test has written.
        words = [*alone, PROGRAM, *FLAGS, "--no-sandbox", f"--user-data-dir={self.folder / 'profile'}", "about:blank"]
        self._log = (self.folder / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            ["sh", "-c", PIPES, "sh", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder)},
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(LIMIT)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._log.close()

    def open(self, where: Path) -> Page:
        """Open a page in a tab of its own; everything it asks for and complains of is among the events from its beginning."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            page.call(f"{domain}.enable")
        page.go(where)
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method and wait for its answer.

        Raises:
            AssertionError: the browser refuses it, has ended, or does not answer in time.
        """
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        deadline = time.monotonic() + LIMIT
        while (answer := self._next(method, deadline)).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        found: dict[str, Any] = answer["result"]
        return found

    def await_event(self, name: str, session: str, since: int) -> dict[str, Any]:
        """Wait for an event of a page that came behind the first `since`; returns its parameters."""
        deadline = time.monotonic() + LIMIT
        while True:
            for event in self.events[since:]:
                if event["method"] == name and event.get("sessionId") == session:
                    return dict(event["params"])
            since = len(self.events)
            self.events.append(self._next(name, deadline))

    def _next(self, what: str, deadline: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            ended = "it ended" if ready else f"no answer within {LIMIT:.0f} s"
            assert more, f"{what}: {ended}; {(self.folder / 'chromium.log').read_text(errors='replace')[-2000:]}"
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found


@dataclass(frozen=True)
class Node:
    """A node of the accessibility tree: what a screen reader is given.

    Attributes:
        role: `heading`, `table`, `rowheader` ...
        name: what is read out.
        properties: `level` of a heading, among others.
        children: in reading order; nodes that are passed over are left out, their children stand here.
    """

    role: str
    name: str
    properties: Mapping[str, Any]
    children: tuple[Node, ...] = ()

    def all(self, *roles: str) -> list[Node]:
        """Nodes of these roles below this one, in reading order; of every role without any."""
        found = []
        for child in self.children:
            if not roles or child.role in roles:
                found.append(child)
            found += child.all(*roles)
        return found

    @property
    def text(self) -> str:
        """Everything that is read out below it."""
        return " ".join(node.name for node in self.all("StaticText"))


@dataclass(frozen=True)
class Page:
    """A tab of the browser."""

    browser: Chromium
    session: str

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of this page."""
        return self.browser.call(method, self.session, **parameters)

    def go(self, where: Path) -> None:
        """Open a file and wait until it is loaded."""
        since = len(self.browser.events)
        self.call("Page.navigate", url=where.as_uri())
        self.browser.await_event("Page.loadEventFired", self.session, since)

    def look(self, *, width: int, scheme: str) -> None:
        """Make the window so wide, in CSS pixels, and light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """Value of a script's last expression, as JSON has it."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def tree(self) -> Node:
        """The accessibility tree."""
        nodes = {node["nodeId"]: node for node in self.call("Accessibility.getFullAXTree")["nodes"]}

        def children(node: dict[str, Any]) -> tuple[Node, ...]:
            found: list[Node] = []
            for each in (nodes[key] for key in node.get("childIds", ()) if key in nodes):
                found += children(each) if each["ignored"] else [made(each)]
            return tuple(found)

        def made(node: dict[str, Any]) -> Node:
            properties = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
            return Node(str(node["role"]["value"]), str(node.get("name", {}).get("value", "")), properties, children(node))

        return made(next(node for node in nodes.values() if "parentId" not in node))

    def reported(self, *names: str) -> list[dict[str, Any]]:
        """Parameters of this page's events of these names."""
        return [each["params"] for each in self.browser.events if each["method"] in names and each.get("sessionId") == self.session]

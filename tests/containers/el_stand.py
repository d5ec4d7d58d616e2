"""EL-shaped machines for tests, and a web server with the stand-in's RPMs and others that a test builds, all in one network namespace."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lab import rpm_packages
from lab.images import el_root
from lab.packages import NEW, OLD
from parallel_build.cancel import CancelToken, wait_for
from parallel_build.project import PROJECT
from parallel_build.remote.access import Access
from tests import small_rpm
from tests.containers.steps_bench import Bench, bench
from tools.cache import cache_directory

T = TypeVar("T")
ADDRESS = "http://10.91.0.1:8000"


@dataclass
class ElStand:
    """The machines and the web server.

    Attributes:
        bench: where they run.
        folder: of repositories that tests make.
        served: name in an address -> folder.
    """

    bench: Bench
    folder: Path
    served: dict[str, Path] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None

    def do(self, name: str, call: Callable[[Access], T]) -> T:
        """Call with a machine, from where it can be reached."""
        site = self.bench.site()
        servers = [*site.configuration.original_servers(), *site.configuration.new_machines()]
        with self.bench.context(site, "test") as context:
            host = context.host(next(server for server in servers if server.name == name))
            return self.bench.inside(lambda: call(host))

    def shell(self, name: str, text: str) -> str:
        """What a script prints there."""
        return self.do(name, lambda host: host.script(text, timeout=300, ok=None).stdout)

    def serve(self) -> None:
        """Start the web server, or begin again with what is served now."""
        self.stop()
        config, ready = self.folder / "fileserver.json", self.folder / "ready"
        ready.unlink(missing_ok=True)
        config.write_text(
            json.dumps({"repositories": {name: str(path) for name, path in self.served.items()}, "templates": str(self.folder)})
        )
        words = ["ip", "netns", "exec", self.bench.space, sys.executable, "-m", "lab.fileserver", str(config), str(ready)]
        with (self.folder / "fileserver.log").open("ab") as log:
            self.server = subprocess.Popen(words, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=log, stderr=log)
        wait_for("the web server", ready.exists, timeout=20, cancel=CancelToken(), interval=0.05)

    def stop(self) -> None:
        """End the web server: every mirror is dead then."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(10)
            self.server = None

    def small(self, repository: str, name: str, version: str = "1.0", more: str = "") -> Path:
        """Build a small RPM into a repository of its own name.

        Args:
            more: scriptlets.
        """
        target = self.folder / repository
        target.mkdir(exist_ok=True)
        file = small_rpm.build(self.folder, target, name, f"{version}-1", scripts=more)
        rpm_packages.index(target)
        self.served[repository] = target
        return file


@contextlib.contextmanager
def el_stand() -> Iterator[ElStand]:
    """A stand with both versions of the stand-in served as `el-VERSION`, and no machine yet."""
    with bench(el_root()) as made:
        folder = made.folder / "web"
        folder.mkdir()
        built = rpm_packages.build(cache_directory())
        stand = ElStand(made, folder, {f"{rpm_packages.PREFIX}{version}": built.repository(version) for version in (OLD, NEW)})
        try:
            stand.serve()
            yield stand
        finally:
            stand.stop()

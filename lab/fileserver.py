"""The lab's web server: the package repositories on one port, system VM templates on another.

`python -m lab.fileserver CONFIG READY` runs it; `start` and `stop` do so from another process. `/templates/NAME` is a
template, `/slow/NAME` the same one at `SLOW` bytes a second, for whoever wants to see a download that takes its time.
"""

from __future__ import annotations

import bz2
import json
import random
import sys
import threading
import time
import urllib.parse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab import processes
from lab.files import Lab
from lab.machines import ADDRESS, PACKAGES_PORT, TEMPLATES_PORT
from lab.progress import until
from parallel_build.project import PROJECT
from tools.cache import write_atomically

TEMPLATE_SIZE = 256 * 1024
SLOW = 64 * 1024  # bytes a second
METADATA = "repodata"  # where a repository of RPMs has what dnf reads first
QCOW2_MAGIC = b"QFI\xfb"
TEMPLATES = (
    "systemvmtemplate-4.20.2-x86_64-kvm.qcow2.bz2",
    "systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2",
)


class Handler(SimpleHTTPRequestHandler):
    """Serves the folders of one port; nothing above them can be reached."""

    def __init__(self, folders: dict[str, str], *args: Any) -> None:
        self.folders = folders
        super().__init__(*args)

    def translate_path(self, path: str) -> str:
        """Map the first part of the path to its folder, the last one to a file in it or in its repodata."""
        parts = [urllib.parse.unquote(part) for part in urllib.parse.urlsplit(path).path.split("/") if part not in ("", ".")]
        below = parts[1:-1]
        if len(parts) < 2 or parts[0] not in self.folders or below not in ([], [METADATA]) or parts[-1] == ".." or "/" in parts[-1]:
            return "/nonexistent"
        return str(Path(self.folders[parts[0]], *below, parts[-1]))

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send the file, slowly below `/slow/`."""
        if not self.path.startswith("/slow/"):
            super().copyfile(source, outputfile)
            return
        while data := source.read(SLOW // 10):
            outputfile.write(data)
            outputfile.flush()
            time.sleep(0.1)


def start(lab: Lab, repositories: dict[str, Path]) -> None:
    """Start the server inside the lab's namespace, once; it is restarted when the repositories are others.

    Args:
        repositories: package folder of each version.
    Raises:
        LabError: it does not answer.
    """
    config = lab.folder / "fileserver.json"
    templates = lab.folder / "templates"
    text = json.dumps({"repositories": {v: str(p) for v, p in repositories.items()}, "templates": str(templates)})
    record = lab.run_folder / "fileserver.json"
    if config.exists() and config.read_text() == text and processes.find(record):
        return
    stop(lab)
    _make_templates(templates)
    write_atomically(config, text)
    log = lab.folder / "fileserver.log"
    processes.start(
        record,
        [sys.executable, "-m", "lab.fileserver", str(config), str(_ready(lab))],
        log,
        namespace=lab.namespace,
        environment={"PYTHONPATH": str(PROJECT)},
    )
    until(
        "the package and template server",
        lambda: _ready(lab).exists() or None,
        timeout=20,
        interval=0.05,
        remedy=f"read {log}",
    )


def stop(lab: Lab) -> None:
    """End the server, if it runs."""
    processes.stop(lab.run_folder / "fileserver.json", "the package and template server")
    _ready(lab).unlink(missing_ok=True)


def _ready(lab: Lab) -> Path:
    return lab.run_folder / "fileserver.ready"


def _make_templates(folder: Path) -> None:
    """Files of a template's name and type, small: nothing in the lab starts them."""
    folder.mkdir(mode=0o755, exist_ok=True)
    for name in TEMPLATES:
        # From the name's own seed: the same file at each start, and nothing that compression would shrink to nothing.
        content = QCOW2_MAGIC + random.Random(name).randbytes(TEMPLATE_SIZE)
        (folder / name).write_bytes(bz2.compress(content))


def main() -> None:
    """Serve until SIGTERM."""
    config = json.loads(Path(sys.argv[1]).read_text())
    templates = config["templates"]
    ports = {PACKAGES_PORT: config["repositories"], TEMPLATES_PORT: {"templates": templates, "slow": templates}}
    servers = [ThreadingHTTPServer((ADDRESS, port), partial(Handler, folders)) for port, folders in ports.items()]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    Path(sys.argv[2]).touch()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

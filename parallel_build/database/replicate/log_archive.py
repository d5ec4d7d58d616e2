"""What reads binary logs on a server, as a program in one file: it needs nothing there but a Python 3."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import parallel_build

ROOM = "database/replicate"
MODULES = (
    "__init__.py", "database/__init__.py",
    *(f"{ROOM}/{name}.py" for name in ("__init__", "log_events", "log_statements", "log_reader", "foreign_statements")),
)  # fmt: skip


def archive(main: str) -> bytes:
    """The program.

    Args:
        main: module of `parallel_build.database.replicate` whose `main` it runs.
    """
    package, packed = Path(parallel_build.__file__).parent, io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("__main__.py", f"import sys\nfrom parallel_build.database.replicate.{main} import main\nsys.exit(main())\n")
        for name in MODULES:
            pack.write(package / name, f"parallel_build/{name}")
    return packed.getvalue()

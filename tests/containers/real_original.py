"""The data folder of a real CloudStack's source (4.20.3.0, MariaDB 10.11), put onto a database server of a stand.

Its views and procedures are as CloudStack itself made them, not as a dump program prints them. The folder lies next to the checkout and is
never part of it: `there` says whether it is here, `ABSENT` is the words of a test that is skipped without it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from parallel_build.remote.host import Host
from tests.containers.database_stand import Combination, Stand, combination, roots, sql

DATA = Path(os.environ.get("PARALLEL_BUILD_DATA", Path(__file__).parents[3] / "shared" / "data"))
ARCHIVE = DATA / "datadir-4.20.3.0.tar.xz"
ABSENT = f"no data folder of a real CloudStack 4.20.3.0: {ARCHIVE}"
VERSION = "4.20.3.0"
SCHEMAS = ["cloud", "cloud_usage"]
# Throw-away values of that cloud: cases/real-cloud.md, "The data folder".
DATABASE_KEY = "dbKey01"
ENCRYPTOR = "V2"
# As information_schema of the folder's own server shows account_view; made again from its own print it is two characters longer.
ACCOUNT_VIEW = 6910


def there() -> bool:
    """Whether the data folder is on this machine."""
    return ARCHIVE.exists()


def put_on(made: Stand, host: Host) -> None:
    """Replace what the MariaDB server of `host` has, accounts too, by the real cloud's data folder. The server is running before and after.

    Called again, it gives the untouched data folder again.
    """
    folder = made.machines() / host.name / "root" / "var/lib/mysql"
    owner = folder.stat()
    host.run(["systemctl", "stop", "mariadb"], timeout=120)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    subprocess.run(["tar", "-xJf", ARCHIVE, "-C", folder, "--strip-components=1", "--no-same-owner"], check=True, timeout=300)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), owner.st_uid, owner.st_gid)
    os.chown(folder, owner.st_uid, owner.st_gid)
    host.run(["systemctl", "start", "mariadb"], timeout=120)
    made.wait(host)
    shown = "SELECT LENGTH(VIEW_DEFINITION) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME = 'account_view'"
    assert int(sql(host, shown)) == ACCOUNT_VIEW, "the views are not as CloudStack made them"


@contextlib.contextmanager
def real_original(new: str) -> Iterator[Combination]:
    """The real cloud's source and an empty new server.

    Args:
        new: family of the new server.
    """
    with combination("mariadb", new) as pair:
        put_on(pair.made, pair.source)
        yield pair


def missing(new: str) -> str:
    """Why `real_original` is not possible here; empty when it is."""
    if lacking := {"mariadb", new} - roots().keys():
        return f"no root file system with {', '.join(sorted(lacking))}"
    return "" if there() else ABSENT

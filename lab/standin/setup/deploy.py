"""The part of cloudstack-setup-databases that makes databases - and destroys those which are there.

[CloudStack 4.22 setup/bindir/cloud-setup-databases.in, setup/db/create-database.sql; the refusal since 4.21.0]
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .console import SetupError, info

if TYPE_CHECKING:
    from .databases import Target

#: In the order in which they run.
SCRIPTS = (
    "create-database.sql",
    "create-schema.sql",
    "create-database-premium.sql",
    "create-schema-premium.sql",
    "server-setup.sql",
    "templates.sql",
)
CREATES_DATABASES = ("create-database.sql", "create-database-premium.sql")
USER_STATEMENT = re.compile(r"^\s*(CREATE USER|GRANT|DROP USER|ALTER USER)\b[^;]*;", re.IGNORECASE | re.MULTILINE)


class Client:
    """The mysql client, as administrator or (with --schema-only) as CloudStack's own user."""

    def __init__(self, target: Target, root: tuple[str, str] | None, binaries: Path, scripts: Path) -> None:
        self._target = target
        self._user, self._password = root if root else (target.user, target.password)
        self._mysql = binaries / "mysql"
        self._scripts = scripts

    def _run(self, sql: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [
                str(self._mysql),
                f"--host={self._target.host}",
                f"--port={self._target.port}",
                f"--user={self._user}",
                "--batch",
                "--skip-column-names",
            ],
            input=sql.encode(),
            capture_output=True,
            env={"MYSQL_PWD": self._password, "PATH": "/usr/bin:/bin"},
            timeout=600,
            check=False,
        )

    def refuse_existing(self) -> None:
        """Refuse to continue where cloud or cloud_usage exists."""
        found = self._run("SHOW DATABASES").stdout.decode().split()
        existing = [name for name in ("cloud", "cloud_usage") if name in found]
        if existing:
            raise SetupError(
                f"Aborting script as the databases ({', '.join(existing)}) already exist.\n"
                "Please use the --force-recreate parameter if you want to recreate the schemas."
            )

    def apply(self, *, schema_only: bool, skip_users: bool) -> None:
        """Run the scripts one after the other.

        Args:
            schema_only: leave out those that create databases.
            skip_users: leave out what creates users or gives rights.
        """
        for name in SCRIPTS:
            if schema_only and name in CREATES_DATABASES:
                continue
            script = self._scripts / name
            info(f"Applying {script}", None)
            sql = script.read_text().replace("@DBUSER@", self._target.user).replace("@DBPW@", self._target.password)
            if skip_users:
                sql = USER_STATEMENT.sub("", sql)
            outcome = self._run(sql)
            if outcome.returncode:
                raise SetupError(self._explain(script, outcome.stderr))
            info(None, True)

    def _explain(self, script: Path, error: bytes) -> str:
        # The real command shows the password in the clear; whoever calls it has to expect that.
        parameters = {"user": self._user, "passwd": self._password, "port": self._target.port, "host": self._target.host}
        line = "-" * 70
        return (
            f"Encountering an error when executing mysql script\n{line}\ntable:\n{script}\n\nError:\n{error!r}\n\n"
            f"Sql parameters:\n{parameters}\n{line}\n            "
        )

"""A database server and management servers of the stand-in packages, in a network namespace of their own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from lab.standin.shared.encryption import Encryptor
from lab.standin.shared.properties import SetupProperties
from parallel_build.plan.cloud.access import KEY, SECRET
from parallel_build.project import CODE

NODE = "10.91.0.41"
URL = f"http://{NODE}:8080/client/api"
PASSWORD = "contract-password"
MANAGEMENT_KEY = "contract-management-key"
DATABASE_KEY = "contract-database-key"
CLIENT = Path(__file__).with_name("client.py")
Row = dict[str, Any]


class Gone(Exception):
    """What was waited for did not come in time."""


def wait(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return what the condition gives as soon as it is true; raises Gone."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Gone(f"{what} did not come within {seconds} s")
        time.sleep(0.05)


def ip(*words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Namespace:
    """A network namespace with the addresses of a small lab on a bridge."""

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        self.name = name
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "lab0", "type", "bridge")
        for address in addresses:
            ip("-n", name, "address", "add", f"{address}/24", "dev", "lab0")
        ip("-n", name, "link", "set", "lab0", "up")

    def command(self, *words: str) -> list[str]:
        """Return a command that runs inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def remove(self) -> None:
        """Delete the namespace."""
        ip("netns", "delete", self.name)


def as_administrator(namespace: Namespace, generated: Mapping[str, Path], module: str, *words: str) -> str:
    """Run a module of the tests inside the namespace with the generated cloud's root administrator's keys; what it prints."""
    keys = json.loads((generated["cloud"].parent / "secrets.json").read_text())["secrets"]["admin"]
    done = subprocess.run(
        namespace.command(sys.executable, "-m", module, URL, *words),
        cwd=CODE,
        env={**os.environ, KEY: keys["api_key"], SECRET: keys["secret_key"]},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class DatabaseServer:
    """A MariaDB of its own, reached by its socket from the test and by TCP from inside the namespace."""

    def __init__(self, folder: Path, namespace: Namespace) -> None:
        self._socket = folder / "mysqld.sock"
        data = folder / "data"
        data.mkdir(parents=True)
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--user=root",
            ],
            check=True,
            capture_output=True,
        )
        self._process = subprocess.Popen(
            namespace.command(
                "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={self._socket}", "--port=3306", "--bind-address=0.0.0.0",
                "--user=root", f"--pid-file={folder}/mysqld.pid", f"--log-error={folder}/mysqld.err", "--innodb-flush-log-at-trx-commit=0",
                "--innodb-doublewrite=0", "--skip-name-resolve",
            ),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait(self._answers, 30, "the database server")
        for host in ("localhost", "%"):
            self.execute(f"CREATE USER cloud@'{host}' IDENTIFIED BY '{PASSWORD}'")
            for database in ("cloud", "cloud_usage"):
                self.execute(f"GRANT ALL ON `{database}`.* TO cloud@'{host}'")
            self.execute(f"GRANT PROCESS ON *.* TO cloud@'{host}'")

    def _answers(self) -> bool:
        with contextlib.suppress(pymysql.MySQLError):
            self.execute("SELECT 1")
            return True
        return False

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[pymysql.cursors.DictCursor]:
        connection = pymysql.connect(unix_socket=str(self._socket), user="root", autocommit=True, cursorclass=pymysql.cursors.DictCursor)
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def execute(self, sql: str) -> int:
        """Run a statement as root."""
        with self._cursor() as cursor:
            return int(cursor.execute(sql))

    def rows(self, sql: str, values: Sequence[Any] | None = None) -> list[Row]:
        """Return the rows of a query."""
        with self._cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def value(self, sql: str) -> Any:
        """Return the first column of the first row, or None."""
        rows = self.rows(sql)
        return next(iter(rows[0].values())) if rows else None

    @contextlib.contextmanager
    def held(self, lock: str) -> Iterator[None]:
        """Hold a lock of the server's (GET_LOCK) for the time of the block."""
        with self._cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 0)", [lock])
            yield

    def load(self, dumps: Mapping[str, Path]) -> None:
        """Recreate the databases from dumps."""
        for database, path in dumps.items():
            self.execute(f"DROP DATABASE IF EXISTS `{database}`")
            self.execute(f"CREATE DATABASE `{database}`")
            with path.open("rb") as dump:
                subprocess.run(
                    ["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", database],
                    stdin=dump,
                    check=True,
                    capture_output=True,
                )

    def keep(self, database: str) -> None:
        """Keep a database as it is now, to be put back as often as wanted."""
        self.execute(f"DROP DATABASE IF EXISTS `kept_{database}`")
        self.execute(f"CREATE DATABASE `kept_{database}`")
        for table in self._tables(database):
            self.execute(f"CREATE TABLE `kept_{database}`.`{table}` LIKE `{database}`.`{table}`")
            self.execute(f"INSERT INTO `kept_{database}`.`{table}` SELECT * FROM `{database}`.`{table}`")

    def put_back(self, database: str, but: Collection[str] = ()) -> None:
        """Put back the rows of what has changed since; tables that are named stay as they are."""
        tables = [table for table in self._tables(database) if table not in but]
        now, kept = (
            {
                row["Table"].partition(".")[2]: row["Checksum"]
                for row in self.rows("CHECKSUM TABLE " + ", ".join(f"`{name}`.`{table}`" for table in tables))
            }
            for name in (database, f"kept_{database}")
        )
        with self._cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for table in (table for table in tables if now[table] != kept[table]):
                cursor.execute(f"TRUNCATE TABLE `{database}`.`{table}`")
                cursor.execute(f"INSERT INTO `{database}`.`{table}` SELECT * FROM `kept_{database}`.`{table}`")

    def _tables(self, database: str) -> list[str]:
        found = self.rows(
            "SELECT TABLE_NAME AS t FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'", [database]
        )
        return [str(row["t"]) for row in found]

    def versions(self) -> dict[str, str]:
        """Return the newest four rows of `version`."""
        return {row["version"]: row["step"] for row in self.rows("SELECT version, step FROM cloud.version ORDER BY id DESC LIMIT 4")}

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(30)


class ManagementHost:
    """A folder with the files of the packages, and the management server that runs from it."""

    def __init__(self, folder: Path, packages: Path, namespace: Namespace) -> None:
        self.root = folder
        self._namespace = namespace
        self._process: subprocess.Popen[bytes] | None = None
        for package in ("common", "management"):
            archive = next(packages.glob(f"cloudstack-{package}_*.deb"))
            subprocess.run(["dpkg-deb", "--extract", str(archive), str(folder)], check=True)
        self._log = folder / "var/log/cloudstack/management/management-server.log"

    @property
    def configuration(self) -> Path:
        """/etc/cloudstack/management of this host."""
        return self.root / "etc/cloudstack/management"

    def configure(
        self,
        *,
        key: str = MANAGEMENT_KEY,
        database_key: str = DATABASE_KEY,
        encryptor: str = "V2",
        node: str = NODE,
        password: str = PASSWORD,
    ) -> None:
        """Write db.properties and the key as cloudstack-setup-databases does."""
        secret = Encryptor(MANAGEMENT_KEY, "V2")
        properties = SetupProperties(self.configuration / "db.properties")
        properties.put("cluster.node.IP", node)
        for database in ("cloud", "usage"):
            properties.put(f"db.{database}.host", "127.0.0.1")
            properties.put(f"db.{database}.password", f"ENC({secret.encrypt(password)})")
        properties.put("db.cloud.encryption.type", "file")
        properties.put("db.cloud.encrypt.secret", f"ENC({secret.encrypt(database_key)})")
        properties.put("db.cloud.encryptor.version", encryptor)
        properties.write()
        (self.configuration / "key").write_text(key)

    def settings(self, **values: object) -> None:
        """Write standin.json; quick defaults where nothing is given."""
        quick = {"start_seconds": 0, "components_seconds": 0, "exit_seconds": 0.1, "direct_connect_seconds": 0.3}
        (self.root / "etc/cloudstack/standin.json").write_text(json.dumps(quick | values))

    def start(self) -> None:
        """Start the server with an empty log."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_text("")
        words, own = self.command()
        environment = {**os.environ, "STANDIN_ROOT": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", **own}
        self._process = subprocess.Popen(self._namespace.command(*words), env=environment)

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return what is run, and its environment."""
        paths = [str(self.root / f"usr/share/cloudstack-{package}/lib") for package in ("common", "management")]
        return [sys.executable, "-m", "standin.management"], {"PYTHONPATH": ":".join(paths)}

    def get(self, path: str) -> tuple[int, str]:
        """Ask the web server; status 0 where it refuses."""
        outcome = subprocess.run(
            self._namespace.command(sys.executable, "-S", str(CLIENT), f"http://{NODE}:8080{path}"),
            check=True,
            capture_output=True,
            text=True,
        )
        answer = json.loads(outcome.stdout)
        return answer["status"], answer["body"]

    def wait_for_answer(self, seconds: float = 90) -> int:
        """Return the first status that the API gives instead of refusing."""
        return int(wait(lambda: self.get("/client/api?command=listCapabilities&response=json")[0], seconds, "an answer of the API"))

    def api(self, command: str, keys: Mapping[str, str], **parameters: str) -> tuple[int, Row]:
        """Call a command with a signature."""
        values = {"command": command, "response": "json", "apiKey": keys["apikey"], **parameters}
        text = "&".join(
            f"{name.lower()}={urllib.parse.quote(value, safe='*')}"
            for name, value in sorted(values.items(), key=lambda item: item[0].lower())
        ).lower()
        digest = hmac.new(keys["secretkey"].encode(), text.encode(), hashlib.sha1).digest()
        values["signature"] = base64.b64encode(digest).decode()
        status, body = self.get("/client/api?" + urllib.parse.urlencode(values))
        return status, json.loads(body)

    def log(self) -> list[str]:
        """Return the lines of the log."""
        return self._log.read_text().splitlines()

    def logged(self, text: str) -> list[str]:
        """Return the lines with a text."""
        return [line for line in self.log() if text in line]

    def alive(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def exit_code(self, seconds: float = 60) -> int:
        """Wait for the process to end and return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

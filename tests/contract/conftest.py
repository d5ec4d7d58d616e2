"""One database server for all tests of this folder, and packages built once."""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import packages
from lab.database import DatabasePlan, generate_files
from tests.contract.harness import DATABASE_KEY, NODE, DatabaseServer, ManagementHost, Namespace

#: What a real CloudStack wrote and answered; not part of this repository.
DATA = Path(__file__).parents[3] / "shared/data"
MEMORY = 2 << 30
Host = Callable[[str], ManagementHost]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with what was recorded of a real CloudStack."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is missing: there is nothing of a real CloudStack to compare with")
    return DATA


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> packages.Repository:
    """The stand-in packages."""
    return packages.build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def namespace() -> Iterator[Namespace]:
    """A network namespace."""
    if os.geteuid() != 0 or shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("needs root for a network namespace, and the packages mariadb-server-core and mariadb-client-core")
    made = Namespace(f"contract-{os.getpid()}", (NODE, "10.91.0.11", "10.91.0.13"))
    yield made
    made.remove()


@pytest.fixture(scope="session")
def database(namespace: Namespace) -> Iterator[DatabaseServer]:
    """A database server with the account `cloud`, in memory where there is room: every test loads it again."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY
    with tempfile.TemporaryDirectory(prefix="contract-", dir=memory if roomy else None) as folder:
        server = DatabaseServer(Path(folder), namespace)
        yield server
        server.stop()


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Dumps of a small generated cloud of version 4.20.3.0."""
    folder = tmp_path_factory.mktemp("generated")
    plan = DatabasePlan(
        database_key=DATABASE_KEY, scale=0.1, link_local_addresses=200, rows_usage=20, rows_event=20, rows_usage_event=20, rows_vm_stats=20
    )
    generate_files(plan, folder)
    return {"cloud": folder / "cloud.sql", "cloud_usage": folder / "cloud_usage.sql"}


@pytest.fixture(scope="session")
def recorded(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Dumps of a real cloud of version 4.20.3.0, unpacked."""
    folder = tmp_path_factory.mktemp("recorded")
    unpacked = {}
    for name in ("cloud", "cloud_usage"):
        unpacked[name] = folder / f"{name}.sql"
        with lzma.open(data / f"{name}-4.20.3.0.sql.xz") as source, unpacked[name].open("wb") as target:
            shutil.copyfileobj(source, target)
    return unpacked


@pytest.fixture
def host(namespace: Namespace, repository: packages.Repository, tmp_path: Path) -> Iterator[Host]:
    """Makes management hosts of a version, with everything set up right."""
    made: list[ManagementHost] = []

    def make(version: str) -> ManagementHost:
        folder = tmp_path / f"{version}-{len(made)}"
        folder.mkdir()
        new = ManagementHost(folder, repository.repository(version), namespace)
        new.configure()
        new.settings()
        made.append(new)
        return new

    yield make
    for entry in made:
        entry.end()

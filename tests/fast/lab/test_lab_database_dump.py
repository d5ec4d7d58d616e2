"""Reading a dump that is given as the original's database."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.database import DatabasePlan, adapt, generate_files
from lab.database.encryption import encrypt
from lab.database.errors import DumpError

pytestmark = pytest.mark.processes

DATA = Path(__file__).parents[4] / "shared" / "data"
SMALL = DatabasePlan(rows_usage=10, rows_event=10, rows_usage_event=10, rows_vm_stats=10, link_local_addresses=10, database_key="the key")
TEXT = """\
-- MariaDB dump
CREATE TABLE `version` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `version` char(40) NOT NULL,
  `updated` datetime NOT NULL,
  `step` char(32) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `version` VALUES
(1,'4.19.0.0','2024-01-01 00:00:00','Complete'),
(2,'4.20.3.0','2025-01-01 00:00:00','{step}');
CREATE TABLE `configuration` (
  `name` varchar(255) NOT NULL,
  `value` varchar(8191) DEFAULT NULL
) ENGINE=InnoDB;
INSERT INTO `configuration` (`value`, `name`) VALUES ('{init}','init'),('it\\'s (odd); \\\\ ''twice''','host'),(NULL,'other');
CREATE TABLE `mshost` (
  `name` varchar(255),
  `state` varchar(10),
  `version` varchar(255),
  `service_ip` char(40),
  `removed` datetime DEFAULT NULL
) ENGINE=InnoDB;
INSERT INTO `mshost` VALUES ('ms1','Up','4.20.3.0','10.0.0.1',NULL);
/*!50013 DEFINER=`cloud`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `a_view` AS select 1 */;
CREATE DEFINER=`cloud`@`%` PROCEDURE `P`(IN a int)
"""


def _write(path: Path, step: str = "Complete", key: str = "the key") -> Path:
    path.write_text(TEXT.replace("{step}", step).replace("{init}", encrypt("true", key, "V1")), encoding="utf-8")
    return path


def test_facts_of_a_dump(tmp_path: Path) -> None:
    facts = adapt({"cloud": _write(tmp_path / "cloud.sql")}, "the key")
    assert facts.version == "4.20.3.0"
    assert (facts.encryptor, facts.key_fits) == ("V1", True)
    assert facts.host_setting == "it's (odd); \\ 'twice'"
    assert facts.databases == {"cloud": 3}
    assert (facts.views, facts.routines) == (1, 1)
    assert facts.definers == {"cloud@localhost": 1, "cloud@%": 1}
    assert [(server.name, server.state) for server in facts.management_servers] == [("ms1", "Up")]
    assert any("their rows say Up" in warning for warning in facts.warnings)
    assert any("there is no cloud_usage" in warning for warning in facts.warnings)


def test_a_wrong_key_is_reported(tmp_path: Path) -> None:
    facts = adapt({"cloud": _write(tmp_path / "cloud.sql")}, "another key")
    assert (facts.encryptor, facts.key_fits) == (None, False)
    assert any("does not decrypt" in warning for warning in facts.warnings)


def test_without_a_key_nothing_is_claimed(tmp_path: Path) -> None:
    assert adapt({"cloud": _write(tmp_path / "cloud.sql")}).key_fits is None


def test_an_unfinished_upgrade_is_reported(tmp_path: Path) -> None:
    facts = adapt({"cloud": _write(tmp_path / "cloud.sql", step="Upgrade")}, "the key")
    assert (facts.version, facts.unfinished) == ("4.19.0.0", ("4.20.3.0",))


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_packed_dumps_are_read(tmp_path: Path, kind: str) -> None:
    plain = _write(tmp_path / "cloud.sql")
    packed = tmp_path / f"cloud.sql.{kind}"
    if kind == "gz":
        packed.write_bytes(gzip.compress(plain.read_bytes()))
    elif kind == "xz":
        packed.write_bytes(lzma.compress(plain.read_bytes()))
    elif shutil.which("zstd"):
        subprocess.run(["zstd", "-q", str(plain), "-o", str(packed)], check=True)
    else:
        pytest.skip("zstd is not installed")
    assert adapt({"cloud": packed}, "the key").version == "4.20.3.0"


def test_one_file_with_its_databases(tmp_path: Path) -> None:
    whole = tmp_path / "all.sql"
    generate_files(SMALL, tmp_path / "parts")
    whole.write_bytes(b"".join((tmp_path / "parts" / f"{name}.sql").read_bytes() for name in ("cloud", "cloud_usage")))
    facts = adapt(whole, "the key")
    assert facts.databases == {"cloud": 305, "cloud_usage": 31}
    assert (facts.views, facts.routines) == (34, 18)
    assert facts.hosts_by_hypervisor() == {"KVM": 2}
    assert facts.key_fits is True
    assert facts.warnings == ()


def test_keys_of_an_administrator_are_recognised(tmp_path: Path) -> None:
    admin, users = (secrets := generate_files(SMALL, tmp_path).secrets).admin, secrets.users
    facts = adapt({"cloud": tmp_path / "cloud.sql", "cloud_usage": tmp_path / "cloud_usage.sql"}, "the key")
    assert facts.knows_keys(admin.api_key, admin.secret_key, "the key")
    assert not facts.knows_keys(admin.api_key, "another", "the key")
    assert not facts.knows_keys(admin.api_key, admin.secret_key, "another key")
    assert not facts.knows_keys(users[0].api_key, users[0].secret_key, "the key")  # not a root administrator
    assert admin.api_key not in repr(facts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cloud.sql", b"SELECT 1;\n", "no table `version`"),
        ("cloud.sql.gz", b"this is not gzip", "can't be unpacked"),
        ("cloud.sql.xz", lzma.compress(b"x" * 100000)[:60], "can't be unpacked"),
    ],
)
def test_what_is_no_dump_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DumpError, match=message):
        adapt({"cloud": path})


def test_a_dump_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="is not there"):
        adapt(tmp_path / "none.sql")


def test_a_dump_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "cloud.sql")
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("(2,")], encoding="utf-8")
    with pytest.raises(DumpError, match="ends within the rows of `version`"):
        adapt({"cloud": path})


def test_the_real_dump_is_understood() -> None:
    dumps = {name: DATA / f"{name}-4.20.3.0.sql.xz" for name in ("cloud", "cloud_usage")}
    if not all(path.exists() for path in dumps.values()):
        pytest.skip("no dump of a real CloudStack 4.20.3.0 (../shared/data)")
    notes = (DATA / "encryption.txt").read_text(encoding="utf-8")
    facts = adapt(dumps, notes.split("database key: ")[1].split()[0])
    assert facts.version == "4.20.3.0"
    assert facts.databases == {"cloud": 305, "cloud_usage": 31}
    assert (facts.views, facts.routines) == (34, 18)
    assert (facts.encryptor, facts.key_fits) == ("V2", True)
    assert facts.definers == {"cloud@localhost": 47 + 5}

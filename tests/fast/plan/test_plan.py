"""The plan: releases and the path, the target's own package, templates, the work of its scripts, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from parallel_build import cli
from parallel_build.__main__ import main
from parallel_build.cloudstack.releases import NEEDS, NEWEST, STEPS, is_known, needs, path
from parallel_build.configuration.planned_templates import place, with_planned
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.health.target_scripts import on_the_path, release_of
from parallel_build.plan import package, report, stack_templates, target, templates
from parallel_build.plan.facts import Plan, of_database
from parallel_build.plan.faults import Sources
from parallel_build.plan.package import METADATA, TargetPackage
from parallel_build.plan.rebuilds import Column, Size, SqlServer, Work, of_scripts
from parallel_build.plan.statements import altered, split
from parallel_build.rules import Unanswered
from parallel_build.versions import CloudStackVersion
from tests.fast.sites import values

OLD, NEW = CloudStackVersion("4.20.3.0"), CloudStackVersion("4.22.1.0")
INI = """
[default]
version = 4.22.0
[kvm-x86_64]
templatename = systemvm-kvm-4.22.0-x86_64
checksum = {sha}
downloadurl = http://mirror.example.test/systemvm/4.22/systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2
filename = systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2
arch = x86_64
guestos = Debian GNU/Linux 12 (64-bit)
[vmware]
templatename = systemvm-vmware-4.22.0-x86_64
checksum = {md5}
downloadurl = http://mirror.example.test/systemvm/4.22/systemvmtemplate-4.22.0-x86_64-vmware.ova
arch = x86_64
guestos = Other Linux (64-bit)
""".format(sha="a" * 128, md5="b" * 32)
SCRIPT = "ALTER TABLE `cloud`.`host` ADD COLUMN `x` int;"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda text: text,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
BIG, SMALL = Size(10_000_000, 4_000_000_000), Size(10, 16384)
MARIADB, MYSQL, OLD_MYSQL = SqlServer("mariadb", (10, 11, 6)), SqlServer("mysql", (8, 4, 3)), SqlServer("mysql", (5, 7, 44))


def archive(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return out.getvalue()


def deb(path: Path, version: str = "4.22.1.0~noble", name: str = "cloudstack-management", packed: str = ".xz", **changes: bytes) -> Path:
    """A Debian package like CloudStack's."""
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as opened:
        opened.writestr("META-INF/db/schema-42010to42100.sql", SCRIPT)
        opened.writestr("META-INF/db/schema-42010to42100-cleanup.sql", "UPDATE `cloud`.`host` SET x = 1;")
        opened.writestr("META-INF/db/views/cloud.host_view.sql", "CREATE VIEW x AS SELECT 1;")
    data = {
        f".{METADATA}": changes.get("metadata", INI.encode()),
        "./usr/share/cloudstack-management/lib/cloudstack-4.22.1.0.jar": changes.get("jar", jar.getvalue()),
        "./usr/share/cloudstack-management/lib/broken.jar": b"no zip",
    }
    control = f"Package: {name}\nVersion: {version}\nDescription: x\n more: y\n".encode()
    members = {
        "debian-binary": b"2.0\n",
        f"control.tar{packed}": PACKERS[packed](archive({"./control": control})),
        f"data.tar{packed}": PACKERS[packed](archive(data)),
    }
    body = b"!<arch>\n"
    for member, content in members.items():
        body += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    path.write_bytes(body)
    return path


def test_the_path_leads_to_the_newest_release_and_to_one_of_three_numbers() -> None:
    assert path(OLD, NEW) == ["4.21.0.0", "4.22.0.0", "4.22.1.0"]
    assert path(CloudStackVersion("4.22.1.0"), CloudStackVersion("24.0.0")) == ["4.23.0.0", "24.0.0"]
    assert str(CloudStackVersion("24.0.0")) == "24.0.0" and str(CloudStackVersion("24.0.0.1")) == "24.0.0.1"
    assert CloudStackVersion("4.23.0.0") < CloudStackVersion("24.0.0")
    assert release_of("2400") == CloudStackVersion("24.0.0") and release_of("2214") is None
    assert on_the_path("schema-42300to2400", NEW, CloudStackVersion("24.0.0"))
    assert not on_the_path("schema-42300to2400", NEW, NEWEST)


def test_every_step_has_needs_and_java_never_goes_back() -> None:
    assert [needs(CloudStackVersion(step)).java for step in STEPS] == sorted(needs(CloudStackVersion(step)).java for step in STEPS)
    assert [each.since for each in NEEDS] == sorted(each.since for each in NEEDS)
    assert needs(CloudStackVersion("4.20.4.0")).template == "4.20.2" and needs(CloudStackVersion("4.22.1.0")).template == "4.22.0"
    assert all(is_known(CloudStackVersion(step)) for step in STEPS)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("4.20.3.0", "is not later than"),
        ("4.19.3.0", "is not later than"),
        ("4.99.0.0", "is not a release that this project knows"),
        ("4.22.9.0", "is not a release that this project knows"),
        ("25.3.0", "is not a release that this project knows"),
    ],
)
def test_a_target_that_is_not_later_or_not_known_is_refused(to: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        target.refuse(OLD, CloudStackVersion(to), None)
    assert refused.value.cause and refused.value.remedy


def test_an_original_before_4_9_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"is before 4\.9\.0\.0"):
        target.refuse(CloudStackVersion("4.5.2"), NEW, None)


def test_its_own_package_makes_an_unknown_release_known_and_a_different_one_is_refused() -> None:
    later = CloudStackVersion("4.22.9.0")
    target.refuse(OLD, later, TargetPackage("x.deb", later))
    with pytest.raises(ConfigurationError, match=r"is CloudStack 4\.22\.9\.0, and the target is 4\.22\.1\.0"):
        target.refuse(OLD, NEW, TargetPackage("x.deb", later))


@pytest.mark.parametrize("packed", PACKERS)
def test_a_package_is_read_however_it_is_packed(tmp_path: Path, packed: str) -> None:
    found = package.from_file(deb(tmp_path / "management.deb", packed=packed))
    assert found.version == NEW
    assert found.metadata == INI
    assert set(found.scripts) == {"schema-42010to42100", "schema-42010to42100-cleanup"} and found.scripts["schema-42010to42100"] == SCRIPT


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path, "can't be read as a package"),
        (lambda path: path.write_bytes(b"PK zip") and path, "is no Debian package"),
        (lambda path: path.write_bytes(deb(path).read_bytes()[:900]) and path, "can't be read as a package"),
        (lambda path: deb(path, name="cloudstack-agent"), "it is cloudstack-agent"),
        (lambda path: deb(path, version="trunk"), "is not cloudstack-management"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        package.from_file(make(tmp_path / "x.deb"))
    assert "x.deb" in refused.value.fact and refused.value.cause and refused.value.remedy


def test_a_package_that_can_not_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read as a package"):
        package.from_file(tmp_path)


def test_templates_are_those_of_the_package(tmp_path: Path) -> None:
    found = package.from_file(deb(tmp_path / "management.deb"))
    kvm, vmware = templates.planned(NEW, found, [("KVM", "x86_64"), ("VMware", "x86_64")])
    assert kvm.entry() == {
        "hypervisor": "KVM", "name": "systemvm-kvm-4.22.0-x86_64", "format": "QCOW2", "osType": "Debian GNU/Linux 12 (64-bit)", "arch": "x86_64",
        "url": "http://mirror.example.test/systemvm/4.22/systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2", "checksum": "{SHA-512}" + "a" * 128,
    }  # fmt: skip
    assert (vmware.format, vmware.checksum, vmware.problem()) == ("OVA", "b" * 32, "")
    assert [each.name for each in templates.as_configured([kvm, vmware])] == [kvm.name, vmware.name]


def test_what_the_package_lacks_is_named_and_not_guessed() -> None:
    given = TargetPackage("x", NEW, INI)
    (arm,) = templates.planned(NEW, given, [("KVM", "aarch64")])
    assert arm.name == "systemvm-kvm-4.22.0-aarch64" and "has no such template" in arm.problem() and not arm.url
    assert templates.as_configured([arm]) == []


def test_a_mirror_takes_the_place_of_the_packages_addresses_and_4_23_names_a_repository() -> None:
    given = TargetPackage("x", NEW, INI)
    (kvm,) = templates.planned(NEW, given, [("KVM", "x86_64")], "http://10.0.0.5/templates/")
    assert kvm.url == "http://10.0.0.5/templates/systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2"
    later = TargetPackage(
        "x", NEWEST, "[default]\ndownloadrepository = http://m.example.test/systemvm\n[kvm-x86_64]\ntemplatename=t\nfilename=f.qcow2\n"
    )
    (kvm,) = templates.planned(NEWEST, later, [("KVM", "x86_64")])
    assert (kvm.url, kvm.checksum) == ("http://m.example.test/systemvm/4.23/f.qcow2", "")


def test_without_a_package_names_follow_from_the_release_and_old_releases_know_no_architecture() -> None:
    (kvm,) = templates.planned(CloudStackVersion("4.19.3.0"), None, [("KVM", "x86_64")])
    assert (kvm.name, kvm.arch) == ("systemvm-kvm-4.19.1", "") and "no address" in kvm.problem()


def test_a_table_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="table of templates"):
        templates.table(TargetPackage("x", NEW, "no section\n"))


@pytest.mark.parametrize(
    ("text", "taken"), [("A" * 128, "{SHA-512}" + "a" * 128), ("b" * 32, "b" * 32), ("", ""), ("c" * 40, ""), ("junk", "")]
)
def test_checksums_are_as_the_api_takes_them(text: str, taken: str) -> None:
    assert templates.checksum(text) == taken


def test_statements_are_split_at_semicolons_only() -> None:
    text = "-- a; b\nUPDATE t SET a = 'x;y' /* ; */ WHERE b = \"--\";\n# c;\nALTER TABLE `a;b` DROP COLUMN c; SELECT 1 -- end"
    assert list(split(text)) == ["UPDATE t SET a = 'x;y' WHERE b = \"--\"", "ALTER TABLE `a;b` DROP COLUMN c", "SELECT 1"]


def test_a_line_that_begins_as_a_comment_is_one_whatever_follows() -> None:
    """As in CloudStack's own scripts, where an apostrophe in such a line is no beginning of a text."""
    text = "-----------\n--- don't read\n--Increase it\n  // nor that's\n#nor this\nALTER TABLE a DROP COLUMN b;\n--;\nSELECT '--\tx';\n"
    assert list(split(text)) == ["ALTER TABLE a DROP COLUMN b", "SELECT '-- x'"]


@pytest.mark.parametrize(
    ("statement", "table", "clauses"),
    [
        ("CALL `cloud`.`IDEMPOTENT_CHANGE_COLUMN`('host', 'a', 'b', 'int')", "host", ("CHANGE COLUMN `a` `b` int",)),
        ("CALL `cloud`.`IDEMPOTENT_ADD_KEY`('i_a','host', '(a)')", "host", ("ADD KEY i_a (a)",)),
        ("CALL `cloud`.`IDEMPOTENT_DROP_UNIQUE_KEY`('host', 'uc_a')", "host", ("DROP UNIQUE KEY uc_a",)),
        (
            "CALL `cloud`.`IDEMPOTENT_MODIFY_COLUMN_CHAR_SET`('event', 'description', 'VARCHAR(1024)', 'NOT NULL COMMENT \\'its, words\\'')",
            "event",
            ("MODIFY COLUMN `description` VARCHAR(1024) CHARACTER SET utf8mb4 NOT NULL COMMENT 'its, words'",),
        ),
        (
            "CALL cloud.IDEMPOTENT_MODIFY_COLUMN_CHAR_SET('annotations', 'annotation', 'TEXT', '')",
            "annotations",
            ("MODIFY COLUMN `annotation` TEXT CHARACTER SET utf8mb4",),
        ),
        ("ALTER TABLE `cloud`.`networks`ADD CONSTRAINT x FOREIGN KEY(a)", "networks", ("ADD CONSTRAINT x FOREIGN KEY(a)",)),
        ("ALTER TABLE host ADD COLUMN a decimal(1,2), DROP KEY x", "host", ("ADD COLUMN a decimal(1,2)", "DROP KEY x")),
        ("CALL `cloud`.`IDEMPOTENT_ADD_COLUMN`('cloud.host', 'a', 'varchar(1) DEFAULT ''x''')", "host", None),
        ("CALL cloud.IDEMPOTENT_CHANGE_COLUMN('cloud.host', 'a', 'b', 'int')", "host", ("CHANGE COLUMN `a` `b` int",)),
        ("CALL `cloud`.`IDEMPOTENT_ADD_KEY`('i_a', 'cloud.host', '(`a`, `b`)')", "host", ("ADD KEY i_a (`a`, `b`)",)),
        ("CREATE UNIQUE INDEX i ON cloud.host (a)", "host", ("ADD UNIQUE INDEX",)),
        ("OPTIMIZE TABLE cloud.host", "host", ("FORCE",)),
    ],
)
def test_what_alters_a_table_is_seen_by_whatever_name(statement: str, table: str, clauses: tuple[str, ...] | None) -> None:
    found = altered("s", statement)
    assert found is not None and (found.database, found.table) == ("cloud", table)
    assert clauses is None or found.clauses == clauses


@pytest.mark.parametrize(
    "statement",
    [
        "CALL cloud.INSERT_EXTENSION_IF_NOT_EXISTS('MaaS', 'x', 'y.py')",
        "CALL ADD_GUEST_OS_AND_HYPERVISOR_MAPPING (10, 'CentOS', 'KVM', 'default', 'CentOS')",
        "CALL cloud.IDEMPOTENT_DROP_INDEX('alone')",
        "CREATE TABLE a (b int)",
        "SET @a = 1",
    ],
)
def test_other_statements_alter_no_table(statement: str) -> None:
    assert altered("s", statement) is None


def test_a_table_without_its_database_is_of_the_procedures_own_and_another_character_set_rebuilds_it() -> None:
    call = "CALL `cloud_usage`.`IDEMPOTENT_MODIFY_COLUMN_CHAR_SET`('usage_event', 'resource_name', 'VARCHAR(255)', 'DEFAULT NULL')"
    columns = {("cloud_usage.usage_event", "resource_name"): Column("varchar(255)", nullable=True, charset="utf8mb3")}
    sizes = {"cloud_usage.usage_event": BIG, "cloud.usage_event": BIG}
    (work,) = of_scripts({"schema-42010to42100": f"{call};"}, OLD, NEW, sizes, columns, MARIADB)
    assert (work.table, work.work) == ("cloud_usage.usage_event", Work.REBUILDS)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE IGNORE cloud.host SET a = 1",
        "DELETE from`cloud`.`host` WHERE a = 1",
        "DELETE h FROM host h INNER JOIN roles ON h.role = roles.id",
        "REPLACE INTO cloud.host VALUES (1)",
        "INSERT INTO `cloud`.`host` (a) SELECT a FROM b",
    ],
)
def test_what_changes_rows_is_seen_as_cloudstack_writes_it(statement: str) -> None:
    (work,) = of_scripts({"schema-42010to42100": f"{statement};"}, OLD, NEW, {"cloud.host": BIG}, {}, MARIADB)
    assert (work.table, work.work) == ("cloud.host", Work.ROWS)


COLUMNS = {
    ("cloud.event", "type"): Column("varchar(32)", nullable=False, charset="utf8mb3"),
    ("cloud.event", "wide"): Column("varchar(80)", nullable=True, charset="utf8mb3"),
    ("cloud.event", "long"): Column("varchar(100)", nullable=True, charset="utf8mb3"),
    ("cloud.event", "number"): Column("int", nullable=True),
}


@pytest.mark.parametrize(
    ("clause", "mariadb", "mysql", "old"),
    [
        ("ADD COLUMN a int", None, None, Work.REBUILDS),
        ("ADD COLUMN a int AFTER b", None, None, Work.REBUILDS),
        ("ADD COLUMN a int NOT NULL AUTO_INCREMENT", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("ADD COLUMN a int, ADD INDEX i (a)", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("DROP COLUMN a", None, None, Work.REBUILDS),
        ("ADD INDEX i (a)", Work.INDEXES, Work.INDEXES, Work.INDEXES),
        ("ADD UNIQUE KEY i (a)", Work.INDEXES, Work.INDEXES, Work.INDEXES),
        ("ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES b (c)", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("ADD PRIMARY KEY (a)", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("DROP FOREIGN KEY fk", None, None, None),
        ("DROP INDEX i", None, None, None),
        ("RENAME TO cloud.other", None, None, None),
        ("CONVERT TO CHARACTER SET utf8mb4", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("ENGINE=InnoDB", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("MODIFY COLUMN type varchar(64) NOT NULL", None, None, None),
        ("MODIFY COLUMN type varchar(64)", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("MODIFY COLUMN wide varchar(255) DEFAULT NULL", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("MODIFY COLUMN long varchar(255) DEFAULT NULL", None, None, None),
        ("MODIFY COLUMN number int(10) DEFAULT 1", None, None, None),
        ("MODIFY COLUMN number bigint DEFAULT NULL", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("CHANGE COLUMN number other int", None, None, None),
        ("MODIFY COLUMN unknown int", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
        ("SOMETHING NEW", Work.REBUILDS, Work.REBUILDS, Work.REBUILDS),
    ],
)
def test_what_rebuilds_a_table(clause: str, mariadb: Work | None, mysql: Work | None, old: Work | None) -> None:
    scripts = {"schema-42010to42100": f"ALTER TABLE cloud.event {clause};"}
    for server, wanted in ((MARIADB, mariadb), (MYSQL, mysql), (OLD_MYSQL, old)):
        found = of_scripts(scripts, OLD, NEW, {"cloud.event": BIG}, COLUMNS, server)
        assert [each.work for each in found] == ([wanted] if wanted else []), server


def test_an_unknown_server_is_not_taken_for_a_new_one() -> None:
    assert of_scripts({"schema-42010to42100": SCRIPT}, OLD, NEW, {"cloud.host": BIG}, {}, SqlServer("mysql"))[0].work is Work.REBUILDS


def test_work_is_that_of_the_path_by_todays_names_the_largest_table_first() -> None:
    scripts = {
        "schema-42000to42010": "OPTIMIZE TABLE cloud.event;",
        "schema-42010to42100": "ALTER TABLE cloud.user_vm_details RENAME TO cloud.vm_instance_details; "
        "CREATE TABLE cloud.fresh (a int); ALTER TABLE cloud.fresh ENGINE=InnoDB; ALTER TABLE cloud.vm_instance_details ENGINE=InnoDB;",
        "schema-42210to42300": "OPTIMIZE TABLE cloud.host;",
        "schema-42100to42200-cleanup": "OPTIMIZE TABLE cloud_usage.cloud_usage; UPDATE cloud.event SET a = 1; DELETE FROM gone;",
    }
    sizes = {"cloud.user_vm_details": SMALL, "cloud_usage.cloud_usage": BIG, "cloud.event": BIG, "cloud.host": BIG}
    found = of_scripts(scripts, OLD, NEW, sizes, {}, MARIADB)
    assert [(each.work, each.table) for each in found] == [
        (Work.REBUILDS, "cloud_usage.cloud_usage"),
        (Work.REBUILDS, "cloud.user_vm_details"),
        (Work.ROWS, "cloud.event"),
    ]


def test_foreign_keys_cost_nothing_while_they_are_not_checked() -> None:
    scripts = {
        "schema-42010to42100": "SET foreign_key_checks = 0; ALTER TABLE cloud.host ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES b (c);"
    }
    assert [each.work for each in of_scripts(scripts, OLD, NEW, {"cloud.host": BIG}, {}, MARIADB)] == [Work.INDEXES]


class Database:
    """Answers the plan's questions; a fault's question has no rows."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __call__(self, statement: str) -> list[dict[str, Any]]:
        if "information_schema.TABLES" in statement and "row_count" in statement:
            return [{"db": "cloud", "name": "host", "row_count": 4, "bytes": 16384}]
        if "arch FROM cloud.cluster" in statement and "old" in self.answers:
            raise Unanswered("the schema of this version does not have it")
        return (
            [{"hypervisor_type": "KVM", "arch": "x86_64"}] if "FROM cloud.cluster WHERE" in statement and "CONCAT" not in statement else []
        )


def planned(**changes: Any) -> Plan:
    """A plan from that database."""
    given = changes.pop("package", TargetPackage("management.deb", NEW, INI, {"schema-42010to42100": SCRIPT}))
    return of_database("prod", OLD, NEW, given, changes.pop("server", OLD_MYSQL), Sources(sql=Database(**changes)))


def test_the_plan_says_everything_and_its_document_too() -> None:
    plan = planned()
    text = report.as_text(plan, ["kvm1: NOT CONFIGURED"], "took 41 s in rehearsal")
    for words in (
        "Plan of prod: CloudStack 4.20.3.0 to 4.22.1.0", "4.21.0.0: Java 17", "Java 17", "systemvm-kvm-4.22.0-x86_64", "{SHA-512}aaaa",
        "kvm1: NOT CONFIGURED", "[ ] release notes of 4.22.1.0", "rebuilds cloud.host (0.0 MB, about 4 rows), schema-42010to42100", SCRIPT[:-1],
        "took 41 s in rehearsal", "Known faults:", "CAN'T TELL", "not hit:",
    ):  # fmt: skip
        assert words in text, words
    document = json.loads(json.dumps(report.as_document(plan)))
    assert document["steps"] == ["4.21.0.0", "4.22.0.0", "4.22.1.0"] and document["templates"][0]["checksum"].startswith("{SHA-512}")
    assert document["work"][0]["table"] == "cloud.host"


def test_a_schema_before_4_20_has_no_architectures_and_without_a_package_tables_are_not_known() -> None:
    plan = planned(old=True, package=None)
    assert [each.name for each in plan.templates or []] == ["systemvm-kvm-4.22.0-x86_64"] and plan.work is None
    assert "the target's package was not read" in report.as_text(plan)


def test_planned_templates_are_written_once_and_taken_by_a_stack_without_its_own(tmp_path: Path) -> None:
    stack_file, plan = tmp_path / "Pulumi.prod.yaml", planned()
    assert "1 templates written" in stack_templates.write(plan, stack_file)
    assert "already" in stack_templates.write(plan, stack_file)
    stack = {"new": json.dumps(values()["new"])}
    (taken,) = json.loads(with_planned(stack, stack_file)["templates"])
    assert taken["name"] == "systemvm-kvm-4.22.0-x86_64" and taken["checksum"].startswith("{SHA-512}")
    own = {**stack, "templates": "[]"}
    assert with_planned(own, stack_file) == own, "a stack's own list wins, an empty one too"
    assert with_planned(stack, tmp_path / "Pulumi.other.yaml") == stack


def test_templates_of_another_target_or_a_broken_file_are_refused(tmp_path: Path) -> None:
    stack_file = tmp_path / "Pulumi.prod.yaml"
    stack_templates.write(planned(), stack_file)
    with pytest.raises(ConfigurationError, match=r"has the templates of CloudStack 4\.22\.1\.0, and new\.version is 4\.22\.0\.0"):
        with_planned({"new": json.dumps({"version": "4.22.0.0"})}, stack_file)
    place(stack_file).write_text("{}")
    with pytest.raises(ConfigurationError, match="can't be used"):
        with_planned({"new": json.dumps({"version": "4.22.1.0"})}, stack_file)


def test_templates_that_can_not_be_registered_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(GuardFailed, match="no templates are written"):
        stack_templates.write(planned(package=None), tmp_path / "Pulumi.prod.yaml")
    assert not place(tmp_path / "Pulumi.prod.yaml").exists()


@pytest.mark.parametrize("arguments", [["--to", "four"], ["--package", "/nowhere/x.deb"]])
def test_what_is_wrong_on_the_command_line_is_refused_before_a_stack_is_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "no-such-stack", *arguments]) == cli.UNUSABLE
    assert "no-such-stack" not in capsys.readouterr().err

"""The cause of a failed start: the true one on every recorded case, never what a good start says as well, and signals told from exit codes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import java, start_causes, unit_end
from parallel_build.cloudstack.log import StartReading
from parallel_build.cloudstack.start_causes import CAUSES
from parallel_build.cloudstack.unit_end import UnitEnd
from parallel_build.remote.openssh import Result
from parallel_build.versions import CloudStackVersion
from tests.fast.asked_host import AskedHost

#: What a real CloudStack logged; not part of this repository.
TRANSCRIPTS = Path(__file__).parents[4] / "shared/data/transcripts"
GOOD = "first-start-upgrade-4.20.3.0-to-4.22.1.0.log"


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("Database upgrade is required but the management server is running in a clustered environment", "mshost"),
        ("Error decrypting value: HAqPw*****", "database key"),
        ("Failed to decrypt value using AeadBase64Encryptor: xLdih*****", "key file"),
        ("Unable to load db configuration, using defaults with 5 connections.", "not reachable"),
        ("Database version 4.22.1.0 is higher than management software version 4.20.3.0", "later version"),
        ("Error executing: ALTER TABLE `cloud`.`x` ADD COLUMN `y` int", "statement of the schema upgrade"),
        ("cluster node IP should be valid local address where the server is running, please check your configuration", "cluster.node.IP"),
        ("Failed to register template for hypervisor: KVM", "system VM template"),
        ("Failed to find / register SystemVM template(s)", "system VM template"),
        ("4.11.3KVM SystemVm template not found. Cannot upgrade system Vms", "system VM template"),
        ("java.lang.OutOfMemoryError: Java heap space", "ran out of memory"),
        ('Unable to make field accessible: module java.base does not "opens java.lang" to unnamed module', "--add-opens"),
        ("Failed to bind to /0.0.0.0:8080 java.net.BindException: Address already in use", "listens on one of its ports"),
    ],
)
def test_cause_is_named(printed: str, words: str) -> None:
    causes = [cause for pattern, cause, _ in CAUSES if re.search(pattern, printed)]
    assert causes, "no cause fits"
    assert words in causes[0]


def transcript(name: str) -> StartReading:
    """A recorded log, read as a start's."""
    if not TRANSCRIPTS.is_dir():
        pytest.skip(f"{TRANSCRIPTS} is missing: there is nothing that a real CloudStack logged")
    reading = StartReading()
    for line in (TRANSCRIPTS / name).read_text(errors="replace").splitlines():
        reading.take(line)
    return reading


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("case-B-wrong-dbkey.log", "the database key or the encryptor version is wrong; the log says: Error decrypting value: HAqPw"),
        ("case-C-wrong-mgmtkey.log", "the key file does not decrypt db.properties"),
        ("case-E-stale-up.log", "a management server's row in mshost is Up in the copy"),
        (
            "case-F1b-restart.log",
            "a statement of the schema upgrade failed; the log says: Error executing: ALTER TABLE `cloud`.`kubernetes_cluster`",
        ),
        ("case-I-wrong-dbpw.log", "the database does not let user cloud in with the password of db.properties"),
        ("case-I2-db-refused.log", "no database server answers where db.properties says"),
    ],
)
def test_every_recorded_failure_has_its_true_cause(name: str, cause: str) -> None:
    found = start_causes.find(transcript(name))
    assert found is not None and found.cause.startswith(cause)
    assert found.remedy


def test_the_databases_own_words_stand_with_the_statement() -> None:
    found = start_causes.find(transcript("case-F1b-restart.log"))
    assert found is not None and 'errno: 121 "Duplicate key on write or update"' in found.cause


@pytest.mark.parametrize("name", ["case-J-usage-empty.log", "case-O-ip-not-local.log"])
def test_a_log_that_was_cut_names_no_cause_and_none_is_made_up(name: str) -> None:
    """The recorded files leave out the lines that name it."""
    reading = transcript(name)
    assert start_causes.find(reading) is None
    reported = start_causes.unknown(reading, "")
    assert "names no cause; its last line: Application context not found" in reported.cause and "key file" not in reported.cause


def test_only_a_log_that_ends_where_the_key_is_read_points_at_the_key_file() -> None:
    reading = transcript("case-N-key-unreadable.log")
    assert start_causes.find(reading) is None
    assert "user cloud may not read the key file" in start_causes.unknown(reading, "").cause
    silent = start_causes.unknown(StartReading(), "Starting CloudStack\nsh: not found\n")
    assert silent.cause == "it has written nothing to its log, and no disk is full; its journal ends with: sh: not found"


@pytest.mark.parametrize("name", [GOOD, "case-G-noroutines.log", "case-H-definer-missing.log", "case-F3b-restart.log"])
def test_what_a_good_start_says_is_no_cause(name: str) -> None:
    reading = transcript(name)
    assert start_causes.find(reading) is None
    whole = (TRANSCRIPTS / name).read_text(errors="replace")
    assert start_causes.find(StartReading(), whole) is None, "nor where the journal repeats it"
    known = [each for each in reading.complaints if not start_causes.harmless(each)]
    assert [(each.level, each.text) for each in known if each.thread == "main"] == []


LINE = "2026-11-22 16:50:01,000 {} [{}] ({}:[]) (logid:) {}"
COMMANDS = LINE.format("ERROR", "c.c.u.PropertiesUtil", "main", "Unable to find properties file: commands.properties")
POOL = LINE.format("ERROR", "c.c.s.S.CapacityTask", "StatsCollector-1", "Error trying to retrieve host stats")
MODULE = LINE.format(
    "WARN ", "o.a.c.s.m.m.i.DefaultModuleDefinitionSet", "main",
    "Failed to start module [mill] due to: [Error creating bean with name 'mill'].",
)  # fmt: skip
DRIVER = LINE.format("ERROR", "c.c.Driver", "main", "Driver of the mill failed initialization")


def read(*lines: str) -> StartReading:
    reading = StartReading()
    for each in lines:
        reading.take(each)
    return reading


def test_what_a_real_server_says_in_every_good_start_is_no_cause() -> None:
    """Lines of 4.20.3.0 from a first start, its end, and the start after it; of warnings there are a dozen kinds more."""
    reading = read(
        LINE.format(
            "WARN ",
            "c.c.s.d.DownloadMonitorImpl",
            "main",
            "Only realhostip.com ssl cert is supported, ignoring self-signed and other certs",
        ),
        LINE.format(
            "WARN ", "c.c.u.GuestOsMapper", "main", "Unable to find the guest OS details with category id: 7 and display name: macOS 10.15"
        ),
        LINE.format(
            "WARN ", "o.a.c.s.l.r.RegistryLifecycle", "main", "Bean registration failed for com.cloud.resource.DummyHostDiscoverer@5f506203"
        ),
        LINE.format("ERROR", "c.c.c.C.ListenerThread", "main", "Unexpected exception java.net.SocketException: Socket closed"),
        LINE.format(
            "ERROR", "c.c.c.ClusterManagerImpl", "main", "Unable to ping management server at 10.91.0.11:9090 due to ConnectException"
        ),
    )
    assert len(reading.complaints) == 5 and start_causes.find(reading) is None
    reading.take(DRIVER)
    found = start_causes.find(reading)
    assert found is not None and "Driver of the mill" in found.cause


def test_a_harmless_error_before_the_true_one_is_passed_over() -> None:
    reading = read(
        COMMANDS,
        POOL,
        MODULE,
        "java.lang.IllegalStateException: no such mill",
        "\tat x",
        "Caused by: java.io.IOException: the mill is on fire",
    )
    found = start_causes.find(reading, path="/var/log/x.log")
    assert found is not None
    assert found.cause == (
        "the log says: Failed to start module [mill] due to: [Error creating bean with name 'mill']. - java.io.IOException: the mill is on fire"
    )
    assert found.remedy == "see /var/log/x.log there"


def test_a_modules_own_cause_comes_before_an_error_that_nobody_knows() -> None:
    found = start_causes.find(read(DRIVER, MODULE))
    assert found is not None and "module [mill]" in found.cause
    alone = start_causes.find(read(COMMANDS, DRIVER))
    assert alone is not None and "Driver of the mill" in alone.cause
    assert start_causes.find(read(COMMANDS, POOL)) is None, "another thread's trouble ends no start"


def test_the_second_try_at_another_database_is_not_the_cause() -> None:
    """CloudStack falls back on cloud/cloud at localhost, which is refused as well."""
    reading = read(
        LINE.format("WARN ", "c.c.u.d.T.Transaction", "main", "Unable to load db configuration, using defaults with 5 connections."),
        "Caused by: java.net.UnknownHostException: newdb1",
        LINE.format("ERROR", "c.c.u.d.Merovingian2", "main", "Unable to get a new db connection java.sql.SQLTransientConnectionException"),
        "Caused by: java.sql.SQLException: Access denied for user 'cloud'@'localhost' (using password: YES)",
    )
    found = start_causes.find(reading)
    assert found is not None and found.cause.startswith("no database server answers") and "UnknownHostException: newdb1" in found.cause


CLASS_FILE = (
    "Error: LinkageError occurred while loading main class org.apache.cloudstack.ServerDaemon\n"
    "\tjava.lang.UnsupportedClassVersionError: org/apache/cloudstack/ServerDaemon has been compiled by a more recent version of the Java Runtime "
    "(class file version 61.0), this version of the Java Runtime only recognizes class file versions up to 55.0\n"
)


def test_too_old_a_java_is_named_with_both_versions() -> None:
    found = start_causes.find(StartReading(), CLASS_FILE)
    assert found is not None
    assert found.cause == "the packages need Java 17, and the Java that runs is 11"
    assert "install Java 17" in found.remedy and "key file" not in found.cause


@pytest.mark.parametrize(
    ("shown", "release", "words"),
    [
        ('openjdk version "17.0.15" 2025-04-15', "4.22.1.0", ""),
        ('openjdk version "21.0.2" 2024-01-16', "4.20.0.0", ""),
        ('openjdk version "11.0.22" 2024-01-16', "4.20.0.0", "its default Java is 11"),
        ('openjdk version "1.8.0_392"', "4.22.1.0", "its default Java is 8"),
        ('openjdk version "11.0.22" 2024-01-16', "4.19.3.0", ""),
        ('java version "1.8.0_392"', "4.14.0.0", "needs 11"),
        ('java version "1.8.0_392"', "4.13.1.0", ""),
        ("words without a version", "4.22.1.0", ""),
    ],
)
def test_a_servers_java_is_judged(shown: str, release: str, words: str) -> None:
    found = java.fault(shown, CloudStackVersion(release))
    assert words in found and bool(words) == bool(found)


@pytest.mark.parametrize(
    ("end", "words", "cause"),
    [
        (UnitEnd("signal", 2, 9), "was killed by SIGKILL", "has no lack of memory"),
        (UnitEnd("exit-code", 1, 9), "ended with exit code 9", None),
        (UnitEnd("exit-code", 1, 5), "ended with exit code 5", None),
        (UnitEnd("oom-kill", 2, 9), "was killed because memory ran out", "want of memory"),
        (UnitEnd("signal", 2, 9, "Out of memory: Killed process 77 (java)"), "memory ran out", "Killed process 77 (java)"),
        (UnitEnd("core-dump", 3, 6), "was killed by SIGABRT", "the Java machine crashed"),
        (UnitEnd("signal", 2, 11), "was killed by SIGSEGV", "the Java machine crashed"),
        (UnitEnd("success", 1, 143), "was stopped by SIGTERM (exit code 143)", "something asked it to end"),
        (UnitEnd("exit-code", 1, 137), "was killed by SIGKILL (exit code 137)", "something killed it"),
        (UnitEnd("timeout", 2, 9), "was ended by systemd", "TimeoutStartSec"),
        (UnitEnd("start-limit-hit", 1, 1), "systemd refuses", "refused the start"),
        (UnitEnd("exit-code", 1, 203), "ended with exit code 203", "no such file"),
        (UnitEnd("exit-code", 1, 217), "ended with exit code 217", "its user is not there"),
        (UnitEnd("success", 1, 0), "ended", None),
        (UnitEnd(), "ended", None),
    ],
)
def test_how_a_process_ended(end: UnitEnd, words: str, cause: str | None) -> None:
    assert words in end.words
    assert (end.cause is None) if cause is None else (end.cause is not None and cause in end.cause[0] and end.cause[1])


@pytest.mark.parametrize(
    "kernel", ["Out of memory: Killed process 4711 (java) total-vm:1kB", "Memory cgroup out of memory: Kill process 4711 (java) score 1"]
)
def test_the_kernels_words_are_found_by_the_process(tmp_path: Path, kernel: str) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\nprintf 'Result=signal\\nExecMainCode=2\\nExecMainStatus=9\\nExecMainPID=4711\\n'\n")
    (tmp_path / "journalctl").write_text(f"#!/bin/sh\necho 'Killed process 47110 (other)'\necho '{kernel}'\n")
    (tmp_path / "dmesg").write_text("#!/bin/sh\nexit 1\n")
    for each in tmp_path.iterdir():
        each.chmod(0o755)

    class Here(AskedHost):
        def run(self, argv: Sequence[str], *, input: Any = None, **_: Any) -> Result:
            done = subprocess.run(argv, input=input, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
            return Result(done.returncode, done.stdout, done.stderr)

    assert unit_end.read(Here(), "x") == UnitEnd("signal", 2, 9, kernel)
    (tmp_path / "journalctl").write_text("#!/bin/sh\necho 'Killed process 47110 (other)'\n")
    assert unit_end.read(Here(), "x") == UnitEnd("signal", 2, 9)

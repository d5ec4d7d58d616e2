"""Why a start failed, by what it logged: known texts first, then the first failed module, never what a good start logs as well."""

from __future__ import annotations

import re
from dataclasses import dataclass

from parallel_build.cloudstack.log import MODULE, Complaint, StartReading

AGAIN = "then run `pulumi up`"
IMPORTED = "the copy is imported again"

# The first pattern that fits names the cause: (what the log, its exceptions or the unit's journal say, cause, remedy).
CAUSES = (
    (r"clustered environment", "a management server's row in mshost is Up in the copy",
     "run `pulumi up` again: stale rows are set Down before the start"),
    (r"Error decrypting value|initialize the database encryptors", "the database key or the encryptor version is wrong",
     "unset databaseKey to take the original's own, or correct it"),
    (r"Failed to decrypt value using", "the key file does not decrypt db.properties", "run `pulumi up` again: both files are written again"),
    (r"Unable to load db configuration.*Access denied for user", "the database does not let user cloud in with the password of db.properties",
     "run `pulumi up` again: the account and db.properties are written again; then see from which addresses user cloud is let in"),
    (r"Unable to load db configuration.*(Connection refused|Communications link failure|No route to host|timed out|UnknownHost)",
     "no database server answers where db.properties says", "start the new database server, and let this server reach its port"),
    (r"Unable to load db configuration", "the database is not reachable with what db.properties says",
     "see whether this server reaches its port, and from which addresses user cloud may log in (mysql.user there)"),
    (r"higher than management software version", "the database is of a later version than the packages", "install the later packages"),
    (r"Error executing: (.*)", "a statement of the schema upgrade failed",
     f"remove its cause in the rehearsal, record the fix, and run `pulumi up`: {IMPORTED}"),
    (r"SystemV[mM] template not found|[Ff]ailed to (find|register|get|download)\b.{0,60}[Tt]emplate",
     "the system VM template of the new version is missing", "register it on the original (phase prepared), then `pulumi up`"),
    (r"Unable to upgrade the database|execute upgrade script", "the schema upgrade failed", f"remove its cause, then run `pulumi up`: {IMPORTED}"),
    (r"cluster node IP should be valid local address", "cluster.node.IP is not an address of this server",
     "correct the server's address in the stack"),
    (r"OutOfMemoryError", "its JVM ran out of memory", f"raise -Xmx in JAVA_OPTS of /etc/default/cloudstack-management there, {AGAIN}"),
    (r"module java\.\S+ does not \"(opens|exports)", "JAVA_OPTS lack what Java 17 asks for (--add-opens, --add-exports)",
     f"take the package's /etc/default/cloudstack-management, carry only your own options over, {AGAIN}"),
    (r"BindException|Address already in use", "something else listens on one of its ports", f"stop that program there, {AGAIN}"),
    (r"Unrecognized VM option|Could not create the Java Virtual Machine|Invalid maximum heap size|Error occurred during initialization of VM",
     "Java does not take its options", f"correct JAVA_OPTS in /etc/default/cloudstack-management there, {AGAIN}"),
    (r"Could not find or load main class|ClassNotFoundException: org\.apache\.cloudstack\.ServerDaemon", "CloudStack's own program is not there",
     "see whether the package is whole (`dpkg --verify cloudstack-management`, `rpm -V cloudstack-management`)"),
)  # fmt: skip

CLASS_FILE = re.compile(r"UnsupportedClassVersionError|class file version (\d+)(?:\.\d+)?.{0,200}?up to (\d+)", re.DOTALL)
CLASS_FILES_SINCE = 44  # class file version 61 is Java 17's [JVM specification, table 4.1-A]

# What a good start says as well [seen in good starts of 4.20.3.0 and 4.22.1.0]: (logger, text).
HARMLESS = tuple(
    (re.compile(logger), re.compile(text))
    for logger, text in (
        (r"PropertiesUtil$", r"Unable to find properties file"),  # commands.properties, gone since roles are in the database
        (r"ExternalPathPayloadProvisioner$", r"Extension directory|Entry point|for extension"),
        (r"ProcessRunner$", r"ipmitool"),
        (r"IpmitoolOutOfBandManagementDriver$", r"ipmitool failed initialization"),
        (r"SystemVmTemplateRegistration$", r"as it is not used, not failing upgrade"),
        (r"NfsMountManagerImpl$", r"Unable to create mount point"),
        (r"ClusterServiceServletImpl$", r"^Exception from : "),  # a peer that is down, as the original's are
        (
            r"ClusterManagerImpl\S*$",
            r"Notifying management server|is detected inactive|^Unable to ping management server",
        ),  # its own row of last time
        (r"ListenerThread$", r"^Unexpected exception .*Socket closed"),  # the end of the run before
        (r"AlertManagerImpl$", r"^alertType=|No recipients set"),
        (r"Mock\w+DaoImpl$", r"^DB Exception on"),  # simulated hypervisors
        (r"ResourceManagerImpl$", r"^Unable to connect due to"),  # one host, not the server
        (r"VolumeStatsTask$", r"retrieve volume stats"),
    )
)


@dataclass(frozen=True)
class Cause:
    """Why it failed.

    Attributes:
        cause: in words, with what was logged.
        remedy: what to do.
    """

    cause: str
    remedy: str


def find(reading: StartReading, journal: str = "", path: str = "the log") -> Cause | None:
    """The cause that the log of a start names, or its unit's journal; None where neither names any.

    Args:
        journal: what the start wrote to its unit's journal, where a JVM complains that never came to a log.
        path: of the log, for the remedy.
    """
    if java := wrong_java(journal):
        return java
    complaints = [each for each in reading.complaints if not harmless(each)]
    # ERROR lines are nearest to what went wrong; a module's line is long, and a warning often only the prelude.
    ordered = sorted(complaints, key=lambda each: (each.level == "WARN", not MODULE.search(each.text)))
    for pattern, cause, remedy in CAUSES:
        for each in ordered:
            if re.search(pattern, each.whole):
                reason = reading.reason if reading.reason and each.text.startswith("Error executing") else _innermost(each)
                return Cause(f"{cause}; the log says: {_shown(each.text, reason)}", remedy)
        if found := re.search(f".*(?:{pattern}).*", journal):
            return Cause(f"{cause}; its journal says: {found[0].strip()[:300]}", remedy)
    module = next((each for each in complaints if MODULE.search(each.text)), None)
    # Other threads' trouble ends no start, and a warning that is not known here neither: a good start of a real server has a dozen of them.
    own = [each for each in ordered if each.thread == "main" and each.level != "WARN"]
    first = module or next(iter(own), None)
    return Cause(f"the log says: {_shown(first.text, _innermost(first))}", f"see {path} there") if first else None


def harmless(complaint: Complaint) -> bool:
    """Whether a good start says it as well."""
    return any(logger.search(complaint.logger) and text.search(complaint.text) for logger, text in HARMLESS)


def wrong_java(text: str) -> Cause | None:
    """Java of an earlier version than CloudStack's classes are made for."""
    match = CLASS_FILE.search(text)
    if not match:
        return None
    versions = re.search(r"class file version (\d+).*?up to (\d+)", text, re.DOTALL)
    known = [int(number) - CLASS_FILES_SINCE for number in versions.groups()] if versions else []
    words = (
        f"the packages need Java {known[0]}, and the Java that runs is {known[1]}"
        if known
        else "the Java that runs is too old for the packages"
    )
    return Cause(
        words,
        f"install {f'Java {known[0]}' if known else 'a later Java'} there, make it the default (`update-alternatives --config java`), {AGAIN}",
    )


def unknown(reading: StartReading, journal: str) -> Cause:
    """What can be known of a start whose log names no cause."""
    if reading.count and not reading.locked and reading.last.startswith("Initializing server daemon"):
        return Cause(
            "the log ends where db.properties is decrypted, as it does when user cloud may not read the key file; no disk is full",
            "see owner and mode of /etc/cloudstack/management/key (root:cloud, 640) there",
        )
    words = [line.strip() for line in journal.splitlines() if line.strip()]
    last = f"; its journal ends with: {words[-1][:300]}" if words else ""
    if not reading.count:
        return Cause(f"it has written nothing to its log, and no disk is full{last}", "see `journalctl -u cloudstack-management` there")
    return Cause(
        f"the log names no cause; its last line: {reading.last[:300]}{last}", "see the log and `journalctl -u cloudstack-management` there"
    )


def _innermost(complaint: Complaint) -> str:
    """The exception that began it; of a database that was not reached the driver's own, not that of the second try elsewhere."""
    return complaint.chain[-1] if complaint.chain else ""


def _shown(text: str, reason: str) -> str:
    shown = text[:300].strip()
    return f"{shown} - {reason[:300].strip()}" if reason and reason not in shown else shown

"""Where a management server keeps state outside the database: one table for both package families, with who reads it.

[packaging/el8/cloud.spec, debian/rules and client/conf of CloudStack 4.20 to 4.23; about pages of the release documentation]
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

MANAGEMENT_FOLDER = "/etc/cloudstack/management"
# Searched for files that no package brought, with all below; patterns of the shell.
PLACES = (
    MANAGEMENT_FOLDER,
    "/etc/cloudstack/usage",
    "/etc/cloudstack/ui",
    "/etc/cloudstack/extensions",
    "/etc/default/cloudstack-*",
    "/etc/sysconfig/cloudstack-*",
    "/etc/systemd/system/cloudstack-*.service",
    "/etc/systemd/system/cloudstack-*.service.d",
    "/usr/share/cloudstack-management/lib",
    "/usr/share/cloudstack-usage/lib",
    "/usr/share/cloudstack-mysql-ha/lib",
    "/usr/share/cloudstack-management/webapp",
    "/usr/share/cloudstack-management/extensions",
    "/usr/share/cloudstack-ui",
    "/usr/share/cloudstack-common/scripts/vm/hypervisor/xenserver",
    "/usr/local/libexec/sanity-check-last-id",
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
)
# The files whose keys are compared one by one.
PROPERTIES = (f"{MANAGEMENT_FOLDER}/db.properties", f"{MANAGEMENT_FOLDER}/server.properties")
# What set-up, the service, a package's scripts or a package manager writes by itself: nobody's own, or made again on the new side.
MADE_BY_ITSELF = (
    *PROPERTIES, f"{MANAGEMENT_FOLDER}/key", f"{MANAGEMENT_FOLDER}/*.shipped", "/etc/cloudstack/usage/db.properties", "/etc/cloudstack/usage/key",
    "*.dpkg-old", "*.dpkg-dist", "*.dpkg-new", "*.ucf-*", "*.rpmnew", "*.rpmsave", "*.rpmorig", "*~", "*.pyc",
    "*/scripts/vm/systemvm/id_rsa.cloud", "*/vms/systemvm.iso", "*/cacerts",
    "*/scripts/installer/cloudstack-help-text",  # each package's script writes its version into it
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*",  # images that are made small leave them out (path-exclude, nodocs)
)  # fmt: skip
# What a package's script makes, and somebody may change afterwards: path -> digest of its first content.
FIRST_CONTENT = {"/usr/local/libexec/sanity-check-last-id": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"}


@dataclass(frozen=True)
class Use:
    """What files are for.

    Attributes:
        pattern: of their paths.
        what: for a sentence.
    """

    pattern: str
    what: str


# The first pattern that fits counts.
USES = (
    Use("*/META-INF/cloudstack/*", "modules such as an event bus"),
    Use("*kafka*", "event bus"),
    Use("*.jks", "Java key store"), Use("*.keystore", "Java key store"), Use("*.p12", "Java key store"),
    Use("*log4j*", "logging"),
    Use("*/webapp/config.json", "user interface"), Use("*/config.json", "user interface"), Use("/etc/cloudstack/ui/*", "user interface"),
    Use("*/cloudstack-ui/*", "user interface"), Use("*/webapp/*", "user interface"),
    Use("/etc/cloudstack/extensions/*", "extensions"), Use("*/extensions/*", "extensions"),
    Use("/etc/default/*", "JVM and service options"), Use("/etc/sysconfig/*", "JVM and service options"),
    Use("/etc/systemd/system/*", "the service's unit"),
    Use("*.jar", "class path"),
    Use("*/vhd-util", "XenServer"),
    Use("*/sanity-check-last-id", "where the usage check continues"),
    Use("*/ca-certificates/*", "certificate authority"), Use("*/anchors/*", "certificate authority"),
    Use("*metadata*.xml", "SAML metadata"), Use("*idp*.xml", "SAML metadata"),
    Use("*commands.properties", "API permissions"),
)  # fmt: skip


def used_for(path: str) -> str:
    """What a file is for, "" where nothing is known."""
    return next((use.what for use in USES if fnmatchcase(path, use.pattern)), "")


def counts(path: str) -> bool:
    """Whether a file at this place is somebody's own doing when it is not as its package brought it."""
    return not any(fnmatchcase(path, pattern) for pattern in MADE_BY_ITSELF)

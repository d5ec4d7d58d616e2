"""The releases of CloudStack: the steps of its schema, and what each series needs. Data, with its source; no server is asked.

A direct upgrade from any listed version to any later one is one start of the target, which runs every step in between. So only the target's needs have to
be met; those of the steps are there for whoever stops on the way [CloudStack DatabaseUpgradeChecker.java; release notes, compatibility pages].
"""

from __future__ import annotations

from dataclasses import dataclass

from parallel_build.versions import CloudStackVersion

# Version steps of the schema [DatabaseUpgradeChecker.java of 4.22.1 and of the branches of 4.23 and 24.0].
STEPS = (
    "4.9.1.0", "4.9.2.0", "4.9.3.0", "4.10.0.0", "4.11.0.0", "4.11.1.0", "4.11.2.0", "4.11.3.0", "4.12.0.0", "4.13.0.0", "4.13.1.0",
    "4.14.0.0", "4.15.0.0", "4.15.1.0", "4.15.2.0", "4.16.0.0", "4.16.1.0", "4.17.0.0", "4.17.1.0", "4.17.2.0", "4.18.0.0", "4.18.1.0",
    "4.19.0.0", "4.19.1.0", "4.20.0.0", "4.20.1.0", "4.21.0.0", "4.22.0.0", "4.22.1.0", "4.23.0.0", "24.0.0",
)  # fmt: skip
OLDEST = CloudStackVersion("4.9.0.0")
NEWEST = CloudStackVersion("4.23.0.0")
"""The newest release when this was written; 24.0.0 was announced: three numbers, and no leading 4."""
# The last patch release of each series that was known: 4.20.4, 4.22.2 and 24.0.0 were in the making.
LAST_PATCH = {
    (4, 9): 3, (4, 10): 0, (4, 11): 3, (4, 12): 0, (4, 13): 1, (4, 14): 1, (4, 15): 2, (4, 16): 1, (4, 17): 2, (4, 18): 2, (4, 19): 3,
    (4, 20): 4, (4, 21): 0, (4, 22): 2, (4, 23): 0, (24, 0): 0,
}  # fmt: skip
UNPUBLISHED = "not published when this was written: see the release's own compatibility page"


@dataclass(frozen=True)
class Needs:
    """What a release and those after it need, until the next entry.

    Attributes:
        since: the first release.
        java: major version of Java.
        systems: operating systems of management servers.
        databases: database servers it was tested with.
        encryptor: version of CloudStack's encryption that a set-up writes and reads.
        template: release of its system VM template; the package's own metadata wins where there is a package.
    """

    since: CloudStackVersion
    java: int
    systems: str
    databases: str
    encryptor: str
    template: str


MARIADB = "MariaDB 10.6 or later (10.5 fails in foreign keys, issues 9649 and 10048)"
_OLD_EL = "EL 6 and 7, Ubuntu 14.04 to 18.04"
_EL7 = "EL 7 and 8, Ubuntu 16.04 to 20.04"


def _needs(since: str, java: int, systems: str, mysql: str, encryptor: str, template: str) -> Needs:
    return Needs(CloudStackVersion(since), java, systems, f"MySQL {mysql}; {MARIADB}", encryptor, template)


# [compatibility pages of the release notes, pom.xml of engine/schema, debian/control and cloud.spec at each release's tag]
NEEDS = (
    _needs("4.9.0.0", 7, "EL 6 and 7, Ubuntu 12.04 and 14.04", "5.6", "V1", "4.6"),
    _needs("4.10.0.0", 8, _OLD_EL, "5.6", "V1", "4.10"),
    _needs("4.11.0.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.0"),
    _needs("4.11.1.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.1"),
    _needs("4.11.2.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.2"),
    _needs("4.11.3.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.3"),
    _needs("4.12.0.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.2"),
    _needs("4.13.0.0", 8, _OLD_EL, "5.6, 5.7", "V1", "4.11.3"),
    _needs("4.14.0.0", 11, _EL7, "5.5 to 5.7", "V1", "4.14.0"),
    _needs("4.15.0.0", 11, _EL7, "5.6, 5.7, 8.0", "V1", "4.15.0"),
    _needs("4.15.1.0", 11, _EL7, "5.6, 5.7, 8.0", "V1", "4.15.1"),
    _needs("4.16.0.0", 11, _EL7, "5.6, 5.7, 8.0", "V1", "4.16.0"),
    _needs("4.16.1.0", 11, _EL7, "5.6, 5.7, 8.0", "V1", "4.16.1"),
    _needs("4.17.0.0", 11, "EL 7 and 8, Ubuntu 18.04 to 22.04", "5.6, 5.7, 8.0", "V1", "4.17.0"),
    _needs("4.17.2.0", 11, "EL 7 and 8, Ubuntu 18.04 to 22.04", "5.6, 5.7, 8.0", "V1", "4.17.2"),
    _needs("4.18.0.0", 11, "EL 7 to 9, Ubuntu 18.04 to 22.04", "5.6, 5.7, 8.0", "V2, reads V1", "4.18.0"),
    _needs("4.18.1.0", 11, "EL 7 to 9, Ubuntu 18.04 to 22.04", "5.6, 5.7, 8.0", "V2, reads V1", "4.18.1"),
    _needs("4.19.0.0", 11, "EL 7 to 9, Ubuntu 20.04 to 24.04", "5.6, 5.7, 8.0", "V2, reads V1", "4.19.0"),
    _needs("4.19.1.0", 11, "EL 7 to 9, Ubuntu 20.04 to 24.04", "5.6, 5.7, 8.0", "V2, reads V1", "4.19.1"),
    _needs("4.20.0.0", 17, "EL 8 and 9, Ubuntu 20.04 to 24.04; EL 10 experimental; Debian 12 and 13 untested", "8.0", "V2", "4.20.0"),
    _needs("4.20.1.0", 17, "EL 8 and 9, Ubuntu 20.04 to 24.04; EL 10 experimental; Debian 12 and 13 untested", "8.0", "V2", "4.20.1"),
    _needs("4.20.2.0", 17, "EL 8 and 9, Ubuntu 20.04 to 24.04; EL 10 experimental; Debian 12 and 13 untested", "8.0", "V2", "4.20.2"),
    _needs("4.20.3.0", 17, "EL 8 and 9, Ubuntu 20.04 to 24.04; EL 10 experimental; Debian 12 and 13 untested", "8.0, 8.4", "V2", "4.20.2"),
    _needs("4.21.0.0", 17, "EL 8 and 9, Ubuntu 20.04 to 24.04; EL 10 experimental; Debian 12 and 13 untested", "8.0", "V2", "4.20.2"),
    _needs("4.22.0.0", 17, "EL 8 to 10, Ubuntu 22.04 and 24.04; Debian 12 and 13 untested", "8.0, 8.4", "V2", "4.22.0"),
    _needs("4.23.0.0", 17, UNPUBLISHED, "8.0, 8.4", "V2", "4.22.0"),
    _needs("24.0.0", 17, UNPUBLISHED, "8.0, 8.4", "V2", UNPUBLISHED),
)


def path(old: CloudStackVersion, new: CloudStackVersion) -> list[str]:
    """Schema versions that an upgrade goes through, the target's included where it has a step."""
    return [step for step in STEPS if old < CloudStackVersion(step) <= new]


def needs(version: CloudStackVersion) -> Needs:
    """What a version needs: the entry of the last release that is not later."""
    return next((each for each in reversed(NEEDS) if each.since <= version), NEEDS[0])


def is_known(version: CloudStackVersion) -> bool:
    """Whether a release of this number was out, or in the making, when this was written; a security release has a fourth number."""
    major, minor, patch, _ = version.numbers
    return patch <= LAST_PATCH.get((major, minor), -1)


def series(version: CloudStackVersion) -> str:
    """`4.22` of 4.22.1.0: the series that documentation and repositories go by."""
    return ".".join(str(number) for number in version.numbers[:2])

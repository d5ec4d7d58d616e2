"""Which Java a release of CloudStack needs, and which one a server's `java -version` names.

[CloudStack's compatibility pages: 8 up to 4.13, 11 from 4.14, 17 from 4.20]
"""

from __future__ import annotations

import re

from parallel_build.versions import CloudStackVersion

SINCE = ((CloudStackVersion("4.20.0.0"), 17), (CloudStackVersion("4.14.0.0"), 11))
OLDEST = 8
NAMED = re.compile(r'version "(?:1\.)?(\d+)')


def needed(release: CloudStackVersion) -> int:
    """The lowest Java that runs the release."""
    return next((java for since, java in SINCE if release >= since), OLDEST)


def major(shown: str) -> int | None:
    """The Java in the words of `java -version`; None where they name none. `1.8.0_392` is Java 8."""
    found = NAMED.search(shown)
    return int(found[1]) if found else None


def fault(shown: str, release: CloudStackVersion) -> str:
    """What is wrong with a server's Java for a release, "" where nothing is, or its words name no version."""
    found, wanted = major(shown), needed(release)
    if found is None or found >= wanted:
        return ""
    return f"its default Java is {found} ({shown.strip()}), and CloudStack {release} needs {wanted}"

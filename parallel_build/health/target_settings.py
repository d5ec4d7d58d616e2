"""Which settings the target's own program knows: those whose names are among the texts of its classes or are values in the descriptions of its modules, read
in the packages on a new management server. The names `host.allocators.exclude`, `user.authenticators.order` and forty more are in the descriptions alone.

The column `updated` of `configuration` does not tell: CloudStack writes it for the settings that modules declare and leaves it null for all of its class
`Config`, several hundred that are in force [seen in databases of 4.20.3.0 and 4.22.1.0: 278 and 261 rows].
"""

from __future__ import annotations

import json
from collections.abc import Collection

from parallel_build.health.target_scripts import LIBRARY
from parallel_build.remote.access import Access

# Whoever has this class has the whole program: its hundreds of settings are named there.
WITNESS = "com/cloud/configuration/Config.class"
# Takes names as JSON, prints those that are in no class as JSON; null where the program is not there. Of CloudStack's own archive only its own classes are
# read, the libraries in it know no setting. In a class file a text stands behind its length, so that a part of a longer name is not taken for it. In a module's
# description it is a whole value.
READER = r"""
import glob, json, re, sys, zipfile
MODULES = "META-INF/cloudstack/"
wanted = {len(name).to_bytes(2, "big") + name.encode(): name for name in json.loads(sys.argv[2])}
there = False
for jar in glob.glob(sys.argv[1] + "/*.jar"):
    try:
        archive = zipfile.ZipFile(jar)
    except zipfile.BadZipFile:
        continue
    names = archive.namelist()
    main = sys.argv[3] in names
    there = there or main
    for name in names:
        if name.endswith(".class") and (not main or name.startswith(("com/cloud/", "org/apache/cloudstack/"))):
            body = archive.read(name)
            for text in [text for text in wanted if text in body]:
                del wanted[text]
        elif name.startswith(MODULES) and name.endswith(".xml"):
            values = set(re.findall(r"[\"'>]\s*([^\"'<>\s]+)\s*[\"'<]", archive.read(name).decode("utf-8", "replace")))
            for text in [text for text, setting in wanted.items() if setting in values]:
                del wanted[text]
print(json.dumps(sorted(wanted.values()) if there else None))
"""
LIMIT = 120.0  # seconds: some ten thousand classes are unpacked


def unknown(host: Access, names: Collection[str]) -> frozenset[str] | None:
    """Those of the names that the target does not know; None where its program is not on that server.

    Args:
        host: a new management server.
        names: of settings.
    """
    shown = host.run(["python3", "-", LIBRARY, json.dumps(sorted(names)), WITNESS], input=READER, timeout=LIMIT, ok=(0, 1, 127))
    found = json.loads(shown.stdout) if shown.ok and shown.stdout.strip() else None
    return None if found is None else frozenset(found)

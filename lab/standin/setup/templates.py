"""What cloudstack-setup-management does about system VM templates since 4.23: it downloads them, also with --no-start, after everything else is set up.

A file that is there is not downloaded again; a download that fails is only printed. [shared facts field.md, section 6]
"""

from __future__ import annotations

import configparser
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("/usr/share/cloudstack-management/templates/systemvm")
ALWAYS = "kvm-x86_64"
REPOSITORY = "http://download.cloudstack.test/systemvm"  # nobody has this name: of a lab nothing leads out
LIMIT = 10.0  # seconds
BLOCK = 1 << 20


def wanted(words: str) -> list[str]:
    """The templates that are asked for and known; empty, after saying why, where one is not or there is no list of them."""
    known = configparser.ConfigParser()
    if not known.read(FOLDER / "metadata.ini"):
        print(f"Error: {FOLDER}/metadata.ini is missing", file=sys.stderr)
        return []
    sections = [name for name in known.sections() if name != "default"]
    asked = sections if words == "all" else [ALWAYS, *(word for word in words.split(",") if word and word != ALWAYS)]
    if unknown := [name for name in asked if name not in sections]:
        print(f"Error: unknown system VM templates: {', '.join(unknown)}", file=sys.stderr)
        return []
    return asked


def download(words: str, repository: str, log: Callable[[str], None]) -> None:
    """Download what is not there."""
    known = configparser.ConfigParser()
    known.read(FOLDER / "metadata.ini")
    for name in wanted(words):
        file = known[name]["filename"]
        if (FOLDER / file).exists():
            continue
        url = f"{(repository or REPOSITORY).rstrip('/')}/{file}"
        print(f"Downloading system VM template {name} from {url}")
        log(f"download:{url}")
        try:
            with urllib.request.urlopen(url, timeout=LIMIT) as answer, (FOLDER / file).open("wb") as target:  # noqa: S310 - as the real one does
                while block := answer.read(BLOCK):
                    target.write(block)
        except (OSError, ValueError) as failure:
            (FOLDER / file).unlink(missing_ok=True)
            print(f"Error downloading {url}: {failure} [Failed]")

"""A probe for a machine's address, in a network of the lab: the stand-in has no machines, so all answer but those of the network that is broken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

#: The beginning of the addresses that each kind of network has in these tests.
PREFIXES = {"reach-isolated": ("10.1.1.",), "reach-shared": ("172.",), "reach-vpc": ("10.100.", "10.101.")}


def main(file: str, address: str) -> int:
    """Exit code 1 for an address that is not reached."""
    path = Path(file)
    plant = json.loads(path.read_text())["plant"] if path.exists() else ""
    return int(address.startswith(PREFIXES.get(plant, ("nothing",))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))

"""`python -m lab.images base|guest|mysql|el|kvm`: make an image if it isn't there and print where it is."""

from __future__ import annotations

import argparse
import sys

from lab.images import base_root, el_root, guest_image, kvm_available, mysql_root
from tools.errors import ToolError


def main() -> int:
    """Run the command; 0 when every image that was asked for is there."""
    parser = argparse.ArgumentParser(prog="python -m lab.images", description=__doc__)
    parser.add_argument("what", nargs="+", choices=("base", "guest", "mysql", "el", "kvm"))
    try:
        for what in parser.parse_args().what:
            if what == "base":
                print(base_root())
            elif what == "mysql":
                print(mysql_root())
            elif what == "el":
                print(el_root())
            elif what == "kvm":
                print("yes" if kvm_available() else "no")
            else:
                image = guest_image()
                print(image.disk, image.kernel, image.initrd, sep="\n")
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What an operator does with virsh about system VMs: list, destroy, undefine - on a host without libvirt."""
from __future__ import annotations

import sys

from . import machines


def main(words: list[str]) -> int:
    """Carry out one command; returns the exit code as virsh does."""
    if not words or words[0] not in ("list", "destroy", "undefine"):
        print(f"error: unknown command: '{words[0] if words else ''}'", file=sys.stderr)
        return 1
    active = {machine["name"] for machine in machines.running()}
    if words[0] == "list":
        return _list(active, words[1:])
    name = words[1] if len(words) > 1 else ""
    if name not in {machine["name"] for machine in machines.known()}:
        print(f"error: failed to get domain '{name}'", file=sys.stderr)
        return 1
    if words[0] == "undefine":
        machines.destroy(name)
    elif name not in active:
        print(f"error: Failed to destroy domain '{name}'\nerror: Requested operation is not valid: domain is not running", file=sys.stderr)
        return 1
    else:
        machines.stop(name)
    print(f"Domain '{name}' {'has been undefined' if words[0] == 'undefine' else 'destroyed'}\n")
    return 0


def _list(active: set[str], options: list[str]) -> int:
    names = [machine["name"] for machine in machines.known() if "--all" in options or machine["name"] in active]
    if "--name" in options:
        print("\n".join(names))
        return 0
    print(" Id   Name       State\n-----------------------")
    for number, name in enumerate(names, 1):
        print(f" {number if name in active else '-':<4} {name:<10} {'running' if name in active else 'shut off'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

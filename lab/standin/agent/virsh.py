"""As much of virsh as an operator needs to see which VMs run on a host, and to end one."""

from __future__ import annotations

import sys

from . import machines

USAGE = "usage: virsh list [--all] [--name] | domstate NAME | domuuid NAME | destroy NAME | undefine NAME"


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    words = [word for word in arguments if not word.startswith("-")]
    running = {machine.name: machine for machine in machines.running()}
    if words == ["list"]:
        if "--name" in arguments:
            print("\n".join(sorted(running)) + "\n")
        else:
            print(" Id   Name                 State\n-----------------------------------")
            for number, name in enumerate(sorted(running), 1):
                print(f" {number:<4} {name:<20} running")
            print()
        return 0
    if len(words) != 2 or words[0] not in ("domstate", "domuuid", "destroy", "undefine"):
        print(USAGE, file=sys.stderr)
        return 1
    machine = running.get(words[1])
    if machine is None:
        print(f"error: failed to get domain '{words[1]}'", file=sys.stderr)
        return 1
    if words[0] == "domstate":
        print("running\n")
    elif words[0] == "domuuid":
        print(machine.uuid + "\n")
    elif words[0] == "destroy":
        machines.stop(machine.name, machine.uuid)
        print(f"Domain '{machine.name}' destroyed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

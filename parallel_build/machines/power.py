"""Cutting a new machine's power through its platform, where that can be done from here: for a machine that can't be reached and must not serve."""

from __future__ import annotations

import shutil
import subprocess

from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.machines import container
from parallel_build.machines.commands import MachineFailed

VIRSH_SECONDS = 60.0


def cut(configuration: StackConfiguration, stack: str, machine: NewMachine) -> str | None:
    """Cut the power of one of the stack's own machines.

    Args:
        stack: the stack's name; libvirt's guests carry it in theirs.
    Returns:
        by what it was done, in words; None where the platform offers nothing here (vSphere, servers that exist already, no virsh).
    Raises:
        MachineFailed: the platform refuses.
    """
    platform, platforms = machine.platform or configuration.new.platform, configuration.platforms
    if platform == "container" and platforms.container is not None and container.exists(platforms.container.folder, machine.name):
        container.kill(platforms.container.folder, machine.name)
        return "its container was ended"
    if platform == "libvirt" and platforms.libvirt is not None and shutil.which("virsh"):
        return _virsh(platforms.libvirt.uri, f"{stack}-{machine.name}")
    return None


def _virsh(uri: str, domain: str) -> str:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["virsh", "--connect", uri, *words], capture_output=True, text=True, timeout=VIRSH_SECONDS, check=False)

    try:
        done = ask("destroy", domain)
        state = ask("domstate", domain).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineFailed(f"the power of {domain} can't be cut at {uri}", str(error), "power it off yourself") from None
    if state != "shut off":
        raise MachineFailed(
            f"{domain} at {uri} is {state or 'unknown'} after `virsh destroy`", done.stderr.strip(), "power it off yourself"
        )
    return f"`virsh destroy {domain}`"

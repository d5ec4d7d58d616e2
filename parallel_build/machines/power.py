"""Cutting a new machine's power through its platform, where that can be done from here: for a machine that can't be reached and must not serve."""

from __future__ import annotations

import shutil
import subprocess

from parallel_build.configuration import NewMachine
from parallel_build.machines import vcenter
from parallel_build.machines.container import machine as container
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.resolved_stack import Site

VIRSH_SECONDS = 60.0
OFF = "shut off"


def cut(site: Site, machine: NewMachine) -> str:
    """Cut the power of one of the stack's own machines, or see that it is off or gone.

    Returns:
        by what that is known, in words.
    Raises:
        MachineFailed: the platform refuses, or offers nothing that can be asked from here.
    """
    configuration, platforms = site.configuration, site.configuration.platforms
    platform = configuration.platform_of(machine)
    if platform == "container" and platforms.container is not None and platforms.container.folder.is_dir():
        if not container.exists(platforms.container.folder, machine.name):
            return f"there is no container {machine.name} any more"
        container.kill(platforms.container.folder, machine.name)
        return "its container was ended"
    if platform == "libvirt" and platforms.libvirt is not None:
        if not shutil.which("virsh"):
            raise MachineFailed(
                f"the power of {machine.name} can't be cut from here", "there is no virsh on this machine", "install it (libvirt-clients)"
            )
        return _virsh(platforms.libvirt.uri, f"{site.stack}-{machine.name}")
    if platform == "vsphere" and platforms.vsphere is not None:
        password = site.secrets.vsphere_password
        if password is None:
            raise MachineFailed(
                f"vCenter can't be asked for {machine.name}", "the stack has no secret vspherePassword", "set it, then `pulumi up`"
            )
        folder = platforms.vsphere.folder if machine.vsphere.folder is None else machine.vsphere.folder
        return vcenter.power_off(platforms.vsphere, password, folder, machine.name, site.stack)
    raise MachineFailed(
        f"the power of {machine.name} can't be cut from here", f"platform {platform} offers nothing for it", "switch it off by hand"
    )


def _virsh(uri: str, domain: str) -> str:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["virsh", "--connect", uri, *words], capture_output=True, text=True, timeout=VIRSH_SECONDS, check=False)

    try:
        listed = ask("list", "--all", "--name")
        if listed.returncode == 0 and domain not in listed.stdout.split():
            return f"there is no guest {domain} at {uri} any more"
        ask("autostart", domain, "--disable")  # or its host's next boot would bring it back
        done = ask("destroy", domain)
        state = ask("domstate", domain).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineFailed(f"the power of {domain} can't be cut at {uri}", str(error), "power it off yourself") from None
    if state != OFF:
        raise MachineFailed(
            f"{domain} at {uri} is {state or 'unknown'} after `virsh destroy`", done.stderr.strip(), "power it off yourself"
        )
    return f"`virsh destroy {domain}`"

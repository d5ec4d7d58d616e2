"""Cutting a new machine's power through its platform, where that can be done from here: for a machine that can't be reached and must not serve.

That a platform does not know the machine proves that it is off only where it is the very platform that made it (`made_guest`): the libvirt of another
workstation knows no guest at all.
"""

from __future__ import annotations

from parallel_build.configuration import NewMachine
from parallel_build.machines import vcenter
from parallel_build.machines.container import machine as container
from parallel_build.machines.container import record
from parallel_build.machines.local_commands import MachineFailed
from parallel_build.machines.made_guest import MadeGuest, Virsh, this_computer
from parallel_build.resolved_stack import Site

OFF = "shut off"
MIGRATED = "migrated"


def cut(site: Site, machine: NewMachine, made: MadeGuest | None = None) -> str:
    """Cut the power of one of the stack's own machines, or see that it is off or gone.

    Args:
        made: what it is to the platform that made it, as the window's record has it; without it only what is switched off here counts.
    Returns:
        by what that is known, in words.
    Raises:
        MachineFailed: the platform refuses, or offers nothing that can be asked from here.
    """
    configuration, platforms = site.configuration, site.configuration.platforms
    platform = configuration.platform_of(machine)
    if made is not None and made.platform != platform:
        made = None
    if platform == "container" and platforms.container is not None and platforms.container.folder.is_dir():
        return _container(site, machine, made)
    if platform == "libvirt" and platforms.libvirt is not None:
        return _virsh(Virsh(platforms.libvirt.uri), made.name if made else f"{site.stack}-{machine.name}", made)
    if platform == "vsphere" and platforms.vsphere is not None:
        password = site.secrets.vsphere_password
        if password is None:
            raise MachineFailed(
                f"vCenter can't be asked for {machine.name}",
                "the stack has no secret vspherePassword",
                "`pulumi config set --secret vspherePassword`, then `pulumi up`",
            )
        folder = platforms.vsphere.folder if machine.vsphere.folder is None else machine.vsphere.folder
        known = vcenter.Known(made.host, made.guest) if made else None
        return vcenter.power_off(platforms.vsphere, password, folder, machine.name, site.stack, known)
    raise MachineFailed(
        f"the power of {machine.name} can't be cut from here", f"platform {platform} offers nothing for it", "switch it off by hand"
    )


def _container(site: Site, machine: NewMachine, made: MadeGuest | None) -> str:
    assert site.configuration.platforms.container is not None
    folder = site.configuration.platforms.container.folder
    # In another folder of the same computer there is none of that name either.
    here = made is not None and made.host == this_computer() and made.name in (machine.name, str(folder / machine.name))
    found = record.read(folder / machine.name)
    if found is None or not found.made:
        if here:
            return f"there is no container {machine.name} any more on the computer that made it"
        raise _elsewhere(machine.name, f"there is none in {folder} on this computer", made)
    if (found.host_key != made.guest) if made else (found.address != machine.address):
        raise _elsewhere(machine.name, f"the one in {folder} on this computer is another", made)
    if not here and not container.running(folder, machine.name):
        raise _elsewhere(machine.name, f"the one in {folder} on this computer does not run", made)
    container.kill(folder, machine.name)
    return "its container was ended"


def _virsh(virsh: Virsh, name: str, made: MadeGuest | None) -> str:
    """By its uuid where that is known: a guest of that name may be another's."""
    guest = made.guest if made else name
    here = made is not None and made.host == virsh.host()
    if guest not in virsh.must("list", "--all", "--uuid" if made else "--name").split():
        if here:
            return f"there is no guest {name} any more at {virsh.uri}, the host that made it"
        raise _elsewhere(name, f"there is none at {virsh.uri}", made)
    virsh.ask("autostart", guest, "--disable")  # or its host's next boot would bring it back
    done = virsh.ask("destroy", guest)
    state = virsh.ask("domstate", guest, "--reason").stdout.strip()
    if not state.startswith(OFF):
        raise MachineFailed(
            f"{name} at {virsh.uri} is {state or 'unknown'} after `virsh destroy`", done.stderr.strip(), "power it off yourself"
        )
    if done.returncode != 0 and (not here or MIGRATED in state):
        raise _elsewhere(name, f"the one at {virsh.uri} was {state} already", made)
    return f"`virsh destroy {name}`"


def _elsewhere(name: str, seen: str, made: MadeGuest | None) -> MachineFailed:
    why = (
        f"it was made by host {made.host}, and may run there or where it was moved to"
        if made
        else "the window's record does not say which host made it, and it may run on another"
    )
    return MachineFailed(
        f"{name} can't be asked about from here: {seen}",
        why,
        "run this where its hypervisor is (for libvirt: platforms.libvirt.uri must lead there from here); or power it off yourself",
    )

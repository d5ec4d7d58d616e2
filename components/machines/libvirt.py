"""Machines under libvirt, by pulumi-libvirt 0.5.4: an overlay on one base image, cloud-init, a fixed MAC address on a bridge.

What a machine is made of is fixed when it is made. Most of a domain's settings can only be changed by a new domain
[terraform-provider-libvirt 0.8, resource_libvirt_domain.go], which for a database server means an empty one: later changes of size, image
or cloud-init texts are therefore left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_libvirt as libvirt

from parallel_build.components.machines.machine import MachineRequest
from parallel_build.components.machines.machine import Shared as Around
from parallel_build.components.provided import ProvidedResource
from parallel_build.configuration import LibvirtPlatform, StackConfiguration
from parallel_build.machines.provisioning import mac_address

GIB = 1024**3
# Where the configuration names the type: under emulation everything it can emulate, under KVM the host's own processor.
CPU_MODES = {"qemu": "maximum", "kvm": "host-passthrough"}
# Each would replace the machine.
FIXED = [
    "arch", "cloudinit", "cmdlines", "consoles", "cpu", "disks", "graphics", "initrd", "kernel", "machine", "memory", "type", "vcpu",
]  # fmt: skip


class DomainType(ProvidedResource):
    """`cutover:index:DomainType`: under what guests run, found out when it is made and kept in the state.

    Inputs:
        uri: libvirt's connection.
    Outputs:
        type: `kvm` or `qemu`.
        cpuMode: libvirt's processor mode.
    """

    type: pulumi.Output[str]
    cpuMode: pulumi.Output[str]

    def __init__(self, resource_name: str, *, uri: str) -> None:
        super().__init__("DomainType", resource_name, {"uri": uri, "type": None, "cpuMode": None})


@dataclass(frozen=True)
class Shared:
    """What all machines of a stack share.

    Attributes:
        domain_type: `kvm` or `qemu`.
        cpu_mode: libvirt's processor mode.
    """

    provider: libvirt.Provider
    domain_type: pulumi.Output[str]
    cpu_mode: pulumi.Output[str]
    pool: libvirt.Pool
    base: libvirt.Volume


def foundation(stack: str, configuration: StackConfiguration, shared: Around = Around()) -> Shared:  # noqa: B008 - frozen
    """The connection, the domain type, a storage pool, and the base image in it."""
    settings, prefix = _settings(configuration), shared.prefix
    provider = libvirt.Provider(f"{prefix}libvirt", uri=settings.uri)
    if settings.domain_type == "auto":
        found = DomainType(f"{prefix}domain-type", uri=settings.uri)
        domain_type, cpu_mode = found.type, found.cpuMode
    else:
        domain_type = pulumi.Output.from_input(settings.domain_type)
        cpu_mode = pulumi.Output.from_input(CPU_MODES[settings.domain_type])
    pool = libvirt.Pool(
        f"{prefix}pool",
        name=f"{stack}-parallel-build",
        type="dir",
        target=libvirt.PoolTargetArgs(path=settings.pool_path),
        opts=pulumi.ResourceOptions(provider=provider),
    )
    base = libvirt.Volume(
        f"{prefix}base-image",
        name=f"{stack}-base.qcow2",
        pool=pool.name,
        source=str(settings.image),
        format="qcow2",
        # Another image would replace the volume that every machine's disk is an overlay of.
        opts=pulumi.ResourceOptions(provider=provider, ignore_changes=["source"]),
    )
    return Shared(provider, domain_type, cpu_mode, pool, base)


def build(request: MachineRequest) -> Sequence[pulumi.Resource]:
    """A disk, a cloud-init image and a domain."""
    shared: Shared = request.foundation
    settings, machine, prefix = _settings(request.configuration), request.machine, f"{request.stack}-{request.name}"
    disk = libvirt.Volume(
        request.label("-disk"),
        name=f"{prefix}.qcow2",
        pool=shared.pool.name,
        base_volume_id=shared.base.id,
        size=machine.disk * GIB,
        format="qcow2",
        opts=request.options("-disk", provider=shared.provider, ignore_changes=["baseVolumeId", "size"]),
    )
    seed = libvirt.CloudInitDisk(
        request.label("-cloud-init"),
        name=f"{prefix}-cloud-init.iso",
        pool=shared.pool.name,
        user_data=request.provisioning.apply(lambda given: given.cloud_config()),
        meta_data=request.provisioning.apply(lambda given: given.meta_data()),
        network_config=request.provisioning.apply(lambda given: given.network_config()),
        opts=request.options(
            "-cloud-init",
            provider=shared.provider,
            ignore_changes=["userData", "metaData", "networkConfig"],
            additional_secret_outputs=["userData"],
        ),
    )
    domain = libvirt.Domain(
        request.label(),
        name=prefix,
        type=shared.domain_type,
        machine="pc",  # the cloud-init image is an IDE disk
        vcpu=machine.cpus,
        memory=machine.memory,
        cpu=libvirt.DomainCpuArgs(mode=shared.cpu_mode),
        autostart=True,
        kernel=str(settings.kernel) if settings.kernel else None,
        initrd=str(settings.initrd) if settings.initrd else None,
        cmdlines=kernel_arguments(settings.kernel_arguments) if settings.kernel else None,
        cloudinit=seed.id,
        disks=[libvirt.DomainDiskArgs(volume_id=disk.id)],
        network_interfaces=[
            libvirt.DomainNetworkInterfaceArgs(bridge=settings.bridge, mac=mac_address(request.name, machine.address).upper())
        ],
        consoles=[libvirt.DomainConsoleArgs(type="pty", target_type="serial", target_port="0")],
        graphics=libvirt.DomainGraphicsArgs(type="vnc", listen_type="address", autoport=True),
        opts=request.options(provider=shared.provider, ignore_changes=FIXED, delete_before_replace=True),
    )
    return [disk, seed, domain]


def kernel_arguments(words: Sequence[str]) -> list[dict[str, str]]:
    """The form the plugin wants: `name=value` pairs in one map, each bare word (or repeated name) in a map of its own.

    Put together otherwise, every `up` would replace the domain.
    """
    named: dict[str, str] = {}
    alone: list[dict[str, str]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name not in named:
            named[name] = value
        else:
            alone.append({name: value} if equals else {"_": word})
    return [*([named] if named else []), *alone]


def _settings(configuration: StackConfiguration) -> LibvirtPlatform:
    settings = configuration.platforms.libvirt
    assert settings is not None  # the configuration was refused otherwise
    return settings

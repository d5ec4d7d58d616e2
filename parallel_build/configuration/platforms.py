"""What machines are built on."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from parallel_build.configuration.values import (
    Duration,
    LocalPath,
    Model,
)


class LibvirtPlatform(Model):
    """Settings of pulumi-libvirt.

    Attributes:
        uri: connection, for example `qemu:///system` or `qemu+ssh://root@192.0.2.5/system`.
        image: qcow2 base image with cloud-init.
        kernel: kernel to boot the image with, where it has no boot loader of its own.
        initrd: its initial ram disk.
        kernel_arguments: words of the kernel's command line, used with `kernel`.
        pool_path: folder on the hypervisor that the volumes are kept in.
        bridge: bridge the machines are put on.
        domain_type: `auto` takes KVM only where a guest really runs, else `qemu` (emulation).
    """

    uri: str = "qemu:///system"
    image: LocalPath
    kernel: LocalPath | None = None
    initrd: LocalPath | None = None
    kernel_arguments: list[str] = Field(default_factory=lambda: ["console=ttyS0", "root=/dev/vda", "net.ifnames=0", "rw"])
    pool_path: str
    bridge: str
    domain_type: Literal["auto", "kvm", "qemu"] = "auto"


class ContainerPlatform(Model):
    """Settings of systemd-nspawn machines (lab and tests).

    Attributes:
        root: unpacked root file system, never written to.
        roots: root file systems of single machines, by name, where they need a different one.
        folder: where each machine's own layer and record are kept.
        namespace: network namespace that holds the bridge.
        bridge: bridge in it.
        disks: whether each machine has a disk of its own, of its `disk`, which may become full; else the folder's space.
    """

    root: LocalPath
    roots: dict[str, LocalPath] = Field(default_factory=dict)
    folder: LocalPath
    namespace: str
    bridge: str
    disks: bool = False


class VspherePlatform(Model):
    """Settings of pulumi-vsphere. Objects are named as vCenter shows them; the password is the secret `vspherePassword`.

    Attributes:
        server: vCenter's name or address, with `:port` where it is not 443.
        user: account with the privileges of docs/start/vsphere.md.
        allow_unverified_tls: don't check vCenter's certificate; only for a vCenter on a network that nobody else is on.
        datacenter: name of the data centre.
        cluster: cluster whose root resource pool machines go to; anti-affinity rules are made in it.
        resource_pool: name or inventory path of a resource pool used instead of the cluster's own.
        datastore: datastore of the disks.
        folder: folder below the data centre's VM folder (`cloudstack/new`); empty for that folder itself.
        network: port group or network of the machines' card.
        distributed_switch: distributed switch of that port group, where two port groups have one name.
        template: name or inventory path of the template, with cloud-init and open-vm-tools.
        linked_clone: disks on the template's snapshot instead of copies; such machines need the template for ever.
        anti_affinity: rules that keep source and replica, and the management servers, on different hosts.
        tags: put vCenter tags on the machines that name the stack; without the privilege for it, false.
        reserve_memory: reserve all of a machine's memory, so that the hypervisor never swaps a database out.
        vtpm: give each machine a virtual TPM; needs a key provider in vCenter.
        address_timeout: time limit until a new machine reports its address through VMware Tools, in whole minutes.
    """

    server: str = Field(min_length=1)
    user: str = Field(min_length=1)
    allow_unverified_tls: bool = False
    datacenter: str = Field(min_length=1)
    cluster: str | None = None
    resource_pool: str | None = None
    datastore: str = Field(min_length=1)
    folder: str = ""
    network: str = Field(min_length=1)
    distributed_switch: str | None = None
    template: str = Field(min_length=1)
    linked_clone: bool = False
    anti_affinity: bool = True
    tags: bool = True
    reserve_memory: bool = False
    vtpm: bool = False
    address_timeout: Duration = timedelta(minutes=10)

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        if not re.fullmatch(r"^[A-Za-z0-9.\[\]:_-]+$", value):
            raise ValueError("write vCenter's name or address without https:// and path, such as vcenter.example.com")
        return value

    @field_validator("folder")
    @classmethod
    def _folder(cls, value: str) -> str:
        return value.strip("/")

    @field_validator("address_timeout")
    @classmethod
    def _minutes(cls, value: timedelta) -> timedelta:
        if value < timedelta(minutes=1) or value % timedelta(minutes=1):
            raise ValueError("this time limit is whole minutes, at least 1m")
        return value

    @model_validator(mode="after")
    def _place(self) -> VspherePlatform:
        if not self.cluster and not self.resource_pool:
            raise ValueError("name a cluster or a resourcePool")
        if self.anti_affinity and not self.cluster:
            raise ValueError("antiAffinity needs the cluster that the rules are made in; name it, or set antiAffinity to false")
        return self


class Platforms(Model):
    """Settings of each platform that machines of the stack use; `existing` needs none."""

    libvirt: LibvirtPlatform | None = None
    container: ContainerPlatform | None = None
    vsphere: VspherePlatform | None = None

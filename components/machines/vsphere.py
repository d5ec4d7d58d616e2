"""Machines on vSphere: clones of a template, given their identity by cloud-init through guestinfo variables.

Children of a machine's component: `vsphere:index/virtualMachine:VirtualMachine` and the `Stash` of its origin. Once a stack: the provider,
a tag, and a rule that keeps the database servers on different hosts and one that does so for the management servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_vsphere as vsphere
from pulumi import ErrorHook, ErrorHookArgs, ResourceHookBinding

from parallel_build.components.machines.machine import MachineRequest, Shared
from parallel_build.components.machines.replacement_guard import ReplacementGuard
from parallel_build.components.machines.vsphere_errors import translate
from parallel_build.components.machines.vsphere_guest import REDACTED, USERDATA, guestinfo, mac_address
from parallel_build.components.machines.vsphere_objects import SECTION, Objects, Place
from parallel_build.configuration import StackConfiguration, VspherePlatform
from parallel_build.errors import ConfigurationError, GuardFailed

PASSWORD = "vspherePassword"  # noqa: S105 - the name of the secret
SHUTDOWN_MINUTES = 10  # the longest that the plugin takes; a database server needs its time to write what it holds


def build(request: MachineRequest) -> Sequence[pulumi.Resource]:
    """Clone the machine from its template and power it on.

    A change of size is an update (vSphere may have to shut the machine down for it: the preview says so); a change of the template is a
    replacement, refused from phase `switched` on. Documents for its first boot are never handed to a running machine again.

    """
    center = request.foundation
    assert isinstance(center, Center)
    machine = center.clone(request)
    return [machine, *center.keep_apart(request)]


def foundation(stack: str, configuration: StackConfiguration, shared: Shared = Shared()) -> Center:  # noqa: B008 - frozen
    """Look up what the configuration names, and declare what the stack's machines share: the connection to vCenter, the stack's tag.

    Raises:
        ConfigurationError: the secret with vCenter's password is missing, names are not in vCenter, or a machine does not fit its template.
        ConnectionFailed: vCenter can't be reached, or can't prove who it is.
    """
    prefix = shared.prefix
    settings = configuration.platforms.vsphere
    assert settings is not None  # the configuration was refused otherwise
    password = shared.vsphere_password or pulumi.Config().get_secret(PASSWORD)
    if password is None:
        raise ConfigurationError(
            f"the secret {PASSWORD} is missing",
            f"machines are built in vCenter {settings.server} as {settings.user}",
            f"`pulumi config set --secret {PASSWORD}`; in a program of your own: CloudSecrets(vsphere_password=...)",
        )
    provider = vsphere.Provider(
        f"{prefix}vsphere",
        vsphere_server=settings.server,
        user=settings.user,
        password=password,
        # Always written out: an environment variable of the plugin's could switch the check off unseen.
        allow_unverified_ssl=settings.allow_unverified_tls,
    )
    objects = Objects(settings, provider)
    # Before anything that vCenter would be changed for is declared, so that everything wrong is reported at once and by itself.
    places = objects.places(machine for machine in configuration.built_machines() if configuration.platform_of(machine) == "vsphere")
    return Center(configuration, settings, provider, objects, places, _tag(stack, provider, prefix) if settings.tags else None)


@dataclass
class Center:
    """What the machines of one stack share.

    Attributes:
        places: where each machine goes, by name.
        machines: those declared so far, by name.
    """

    configuration: StackConfiguration
    settings: VspherePlatform
    provider: vsphere.Provider
    objects: Objects
    places: dict[str, Place]
    tag: vsphere.Tag | None
    machines: dict[str, vsphere.VirtualMachine] = field(default_factory=dict)

    def clone(self, request: MachineRequest) -> vsphere.VirtualMachine:
        """Declare one machine."""
        machine, settings = request.machine, self.settings
        place = self.places[machine.name]
        template_key = f"{machine.name}.vsphere.template" if machine.vsphere.template else f"{SECTION}.template"
        hold = ReplacementGuard(request, place.template.name, template_key)
        made = vsphere.VirtualMachine(
            request.label(),
            name=machine.name,
            annotation=f"CloudStack parallel build: stack {request.stack}, machine {machine.name}. Made and deleted by Pulumi.",
            resource_pool_id=place.resource_pool,
            datastore_id=place.datastore,
            folder=place.folder,
            num_cpus=machine.cpus,
            memory=machine.memory,
            memory_reservation=machine.memory if settings.reserve_memory else None,
            memory_reservation_locked_to_max=True if settings.reserve_memory else None,
            vtpm=vsphere.VirtualMachineVtpmArgs(version="2.0") if settings.vtpm else None,
            guest_id=place.template.guest_id,
            firmware=place.template.firmware,
            efi_secure_boot_enabled=True if place.template.secure_boot else None,
            scsi_type=place.template.scsi_type,
            enable_disk_uuid=True,
            clone=vsphere.VirtualMachineCloneArgs(
                template_uuid=hold.checked(place.template.uuid),
                linked_clone=True if settings.linked_clone else None,
            ),
            disks=_disks(request, place),
            network_interfaces=[
                vsphere.VirtualMachineNetworkInterfaceArgs(
                    network_id=place.network,
                    adapter_type=place.template.card,
                    use_static_mac=True,
                    mac_address=mac_address(machine.name, machine.address),
                )
            ],
            extra_config=_first_boot(request),
            tags=[self.tag.id] if self.tag else None,
            # An address counts as reported when the guest can route from it; without a gateway it never could.
            wait_for_guest_net_routable=self.configuration.new.network.gateway is not None,
            wait_for_guest_net_timeout=int(settings.address_timeout.total_seconds() // 60),
            shutdown_wait_timeout=SHUTDOWN_MINUTES,
            opts=request.options(
                provider=self.provider,
                depends_on=[hold.origin],
                delete_before_replace=True,
                # Read at the first boot only, and cleared by the guest after it. A template that was made again under its name
                # must not propose to replace a machine that the cloud runs on.
                ignore_changes=["extraConfig", *(["clone"] if hold.active else [])],
                additional_secret_outputs=["extraConfig"],
                hooks=ResourceHookBinding(
                    before_create=[hold.hook(), _fresh_documents(request)],
                    on_error=[_explain(request, settings)],
                ),
            ),
        )
        self.machines[machine.name] = made
        return made

    def keep_apart(self, request: MachineRequest) -> list[pulumi.Resource]:
        """The rule of the machine's group, once its last member has been declared."""
        if not self.settings.anti_affinity or not self.settings.cluster:
            return []
        database = self.configuration.new.database
        groups = {
            "databases": database.servers,
            "management": self.configuration.new.management,
        }
        for group, members in groups.items():
            mine = [member.name for member in members if self.configuration.platform_of(member) == "vsphere"]
            if request.name in mine and len(mine) > 1 and all(name in self.machines for name in mine):
                cluster, _ = self.objects.cluster(self.settings.cluster)
                rule = vsphere.ComputeClusterVmAntiAffinityRule(
                    request.group_label(f"{group}-apart"),
                    name=f"{request.stack}-{group}-apart",
                    compute_cluster_id=cluster,
                    virtual_machine_ids=[self.machines[name].id for name in mine],
                    opts=request.group_options(f"{group}-apart", provider=self.provider),
                )
                return [rule]
        return []


def _tag(stack: str, provider: vsphere.Provider, prefix: str) -> vsphere.Tag:
    """A tag that names the stack, in a category of the stack's own: categories are one list for a whole vCenter."""
    category = vsphere.TagCategory(
        f"{prefix}stack-category",
        name=f"cloudstack-parallel-build-{stack}",
        cardinality="SINGLE",
        associable_types=["VirtualMachine"],
        description=f"Machines of the Pulumi stack {stack}",
        # vCenter takes the type with a prefix and may give it back with or without; a category's types can't be taken away anyway.
        opts=pulumi.ResourceOptions(provider=provider, ignore_changes=["associableTypes"]),
    )
    return vsphere.Tag(
        f"{prefix}stack-tag",
        name=stack,
        category_id=category.id,
        description=f"Built by the Pulumi stack {stack} of cloudstack-parallel-build",
        opts=pulumi.ResourceOptions(provider=provider),
    )


def _disks(request: MachineRequest, place: Place) -> list[vsphere.VirtualMachineDiskArgs]:
    system = vsphere.VirtualMachineDiskArgs(
        label="system",
        size=request.machine.disk,
        unit_number=0,
        thin_provisioned=place.template.thin,
        eagerly_scrub=place.template.eager,
    )
    data = request.machine.vsphere.data_disk
    if data is None:
        return [system]
    return [
        system,
        vsphere.VirtualMachineDiskArgs(
            label="data",
            size=data,
            unit_number=1,
            thin_provisioned=place.template.thin,
            eagerly_scrub=place.template.eager,
        ),
    ]


def _first_boot(request: MachineRequest) -> pulumi.Output[dict[str, str]]:
    place = request.machine.vsphere
    mount = place.data_mount if place.data_disk is not None else None
    return pulumi.Output.secret(request.provisioning.apply(lambda provisioning: guestinfo(provisioning, mount)))


def _fresh_documents(request: MachineRequest) -> pulumi.ResourceHook:
    """Refuses to make a machine from documents that its predecessor has read and cleared: it would boot without its identity."""

    def before_create(args: pulumi.ResourceHookArgs) -> None:
        extra = (args.new_inputs or {}).get("extraConfig") or {}
        if isinstance(extra, dict) and extra.get(USERDATA) == REDACTED:
            raise GuardFailed(
                f"{request.name} can't be replaced in one go",
                "its documents for the first boot were cleared by the guest, and a refresh has recorded that",
                f"delete it first with `pulumi destroy --target '{args.urn}' --target-dependents`, then run `pulumi up`",
            )

    return pulumi.ResourceHook(f"{request.label()}-documents", before_create, pulumi.ResourceHookOptions(on_dry_run=True))


def _explain(request: MachineRequest, settings: VspherePlatform) -> ErrorHook:
    """Says in the operator's words what vCenter's error means; never asks for another try."""

    def on_error(args: ErrorHookArgs) -> bool:
        pulumi.log.error(str(translate(request.name, settings, args.failed_operation, args.errors[0] if args.errors else "")))
        return False

    return ErrorHook(f"{request.label()}-trouble", on_error)

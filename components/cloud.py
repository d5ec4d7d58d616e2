"""The cloud: what exists, what takes over, how both are reached, and the identity and host keys that are made before anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import pulumi
from pulumi.runtime.settings import get_root_resource

from parallel_build.components.arguments import MISSING, expected, in_its_own_words, refused
from parallel_build.components.cloud_values import SECTIONS, read
from parallel_build.components.component import Component
from parallel_build.components.declared import Stack
from parallel_build.components.identity import StackIdentity
from parallel_build.components.keys import SshHostKey
from parallel_build.components.machines.own import Brought
from parallel_build.components.machines.platforms import PLATFORMS
from parallel_build.components.resolving import Parts, resolve
from parallel_build.components.settings import Settings, read_settings
from parallel_build.records.window import PLACE

Section = Mapping[str, Any] | Any
"""A section as the stack file has one, with its keys in camelCase or snake_case, or the model of `parallel_build.configuration`."""


@dataclass
class CloudSecrets:
    """The secrets of one cloud, each a text or an output; docs/configuration.md says what each opens.

    Attributes:
        original_api_key, original_api_secret: a root administrator's keys on the original.
        cloud_password: password of the database user `cloud` on the new servers.
        replication_password: password of the replication user.
        management_key: key of the new servers' db.properties.
        database_key: key of the values in the database; None reads it from the original's management server.
        vsphere_password: vCenter's, where a machine is built there.
    """

    original_api_key: pulumi.Input[str] = MISSING
    original_api_secret: pulumi.Input[str] = MISSING
    cloud_password: pulumi.Input[str] = MISSING
    replication_password: pulumi.Input[str] = MISSING
    management_key: pulumi.Input[str] = MISSING
    database_key: pulumi.Input[str] | None = None
    vsphere_password: pulumi.Input[str] | None = None

    def given(self) -> dict[str, pulumi.Input[str]]:
        """Those that are set, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


@dataclass
class CloudArgs:
    """What `Cloud` is declared with. Each section is what the stack file calls by the same name; docs/configuration.md has their keys.

    Attributes:
        original: the cloud as it runs: version, management servers, databases, API, hypervisors.
        new: what takes over: version, management servers, databases, network, packages. A server is a section, an `OwnMachine`, or anything
            with `name`, `address` and `host_key`.
        window: users' access, deadline, rollback window, hold point.
        secrets: see `CloudSecrets`.
        phase: `built`, `prepared`, `switched` or `retired`; components declare what belongs to the phases up to it.
        ssh: how servers are reached.
        platforms: where machines are built that are not the program's own.
        transfer, templates, agents, hypervisor_steps, health, parity, acceptance, rehearsal: as in the stack file.
        runs: folder for journals and evidence.
        operator_key: the operator's public SSH key for machines that are built; None reads the file that `ssh` names.
        sealed: texts in these sections that no output may show, next to the secrets.
        label: the name that run folders, window records and built machines bear. Default: the stack's name, with the cloud's name after it
            unless that is `cloud`. It must not change while the stack exists.
    """

    original: Section = MISSING
    new: Section = MISSING
    window: Section = MISSING
    secrets: CloudSecrets = MISSING
    phase: str = "built"
    ssh: Section = field(default_factory=dict)
    platforms: Section = field(default_factory=dict)
    transfer: Section = field(default_factory=dict)
    templates: Sequence[Section] = ()
    agents: Section = field(default_factory=dict)
    hypervisor_steps: Sequence[Section] = ()
    health: Section = field(default_factory=dict)
    parity: Section | None = None
    acceptance: Section = field(default_factory=dict)
    rehearsal: Section = field(default_factory=dict)
    runs: str = "runs"
    operator_key: str | None = None
    sealed: Sequence[str] = ()
    label: str | None = None

    @classmethod
    def from_config(cls) -> Settings:
        """The arguments as the stack's own configuration has them: what the stack program uses.

        Raises:
            ConfigurationError: they can't be used; every finding at once.
        """
        return read_settings()

    def sections(self) -> dict[str, Any]:
        """The sections by their names here, without those that are empty."""
        found = {name: getattr(self, name) for name in SECTIONS}
        return {name: value for name, value in found.items() if value is not None and value != () and value != {}}


class Cloud(Component):
    """`cutover:components:Cloud`: one cloud; every other component takes it.

    Children: `StackIdentity`, and an `SshHostKey` for each machine that the stack builds.

    Args:
        name: the component's name.
        args: `CloudArgs`, or what `CloudArgs.from_config()` gives.
        opts: Pulumi's options.
    Attributes:
        phase: the phase that the cloud is to be in.
        host: what CloudStack's setting `host` becomes.
        addresses: of the new machines, by name.
        host_keys: public SSH host keys of the new machines, by name, as far as they are known here.
        versions: `original` and `new`.
        record: where the window's record is: server and file.
    Raises:
        ArgumentsRefused: an argument can't be used; named with the component, cause and remedy.
    """

    ROOT: ClassVar[str] = "cloud"
    """The name of the stack program's own cloud. Up to version 0.1.0 its children had no parent."""

    phase: pulumi.Output[str]
    host: pulumi.Output[str]
    addresses: pulumi.Output[Mapping[str, str]]
    host_keys: pulumi.Output[Mapping[str, str]]
    versions: pulumi.Output[Mapping[str, str]]
    record: pulumi.Output[str]

    @in_its_own_words
    def __init__(self, name: str, args: CloudArgs | Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        brought, late = Brought(), None
        if isinstance(args, Settings):
            settings = args
        else:
            given = expected("Cloud", name, "args", args, CloudArgs)
            label = given.label or (pulumi.get_stack() if name == self.ROOT else f"{pulumi.get_stack()}-{name}")
            settings, late = read(name, label, given, brought)
        _claim(name, settings.stack)
        super().__init__(name, opts)
        self.declared = self._declare(settings, brought, late)
        self._register()

    def former(self, label: str) -> list[pulumi.Alias]:
        """A child's earlier name: without a parent."""
        return [pulumi.Alias(name=label, parent=pulumi.ROOT_STACK_RESOURCE)] if self.name == self.ROOT else []

    def _declare(self, settings: Settings, brought: Brought, late: pulumi.Output[dict[str, str]] | None) -> Stack:
        configuration = settings.configuration
        keys = {
            machine.name: SshHostKey(
                self.child(f"{machine.name}-host-key"), name=machine.name, opts=self.options(f"{machine.name}-host-key")
            )
            for machine in configuration.built_machines()
            if PLATFORMS[configuration.platform_of(machine)].makes_host_key
        }
        known: dict[str, pulumi.Output[str]] = {**{name: key.public_key for name, key in keys.items()}, **brought.keys}
        parts = Parts(self.name, settings, known, brought.addresses, late)
        identity = StackIdentity(
            self.child("identity"),
            former=parts.derived_identity(),
            stack=settings.stack,
            phase=configuration.phase.value,
            machines={
                machine.name: f"{machine.address} on {configuration.platform_of(machine)}" for machine in configuration.new_machines()
            },
            adopt=configuration.window.adopt,
            opts=self.options("identity"),
        )
        texts: pulumi.Output[list[str]] | None = late.apply(lambda found: list(found.values())) if late is not None else None
        prefix = "" if self.name == self.ROOT else f"{self.name}-"
        return Stack(settings, keys, resolve(parts, identity.identities), {}, prefix, brought, texts, late)

    def _register(self) -> None:
        stack, configuration = self.declared, self.declared.configuration
        machines = list(configuration.new_machines())
        addresses: dict[str, pulumi.Input[str]] = {each.name: stack.brought.addresses.get(each.name, each.address) for each in machines}
        keys = {each.name: key for each in machines if (key := stack.key_of(each.name)) is not None}
        self.phase = pulumi.Output.from_input(configuration.phase.value)
        self.addresses = pulumi.Output.all(**addresses)
        self.host_keys = pulumi.Output.all(**keys)
        servers = [addresses[each.name] for each in configuration.new.management]
        balancer = configuration.new.load_balancer
        self.host = pulumi.Output.from_input(balancer) if balancer else pulumi.Output.all(*servers).apply(",".join)
        self.versions = pulumi.Output.from_input({"original": str(configuration.original.version), "new": str(configuration.new.version)})
        self.record = pulumi.Output.from_input(f"{configuration.original.database.source.name}:{PLACE}")
        names = {"phase": self.phase, "host": self.host, "addresses": self.addresses, "hostKeys": self.host_keys}
        self.register_outputs({**names, "versions": self.versions, "record": self.record})


def _claim(name: str, label: str) -> None:
    """Rule: no two clouds of a program share a label: run folder, record and machines bear it.

    Raises:
        ArgumentsRefused: a cloud that was declared before has it.
    """
    root = get_root_resource()
    taken: dict[str, str] = root.__dict__.setdefault("_parallel_build_labels", {}) if root is not None else {}
    if taken.setdefault(label, name) != name:
        raise refused(
            "Cloud", name, "args.label", f"is {label!r}, and cloud {taken[label]!r} has it already",
            "run folders, window records and built machines bear it", "give each cloud its own label",
        )  # fmt: skip


def declare_stack(settings: Settings) -> Stack:
    """The stack program's own cloud, for a program that declares single steps of it."""
    return Cloud(Cloud.ROOT, settings).declared

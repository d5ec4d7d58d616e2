"""The cloud: what exists, what takes over, how both are reached, and the identity and host keys that are made before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pulumi
from pulumi.runtime.settings import get_root_resource

from parallel_build.components.arguments import expected, in_its_own_words, refused
from parallel_build.components.cloud_args import CloudArgs
from parallel_build.components.cloud_values import read
from parallel_build.components.component import Component
from parallel_build.components.declared import Stack
from parallel_build.components.identity import StackIdentity
from parallel_build.components.keys import SshHostKey
from parallel_build.components.machines.platforms import PLATFORMS
from parallel_build.components.own import Brought
from parallel_build.components.resolving import Parts, resolve
from parallel_build.components.settings import Settings
from parallel_build.records.window import PLACE


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
        texts: pulumi.Output[list[str]] | None = texts_of(late) if late is not None else None
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


def texts_of(secrets: pulumi.Output[dict[str, str]]) -> pulumi.Output[list[str]]:
    """The texts of secrets that are known; in a preview some may not be."""

    def known(found: object) -> list[str]:
        return [text for text in found.values() if isinstance(text, str)] if isinstance(found, dict) else []

    return secrets.apply(known, run_with_unknowns=True)


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

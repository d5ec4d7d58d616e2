"""vCenter's objects, looked up by the names in the configuration; what is missing is named with its setting and a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import pulumi
import pulumi_vsphere as vsphere

from parallel_build.configuration import NewMachine, VspherePlatform
from parallel_build.errors import ConfigurationError, ConnectionFailed, ParallelBuildError

SECTION = "platforms.vsphere"
T = TypeVar("T")

_UNREACHABLE = re.compile(
    r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|context deadline|connection reset|"
    r"server misbehaving|Client\.Timeout|: EOF",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"x509:|certificate", re.IGNORECASE)
_LOGIN = re.compile(r"incorrect user name or password|InvalidLogin|Login failure|cannot complete login", re.IGNORECASE)
_PERMISSION = re.compile(r"NoPermission|permission to perform this operation was denied", re.IGNORECASE)


def stack_folder(settings: VspherePlatform, place: str) -> str:
    """The inventory path of a folder below the data centre's VM folder."""
    return f"/{settings.datacenter}/vm/{place}"


def reason(error: Exception) -> str:
    """The plugin's own words in one line, without what the engine and the bridge wrap around them."""
    text = " ".join(str(error).split())
    return re.sub(r"^.*returned an error: (?:invoking \S+: )?", "", text)[:400]


def explain(error: Exception, settings: VspherePlatform) -> ParallelBuildError | None:
    """A failure that is vCenter's as a whole and not one name's, or None."""
    text, words = str(error), reason(error)
    if _CERTIFICATE.search(text):
        return ConnectionFailed(
            f"vCenter {settings.server} shows a certificate that can't be verified",
            words,
            f"put vCenter's CA into this machine's trust store (or name its file in SSL_CERT_FILE), and write {SECTION}.server as the "
            "certificate has it; docs/start/vsphere.md says how to fetch it",
        )
    if _LOGIN.search(text):
        return ConfigurationError(
            f"vCenter {settings.server} refuses to log {settings.user} in",
            words,
            f"check {SECTION}.user and the secret vspherePassword (`pulumi config set --secret vspherePassword`)",
        )
    if _UNREACHABLE.search(text):
        return ConnectionFailed(
            f"vCenter {settings.server} can't be reached",
            words,
            f"check {SECTION}.server, that vCenter is up and that this machine reaches it by https; nothing has been changed",
        )
    if _PERMISSION.search(text):
        return ConfigurationError(
            f"{settings.user} may not see what this stack needs in vCenter {settings.server}",
            words,
            "give the account the privileges listed in docs/start/vsphere.md",
        )
    return None


@dataclass(frozen=True)
class Template:
    """What a machine takes over from its template."""

    name: str
    uuid: str
    guest_id: str
    firmware: str
    scsi_type: str
    card: str
    disk_size: int
    thin: bool
    eager: bool
    secure_boot: bool


@dataclass(frozen=True)
class Place:
    """Where one machine goes: vCenter's own ids.

    Attributes:
        folder: path relative to the data centre's VM folder, as a machine takes it; None for that folder itself.
    """

    resource_pool: str
    datastore: str
    folder: str | None
    network: str
    template: Template


class Objects:
    """The look-ups of one program run, each made once.

    Args:
        settings: the configuration's section.
        provider: the vSphere provider.
    """

    def __init__(self, settings: VspherePlatform, provider: vsphere.Provider) -> None:
        self.settings = settings
        self._options = pulumi.InvokeOptions(provider=provider)
        self._found: dict[tuple[str, str], Any] = {}
        self._datacenter: str | None = None

    def places(self, machines: Iterable[NewMachine]) -> dict[str, Place]:
        """Look up everything that the machines need; by machine.

        Raises:
            ConfigurationError: names every object that vCenter does not have, and every machine that its template does not fit, all at once.
            ConnectionFailed: vCenter can't be reached or can't prove who it is.
        """
        wrong: list[ConfigurationError] = []
        found: dict[str, Place] = {}
        for machine in machines:
            place = self._place(machine, wrong)
            if place is None:
                continue
            found[machine.name] = place
            if machine.disk < place.template.disk_size:
                wrong.append(
                    ConfigurationError(
                        f"{machine.name}: disk {machine.disk} GiB is smaller than the template's {place.template.disk_size} GiB",
                        "a clone's disk can grow, not shrink",
                        f"set its disk to at least {place.template.disk_size}, or use a template with a smaller disk",
                    )
                )
        if wrong:
            raise _together(wrong)
        return found

    def _place(self, machine: NewMachine, wrong: list[ConfigurationError]) -> Place | None:
        """One machine's place; what is missing is added to `wrong`."""
        settings, own, key = self.settings, machine.vsphere, f"{machine.name}.vsphere"

        def named(mine: str | None, setting: str, common: str | None) -> tuple[str, str]:
            """The name that counts for this machine, and the key it is written under."""
            return (mine, f"{key}.{setting}") if mine is not None else (common or "", f"{SECTION}.{setting}")

        def find(kind: str, name: tuple[str, str], look: Callable[[str], T]) -> T | None:
            return attempt(lambda: self._look_up(kind, name[0], name[1], look))

        def attempt(look: Callable[[], T]) -> T | None:
            try:
                return look()
            except ConfigurationError as error:
                wrong.append(error)
                return None

        center = self._datacenter_id()
        pool: str | None
        if own.resource_pool or settings.resource_pool:
            pool = find(
                "resource pool",
                named(own.resource_pool, "resourcePool", settings.resource_pool),
                lambda name: vsphere.get_resource_pool(name=name, datacenter_id=center, opts=self._options).id,
            )
        else:
            pool = attempt(lambda: self.cluster(settings.cluster or "")[1])
        datastore = find(
            "datastore",
            named(own.datastore, "datastore", settings.datastore),
            lambda name: vsphere.get_datastore(name=name, datacenter_id=center, opts=self._options).id,
        )
        folder = (own.folder.strip("/") if own.folder is not None else settings.folder) or None
        if folder:
            find(
                "folder",
                (folder, named(own.folder, "folder", settings.folder)[1]),
                lambda name: vsphere.get_folder(path=stack_folder(settings, name), opts=self._options).id,
            )
        network = find("network", named(own.network, "network", settings.network), self._network(center))
        template = find("template", named(own.template, "template", settings.template), self._template(center))
        if pool is None or datastore is None or network is None or template is None:
            return None
        return Place(pool, datastore, folder, network, template)

    def cluster(self, name: str) -> tuple[str, str]:
        """A cluster's id and its root resource pool's.

        Raises:
            ConfigurationError, ConnectionFailed: as `places`.
        """
        center = self._datacenter_id()

        def look(wanted: str) -> tuple[str, str]:
            found = vsphere.get_compute_cluster(name=wanted, datacenter_id=center, opts=self._options)
            return found.id, found.resource_pool_id

        return self._look_up("cluster", name, f"{SECTION}.cluster", look)

    def _datacenter_id(self) -> str:
        if self._datacenter is None:
            self._datacenter = self._look_up(
                "data centre",
                self.settings.datacenter,
                f"{SECTION}.datacenter",
                lambda name: vsphere.get_datacenter(name=name, opts=self._options).id,
            )
        return self._datacenter

    def _network(self, center: str) -> Callable[[str], str]:
        settings = self.settings

        def look(name: str) -> str:
            switch = None
            if settings.distributed_switch:
                switch = self._look_up(
                    "distributed switch",
                    settings.distributed_switch,
                    f"{SECTION}.distributedSwitch",
                    lambda wanted: vsphere.get_distributed_virtual_switch(name=wanted, datacenter_id=center, opts=self._options).id,
                )
            return vsphere.get_network(name=name, datacenter_id=center, distributed_virtual_switch_uuid=switch, opts=self._options).id

        return look

    def _template(self, center: str) -> Callable[[str], Template]:
        def look(name: str) -> Template:
            found = vsphere.get_virtual_machine(name=name, datacenter_id=center, opts=self._options)
            return describe_template(name, found)

        return look

    def _look_up(self, kind: str, name: str, setting: str, look: Callable[[str], T]) -> T:
        if (kind, name) in self._found:
            known: T = self._found[kind, name]
            return known
        try:
            found = look(name)
        except ParallelBuildError:
            raise
        except Exception as error:  # What an invoke raises has no class of its own.
            general = explain(error, self.settings)
            if general:
                raise general from None
            raise ConfigurationError(
                f"{setting}: vCenter {self.settings.server} has no {kind} {name!r} that can be used",
                reason(error),
                "write the name as the vSphere Client shows it, letter by letter; an inventory path distinguishes two of one name",
            ) from None
        self._found[kind, name] = found
        return found


def describe_template(name: str, found: vsphere.GetVirtualMachineResult) -> Template:
    """What is needed of a template.

    Raises:
        ConfigurationError: it has not exactly one disk, or no network card.
    """
    disks = found.disks or []
    if len(disks) != 1:
        raise ConfigurationError(
            f"the template {name} has {len(disks)} disks",
            "machines are made with one system disk of the template's, and their own data disk",
            "use a template with exactly one disk on a SCSI controller",
        )
    cards = found.network_interface_types or []
    return Template(
        name=name,
        uuid=found.id,
        guest_id=found.guest_id or "",
        firmware=found.firmware or "bios",
        scsi_type=found.scsi_type,
        card=cards[0] if cards else "vmxnet3",
        disk_size=disks[0].size,
        thin=disks[0].thin_provisioned,
        eager=disks[0].eagerly_scrub,
        secure_boot=bool(found.efi_secure_boot_enabled),
    )


def _together(wrong: list[ConfigurationError]) -> ConfigurationError:
    """Several findings as one error, so that an operator corrects them in one go."""
    wrong = list({error.fact: error for error in wrong}.values())
    if len(wrong) == 1:
        return wrong[0]
    facts = "\n  ".join(f"{error.fact} ({error.cause})" for error in wrong)
    remedies = list(dict.fromkeys(error.remedy for error in wrong if error.remedy))
    return ConfigurationError(
        f"the machines can't be built in vCenter as they are configured:\n  {facts}\n",
        "vCenter has other things than the configuration names",
        "; ".join(remedies),
    )

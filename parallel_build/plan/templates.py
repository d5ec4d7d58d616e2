"""System VM templates that the target asks for: names, files and checksums as its own package has them, for what this cloud runs.

The package's metadata.ini has a section for each hypervisor and architecture [CloudStack engine/schema/templateConfig.sh]. Before 4.16 there is none; then the
name follows from the release, and there is neither address nor checksum.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from parallel_build.cloudstack.releases import UNPUBLISHED, needs, series
from parallel_build.configuration import Template
from parallel_build.errors import ConfigurationError
from parallel_build.plan.package import TargetPackage
from parallel_build.versions import CloudStackVersion

ARCHITECTURES = CloudStackVersion("4.20.0.0")
# metadata.ini's names of hypervisors -> the API's name and the format of its file.
HYPERVISORS = {
    "kvm": ("KVM", "QCOW2"), "vmware": ("VMware", "OVA"), "xenserver": ("XenServer", "VHD"), "hyperv": ("Hyperv", "VHD"), "lxc": ("LXC", "QCOW2"),
    "ovm3": ("Ovm3", "RAW"),
}  # fmt: skip
OTHER_SYSTEM = ("VMware", "XenServer")  # registered as "Other Linux (64-bit)", the others as Debian [_sysvm_templates.rst]
DEBIAN, OTHER = "Debian GNU/Linux 12 (64-bit)", "Other Linux (64-bit)"
MD5, SHA512 = 32, 128


@dataclass(frozen=True)
class PlannedTemplate:
    """A template that the target looks up under this name.

    Attributes:
        hypervisor, arch, name, format, os_type: as the API registers it; arch "" where the release knows none.
        url: where the package says that it is; "" where it does not.
        checksum: as the API takes it; "" where the package has none.
        file: its file's name, "" where it is not known.
        packed: the hypervisor and architecture are in the package's table.
    """

    hypervisor: str
    arch: str
    name: str
    format: str
    os_type: str
    url: str = ""
    checksum: str = ""
    file: str = ""
    packed: bool = True

    def entry(self) -> dict[str, str]:
        """As an entry of the stack's `templates`."""
        found = {"hypervisor": self.hypervisor, "name": self.name, "url": self.url, "format": self.format, "osType": self.os_type}
        return found | ({"checksum": self.checksum} if self.checksum else {}) | ({"arch": self.arch} if self.arch else {})

    def problem(self) -> str:
        """Why it can't be registered as it is, "" where it can."""
        if not self.packed:
            return "the package has no such template: register your own under that name, or place its file in the package's folder first (issue 12077)"
        return "" if self.url else "the package names no address for it: name the folder that has its file with --mirror URL"


def used(clusters: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Hypervisors and architectures of clusters: rows of the database or items of listClusters."""
    names = {api.lower(): api for api, _ in HYPERVISORS.values()}
    found = set()
    for each in clusters:
        kind = str(each.get("hypervisor_type") or each.get("hypervisortype") or "").lower()
        if kind in names:
            found.add((names[kind], str(each.get("arch") or "x86_64")))
    return sorted(found)


def planned(
    version: CloudStackVersion, package: TargetPackage | None, wanted: Iterable[tuple[str, str]], mirror: str = ""
) -> list[PlannedTemplate]:
    """The templates for what is in use.

    Args:
        version: the target.
        package: its package, None where there is none to be read.
        wanted: hypervisors and architectures.
        mirror: address of a folder that has the files, in place of the package's addresses.
    Raises:
        ConfigurationError: the package's table can't be read.
    """
    offered = table(package) if package and package.metadata is not None else None
    found = []
    for hypervisor, arch in wanted:
        template = offered.get((hypervisor, arch)) if offered is not None else _by_release(version, hypervisor, arch)
        template = template or _by_release(version, hypervisor, arch, packed=False)
        if mirror and template.file:
            template = replace(template, url=f"{mirror.rstrip('/')}/{template.file}")
        found.append(template)
    return found


def table(package: TargetPackage) -> dict[tuple[str, str], PlannedTemplate]:
    """The package's own table, by hypervisor and architecture.

    Raises:
        ConfigurationError: it is no such table.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(package.metadata or "")
    except configparser.Error as error:
        raise ConfigurationError(
            f"the table of templates of {package.where} can't be read", " ".join(str(error).split()), "name another copy of the package"
        ) from None
    default = {name.lower(): parser[name] for name in parser.sections()}.get("default")
    repository = default.get("downloadrepository", "") if default is not None else ""
    found = {}
    for name in parser.sections():
        kind, _, arch = name.lower().partition("-")
        if kind not in HYPERVISORS or "templatename" not in parser[name]:
            continue
        api, form = HYPERVISORS[kind]
        section = parser[name]
        file = section.get("filename", "")
        arch = section.get("arch", arch) or "x86_64"
        url = section.get("downloadurl", "") or (
            f"{repository.rstrip('/')}/{series(package.version)}/{file}" if repository and file else ""
        )
        found[api, arch] = PlannedTemplate(
            api, arch if package.version >= ARCHITECTURES else "", section["templatename"], form, section.get("guestos", _system(api)),
            url, checksum(section.get("checksum", "")), file or url.rpartition("/")[2],
        )  # fmt: skip
    return found


def checksum(text: str) -> str:
    """As registerTemplate takes it: an MD5 bare, a SHA-512 with its name [md5 up to 4.21.0, sha512 from 4.22.0]."""
    digits = text.strip().lower()
    if not re.fullmatch(r"[0-9a-f]+", digits):
        return text.strip() if text.strip().startswith("{") else ""
    return {MD5: digits, SHA512: f"{{SHA-512}}{digits}"}.get(len(digits), "")


def _by_release(version: CloudStackVersion, hypervisor: str, arch: str, *, packed: bool = True) -> PlannedTemplate:
    """What the name must be where no package says it."""
    kind, (_, form) = next((kind, api) for kind, api in HYPERVISORS.items() if api[0] == hypervisor)
    template, by_arch = needs(version).template, version >= ARCHITECTURES
    name = "" if template == UNPUBLISHED else f"systemvm-{kind}-{template}" + (f"-{arch}" if by_arch else "")
    return PlannedTemplate(hypervisor, arch if by_arch else "", name, form, _system(hypervisor), packed=packed)


def _system(hypervisor: str) -> str:
    return OTHER if hypervisor in OTHER_SYSTEM else DEBIAN


def as_configured(templates: Iterable[PlannedTemplate]) -> list[Template]:
    """Those that can be registered, as the stack has them."""
    return [Template.model_validate(each.entry()) for each in templates if each.url and each.name]

"""Rows of `configuration`, `configuration_group` and `configuration_subgroup`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from lab.database.errors import SchemaError

ENCRYPTED_CATEGORIES = frozenset({"Hidden", "Secure"})

# (name, precedence) of the groups, and (name, group) of the subgroups, with the ids that CloudStack 4.20 gives them
GROUPS = (
    ("Miscellaneous", 999), ("Access", 1), ("Compute", 2), ("Storage", 3), ("Network", 4), ("Hypervisor", 5),
    ("Management Server", 6), ("System VMs", 7), ("Infrastructure", 8), ("Usage Server", 9),
)  # fmt: skip
SUBGROUPS = (
    ("Others", 1), ("Account", 2), ("Domain", 2), ("Project", 2), ("LDAP", 2), ("SAML", 2), ("Virtual Machine", 3),
    ("Kubernetes", 3), ("High Availability", 3), ("Images", 4), ("Volume", 4), ("Snapshot", 4), ("VM Snapshot", 4),
    ("Network", 5), ("DHCP", 5), ("VPC", 5), ("LoadBalancer", 5), ("API", 7), ("Alerts", 7), ("Events", 7),
    ("Security", 7), ("Usage", 10), ("Limits", 7), ("Jobs", 7), ("Agent", 7), ("Hypervisor", 6), ("KVM", 6),
    ("VMware", 6), ("XenServer", 6), ("OVM", 6), ("Baremetal", 6), ("ConsoleProxyVM", 8), ("SecStorageVM", 8),
    ("VirtualRouter", 8), ("Diagnostics", 8), ("Primary Storage", 9), ("Secondary Storage", 9),
    ("Backup & Recovery", 1),
    ("Certificate Authority", 1), ("Quota", 1), ("Cloudian", 1), ("DRS", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One global setting as CloudStack defines it; `default` is clear text, or None."""

    name: str
    component: str
    category: str
    scope: str | None
    dynamic: bool
    subgroup: int
    default: str | None
    description: str

    @property
    def encrypted(self) -> bool:
        """Whether its value is stored encrypted."""
        return self.category in ENCRYPTED_CATEGORIES


@cache
def settings() -> tuple[Setting, ...]:
    """All settings of `schema/settings.txt`. Raises SchemaError if a line does not fit or a name comes twice."""
    found: dict[str, Setting] = {}
    section: list[str] = []
    text = resources.files("lab.database").joinpath("schema/settings.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = [part.strip() for part in line.strip("[]").split("|")]
            continue
        name, equals, rest = (part.strip() for part in line.partition("="))
        if len(section) != 5 or not equals or name in found:
            raise SchemaError(f"settings.txt: {line!r} has no section, no value, or comes twice")
        default, _, description = (" " + rest).partition("->")
        component, category, scope, dynamic, subgroup = section
        found[name] = Setting(
            name=name,
            component=component,
            category=category,
            scope=scope or None,
            dynamic=dynamic == "dynamic",
            subgroup=int(subgroup),
            default=default.strip() or None,
            description=description.strip() or display_text(name) + ".",
        )
    return tuple(found.values())


def display_text(name: str) -> str:
    """The short text that CloudStack makes of a setting's name: words, the first with a capital."""
    words = name.replace(".", " ")
    return words[:1].upper() + words[1:]


def configuration_rows(values: Mapping[str, str], updated: object) -> Iterator[tuple[Setting, dict[str, object]]]:
    """Rows of `configuration` in clear text, each with its setting.

    Args:
        values: values that differ from the defaults.
        updated: what to put into `updated` for settings that a server keeps up to date.

    Raises:
        SchemaError: `values` names a setting that there is none of.
    """
    unknown = set(values) - {setting.name for setting in settings()}
    if unknown:
        raise SchemaError(f"values for settings that are not in settings.txt: {', '.join(sorted(unknown))}")
    for setting in settings():
        yield (
            setting,
            {
                "category": setting.category,
                "instance": "DEFAULT",
                "component": setting.component,
                "name": setting.name,
                "value": values.get(setting.name, setting.default),
                "description": setting.description,
                "default_value": setting.default,
                "updated": updated if setting.scope else None,
                "scope": setting.scope,
                "is_dynamic": setting.dynamic,
                "group_id": SUBGROUPS[setting.subgroup - 1][1],
                "subgroup_id": setting.subgroup,
                "display_text": display_text(setting.name),
                "kind": "CSV" if setting.name in ("host", "api.allowed.source.cidr.list") else None,
            },
        )

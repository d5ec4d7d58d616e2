"""Guest operating systems and templates, the system VM's among them."""

from __future__ import annotations

from lab.database.content.infrastructure import PODS, ZONE
from lab.database.content.world import Template, World

FACTORY_TEMPLATE = "SystemVM Template (KVM)"
SYSTEM_TEMPLATE = "systemvm-kvm-4.20.2-x86_64"
SYSTEM_VERSION = "4.20.2"
_GIB = 1 << 30
_SYSTEM_URL = "http://download.cloudstack.org/systemvm/{minor}/systemvmtemplate-{version}-kvm.qcow2.bz2"
# what an operator who came from 4.9 has registered on the way: name, minor version, version, days ago, removed
_HISTORY = (
    ("systemvm-kvm-4.6", "4.6", "4.6.0", 3100, 1900),
    ("systemvm-kvm-4.11.3", "4.11", "4.11.3", 1950, 1300),
    ("systemvm-kvm-4.16.1", "4.16", "4.16.1", 1350, 800),
    ("systemvm-kvm-4.19.1", "4.19", "4.19.1", 820, None),
)
_CATEGORIES = {
    "CentOS": ("5.10", "6.10", "7.9", "8.5"),
    "Debian": ("GNU/Linux 7(64-bit)", "GNU/Linux 10 (64-bit)", "GNU/Linux 11 (64-bit)", "GNU/Linux 12 (64-bit)"),
    "Oracle": ("Linux 7", "Linux 8", "Linux 9"),
    "RedHat": ("Enterprise Linux 7.9", "Enterprise Linux 8.6", "Enterprise Linux 9.2"),
    "SUSE": ("Linux Enterprise Server 12", "Linux Enterprise Server 15"),
    "Windows": ("Server 2016 (64-bit)", "Server 2019 (64-bit)", "Server 2022 (64-bit)", "10 (64-bit)", "11 (64-bit)"),
    "Other": ("Linux (64-bit)", "Linux (32-bit)", "PV (64-bit)", "CoreOS"),
    "Ubuntu": ("18.04 LTS", "20.04 LTS", "22.04 LTS", "24.04 LTS"),
    "FreeBSD": ("12 (64-bit)", "13 (64-bit)"),
    "Novel": (),
    "Unix": ("Solaris 10", "Solaris 11"),
}
_SYSTEM_OS = "Debian GNU/Linux 12 (64-bit)"
_USER_TEMPLATES = (
    ("debian-12-base", "Debian GNU/Linux 12 (64-bit)", 4, "Debian 12 with cloud-init"),
    ("ubuntu-24.04", "Ubuntu 24.04 LTS", 8, "Ubuntu 24.04 🐧"),
    ("rocky-9", "RedHat Enterprise Linux 9.2", 10, "Rocky Linux 9, \"minimal\"; C:\\not\\a\\path"),
    ("win2022", "Windows Server 2022 (64-bit)", 60, "Windows Server 2022 – Größe 60 GB"),
)  # fmt: skip


def build(world: World) -> None:
    """Add operating systems and templates; `world.templates` gets those that users may choose."""
    systems = _guest_systems(world)
    debian = systems[_SYSTEM_OS]
    _template(
        world, 3, FACTORY_TEMPLATE, "routing-3", "SYSTEM", debian, 3000, None, 3 * _GIB,
        _SYSTEM_URL.format(minor="4.6", version="4.6.0"), system=True,
    )  # fmt: skip
    _template(
        world, 4, "CentOS 5.5(64-bit) no GUI (KVM)", "centos55-x86_64", "BUILTIN", systems["CentOS 5.10 (64-bit)"],
        3190, None,
        8 * _GIB, "http://download.cloudstack.org/releases/2.2.0/eec2209b-9875-3c8d-92be-c001bd8a0faf.qcow2.bz2",
        system=False,
    )  # fmt: skip
    world.start_ids("vm_template", 201)
    for name, minor, version, days, removed in _HISTORY:
        _template(
            world, None, name, None, "SYSTEM", debian, days, removed, 3 * _GIB,
            _SYSTEM_URL.format(minor=minor, version=version), system=True,
        )  # fmt: skip
    _template(
        world, None, SYSTEM_TEMPLATE, None, "SYSTEM", debian, 200, None, 5 * _GIB,
        _SYSTEM_URL.format(minor="4.20", version=f"{SYSTEM_VERSION}-x86_64"), system=True,
    )  # fmt: skip
    for name, system, size, text in _USER_TEMPLATES:
        identity = _template(
            world, None, name, None, "USER", systems[system], 900, None, size * _GIB,
            f"http://images.example.test/{name}.qcow2",
            system=False, text=text,
        )  # fmt: skip
        world.templates.append(Template(identity, name, systems[system], size * _GIB))


def system_template(world: World) -> Template:
    """The template that system VMs and routers of the original run."""
    for row in world.rows["cloud", "vm_template"]:
        if row["name"] == SYSTEM_TEMPLATE:
            return Template(int(str(row["id"])), SYSTEM_TEMPLATE, int(str(row["guest_os_id"])), 5 * _GIB)
    raise KeyError(SYSTEM_TEMPLATE)


def _guest_systems(world: World) -> dict[str, int]:
    systems: dict[str, int] = {}
    for category, versions in _CATEGORIES.items():
        category_id = world.add("guest_os_category", name=category)
        for version in versions:
            names = [f"{category} {version}"] if "bit" in version or "LTS" in version else [
                f"{category} {version} ({bits}-bit)" for bits in (32, 64)
            ]  # fmt: skip
            if version.startswith("Enterprise Linux 9"):
                names = [f"{category} {version}"]
            for name in names:
                identity = systems[name] = world.add("guest_os", category_id=category_id, display_name=name, created=world.ago(3190))
                for hypervisor, mapped in (
                    ("KVM", name),
                    ("XenServer", name),
                    ("VMware", name.lower().replace(" ", "") + "Guest"),
                ):
                    world.add(
                        "guest_os_hypervisor", hypervisor_type=hypervisor, guest_os_name=mapped, guest_os_id=identity,
                        created=world.ago(3190),
                    )  # fmt: skip
    for hypervisor, version, guests in (("KVM", "default", 50), ("VMware", "8.0", 128), ("XenServer", "8.2.0", 1000)):
        world.add("hypervisor_capabilities", hypervisor_type=hypervisor, hypervisor_version=version, max_guests_limit=guests)
    return systems


def _template(
    world: World, identity: int | None, name: str, unique: str | None, kind: str, system_id: int, days: float,
    removed: float | None, size: int, url: str, *, system: bool, text: str | None = None,
) -> int:  # fmt: skip
    source = world.random("templates")
    identity = identity or world.next_id("vm_template")
    gone = world.ago(removed) if removed is not None else None
    world.add(
        "vm_template", id=identity, unique_name=unique or f"{identity}-2-{world.uuid('templates')}", name=name,
        public=not system,
        featured=not system, type=kind, hvm=kind == "USER", bits=64, url=url, format="QCOW2", created=world.ago(days),
        removed=gone,
        account_id=1 if unique else 2, checksum=f"{{SHA-512}}{source.randbytes(64).hex()}", display_text=text or name,
        enable_password=False, guest_os_id=system_id, cross_zones=True, extractable=False, hypervisor_type="KVM",
        size=size,
        state="Inactive" if gone else "Active", update_count=0,
    )  # fmt: skip
    world.add(
        "template_zone_ref",
        zone_id=ZONE,
        template_id=identity,
        created=world.ago(days),
        last_updated=world.ago(days),
        removed=gone,
    )
    world.add(
        "template_store_ref", store_id=1, template_id=identity, created=world.ago(days), last_updated=world.ago(days),
        download_pct=100,
        size=size, store_role="Image", physical_size=size // 3, download_state="DOWNLOADED", url=url, state="Ready",
        install_path=f"template/tmpl/{1 if unique else 2}/{identity}/{world.uuid('templates')}.qcow2",
        destroyed=bool(gone),
        update_count=2,
    )  # fmt: skip
    if not gone:
        for pool in PODS:
            path = world.uuid("templates")
            world.add(
                "template_spool_ref", pool_id=pool, template_id=identity, created=world.ago(days), download_pct=100,
                download_state="DOWNLOADED", local_path=path, install_path=path, template_size=size, state="Ready",
                update_count=2,
            )  # fmt: skip
    return identity

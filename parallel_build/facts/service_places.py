"""What management servers talk to, as data: tables and settings of CloudStack's database that name a server, and the ports that are used towards it.

[CloudStack 4.22: schema, firewall tables, ConfigKeys of its plug-ins]
"""

from __future__ import annotations

# Ports that CloudStack uses towards each kind of host [CloudStack 4.22 firewall tables; KVM also libvirt's own and the agent's SSH].
HYPERVISOR_PORTS = {
    "KVM": (22, 16509, 16514),
    "XenServer": (22, 80, 443),
    "VMware": (22, 443, 902),
    "Hyperv": (8250,),
    "Ovm3": (22, 443, 8899),
    "LXC": (22, 16509),
}
ANY_HYPERVISOR = (22, 443)
STORAGE_PORTS = {"NetworkFilesystem": (111, 2049), "Iscsi": (3260,), "IscsiLUN": (3260,), "RBD": (3300, 6789), "PowerFlex": (443,)}
SCHEME_PORTS = {"nfs": 2049, "http": 80, "https": 443, "cifs": 445, "smb": 445}
MAIL_SETTINGS = {f"{purpose}.smtp.host": f"{purpose}.smtp.port" for purpose in ("alert", "project", "quota.usage", "user.password.reset")}
MAIL_PORTS = (25, 465, 587)
API_OF_STORAGE = "(^|[._])(mvip|url|gateway)$|gw[._]url$"
DEFAULT_PORTS = (22, 80, 443, 8250)  # tried where only an address is given
# How what is listed begins, before its name.
KINDS = (
    "management server", "database server", "new management server", "new database server", "hypervisor", "SecondaryStorageVM", "ConsoleProxy",
    "SecondaryStorage", "Storage", "primary storage", "secondary storage", "mail server", "network controller", "network device", "object storage",
    "UCS manager", "backup server", "service",
)  # fmt: skip
# Tables of what management servers command by its own API: what it is, table, columns of its name, its place and its port (None where the place is a URL).
PROVIDERS = (
    ("network controller", "nsx_providers", "provider_name", "hostname", "port", 443),
    ("network controller", "netris_providers", "name", "url", None, 443),
    ("network controller", "tungsten_providers", "provider_name", "hostname", "port", 8082),
    ("network controller", "external_bigswitch_bcf_devices", "device_name", "hostname", None, 8000),
    ("object storage", "object_store", "name", "url", None, 443),
    ("UCS manager", "ucs_manager", "name", "url", None, 443),
)
REMOVED_TOO = frozenset({"tungsten_providers", "external_bigswitch_bcf_devices", "ucs_manager"})  # these tables have no column `removed`
# Load balancers, firewalls and switches that CloudStack configures are hosts of its own.
DEVICES = ("ExternalLoadBalancer", "ExternalFirewall", "L2Networking", "ExternalDhcp", "BaremetalPxe")
# Settings that are a URL, global or a zone's own, by the end of their names: what such a server is for.
URL_SETTINGS = (
    ("backup server", r"^backup[.]plugin[.][a-z0-9]+[.]url$"),
    ("service", r"^(stats[.]output[.]uri|saml2[.]idp[.]metadata[.]url)$"),
)

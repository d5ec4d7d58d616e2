"""What is installed on a server: system and patch level, kernel, what confines programs, firewall, Java, CloudStack's packages, hypervisor software."""

from __future__ import annotations

import re
from typing import Any

from parallel_build.remote.access import Access

PACKAGES = (
    "cloudstack-|libvirt-daemon$|libvirt-daemon-system$|qemu-kvm$|qemu-system-x86$|mariadb-server$|mysql-server$|mysql-community-server$"
)
READ = r"""
. /etc/os-release 2>/dev/null || true
echo "os=${NAME:-?}"
echo "release=${VERSION_ID:-?}"
echo "patch=$(cat /etc/debian_version 2>/dev/null || sed -n 's/.*release \([0-9.]*\).*/\1/p' /etc/redhat-release 2>/dev/null || true)"
echo "kernel=$(uname -r)"
echo "arch=$(uname -m)"
echo "confinement=$(getenforce 2>/dev/null | sed 's/^/SELinux /' || true)$(if [ -d /sys/kernel/security/apparmor ]; then echo AppArmor; fi)"
echo "firewall=$(for unit in firewalld ufw nftables iptables; do if systemctl -q is-active "$unit" 2>/dev/null; then echo "$unit"; fi; done | paste -sd+ -)"
echo "processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)"
echo "java=$(java -version 2>&1 | sed -n 's/.*version "\([^"]*\)".*/\1/p' | head -n 1)"
if command -v dpkg-query >/dev/null; then dpkg-query -W -f 'package=${Package} ${Version} ${db:Status-Abbrev}\n' 2>/dev/null
else rpm -qa --qf 'package=%{NAME} %{VERSION}-%{RELEASE} ii\n' 2>/dev/null; fi | grep -E "^package=($1)[^ ]* .* ii" || true
for jar in /usr/share/cloudstack-management/lib/*.jar; do [ -e "$jar" ] && echo "library=${jar##*/}"; done
true
"""
VERSION_IN_NAME = re.compile(r"-\d[\w.+-]*(?=\.jar$)")


def read(host: Access) -> dict[str, Any]:
    """Ask a server, with one command; a thing that is not there is an empty text or list."""
    pairs = [line.partition("=")[::2] for line in host.script(READ, [PACKAGES.replace("$", "")]).stdout.splitlines()]
    found: dict[str, Any] = {key: value.strip() for key, value in pairs if key not in ("package", "library")}
    wanted = re.compile(PACKAGES)
    packages = {}
    for key, value in pairs:
        name, _, version = value.partition(" ")
        if key == "package" and wanted.match(name):
            packages[name] = version.split()[0]
    libraries = sorted({VERSION_IN_NAME.sub("", value) for key, value in pairs if key == "library"})
    return {"name": host.name, **found, "packages": packages, "libraries": libraries}

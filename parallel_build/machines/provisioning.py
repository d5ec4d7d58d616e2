"""What a new machine is given before its first login: name, fixed address, SSH keys, files, packages.

Pure: texts in, texts out. Virtual machines take it as cloud-init's three documents, containers as files of their own layer; both run
the same script once. Host keys are made beforehand, so that host key checking is strict from the first connection.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from parallel_build.configuration import HOST_NAME
from parallel_build.errors import ConfigurationError
from parallel_build.secret import Secret

STATE_FOLDER = "/var/lib/parallel-build"
SCRIPT = f"{STATE_FOLDER}/provision"
DONE = f"{STATE_FOLDER}/provisioned"  # exists once the script has ended well
LOG = "/var/log/parallel-build-provision.log"
UNIT = "parallel-build-provision.service"
INTERFACE = "eth0"
TIME_PACKAGE, TIME_UNIT = "chrony", "chrony.service"
EL_CHRONY = "/etc/chrony.conf"
TIME_SOURCES = "/etc/chrony/sources.d/parallel-build.sources"
# A machine's first boot ends only with a clock that is right: every guard, heartbeat and signed call depends on it.
TIME_LIMIT = 300  # seconds
TIME_NEAR = 0.1  # seconds that are left to be corrected


def mac_address(name: str, address: str) -> str:
    """A fixed MAC address for a machine, in the range that QEMU uses for its own.

    Fixed, so that a machine that is made again keeps its lease and its neighbours' ARP entries.
    """
    digest = hashlib.sha256(f"{name}/{address}".encode()).hexdigest()
    return "52:54:00:" + ":".join(digest[i : i + 2] for i in (0, 2, 4))


@dataclass(frozen=True)
class File:
    """A file put on the machine.

    Attributes:
        path: absolute path.
        content: its text.
        mode: permission bits.
        owner: `user:group`, by name; both may come with one of the machine's packages.
    """

    path: str
    content: str | Secret
    mode: int = 0o644
    owner: str = "root:root"

    def __post_init__(self) -> None:
        if not PurePosixPath(self.path).is_absolute() or ".." in PurePosixPath(self.path).parts:
            raise ConfigurationError(
                f"{self.path} can't be put on a machine",
                "a file's path is absolute and has no '..'",
                "write the path as it is to be on the machine",
            )

    @property
    def text(self) -> str:
        """The content in the clear."""
        return self.content.reveal() if isinstance(self.content, Secret) else self.content


@dataclass(frozen=True)
class Provisioning:
    """Everything that makes a machine of an image.

    Attributes:
        hostname: short host name.
        address: fixed IP address.
        host_key_private: OpenSSH private key (ed25519) of the machine itself.
        host_key_public: its public half, `ssh-ed25519 AAAA...`.
        authorized_keys: public keys that may log in as root.
        prefix: length of the network's prefix.
        gateway: default route, or None for none.
        dns: name servers; empty leaves the image's.
        domain: second half of the fully qualified name; CloudStack's set-up wants `hostname --fqdn` to answer.
        hosts: further names for /etc/hosts, name -> address.
        files: written before any service of the machine's own starts.
        packages: Debian packages, installed only where one is missing.
        enabled_units: units enabled, and started when the packages are there.
        masked_units: units that must never start, masked before a package could start them.
        prepare: paths of executable `files` that run first, before packages (a data disk to be mounted).
        time_servers: NTP servers, by name or address, that the machine's clock follows; empty leaves the image's own time service.
    """

    hostname: str
    address: str
    host_key_private: Secret
    host_key_public: str
    authorized_keys: tuple[str, ...]
    prefix: int = 24
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    domain: str = "cloud.internal"
    hosts: dict[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    packages: tuple[str, ...] = ()
    enabled_units: tuple[str, ...] = ()
    masked_units: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    time_servers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not HOST_NAME.match(self.hostname) or "." in self.hostname:
            raise ConfigurationError(
                f"{self.hostname!r} is not a short host name",
                "letters, digits and hyphens only",
                "correct the machine's name in the stack file",
            )
        try:
            ipaddress.ip_interface(f"{self.address}/{self.prefix}")
        except ValueError as error:
            raise ConfigurationError(
                f"{self.hostname} can't be given {self.address}/{self.prefix}",
                str(error),
                "correct the machine's address in the stack file, or its network's prefix",
            ) from None

    @property
    def fqdn(self) -> str:
        """The fully qualified name."""
        return f"{self.hostname}.{self.domain}"

    @property
    def mac(self) -> str:
        """The machine's MAC address; give its network card this one."""
        return mac_address(self.hostname, self.address)

    def etc_hosts(self) -> str:
        """/etc/hosts: the own name stands for the real address, never for 127.0.1.1.

        A management server takes its `cluster.node.IP` from its name; with a loopback address the schema is upgraded first and the start
        fails afterwards.
        """
        lines = [
            "127.0.0.1 localhost",
            "::1 localhost ip6-localhost ip6-loopback",
            f"{self.address} {self.fqdn} {self.hostname}",
        ]
        lines += [f"{address} {name}.{self.domain} {name}" for name, address in sorted(self.hosts.items()) if name != self.hostname]
        return "\n".join(lines) + "\n"

    def script(self) -> str:
        """The shell script run once, after the files are there and the network is up; it may be run again."""
        lines = ["#!/bin/sh", "set -eu", f"test -e {DONE} && exit 0"]
        if self.masked_units:
            lines.append(f"systemctl mask --now {shlex.join(self.masked_units)}")
        lines += [shlex.quote(path) for path in self.prepare]
        packages = (*self.packages, *((TIME_PACKAGE,) if self.time_servers else ()))
        if packages:
            lines += [
                "missing=",
                f"for package in {shlex.join(packages)}; do",
                "  if command -v dpkg-query >/dev/null; then",
                '    dpkg-query -W -f=\'${db:Status-Status}\' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"',
                '  else rpm -q "$package" >/dev/null || missing="$missing $package"; fi',
                "done",
                'if [ -n "$missing" ] && ! command -v apt-get >/dev/null; then',
                "  dnf -q -y --setopt=install_weak_deps=False install $missing",
                'elif [ -n "$missing" ]; then',
                "  export DEBIAN_FRONTEND=noninteractive",
                "  apt-get -o Acquire::Retries=3 update",
                "  apt-get -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold -y --no-install-recommends install $missing",
                "fi",
            ]
        lines += self._clock()
        # A service's own account comes with its package, so files are root's until here.
        lines += [f"chown {shlex.join([file.owner, file.path])}" for file in self.files if file.owner != "root:root"]
        # Restarted, because an image may have started it before the files were there.
        lines += [f"systemctl enable {unit} && systemctl restart {unit}" for unit in map(shlex.quote, self.enabled_units)]
        lines += [f"touch {DONE}", ""]
        return "\n".join(lines)

    def _clock(self) -> list[str]:
        """Commands that have the clock follow the time servers, before any database writes a time of day."""
        if not self.time_servers:
            return []
        folder = TIME_SOURCES.rpartition("/")[0]
        remedy = f"no time from {' '.join(self.time_servers)} (new.network.timeServers): see chronyc sources"
        return [
            # EL's chrony reads no such folder by itself, and its unit has another name.
            f"if [ -f {EL_CHRONY} ] && ! grep -qx 'sourcedir {folder}' {EL_CHRONY}; then echo 'sourcedir {folder}' >>{EL_CHRONY}; fi",
            f"unit={TIME_UNIT}; systemctl cat $unit >/dev/null 2>&1 || unit=chronyd.service",
            "systemctl enable $unit && systemctl restart $unit",
            f"chronyc -n waitsync {TIME_LIMIT} {TIME_NEAR} 0 1 || {{ echo {shlex.quote(remedy)}; exit 1; }}",
        ]

    def cloud_config(self) -> str:
        """cloud-init's user-data. **It holds the private host key**: hand it on as a secret only."""
        document: dict[str, Any] = {
            "hostname": self.hostname,
            "fqdn": self.fqdn,
            "preserve_hostname": False,
            "manage_etc_hosts": False,
            "users": [],
            "disable_root": False,
            "ssh_pwauth": False,
            "ssh_deletekeys": True,
            "ssh_keys": {
                "ed25519_private": _with_newline(self.host_key_private.reveal()),
                "ed25519_public": self.host_key_public,
            },
            "ssh_authorized_keys": list(self.authorized_keys),
            "write_files": [
                {
                    "path": file.path,
                    "content": file.text,
                    "permissions": f"{file.mode:04o}",
                    "owner": "root:root",
                }
                for file in self._all_files()
            ],
            "runcmd": [["sh", "-c", f"{SCRIPT} >>{LOG} 2>&1"]],
        }
        if self.masked_units:
            # Early in the boot, so that a service that the image brings enabled never starts; the script masks again, for packages.
            document["bootcmd"] = [["cloud-init-per", "instance", "mask-units", "systemctl", "mask", "--now", *self.masked_units]]
        return "#cloud-config\n" + yaml.safe_dump(document, sort_keys=True, width=1_000_000)

    def network_config(self) -> str:
        """cloud-init's network configuration (version 2): one card, found by its MAC address, with a static address."""
        card: dict[str, Any] = {
            "match": {"macaddress": self.mac},
            "set-name": INTERFACE,
            "dhcp4": False,
            "dhcp6": False,
            "addresses": [f"{self.address}/{self.prefix}"],
        }
        if self.gateway:
            anywhere = "::/0" if ":" in self.gateway else "0.0.0.0/0"
            card["routes"] = [{"to": anywhere, "via": self.gateway}]
        if self.dns:
            card["nameservers"] = {"addresses": list(self.dns)}
        return yaml.safe_dump({"version": 2, "ethernets": {INTERFACE: card}}, sort_keys=True)

    def meta_data(self) -> str:
        """cloud-init's meta-data; an instance is a host key, so that other texts in user-data don't rewrite a running machine's files."""
        digest = hashlib.sha256(self.host_key_public.encode()).hexdigest()[:12]
        return yaml.safe_dump({"instance-id": f"{self.hostname}-{digest}", "local-hostname": self.hostname}, sort_keys=True)

    def layer(self) -> tuple[File, ...]:
        """The same for a container: the files of its own layer. Units to mask and enable are links, which `container` makes."""
        unit = (
            "[Unit]\nDescription=Put this machine together, once\nAfter=network-online.target\n"
            f"ConditionPathExists=!{DONE}\n"
            "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
            f"ExecStart=/bin/sh -c '{SCRIPT} >>{LOG} 2>&1'\n"
            "[Install]\nWantedBy=multi-user.target\n"
        )
        machine_id = hashlib.md5(f"{self.hostname}/{self.host_key_public}".encode(), usedforsecurity=False).hexdigest()
        resolv = "".join(f"nameserver {server}\n" for server in self.dns)
        return (
            *self._all_files(),
            File("/etc/hostname", self.hostname + "\n"),
            File("/etc/machine-id", machine_id + "\n"),
            File("/etc/resolv.conf", resolv),
            File("/etc/ssh/ssh_host_ed25519_key", Secret(_with_newline(self.host_key_private.reveal())), 0o600),
            File("/etc/ssh/ssh_host_ed25519_key.pub", _with_newline(self.host_key_public)),
            File("/root/.ssh/authorized_keys", "".join(_with_newline(key) for key in self.authorized_keys), 0o600),
            File(f"/etc/systemd/system/{UNIT}", unit),
            File("/etc/cloud/cloud-init.disabled", ""),
        )

    def _all_files(self) -> tuple[File, ...]:
        # `iburst`: four questions within seconds at the start, instead of one a minute [chrony.conf(5)].
        sources = "".join(f"server {server} iburst\n" for server in self.time_servers)
        clock = (File(TIME_SOURCES, sources),) if sources else ()
        return (File("/etc/hosts", self.etc_hosts()), *self.files, *clock, File(SCRIPT, self.script(), 0o755))


def _with_newline(text: str) -> str:
    """OpenSSH refuses a private key whose last line isn't ended."""
    return text if text.endswith("\n") else text + "\n"

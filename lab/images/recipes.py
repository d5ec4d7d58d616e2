"""What is in the lab's root file systems, as data. The cache key of an image is the checksum of its recipe."""

from __future__ import annotations

from dataclasses import dataclass

from tools.cache import checksum

INITRAMFS_HOOK = """\
#!/bin/sh
# The guests' only devices are virtio: everything else would be unpacked and probed at each boot for nothing.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
"""

CLOUD_INIT = """\
# The lab's seed is a NoCloud disk; without it there is nothing to look for.
datasource_list: [NoCloud, None]
system_info:
  network:
    renderers: [networkd]
disable_root: false
ssh_pwauth: false
# Every module is a Python import and some a command: only those that a machine of this project is described with.
cloud_init_modules:
  - bootcmd
  - write-files
  - growpart
  - resizefs
  - set_hostname
  - update_etc_hosts
  - users-groups
  - ssh
cloud_config_modules:
  - set-passwords
  - timezone
  - runcmd
cloud_final_modules:
  - package-update-upgrade-install
  - scripts-user
  - final-message
"""

CLOUD_INIT_SEED = """\
# The seed is a CD-ROM whose driver udev loads. On a busy computer cloud-init can be quicker, find nothing, and leave the machine without
# name, keys and address.
[Unit]
Wants=systemd-udevd.service systemd-udev-trigger.service
After=systemd-udevd.service systemd-udev-trigger.service

[Service]
ExecStartPre=/usr/bin/udevadm wait --timeout=600 /dev/disk/by-label/cidata
"""

JOURNAL = """\
[Journal]
Storage=persistent
SystemMaxUse=64M
"""

CLOCK = """\
# A guest that had no processor for a while is late: its clock is set at once, not brought back over minutes.
makestep 0.5 -1
"""

SSHD = """\
PasswordAuthentication no
PermitRootLogin prohibit-password
"""

NO_HOUSEKEEPING = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-pstore.service",
)

CONTAINER_MASKED_UNITS = (
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
    "cloud-init-hotplugd.socket",
    "cloud-init.target",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-timesyncd.service",
    "chrony.service",
)
"""Units that a container on this root must not start: its addresses and its identity are set from outside."""


@dataclass(frozen=True)
class Recipe:
    """How a root file system is made.

    Args:
        name: what the cache folder is called, before the checksum.
        suite: Debian suite.
        extra_suites: further suites of the same archive, and of the security archive for names ending in -security.
        packages: what is installed besides the essential packages.
        early_files: path -> (mode, text), written before the packages are installed.
        files: path -> (mode, text), written at the end.
        enabled / disabled / masked: systemd units.
        removed: paths (globs) of what belongs to one machine or is of no use.
        commands: commands run inside at the end.
    """

    name: str
    suite: str
    packages: tuple[str, ...]
    extra_suites: tuple[str, ...] = ()
    early_files: tuple[tuple[str, int, str], ...] = ()
    files: tuple[tuple[str, int, str], ...] = ()
    enabled: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> str:
        """Name of the cache folder: changes with anything in the recipe."""
        return f"{self.name}-{checksum(repr(self))}"


ONE_MACHINES = (
    "etc/ssh/ssh_host_*",
    "var/lib/dbus/machine-id",
    "etc/apt/sources.list.d/*",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/apt.conf.d/99host",
    "var/lib/apt/lists/*",
    "var/cache/apt/*.bin",
    "var/log/*.log",
    "var/log/apt/*",
    "var/lib/systemd/random-seed",
)

EMPTIED = (
    ("etc/machine-id", 0o444, ""),
    ("etc/apt/sources.list", 0o644, ""),
    ("etc/resolv.conf", 0o644, ""),
    ("etc/hostname", 0o644, "localhost\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    ("etc/default/locale", 0o644, "LANG=C.UTF-8\n"),
)

# '*' can't be typed as a password either, but unlike '!' it never makes sshd refuse a key.
LOCKED_ROOT = ("usermod", "--password", "*", "root")

BASE = Recipe(
    name="base",
    suite="bookworm",
    extra_suites=("bookworm-updates", "bookworm-security"),
    packages=(
        "systemd",
        "systemd-sysv",
        "dbus",
        "udev",
        "kmod",
        "linux-image-cloud-amd64",
        "initramfs-tools",
        "lz4",
        "cloud-init",
        "cloud-guest-utils",
        "chrony",
        "e2fsprogs",
        "openssh-server",
        "openssh-client",
        "mariadb-server",
        "mariadb-backup",
        "mydumper",
        "python3",
        "python3-pymysql",
        "python3-cryptography",
        "openssl",
        "ca-certificates",
        "nftables",
        "iptables",
        "sudo",
        "zstd",
        "xz-utils",
        "pv",
        "curl",
        "rsync",
        "iproute2",
        "iputils-ping",
        "netcat-openbsd",
        "lsb-release",
        "procps",
        "less",
    ),
    early_files=(
        ("etc/initramfs-tools/conf.d/lab", 0o644, "MODULES=list\nCOMPRESS=lz4\n"),
        ("etc/initramfs-tools/hooks/lab", 0o755, INITRAMFS_HOOK),
    ),
    files=(
        *EMPTIED,
        ("etc/cloud/cloud.cfg.d/90_lab.cfg", 0o644, CLOUD_INIT),
        ("etc/systemd/system/cloud-init-local.service.d/seed.conf", 0o644, CLOUD_INIT_SEED),
        ("etc/systemd/journald.conf.d/lab.conf", 0o644, JOURNAL),
        ("etc/chrony/conf.d/lab.conf", 0o644, CLOCK),
        ("etc/ssh/sshd_config.d/lab.conf", 0o600, SSHD),
    ),
    enabled=("ssh.service", "systemd-networkd.service"),
    disabled=("mariadb.service",),
    # An emulated guest reaches sshd a quarter sooner without waiting for the link: its address is static, and what
    # needs another machine waits for that machine anyway.
    masked=(*NO_HOUSEKEEPING, "systemd-networkd-wait-online.service"),
    removed=ONE_MACHINES,
    commands=(LOCKED_ROOT,),
)

MYSQL = Recipe(
    name="mysql",
    suite="sid",
    packages=(
        "systemd",
        "systemd-sysv",
        "dbus",
        "openssh-server",
        "mysql-server",
        "python3",
        "zstd",
        "xz-utils",
        "pv",
        "nftables",
        "rsync",
        "iproute2",
        "iputils-ping",
        "netcat-openbsd",
        "procps",
        "openssl",
        "less",
    ),
    files=(*EMPTIED, ("etc/ssh/sshd_config.d/lab.conf", 0o600, SSHD)),
    enabled=("ssh.service",),
    disabled=("mysql.service",),
    masked=NO_HOUSEKEEPING,
    removed=ONE_MACHINES,
    commands=(LOCKED_ROOT,),
)

FRONT = Recipe(
    name="front",
    suite="bookworm",
    extra_suites=("bookworm-updates", "bookworm-security"),
    packages=("systemd", "systemd-sysv", "dbus", "openssh-server", "haproxy", "keepalived", "socat", "python3", "iproute2", "procps"),
    files=(*EMPTIED, ("etc/ssh/sshd_config.d/lab.conf", 0o600, SSHD)),
    enabled=("ssh.service",),
    disabled=("haproxy.service", "keepalived.service"),
    masked=NO_HOUSEKEEPING,
    removed=ONE_MACHINES,
    commands=(LOCKED_ROOT,),
)

GUEST_DISK_SIZE = "8G"
"""Size that a guest sees; the file is sparse."""

GUEST_FILE_SYSTEM = ("-O", "^metadata_csum_seed", "-i", "32768", "-E", "lazy_itable_init=0,lazy_journal_init=0")
"""Inode tables are written here, once, and not by each guest in the background; fewer inodes make them small."""

"""The root of the lab's EL-shaped machines: programs of Debian's archive, laid out and packaged as Enterprise Linux has them.

A shape, not the distribution: rpm, dnf, the rpm database, paths, unit names and how root logs in to the database are EL's; the binaries are Debian's, and so
are kernel, systemd and OpenSSH. There is no apt and no dpkg on it. The database server is no part of the root: its RPM lies in a repository of
the root's own, as that of a distribution's mirror, and is installed where it is wanted.
"""

from __future__ import annotations

from lab.images.recipes import BASE, EMPTIED, LOCKED_ROOT, NO_HOUSEKEEPING, ONE_MACHINES, SSHD, Recipe

OPERATOR = "deploy"
"""An account that logs in with a key and becomes root by sudo without a password."""

REPOSITORY = "/usr/share/el-shape/rpms"
SPECS = "usr/share/el-shape/specs"

OS_RELEASE = """\
NAME="EL shape"
VERSION="9.4"
ID="el-shape"
ID_LIKE="rhel centos fedora"
VERSION_ID="9.4"
PLATFORM_ID="platform:el9"
PRETTY_NAME="EL shape 9.4 (Debian's programs laid out as Enterprise Linux)"
"""

DNF = """\
[main]
gpgcheck=1
installonly_limit=3
clean_requirements_on_remove=True
best=True
skip_if_unavailable=False
# EL's dnf has this one built in.
reposdir=/etc/yum.repos.d
"""

MACROS = """\
# Debian's rpm keeps a database in each user's home.
%_dbpath /var/lib/rpm
%_keyringpath /var/lib/rpm/pubkeys/
"""

REPO = f"""\
[el-shape]
name=EL shape
baseurl=file://{REPOSITORY}
enabled=1
gpgcheck=0
"""

# What dependencies and $releasever are resolved with: names that the distribution's packages have. What they bring is in the root already.
RELEASE_SPEC = """\
Name: el-shape-release
Version: 9.4
Release: 1
Summary: Files of an EL-shaped release
License: none
BuildArch: noarch
AutoReqProv: no
Provides: system-release = 9.4
Provides: system-release(releasever) = 9
Provides: redhat-release = 9.4
%description
What names the release.
%package -n el-shape-base
Summary: Names of packages whose files are in the root
AutoReqProv: no
Provides: /bin/sh
Provides: bash
Provides: chrony
Provides: glibc
Provides: iproute
Provides: java-17-headless
Provides: nftables
Provides: openssh-clients
Provides: openssh-server
Provides: python3
Provides: python3-cryptography
Provides: python3-PyMySQL
Provides: shadow-utils
Provides: sudo
Provides: systemd
%description -n el-shape-base
Names that other packages need.
%package -n standin-gawk
Summary: What the stand-in's packages bring along, without content
AutoReqProv: no
Requires: standin-libmpfr6
Requires: standin-libsigsegv2
%description -n standin-gawk
Without content.
%package -n standin-libmpfr6
Summary: Needed by it
AutoReqProv: no
%description -n standin-libmpfr6
Without content.
%package -n standin-libsigsegv2
Summary: Needed by it
AutoReqProv: no
%description -n standin-libsigsegv2
Without content.
%install
mkdir -p %{buildroot}/usr/lib %{buildroot}/etc
cp /usr/share/el-shape/os-release %{buildroot}/usr/lib/os-release
echo 'EL shape release 9.4 (a container)' >%{buildroot}/etc/redhat-release
%files
/usr/lib/os-release
/etc/redhat-release
%files -n el-shape-base
%files -n standin-gawk
%files -n standin-libmpfr6
%files -n standin-libsigsegv2
"""

MARIADB_UNIT = """\
[Unit]
Description=MariaDB 10.11 database server
After=network.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
User=mysql
Group=mysql
ExecStartPre=/usr/libexec/mariadb-check-socket
ExecStartPre=/usr/libexec/mariadb-prepare-db-dir %n
ExecStart=/usr/libexec/mariadbd --basedir=/usr $MYSQLD_OPTS $_WSREP_NEW_CLUSTER
KillSignal=SIGTERM
SendSIGKILL=no
Restart=on-abnormal
RestartSec=5s
UMask=007
TimeoutSec=300
PrivateTmp=true
LimitNOFILE=32768
"""

CHECK_SOCKET = """\
#!/bin/sh
# A socket that a server listens on must not be taken away by another.
socket=$(my_print_defaults mysqld server | sed -n 's/^--socket=//p' | tail -n 1)
if [ -S "$socket" ] && mariadb-admin --no-defaults --socket="$socket" --user=nobody ping 2>&1 | grep -q -e alive -e 'Access denied'; then
  echo "another server listens on $socket" >&2
  exit 1
fi
exit 0
"""

PREPARE = """\
#!/bin/sh
# The first start makes the data folder. root is known by the socket, and has no password.
set -eu
if [ -d /var/lib/mysql/mysql ]; then exit 0; fi
mariadb-install-db --rpm --datadir=/var/lib/mysql --user=mysql --skip-test-db --auth-root-authentication-method=socket >&2
"""

SERVER_OPTIONS = """\
[server]
[mysqld]
datadir=/var/lib/mysql
socket=/var/lib/mysql/mysql.sock
log-error=/var/log/mariadb/mariadb.log
pid-file=/run/mariadb/mariadb.pid
[embedded]
[mariadb]
"""

CLIENT_OPTIONS = """\
# EL's programs have this path built in; these are Debian's.
[client-server]
socket=/var/lib/mysql/mysql.sock
"""

# Epoch and names are EL 9's. Files come from Debian's packages, by their lists.
MARIADB_SPEC = r"""
Name: mariadb
Epoch: 3
Version: %(dpkg-query -W -f '${source:Upstream-Version}' mariadb-server)
Release: 1.el9
Summary: MariaDB client programs
License: GPLv2
AutoReqProv: no
Requires: mariadb-common = %{epoch}:%{version}-%{release}
Conflicts: mysql
%define _binary_payload w1.gzdio
%define __os_install_post %{nil}
%define debug_package %{nil}
%description
Client programs.
%package common
Summary: Option files of MariaDB
AutoReqProv: no
%description common
Option files.
%package server
Summary: MariaDB server
AutoReqProv: no
Requires: mariadb = %{epoch}:%{version}-%{release}
Requires(pre): shadow-utils
Conflicts: mysql-server
%description server
The server.
%install
have() { dpkg -L "$@" | grep -e '^/usr/bin/' -e '^/usr/share/mysql/' -e '^/usr/lib/mysql/' | while read -r path; do
  if [ -L "$path" ] || [ -f "$path" ]; then (cd /; cp -a --parents "${path#/}" %{buildroot}); echo "$path"; fi; done; }
mkdir -p %{buildroot}
have mariadb-client mariadb-client-core >client.list
have mariadb-server mariadb-server-core mariadb-backup >server.list
cd %{buildroot}
mkdir -p usr/libexec etc/my.cnf.d usr/lib/systemd/system usr/lib/tmpfiles.d var/lib/mysql var/log/mariadb
cp -a /usr/sbin/mariadbd usr/libexec/mariadbd
ln -s mariadbd usr/libexec/mysqld
sed -i 's,sbin/mariadbd,libexec/mariadbd,' usr/bin/mariadb-install-db
cp /usr/share/el-shape/mariadb/mariadb.service usr/lib/systemd/system/
install -m 755 /usr/share/el-shape/mariadb/mariadb-check-socket /usr/share/el-shape/mariadb/mariadb-prepare-db-dir usr/libexec/
cp /usr/share/el-shape/mariadb/mariadb-server.cnf /usr/share/el-shape/mariadb/client.cnf etc/my.cnf.d/
printf '[client-server]\n!includedir /etc/my.cnf.d\n' >etc/my.cnf
echo 'd /run/mariadb 0755 mysql mysql -' >usr/lib/tmpfiles.d/mariadb.conf
%pre server
getent group mysql >/dev/null || groupadd -r mysql
getent passwd mysql >/dev/null || useradd -r -g mysql -d /var/lib/mysql -s /sbin/nologin -c 'MySQL Server' mysql
%post server
systemctl daemon-reload >/dev/null 2>&1 || true
systemd-tmpfiles --create mariadb.conf >/dev/null 2>&1 || true
%preun server
if [ "$1" = 0 ]; then systemctl --no-reload disable --now mariadb.service >/dev/null 2>&1 || true; fi
%postun server
systemctl daemon-reload >/dev/null 2>&1 || true
%files -f client.list
%files common
%config(noreplace) /etc/my.cnf
%dir /etc/my.cnf.d
%config(noreplace) /etc/my.cnf.d/client.cnf
%files server -f server.list
/usr/libexec/*
/usr/lib/systemd/system/mariadb.service
/usr/lib/tmpfiles.d/mariadb.conf
%config(noreplace) /etc/my.cnf.d/mariadb-server.cnf
%attr(0755,mysql,mysql) %dir /var/lib/mysql
%attr(0750,mysql,mysql) %dir /var/log/mariadb
"""

# Run inside the root once Debian's packages are there; what is of their family goes at the end, by `removed`.
SHAPE = rf"""
set -eu
for spec in /{SPECS}/*.spec; do
  rpmbuild -bb --quiet --define '_topdir /tmp/build' --define '_rpmdir {REPOSITORY}' \
    --define '_rpmfilename %%{{NAME}}-%%{{VERSION}}-%%{{RELEASE}}.%%{{ARCH}}.rpm' "$spec"
done
createrepo_c -q {REPOSITORY}
dpkg -L mariadb-server mariadb-server-core mariadb-client mariadb-client-core mariadb-backup mariadb-common mysql-common | grep -v '^/usr/share/doc' |
  while read -r path; do [ -d "$path" ] || rm -f "$path"; done
rm -rf /etc/mysql /var/lib/mysql /var/log/mysql /usr/lib/mysql /usr/share/mysql /etc/init.d/mariadb /tmp/build
find /etc/systemd/system /etc/rc?.d -lname '*mariadb*' -delete
find /etc/systemd/system -name 'mysql*.service' -delete
userdel mysql
rm -rf /etc/os-release
ln -s ../usr/lib/os-release /etc/os-release
mkdir -p /var/lib/rpm
rpm --initdb
dnf -q -y --setopt=reposdir=/etc/yum.repos.d --releasever=9 install el-shape-release el-shape-base mariadb
# EL's chrony has its file in /etc, reads no folder of sources, and its unit is chronyd.
sed -e '/^confdir/d' -e '/^sourcedir/d' -e '/^keyfile/d' /etc/chrony/chrony.conf >/etc/chrony.conf
sed -e 's,^ExecStart=.*,ExecStart=/usr/sbin/chronyd -F 1 -f /etc/chrony.conf,' -e '/^Alias=/d' -e '/^EnvironmentFile/d' \
  /usr/lib/systemd/system/chrony.service >/usr/lib/systemd/system/chronyd.service
systemctl disable chrony.service
rm -rf /usr/lib/systemd/system/chrony.service /etc/chrony
systemctl enable chronyd.service
useradd -m -s /bin/bash -p '*' {OPERATOR}
install -d -m 700 -o {OPERATOR} -g {OPERATOR} /home/{OPERATOR}/.ssh
echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{OPERATOR}
chmod 440 /etc/sudoers.d/{OPERATOR}
"""

_NOT_ITS_OWN = frozenset(
    {"linux-image-cloud-amd64", "initramfs-tools", "lz4", "cloud-init", "cloud-guest-utils", "mydumper", "lsb-release"}
)

EL = Recipe(
    name="el",
    suite=BASE.suite,
    extra_suites=BASE.extra_suites,
    packages=(*(name for name in BASE.packages if name not in _NOT_ITS_OWN), "rpm", "dnf", "createrepo-c"),
    early_files=(
        ("etc/rpm/macros.el-shape", 0o644, MACROS),
        ("etc/yum.repos.d/el-shape.repo", 0o644, REPO),
        ("usr/share/el-shape/os-release", 0o644, OS_RELEASE),
        (f"{SPECS}/el-shape.spec", 0o644, RELEASE_SPEC),
        (f"{SPECS}/mariadb.spec", 0o644, MARIADB_SPEC),
        ("usr/share/el-shape/mariadb/mariadb.service", 0o644, MARIADB_UNIT),
        ("usr/share/el-shape/mariadb/mariadb-check-socket", 0o755, CHECK_SOCKET),
        ("usr/share/el-shape/mariadb/mariadb-prepare-db-dir", 0o755, PREPARE),
        ("usr/share/el-shape/mariadb/mariadb-server.cnf", 0o644, SERVER_OPTIONS),
        ("usr/share/el-shape/mariadb/client.cnf", 0o644, CLIENT_OPTIONS),
    ),
    files=(
        *(each for each in EMPTIED if not each[0].startswith("etc/apt")),
        ("etc/dnf/dnf.conf", 0o644, DNF),
        *(each for each in BASE.files if each[0].startswith("etc/systemd/journald")),
        ("etc/ssh/sshd_config.d/lab.conf", 0o600, SSHD),
    ),
    enabled=("ssh.service",),
    disabled=(),
    masked=tuple(unit for unit in NO_HOUSEKEEPING if not unit.startswith(("apt", "dpkg"))),
    removed=(
        *ONE_MACHINES, "usr/bin/apt*", "usr/bin/dpkg*", "usr/bin/deb-systemd*", "usr/sbin/update-rc.d", "usr/sbin/dpkg*", "etc/apt", "etc/dpkg",
        "etc/debian_version", "var/lib/apt", "var/lib/dpkg", "var/cache/apt", "var/cache/debconf", "var/cache/dnf", "var/log/dnf*", "var/log/hawkey*",
        "usr/lib/systemd/system/apt*", "usr/lib/systemd/system/dpkg*",
    ),
    commands=(LOCKED_ROOT, ("sh", "-c", SHAPE)),
)  # fmt: skip

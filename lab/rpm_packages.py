"""Builds the stand-in CloudStack as RPMs, from the same files as its Debian packages, and keeps them as dnf repositories, one a version.

    build(cache).repository("4.22.1.0")    -> folder for `baseurl=URL/el-4.22.1.0/`

Scriptlets do what those of the real packages do [CloudStack packaging/el8/cloud.spec]: nothing is started at an installation, the management server's unit is
enabled, and the old package's script stops and disables it after an upgrade has enabled it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import packages
from lab.packages import PACKAGES, TEMPLATES, PackagingError, Repository

RELEASE = "1"
PREFIX = "el-"  # of a version's folder on the lab's web server
REQUIRES = {
    "common": ["python3"],
    "management": ["python3-PyMySQL", "python3-cryptography", "shadow-utils", "(mysql or mariadb or mysql8.4)", "standin-gawk"],
    "usage": ["python3-PyMySQL", "python3-cryptography"],
    "agent": ["iproute", "openssh-server", "openssh-clients"],
}
MOVED = {"lib/systemd/system": "usr/lib/systemd/system", "usr/share/pyshared": "usr/share/cloudstack-common/python-site"}
DROP_IN = "etc/systemd/system/cloudstack-management.service.d/override.conf"
CONFIGURATION = "etc/cloudstack/management"
SCRIPTLETS = {
    "common": r"""
%posttrans common
python_dir=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ -n "$python_dir" ]; then mkdir -p "$python_dir"; cp -f -r /usr/share/cloudstack-common/python-site/. "$python_dir/"; fi
""",
    "management": r"""
%pre management
id cloud >/dev/null 2>&1 || /usr/sbin/useradd -M -U -c "CloudStack unprivileged user" -r -s /bin/sh -d /var/cloudstack/management cloud || true
rm -rf /var/cache/cloudstack
%preun management
/usr/bin/systemctl stop cloudstack-management >/dev/null 2>&1 || true
/usr/bin/systemctl disable cloudstack-management >/dev/null 2>&1 || true
%post management
rm -f /etc/sysconfig/cloudstack-management
for directory in /var/cloudstack/management /var/cache/cloudstack/management /var/log/cloudstack/management /var/lib/cloudstack/management; do
  mkdir -p "$directory"; chmod 0770 "$directory"; chgrp cloud "$directory"
done
chown -R cloud:cloud /var/log/cloudstack/management /var/cloudstack/management
/usr/bin/systemctl enable cloudstack-management >/dev/null 2>&1 || true
%postun management
systemctl daemon-reload >/dev/null 2>&1 || true
""",
    "usage": r"""
%preun usage
/usr/bin/systemctl stop cloudstack-usage >/dev/null 2>&1 || true
if [ "$1" = 0 ]; then /usr/bin/systemctl disable cloudstack-usage >/dev/null 2>&1 || true; fi
%post usage
mkdir -p /etc/cloudstack/usage /var/log/cloudstack/usage
for name in db.properties key; do
  if [ -f /etc/cloudstack/management/$name ]; then ln -sf ../management/$name /etc/cloudstack/usage/$name; fi
done
%postun usage
systemctl daemon-reload >/dev/null 2>&1 || true
""",
    "agent": r"""
%preun agent
/usr/bin/systemctl stop cloudstack-agent >/dev/null 2>&1 || true
if [ "$1" = 0 ]; then /usr/bin/systemctl disable cloudstack-agent >/dev/null 2>&1 || true; fi
%post agent
mkdir -p /var/log/cloudstack/agent /var/lib/cloudstack/agent
%posttrans agent
/usr/bin/systemctl restart libvirtd >/dev/null 2>&1 || true
mkdir -m 0755 -p /etc/libvirt/hooks
echo '#!/bin/sh' >/etc/libvirt/hooks/qemu; chmod 0755 /etc/libvirt/hooks/qemu
/usr/bin/systemctl enable cloudstack-agent >/dev/null 2>&1 || true
%postun agent
systemctl daemon-reload >/dev/null 2>&1 || true
""",
}
HEAD = """\
Name: cloudstack
Version: {version}
Release: {release}
Summary: CloudStack (stand-in)
License: none
BuildArch: noarch
AutoReqProv: no
%define __os_install_post %{{nil}}
%define _binary_payload w1.gzdio
%description
A stand-in.
"""


def build(cache: Path) -> Repository:
    """Build the packages of all versions, or find them in the cache.

    Args:
        cache: the project's cache folder; rpms/ in it is used.
    Raises:
        PackagingError: they can't be built.
    """
    if missing := [name for name in ("rpmbuild", "createrepo_c") if shutil.which(name) is None]:
        raise PackagingError(f"{', '.join(missing)} not found, so no RPMs can be built. Run scripts/setup --for lab.")
    target = cache / "rpms" / checksum()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                for version in TEMPLATES:
                    build_version(Path(work) / "repository" / version, Path(work) / version, version)
                (Path(work) / "repository").rename(target)
    return Repository(target)


def checksum() -> str:
    """What the packages are kept under: a digest of all sources."""
    return hashlib.sha256(Path(__file__).read_bytes() + packages.checksum().encode()).hexdigest()[:16]


def build_version(target: Path, work: Path, version: str, release: str = RELEASE) -> None:
    """One version's packages, as a repository.

    Args:
        target: its folder, made here.
        work: folder for trees and rpmbuild's own.
        release: of the packages.
    """
    target.mkdir(parents=True)
    work.mkdir(parents=True, exist_ok=True)
    trees = {package: _tree(work / "trees" / package, package, version) for package in PACKAGES}
    spec = work / "cloudstack.spec"
    spec.write_text(_spec(trees, version, release))
    folders = {"_topdir": work / "build", "_rpmdir": target, "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"}
    _run(["rpmbuild", "-bb", "--quiet", *(word for name, value in folders.items() for word in ("--define", f"{name} {value}")), str(spec)])
    index(target)


def index(folder: Path) -> None:
    """Make a folder of RPMs a repository."""
    _run(["createrepo_c", "-q", "--no-database", "--simple-md-filenames", str(folder)])


def _tree(tree: Path, package: str, version: str) -> Path:
    packages.lay_out(tree, package, version)
    for old, new in MOVED.items():
        if (tree / old).exists():
            (tree / new).parent.mkdir(parents=True, exist_ok=True)
            (tree / old).rename(tree / new)
    if package == "management":
        (tree / DROP_IN).parent.mkdir(parents=True, exist_ok=True)
        (tree / DROP_IN).write_text("[Service]\nLimitNOFILE=4096\n")
        (tree / CONFIGURATION / "log4j2.xml").symlink_to("log4j-cloud.xml")
    return tree


def _spec(trees: dict[str, Path], version: str, release: str) -> str:
    parts = [HEAD.format(version=version, release=release)]
    for package, tree in trees.items():
        common = [] if package == "common" else [f"cloudstack-common = {version}-{release}"]
        needed = "".join(f"Requires: {name}\n" for name in [*common, *REQUIRES[package]])
        parts.append(
            f"%package {package}\nSummary: CloudStack {package} (stand-in)\nAutoReqProv: no\n{needed}%description {package}\nA stand-in.\n"
        )
        parts.append(f"%files {package}\n{''.join(_files(tree))}{SCRIPTLETS[package]}")
    copies = "".join(f"cp -a {tree}/. %{{buildroot}}/\n" for tree in trees.values())
    parts.append(f"%install\nmkdir -p %{{buildroot}}\n{copies}find %{{buildroot}} -name '__pycache__' -prune -exec rm -rf {{}} +\n")
    return "\n".join(parts)


def _files(tree: Path) -> Iterator[str]:
    """A package's own files and folders; the management server's configuration is its account's to read."""
    for path in sorted(tree.rglob("*")):
        inside = str(path.relative_to(tree))
        owner = "%attr(-,root,cloud) " if inside.startswith(CONFIGURATION) else ""
        if inside == f"{CONFIGURATION}/db.properties":
            owner = "%attr(0640,root,cloud) "
        if not path.is_dir():
            yield f'{"%config(noreplace) " if inside.startswith("etc/") else ""}{owner}"/{inside}"\n'
        elif "cloudstack" in inside and "systemd" not in inside:
            yield f'%dir {owner}"/{inside}"\n'


def _run(command: list[str]) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": os.environ.get("HOME", "/root")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    if done.returncode:
        raise PackagingError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-600:]}. Look at lab/rpm_packages.py.")

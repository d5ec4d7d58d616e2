"""Builds the stand-in CloudStack as Debian packages and keeps them as flat apt repositories, one a version.

    repository = build(cache)
    repository.repository("4.22.1.0")    -> directory for `deb [trusted=yes] URL/4.22.1.0 ./`

Packages are built with dpkg-deb from what lies in lab/standin and are kept in the cache under its checksum, so that a
second call takes no time and a change of the sources never meets an old package.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import shutil
import stat
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OLD = "4.20.3.0"
NEW = "4.22.1.0"
NEWEST = "4.23.0.0"
#: Release of the system VM template that each version wants.
TEMPLATES = {OLD: "4.20.2", NEW: "4.22.0", NEWEST: "4.22.0"}

SOURCES = Path(__file__).with_name("standin")
PACKAGES = ("common", "management", "usage", "agent")
#: Which parts of the Python package each Debian package carries, and where.
PARTS = {
    "common": ("usr/share/cloudstack-common/lib/standin", ("shared",)),
    "management": ("usr/share/cloudstack-management/lib/standin", ("setup", "management", "sql")),
    "usage": ("usr/share/cloudstack-usage/lib/standin", ("usage",)),
    "agent": ("usr/share/cloudstack-agent/lib/standin", ("agent",)),
}
#: What the real packages bring along, here without content. apt calls none unneeded that provides what a base package wants, such as awk.
COMPANIONS = {
    "standin-gawk": "Depends: standin-libmpfr6, standin-libsigsegv2\nProvides: awk\n",
    "standin-libmpfr6": "",
    "standin-libsigsegv2": "",
}
EXECUTABLE = ("usr/bin/", "scripts/")
COMPANION = """\
Package: {package}
Version: 1.0
Architecture: all
Maintainer: cloudstack-parallel-build <noreply@example.test>
Section: libs
Priority: optional
{fields}Description: what a package of the stand-in needs
"""
SCRIPTS = ("postinst", "prerm", "postrm")
#: Files are all of one age, so that equal sources give equal packages.
EPOCH = 1_760_000_000


class PackagingError(Exception):
    """The packages can't be built; says what failed, why and what to do."""


@dataclass(frozen=True)
class Repository:
    """The built packages."""

    path: Path

    def repository(self, version: str) -> Path:
        """Return the directory of a version, with its .deb files, Packages, Packages.gz and Release.

        Raises PackagingError for a version that is not built.
        """
        directory = self.path / version
        if not directory.is_dir():
            raise PackagingError(
                f"There are no stand-in packages of CloudStack {version}. Built are {', '.join(TEMPLATES)}; name one of these."
            )
        return directory


def build(cache: Path) -> Repository:
    """Build the packages of all versions, or find them in the cache.

    Args:
        cache: the project's cache folder; packages/ in it is used.
    """
    if shutil.which("dpkg-deb") is None:
        raise PackagingError("dpkg-deb is not installed, so no packages can be built. Install the package dpkg.")
    target = cache / "packages" / checksum()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                for version in TEMPLATES:
                    _build_version(Path(work) / "repository" / version, Path(work) / "tree" / version, version)
                (Path(work) / "repository").rename(target)
    return Repository(target)


def checksum() -> str:
    """Return what the packages are kept under: a digest of all sources."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in _files(SOURCES):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _build_version(target: Path, trees: Path, version: str) -> None:
    target.mkdir(parents=True)
    for package in PACKAGES:
        tree = trees / package
        lay_out(tree, package, version)
        _control(tree, package, version)
        name = f"cloudstack-{package}_{version}_all.deb"
        _pack(tree, target / name)
    for package, fields in COMPANIONS.items():
        tree = trees / package
        _write(
            tree / f"usr/share/doc/{package}/README", "Brought along by the stand-in's packages, as the real ones bring theirs.\n", 0o644
        )
        _write(tree / "DEBIAN/control", COMPANION.format(package=package, fields=fields), 0o644)
        _pack(tree, target / f"{package}_1.0_all.deb")
    _index(target)


def _pack(tree: Path, target: Path) -> None:
    _run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(target)])


def lay_out(tree: Path, package: str, version: str) -> None:
    """The files of a package, as they are on a server of the Debian family."""
    root = SOURCES / "debian" / package / "root"
    for path in _files(root):
        inside = path.relative_to(root)
        text = path.read_text().replace("@TEMPLATE@", TEMPLATES[version])
        executable = str(inside).startswith(EXECUTABLE[0]) or EXECUTABLE[1] in str(inside)
        _write(tree / inside, text, 0o755 if executable else 0o644)
    where, parts = PARTS[package]
    for part in parts:
        for path in _files(SOURCES / part):
            _write(tree / where / path.relative_to(SOURCES), path.read_text(), 0o644)
    if package == "management":
        _scripts(tree / f"usr/share/cloudstack-management/lib/cloudstack-{version}.jar", version)
    if package == "common":
        _write(tree / where / "shared/VERSION", version + "\n", 0o644)
        # Tools look for the jar that encrypts; it need not hold anything.
        jar = tree / "usr/share/cloudstack-common/lib/cloudstack-utils.jar"
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), f"Implementation-Version: {version}\n")
        jar.chmod(0o644)


def _scripts(jar: Path, version: str) -> None:
    """The schema's scripts up to a version, where the real package has them: whoever plans an upgrade reads them there."""
    newest = int(version.replace(".", ""))
    with zipfile.ZipFile(jar, "w") as archive:
        for path in sorted((SOURCES / "sql/upgrades").glob("*.sql")):
            if int(path.stem.partition("to")[2].removesuffix("-cleanup")) <= newest:
                archive.writestr(zipfile.ZipInfo(f"META-INF/db/schema-{path.stem}.sql"), path.read_text())
    jar.chmod(0o644)


def _control(tree: Path, package: str, version: str) -> None:
    source = SOURCES / "debian" / package
    unit = f"cloudstack-{package}"
    control = (source / "control").read_text().replace("@VERSION@", version)
    _write(tree / "DEBIAN/control", control, 0o644)
    for script in SCRIPTS:
        if (source / script).exists():
            common = (SOURCES / "debian" / f"unit.{script}").read_text().replace("#UNIT#", unit)
            _write(tree / "DEBIAN" / script, (source / script).read_text().replace("#DEBHELPER#", common), 0o755)
    kept = [f"/{path.relative_to(tree)}\n" for path in _files(tree / "etc")] if (tree / "etc").exists() else []
    if kept:
        _write(tree / "DEBIAN/conffiles", "".join(kept), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(stat.S_IMODE(mode))


def _index(directory: Path) -> None:
    stanzas = []
    for package in sorted(directory.glob("*.deb")):
        content = package.read_bytes()
        fields = _run(["dpkg-deb", "--field", str(package)]).rstrip("\n")
        stanzas.append(
            f"{fields}\nFilename: ./{package.name}\nSize: {len(content)}\n"
            f"MD5sum: {hashlib.md5(content, usedforsecurity=False).hexdigest()}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    packages = "\n".join(stanzas).encode()
    (directory / "Packages").write_bytes(packages)
    (directory / "Packages.gz").write_bytes(gzip.compress(packages, mtime=EPOCH))
    lines = [
        "Origin: cloudstack-parallel-build",
        "Label: stand-in CloudStack",
        "Suite: stable",
        time.strftime("Date: %a, %d %b %Y %H:%M:%S UTC", time.gmtime(EPOCH)),
        "Architectures: all amd64 arm64",
        "SHA256:",
    ]
    for name in ("Packages", "Packages.gz"):
        content = (directory / name).read_bytes()
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}")
    (directory / "Release").write_text("\n".join(lines) + "\n")


def _run(command: list[str]) -> str:
    outcome = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C"},
    )
    if outcome.returncode:
        raise PackagingError(
            f"{' '.join(command[:2])} ended with {outcome.returncode}: {outcome.stderr.strip()}. Look at the file it names in lab/standin."
        )
    return outcome.stdout


def main() -> None:
    """Build into a cache folder and print where the packages are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    print(build(parser.parse_args().cache).path)


if __name__ == "__main__":
    main()

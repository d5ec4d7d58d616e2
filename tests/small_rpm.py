"""Small RPMs that tests build: one file each, and what they need and run."""

from __future__ import annotations

from pathlib import Path

from lab.packages import run_tool

SPEC = """\
Name: {name}
Version: {version}
Release: {release}
Summary: A test's
License: none
BuildArch: noarch
AutoReqProv: no
{tags}
%description
A test's.
%install
mkdir -p %{{buildroot}}/opt/{name}
echo {version} >%{{buildroot}}/opt/{name}/version
%files
/opt/{name}
{scripts}
"""


def build(work: Path, target: Path, name: str, version: str, *, tags: str = "", scripts: str = "") -> Path:
    """Build one; its file.

    Args:
        work: folder for rpmbuild's own.
        target: folder that it is put into.
        version: `version-release`.
        tags: more lines of the spec's head, such as `Requires: other`.
        scripts: scriptlets.
    """
    number, _, release = version.partition("-")
    spec = work / f"{name}.spec"
    spec.write_text(SPEC.format(name=name, version=number, release=release, tags=tags, scripts=scripts))
    defined = {"_topdir": work / "build", "_rpmdir": target, "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"}
    run_tool(
        ["rpmbuild", "-bb", "--quiet", *(word for key, value in defined.items() for word in ("--define", f"{key} {value}")), str(spec)]
    )
    return target / f"{name}-{version}.noarch.rpm"

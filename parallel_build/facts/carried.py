"""What `new.carry` names on the original's server, and what of it the new servers have. Changes nothing, and no content of a file leaves a server here."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from parallel_build.configuration import StackConfiguration
from parallel_build.configuration.carry import NEVER, UI_FILES, CarriedFile, Carry
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections

OPTIONS_FILE = "/etc/default/cloudstack-management"
MOST, LARGEST = 500, 64 << 20  # files, bytes: a few keystores and scripts, not a data store
LIMIT = 120.0  # seconds
# $1 the number of files that is looked at, then files that may never be carried until `--`, then paths.
LOOK = r"""
most=$1; shift
never=
while [ "$1" != -- ]; do never="$never $1"; shift; done; shift
for path; do
  [ -e "$path" ] || { printf 'missing\t%s\n' "$path"; continue; }
  find -L "$path" -xdev -type f 2>/dev/null | head -n "$most" | while IFS= read -r file; do
    for each in $never; do
      if [ -e "$each" ] && [ "$file" -ef "$each" ]; then printf 'never\t%s\t%s\t%s\n' "$path" "$file" "$each"; continue 2; fi
    done
    printf 'file\t%s\t%s\t%s\t%s\n' "$path" "$file" "$(stat -Lc '%a %U %G %s' "$file")" "$(sha256sum <"$file" | cut -d' ' -f1)"
  done
done
"""
# Where Java keeps the certificates that it trusts.
STORE = r"""
java=$(command -v java 2>/dev/null) && java=$(readlink -f "$java") || java=
store=
for each in "${java%/bin/java}/lib/security/cacerts" "${java%/bin/java}/jre/lib/security/cacerts"; do
  if [ -n "$java" ] && [ -r "$each" ]; then store=$(readlink -f "$each"); break; fi
done
"""
CERTIFICATES = (
    STORE
    + r"""
for alias; do
  if [ -n "$store" ] && pem=$(keytool -exportcert -rfc -alias "$alias" -keystore "$store" -storepass changeit </dev/null 2>/dev/null); then
    printf 'alias %s\n%s\n' "$alias" "$pem"
  fi
done
"""
)
PEM = re.compile(r"^alias (?P<alias>.+)\n(?P<pem>-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----)", re.MULTILINE)
JAVA_OPTS = re.compile(r"^(?P<name>\s*JAVA_OPTS=)(?P<value>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class FoundFile:
    """A file of the original's that is carried.

    Attributes:
        path: there.
        target: on the new servers.
        digest: SHA-256 of its content.
    """

    path: str
    target: str
    mode: int
    user: str
    group: str
    size: int
    digest: str


@dataclass(frozen=True)
class Found:
    """What of `new.carry` is there.

    Attributes:
        files: each single one.
        options: the options that go into JAVA_OPTS.
        certificates: alias -> certificate as PEM.
        problems: what can't be carried, by its key.
    """

    files: tuple[FoundFile, ...] = ()
    options: tuple[str, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def look(configuration: StackConfiguration, host: Access) -> Found:
    """Look at the original's server for everything that is to be carried."""
    carry = configuration.new.carry
    files, problems = _files(host, carry)
    options: tuple[str, ...] = ()
    if carry.jvm_options:
        options, missing = picked((host.read(OPTIONS_FILE) or b"").decode(errors="replace"), carry.jvm_options)
        problems += [
            f"new.carry.jvmOptions: no option of JAVA_OPTS in {OPTIONS_FILE} on {host.name} begins with {each}" for each in missing
        ]
    certificates = _certificates(host, carry.trust_store)
    problems += [
        f"new.carry.trustStore: the trust store of Java on {host.name} has no certificate {alias}, or keytool is not there"
        for alias in carry.trust_store
        if alias not in certificates
    ]
    return Found(tuple(files), options, certificates, tuple(problems))


def problems(configuration: StackConfiguration, connections: Connections) -> list[str]:
    """What of it is not there, or may not be carried."""
    carry = configuration.new.carry
    return list(look(configuration, connections.host(configuration.carried_from)).problems) if carry.anything else []


def differing(configuration: StackConfiguration, connections: Connections) -> list[str]:
    """Files that a new server does not have as the original's server has them now, in words."""
    if not configuration.new.carry.anything:
        return []
    source = configuration.carried_from
    found = look(configuration, connections.host(source))
    wrong = []
    for machine in configuration.new.management:
        there = digests(connections.host(machine), [file.target for file in found.files])
        wrong += [f"{file.target} on {machine.name}" for file in found.files if there.get(file.target) != file.digest]
    return wrong


def digests(host: Access, paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of those files that are there."""
    shown = host.script('for p; do [ -f "$p" ] && sha256sum <"$p" | sed "s|-\\$|$p|"; done; true', list(paths), timeout=LIMIT).stdout
    return {path: digest for digest, _, path in (line.partition("  ") for line in shown.splitlines())}


def _files(host: Access, carry: Carry) -> tuple[list[FoundFile], list[str]]:
    wanted, problems = {each.path: each for each in carry.all_files}, list[str]()
    extra = [path for path in UI_FILES if path not in wanted] if carry.ui_configuration else []
    if not wanted and not extra:
        return [], []
    shown = host.script(LOOK, [str(MOST + 1), *NEVER, "--", *wanted, *extra], timeout=LIMIT).stdout
    rows = [line.split("\t") for line in shown.splitlines()]
    gone = {row[1] for row in rows if row[0] == "missing"}
    problems += [f"{_key(carry, path)}: there is no {path} on {host.name}" for path in wanted if path in gone]
    if extra and set(extra) <= gone and not set(UI_FILES) & wanted.keys():
        problems.append(f"new.carry.uiConfiguration: there is none of {', '.join(UI_FILES)} on {host.name}")
    problems += [f"{_key(carry, row[1])}: {row[2]} is {row[3]}, which each side has of its own" for row in rows if row[0] == "never"]
    files = []
    for row in rows:
        if row[0] == "file":
            mode, user, group, size = row[3].split()
            target = _target(wanted.get(row[1]), row[1], row[2])
            files.append(FoundFile(row[2], target, int(mode, 8), user, group, int(size), row[4]))
    if len(files) > MOST or sum(file.size for file in files) > LARGEST:
        problems.append(
            f"new.carry: more than {MOST} files or {LARGEST >> 20} MiB on {host.name}; name single files, or bring the rest by a package of your own"
        )
    return files, problems


def _target(each: CarriedFile | None, path: str, file: str) -> str:
    to = each.target if each else path
    return to if file == path else posixpath.join(to, posixpath.relpath(file, path))


def _key(carry: Carry, path: str) -> str:
    places = [f"new.carry.files.{place}" for place, each in enumerate(carry.files) if each.path == path]
    return places[0] if places else "new.carry.extensions"


def picked(text: str, beginnings: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
    """The options of JAVA_OPTS that begin so, and the beginnings that none has."""
    present = words(text)
    taken = [option for option in present if option.startswith(tuple(beginnings))]
    return tuple(taken), [each for each in beginnings if not any(option.startswith(each) for option in present)]


def words(text: str) -> list[str]:
    """The options in the last JAVA_OPTS of a shell file; none where it can't be read as one."""
    found = list(JAVA_OPTS.finditer(text))
    try:
        return [word for part in shlex.split(found[-1]["value"], comments=True) for word in part.split()] if found else []
    except ValueError:
        return []


def with_options(text: str, options: Iterable[str], beginnings: Iterable[str]) -> str | None:
    """The file with these options in the place of those that begin alike; None where it has no JAVA_OPTS."""
    found = list(JAVA_OPTS.finditer(text))
    if not found:
        return None
    kept = [word for word in words(text) if not word.startswith(tuple(beginnings))]
    value = f'"{" ".join([*kept, *options])}"'
    last = found[-1]
    return text[: last.start()] + last["name"] + value + text[last.end() :]


def _certificates(host: Access, aliases: list[str]) -> dict[str, str]:
    if not aliases:
        return {}
    shown = host.script(CERTIFICATES, aliases, timeout=LIMIT).stdout
    return {match["alias"]: match["pem"] for match in PEM.finditer(shown)}

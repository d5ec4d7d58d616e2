"""What a management server has outside the database that its packages did not bring: asked by one script, which only reads, and no secret leaves the server.

Of properties only the keys are read out, with digests of their values under a salt that is this run's own, so that two servers can be compared. Of files their
paths and digests, of trust stores the fingerprints.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from parallel_build.health.file_places import FIRST_CONTENT, PLACES, PROPERTIES, counts
from parallel_build.remote.access import Access

LIMIT = 180.0  # seconds: the package manager reads some hundred megabytes
MOST = 5000  # files looked at in all places
# $1 salt, then places until `--`, then property files until `--`, then paths that settings name.
READ = r"""
export LC_ALL=C
salt=$1; shift
places=
while [ "$1" != -- ]; do places="$places $1"; shift; done; shift
deb=$(dpkg-query -W -f='${Package} ${Status}\n' 'cloudstack-*' 2>/dev/null | sed -n 's/ install ok installed$//p') || true
red=$(rpm -qa 'cloudstack-*' 2>/dev/null) || true
if [ -n "$deb" ]; then echo "family deb"; elif [ -n "$red" ]; then echo "family rpm"; else echo "family none"; fi
# shellcheck disable=SC2086 # the places are patterns
all=$(find $places -xdev \( -type f -o -type l \) 2>/dev/null | head -n "$MOST") || true
[ "$(echo "$all" | wc -l)" -lt "$MOST" ] || echo "truncated"
each() { echo "$all" | tr '\n' '\0' | nice xargs -0 -r "$@" 2>&1; true; }
foreign= changed=
if [ -n "$deb" ]; then
  [ -z "$all" ] || foreign=$(each dpkg -S -- | sed -n 's/^dpkg-query: no path found matching pattern //p')
  changed=$(nice dpkg -V $deb 2>/dev/null) || true
elif [ -n "$red" ]; then
  [ -z "$all" ] || foreign=$(each rpm -qf -- | sed -n 's/^file \(.*\) is not owned by any package$/\1/p')
  changed=$(nice rpm -V --nodeps --noscripts $red 2>/dev/null) || true
fi
# The management package's script makes this link to its own file; one that leads elsewhere, or a file in its place, is somebody's.
foreign=$(echo "$foreign" | while read -r path; do
  case $path in */log4j2.xml) [ "$(readlink -f -- "$path")" != "$(readlink -f -- "${path%/*}/log4j-cloud.xml")" ] || continue;; esac
  echo "$path"
done)
echo "$foreign" | sed -n 's/^\(.\)/foreign \1/p'
echo "$changed" | sed -n 's/^\(.\)/changed \1/p'
{ echo "$foreign"; echo "$changed" | sed -n 's,^[^/]*\(/.*\)$,\1,p'; } | while read -r path; do
  [ -f "$path" ] && [ -r "$path" ] && sha256sum -- "$path" | sed 's/^\\\{0,1\}\([0-9a-f]*\) [ *]/digest \1 /'
done || true
while [ "$1" != -- ]; do
  [ -r "$1" ] && sed -e ':a' -e '/\\$/N' -e 's/\\\n[ \t]*//' -e 'ta' -- "$1" | tr -d '\r' |
    sed -n 's/^[ \t]*\([^#!=: \t][^=: \t]*\)[ \t]*[=: \t][ \t]*\(.*\)$/\1 \2/p' | while read -r key value; do
      echo "property $1 $key $(printf '%s' "$salt$value" | sha256sum | cut -c1-32)"
    done
  shift
done; shift
for path; do [ -e "$path" ] && echo "path $path"; done
zone=$(readlink -f /etc/localtime 2>/dev/null | sed -n 's,^.*/zoneinfo/,,p')
[ -n "$zone" ] || zone=$(cat /etc/timezone 2>/dev/null) || true
echo "timezone ${zone:-unknown} $(date +%z)"
java=$(command -v java 2>/dev/null) && java=$(readlink -f "$java") || java=
for store in "${java%/bin/java}/lib/security/cacerts" "${java%/bin/java}/jre/lib/security/cacerts"; do
  [ -n "$java" ] && [ -r "$store" ] || continue
  echo "truststore $(readlink -f "$store")"
  keytool -list -keystore "$store" -storepass changeit </dev/null 2>/dev/null | sed -n 's/^/keytool /p'
  break
done
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem; do
  [ -r "$bundle" ] && echo "bundle $(gzip -c "$bundle" | base64 | tr -d '\n')" && break
done || true
""".replace("$MOST", str(MOST))
ENTRY = re.compile(r"^keytool (?P<alias>.+?), .*trustedCertEntry", re.MULTILINE)
FINGERPRINT = re.compile(r"^keytool Certificate fingerprint \(SHA-?(?:1|256)\): (?P<digits>[0-9A-Fa-f:]+)", re.MULTILINE)
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
MADE_BY_DEBIAN = "debian:"  # aliases that ca-certificates-java gives
SAME_ZONES = ({"UTC", "Etc/UTC", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu", "UCT", "Etc/UCT", "GMT", "Etc/GMT", "Greenwich"},)


@dataclass(frozen=True)
class ServerFiles:
    """What was found on a server.

    Attributes:
        family: `deb`, `rpm`, or `none` where no package manager knows CloudStack.
        truncated: there are more files than were looked at.
        foreign: files that no package brought.
        changed: files that are not as their package brought them -> `differs from its package` or `is gone`.
        digests: of these files.
        properties: file -> key -> salted digest of its value.
        paths: of those asked for, the ones that exist.
        timezone: its name, and the distance from UTC now.
        truststore: of the Java in use, "" where there is none.
        added: fingerprints of certificates in it that the distribution did not put there -> alias.
        trusted: all fingerprints in it.
    """

    family: str = "none"
    truncated: bool = False
    foreign: frozenset[str] = frozenset()
    changed: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    properties: dict[str, dict[str, str]] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    timezone: tuple[str, str] = ("", "")
    truststore: str = ""
    added: dict[str, str] = field(default_factory=dict)
    trusted: frozenset[str] = frozenset()

    @property
    def own(self) -> dict[str, str]:
        """Files that are somebody's own doing, and how."""
        foreign = (path for path in self.foreign if counts(path) and self.digests.get(path, "") != FIRST_CONTENT.get(path))
        found = dict.fromkeys(foreign, "belongs to no package")
        return dict(sorted({**found, **{path: how for path, how in self.changed.items() if counts(path)}}.items()))


def read(host: Access, salt: str, paths: Sequence[str] = ()) -> ServerFiles:
    """Ask a server.

    Args:
        salt: the same for all servers that are to be compared.
        paths: whose existence is asked for.
    """
    shown = host.script(READ, [salt, *PLACES, "--", *PROPERTIES, "--", *paths], timeout=LIMIT).stdout
    return parse(shown)


def parse(shown: str) -> ServerFiles:
    """What the script printed."""
    lines: dict[str, list[str]] = {}
    for line in shown.splitlines():
        kind, _, rest = line.partition(" ")
        lines.setdefault(kind, []).append(rest)
    properties: dict[str, dict[str, str]] = {}
    for text in lines.get("property", []):
        path, key, digest = text.split(" ", 2)
        properties.setdefault(path, {})[key] = digest
    zone, _, offset = next(iter(lines.get("timezone", [])), "").partition(" ")
    certificates = _certificates(shown)
    known = _bundle(next(iter(lines.get("bundle", [])), ""))
    return ServerFiles(
        family=next(iter(lines.get("family", [])), "none"),
        truncated="truncated" in lines,
        foreign=frozenset(lines.get("foreign", [])),
        changed=dict(filter(None, (_changed(text) for text in lines.get("changed", [])))),
        digests={path: digest for digest, _, path in (text.partition(" ") for text in lines.get("digest", []))},
        properties=properties,
        paths=frozenset(lines.get("path", [])),
        timezone=(zone, offset),
        truststore=next(iter(lines.get("truststore", [])), ""),
        # Without the distribution's list nothing is known to be added to it.
        added={mark: alias for mark, alias in certificates.items() if known and mark not in known and not alias.startswith(MADE_BY_DEBIAN)},
        trusted=frozenset(certificates),
    )


def same_zone(one: str, other: str) -> bool:
    """Whether two names are of one time zone."""
    return one == other or any(one in zones and other in zones for zones in SAME_ZONES)


def _changed(text: str) -> tuple[str, str] | None:
    """A line of `dpkg -V` or `rpm -V`: nine flags or `missing`, perhaps a letter, the path. Owner, mode and time are what scripts of packages change."""
    match = re.match(r"^(?P<flags>\S+)\s+(?:[cdglr]\s+)?(?P<path>/.*?)(?: \(.*\))?$", text)
    if not match:
        return None
    if match["flags"] == "missing":
        return match["path"], "is gone"
    return (match["path"], "differs from its package") if match["flags"][2:3] == "5" else None


def _certificates(shown: str) -> dict[str, str]:
    """Fingerprint -> alias of what keytool lists; each entry is followed by its fingerprint."""
    aliases = [match["alias"] for match in ENTRY.finditer(shown)]
    marks = [match["digits"].replace(":", "").lower() for match in FINGERPRINT.finditer(shown)]
    return dict(zip(marks, aliases, strict=False)) if len(marks) == len(aliases) else {}


def _bundle(packed: str) -> set[str]:
    """Fingerprints of the distribution's certificates, by both digests that versions of keytool print."""
    try:
        pem = gzip.decompress(base64.b64decode(packed)).decode("ascii", "replace") if packed else ""
        ders = [ssl.PEM_cert_to_DER_cert(block) for block in PEM.findall(pem)]
    except (ValueError, OSError):
        return set()
    return {digest(der).hexdigest() for der in ders for digest in (hashlib.sha256, _sha1)}


def _sha1(data: bytes) -> hashlib._Hash:
    return hashlib.sha1(data, usedforsecurity=False)

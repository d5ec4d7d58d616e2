"""Where a database server listens on its own machine: asked of the running server, since any path can be configured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parallel_build.errors import ConnectionFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_login import DatabaseLogin

USUAL = ("/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108 - where servers put it
PROGRAMS = "mysqld mariadbd mysqld-debug"
# What a database server's unit is called. A server that somebody started by hand belongs to that session's, which is never stopped for it.
OURS = re.compile(r"mysql|maria|percona|galera", re.IGNORECASE)
# A server's listening sockets are those of /proc/net whose numbers its descriptors have. A relative path is one of its working folder. What lies
# about from a server that is gone listens no more; the usual places are named last, for a server whose descriptors can't be seen. Behind each path stands
# the unit that the process belongs to, by its control group: of nested names the last counts.
LISTENING = r"""
port=$(printf %04X "$1"); programs=" $2 "; shift 2
for folder in /proc/[0-9]*; do
  { read -r name <"$folder/comm"; } 2>/dev/null || continue
  case $programs in *" $name "*) ;; *) continue ;; esac
  here=$(readlink "$folder/cwd" 2>/dev/null || true)
  unit=$(sed -n 's,^.*/\([^/]*\)\.service\(/.*\)\{0,1\}$,\1,p' "$folder/cgroup" 2>/dev/null | tail -n 1 || true)
  { ls -l "$folder/fd" 2>/dev/null; echo =tcp; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null; echo =unix; cat /proc/net/unix; } |
    awk -v port="$port" -v here="$here" -v unit="$unit" '
      /^=/ { part = $0; next }
      part == "" { if (match($0, /socket:\[[0-9]+\]$/)) own[substr($0, RSTART + 8, RLENGTH - 9)] = 1; next }
      part == "=tcp" { n = split($2, address, ":"); if ($4 == "0A" && address[n] == port && ($10 in own)) hit = 1; next }
      $4 == "00010000" && ($7 in own) && NF > 7 {
        path = $0; for (i = 0; i < 7; i++) sub(/^[^ ]+ +/, "", path)
        if (path ~ /^@/) next
        if (path !~ /^\//) path = here "/" path
        paths[++count] = path
      }
      END { for (i = 1; i <= count; i++) print (hit ? "port" : "other") "\t" paths[i] "\t" unit }' || true
done
for path; do if [ -S "$path" ]; then printf 'usual\t%s\n' "$path"; fi; done
"""


@dataclass(frozen=True)
class Found:
    """A socket of a server.

    Attributes:
        kind: `port`: of the server that listens on the configured port; `other`: of another; `usual`: a file in a usual place, whoever listens.
        path: it.
        unit: of systemd's that the server's process belongs to, "" where that can't be seen.
    """

    kind: str
    path: str
    unit: str = ""


def find_socket(host: Access, login: DatabaseLogin | None = None) -> str | None:
    """The database server's socket on `host`, or None when none listens (the server is down).

    Args:
        login: how to log in there; `host.login()` without it.
    Raises:
        ConnectionFailed: several servers run there and nothing shows which is meant; or the login's option file can't be used.
    """
    login = login or host.login()
    if login.socket is not None:
        return login.socket if host.run(["test", "-S", login.socket], ok=(0, 1)).ok else None
    shown = host.script(LISTENING, [str(login.port), PROGRAMS, *USUAL]).stdout
    path, among = choose(_parse(shown))
    if among:
        raise ConnectionFailed(
            f"{host.name}: several database servers run there, at {', '.join(among)}",
            f"none of them is known by port {login.port}",
            f"name the right one in {login.key or 'original.database'}.admin.socket",
        )
    return path


def unit_of_server(host: Access) -> str:
    """The unit that the running database server belongs to, whatever its name; "" where none runs, or nothing decides between several."""
    found = _parse(host.script(LISTENING, [str(host.database.port), PROGRAMS]).stdout)
    for kind in ("port", "other"):
        units = {each.unit for each in found if each.kind == kind and OURS.search(each.unit)}
        if units:
            return units.pop() if len(units) == 1 else ""
    return ""


def _parse(shown: str) -> list[Found]:
    return [Found(*line.split("\t", 2)) for line in shown.splitlines() if "\t" in line]


def choose(found: Iterable[Found]) -> tuple[str | None, Sequence[str]]:
    """The socket to use, and those among which nothing decides."""
    found = list(found)
    usual = [each.path for each in found if each.kind == "usual"]
    for kind in ("port", "other"):
        paths = sorted({each.path for each in found if each.kind == kind})
        # MySQL's X protocol has a socket of its own, which is no place for a session.
        paths = [path for path in paths if "mysqlx" not in path.rsplit("/", 1)[-1]] or paths
        if len(paths) == 1:
            return paths[0], ()
        if paths:
            known = [path for path in USUAL if path in paths]
            return (known[0], ()) if known else (None, paths)
    return (usual[0] if usual else None), ()

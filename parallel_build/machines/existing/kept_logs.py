"""What is kept of a server that was switched to before it is taken away: its logs and, on the source, a dump of its databases.

Everything goes below /var/log, which an undo leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from parallel_build.cloudstack.services import Services
from parallel_build.errors import CommandFailed, RollbackIncomplete
from parallel_build.remote.access import Access
from parallel_build.remote.database_client import logged_in
from parallel_build.remote.database_socket import find_socket

ROOT = "/var/log/cloudstack-parallel-build"
# The last is a file: MySQL's own packages for EL own it, so it goes with them.
LOGS = ("/var/log/cloudstack", "/var/log/mysql", "/var/log/mariadb", "/var/log/mysqld.log")
DATABASES = ("cloud", "cloud_usage", "cloudbridge")
DUMP_TIMEOUT = 6 * 3600.0

_DUMP = r"""
folder=$1 login=$2; shift 2
client=mariadb; dumper=mariadb-dump
command -v "$dumper" >/dev/null || { client=mysql; dumper=mysqldump; }
present=
for name; do
  tables=$("$client" --defaults-file="$login" -N -B -e "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '$name'" </dev/null)
  if [ "$tables" -gt 0 ]; then present="$present $name"; fi
done
[ -n "$present" ] || exit 0
size=$("$client" --defaults-file="$login" -N -B -e "SELECT CEIL(COALESCE(SUM(DATA_LENGTH), 0) / 1024) FROM information_schema.TABLES" </dev/null)
free=$(df -Pk /var/log | awk 'NR == 2 {print $4}')
# Compressed it takes a fraction; half is on the safe side.
if [ "$free" -lt $((size / 2 + 65536)) ]; then echo "needs $((size / 2048 + 64)) MiB, has $((free / 1024))" >&2; exit 45; fi
mkdir -p -m 700 "$folder"
umask 077
"$dumper" --defaults-file="$login" --single-transaction --routines --events --triggers --databases $present </dev/null 2>"$folder/dump.log" |
  gzip -1 >"$folder/databases.sql.gz.part"
zcat "$folder/databases.sql.gz.part" | tail -n 1 | grep -q '^-- Dump completed' || { tail -n 3 "$folder/dump.log" >&2; exit 46; }
mv "$folder/databases.sql.gz.part" "$folder/databases.sql.gz"
echo "$present"
"""


def keep(host: Access, stack: str, *, source: bool, intend: Callable[..., None], progress: Callable[[str], None]) -> None:
    """Keep logs, and a dump where the databases have tables: those of a stack that was never switched to have been dropped before.

    Args:
        source: whether the server is the new source.
    Raises:
        RollbackIncomplete: there is something to be kept and no space for it.
    """
    folder = f"{ROOT}/{stack}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if source and find_socket(host) is None and _has_databases(host):
        unit = Services(host).database_unit()
        raise RollbackIncomplete(
            f"{host.name}: the database server is down, and the databases that the cloud ran on are in its data folder",
            "they are kept for the investigation before the server is taken away",
            f"start it there (`systemctl unmask {unit}; systemctl start {unit}`) or move /var/lib/mysql/cloud* away, "
            "then run `pulumi destroy` again",
        )
    if source and find_socket(host) is not None:
        try:
            with logged_in(host, "dump") as login:
                kept = host.script(_DUMP, [folder, login, *DATABASES], timeout=DUMP_TIMEOUT).stdout.split()
        except CommandFailed as error:
            raise RollbackIncomplete(
                f"{host.name}: the databases that the cloud ran on could not be kept in {ROOT}",
                error.cause or error.fact,
                f"make room in /var/log or drop {', '.join(DATABASES)} there yourself, then run `pulumi destroy` again",
            ) from None
        if kept:
            progress(f"{host.name}: {', '.join(kept)} kept in {folder}/databases.sql.gz")
    text = r"""
    folder=$1; shift
    for path; do
      [ -e "$path" ] && [ -n "$(find "$path" -type f -size +0 -print -quit)" ] || continue
      mkdir -p -m 700 "$folder"
      # Hard links: the packages' removal takes only their names away.
      cp -al "$path" "$folder/"
      echo "$path"
    done
    """
    intend(f"{host.name}: keep its logs in {folder}")
    logs = host.script(text, [folder, *LOGS], timeout=300, cancellable=False).stdout.split()
    if logs:
        progress(f"{host.name}: {', '.join(logs)} kept in {folder}")


def _has_databases(host: Access) -> bool:
    return host.run(["test", "-d", "/var/lib/mysql/cloud"], ok=(0, 1)).ok

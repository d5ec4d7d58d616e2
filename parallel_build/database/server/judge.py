"""A second database server process next to a new server's own: the judge of what definitions mean. It has no data and no network.

It is the same program with the settings that decide what a definition means there, and whether it can be made at all. Whoever opens it has it to
himself; afterwards its process and its folder are gone, also when the tool or its machine is: with no client left it ends itself.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from parallel_build.cancel import CancelToken
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Session, session

UNIT = "cutover-judge"
FOLDER = "/var/tmp/cutover-judge"  # noqa: S108 - a server's own rules (AppArmor) let it write there; each judge makes a folder of its own
MEMORY = "1G"
DEADLINE = 180.0  # seconds until it answers
LONGEST = 3600  # seconds after which it ends, whatever its clients do
LONELY = 60  # seconds without a client after which it ends itself

# What decides how a statement is understood, printed or refused; a server that does not know one of them goes without.
MEANING = (
    "sql_mode", "character_set_server", "collation_server", "character_set_collations", "old_mode", "lower_case_table_names",
    "explicit_defaults_for_timestamp", "default_storage_engine", "innodb_strict_mode", "innodb_default_row_format", "innodb_page_size",
    "innodb_file_per_table", "log_bin_trust_function_creators", "max_allowed_packet", "thread_stack", "sql_require_primary_key",
    "sql_generate_invisible_primary_key", "default_table_encryption", "table_encryption_privilege_check", "restrict_fk_on_non_standard_key",
    "default_regex_flags", "div_precision_increment", "ft_min_word_len", "innodb_ft_min_token_size", "ngram_token_size",
)  # fmt: skip
# Nothing in it is to last, and little is to be used for it.
LIGHT = (
    "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
    "--innodb-use-native-aio=OFF", "--sync-binlog=0", "--event-scheduler=OFF", "--skip-networking", "--skip-name-resolve", "--max-connections=10",
    "--wait-timeout=600",
)  # fmt: skip
FAMILY = {
    "mariadb": ("--innodb-log-file-size=8M", "--aria-pagecache-buffer-size=8M", "--key-buffer-size=1M"),
    "mysql": ("--innodb-redo-log-capacity=8M", "--mysqlx=OFF", "--key-buffer-size=1M"),
}
# Folders of judges whose units are gone are a machine's that lost its power. Then a folder that only the server's account may enter.
START = r"""
name=$1 run_as=$2 memory=$3 longest=$4 body=$5; shift 5
for old in /var/tmp/cutover-judge.*; do
  [ -d "$old" ] || continue
  case "$(systemctl is-active "cutover-judge-${old##*.}" 2>/dev/null)" in active|activating|deactivating) ;; *) rm -rf "$old" ;; esac
done
folder=/var/tmp/cutover-judge.$name
mkdir -m 700 "$folder"
chown "$run_as:" "$folder"
exec systemd-run --quiet --collect --unit="cutover-judge-$name" --uid="$run_as" --property=UMask=0077 --property=MemoryMax="$memory" \
  --property=RuntimeMaxSec="$longest" --property=KillMode=control-group --property=KillSignal=SIGKILL --property=SendSIGKILL=yes \
  --property=LimitCORE=0 --property=OOMScoreAdjust=500 --property=Nice=5 --property=WorkingDirectory="$folder" \
  --property="ExecStopPost=/bin/rm -rf $folder" /bin/sh -c "$body" sh "$folder" "$@"
"""
# Accepted connections of a listening socket carry its name: with none but the socket itself, nobody is there.
BODY = r"""
folder=$1 program=$2 install=$3 lonely=$4; shift 4
if [ -n "$install" ]; then
  "$install" --no-defaults --datadir="$folder/data" --auth-root-authentication-method=normal --skip-test-db "$@" >/dev/null || exit 1
else
  "$program" --no-defaults --initialize-insecure --datadir="$folder/data" "$@" || exit 1
fi
"$program" --no-defaults --datadir="$folder/data" --socket="$folder/s" --pid-file="$folder/pid" --tmpdir="$folder" "$@" &
server=$! alone=0
while kill -0 $server 2>/dev/null; do
  sleep 1
  if [ "$(grep -c " $folder/s\$" /proc/net/unix)" -gt 1 ]; then alone=0; else alone=$((alone + 1)); fi
  [ $alone -lt "$lonely" ] || exit 0
done
exit 1
"""
ANSWERS = r"""
unit=$1 socket=$2
for i in $(seq 100); do
  [ -S "$socket" ] && exit 0
  case "$(systemctl is-active "$unit" 2>/dev/null)" in active|activating) ;; *) exit 3 ;; esac
  sleep 0.05
done
exit 4
"""
END = r"""
systemctl stop "$1" 2>/dev/null || true
systemctl reset-failed "$1" 2>/dev/null || true
rm -rf "$2"
"""
PROGRAM = r"""
pid=$(cat "$1"); shift
readlink "/proc/$pid/exe" | sed 's/ (deleted)$//'
stat -c %U "/proc/$pid"
for word; do command -v "$word" && exit 0; done
echo
"""


@dataclass(frozen=True)
class Program:
    """The server's program and how it is to run as a judge.

    Attributes:
        path: of the server itself.
        account: that it runs as.
        install: program that makes a data folder; empty where the server does it.
        options: its words.
    """

    path: str
    account: str
    install: str
    options: tuple[str, ...]


@contextlib.contextmanager
def judge(host: Access, cancel: CancelToken) -> Iterator[Session]:
    """A session to a judge next to `host`'s database server; both are gone afterwards.

    Raises:
        StepFailed: it does not come up, with its words.
        ConnectionFailed: the server itself is down.
    """
    program = _program(host)
    name = secrets.token_hex(4)
    unit, folder = f"{UNIT}-{name}", f"{FOLDER}.{name}"
    try:
        words = [program.path, program.install, str(LONELY), *program.options]
        host.script(START, [name, program.account, MEMORY, str(LONGEST), BODY, *words], cancellable=False)
        _await(host, unit, f"{folder}/s", cancel)
        with session(host, socket=f"{folder}/s") as opened:
            yield opened
    finally:
        host.script(END, [unit, folder], timeout=60, cancellable=False)


def settings(opened: Session) -> dict[str, str]:
    """What of a server's settings decides what a definition means there."""
    found = {str(row["Variable_name"]): str(row["Value"]) for row in opened.rows("SHOW GLOBAL VARIABLES")}
    return {name: found[name] for name in (*MEANING, "log_bin") if name in found}


def _program(host: Access) -> Program:
    with session(host) as opened:
        server = identify(opened)
        values = settings(opened)
        paths = opened.row("SELECT @@GLOBAL.pid_file AS pid, @@GLOBAL.datadir AS data, @@GLOBAL.basedir AS base") or {}
    pid = str(paths["pid"]) if str(paths["pid"]).startswith("/") else f"{str(paths['data']).rstrip('/')}/{paths['pid']}"
    installers = ("mariadb-install-db", "mysql_install_db") if server.family == "mariadb" else ()
    found = host.script(PROGRAM, [pid, *installers]).stdout.split("\n")
    return Program(found[0], found[1], found[2] if installers else "", (f"--basedir={paths['base']}", *_options(server, values)))


def _options(server: DatabaseServer, values: dict[str, str]) -> tuple[str, ...]:
    log = ("--log-bin=bin", "--server-id=1") if values.get("log_bin") == "ON" else ("--skip-log-bin",)
    same = [f"--{name}={value}" for name, value in values.items() if name != "log_bin"]
    return (*same, *log, *LIGHT, *FAMILY[server.family])


def _await(host: Access, unit: str, socket: str, cancel: CancelToken) -> None:
    """Until its socket is there.

    Raises:
        StepFailed: it ended before, or took too long.
    """
    end = time.monotonic() + DEADLINE
    while True:
        code = host.script(ANSWERS, [unit, socket], ok=(0, 3, 4)).code
        if code == 0:
            return
        cancel.check()
        if code == 3 or time.monotonic() > end:
            log = host.run(["journalctl", "-u", unit, "-n", "40", "--no-pager", "-o", "cat"], ok=None).stdout.splitlines()
            errors = [line for line in log if "ERROR" in line.upper()] or log
            raise StepFailed(
                f"{host.name}: the database server that judges definitions does not start",
                " | ".join(errors[-4:]) or "it ended without a word",
                f"see `journalctl -u {unit}` on {host.name}; it needs some 300 MB in /var/tmp and as much memory, for a minute",
            )

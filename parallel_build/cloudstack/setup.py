"""Setting a management server up: CloudStack's own two commands, working around their known pitfalls.

`cloudstack-setup-databases` contacts nothing without --deploy-as, so its exit code 0 proves nothing;
`cloudstack-setup-management` exits 0 also when it fails; and both the database key and the password would stand in the
process list. So: the login is proved by itself, the marker lines are read, and the secrets are handed to the command as
throw-away values which are then replaced in the files it wrote.
"""

from __future__ import annotations

import re
import secrets

from parallel_build.cloudstack.encryption import Encryptor, encrypt
from parallel_build.cloudstack.keys import DatabaseKey
from parallel_build.cloudstack.properties import DB_PROPERTIES, KEY_FILE, decode, encode, parse_of, replace
from parallel_build.cloudstack.web import SERVER_PROPERTIES
from parallel_build.configuration import Server
from parallel_build.errors import StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.whole_files import COPY, KEEP
from parallel_build.secret import Secret
from parallel_build.versions import CloudStackVersion

USAGE_FOLDER = "/etc/cloudstack/usage"
SHIPPED = DB_PROPERTIES + ".shipped"
DATABASES_DONE = "successfully initialized database"
REPOSITORY = "system.vm.templates.download.repository"
MARK = "# for the first start alone, by cloudstack-parallel-build: no system VM template is downloaded"
# $1 the file, $2 the line before ours, $3 ours. Replaced whole, with owner and mode as they are.
OPEN_REPOSITORY = (
    'grep -qxF "$2" "$1" || exit 0; t=$1.new.$$; cp -p "$1" "$t"; '
    'awk -v m="$2" \'$0 == m {getline; next} {print}\' "$1" >"$t" && sync "$t" && mv -f "$t" "$1"'
)
CLOSE_REPOSITORY = (
    'grep -qxF "$2" "$1" && exit 0; t=$1.new.$$; cp -p "$1" "$t"; '
    '{ [ -z "$(tail -c 1 "$1")" ] || echo; echo "$2"; echo "$3"; } >>"$t" && sync "$t" && mv -f "$t" "$1"'
)
DOWNLOADS_SINCE = CloudStackVersion("4.23.0.0")
DOWNLOADS_FROM = "--systemvm-templates-repository"
NOWHERE = "http://127.0.0.1:9/"  # the server's own discard port, where nobody listens: refused at once
MANAGEMENT_DONE = "CloudStack Management Server setup is Done!"
LOGIN = (
    "c=$(command -v mariadb || command -v mysql) || exit 45; "
    "$c --defaults-file=/dev/stdin --connect-timeout=15 -N -e 'SELECT COUNT(*) FROM cloud.version'"
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def prove_login(host: Access, database: Server, port: int, password: Secret) -> None:
    """Log in as the management server will, from the management server itself.

    Raises:
        StepFailed: it may not, or the copy is not there.
    """
    options = f'[client]\nhost="{database.address}"\nport={port}\nuser="cloud"\npassword="{password.reveal()}"\n'
    answer = host.run(
        ["sh", "-c", LOGIN],
        input=Secret(options),
        ok=None,
    )
    if answer.code == 45:
        raise StepFailed(f"{host.name} has no mysql client", "cloudstack-management depends on one", "install it")
    if answer.code != 0 or answer.stdout.strip() in ("", "0"):
        raise StepFailed(
            f"user cloud can't use the databases on {database.name} ({database.address}:{port}) from {host.name}",
            answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else "the table cloud.version is empty",
            f"let {host.name} reach port {port} of {database.name}. User cloud may log in from the management servers' addresses in the stack file only: "
            "correct them there; the next `pulumi up` makes the account again",
        )


def setup_databases(
    host: Access, server: Server, database: Server, port: int, *, password: Secret, management_key: Secret, key: DatabaseKey
) -> None:
    """Run cloudstack-setup-databases (never --deploy-as) and put the true secrets into its files.

    Args:
        host: the management server.
        server: its address becomes `cluster.node.IP`, always given: the default is often 127.0.1.1.
        key: the old database's key and encryptor version.
    """
    host.run(["sh", "-c", KEEP, "sh", DB_PROPERTIES, SHIPPED], cancellable=False)
    # The command needs the keys it rewrites to be there, as they are in the shipped file.
    host.run(["sh", "-c", COPY, "sh", SHIPPED, DB_PROPERTIES], cancellable=False)
    throw_away = secrets.token_hex(12)
    done = host.run(
        ["cloudstack-setup-databases", f"cloud:{throw_away}@{database.address}:{port}", "-e", "file", "-m", throw_away,
         "-k", throw_away, "-g", key.encryptor.value, "-i", server.address],
        timeout=300,
        ok=None,
        cancellable=False,
    )  # fmt: skip
    if done.code != 0 or DATABASES_DONE not in done.stdout:
        raise StepFailed(
            f"cloudstack-setup-databases failed on {host.name}",
            _words(done.stderr or done.stdout) or f"it ended with exit code {done.code} with no output",
            f"fix that on {host.name} (its own name must resolve, its packages be whole), then run the same command again",
        )
    raw = host.read(DB_PROPERTIES)
    text = decode(raw or b"")
    written = parse_of(host, DB_PROPERTIES, text)
    if written.get("cluster.node.IP") != server.address or written.get("db.cloud.host") != database.address:
        raise StepFailed(
            f"{host.name}: {DB_PROPERTIES} does not have what cloudstack-setup-databases was given",
            f"cluster.node.IP={written.get('cluster.node.IP')}, db.cloud.host={written.get('db.cloud.host')}",
            f"on {host.name} `dpkg --verify cloudstack-management`, or `rpm -V cloudstack-management`, shows whether {DB_PROPERTIES} was changed by hand: "
            "take that out, then run the same command again",
        )
    encryptor = key.encryptor or Encryptor.V2
    sealed = {
        name: f"ENC({encrypt(value, management_key, encryptor)})"
        for name, value in {
            "db.cloud.password": password,
            "db.usage.password": password,
            "db.cloud.encrypt.secret": key.secret,
        }.items()
    }
    host.write(KEY_FILE, management_key, mode=0o640, owner="root:cloud")
    host.write(DB_PROPERTIES, encode(replace(text, sealed, f"{host.name}: {DB_PROPERTIES}")), mode=0o640, owner="root:cloud")


def setup_management(host: Access) -> None:
    """Run cloudstack-setup-management --no-start; its exit code is 0 whatever happens, so its words are read.

    Since 4.23 it ends with downloading system VM templates, gigabytes while users wait, and from a rehearsal's network nothing can be reached: it is
    given a place where there are none. What it then reports comes after the set-up, and is none of it.
    """
    known = host.run(["cloudstack-setup-management", "--help"], timeout=60, ok=None)
    elsewhere = [DOWNLOADS_FROM, NOWHERE] if DOWNLOADS_FROM in known.stdout else []
    done = host.run(["cloudstack-setup-management", "--no-start", *elsewhere], timeout=300, ok=None, cancellable=False)
    text = COLOURS.sub("", done.stdout + done.stderr)
    before = COLOURS.sub("", done.stdout).partition(MANAGEMENT_DONE)[0] + (done.stderr if not elsewhere else "")
    if done.code != 0 or MANAGEMENT_DONE not in text or "[Failed]" in before:
        raise StepFailed(
            f"cloudstack-setup-management failed on {host.name}",
            _words(text),
            f"see /var/log/cloudstack/management/setupManagement.log on {host.name} (`hostname --fqdn` must give a name there); then run the same "
            "command again",
        )


def keep_from_downloading(host: Access, version: CloudStackVersion) -> None:
    """Have the first start register the templates that are there and download none: since 4.23 a schema upgrade fetches a template that has no file."""
    if version >= DOWNLOADS_SINCE:
        host.script(CLOSE_REPOSITORY, [SERVER_PROPERTIES, MARK, f"{REPOSITORY}={NOWHERE}"], cancellable=False)


def let_download(host: Access, version: CloudStackVersion) -> None:
    """Take that back once the schema is upgraded: the server reads it when it starts next."""
    if version >= DOWNLOADS_SINCE:
        host.script(OPEN_REPOSITORY, [SERVER_PROPERTIES, MARK], cancellable=False)


def no_download(version: CloudStackVersion) -> str:
    """What a plan shows about the templates that the target's set-up would download."""
    return f" {DOWNLOADS_FROM} {NOWHERE} (so that no system VM template is downloaded)" if version >= DOWNLOADS_SINCE else ""


def link_usage(host: Access) -> None:
    """Give the usage server the management server's db.properties and key.

    The Debian package links each only where it is there at installation, before any set-up [debian/cloudstack-usage.postinst].
    """
    host.script('cd "$1"; ln -sfn ../management/db.properties db.properties; ln -sfn ../management/key key', [USAGE_FOLDER])


def undo_setup(host: Access) -> None:
    """Put the shipped db.properties back and take the key away: the server is never-set-up again."""
    host.script('if [ -e "$2" ]; then mv -f "$2" "$1"; rm -f "$3"; fi', [DB_PROPERTIES, SHIPPED, KEY_FILE], cancellable=False)
    host.script(f'[ -e "$1" ] || exit 0\n{OPEN_REPOSITORY}', [SERVER_PROPERTIES, MARK], cancellable=False)


def _words(text: str) -> str:
    lines = [line.strip() for line in COLOURS.sub("", text).splitlines() if line.strip(" *")]
    return " | ".join(lines[:4])[:400]

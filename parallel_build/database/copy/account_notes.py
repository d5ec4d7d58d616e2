"""Our accounts on the original's database server, noted on its host before they are made and until they are dropped.

A database server that is down can't be asked which accounts it has; its host can. So every way out knows what may be left there.
"""

from __future__ import annotations

from parallel_build.remote.access import Access

FOLDER = "/var/lib/cloudstack-parallel-build/accounts"  # next to the window's record

_NOTE = 'mkdir -p -m 700 "$(dirname "$1")" "$1"; : >"$1/$2"; sync "$1/$2" "$1"'
_FORGET = '[ -e "$1/$2" ] || exit 0; rm -f "$1/$2"; sync "$1"; rmdir --ignore-fail-on-non-empty "$1"'
_LIST = '[ -d "$1" ] || exit 0; ls "$1"'


def note(host: Access, user: str) -> None:
    """Note an account that is about to be made. Idempotent."""
    host.script(_NOTE, [FOLDER, user], cancellable=False)


def forget(host: Access, user: str) -> None:
    """The database server has no such account any more; nothing happens where none was noted."""
    host.script(_FORGET, [FOLDER, user], cancellable=False)


def noted(host: Access) -> list[str]:
    """Accounts that may still be there."""
    return host.script(_LIST, [FOLDER], cancellable=False).stdout.split()


def advice(host: Access, users: list[str]) -> str:
    """What an operator has to know of accounts that could not be dropped."""
    commands = "; ".join(f"DROP USER {user}@HOST" for user in users)
    return (
        f"{host.name}: its database server is down, so {', '.join(users)} could not be dropped there; nobody knows the password. "
        f"If you start it again: SELECT User, Host FROM mysql.user WHERE User IN ({', '.join(repr(user) for user in users)}), then {commands}"
    )

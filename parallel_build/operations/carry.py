"""Putting on the new management servers what `new.carry` takes over, and taking it away again without a trace.

What a file was before is kept on that server, and named in a sheet there before anything is changed, so that the undo works from what it finds.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from parallel_build.errors import RollbackIncomplete, StepFailed
from parallel_build.facts import carried
from parallel_build.facts.carried import OPTIONS_FILE, STORE, Found, FoundFile
from parallel_build.operations.context import Context
from parallel_build.remote.access import Access
from parallel_build.remote.frame import FOLDER
from parallel_build.remote.whole_files import KEEP

SHEET = f"{FOLDER}/carried.json"
KEPT = f"{FOLDER}/carried"  # what the packages had brought
IMPORT = (
    STORE
    + r"""
[ -n "$store" ] || { echo 'no trust store of Java'; exit 0; }
now=$(keytool -exportcert -rfc -alias "$1" -keystore "$store" -storepass changeit </dev/null 2>/dev/null) || now=
if [ "$now" = "$2" ]; then echo same; exit 0; fi
[ -z "$now" ] || { echo another; exit 0; }
[ "$3" = look ] && { echo absent; exit 0; }
printf '%s\n' "$2" | keytool -importcert -noprompt -alias "$1" -keystore "$store" -storepass changeit >/dev/null 2>&1 && echo imported
"""
)
FORGET = STORE + r'[ -z "$store" ] || keytool -delete -alias "$1" -keystore "$store" -storepass changeit </dev/null >/dev/null 2>&1 || true'
KEEP_PACKAGED = f'mkdir -p -m 700 "$3"; [ ! -e "$1" ] || {{ {KEEP}; }}'
FOLDERS = 'd=$1; while [ ! -d "$d" ]; do echo "$d"; d=$(dirname "$d"); done'
# Each command for itself: of `a && b` the first that fails ends no script, and what was kept would be removed although it is not back.
PUT_BACK = 'if [ -e "$2" ]; then t=$1.new.$$; cp -p "$2" "$t"; sync "$t"; mv -f "$t" "$1"; else rm -f "$1"; fi; rm -f "$2" "$1".new.*'
LABEL = 'command -v restorecon >/dev/null && restorecon "$@" || true'


def put(context: Context, host: Access, source: Access, found: Found) -> list[str]:
    """Have one new server as the original's: files, options, certificates. What is as it is to be is left alone.

    Returns:
        what was changed.
    """
    sheet = _read(host)
    wanted = {file.target for file in found.files} | ({OPTIONS_FILE} if found.options else set())
    for path in [path for path in sheet["files"] if path not in wanted]:
        _put_back(context, host, sheet, path)
    for alias in [alias for alias in sheet["aliases"] if alias not in found.certificates]:
        _forget(context, host, sheet, alias)
    there = carried.digests(host, [file.target for file in found.files])
    changed = [file.target for file in found.files if there.get(file.target) != file.digest]
    for file in found.files:
        if there.get(file.target) != file.digest:
            _bring(context, host, source, sheet, file)
    if found.options and _options(context, host, sheet, found):
        changed.append(f"JAVA_OPTS in {OPTIONS_FILE}")
    for alias, pem in found.certificates.items():
        if _trust(context, host, sheet, alias, pem):
            changed.append(f"certificate {alias}")
    _prove(host, found)
    return changed


def take_away(context: Context, host: Access) -> list[str]:
    """Leave the server as its packages brought it; nothing happens where nothing was carried.

    Raises:
        RollbackIncomplete: something of it is still there.
    """
    sheet = _read(host)
    paths = list(sheet["files"])
    new = [path for path, about in sheet["files"].items() if not about["found"]]
    for path in paths:
        _put_back(context, host, sheet, path)
    for alias in list(sheet["aliases"]):
        _forget(context, host, sheet, alias)
    if sheet["folders"]:
        host.script('for d; do rmdir "$d" 2>/dev/null || true; done', sorted(sheet["folders"], reverse=True), cancellable=False)
    left = [path for path in new if host.read(path, lines=1) is not None]
    if left:
        raise RollbackIncomplete(
            f"{', '.join(left)} on {host.name} is still there",
            "it was carried from the original, and may be a secret; it was removed, and somebody has put it there again",
            f"remove it on {host.name}, then run the same command again",
        )
    host.script('rm -rf "$1"; rm -f "$2"', [KEPT, SHEET], cancellable=False)
    return paths


def _read(host: Access) -> dict[str, Any]:
    raw = host.read(SHEET)
    if raw is None:
        return {"files": {}, "folders": [], "aliases": []}
    try:
        found = json.loads(raw)
        return {"files": dict(found["files"]), "folders": list(found["folders"]), "aliases": list(found["aliases"])}
    except (ValueError, KeyError, TypeError) as error:
        raise StepFailed(
            f"{SHEET} on {host.name} can't be read: {type(error).__name__}",
            "it says what was carried there and what each file was before",
            f"correct {SHEET} on {host.name}; where it is lost: move it away, and put the packages' own files back there (apt-get install --reinstall, or "
            "dnf reinstall)",
        ) from None


def _write(host: Access, sheet: Mapping[str, Any]) -> None:
    host.script('mkdir -p -m 700 "$1"', [FOLDER], cancellable=False)
    host.write(SHEET, json.dumps(sheet, indent=1, sort_keys=True), mode=0o600)


def _kept(path: str) -> str:
    return f"{KEPT}/{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _note(context: Context, host: Access, sheet: dict[str, Any], path: str) -> None:
    """On record, with what is there now kept, before the file is replaced."""
    if path in sheet["files"]:
        return
    folders = host.script(FOLDERS, [posixpath.dirname(path)]).stdout.split("\n")
    host.script(KEEP_PACKAGED, [path, _kept(path), KEPT], cancellable=False)
    sheet["files"][path] = {"found": host.read(path, lines=1) is not None}
    sheet["folders"] = sorted({*sheet["folders"], *filter(None, folders)})
    context.intend(f"{host.name}: carry {path}")
    _write(host, sheet)


def _bring(context: Context, host: Access, source: Access, sheet: dict[str, Any], file: FoundFile) -> None:
    content = source.read(file.path)
    if content is None or hashlib.sha256(content).hexdigest() != file.digest:
        raise StepFailed(
            f"{file.path} on {source.name} has changed while it was read", "somebody works on it", "run the same command again"
        )
    _note(context, host, sheet, file.target)
    owner, mode = _owner(host, file)
    host.run(["install", "-d", "-m", "755", posixpath.dirname(file.target)], cancellable=False)
    # Whatever it is, it may be a secret: it goes by standard input and is in no file but its own.
    host.write(file.target, content, mode=mode, owner=owner)
    host.script(LABEL, [file.target])


def _owner(host: Access, file: FoundFile) -> tuple[str, int]:
    """Who owns it there; where the original's owner is unknown, root with user cloud's group may read it."""
    known = host.run(["sh", "-c", 'getent passwd "$1" >/dev/null && getent group "$2" >/dev/null', "sh", file.user, file.group], ok=None).ok
    return (f"{file.user}:{file.group}", file.mode) if known else ("root:cloud", file.mode & 0o750 | 0o040)


def _options(context: Context, host: Access, sheet: dict[str, Any], found: Found) -> bool:
    now = (host.read(OPTIONS_FILE) or b"").decode(errors="surrogateescape")
    text = carried.with_options(now, found.options, context.configuration.new.carry.jvm_options)
    if text is None:
        raise StepFailed(
            f"{OPTIONS_FILE} on {host.name} has no JAVA_OPTS",
            "the package's file is not there, or of another form",
            f"look at {OPTIONS_FILE} on {host.name}; `dpkg --verify cloudstack-management` or `rpm -V cloudstack-management` shows what was changed",
        )
    if text == now:
        return False
    _note(context, host, sheet, OPTIONS_FILE)
    host.write(OPTIONS_FILE, text.encode(errors="surrogateescape"), mode=0o644)
    host.script(LABEL, [OPTIONS_FILE])
    return True


def _trust(context: Context, host: Access, sheet: dict[str, Any], alias: str, pem: str) -> bool:
    state = host.script(IMPORT, [alias, pem, "look"]).stdout.strip()
    if state == "same":
        return False
    if state == "absent":
        sheet["aliases"] = [*sheet["aliases"], alias] if alias not in sheet["aliases"] else sheet["aliases"]
        context.intend(f"{host.name}: trust certificate {alias}")
        _write(host, sheet)
        state = host.script(IMPORT, [alias, pem, "import"], cancellable=False).stdout.strip()
    if state != "imported":
        raise StepFailed(
            f"certificate {alias} can't be imported on {host.name}",
            {"another": "its trust store has another certificate under that alias"}.get(state, state or "keytool refused"),
            f"give it another alias on the original, or remove the other one on {host.name} (keytool -delete)",
        )
    return True


def _put_back(context: Context, host: Access, sheet: dict[str, Any], path: str) -> None:
    context.intend(f"{host.name}: {path} as its package brought it" if sheet["files"][path]["found"] else f"{host.name}: remove {path}")
    host.script(PUT_BACK, [path, _kept(path)], cancellable=False)
    del sheet["files"][path]
    _write(host, sheet)


def _forget(context: Context, host: Access, sheet: dict[str, Any], alias: str) -> None:
    context.intend(f"{host.name}: trust certificate {alias} no more")
    host.script(FORGET, [alias], cancellable=False)
    sheet["aliases"] = [each for each in sheet["aliases"] if each != alias]
    _write(host, sheet)


def _prove(host: Access, found: Found) -> None:
    there = carried.digests(host, [file.target for file in found.files])
    wrong = [file.target for file in found.files if there.get(file.target) != file.digest]
    if wrong:
        raise StepFailed(
            f"{', '.join(wrong)} on {host.name} is not as on the original", "it was changed right after", "run the same command again"
        )

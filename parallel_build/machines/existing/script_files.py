"""Files that the scripts of our packages wrote outside their packages' lists: no purge takes them away, and they are ours all the same.

A path is ours when it appeared while we installed packages, no package owns it, and a script of one of our packages names it, or it is a copy of a file that
one of them brought. What somebody else happened to write at that moment is not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from parallel_build.machines.existing.manifest import FOLDER
from parallel_build.remote import transactions
from parallel_build.remote.access import Access
from parallel_build.remote.package_shell import SHELL

NOTE = f"{FOLDER}/written"
_TIMEOUT = 300.0

# Words of the packages' scripts and of units' and other files' names in their lists, then which of the paths a package owns.
_WORDS = (
    SHELL
    + r"""
for package; do
  scripts_of "$package" | tr -cs 'A-Za-z0-9_.+@-' '\n'
  files_of "$package" | sed 's,.*/,,'
done | sort -u
"""
)
# What package tools keep of packages themselves.
_THEIRS = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/rpm/", "/var/lib/dnf/", "/usr/lib/sysimage/")
_OWNED = SHELL + "owned"
# A link of the alternatives' system goes only where its group is dead: somebody else's package may have joined it.
_GONE = r"""
while IFS= read -r -d '' path; do
  case "$path$(readlink -- "$path")" in
    *etc/alternatives/*)
      if [ -L "$path" ] && [ ! -e "$path" ]; then update-alternatives --remove-all "${path##*/}" 2>/dev/null || rm -f -- "$path"; fi
      continue ;;
  esac
  if [ -L "$path" ] || [ -f "$path" ]; then rm -f -- "$path"; fi
  case "$path" in
    *.py)
      folder=$(dirname "$path")/__pycache__ stem=$(basename "$path" .py)
      if [ -d "$folder" ]; then rm -f -- "$folder/$stem".*.pyc; rmdir --ignore-fail-on-non-empty -- "$folder"; fi ;;
  esac
done
"""


def written(appeared: Sequence[str], found: Collection[str], owned: Collection[str], words: Collection[str]) -> list[str]:
    """Which paths our packages' scripts wrote.

    Args:
        appeared: paths that appeared while packages were installed.
        found: paths that were there before anything was begun.
        owned: paths that some package owns.
        words: of the scripts, and names of files that our packages brought.
    """
    new = {path for path in appeared if not path.startswith(_THEIRS)} - set(found)
    return sorted(path for path in new - set(owned) if _named(path, new, words))


def _named(path: str, new: Collection[str], words: Collection[str]) -> bool:
    """Whether a script names it, or the highest new folder that it is in."""
    here = PurePosixPath(path)
    tops = [str(here), *(str(parent) for parent in here.parents if str(parent) in new)]
    return any(PurePosixPath(each).name in words for each in (tops[0], tops[-1]))


def _owned(host: Access, paths: Sequence[str]) -> set[str]:
    """Which paths a package owns: under the name that it has, or the one without /usr that an older package gives it."""
    asked = "".join(f"{path}\0" for path in (*paths, *(path.removeprefix("/usr") for path in paths)))
    answers = set(host.run(["sh", "-c", _OWNED], input=asked, timeout=_TIMEOUT).stdout.splitlines())
    return {path for path in paths if path in answers or path.removeprefix("/usr") in answers}


def note(host: Access, packages: Iterable[str], found: Collection[str]) -> None:
    """Note them while the scripts are there to be read; an earlier note stays."""
    appeared = transactions.appeared(host)
    names = sorted({name.split(":")[0] for name in packages})
    if not appeared or not names:
        return
    words = set(host.script(_WORDS, names, timeout=_TIMEOUT).stdout.split())
    owned = _owned(host, appeared)
    before = (host.read(NOTE) or b"").decode(errors="surrogateescape").split("\0")
    known = sorted({*filter(None, before), *written(appeared, found, owned, words)})
    if known:
        host.write(NOTE, "\0".join(known).encode(errors="surrogateescape"))


def remove(host: Access, found: Collection[str]) -> list[str]:
    """Remove the noted files that no package owns by now, and their folders where they are empty; return what was removed."""
    noted = [path for path in (host.read(NOTE) or b"").decode(errors="surrogateescape").split("\0") if path and path not in found]
    if not noted:
        return []
    owned = _owned(host, noted)
    gone = [path for path in noted if path not in owned]
    host.run(["bash", "-c", _GONE], input="".join(f"{path}\0" for path in gone), timeout=_TIMEOUT, cancellable=False)
    text = 'while IFS= read -r -d "" path; do [ ! -d "$path" ] || [ -L "$path" ] || rmdir --ignore-fail-on-non-empty -- "$path"; done'
    host.run(["bash", "-c", text], input="".join(f"{path}\0" for path in sorted(gone, reverse=True)), timeout=_TIMEOUT, cancellable=False)
    return gone

"""Packages that were not there taken away again, with the accounts that their scripts had made; never one that was there or is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from parallel_build.errors import CommandFailed, RollbackIncomplete
from parallel_build.machines.existing.manifest import FOLDER, Manifest, Packages, summary
from parallel_build.remote import transactions
from parallel_build.remote.access import Access
from parallel_build.remote.package_shell import SHELL
from parallel_build.remote.packages import Packages as Handled
from parallel_build.remote.packages import packages_of


@dataclass
class PackageUndo:
    """The packages' part of an undo on one server.

    Attributes:
        host: session to it.
        named: packages that the stack installs by name.
        intend, progress: called before and after a change.
        evidence: what differs in the end, for the evidence.
    """

    host: Access
    named: set[str]
    intend: Callable[..., None]
    progress: Callable[[str], None]
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """How the server was found."""
        return Manifest(self.host)

    @cached_property
    def installers(self) -> dict[str, bool]:
        """Which packages came by a transaction of this stack's, by the package program's history."""
        return self.handled.installers()

    @cached_property
    def handled(self) -> Handled:
        """The program that handles packages there."""
        return packages_of(self.host)

    def _by_us(self, name: str) -> bool | None:
        return self.installers.get(name.split(":")[0])

    def ours(self, found: Packages) -> set[str]:
        """What was not there and came by us: by a transaction of ours, or by name where history does not say by whom.

        Nothing that somebody else has asked for since, which marks it as installed manually.
        """
        added = set(self.manifest.packages_now()) - set(found)
        manual = self.handled.asked_for()
        mine = set()
        for name in added:
            short, by_us = name.split(":")[0], self._by_us(name)
            if by_us is not False if short in self.named else by_us and not {short, name} & manual:
                mine.add(name)
        return mine

    def note_accounts(self, found: Packages) -> None:
        """Note which new accounts are made by the scripts of our packages, while those scripts are there to be read."""
        added = sorted({name.split(":")[0] for name in self.ours(found)} | self._unknown(found))
        if not added:
            return
        known = set(self.manifest.lines("users")) | set(self.manifest.lines("groups"))
        current = set(self.host.run(["cut", "-d:", "-f1", "/etc/passwd", "/etc/group"]).stdout.split())
        appeared = transactions.appeared_accounts(self.host)  # None: an earlier version of this project installed them
        candidates = sorted((current if appeared is None else current & appeared) - known)
        if not candidates:
            return
        text = r"""
        file=$1/accounts names=$2; shift 2
        { [ ! -e "$file" ] || cat "$file"; for package; do
          { scripts_of "$package"; files_of "$package" | grep '/sysusers.d/' | xargs -r cat -- 2>/dev/null || true; } >"$file.words"
          for name in $names; do
            if grep -qw -- "$name" "$file.words"; then echo "$name"; fi
          done
        done; } | sort -u >"$file.new"
        sync "$file.new"
        mv "$file.new" "$file"
        rm -f "$file.words"
        """
        self.host.script(SHELL + text, [FOLDER, " ".join(candidates), *added], timeout=300)

    def _unknown(self, found: Packages) -> set[str]:
        """New packages that the history does not name: it was cleared, or dpkg or rpm alone installed them."""
        added = set(self.manifest.packages_now()) - set(found)
        return {name.split(":")[0] for name in added if self._by_us(name) is None}

    def purge(self, found: Packages) -> None:
        """Purge the named packages, then everything that came with them; never one that was there, never one that somebody else installed or needs."""
        mine = self.ours(found)
        self._purge_these(sorted(name for name in mine if name.split(":")[0] in self.named), found)
        self._purge_these(self.going(found), found)
        while True:
            now = self.manifest.packages_now()
            left = {name.split(":")[0]: name for name in set(now) - set(found) if self._by_us(name) is not False}
            unneeded = [word for word in self.handled.unneeded() if word in left]
            removed = [name.split(":")[0] for name in left.values() if now[name][1] == "config-files"]
            if not unneeded and not removed:
                break
            self._purge_these(sorted({left[name] for name in [*unneeded, *removed]}), found)
        self._marks(found)

    def going(self, found: Packages) -> list[str]:
        """Our packages that can go."""
        return self._free(sorted(self.ours(found)), found)

    def _free(self, names: list[str], found: Packages) -> list[str]:
        """Those of our packages that can go without taking anybody's with them."""
        if not names:
            return []
        mine = {name.split(":")[0] for name in names}
        if not set(self.handled.going_with(names)) - mine:
            return names
        free = [name for name in names if not set(self.handled.going_with([name])) - mine]
        kept = sorted(set(names) - set(free))
        if kept != self.evidence.get("needed by others"):
            self.evidence["needed by others"] = kept
            self.progress(f"{self.host.name}: came with ours and is needed by others by now, left alone: {', '.join(kept)}")
        return self._free(free, found) if kept else []

    def _marks(self, found: Packages) -> None:
        """Packages that were there, and that our commands named, are marked automatic or manual as they were."""
        before = (self.host.read(f"{FOLDER}/asked-for") or b"").decode().split()
        if not before:  # a manifest of an earlier version of this project
            return
        there, now = {name.split(":")[0] for name in found}, self.handled.asked_for()
        for name in sorted(there & self.named & (set(before) ^ now)):
            self.intend(f"{self.host.name}: mark {name} as {'asked for' if name in before else 'automatic'}, as it was")
            self.handled.mark(name, asked_for=name in before)

    def _purge_these(self, names: list[str], found: Packages) -> None:
        if not names:
            return
        going = set(self.handled.going_with(names))
        added = set(self.manifest.packages_now()) - set(found)
        others = {name.split(":")[0] for name in added if self._by_us(name) is False}
        also = sorted(going & ({name.split(":")[0] for name in found} | others))
        if also:
            raise RollbackIncomplete(
                f"{self.host.name}: taking {', '.join(names)} away would take {', '.join(also)} with it",
                "these were there before, or somebody else installed them, and they have come to need what was installed",
                f"see there what `{self.handled.program} remove` would take with it, remove by hand what may go, then run `pulumi destroy` again",
            )
        self.intend(f"{self.host.name}: {self.handled.program} remove {' '.join(names)}")
        try:
            self.handled.remove(names)
        except CommandFailed as error:
            raise RollbackIncomplete(
                f"{self.host.name}: packages could not be taken away",
                error.cause or error.fact,
                "fix that there and run `pulumi destroy` again",
            ) from None
        self.progress(f"{self.host.name}: removed {', '.join(name.split(':')[0] for name in names)}")

    def remove_accounts(self) -> None:
        """Remove the accounts that the purged packages' scripts had made."""
        text = r"""
        [ -e "$1/accounts" ] || exit 0
        sort -u "$1/accounts" | while read -r name; do
          if getent passwd "$name" >/dev/null; then userdel "$name" </dev/null; fi
          if getent group "$name" >/dev/null; then groupdel "$name" </dev/null; fi
        done
        """
        self.host.script(text, [FOLDER], timeout=120, cancellable=False)

    def prove(self, found: Packages) -> bool:
        """Whether every package is as it was found; what is not, is reported, or is a failure where it is ours."""
        difference = summary(found, self.manifest.packages_now())
        ours = sorted(name for name in self.ours(found) if name.split(":")[0] in self.named)
        if ours or difference["missing"]:
            raise RollbackIncomplete(
                f"{self.host.name}: packages are not as they were found",
                f"still there: {', '.join(ours) or 'none'}; missing: {', '.join(difference['missing']) or 'none'}",
                "fix that there and run `pulumi destroy` again",
            )
        self.evidence["packages"] = difference
        if difference["added"]:
            came = [name for name in difference["added"] if self._by_us(name)]
            others = [name for name in difference["added"] if name not in came]
            if others:
                self.progress(f"{self.host.name}: installed by somebody else since, left alone: {', '.join(others)}")
            if came:
                self.progress(f"{self.host.name}: came with ours, wanted or needed by somebody since, left alone: {', '.join(came)}")
        if difference["changed"]:
            self.progress(f"{self.host.name}: other versions than found, left alone: {', '.join(difference['changed'])}")
        return not difference["added"] and not difference["changed"]

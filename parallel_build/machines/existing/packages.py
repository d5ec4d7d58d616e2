"""Packages that were not there taken away again, with the accounts that their scripts had made; never one that was there or is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.errors import CommandFailed, RollbackIncomplete
from parallel_build.machines.existing.manifest import FOLDER, Manifest, Packages, summary
from parallel_build.remote.host import Host
from parallel_build.remote.packages import packages_of


@dataclass
class PackageUndo:
    """The packages' part of an undo on one server.

    Attributes:
        host: session to it.
        named: packages that the stack installs by name.
        intend, progress: told before and after a change.
        told: what differs in the end, for the evidence.
    """

    host: Host
    named: set[str]
    intend: Callable[..., None]
    progress: Callable[[str], None]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """How the server was found."""
        return Manifest(self.host)

    def note_accounts(self, found: Packages) -> None:
        """Note which new accounts are made by the scripts of packages that are new, while those scripts are there to be read."""
        now = self.manifest.packages_now()
        added = sorted({name.split(":")[0] for name in set(now) - set(found)})
        if not added:
            return
        known = set(self.manifest.lines("users")) | set(self.manifest.lines("groups"))
        current = set(self.host.run(["cut", "-d:", "-f1", "/etc/passwd", "/etc/group"]).stdout.split())
        candidates = sorted(current - known)
        if not candidates:
            return
        text = r"""
        file=$1/accounts names=$2; shift 2
        for name in $names; do
          for package; do
            if grep -lqsw -- "$name" /var/lib/dpkg/info/"$package".preinst /var/lib/dpkg/info/"$package".postinst \
              /var/lib/dpkg/info/"$package":*.postinst; then echo "$name"; fi
            for list in /var/lib/dpkg/info/"$package".list /var/lib/dpkg/info/"$package":*.list; do
              if [ -e "$list" ] && grep '/sysusers.d/' "$list" | xargs -r grep -lqsw -- "$name"; then echo "$name"; fi
            done
          done
        done | sort -u >>"$file"
        """
        self.host.script(text, [FOLDER, " ".join(candidates), *added], timeout=300)

    def purge(self, found: Packages) -> None:
        """Purge the named packages, then what they alone had needed; never one that was there, never one that somebody else installed."""
        now = self.manifest.packages_now()
        added, handled = set(now) - set(found), packages_of(self.host)
        self._purge_these(sorted(name for name in added if name.split(":")[0] in self.named), found)
        while True:
            now = self.manifest.packages_now()
            left = {name.split(":")[0]: name for name in set(now) - set(found)}
            unneeded = [word for word in handled.unneeded() if word in left]
            removed = [name.split(":")[0] for name in left.values() if now[name][1] == "config-files"]
            if not unneeded and not removed:
                return
            self._purge_these(sorted({left[name] for name in [*unneeded, *removed]}), found)

    def _purge_these(self, names: list[str], found: Packages) -> None:
        if not names:
            return
        there, handled = {name.split(":")[0] for name in found}, packages_of(self.host)
        also = sorted(set(handled.going_with(names)) & there)
        if also:
            raise RollbackIncomplete(
                f"{self.host.name}: taking {', '.join(names)} away would take {', '.join(also)} with it",
                "these were there before and have come to need what was installed",
                "look at them with `apt-get -s purge`, decide, and run `pulumi destroy` again",
            )
        self.intend(f"{self.host.name}: {handled.program} purge {' '.join(names)}")
        try:
            handled.remove(names)
        except CommandFailed as error:
            raise RollbackIncomplete(
                f"{self.host.name}: packages could not be taken away",
                error.cause or error.fact,
                "mend that there and run `pulumi destroy` again",
            ) from None
        self.progress(f"{self.host.name}: purged {', '.join(name.split(':')[0] for name in names)}")

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
        """Whether every package is as it was found; what is not, is told, or is a failure where it is ours."""
        difference = summary(found, self.manifest.packages_now())
        ours = [name for name in difference["added"] if name.split(":")[0] in self.named]
        if ours or difference["missing"]:
            raise RollbackIncomplete(
                f"{self.host.name}: packages are not as they were found",
                f"still there: {', '.join(ours) or 'none'}; missing: {', '.join(difference['missing']) or 'none'}",
                "mend that there and run `pulumi destroy` again",
            )
        self.told["packages"] = difference
        if difference["added"]:
            self.progress(f"{self.host.name}: installed by somebody else since, left alone: {', '.join(difference['added'])}")
        if difference["changed"]:
            self.progress(f"{self.host.name}: other versions than found, left alone: {', '.join(difference['changed'])}")
        return not difference["added"] and not difference["changed"]

"""Leaving a server as it was found: what was not there goes, what was changed is put back, and both are proved by lists.

Only what this project can have brought is touched: packages that it installs by name and what came with them, the folders that those fill, the
accounts that their scripts make. Whatever else is new on the server is somebody else's, stays, and is told. Logs stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.connection import Host
from parallel_build.errors import CommandFailed, RollbackIncomplete
from parallel_build.machines import keepsake
from parallel_build.machines.hosts_file import without_names
from parallel_build.machines.manifest import COPIED, FOLDER, LINKED, Manifest, Packages, Paths, Record, summary

DATA_FOLDER = "/var/lib/mysql"
HOSTS = "/etc/hosts"
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "APT::AutoRemove::RecommendsImportant=false",
       "-o", "APT::AutoRemove::SuggestsImportant=false")  # fmt: skip
QUIET = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
PACKAGE_TIMEOUT = 1800.0

# Filled by the packages at work, by the steps, or left behind by a package's removal.
OURS = (
    "/etc/apt/keyrings/cloudstack-parallel-build",
    "/etc/apt/preferences.d/cloudstack-parallel-build",
    "/etc/apt/sources.list.d/cloudstack-parallel-build",
    "/etc/cloudstack",
    "/etc/default/cloudstack-",
    "/etc/security/limits.d/cloudstack",
    "/etc/sudoers.d/cloudstack",
    "/etc/systemd/system/cloudstack-",
    "/usr/share/cloudstack-",
    "/var/cache/cloudstack",
    "/var/cloudstack",
    "/var/lib/cloudstack",
    "/etc/.pwd.lock",
)
# Where a database server was installed already, its folders are somebody's, and only what the steps wrote goes.
DATABASE_OURS = ("/etc/mysql", "/var/lib/mysql", "/etc/systemd/system/mariadb", "/etc/systemd/system/mysql")
# Made for a file of ours; stays when somebody else has put something into it.
SHARED_FOLDERS = ("/etc/apt/keyrings",)
# What a running system writes by itself.
LOGS = ("/var/log/",)
ITS_OWN = (
    "/etc/resolv.conf", "/var/lib/dbus/", "/var/lib/dhcp/", "/var/lib/logrotate/", "/var/lib/misc/", "/var/lib/private/",
    "/var/lib/systemd/", "/var/spool/", "/var/backups/", "/var/lib/dpkg/lock", "/var/lib/apt/daily_lock", "/var/lib/apt/periodic",
    "/root/.ssh/known_hosts", "/var/lib/sudo/", "/var/lib/chrony/", "/var/lib/ntpsec/", "/var/lib/rsyslog/",
)  # fmt: skip


@dataclass
class Leaving:
    """The undo on one server.

    Attributes:
        host: session to it.
        named: packages that the configuration names now; those of the manifest count as well.
        files: files that steps wrote beside a database server that was there already.
        source: whether it is the database source, whose databases may have to be kept for the investigation.
        stack: the stack's name.
        intend, progress: told before and after a change.
        told: what is left and why, for the evidence.
    """

    host: Host
    named: list[str]
    files: list[str]
    source: bool
    stack: str
    intend: Callable[..., None]
    progress: Callable[[str], None]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """How it was found."""
        return Manifest(self.host)

    def run(self, record: Record) -> None:
        """Do all of it, in an order in which an interrupted run can be run again; the manifest goes last.

        Raises:
            RollbackIncomplete: names what could not be taken away.
        """
        keepsake.keep(self.host, self.stack, source=self.source, intend=self.intend, progress=self.progress)
        found, paths = self.manifest.packages(), self.manifest.paths()
        self._stop(record)
        self._accounts_of_packages(found)
        self._purge(found, record)
        self._data(record, paths)
        self._units(record)
        ours = (*OURS, *(self.files if record.data_kept else DATABASE_OURS))
        self._folders(ours, paths)
        self._accounts()
        self._hosts(paths)
        as_found = self._packages_proved(found)
        if as_found:
            self._copies()
        self._paths_proved(ours, paths)
        self.intend(f"{self.host.name}: rm -r {FOLDER}")
        self.host.run(["rm", "-rf", FOLDER, f"{FOLDER}.new"], timeout=600, cancellable=False)

    def _stop(self, record: Record) -> None:
        """Stop what packages brought, so that nothing writes while it is taken away; also a masked unit may be running."""
        for unit in (USAGE, MANAGEMENT, "mariadb", "mysql", "mysqld"):
            if unit not in record.units and Services(self.host).state(unit).active:
                self.intend(f"{self.host.name}: systemctl stop {unit}")
                self.host.run(["systemctl", "stop", unit], timeout=300, cancellable=False)

    def _accounts_of_packages(self, found: Packages) -> None:
        """Note which new accounts are made by the scripts of packages that are new, while those scripts are there to be read."""
        now = self.manifest.packages_now()
        added = sorted({name.split(":")[0] for name in set(now) - set(found)})
        if not added:
            return
        known = set(self.manifest.lines("users")) | set(self.manifest.lines("groups"))
        current = set(self.host.run(["cut", "-d:", "-f1", "/etc/passwd", "/etc/group"], timeout=30).stdout.split())
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

    def _purge(self, found: Packages, record: Record) -> None:
        """Purge the named packages, then what they alone had needed; never one that was there, never one that somebody else installed."""
        names = set(record.named) | set(self.named)
        now = self.manifest.packages_now()
        added = set(now) - set(found)
        self._purge_these(sorted(name for name in added if name.split(":")[0] in names), found)
        while True:
            now = self.manifest.packages_now()
            left = {name.split(":")[0]: name for name in set(now) - set(found)}
            unneeded = [word for word in self._simulated("autoremove") if word in left]
            removed = [name.split(":")[0] for name in left.values() if now[name][1] == "config-files"]
            if not unneeded and not removed:
                return
            self._purge_these(sorted({left[name] for name in [*unneeded, *removed]}), found)

    def _purge_these(self, names: list[str], found: Packages) -> None:
        if not names:
            return
        there = {name.split(":")[0] for name in found}
        also = sorted(set(self._simulated("purge", *names)) & there)
        if also:
            raise RollbackIncomplete(
                f"{self.host.name}: taking {', '.join(names)} away would take {', '.join(also)} with it",
                "these were there before and have come to need what was installed",
                "look at them with `apt-get -s purge`, decide, and run `pulumi destroy` again",
            )
        self.intend(f"{self.host.name}: apt-get purge {' '.join(names)}")
        try:
            self.host.run([*QUIET, *APT, "purge", *names], timeout=PACKAGE_TIMEOUT, cancellable=False)
        except CommandFailed as error:
            raise RollbackIncomplete(
                f"{self.host.name}: packages could not be taken away",
                error.cause or error.fact,
                "mend that there and run `pulumi destroy` again",
            ) from None
        self.progress(f"{self.host.name}: purged {', '.join(name.split(':')[0] for name in names)}")

    def _simulated(self, *words: str) -> list[str]:
        """The packages that apt would remove."""
        shown = self.host.run([*APT, "-s", *words], timeout=300).stdout.splitlines()
        return [line.split()[1].split(":")[0] for line in shown if line.startswith(("Remv ", "Purg "))]

    def _data(self, record: Record, paths: Paths) -> None:
        """The data folder as it was: its copy put back, emptied, or gone."""
        if record.data_kept:
            self.intend(f"{self.host.name}: put the data folder back as it was found")
            self.host.script(
                'copy=$1/copies$2; [ -d "$copy" ] || exit 0; systemctl stop "$3"; find "$2" -mindepth 1 -delete; '
                'cp -a "$copy/." "$2/"; sync; rm -rf "$copy"',
                [FOLDER, DATA_FOLDER, record.unit],
                timeout=1800,
                cancellable=False,
            )
        elif DATA_FOLDER in paths:
            entry = paths[DATA_FOLDER]
            self.host.script(
                'mkdir -p "$1"; find "$1" -mindepth 1 ! -path "$1/lost+found*" -delete; chown "$2" "$1"; chmod "$3" "$1"',
                [DATA_FOLDER, entry.owner, entry.mode],
                timeout=600,
                cancellable=False,
            )

    def _units(self, record: Record) -> None:
        """Units that were there are masked, enabled and running as they were; masks of others are gone."""
        services = Services(self.host)
        for unit in (MANAGEMENT, USAGE, "mariadb", "mysql", "mysqld"):
            state = services.state(unit)
            if unit not in record.units:
                if state.masked:
                    self.host.run(["systemctl", "unmask", f"{unit}.service"], timeout=60, cancellable=False)
                continue
            active, enabled, masked = record.units[unit]
            if state.masked and not masked:
                self.host.run(["systemctl", "unmask", f"{unit}.service"], timeout=60, cancellable=False)
            if unit == record.unit or not record.unit:
                if services.state(unit).enabled != enabled:
                    self.host.run(["systemctl", "enable" if enabled else "disable", unit], timeout=60, cancellable=False)
                if services.state(unit).active != active:
                    self.host.run(["systemctl", "start" if active else "stop", unit], timeout=300, cancellable=False)
            if masked and not services.state(unit).masked:
                self.host.run(["systemctl", "mask", f"{unit}.service"], timeout=60, cancellable=False)
        self.host.run(["systemctl", "daemon-reload"], timeout=60, cancellable=False)
        self.host.run(["systemctl", "reset-failed"], timeout=60, ok=None, cancellable=False)

    def _folders(self, ours: tuple[str, ...], paths: Paths) -> None:
        """Remove what is new in this project's own places: files first, then folders from the deepest up, where they are empty."""
        now = self.manifest.paths_now()
        new = {path: entry for path, entry in now.items() if path not in paths and path.startswith((*ours, *SHARED_FOLDERS))}
        folders = [path for path, entry in new.items() if entry.kind == "d"]
        files = [path for path in new if path not in folders and path.startswith(ours)]
        if not new:
            return
        self.intend(f"{self.host.name}: remove {len(files)} files and {len(folders)} folders", first=sorted(new)[:20])
        for command, names in (
            (("rm", "-f", "--"), files),
            (("rmdir", "--ignore-fail-on-non-empty", "--"), sorted(folders, reverse=True)),
        ):
            self.host.run(["xargs", "-0", "-r", *command], input="\0".join(names), timeout=600, cancellable=False)

    def _accounts(self) -> None:
        """Remove the accounts that the purged packages' scripts had made."""
        text = r"""
        [ -e "$1/accounts" ] || exit 0
        sort -u "$1/accounts" | while read -r name; do
          if getent passwd "$name" >/dev/null; then userdel "$name" </dev/null; fi
          if getent group "$name" >/dev/null; then groupdel "$name" </dev/null; fi
        done
        """
        self.host.script(text, [FOLDER], timeout=120, cancellable=False)

    def _hosts(self, paths: Paths) -> None:
        """/etc/hosts without our lines; with nothing else changed in it, byte by byte as it was."""
        found, now = self.manifest.hosts(), self.host.read(HOSTS) or b""
        plain = without_names(now.decode(errors="surrogateescape"), self.stack)
        if now == found:
            return
        same = plain == without_names(found.decode(errors="surrogateescape"), self.stack)
        entry = paths.get(HOSTS)
        self.intend(f"{self.host.name}: {HOSTS} without the stack's lines")
        self.host.write(
            HOSTS,
            found if same else plain.encode(errors="surrogateescape"),
            mode=int(entry.mode, 8) if entry else 0o644,
            owner=entry.owner if entry else "root:root",
        )

    def _packages_proved(self, found: Packages) -> bool:
        """Whether every package is as it was found; what is not, is told, or is a failure where it is ours."""
        difference = summary(found, self.manifest.packages_now())
        names = set(self.named)
        ours = [name for name in difference["added"] if name.split(":")[0] in names]
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

    def _copies(self) -> None:
        """Put back what package tools have rewritten: with the same packages it says the same, but not byte by byte."""
        text = r"""
        copies=$1/copies; shift
        for path; do
          if [ -d "$copies$path" ]; then
            rm -rf "$path"
            mv -T "$copies$path" "$path"
          elif [ -e "$copies$path" ]; then
            mv -f "$copies$path" "$path"
          fi
        done
        sync
        """
        self.host.script(text, [FOLDER, *COPIED, *LINKED], timeout=600, cancellable=False)

    def _paths_proved(self, ours: tuple[str, ...], paths: Paths) -> None:
        """Compare all paths; what is ours and left is a failure, what is somebody else's is told."""
        now = self.manifest.paths_now()
        new = sorted(path for path in now if path not in paths and not path.startswith((*LOGS, *ITS_OWN)))
        gone = sorted(path for path in paths if path not in now and not path.startswith((*LOGS, *ITS_OWN)))
        changed = sorted(
            path for path in now if path in paths and not now[path].same(paths[path]) and not path.startswith((*LOGS, *ITS_OWN))
        )
        left = [path for path in new if path.startswith(ours)]
        if left:
            raise RollbackIncomplete(
                f"{self.host.name}: {len(left)} files are still there", ", ".join(left[:5]), "remove them and run `pulumi destroy` again"
            )
        self.told["paths"] = {"new": new[:200], "gone": gone[:200], "changed": changed[:200]}
        if new or gone or changed:
            self.progress(
                f"{self.host.name}: differs from how it was found by {len(new)} new, {len(gone)} missing and {len(changed)} changed paths, "
                "none of them this stack's; the evidence names them"
            )
        else:
            self.progress(f"{self.host.name}: every package and every path is as it was found")

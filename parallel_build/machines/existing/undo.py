"""Leaving a server as it was found: what was not there goes, what was changed is put back, and both are proved by lists.

Only what this project can have brought is touched: packages that it installs by name and what came with them, the folders that those fill, the
accounts that their scripts make. Whatever else is new on the server is somebody else's, stays, and is reported. Logs stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parallel_build.cloudstack.services import MANAGEMENT, USAGE, Services
from parallel_build.database.server import bookkeeping
from parallel_build.database.server.state import sessions_of
from parallel_build.errors import RollbackIncomplete
from parallel_build.machines.existing import kept_logs, script_files
from parallel_build.machines.existing.hosts_file import without_names
from parallel_build.machines.existing.manifest import COPIED, EDITED, FOLDER, LINKED, Manifest, Paths, Record
from parallel_build.machines.existing.packages import PackageUndo
from parallel_build.machines.provisioning import TIME_SOURCES
from parallel_build.remote import frame, transactions
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.frame import FORGET_NUMBERS
from parallel_build.remote.sql import session

DATA_FOLDER = "/var/lib/mysql"
HOSTS = "/etc/hosts"
# Filled by the packages at work, by the steps, or left behind by a package's removal.
OURS = (
    "/etc/apt/keyrings/cloudstack-parallel-build",
    "/etc/apt/preferences.d/cloudstack-parallel-build",
    "/etc/apt/sources.list.d/cloudstack-parallel-build",
    "/etc/pki/rpm-gpg/RPM-GPG-KEY-cloudstack-parallel-build",
    "/etc/yum.repos.d/cloudstack-parallel-build",
    TIME_SOURCES,
    "/etc/cloudstack",
    "/etc/default/cloudstack-",
    "/etc/security/limits.d/cloudstack",
    "/etc/sudoers.d/cloudstack",
    "/etc/systemd/system/cloudstack-",
    "/usr/share/cloudstack-",
    "/var/cache/cloudstack",
    "/var/cloudstack",
    "/var/lib/cloudstack",
    "/var/lib/cutover-",
    "/etc/.pwd.lock",
)
# Where a database server was installed already, its folders are somebody's, and only what the steps wrote goes.
DATABASE_OURS = ("/etc/mysql", "/etc/my.cnf", "/var/lib/mysql", "/etc/systemd/system/mariadb", "/etc/systemd/system/mysql")
# Made for a file of ours; stays when somebody else has put something into it.
SHARED_FOLDERS = ("/etc/apt/keyrings", "/etc/chrony")
# Every command of ours makes them again, so they go with the last one.
WITH_THE_LAST = (frame.FOLDER, *frame.NUMBERS)
LAST = f"rm -rf {FOLDER} {FOLDER}.new"
# What a running system writes by itself.
LOGS = ("/var/log/",)
ITS_OWN = (
    "/etc/resolv.conf", "/var/lib/dbus/", "/var/lib/dhcp/", "/var/lib/logrotate/", "/var/lib/misc/", "/var/lib/private/",
    "/var/lib/systemd/", "/var/spool/", "/var/backups/", "/var/lib/dpkg/lock", "/var/lib/apt/daily_lock", "/var/lib/apt/periodic",
    "/root/.ssh/known_hosts", "/var/lib/sudo/", "/var/lib/chrony/", "/var/lib/ntpsec/", "/var/lib/rsyslog/",
    "/var/lib/rpm/", "/var/lib/dnf/", "/usr/lib/sysimage/",
)  # fmt: skip


@dataclass
class Leaving:
    """The undo on one server.

    Attributes:
        host: session to it.
        named: packages that the configuration names now; those of the manifest count as well.
        files: files that steps wrote for a database server that was there already.
        source: whether it is the database source, whose databases may have to be kept for the investigation.
        stack: the stack's name.
        intend, progress: called before and after a change.
        evidence: what is left and why, for the evidence.
    """

    host: Access
    named: list[str]
    files: list[str]
    source: bool
    stack: str
    intend: Callable[..., None]
    progress: Callable[[str], None]
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        """How it was found."""
        return Manifest(self.host)

    def run(self, record: Record) -> None:
        """Do all of it, in an order in which an interrupted run can be run again; the manifest goes last.

        Raises:
            RollbackIncomplete: names what could not be taken away.
        """
        self._not_serving()
        kept_logs.keep(self.host, self.stack, source=self.source, intend=self.intend, progress=self.progress)
        found, paths = self.manifest.packages(), self.manifest.paths()
        self._stop(record)
        packages = PackageUndo(self.host, set(record.named) | set(self.named), self.intend, self.progress, self.evidence)
        transactions.end(self.host)  # of an installation that was interrupted
        packages.note_accounts(found)
        script_files.note(self.host, packages.going(found), paths)
        packages.purge(found)
        self._data(record, paths)
        self._units(record)
        ours = (*OURS, *(self.files if record.data_kept else DATABASE_OURS))
        self._folders(ours, paths)
        if written := script_files.remove(self.host, paths):
            self.progress(f"{self.host.name}: removed {len(written)} files and folders that our packages' scripts had written")
        packages.remove_accounts()
        self._hosts(paths)
        self._edited(paths)
        if packages.prove(found):
            self._copies()
        self._paths_proved(ours, paths)
        self.intend(f"{self.host.name}: rm -r {FOLDER}")
        self.host.script(FORGET_NUMBERS + LAST, [frame.FOLDER, frame.VOLATILE, *frame.NUMBERS], timeout=600, cancellable=False)

    def _not_serving(self) -> None:
        """Rule: nothing is taken away from under users: no CloudStack service runs here, no management server uses the database, or has been switched to it."""
        using = [unit for unit in (MANAGEMENT, USAGE) if Services(self.host).state(unit).active]
        if find_socket(self.host) is not None:
            with session(self.host) as database:
                using += [f"the database server, by CloudStack on {address}" for address in sessions_of(database, "cloud")]
                if not using:
                    bookkeeping.check_unused(database)
        if using:
            raise RollbackIncomplete(
                f"{self.host.name} is in use: {', '.join(using)}",
                "it may be serving users",
                "undo the switched phase first: set phase to prepared and run `pulumi up`",
            )

    def _stop(self, record: Record) -> None:
        """Stop what packages brought, so that nothing writes while it is taken away; also a masked unit may be running."""
        for unit in (USAGE, MANAGEMENT, "mariadb", "mysql", "mysqld"):
            if unit not in record.units and Services(self.host).state(unit).active:
                self.intend(f"{self.host.name}: systemctl stop {unit}")
                self.host.run(["systemctl", "stop", unit], timeout=300, cancellable=False)

    def _data(self, record: Record, paths: Paths) -> None:
        """The data folder as it was: its copy put back, emptied, or gone."""
        if record.data_kept:
            self.intend(f"{self.host.name}: put the data folder back as it was found")
            self.host.script(
                'copy=$1/copies$2; rm -rf "$copy.used"; [ -d "$copy" ] || exit 0; systemctl stop "$3"; find "$2" -mindepth 1 -delete; '
                'cp -a "$copy/." "$2/"; sync; mv -T "$copy" "$copy.used"; rm -rf "$copy.used"',  # half a copy must not be put back by the next try
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
                    self.host.run(["systemctl", "unmask", f"{unit}.service"], cancellable=False)
                continue
            active, enabled, masked = record.units[unit]
            if state.masked and not masked:
                self.host.run(["systemctl", "unmask", f"{unit}.service"], cancellable=False)
            if unit == record.unit or not record.unit:
                if services.state(unit).enabled != enabled:
                    self.host.run(["systemctl", "enable" if enabled else "disable", unit], cancellable=False)
                if services.state(unit).active != active:
                    self.host.run(["systemctl", "start" if active else "stop", unit], timeout=300, cancellable=False)
            if masked and not services.state(unit).masked:
                self.host.run(["systemctl", "mask", f"{unit}.service"], cancellable=False)
        self.host.run(["systemctl", "daemon-reload"], cancellable=False)
        self.host.run(["systemctl", "reset-failed"], ok=None, cancellable=False)

    def _folders(self, ours: tuple[str, ...], paths: Paths) -> None:
        """Remove what is new in this project's own places: files first, then folders from the deepest up, where they are empty."""
        now = self.manifest.paths_now()
        new = {
            path: entry
            for path, entry in now.items()
            if path not in paths and path not in WITH_THE_LAST and path.startswith((*ours, *SHARED_FOLDERS))
        }
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

    def _edited(self, paths: Paths) -> None:
        """Everybody's files without the lines for CloudStack's user; with nothing else changed in them, byte by byte as they were."""
        for path in EDITED:
            found, now = self.host.read(f"{FOLDER}/copies{path}"), self.host.read(path)
            if found is None or now is None or found == now:
                continue
            kept = [line for line in now.splitlines() if line.split(maxsplit=1)[:1] != [b"cloud"] or line in found.splitlines()]
            same = [line for line in kept if line.strip()] == [line for line in found.splitlines() if line.strip()]
            self.intend(f"{self.host.name}: {path} without the lines for user cloud")
            entry = paths[path]
            self.host.write(path, found if same else b"\n".join(kept) + b"\n", mode=int(entry.mode, 8), owner=entry.owner)

    def _copies(self) -> None:
        """Put back what package tools have rewritten: with the same packages it says the same, but not byte by byte."""
        text = r"""
        copies=$1/copies; shift
        # Renamed where the two are on one disk. Else mv copies and then removes, and the next try would take what it had not removed yet for the whole.
        for path; do
          [ -e "$copies$path" ] || continue
          rm -rf "$path.part"
          if [ "$(stat -c %d "$copies$path")" != "$(stat -c %d "$(dirname "$path")")" ]; then
            cp -a "$copies$path" "$path.part"
            sync "$path.part"
          fi
          if [ -d "$copies$path" ]; then rm -rf "$path"; fi
          if [ -e "$path.part" ]; then mv -fT "$path.part" "$path"; rm -rf "$copies$path.used"; mv -T "$copies$path" "$copies$path.used"
          else mv -fT "$copies$path" "$path"; fi
        done
        sync
        """
        self.host.script(text, [FOLDER, *COPIED, *LINKED], timeout=600, cancellable=False)

    def _paths_proved(self, ours: tuple[str, ...], paths: Paths) -> None:
        """Compare all paths; what is ours and left is a failure, what is somebody else's is reported."""
        now = self.manifest.paths_now()
        new = sorted(path for path in now if path not in paths and path not in WITH_THE_LAST and not path.startswith((*LOGS, *ITS_OWN)))
        gone = sorted(path for path in paths if path not in now and not path.startswith((*LOGS, *ITS_OWN)))
        changed = sorted(
            path for path in now if path in paths and not now[path].same(paths[path]) and not path.startswith((*LOGS, *ITS_OWN))
        )
        left = [path for path in new if path.startswith(ours)]
        if left:
            raise RollbackIncomplete(
                f"{self.host.name}: {len(left)} files are still there", ", ".join(left[:5]), "remove them and run `pulumi destroy` again"
            )
        self.evidence["paths"] = {"new": new[:200], "gone": gone[:200], "changed": changed[:200]}
        if new or gone or changed:
            self.progress(
                f"{self.host.name}: differs from how it was found by {len(new)} new, {len(gone)} missing and {len(changed)} changed paths, "
                "none of them this stack's; the evidence names them"
            )
        else:
            self.progress(f"{self.host.name}: every package and every path is as it was found")

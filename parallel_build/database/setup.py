"""A new database server's own set-up: packages, option files, certificates, running and enabled. Facts first; every write has a no-op path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack.services import DATABASE_UNITS, Services
from parallel_build.configuration import NewMachine, StackConfiguration
from parallel_build.configuration.role_packages import COMMANDS, REHEARSAL_TOOLS, database_tools
from parallel_build.database.copy import cleanup
from parallel_build.database.replicate import channel
from parallel_build.database.server.certificates import Certificates
from parallel_build.database.server.dialects import DatabaseServer, identify
from parallel_build.database.server.settings import TLS_FOLDER, OptionFile, TlsPaths, option_files, rehearsal_option_file
from parallel_build.database.server.state import differing, sessions_of
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.database_socket import find_socket
from parallel_build.remote.families import placed
from parallel_build.remote.packages import packages_of, without_command
from parallel_build.remote.sql import Session, session

RESTART_TIMEOUT = 300.0
# The files' and the unit's times are whole seconds: of a server that started in the second of a write the time does not tell whether it has read it.
CHANGED = """unit=$1; shift
started=$(date -d "$(systemctl show "$unit" -p ActiveEnterTimestamp | cut -d= -f2-)" +%s)
for file; do
  written=$(stat -c %Y "$file")
  if [ "$written" -gt "$started" ]; then echo "after $file"; elif [ "$written" -eq "$started" ]; then echo "same $file"; fi
done
"""

# The Debian family's servers write into the journal, the EL family's into a file of their own.
LOGS = ("/var/log/mariadb/mariadb.log", "/var/log/mysql/mysqld.log", "/var/log/mysqld.log")
LAST_WORDS = """unit=$1; shift
journalctl -u "$unit" -n 40 --no-pager -o cat || true
for log; do if [ -e "$log" ]; then tail -n 40 "$log"; fi; done
"""

Tell = Callable[..., None]  # a sentence, and details for the journal


@dataclass
class NewServer:
    """One of the new database servers.

    Attributes:
        machine: it, as configured.
        host: session to it.
        configuration: the stack's.
        intend: called before a change.
        cancel: the engine's Cancel.
        paired: it is one of the replicated pair, and has certificates and the option file that names them.
    """

    machine: NewMachine
    host: Access
    configuration: StackConfiguration
    intend: Tell
    cancel: CancelToken
    paired: bool = True

    @property
    def files(self) -> tuple[OptionFile, ...]:
        """The option files it is to have."""
        files = (
            option_files(self.configuration, self.machine) if self.paired else (rehearsal_option_file(self.configuration, self.machine),)
        )
        return tuple(replace(file, path=placed(self.host, file.path)) for file in files)

    def install(self) -> bool:
        """Install the server where there is none, and the tools that are missing; return whether anything had to be.

        Raises:
            StepFailed: there is none, and `new.database.packages` did not bring one.
        """
        services = Services(self.host)
        packages = self.missing_packages()
        if not packages:
            return False
        handled = packages_of(self.host)
        self.intend(f"{self.host.name}: {handled.program} install {' '.join(packages)}")
        handled.install(packages)
        if not any(services.state(unit).known for unit in DATABASE_UNITS):
            raise StepFailed(
                f"{self.host.name}: no database server after installing {' '.join(packages)}",
                f"none of {', '.join(DATABASE_UNITS)} is a unit",
                "name a server package in new.database.packages",
            )
        return True

    def missing_packages(self) -> list[str]:
        """What `install` would install: a database server of any name counts as one."""
        services = Services(self.host)
        there = any(services.state(unit).known for unit in DATABASE_UNITS)
        tools = database_tools(self.configuration) if self.paired else REHEARSAL_TOOLS
        return [
            *([] if there else self.configuration.new.database.packages),
            *without_command(self.host, {name: COMMANDS[name] for name in tools}),
        ]

    def certificates(self) -> tuple[str, str] | None:
        """Its authority and its certificate as PEM, None where they are not complete."""
        paths = TlsPaths()
        key = self.host.run(["sh", "-c", 'test "$(stat -c %a:%U "$1" 2>/dev/null)" = 600:mysql', "sh", paths.key], ok=(0, 1))
        ca, certificate = self.host.read(paths.ca), self.host.read(paths.certificate)
        if not key.ok or ca is None or certificate is None:
            return None
        return ca.decode(errors="replace"), certificate.decode(errors="replace")

    def put_certificates(self, files: Certificates) -> None:
        """Replace its certificates. The authority's goes first and comes last: an interrupted replacement is seen as one."""
        paths = TlsPaths()
        self.host.run(["install", "-d", "-m", "755", TLS_FOLDER])
        self.host.run(["rm", "-f", paths.ca], cancellable=False)
        self.host.write(paths.key, files.key, mode=0o600, owner="mysql:mysql")
        self.host.write(paths.certificate, files.certificate, mode=0o644, owner="root:root")
        self.host.write(paths.ca, files.ca, mode=0o644, owner="root:root")

    def put_files(self) -> list[str]:
        """Write the option files that are missing or different; return their paths."""
        written = []
        for file in self.files:
            found = self.host.read(file.path)
            if found is None or found.decode(errors="replace") != file.content:
                self.intend(f"{self.host.name}: write {file.path}")
                self.host.write(file.path, file.content, mode=0o644)
                written.append(file.path)
        return written

    def bring_up(self) -> str | None:
        """Have it enabled, running and with its files read; return why it was (re)started, None when it was not.

        Raises:
            StepFailed: it would have to be restarted under a management server that uses it, or does not come up with these values.
        """
        services = Services(self.host)
        unit = services.database_unit()
        state = services.state(unit)
        if state.masked or not state.enabled:
            self.intend(f"{self.host.name}: systemctl enable {unit}")
            services.release(unit)
        reason = self._why_restart(services, unit)
        if reason is None:
            return None
        if state.active:
            self._not_in_use()
        self.intend(f"{self.host.name}: systemctl restart {unit}", reason=reason)
        self.host.run(["systemctl", "reset-failed", unit], ok=None, cancellable=False)
        # The unit's start job is waited for on the server; a cancel in between would leave it half way.
        done = self.host.run(["systemctl", "restart", unit], timeout=RESTART_TIMEOUT, ok=None, cancellable=False)
        if not done.ok:
            raise StepFailed(
                f"{self.host.name}: {unit} does not start",
                self._last_words(unit),
                f"see `journalctl -u {unit}` and {', '.join(file.path for file in self.files)} on {self.host.name}",
            )
        self._await_answer()
        return reason

    def prove(self) -> str:
        """Prove that every configured value is in force and the family is the configured one; return the server's name and version.

        Raises:
            StepFailed: names each value that is another.
        """
        with session(self.host) as database:
            server = identify(database)
            wrong = self._not_in_force(database, server)
        if server.family != self.configuration.new.database.engine:
            raise StepFailed(
                f"{self.host.name} runs {server}",
                f"new.database.engine is {self.configuration.new.database.engine}",
                "correct new.database.engine or new.database.packages",
            )
        if wrong:
            words = "; ".join(f"{name} is {running}, not {wanted}" for name, (wanted, running) in sorted(wrong.items()))
            raise StepFailed(
                f"{self.host.name}: the database server does not run with its configuration",
                words,
                f"see whether a later option file or a systemd limit overrides {self.files[0].path} on {self.host.name}",
            )
        return str(server)

    def identity(self) -> str | None:
        """MySQL's `server_uuid`; None on MariaDB, which has none."""
        with session(self.host) as database:
            return str(database.value("SELECT @@GLOBAL.server_uuid")) if identify(database).family == "mysql" else None

    def renew_identity(self) -> None:
        """Have MySQL choose itself a new `server_uuid`: a copy of another server's data folder, such as a cloned image, has that one's."""
        with session(self.host) as database:
            path = f"{str(database.value('SELECT @@GLOBAL.datadir')).rstrip('/')}/auto.cnf"
        self._not_in_use()
        self.intend(f"{self.host.name}: remove {path} and restart, so that MySQL chooses a new server_uuid")
        self.host.run(["rm", "-f", path], cancellable=False)
        unit = Services(self.host).database_unit()
        self.host.run(["systemctl", "restart", unit], timeout=RESTART_TIMEOUT, cancellable=False)
        self._await_answer()

    def _why_restart(self, services: Services, unit: str) -> str | None:
        if not services.state(unit).active or find_socket(self.host) is None:
            return "it was not running"
        paths = TlsPaths()
        files = [file.path for file in self.files] + ([paths.ca, paths.certificate, paths.key] if self.paired else [])
        found = [line.split(" ", 1) for line in self.host.script(CHANGED, [unit, *files]).stdout.splitlines()]
        if newer := [file for when, file in found if when == "after"]:
            return f"{', '.join(newer)} changed since it was started"
        if found:
            with session(self.host) as database:
                if self._not_in_force(database, identify(database)):
                    return f"{', '.join(file for _, file in found)} changed as it was started"
        return None

    def _not_in_force(self, database: Session, server: DatabaseServer) -> dict[str, tuple[str, str]]:
        """Configured values that the running server does not have: name -> wanted and running."""
        wrong: dict[str, tuple[str, str]] = {}
        for file in self.files:
            wrong |= differing(database, file.values)
        if channel.read_status(database, server) is not None:
            # As long as it follows the original it has other values for these.
            wrong = {name: values for name, values in wrong.items() if name not in channel.FOLLOWING}
        copied = cleanup.read_record(self.host)
        # As long as a copy that nobody watches runs, too.
        return {name: values for name, values in wrong.items() if not (copied and name in copied.settings)}

    def _not_in_use(self) -> None:
        """Rule: a server that a management server works on is not restarted."""
        try:
            with session(self.host) as database:
                users = sessions_of(database, "cloud")
        except ConnectionFailed:
            return  # It runs but lets nobody in: nothing can be using it.
        if users:
            raise StepFailed(
                f"{self.host.name} would have to be restarted to read its new configuration",
                f"CloudStack uses it from {', '.join(users)}",
                "go back to phase prepared first (`pulumi config set phase prepared && pulumi up`); or restart it yourself at a quiet time, then run "
                "`pulumi up` again",
            )

    def _await_answer(self) -> None:
        def answers() -> bool:
            try:
                with session(self.host) as database:
                    return bool(database.value("SELECT 1") == 1)
            except ConnectionFailed:
                return False

        wait_for(
            f"the database server on {self.host.name} to answer as root over its socket",
            answers,
            timeout=RESTART_TIMEOUT,
            cancel=self.cancel,
            remedy="let root@localhost log in by socket authentication (unix_socket on MariaDB, auth_socket on MySQL); or, on a server of platform existing, "
            "name the account in new.database.admin, with the secret newDatabasePassword or an optionFile",
        )

    def _last_words(self, unit: str) -> str:
        shown = self.host.script(LAST_WORDS, [unit, *LOGS], ok=None).stdout
        errors = [line for line in shown.splitlines() if "ERROR" in line.upper()]
        return " | ".join(errors[-3:]) or "neither its journal nor its log has an error line"


def versions(names: Mapping[str, str]) -> str:
    """`newdb1 MariaDB 10.11.19, newdb2 ...` for a progress line."""
    return ", ".join(f"{name} {version}" for name, version in names.items())

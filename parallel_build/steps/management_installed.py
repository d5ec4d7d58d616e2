"""ManagementInstalled: the target version's packages on a new management server that has never been set up and can't start by itself."""

from __future__ import annotations

import re

import pymysql

from parallel_build.cloudstack import properties
from parallel_build.cloudstack.java import fault as java_fault
from parallel_build.cloudstack.properties import DB_PROPERTIES, KEY_FILE
from parallel_build.cloudstack.services import FENCE, MANAGEMENT, USAGE, Services, in_words
from parallel_build.cloudstack.setup import USAGE_FOLDER
from parallel_build.configuration import NewMachine, Phase, StackConfiguration
from parallel_build.errors import ConfigurationError, RollbackIncomplete, StepFailed
from parallel_build.operations.actions import Action, carried_out, planned
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import prove_or_tell, tolerated, window_open
from parallel_build.remote.access import Access
from parallel_build.remote.packages import Packages, choose, faults, file_mode, packages_of, right
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

UNITS = (MANAGEMENT, USAGE)
DATABASE_PORT = 3306
LINKED = ("key", "db.properties")  # of the usage server, to the management server's


@step
class ManagementInstalled(FoundationStep):
    """Packages installed, services stopped, disabled and masked; no setup-databases, no setup-management.

    Parameters: `name`, the machine's name.
    """

    type = "ManagementInstalled"
    phase = Phase.BUILT
    summary = "management packages installed, services masked"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Mask, repository, packages, fence, proof."""
        ports = ", ".join(str(port) for port in configuration.new.api.served.every_port)
        return [
            *planned(self._actions(configuration)),
            f"prove: package versions, units masked, ports {ports} closed, db.properties as shipped, Java there where the packages need it, "
            "no MySQL here that lets cloud/cloud in",
        ]

    def _actions(self, configuration: StackConfiguration) -> list[Action[[Context, Access], None]]:
        machine, packages = self._machine(configuration), configuration.new.packages
        on = f"on {machine.name} ({machine.address})"
        repository = [f"{on}: take packages from {packages.repository}, and read its list"] if packages.repository else []
        names = ", ".join(f"{name} {configuration.new.version}" for name in self._names(configuration))
        links = [f"{on}: {USAGE_FOLDER}/{name} -> ../management/{name}" for name in LINKED] if self._usage(configuration) else []
        return [
            Action([f"{on}: systemctl mask {' '.join(UNITS)}, before their packages come"], self._mask),
            Action([*repository, f"{on}: keep cloudstack packages at {configuration.new.version}"], self._repository),
            Action([f"{on}: install {names} by apt or dnf, whichever the server has, without recommended packages"], self._install),
            Action(links, self._links),
            Action([f"{on}: systemctl {in_words(FENCE)} {' '.join(UNITS)}"], self._fence),
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Look only."""
        machine = self._machine(configuration)
        return [f"prove that {' and '.join(UNITS)} are stopped and masked on {machine.name}; the packages go with the machine"]

    def apply(self, context: Context) -> Outputs:
        """Install what is missing, fence, prove."""
        host = context.host(self._machine(context.configuration))
        carried_out(self._actions(context.configuration), context, host)
        return self._proof(context, host, fenced=True)

    def verify(self, context: Context) -> Outputs:
        """Prove it again, changing nothing. Once a window is open the switched steps own the services, and only the packages count."""
        host = context.host(self._machine(context.configuration))
        return prove_or_tell(context, lambda: self._proof(context, host, fenced=not window_open(context)))

    def revert(self, context: Context) -> None:
        """Prove that nothing runs; mask what isn't masked any more.

        Raises:
            RollbackIncomplete: the server runs; stopping it is the switched phase's undo, not this one's.
        """
        host = context.host(self._machine(context.configuration))
        with tolerated(context, f"looking at {host.name}"):
            services = Services(host)
            for unit in UNITS:
                state = services.state(unit)
                if state.active:
                    raise RollbackIncomplete(
                        f"{unit} runs on {host.name}",
                        "it may be serving users",
                        "undo the switched phase first: set phase to prepared and run `pulumi up`",
                    )
                if state.known and not state.masked:
                    context.intend(f"{host.name}: systemctl disable and mask {unit}")
                    services.stop_and_fence(unit)

    def _machine(self, configuration: StackConfiguration) -> NewMachine:
        name = self.parameters.get("name")
        for machine in (*configuration.new.management, configuration.rehearsal.machine):
            if machine and machine.name == name:
                return machine
        raise ConfigurationError(
            f"{name} is not one of new.management", "only servers of the stack are installed", "name a management server of the stack"
        )

    def _usage(self, configuration: StackConfiguration) -> bool:
        usage = configuration.usage_server
        return usage is not None and usage.name == self._machine(configuration).name

    def _names(self, configuration: StackConfiguration) -> list[str]:
        packages = configuration.new.packages
        return [*packages.names, *(packages.usage_names if self._usage(configuration) else [])]

    def _mask(self, context: Context, host: Access) -> None:
        """Before the packages: their installation starts units that are not masked."""
        services = Services(host)
        for unit in UNITS:
            state = services.state(unit)
            if state.active:
                self._never_set_up(host)
            if not state.masked:
                context.intend(f"{host.name}: systemctl mask {unit}")
                host.run(["systemctl", "mask", unit], cancellable=False)

    def _repository(self, context: Context, host: Access) -> None:
        packages, own = packages_of(host), context.configuration.new.packages
        files = packages.hold_files(context.configuration.new.version)
        if own.repository:
            files |= packages.source_files(own.repository, own.key, context.configuration.new.version)
        changed = []
        for path, content in files.items():
            found = host.read(path)
            if found is None or found.decode(errors="replace") != content:
                context.intend(f"{host.name}: write {path}")
                host.run(["install", "-d", "-m", "755", path.rsplit("/", 1)[0]])
                host.write(path, content, mode=file_mode(content))
                changed.append(path)
        if changed:
            context.progress(f"{host.name}: {', '.join(changed)} written")

    def _install(self, context: Context, host: Access) -> None:
        packages, configuration = packages_of(host), context.configuration
        missing = [*faults(packages, self._names(configuration), configuration.new.version)]
        if not missing:
            return
        if any(packages.installed(name) for name in missing):
            self._never_set_up(host)
        if configuration.new.packages.repository:
            context.progress(f"{host.name}: reading the package list of {configuration.new.packages.repository}")
            packages.update(packages.sources)
        exact = []
        for name in missing:
            if name.startswith("cloudstack"):
                found = packages.available(name)
                if not found and not configuration.new.packages.repository:
                    packages.update()
                    found = packages.available(name)
                exact.append(packages.exact(name, choose(name, host.name, found, configuration.new.version).version))
            else:
                exact.append(name)
        context.intend(f"{host.name}: {packages.program} install {' '.join(exact)}")
        context.progress(f"{host.name}: installing {' '.join(exact)}")
        packages.install(exact)

    def _fence(self, context: Context, host: Access) -> None:
        services = Services(host)
        for unit in UNITS:
            state = services.state(unit)
            if state.known and (state.active or not state.masked):
                context.intend(f"{host.name}: {in_words(FENCE)} {unit}")
                services.stop_and_fence(unit)
            # A package enables its unit behind the mask; without this it would start by itself once it is unmasked.
            if enabled_links(host, unit):
                context.intend(f"{host.name}: systemctl disable {unit}")
                host.run(["sh", "-c", REMOVE_LINKS, "sh", unit], cancellable=False)

    def _links(self, context: Context, host: Access) -> None:
        """On Debian the usage package links the key only if it exists when it is installed; here it comes later."""
        for name in LINKED:
            link = f"{USAGE_FOLDER}/{name}"
            if not host.run(["sh", "-c", 'test -L "$1" || test -e "$1"', "sh", link], ok=(0, 1)).ok:
                context.intend(f"{host.name}: link {link} -> ../management/{name}")
                host.run(["ln", "-sfn", f"../management/{name}", link], cancellable=False)

    def _proof(self, context: Context, host: Access, *, fenced: bool) -> Outputs:
        packages, services, configuration = packages_of(host), Services(host), context.configuration
        versions = {name: packages.installed(name) for name in self._names(configuration)}
        faults = [
            f"{name} is {version or 'not installed'}"
            for name, version in versions.items()
            if not right(name, version, configuration.new.version)
        ]
        if fenced:
            for unit in UNITS:
                state = services.state(unit)
                if state.active or not state.masked:
                    faults.append(f"{unit} is {'running' if state.active else 'not masked'}")
            ports = services.listening(configuration.new.api.served.every_port)
            faults += [f"something listens on port {port}" for port in sorted(ports)]
            if set_up(host):
                faults.append(f"{DB_PROPERTIES} is not as shipped: this server has been set up before")
            if lets_cloud_in(host, services):
                faults.append(
                    "a MySQL server on it lets cloud/cloud in, which CloudStack falls back on when its own settings can't be read"
                )
        java = self._java(host, packages)
        if java == "missing":
            faults.append("there is no working Java although the packages depend on one")
        elif wrong := java_fault(java, configuration.new.version):
            faults.append(f"{wrong}: install that one and make it the default (`update-alternatives --config java`)")
        if faults:
            raise StepFailed(
                f"{host.name} is not a clean management server",
                "; ".join(faults),
                "give the stack a machine that was never a management server, or correct this, then run `pulumi up` again",
            )
        context.progress(
            f"{host.name}: {', '.join(f'{name} {version}' for name, version in versions.items())}" + (", masked" if fenced else "")
        )
        return {"packages": versions, "masked": fenced, "java": java}

    @staticmethod
    def _never_set_up(host: Access) -> None:
        """Rule: packages and services of a server that somebody has set up are not touched."""
        if set_up(host):
            raise StepFailed(
                f"{host.name} is a management server already",
                f"{DB_PROPERTIES} there has been set up",
                "give the stack another machine; this tool never changes a server that is in use",
            )

    @staticmethod
    def _java(host: Access, packages: Packages) -> str:
        if not re.search(r"\b(jre|java|openjdk)", packages.dependencies("cloudstack-management")):
            return "not needed"
        found = host.run(["sh", "-c", "java -version 2>&1"], ok=None)
        return found.stdout.splitlines()[0].strip() if found.ok and found.stdout else "missing"


LINKS = 'for l in /etc/systemd/system/*.wants/"$1".service /etc/rc[2-5].d/S[0-9][0-9]"$1"; do [ -L "$l" ] && echo "$l"; done; exit 0'
# `systemctl disable` passes a masked unit over, so its links are taken away one by one.
REMOVE_LINKS = (
    'for l in /etc/systemd/system/*.wants/"$1".service; do [ -L "$l" ] && rm -f "$l"; done; '
    'command -v update-rc.d >/dev/null && [ -e "/etc/init.d/$1" ] && update-rc.d "$1" disable; systemctl daemon-reload'
)


def enabled_links(host: Access, unit: str) -> list[str]:
    """The links by which a unit would start at boot."""
    return host.run(["sh", "-c", LINKS, "sh", unit]).stdout.split()


def set_up(host: Access) -> bool:
    """Whether cloudstack-setup-databases has been here: a key file, or an encrypted value in db.properties."""
    values = properties.read(host, DB_PROPERTIES) or {}
    encrypted = any(value.startswith("ENC(") for value in values.values())
    return encrypted or host.run(["test", "-s", KEY_FILE], ok=(0, 1)).ok


def lets_cloud_in(host: Access, services: Services) -> bool:
    """Whether a database server on the host accepts user cloud with password cloud [CloudStack 4.22 TransactionLegacy.initDataSource]."""
    if DATABASE_PORT not in services.listening([DATABASE_PORT]):
        return False
    with host.forward(f"127.0.0.1:{DATABASE_PORT}") as local:
        try:
            pymysql.connect(unix_socket=str(local), user="cloud", password="cloud", connect_timeout=15).close()  # noqa: S106 - the known default
        except pymysql.err.MySQLError:
            return False
    return True

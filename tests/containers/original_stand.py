"""An original cloud alone, for the steps before the window: one management server, its database, two KVM hosts with system VMs, and no stack next to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lab import databases, fileserver, network, original, packages
from lab.database import DatabasePlan, ManagementServer, describe
from lab.files import Lab, LabSecrets, Options
from lab.hosts import create, in_parallel, sessions
from lab.images import base_root
from lab.machines import KVM_HOSTS, NEW_MANAGEMENT, NEW_REPLICA, NEW_SOURCE, OLD_MANAGEMENT, OLD_REPLICA, OLD_SOURCE, Machine
from lab.takedown import down
from parallel_build.cancel import CancelToken
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import load, load_secrets
from parallel_build.machines.container import namespace
from parallel_build.machines.provisioning import mac_address
from parallel_build.operations.context import Context, Outputs
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret
from parallel_build.steps.base import Step
from tools.cache import cache_directory

T = TypeVar("T")
SERVER = OLD_MANAGEMENT[0]
TEMPLATE = {
    "hypervisor": "KVM",
    "name": "systemvm-kvm-4.22.0-x86_64",
    "url": "http://10.91.0.1/templates/systemvmtemplate-4.22.0-x86_64-kvm.qcow2.bz2",
}


@dataclass
class Original:
    """The running original.

    Attributes:
        lab: its machines' places.
        secrets: its keys.
        lines: every line of progress of the last step.
    """

    lab: Lab
    secrets: LabSecrets
    lines: list[str] = field(default_factory=list)

    def inside(self, call: Callable[[], T]) -> T:
        """Run `call` where the machines can be reached."""
        return namespace.inside(self.lab.namespace, call)

    def values(self, **changes: Any) -> dict[str, Any]:
        """The stack's plain values; `changes` replace whole sections."""

        def server(machine: Machine) -> dict[str, Any]:
            return {"name": machine.name, "address": machine.address, "hostKey": self.lab.host_key(machine.name)}

        return {
            "original": {
                "version": "4.20.3.0",
                "management": [{**server(SERVER), "usage": True}],
                "database": {"source": server(OLD_SOURCE), "replica": server(OLD_REPLICA)},
                "api": {"url": f"http://{SERVER.address}:8080/client/api"},
                "hypervisors": [server(host) for host in KVM_HOSTS],
            },
            "new": {
                "version": "4.22.1.0",
                "platform": "existing",
                "management": [{"name": each.name, "address": each.address} for each in NEW_MANAGEMENT],
                "database": {
                    "source": {"name": NEW_SOURCE.name, "address": NEW_SOURCE.address},
                    "replica": {"name": NEW_REPLICA.name, "address": NEW_REPLICA.address},
                },
            },
            "agents": {"timeout": "40s"},
            "window": {"userAccess": {"administrators": ["10.91.0.1/32"]}},
            "ssh": {"identityFile": str(self.lab.identity)},
            **changes,
        }

    def site(self, values: dict[str, Any] | None = None) -> Site:
        """The stack."""
        secrets = {
            "originalApiKey": self.secrets.must("original_api_key").reveal(),
            "originalApiSecret": self.secrets.must("original_api_secret").reveal(),
            "cloudPassword": "cloudPw.One_1",
            "replicationPassword": "replPw.Two_2",
            "managementKey": "mgmtKey-three3",
        }
        return Site("stand", load(values or self.values(), "stand"), load_secrets(secrets, "stand"), {})

    def api(self, command: str, **parameters: Any) -> list[dict[str, Any]]:
        """Items of a list command."""
        return self.inside(lambda: Cloud.original(self.site()).list(command, **parameters))

    def shell(self, machine: Machine, command: str) -> str:
        """Run a shell command on a machine and return what it printed."""

        def run() -> str:
            with sessions(self.lab) as opened:
                return opened[machine].run(["sh", "-c", command], timeout=120, ok=None).stdout

        return self.inside(run)

    @contextlib.contextmanager
    def context(self, site: Site, step: str, tell: Callable[[str], None] | None = None) -> Iterator[Context]:
        """A context as the provider gives a step."""
        cancel = CancelToken()
        connections = Connections(site, cancel)
        self.lines.clear()

        def say(line: str) -> None:
            self.lines.append(line)
            if tell:
                tell(line)

        try:
            yield Context(site, connections, RunFolder(self.lab.folder / "runs", site.stack, site.secrets.all()), cancel, say, step=step)
        finally:
            self.inside(connections.close)

    def apply(self, step: Step, site: Site | None = None, tell: Callable[[str], None] | None = None) -> tuple[Outputs, bool]:
        """Apply; return the evidence and whether anything was changed."""
        with self.context(site or self.site(), step.type, tell) as context:
            return self.inside(lambda: step.apply(context)), context.acted

    def revert(self, step: Step, site: Site | None = None, tell: Callable[[str], None] | None = None) -> bool:
        """Revert; return whether anything was changed."""
        with self.context(site or self.site(), step.type, tell) as context:
            self.inside(lambda: step.revert(context))
            return context.acted


@contextlib.contextmanager
def original_cloud() -> Iterator[Original]:
    """A small original; gone at the end."""
    lab = Lab(f"stand-{os.getpid()}")
    options = Options(hosts="containers", management=1, rows=100)
    plan = DatabasePlan(
        management_servers=(ManagementServer(SERVER.name, SERVER.address, mac_address(SERVER.name, SERVER.address)),),
        scale=0.2, link_local_addresses=2000, rows_usage=100, rows_event=100, rows_usage_event=100, rows_vm_stats=100,
    )  # fmt: skip
    lab.begin(options)
    try:
        network.up(lab)
        repository = packages.build(cache_directory())
        fileserver.start(lab, {version: repository.repository(version) for version in (packages.OLD, packages.NEW)})
        made = Original(lab, namespace.inside(lab.namespace, lambda: _build(lab, plan)))
        yield made
    finally:
        down(lab)


def _build(lab: Lab, plan: DatabasePlan) -> LabSecrets:
    lab.operator_key()
    root = base_root()

    def machine(each: Machine) -> None:
        database = each.role in ("source", "replica")
        create(
            lab, each, root, packages.OLD,
            files=(databases.configuration(each, "mariadb"),) if database else (),
            units=("mariadb.service",) if database else (),
            packages=("cloudstack-usage",) if each == SERVER else (),
        )  # fmt: skip

    in_parallel(machine, [SERVER, OLD_SOURCE, OLD_REPLICA, *KVM_HOSTS])
    generated = describe(plan)
    admin = generated.secrets.admin
    kept = original.secrets_for(
        lab,
        {
            "database_key": Secret(generated.secrets.database_key),
            "original_api_key": Secret(admin.api_key),
            "original_api_secret": Secret(admin.secret_key),
        },
    )
    with sessions(lab) as opened:
        databases.fill(lab, opened, plan, kept.must("original_cloud_password"))
        original.set_up(lab, opened, 1, original.agents_of(generated.layout), generated.secrets.encryptor)
    return kept

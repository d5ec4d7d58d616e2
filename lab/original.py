"""The original cloud: management servers, usage server and agents, installed and set up with CloudStack's own commands."""

from __future__ import annotations

from dataclasses import dataclass

from lab.database import Layout
from lab.errors import LabError
from lab.files import Lab, LabSecrets
from lab.hosts import NO_STARTS, Sessions, in_parallel, really
from lab.machines import ALL_KVM_HOSTS, OLD_MANAGEMENT, OLD_NODE, OLD_REPLICA, OLD_SOURCE, Machine
from lab.progress import say, until
from parallel_build.cloudstack.api import ApiRefused, ApiUnavailable, Cloud, Endpoint
from parallel_build.errors import ConnectionFailed
from parallel_build.secret import Secret

VERSION = "4.20.3.0"
AGENT_PROPERTIES = "/etc/cloudstack/agent/agent.properties"
RESOURCE = "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource"
START = 180.0  # seconds until a management server must answer


@dataclass(frozen=True)
class Agent:
    """A KVM host's agent as the database knows it."""

    machine: Machine
    guid: str
    zone: int
    pod: int
    cluster: int


def agents_of(layout: Layout) -> list[Agent]:
    """The agents of a generated database: one for each KVM machine of the lab."""
    found = {host.name: host for host in layout.hosts}
    return [
        Agent(machine, found[machine.name].agent_guid, layout.zone_id, found[machine.name].pod_id, found[machine.name].cluster_id)
        for machine in ALL_KVM_HOSTS
        if machine.name in found
    ]


def cloud(machine: Machine, secrets: LabSecrets) -> Cloud:
    """The API of one management server, with the administrator's keys."""
    where = Endpoint(f"http://{machine.address}:8080/client/api")
    return Cloud(where, secrets.must("original_api_key"), secrets.must("original_api_secret"), timeout=15)


def set_up(lab: Lab, opened: Sessions, management: int, agents: list[Agent], encryptor: str) -> None:
    """Set up and start management, usage and agents, and wait until the cloud is whole. May be repeated.

    Args:
        management: number of management servers.
        agents: the KVM hosts' agents; empty where the database has no such host.
        encryptor: `V1` or `V2`, or empty to leave it to CloudStack.
    Raises:
        LabError: it does not come up in time.
    """
    servers = OLD_MANAGEMENT[:management]
    for server in servers:
        _set_up_management(opened, server, really(lab, OLD_SOURCE), lab.secrets(), encryptor)
    # The Debian package links the management server's files only where they are there when it is installed.
    opened[servers[0]].script(
        "cd /etc/cloudstack/usage && ln -sfn ../management/db.properties db.properties && ln -sfn ../management/key key\n"
        "systemctl enable --now cloudstack-usage",
        timeout=120,
    )
    for server in servers:
        _await_api(server, lab.secrets())
    addresses = ",".join(server.address for server in servers)
    in_parallel(lambda agent: _set_up_agent(opened, agent, addresses), agents)
    in_parallel(
        lambda machine: opened[machine].run(["rm", "-f", NO_STARTS.path], timeout=30),
        [
            *servers,
            *([OLD_NODE] if lab.options().galera else []),
            *({really(lab, OLD_SOURCE), really(lab, OLD_REPLICA)} - {*servers}),
            *(agent.machine for agent in agents),
        ],
    )
    await_whole(lab, agents)


def await_whole(lab: Lab, agents: list[Agent]) -> None:
    """Wait until every agent is Up and every system VM Running.

    Raises:
        LabError: they are not, in time.
    """
    api = cloud(OLD_MANAGEMENT[0], lab.secrets())
    names = {agent.machine.name for agent in agents}

    def up() -> bool:
        states = {host["name"]: host.get("state") for host in api.list("listHosts", type="Routing")}
        return all(states.get(name) == "Up" for name in names)

    def running() -> bool:
        vms = [*api.list("listSystemVms"), *api.list("listRouters", listall="true")]
        return all(vm.get("state") == "Running" for vm in vms)

    if names:
        until(f"agents of {', '.join(sorted(names))}", up, timeout=120 + 5 * len(names), remedy="read agent.log on them")
        until("the original's system VMs and routers", running, timeout=120, remedy="scripts/lab status")


def _set_up_management(opened: Sessions, server: Machine, database: Machine, secrets: LabSecrets, encryptor: str) -> None:
    say(f"  {server.name}: cloudstack-setup-databases, cloudstack-setup-management")
    words = [
        f"cloud:{secrets.must('original_cloud_password').reveal()}@{database.address}",
        *("-e", "file"),
        *("-m", secrets.must("original_management_key").reveal()),
        *("-k", secrets.must("database_key").reveal()),
        *("-i", server.address),
        *(("-g", encryptor) if encryptor else ()),
    ]
    # CloudStack's command takes its secrets as words; they get there within the script, on standard input.
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    # setup-management ends with exit code 0 whatever happened: its words count.
    script = (
        f"cloudstack-setup-databases {quoted}\n"
        "systemctl stop cloudstack-management\n"
        "said=$(cloudstack-setup-management 2>&1) || true\n"
        'case "$said" in *"setup is Done"*) ;; *) echo "$said" >&2; exit 1;; esac\n'
        "systemctl enable cloudstack-management\n"
        "systemctl is-active --quiet cloudstack-management || systemctl start cloudstack-management\n"
    )
    opened[server].script(script, timeout=180)


def _await_api(server: Machine, secrets: LabSecrets) -> None:
    api = cloud(server, secrets)

    def answers() -> bool:
        try:
            found = api.call("listCapabilities").get("capability", {}).get("cloudstackversion")
        except ApiRefused as error:
            raise LabError(
                f"the API of {server.name} refuses the administrator's keys", str(error), "give --api-key and --api-secret"
            ) from None
        except ApiUnavailable as error:
            if error.status is not None and error.status >= 500:
                raise LabError(
                    f"the management server on {server.name} failed while it started",
                    "wrong keys for this database, most often",
                    f"scripts/lab shell {server.name} tail -50 /var/log/cloudstack/management/management-server.log",
                ) from None
            return False
        except ConnectionFailed:
            return False
        if found != VERSION:
            raise LabError(
                f"{server.name} runs CloudStack {found}", f"the lab's original is {VERSION}", "scripts/lab down, then scripts/lab up"
            )
        return True

    until(
        f"the API of {server.name}", answers, timeout=START, remedy=f"scripts/lab shell {server.name} journalctl -u cloudstack-management"
    )


def _set_up_agent(opened: Sessions, agent: Agent, addresses: str) -> None:
    host = opened[agent.machine]
    lines = {
        "guid": agent.guid,
        "resource": RESOURCE,
        "host": addresses,
        "port": "8250",
        "zone": agent.zone,
        "pod": agent.pod,
        "cluster": agent.cluster,
        "private.ip": agent.machine.address,
        "workers": 5,
    }
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    host.write(AGENT_PROPERTIES, text, mode=0o640)
    host.run(["systemctl", "enable", "cloudstack-agent"], timeout=60)
    host.run(["systemctl", "restart", "cloudstack-agent"], timeout=120)


def secrets_for(lab: Lab, given: dict[str, Secret | None]) -> LabSecrets:
    """The lab's secrets: those given, and random ones for the rest."""
    secrets = lab.secrets()
    secrets.set(**given)
    for name in ("original_cloud_password", "original_management_key", "cloud_password", "replication_password", "management_key"):
        secrets.made(name)
    return secrets

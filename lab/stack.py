"""The stack `lab`: its configuration, its state folder, and Pulumi's commands, run inside the lab's network."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError
from lab.files import Lab, Options
from lab.hosts import ROOT_PASSWORD, repository_address
from lab.images import base_root, el_root, family_root, guest_image
from lab.images.el import OPERATOR
from lab.libvirtd import uri
from lab.machines import (
    ALL_KVM_HOSTS,
    BRIDGE,
    NEW_MANAGEMENT,
    NEW_REPLICA,
    NEW_SOURCE,
    OLD_MANAGEMENT,
    OLD_NODE,
    OLD_SOURCE,
    REHEARSAL,
    TIME_SERVER,
)
from lab.packages import NEW, OLD
from parallel_build.configuration import Phase
from parallel_build.machines.container import machine as container
from parallel_build.project import PROJECT
from tools.cache import write_atomically
from tools.environment import tool_environment

STACK = "lab"
PROJECT_NAME = "cloudstack-parallel-build"
TEMPLATE = PROJECT / "stacks/Pulumi.lab.yaml"
# The stack's secret -> what the lab calls it. The database key is left out: as with a real cloud, the tool reads it from the original.
SECRETS = {
    "originalApiKey": "original_api_key",
    "originalApiSecret": "original_api_secret",
    "cloudPassword": "cloud_password",
    "replicationPassword": "replication_password",
    "managementKey": "management_key",
}
HOST_KEY_TYPE = "cutover:index:SshHostKey"
TAKES_CONFIG = {"up", "update", "preview", "destroy", "refresh", "config", "watch", "import"}
TAKES_STACK = {"stack", "cancel", "state", "logs"}
SHORT = 120.0  # seconds for commands that contact no machine


def environment(lab: Lab) -> dict[str, str]:
    """Variables of every Pulumi command of this lab; `scripts/lab pulumi` and tests use the same."""
    return {
        **tool_environment(),
        "CUTOVER_LAB": str(lab.folder),
        "PULUMI_BACKEND_URL": f"file://{lab.backend}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(lab.passphrase),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


def prepare(lab: Lab) -> None:
    """Write the stack's configuration and make the stack, once.

    Raises:
        LabError: Pulumi refuses.
    """
    lab.backend.mkdir(exist_ok=True)
    if not lab.passphrase.exists():
        write_atomically(lab.passphrase, secrets.token_urlsafe(24), 0o600)
    if lab.done("stack"):
        return
    document = yaml.safe_load(TEMPLATE.read_text())
    adapt(lab, document["config"])
    document["encryptionsalt"] = _make_stack(lab)
    write_atomically(lab.stack_file, yaml.safe_dump(document, sort_keys=False), 0o600)
    kept = lab.secrets()
    for name, where in {**SECRETS, **({"originalDatabasePassword": ROOT_PASSWORD} if lab.done(ROOT_PASSWORD) else {})}.items():
        # The value goes by standard input: an argument could be read by anybody who lists processes.
        _quiet(lab, ["config", "set", "--secret", name, *_where(lab)], given=kept.must(where).reveal())
    lab.mark("stack")


def adapt(lab: Lab, config: dict[str, Any]) -> None:
    """Put the lab's own values into the stack file's `config`: platform, number of management servers, paths.

    Args:
        config: changed in place; everything else in it stays as it is written.
    """
    options = lab.options()

    def section(name: str) -> dict[str, Any]:
        found: dict[str, Any] = config.setdefault(f"{PROJECT_NAME}:{name}", {})
        return found

    config[f"{PROJECT_NAME}:phase"] = Phase.BUILT.value
    new, original = section("new"), section("original")
    original["management"] = _some(original["management"], {machine.name for machine in OLD_MANAGEMENT[: options.management]})
    new["management"] = _some(new["management"], {machine.name for machine in NEW_MANAGEMENT[: options.management]})
    known = {host["name"] for host in original["hypervisors"]}
    original["hypervisors"] += [
        {"name": host.name, "address": host.address, "kind": "kvm"} for host in ALL_KVM_HOSTS[: options.kvm_hosts] if host.name not in known
    ]
    # A given dump may have fewer KVM hosts than the lab has machines for them, or none: then no template for KVM is looked for either.
    there = [host for host in original["hypervisors"] if container.exists(lab.original, host["name"])]
    original["hypervisors"] = there
    names = {host["name"] for host in there}
    steps = f"{PROJECT_NAME}:hypervisorSteps"
    config[steps] = [each for each in config.get(steps, []) if names.issuperset(each["hosts"])]
    if not there:
        config[f"{PROJECT_NAME}:templates"] = []
    for each in config[steps]:
        each["hosts"] = [host["name"] for host in there]
    if options.agents:
        config[steps] = []
        section("agents")["upgrade"] = {"canary": 1, "atOnce": 4}
    if options.target != NEW:
        new["version"] = options.target
        new["packages"]["repository"] = new["packages"]["repository"].replace(NEW, options.target)
        config[steps] = json.loads(json.dumps(config[steps]).replace(NEW, options.target))
    if options.move:
        new["version"] = original["version"]
        new["packages"]["repository"] = new["packages"]["repository"].replace(NEW, OLD)
        config[f"{PROJECT_NAME}:templates"], config[steps] = [], []
    if options.rehearsal:
        machine = {"name": REHEARSAL.name, "address": REHEARSAL.address, "cpus": 1, "memory": 2048, "disk": 12}
        config[f"{PROJECT_NAME}:rehearsal"] = {
            "enabled": True,
            "machine": machine,
            "fixes": "${CUTOVER_LAB}/fixes",
        }  # nothing is waived then
    section("transfer")["method"] = options.transfer
    old_family, new_family = options.families
    original.setdefault("database", {})["engine"] = old_family
    new.setdefault("database", {}).update(engine=new_family, packages=[f"{new_family}-server"])
    if options.one_server:
        original["database"] |= {"source": {"name": OLD_SOURCE.name, "address": OLD_MANAGEMENT[0].address}}
        original["database"].pop("replica")
    if options.galera:
        original["database"] = galera(original["database"])
    if options.one_server == "both":
        new |= {"allInOne": True, "management": [{**new["management"][0], "memory": 2560, "disk": 12}]}
        new["database"] = {key: value for key, value in new["database"].items() if key not in ("source", "replica")}
    if "el" in options.systems:
        _shaped(config, options)
    new["platform"] = "container" if options.hosts == "containers" else "libvirt"
    if options.hosts != "containers":
        section("new")["network"]["timeServers"] = [TIME_SERVER.address]
        section("ssh")["connectTimeout"] = "60s"  # an emulated guest that is busy takes its time for the handshake
    config[f"{PROJECT_NAME}:platforms"] = _container(lab) if options.hosts == "containers" else _libvirt(lab)


def galera(database: dict[str, Any]) -> dict[str, Any]:
    """The original's database as a cluster: its replica is the first of the stand-by nodes."""
    node = {"name": OLD_NODE.name, "address": OLD_NODE.address}
    return {key: value for key, value in database.items() if key != "replica"} | {"nodes": [database["replica"], node]}


def _shaped(config: dict[str, Any], options: Options) -> None:
    """What an EL-shaped side is described by: an account with sudo, root of the database by its password, a repository for dnf, the agents' wave."""
    original, new = config[f"{PROJECT_NAME}:original"], config[f"{PROJECT_NAME}:new"]
    steps, agents = f"{PROJECT_NAME}:hypervisorSteps", config[f"{PROJECT_NAME}:agents"]
    if options.systems[1] == "el":
        new["packages"]["repository"] = repository_address(new["version"])
    if options.family != "el":
        return
    database = original["database"]
    for server in (*original["management"], database["source"], database["replica"], *original["hypervisors"]):
        server["sshUser"] = OPERATOR
    database["admin"] = {"user": "root"}
    config[steps] = []
    if not options.move:
        agents["upgrade"] = {"canary": 1, "atOnce": 4, "repository": repository_address(new["version"])}


def phase(lab: Lab) -> Phase:
    """The phase the stack is configured for."""
    document = yaml.safe_load(lab.stack_file.read_text())
    return Phase(document["config"][f"{PROJECT_NAME}:phase"])


def set_phase(lab: Lab, wanted: Phase) -> None:
    """Configure the stack for a phase."""
    if phase(lab) is not wanted:
        _quiet(lab, ["config", "set", "phase", wanted.value, *_where(lab)])


def configure(lab: Lab, path: str, value: str) -> None:
    """Set one value of the stack's configuration, named by its path (`window.hostsTimeout`)."""
    _quiet(lab, ["config", "set", "--path", path, value, *_where(lab)])


def configure_secret(lab: Lab, name: str, value: str) -> None:
    """Set a secret of the stack."""
    _quiet(lab, ["config", "set", "--secret", name, *_where(lab)], given=value)


def unset(lab: Lab, path: str) -> None:
    """Take one value out of the stack's configuration."""
    _quiet(lab, ["config", "rm", "--path", path, *_where(lab)])


def config_text(lab: Lab) -> str:
    """The stack's configuration as Pulumi prints it, secrets left out."""
    return _quiet(lab, ["config", "get", "window", *_where(lab)]) if "window" in lab.stack_file.read_text() else ""


def cancel(lab: Lab) -> None:
    """`pulumi cancel`: take away the lock that a killed command left."""
    _quiet(lab, ["cancel", "--yes", "--stack", STACK])


def up(lab: Lab) -> None:
    """`pulumi up` for the configured phase; its progress is shown as it comes.

    Raises:
        LabError: it failed.
    """
    code = pulumi(lab, ["up", "--yes", "--skip-preview", *_where(lab)])
    _learn_host_keys(lab)
    if code != 0:
        raise LabError(f"pulumi up ended with exit code {code}", "see above", "the same command again resumes there")


def destroy(lab: Lab) -> None:
    """`pulumi destroy`: roll back everything that the stack did.

    Raises:
        LabError: it failed.
    """
    code = pulumi(lab, ["destroy", "--yes", "--skip-preview", *_where(lab)])
    if code != 0:
        raise LabError(f"pulumi destroy ended with exit code {code}", "see above", "the same command again resumes there")


def pulumi(lab: Lab, words: Sequence[str]) -> int:
    """Run a Pulumi command with its output shown; its exit code. The caller must be inside the lab's network."""
    return subprocess.run(["pulumi", *words], cwd=PROJECT, env=environment(lab), check=False).returncode


def tool(lab: Lab, words: Sequence[str]) -> int:
    """Run `parallel-build` with the lab's stack file; its exit code. The caller must be inside the lab's network."""
    return subprocess.run(tool_words(lab, words), cwd=PROJECT, env=environment(lab), check=False).returncode


def tool_words(lab: Lab, words: Sequence[str]) -> list[str]:
    """The command that `tool` runs."""
    return [sys.executable, "-m", "parallel_build", "--config-file", str(lab.stack_file), *words]


def pulumi_words(lab: Lab, words: Sequence[str]) -> list[str]:
    """A user's Pulumi words with this lab's stack added, and its configuration where the command reads one."""
    first = words[0] if words else ""
    extra = _where(lab) if first in TAKES_CONFIG else ["--stack", STACK] if first in TAKES_STACK else []
    end = words.index("--") if "--" in words else len(words)  # what comes behind it are values
    return [*words[:end], *extra, *words[end:]]


def _learn_host_keys(lab: Lab) -> None:
    """Keep the public host keys of the new machines, which the stack has made: from its state, where they are also after an `up` that failed."""
    state = json.loads(_quiet(lab, ["stack", "export", "--stack", STACK]) or "{}")
    keys = {}
    for resource in (state.get("deployment") or {}).get("resources") or []:
        if resource["type"] == HOST_KEY_TYPE and (key := resource.get("outputs", {}).get("publicKey")):
            keys[resource["outputs"]["name"]] = key
    write_atomically(lab.folder / "new_host_keys.json", json.dumps(keys, indent=1) + "\n")


def _make_stack(lab: Lab) -> str:
    """Make the stack and return the salt of its secrets.

    `pulumi stack init` knows no --config-file and would write the salt into the checkout's own stack file: it runs next to a project file of the same name.
    """
    project = lab.folder / "project"
    written = project / f"Pulumi.{STACK}.yaml"
    if not written.exists():
        write_atomically(project / "Pulumi.yaml", f"name: {PROJECT_NAME}\nruntime: python\n")
        if list(lab.backend.rglob(f"{STACK}.json")):  # Left by an attempt that was ended before the salt was written.
            _quiet(lab, ["stack", "rm", STACK, "--yes", "--preserve-config"], folder=project)
        _quiet(lab, ["stack", "init", STACK, "--secrets-provider", "passphrase"], folder=project)
    salt: str = yaml.safe_load(written.read_text())["encryptionsalt"]
    return salt


def _where(lab: Lab) -> list[str]:
    return ["--stack", STACK, "--config-file", str(lab.stack_file)]


def _quiet(lab: Lab, words: Sequence[str], given: str | None = None, folder: Path = PROJECT) -> str:
    done = subprocess.run(
        ["pulumi", "--non-interactive", *words],
        input=given,
        stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(lab),
        timeout=SHORT,
        check=False,
    )
    if done.returncode != 0:
        lines = " | ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise LabError(f"pulumi {' '.join(words[:3])} ended with exit code {done.returncode}", lines, "")
    return done.stdout


def _some(servers: list[dict[str, Any]], names: set[str]) -> list[dict[str, Any]]:
    return [server for server in servers if server["name"] in names]


def _container(lab: Lab) -> dict[str, Any]:
    family = lab.options().families[1]
    others = {} if family == "mariadb" else {machine.name: str(family_root(family)) for machine in (NEW_SOURCE, NEW_REPLICA)}
    return {
        "container": {
            "root": str(el_root() if lab.options().systems[1] == "el" else base_root()),
            **({"roots": others} if others else {}),
            "folder": str(lab.new),
            "namespace": lab.namespace,
            "bridge": BRIDGE,
            "disks": lab.options().disks,
        }
    }


def _libvirt(lab: Lab) -> dict[str, Any]:
    image = guest_image()
    return {
        "libvirt": {
            "uri": uri(lab),
            "image": str(image.disk),
            "kernel": str(image.kernel),
            "initrd": str(image.initrd),
            "kernelArguments": image.command_line.split(),
            "poolPath": str(lab.pool),
            "bridge": BRIDGE,
            "domainType": "auto",
        }
    }

"""The life of the agent's process: the host's own link, and one for each system VM with an agent that runs here."""
from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import uuid
from typing import Any

from ..shared import logs, paths, properties, settings
from ..shared.protocol import Message
from ..shared.release import code_version
from . import machines
from .link import Link

log = logging.getLogger("c.c.a.AgentShell")

PROPERTIES = paths.AGENT_CONFIGURATION / "agent.properties"
CONNECTED_ONCE = paths.AGENT_STATE / "connected"
AUTHORISED = paths.AGENT_STATE / "system_vm_key.pub"
SYSTEM_VM_KEY = paths.ROOT / "root/.ssh/id_rsa.cloud"
#: Kinds of machines that have an agent of their own, and the type of the host that it is.
WITH_AGENT = {"SecondaryStorageVm": "SecondaryStorageVM", "ConsoleProxy": "ConsoleProxy"}
SCAN_SECONDS = 1.0


class Agent:
    """The agent of this host."""

    def __init__(self) -> None:
        self.settings = settings.load()
        self.version = code_version().text
        self.stop = threading.Event()
        values = properties.read(PROPERTIES)
        if not values.get("guid"):
            properties.store(PROPERTIES, "guid", str(uuid.uuid4()))
        paths.AGENT_STATE.mkdir(parents=True, exist_ok=True)
        self.link = Link(
            socket.gethostname().split(".")[0], PROPERTIES, self._startup, self.settings, self._ready, self._command, self._report)
        self._links: dict[str, Link] = {}

    def run(self) -> None:
        """Serve until it is told to stop."""
        machines.make_bridge()
        threading.Thread(target=self.link.run, name="Agent", daemon=True).start()
        while not self.stop.wait(SCAN_SECONDS):
            self._look_after_system_vms()
        self.link.stop(announce=True)
        for link in self._links.values():
            link.stop(announce=False)

    def _startup(self, local: str) -> Message:
        values = properties.read(PROPERTIES)
        fresh = self.settings.boot_system_vms and not CONNECTED_ONCE.exists()
        return {
            "type": "startup", "kind": "Routing", "guid": values["guid"], "name": self.link.name, "version": self.version,
            "address": values.get("private.ip") or local, "zone": values.get("zone"), "pod": values.get("pod"),
            "cluster": values.get("cluster"), "fresh": fresh, "cpus": os.cpu_count() or 1}

    def _ready(self, message: Message) -> None:
        if message.get("private_key"):
            SYSTEM_VM_KEY.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            SYSTEM_VM_KEY.touch(mode=0o600)
            SYSTEM_VM_KEY.chmod(0o600)
            SYSTEM_VM_KEY.write_text(message["private_key"])
        AUTHORISED.write_text(message.get("public_key", ""))
        for machine in message.get("boot", []):
            self._start(machine)
        CONNECTED_ONCE.touch()

    def _report(self) -> dict[str, Any]:
        return {"machines": [{"name": each["name"], "uuid": each["uuid"]} for each in machines.running()]}

    def _command(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name == "start":
            self._start(arguments)
        elif name == "stop":
            machines.stop(arguments["name"])
        elif name == "destroy":
            machines.destroy(arguments["name"])
        elif name == "list":
            return self._report()
        else:
            raise machines.MachineError(f"unknown command {name}")
        return {}

    def _start(self, machine: dict[str, Any]) -> None:
        log.info("Starting %s with template %s", machine["name"], machine["template"])
        machines.start(machine, self.version, AUTHORISED.read_text(), self.settings.vm_start_seconds)

    def _look_after_system_vms(self) -> None:
        alive = {each["name"]: each for each in machines.running() if each["kind"] in WITH_AGENT}
        for name in set(self._links) - set(alive):
            self._links.pop(name).stop(announce=True)
        for name in set(alive) - set(self._links):
            self._links[name] = self._link_of(alive[name])
            threading.Thread(target=self._links[name].run, name=f"Agent-{name}", daemon=True).start()

    def _link_of(self, machine: dict[str, Any]) -> Link:
        def startup(local: str) -> Message:
            return {
                "type": "startup", "kind": WITH_AGENT[machine["kind"]], "guid": machine["uuid"], "name": machine["name"],
                "version": machine["code"], "address": machine.get("private_address") or local}

        def refuse(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            raise machines.MachineError(f"{machine['name']} does not know {name}")

        return Link(
            machine["name"], machines.conf(machine["name"]), startup, self.settings, lambda message: None, refuse, dict)


def main() -> int:
    """Run the agent until it is told to stop; returns the exit code."""
    logs.open_log(paths.AGENT_LOG / "agent.log")
    agent = Agent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: agent.stop.set())
    log.info("Agent %s started", agent.version)
    agent.run()
    logging.shutdown()
    return 0

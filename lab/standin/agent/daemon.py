"""The agent of a KVM host."""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from ..shared import logs, paths, properties, settings
from ..shared.protocol import Channel, Message
from ..shared.release import code_version
from . import machines
from .dialer import Dialer

log = logging.getLogger("c.c.a.AgentShell")

PROPERTIES = paths.AGENT_CONFIGURATION / "agent.properties"
#: Made at the first connection: from then on nothing is booted that no management server asks for.
CONNECTED_BEFORE = paths.AGENT_STATE / "connected-before"
#: What a JVM ends with after SIGTERM.
STOPPED = 143
PRIVATE_KEY = Path("/root/.ssh/id_rsa.cloud")
PUBLIC_KEY = Path("/root/.ssh/id_rsa.pub.cloud")


class HostAgent:
    """Answers what a management server asks of this host."""

    def __init__(self) -> None:
        self._settings = settings.load()
        self._public_key = PUBLIC_KEY.read_text() if PUBLIC_KEY.exists() else ""
        self._working = threading.Lock()
        self.dialer = Dialer(PROPERTIES, self._settings, self._startup, self._handle, self._ping)

    def _startup(self, channel: Channel) -> Message:
        values = properties.read(PROPERTIES)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return {
            "type": "startup",
            "kind": "Routing",
            "guid": values["guid"],
            "name": socket.gethostname(),
            "version": code_version().text,
            "address": values.get("private.ip") or channel.local_address(),
            "zone": values.get("zone"),
            "pod": values.get("pod"),
            "cluster": values.get("cluster"),
            "cpus": os.cpu_count(),
            "ram": memory,
            "fresh": self._settings.boot_system_vms and not CONNECTED_BEFORE.exists(),
        }

    def _ping(self) -> Message:
        # While a machine is being started or stopped a report would be half true.
        if not self._working.acquire(blocking=False):
            return {}
        try:
            return {"machines": [{"name": machine.name, "uuid": machine.uuid} for machine in machines.running()]}
        finally:
            self._working.release()

    def _handle(self, channel: Channel, message: Message) -> None:
        if message["type"] == "ready":
            self._take_keys(message)
            threading.Thread(target=self._boot, args=(message["boot"],), name="Agent-Boot", daemon=True).start()
        elif message["type"] == "command":
            threading.Thread(target=self._answer, args=(channel, message), name="agentRequest", daemon=True).start()

    def _take_keys(self, message: Message) -> None:
        """Write the keys for system VMs, as ModifySshKeysCommand does."""
        self._public_key = message["public_key"]
        PRIVATE_KEY.parent.mkdir(mode=0o700, exist_ok=True)
        for path, text, mode in ((PRIVATE_KEY, message["private_key"], 0o600), (PUBLIC_KEY, self._public_key, 0o644)):
            if not path.exists() or path.read_text() != text:
                path.touch(mode=mode)
                path.chmod(mode)
                path.write_text(text)

    def _boot(self, wanted: list[dict[str, Any]]) -> None:
        with self._working:
            for machine in wanted:
                try:
                    machines.start(machine, self._public_key)
                except machines.MachineError as failure:
                    log.error("Unable to start VM %s: %s", machine["name"], failure)
            CONNECTED_BEFORE.parent.mkdir(parents=True, exist_ok=True)
            CONNECTED_BEFORE.touch()

    def _answer(self, channel: Channel, message: Message) -> None:
        logs.new_context()
        name, arguments = message["name"], message["arguments"]
        log.debug("Processing command: %s %s", name, arguments.get("name", ""))
        answer: dict[str, Any] = {"ok": True}
        try:
            with self._working:
                answer |= self._do(name, arguments)
        except machines.MachineError as failure:
            log.warning("Command %s failed: %s", name, failure)
            answer = {"ok": False, "detail": str(failure)}
        try:
            channel.send(type="answer", number=message["number"], **answer)
        except OSError as failure:
            log.warning("The answer to %s could not be sent: %s", name, failure)
        if name == "reconnect":
            self.dialer.reconnect()

    def _do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out; what its answer has besides."""
        if name == "patch":  # the scripts are those of the host's own package, not of the management server
            machines.patch(arguments["name"], arguments["uuid"])
            return {"version": code_version().text}
        if name == "start":
            time.sleep(self._settings.vm_start_seconds)
            machines.start(arguments, self._public_key)
        elif name == "stop":
            machines.stop(arguments["name"], arguments["uuid"])
        elif name == "destroy":
            machines.destroy(arguments["name"], arguments["uuid"])
        elif name != "reconnect":
            raise machines.MachineError(f"Unsupported command {name}")
        return {}


def main() -> int:
    """Run the agent until it is asked to stop; returns the exit code."""
    logs.open_log(paths.AGENT_LOG / "agent.log")
    log.info("Implementation Version is %s", code_version())
    if not properties.read(PROPERTIES).get("guid"):
        properties.store(PROPERTIES, "guid", str(uuid.uuid4()))
    machines.prepare_host()
    agent = HostAgent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: threading.Thread(target=agent.dialer.stop).start())
    agent.dialer.run()
    log.info("Agent is stopped")
    return STOPPED

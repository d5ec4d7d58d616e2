"""Port 8250: agents of KVM hosts and of system VMs connect, learn where else they may connect, and get commands."""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import pymysql

from ..shared import logs
from ..shared.database import utcnow
from ..shared.protocol import Channel, Message
from . import alerts, configuration, hosts, keypair, powerstate
from .cluster import ClusterManager, PeerUnreachable
from .server import ManagementServer

log = logging.getLogger("c.c.a.m.AgentManagerImpl")
monitor_log = logging.getLogger("c.c.a.m.AgentMonitor")
balancer_log = logging.getLogger("o.a.c.a.l.IndirectAgentLBServiceImpl")

COMMAND_SECONDS = 60
STARTUP_SECONDS = 30
Answer = dict[str, Any]


class CommandFailed(Exception):
    """A host could not do what it was asked, or could not be asked."""


class Agent:
    """One connected agent."""

    def __init__(self, channel: Channel, host_id: int, facts: Message) -> None:
        self.channel = channel
        self.host_id = host_id
        self.facts = facts
        self.leaving = False
        self._answers: dict[int, Answer | None] = {}
        self._condition = threading.Condition()
        self._next = 0

    def request(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Send a command and return its answer; raises CommandFailed."""
        with self._condition:
            self._next += 1
            number = self._next
            self._answers[number] = None
        deadline = time.monotonic() + COMMAND_SECONDS
        try:
            self.channel.send(type="command", number=number, name=name, arguments=arguments)
        except OSError as cause:
            raise CommandFailed(f"host {self.host_id} is disconnected: {cause}") from cause
        with self._condition:
            while self._answers[number] is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self.leaving:
                    del self._answers[number]
                    raise CommandFailed(f"Commands {name} to Host {self.host_id} timed out after {COMMAND_SECONDS}")
                self._condition.wait(remaining)
            answer = self._answers.pop(number)
        assert answer is not None
        if not answer.get("ok"):
            raise CommandFailed(str(answer.get("detail", "unknown")))
        return answer

    def answered(self, message: Message) -> None:
        """Take an answer that has arrived."""
        with self._condition:
            if message["number"] in self._answers:
                self._answers[message["number"]] = message
            self._condition.notify_all()

    def gone(self) -> None:
        """Let whoever waits for an answer know that none will come."""
        with self._condition:
            self.leaving = True
            self._condition.notify_all()


class AgentManager:
    """All agents that are connected to this server, and the way to those connected to others."""

    def __init__(self, server: ManagementServer, cluster: ClusterManager) -> None:
        self._server = server
        self._cluster = cluster
        self._agents: dict[int, Agent] = {}
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._given_hosts = ""

    def listen(self) -> None:
        """Open the port."""
        port = configuration.number(self._server, "port", 8250)
        self._listener = socket.create_server(("", port), reuse_port=False, backlog=64)
        log.info("Listening on 0.0.0.0:%d", port)

    def start(self) -> None:
        """Begin to accept agents and to tell them about changes of the list of servers."""
        self._given_hosts = self._wanted_hosts()
        logs.named_thread("AgentManager-Selector", self._accept)
        logs.named_thread("AgentLB-Refresh", self._refresh_hosts)

    def stop(self) -> None:
        """Close the port and give up all hosts."""
        if self._listener is not None:
            self._listener.close()
        with self._lock:
            agents = list(self._agents.values())
            self._agents.clear()
        for agent in agents:
            agent.leaving = True
            agent.channel.close()
        # Direct hosts have no agent here, but they are this server's too.
        self._server.cloud.execute(
            "UPDATE host SET status = 'Disconnected', mgmt_server_id = NULL, disconnected = %s "
            "WHERE mgmt_server_id = %s AND removed IS NULL",
            utcnow(),
            self._server.msid,
        )

    def execute(self, host_id: int, name: str, arguments: dict[str, Any]) -> Answer:
        """Carry out a command on a host, here or through the server that it is connected to.

        Raises CommandFailed.
        """
        with self._lock:
            agent = self._agents.get(host_id)
        if agent is not None:
            return agent.request(name, arguments)
        owner = self._server.cloud.value("SELECT mgmt_server_id FROM host WHERE id = %s AND status = 'Up'", host_id)
        if owner is None or owner == self._server.msid:
            raise CommandFailed(f"Host {host_id} is not connected")
        try:
            answer = self._cluster.call(owner, host_id, name, arguments)
        except PeerUnreachable as cause:
            raise CommandFailed(str(cause)) from cause
        if not answer.get("ok"):
            raise CommandFailed(str(answer.get("detail", "unknown")))
        return answer

    def execute_for_peer(self, host_id: int, name: str, arguments: dict[str, Any]) -> Answer:
        """Carry out what another management server asks for; never forwards a second time."""
        with self._lock:
            agent = self._agents.get(host_id)
        if agent is None:
            return {"ok": False, "detail": f"Host {host_id} is not connected to {self._server.name}"}
        try:
            return agent.request(name, arguments)
        except CommandFailed as failure:
            return {"ok": False, "detail": str(failure)}

    def count(self) -> int:
        """Return how many agents are connected here."""
        with self._lock:
            return len(self._agents)

    def propagate_hosts(self) -> None:
        """Tell every connected agent the list of management servers."""
        with self._lock:
            agents = list(self._agents.values())
        for agent in agents:
            self._tell_hosts(agent)

    def _wanted_hosts(self) -> str:
        return configuration.agent_hosts(self._server, 0)

    def _refresh_hosts(self) -> None:
        # Another management server may have taken the new value of the setting; each sends it to its own agents.
        while not self._server.stopping.wait(self._server.settings.scan_seconds):
            try:
                wanted = self._wanted_hosts()
            except pymysql.MySQLError as failure:
                log.error("DB Exception on reading the setting host: %s", failure.args[-1])
                continue
            if wanted != self._given_hosts:
                self._given_hosts = wanted
                self.propagate_hosts()

    def _tell_hosts(self, agent: Agent) -> None:
        wanted = configuration.agent_hosts(self._server, agent.host_id)
        balancer_log.debug("Propagating management server list update to agent %d: %s", agent.host_id, wanted)
        try:
            agent.channel.send(type="hosts", hosts=wanted, check_interval=self._check_interval())
        except OSError as cause:
            balancer_log.warning("Failed to setup MS list with agent on host %d: %s", agent.host_id, cause)

    def _check_interval(self) -> int:
        return configuration.number(self._server, "indirect.agent.lb.check.interval", 0)

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._server.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            logs.named_thread("AgentManager-Handler", self._serve, Channel(connection))

    def _serve(self, channel: Channel) -> None:
        agent: Agent | None = None
        try:
            facts = channel.receive(STARTUP_SECONDS)
            if facts is None or facts.get("type") != "startup":
                return
            agent = self._connect(channel, facts)
            if agent is None:
                return
            for message in channel.messages(self._server.settings.ping_timeout_seconds):
                self._handle(agent, message)
        except TimeoutError:
            if agent is not None:
                monitor_log.info("Found the following agents behind on ping: [%d]", agent.host_id)
        except (OSError, ValueError, KeyError) as failure:
            log.warning("Connection from an agent ended: %s", failure)
        except pymysql.MySQLError as failure:
            log.error("DB Exception while serving an agent: %s", failure.args[-1])
        finally:
            channel.close()
            if agent is not None:
                self._disconnected(agent)
            self._server.cloud.close()

    def _connect(self, channel: Channel, facts: Message) -> Agent | None:
        host_id, reason = self._identify(facts)
        if host_id is None:
            log.warning("Unable to connect agent %s: %s", facts.get("name"), reason)
            channel.send(type="refused", reason=reason)
            return None
        agent = Agent(channel, host_id, facts)
        with self._lock:
            former = self._agents.get(host_id)
            self._agents[host_id] = agent
        if former is not None:
            former.leaving = True
            former.channel.close()
        hosts.connected(self._server, host_id, facts["version"])
        log.info("Agent of host %d (%s) is connected to management server %d", host_id, facts["name"], self._server.msid)
        private, public = keypair.pair(self._server)
        boot = powerstate.to_boot(self._server, host_id) if facts.get("fresh") else []
        channel.send(
            type="ready",
            host_id=host_id,
            hosts=configuration.agent_hosts(self._server, host_id),
            check_interval=self._check_interval(),
            ping_seconds=self._server.settings.ping_seconds,
            private_key=private if facts["kind"] == "Routing" else "",
            public_key=public,
            boot=boot,
        )
        alerts.add_event(self._server, "HOST.RECONNECT", f"Host {facts['name']} connected", resource_id=host_id, resource_type="Host")
        return agent

    def _identify(self, facts: Message) -> tuple[int | None, str]:
        row = hosts.find(self._server, facts["kind"], facts["guid"], facts["name"])
        if facts["kind"] == "Routing":
            if row is not None:
                return row["id"], ""
            return hosts.add_routing(self._server, facts), "its zone, pod or cluster does not exist"
        vm = self._server.cloud.row(
            "SELECT * FROM vm_instance WHERE name = %s AND uuid = %s AND removed IS NULL", facts["name"], facts["guid"]
        )
        if vm is None or vm["state"] not in ("Running", "Starting"):
            return None, "there is no running system VM of this name"
        if row is not None:
            return row["id"], ""
        return hosts.add_system_vm(self._server, vm, facts["guid"], facts["version"]), ""

    def _handle(self, agent: Agent, message: Message) -> None:
        kind = message["type"]
        if kind == "ping":
            hosts.pinged(self._server, agent.host_id)
            agent.channel.send(type="pong")
            if "machines" in message:
                powerstate.synchronise(self._server, agent.host_id, message["machines"])
        elif kind == "answer":
            agent.answered(message)
        elif kind == "shutdown":
            agent.leaving = True
            log.info("Host %d has informed us that it is shutting down with reason %s", agent.host_id, "sig.kill")

    def _disconnected(self, agent: Agent) -> None:
        with self._lock:
            current = self._agents.get(agent.host_id)
            if current is agent:
                del self._agents[agent.host_id]
        announced = agent.leaving
        agent.gone()
        if current is not agent or self._server.stopping.wait(self._server.settings.agent_lost_seconds):
            return
        with self._lock:
            if agent.host_id in self._agents:
                return
        if hosts.lost(self._server, agent.host_id, "Disconnected" if announced else "Alert"):
            log.info("Host %d is disconnected from management server %d", agent.host_id, self._server.msid)
            if not announced:
                alerts.raise_alert(self._server, alerts.HOST, f"Host is down, name: {agent.facts['name']} (id:{agent.host_id})", once=True)
